"""The four scores of every access and their descriptions."""

from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

from keyturn.access_log.detection.alerts import Factor
from keyturn.access_log.detection.policy import MonitorPolicy
from keyturn.core.ports.access import Access

LIMIT: Final = 1
HOURS: Final = 2
ADDRESS: Final = 4
PATH: Final = 8


def describe_scores(access: Access, odd: int, policy: MonitorPolicy) -> Iterator[Factor]:
    """Yield the factors of the ``odd`` scores with a weight."""
    if odd & LIMIT and policy.limit_weight:
        yield Factor("daily-limit", policy.limit_weight, f"more than {policy.limit:,} accesses within 24 hours")
    if odd & HOURS and policy.hours_weight:
        local = access.at.astimezone(ZoneInfo(policy.zone))
        hours = f"{_clock(policy.begin)} to {_clock(policy.end)}"
        yield Factor("hours", policy.hours_weight, f"at {local:%H:%M} in {policy.zone}, outside {hours}")
    if odd & ADDRESS and policy.address_weight:
        words = f"from {access.source}, where it has read nothing from in its last 24 hours"
        yield Factor("new-address", policy.address_weight, words)
    if odd & PATH and policy.path_weight:
        yield Factor("new-path", policy.path_weight, f"{access.path}, which it was not given in its last 24 hours")


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
