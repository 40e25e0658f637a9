"""What Prefect and libraries log in this process, as lines of JSON."""

import logging
from datetime import UTC, datetime
from typing import Final

from keyturn.core.text.log_lines import log_line

OF_A_RUN: Final = {"flow_run_id": "flow_run_id", "flow_run_name": "flow_run", "task_run_name": "task_run"}
"""What Prefect says of a record, and what it is called in a line."""


class JsonFormatter(logging.Formatter):
    """Makes such a line of a record; an exception is told by its class."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        more = {name: str(value) for key, name in OF_A_RUN.items() if (value := getattr(record, key, None))}
        if record.exc_info and record.exc_info[0]:
            more["error"] = record.exc_info[0].__name__
        at = datetime.fromtimestamp(record.created, UTC)
        return log_line(at, record.levelname.lower(), record.name, record.getMessage(), more)


def write_json_lines() -> None:
    """From now on what this process logs goes to stderr as such lines, whichever format its handlers had."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    lines = logging.StreamHandler()
    lines.setFormatter(JsonFormatter())
    root.addHandler(lines)
