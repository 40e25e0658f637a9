"""Writes the logs of Prefect and libraries in this process as JSON lines."""

import logging
from datetime import UTC, datetime
from typing import Final

from keyturn.core.text.log_lines import log_line

OF_A_RUN: Final = {"flow_run_id": "flow_run_id", "flow_run_name": "flow_run", "task_run_name": "task_run"}


class JsonFormatter(logging.Formatter):
    """Formats a log record as JSON; an exception is only named by its class."""

    def format(self, record: logging.LogRecord) -> str:
        more = {name: str(value) for key, name in OF_A_RUN.items() if (value := getattr(record, key, None))}
        if record.exc_info and record.exc_info[0]:
            more["error"] = record.exc_info[0].__name__
        at = datetime.fromtimestamp(record.created, UTC)
        return log_line(at, record.levelname.lower(), record.name, record.getMessage(), more)


def write_json_lines() -> None:
    """Log to stderr as JSON lines, in place of all other handlers."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    lines = logging.StreamHandler()
    lines.setFormatter(JsonFormatter())
    root.addHandler(lines)
