"""A channel sender: asks Decider what a member gets by e-mail, sends it by SMTP, reports what happened.

Send what is due to one member, then report that it was opened::

    python examples/email_sender.py send 17 --to anna@example.org --from news@example.org
    python examples/email_sender.py opened DECISION_ID mens@email

`send` prints a JSON object for each mail. A mail is never sent before its decision is durable, and `sent` is
reported only after the mail server took it. When it breaks in between, run it again with the --at and
--request-id that it printed: Decider returns the same decision, the mails get the same Message-ID, by which
mailboxes know a double, and `sent` counts once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import smtplib
import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import NamedTuple

from decider.errors import Conflict, DeciderError
from decider.logbook.schema import EventRecord, EventType
from decider.service.client import DeciderClient

CHANNEL = "email"


class Text(NamedTuple):
    """What a mail says."""

    subject: str
    body: str


class SenderError(Exception):
    """What stops this program, in words for the person at the keyboard."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status is 0, or 1 with the reason on standard error."""
    options = _parser().parse_args(arguments)
    try:
        with DeciderClient(options.decider, timeout_seconds=options.timeout) as client:
            if options.command == "send":
                send(client, options)
            else:
                report(client, EventType(options.command), options.decision_id, options.candidate, _now())
    except (DeciderError, SenderError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def send(client: DeciderClient, options: argparse.Namespace) -> None:
    """Decide for the member, send every mail of the set, report each as sent."""
    texts = read_texts(options.texts)
    at = options.at or _now()
    request_id = options.request_id or f"email-{options.member}-{at.isoformat()}"
    _print({"request_id": request_id, "at": at.isoformat()})
    decision = client.decide(
        options.member,
        request_id=request_id,
        decision_time=at,
        policy=options.policy,
        channels=[CHANNEL],
    )
    messages = list(decision.messages)
    if not messages:
        _print({"decision_id": decision.decision_id, "sent": False, "why": "nothing is worth its price"})
        return
    # Every text is found before the first mail goes out: half a set is worse than none.
    mails = [
        compose_mail(
            options.sender,
            options.to,
            decision.decision_id,
            place,
            chosen.candidate,
            text_of(chosen.message, texts),
        )
        for place, chosen in enumerate(messages)
    ]
    try:
        with smtplib.SMTP(options.smtp_host, options.smtp_port, timeout=options.timeout) as smtp:
            if options.starttls:
                smtp.starttls()
            for chosen, mail in zip(messages, mails, strict=True):
                smtp.send_message(mail)
                report(client, EventType.SENT, decision.decision_id, chosen.candidate, _now())
                _print({"decision_id": decision.decision_id, "candidate": chosen.candidate, "sent": True})
    except (OSError, smtplib.SMTPException) as error:
        raise SenderError(
            f"the mail server {options.smtp_host}:{options.smtp_port} did not take the mail: {error}"
        ) from error


def report(client: DeciderClient, kind: EventType, decision_id: str, candidate: str, at: datetime) -> None:
    """Tell Decider what happened to a mail; the first report stands, telling it again changes nothing."""
    # The id says what happened to which mail, so it is the same when this is run again.
    event = EventRecord(
        event_id=f"{decision_id}/{candidate}/{kind.value}",
        type=kind,
        event_time_micros=int(at.timestamp() * 1_000_000),
        decision_id=decision_id,
        candidate=candidate,
    )
    # The same id with another time: it was reported before.
    with contextlib.suppress(Conflict):
        client.record_events([event])


def compose_mail(
    sender: str, to: str, decision_id: str, place: int, candidate: str, text: Text
) -> EmailMessage:
    """One mail; its headers say which decision it follows, for whoever reports what comes of it."""
    mail = EmailMessage()
    try:
        mail["From"], mail["To"], mail["Subject"] = sender, to, text.subject
    except ValueError as error:
        raise SenderError(f"an address or subject cannot stand in a mail: {error}") from error
    domain = parseaddr(sender)[1].rpartition("@")[2]
    mail["Message-ID"] = f"<{decision_id}.{place}@{domain}>"
    mail["X-Decider-Decision"] = decision_id
    mail["X-Decider-Candidate"] = candidate
    mail.set_content(text.body)
    return mail


def read_texts(path: Path | None) -> Mapping[str, Text] | None:
    """Subjects and bodies by message id, from TOML: ``[mens]`` with `subject` and `body`."""
    if path is None:
        return None
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SenderError(f"--texts {path} cannot be read: {error}") from error
    texts = {}
    for message, table in tables.items():
        if not (isinstance(table, dict) and {"subject", "body"} <= table.keys()):
            raise SenderError(f"--texts {path}: [{message}] must have subject and body")
        texts[message] = Text(str(table["subject"]), str(table["body"]))
    return texts


def text_of(message: str, texts: Mapping[str, Text] | None) -> Text:
    """The text of a message; made from its id when no texts were given at all."""
    if texts is None:
        return Text(message.replace("_", " ").capitalize(), f"{message}\n")
    if message not in texts:
        raise SenderError(f"--texts has no [{message}], which was decided; nothing was sent")
    return texts[message]


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--decider", default="127.0.0.1:50051", help="address of the service (%(default)s)")
    shared.add_argument("--timeout", type=float, default=10.0, help="seconds to wait (%(default)s)")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    sending = commands.add_parser("send", parents=[shared], help="decide for a member and send the mails")
    sending.add_argument("member", type=_member_id, help="member id: a number, or text")
    sending.add_argument("--to", required=True, help="address of the member")
    sending.add_argument("--from", dest="sender", required=True, help="address that it comes from")
    sending.add_argument("--request-id", default="", help="names the decision (email-MEMBER-TIME)")
    sending.add_argument("--policy", default="", help="policy (the service's default)")
    sending.add_argument("--at", type=_time, help="decision time, RFC 3339 (now)")
    sending.add_argument("--texts", type=Path, help="TOML file of subjects and bodies by message id")
    sending.add_argument("--smtp-host", default="localhost", help="mail server (%(default)s)")
    sending.add_argument("--smtp-port", type=int, default=25, help="its port (%(default)s)")
    sending.add_argument("--starttls", action="store_true", help="encrypt the way to the mail server")
    for kind in EventType:
        if kind is not EventType.SENT:
            text = f"report that a mail was {kind.value}"
            reporting = commands.add_parser(kind.value, parents=[shared], help=text)
            reporting.add_argument("decision_id", help="from `send`, or the mail's X-Decider-Decision")
            reporting.add_argument("candidate", help="from `send`, or the mail's X-Decider-Candidate")
    return parser


def _member_id(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"must have a time zone, such as {text}+00:00")
    return time


def _now() -> datetime:
    return datetime.now(UTC)


def _print(line: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
