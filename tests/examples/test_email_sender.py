"""The e-mail sender, from its command line to a real SMTP server."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from decider.logbook.schema import EventType
from decider.models import Registry
from decider.service.server import Server, build_server

from ..service.conftest import SETTINGS
from ..service.fake import Engine

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "email_sender.py"


class Mailbox:
    """Takes every mail, or refuses every recipient."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.refuses = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.refuses:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box, port = Mailbox(), free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


@pytest.fixture
def decider(tmp_path: Path) -> Iterator[tuple[Engine, Server]]:
    engine = Engine()
    server = build_server(engine, Registry(tmp_path), SETTINGS)
    server.start()
    yield engine, server
    server.stop(0)


@pytest.fixture
def main() -> Any:
    spec = importlib.util.spec_from_file_location("email_sender", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def arguments(member: int, server: Server, smtp_port: int, *more: str) -> list[str]:
    return [
        "send", str(member), "--to", "anna@example.org", "--from", "Decider <news@example.org>",
        "--decider", f"127.0.0.1:{server.port}", "--smtp-host", "127.0.0.1", "--smtp-port", str(smtp_port),
        "--at", "2026-03-01T12:00:00+00:00", "--request-id", "r1", *more,
    ]  # fmt: skip


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, str(PROGRAM), *command], capture_output=True, text=True, env=environment, timeout=60
    )


def test_a_decided_mail_is_sent_and_reported_and_its_opening_too(
    decider: tuple[Engine, Server], mailbox: tuple[Mailbox, int]
) -> None:
    (engine, server), (box, smtp_port) = decider, mailbox
    done = run(*arguments(102, server, smtp_port))
    assert (done.returncode, done.stderr) == (0, "")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == {"request_id": "r1", "at": "2026-03-01T12:00:00+00:00"}
    decision_id = engine.records["r1"].decision_id
    assert second == {"decision_id": decision_id, "candidate": "mens@email", "sent": True}
    (mail,) = box.mails
    assert (mail["To"], mail["From"]) == ("anna@example.org", "Decider <news@example.org>")
    assert mail["Subject"] == "Mens"
    assert mail["X-Decider-Decision"] == decision_id
    assert mail["X-Decider-Candidate"] == "mens@email"
    assert mail["Message-ID"] == f"<{decision_id}.0@example.org>"
    opened = run("opened", decision_id, "mens@email", "--decider", f"127.0.0.1:{server.port}")
    assert (opened.returncode, opened.stderr) == (0, "")
    events = [(event.type, event.decision_id, event.candidate) for event in engine.events.values()]
    assert events == [(kind, decision_id, "mens@email") for kind in (EventType.SENT, EventType.OPENED)]


def test_help_names_the_commands() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("send", "opened", "unsubscribed"))


def test_a_repeat_is_the_same_mail_and_counts_once(
    main: Any, decider: tuple[Engine, Server], mailbox: tuple[Mailbox, int]
) -> None:
    (engine, server), (box, smtp_port) = decider, mailbox
    assert [main(arguments(102, server, smtp_port)) for _ in range(2)] == [0, 0]
    assert len({mail["Message-ID"] for mail in box.mails}) == 1
    assert len(engine.records) == len(engine.events) == 1


def test_nothing_to_send_is_said(
    main: Any,
    decider: tuple[Engine, Server],
    mailbox: tuple[Mailbox, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (engine, server), (box, smtp_port) = decider, mailbox
    assert main(arguments(101, server, smtp_port)) == 0
    assert '"sent": false' in capsys.readouterr().out
    assert box.mails == []
    assert engine.events == {}


def test_texts_come_from_a_file(
    main: Any, decider: tuple[Engine, Server], mailbox: tuple[Mailbox, int], tmp_path: Path
) -> None:
    (_, server), (box, smtp_port) = decider, mailbox
    texts = tmp_path / "texts.toml"
    texts.write_text('[mens]\nsubject = "For him"\nbody = "Größe M"\n', "utf-8")
    assert main(arguments(102, server, smtp_port, "--texts", str(texts))) == 0
    assert box.mails[0]["Subject"] == "For him"
    assert box.mails[0].get_payload(decode=True).decode().strip() == "Größe M"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ('[womens]\nsubject = "s"\nbody = "b"\n', "has no [mens]"),
        ("[mens]\nbody = 1\n", "must have subject and body"),
        ("not TOML", "cannot be read"),
    ],
)
def test_a_missing_text_stops_before_anything_is_sent(
    main: Any, decider: tuple[Engine, Server], mailbox: tuple[Mailbox, int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], texts: str, why: str,
) -> None:  # fmt: skip
    (engine, server), (box, smtp_port) = decider, mailbox
    path = tmp_path / "texts.toml"
    path.write_text(texts, "utf-8")
    assert main(arguments(102, server, smtp_port, "--texts", str(path))) == 1
    assert why in capsys.readouterr().err
    assert box.mails == []
    assert engine.events == {}


def test_a_refused_mail_is_not_reported_as_sent(
    main: Any,
    decider: tuple[Engine, Server],
    mailbox: tuple[Mailbox, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (engine, server), (box, smtp_port) = decider, mailbox
    box.refuses = True
    assert main(arguments(102, server, smtp_port)) == 1
    assert "did not take the mail" in capsys.readouterr().err
    assert engine.events == {}


def test_no_mail_server_is_a_clear_error(
    main: Any, decider: tuple[Engine, Server], capsys: pytest.CaptureFixture[str]
) -> None:
    engine, server = decider
    assert main(arguments(102, server, free_port())) == 1
    assert "did not take the mail" in capsys.readouterr().err
    assert engine.events == {}


def test_the_services_words_reach_the_user(
    main: Any,
    decider: tuple[Engine, Server],
    mailbox: tuple[Mailbox, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (_, server), (box, smtp_port) = decider, mailbox
    assert main(arguments(7, server, smtp_port)) == 1
    assert "error: member_id names no known member, got 7" in capsys.readouterr().err
    assert main(arguments(102, server, smtp_port, "--policy", "wild")) == 1
    assert "error: policy must be one of bold, calm, got 'wild'" in capsys.readouterr().err
    assert box.mails == []


def test_a_header_cannot_be_smuggled_in(
    main: Any,
    decider: tuple[Engine, Server],
    mailbox: tuple[Mailbox, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (_, server), (box, smtp_port) = decider, mailbox
    command = arguments(102, server, smtp_port)
    command[3] = "anna@example.org\nBcc: eve@example.org"
    assert main(command) == 1
    assert "cannot stand in a mail" in capsys.readouterr().err
    assert box.mails == []
