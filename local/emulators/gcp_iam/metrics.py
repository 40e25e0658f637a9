"""How often keys signed in, as Cloud Monitoring tells it. Source: "Method: projects.timeSeries.list".

The real metric is sampled every ten minutes and seen up to three hours later ("Google Cloud metrics", iam);
here a use is told at once, and to the second.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from local.emulators.gcp_iam.messages import Request, invalid
from local.emulators.gcp_iam.state import State

METRIC: Final = "iam.googleapis.com/service_account/key/authn_events_count"


def listed(state: State, request: Request, project: str) -> dict[str, Any]:
    """The uses of one key in an interval, newest first."""
    terms = dict(re.findall(r'([\w.]+)\s*=\s*"([^"]*)"', request.one("filter")))
    key_id = terms.get("metric.labels.key_id")
    if terms.get("metric.type") != METRIC or key_id is None:
        raise invalid(f"This emulator knows of one metric, by key: {METRIC}.")
    after, until = (_moment(request.one(f"interval.{name}Time")) for name in ("start", "end"))
    points = [
        {"interval": {"startTime": _stamp(second), "endTime": _stamp(last)}, "value": {"int64Value": str(count)}}
        for second, last, count in state.uses(key_id, after, until)
    ]
    series = {
        "metric": {"labels": {"key_id": key_id}, "type": METRIC},
        "resource": {"type": "iam_service_account", "labels": {"project_id": project}},
        "metricKind": "DELTA",
        "valueType": "INT64",
        "points": points,
    }
    return {"timeSeries": [series], "unit": "1"} if points else {"unit": "1"}


def _moment(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        raise invalid("Field interval had an invalid value.") from None


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
