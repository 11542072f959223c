"""Log lines as JSON objects, each with the id of the request it belongs to."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from serving.sidecar.door import request_id


def set_up(level: str) -> None:
    """Send all logs to the standard error, one object a line. No line holds a prompt."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "{levelname}{name}{message}",
            style="{",
            timestamp="at",
            rename_fields={"levelname": "level", "name": "logger"},
        )
    )
    handler.addFilter(_with_request_id)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _with_request_id(record: logging.LogRecord) -> bool:
    if (known := request_id.get()) is not None:
        record.request_id = known
    return True
