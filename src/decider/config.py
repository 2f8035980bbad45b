"""Where everything lies and how the service runs: one TOML file, every field with a default."""

from __future__ import annotations

from pathlib import Path

import msgspec

from decider.errors import InvalidInput, Violation


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The service's configuration. Relative paths are relative to the file that holds them."""

    listen: str = "127.0.0.1:50051"
    """Address and port; port 0 takes a free one."""
    catalog: str = "catalog.toml"
    """What can be said."""
    policies: str = "policies.toml"
    """How to decide."""
    experiments: str = "experiments"
    """Who gets which policy: a folder of one TOML file for each experiment; it need not be there."""
    snapshot: str = "snapshot"
    """To whom: a folder made by `decider snapshot build`."""
    models: str = "models"
    """The registry of trained models."""
    logbook: str = "logbook"
    """Decisions and events; created when it is not there."""
    threads: int = 0
    """Threads that decide; 0 takes one for each core."""
    processes: int = 0
    """Front processes that take calls on the port, with this one behind them; 0 takes them here."""
    max_concurrent_rpcs: int = 64
    """Calls beyond it, in each process, are refused at once with RESOURCE_EXHAUSTED."""
    max_message_bytes: int = 32 * 1024 * 1024
    """Largest message taken or sent."""
    metrics_port: int = 0
    """Port of the Prometheus page; 0 opens none."""
    directory: str = "."
    """Set when the file is read: the folder that relative paths start from."""

    def path(self, name: str) -> Path:
        """The path in field `name`, resolved."""
        return (Path(self.directory) / str(getattr(self, name))).resolve()


def load_config(path: Path | None) -> Config:
    """Read the configuration; all defaults, from the current folder, without a path.

    Raises
    ------
    InvalidInput
        Naming the field, the rule and the value found.
    """
    if path is None:
        return Config()
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InvalidInput.of("config", f"must be a readable file ({error.strerror})", str(path)) from None
    try:
        config = msgspec.toml.decode(text, type=Config)
    except msgspec.DecodeError as error:
        raise InvalidInput([Violation("config", f"{error} in {path}")]) from None
    violations = [
        Violation(f"config.{field}", f"must be in [{low}, {high}], got {value}")
        for field, low, high in (
            ("threads", 0, 1024),
            ("processes", 0, 64),
            ("max_concurrent_rpcs", 1, 100_000),
            ("max_message_bytes", 1 << 16, 1 << 30),
            ("metrics_port", 0, 65_535),
        )
        if not low <= (value := getattr(config, field)) <= high
    ]
    violations += listen_violations("config.listen", config.listen)
    if violations:
        raise InvalidInput(violations)
    return msgspec.structs.replace(config, directory=str(path.resolve().parent))


def listen_violations(field: str, listen: str) -> list[Violation]:
    """What is wrong with an address to listen at."""
    host, colon, port = listen.rpartition(":")
    if host and colon and port.isdecimal() and int(port) <= 65_535:
        return []
    return [Violation(field, f"must be host:port, with a port of at most 65535, got {listen!r}")]
