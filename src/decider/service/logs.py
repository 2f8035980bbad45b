"""How the service's log lines look."""

from __future__ import annotations

import sys

import structlog


def configure_logs(*, as_json: bool) -> None:
    """Write log lines to standard error, with tracebacks but without the values of local variables.

    Locals would put members' data into the log.

    Parameters
    ----------
    as_json
        One JSON object a line, for machines; else coloured text.
    """
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_json:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
