"""Log lines as JSON for collectors, one object per line.

They contain no exception texts, which could hold anything; Keyturn's own messages contain only names.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.core.ports.tracing import current_span

VARIABLE: Final = "KEYTURN_LOG_FORMAT"
JSON: Final = "json"
FORMATS: Final = ("", "text", JSON)


def wants_json(variables: Mapping[str, str]) -> bool:
    """Whether log lines are JSON. Raises Invalid for an unknown format."""
    wanted = variables.get(VARIABLE, "")
    if wanted not in FORMATS:
        raise Invalid("read", VARIABLE, f"there is no format {wanted[:40]!r}", "Say json, or text")
    return wanted == JSON


def log_line(at: datetime, level: str, logger: str, message: str, more: Mapping[str, str] | None = None) -> str:
    """Return one line without its end, with the current trace and span ids if any."""
    trace, span = current_span()
    fields = {
        "time": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "logger": logger,
        "message": message,
        **(more or {}),
        **({"trace_id": trace, "span_id": span} if trace else {}),
    }
    return json.dumps(fields, ensure_ascii=False)
