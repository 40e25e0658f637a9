"""Which of two hubs may be written to: an increasing number and a name, stored in both.

A takeover increases the number, an epoch, so a returning hub finds a greater one at the other and is no longer written
to. If two hubs of one epoch name different hubs, neither is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from keyturn.core.ports.hub import State

EPOCH: Final = "failover/epoch"
"""The state entry."""

FORMAT: Final = 1
"""The highest ``format`` of an epoch that this release reads."""

LOOK_EVERY: Final = timedelta(seconds=5)
"""How long a read of the two hubs stays valid."""

SETTLED: Final = timedelta(seconds=30)
"""Time after which no request is under way to the old hub: a process checks every five seconds, and a request ends
within twenty.
"""


@dataclass(frozen=True)
class Epoch:
    """One hub's epoch: the number, and the hub written to since. ``age`` is in seconds by that hub's clock.

    Writing begins after ``wait`` seconds. ``by`` set it. ``addresses`` are the two hubs' by name, as known then.
    """

    number: int
    writable: str
    wait: float = 0.0
    by: str = ""
    age: float = 0.0
    version: int = 0
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds until writing begins."""
        return max(0.0, self.wait - self.age)

    def to_data(self) -> dict[str, Any]:
        """The stored form."""
        data = {"format": FORMAT, "epoch": self.number, "writable": self.writable, "wait": self.wait, "by": self.by}
        return {**data, "addresses": dict(self.addresses)} if self.addresses else data


def read_epoch(state: State | None) -> Epoch | None:
    """Parse an entry; None if absent. Raises ValueError for a malformed epoch or a newer format."""
    if state is None:
        return None
    data: Mapping[str, Any] = state.data
    number, name, wait, form = data.get("epoch"), data.get("writable"), data.get("wait", 0.0), data.get("format")
    if not isinstance(form, int) or form > FORMAT:
        raise ValueError(f"it is of format {form}, and this Keyturn knows {FORMAT} at most")
    if not isinstance(number, int) or number < 1 or not isinstance(name, str) or not isinstance(wait, int | float):
        raise ValueError("it is no epoch")
    addresses = data.get("addresses")
    places = {str(hub): str(at) for hub, at in addresses.items()} if isinstance(addresses, dict) else {}
    return Epoch(number, name, float(wait), str(data.get("by", "")), state.age, state.version, places)


def why_not(own: str, own_epoch: Epoch | None, other: str, other_epoch: Epoch | None) -> str:
    """Return why the hub ``own`` may not be written to, for people; empty if it may.

    ``other_epoch`` is the last one read from ``other``.
    """
    if own_epoch is None:
        return f"the active one of {own} and {other} is missing"
    number = own_epoch.number
    if other_epoch is not None and other_epoch.number > number:
        return f"{other_epoch.writable} is written since epoch {other_epoch.number}, and this hub is of epoch {number}"
    if (
        other_epoch is not None
        and other_epoch.number == own_epoch.number
        and other_epoch.writable != own_epoch.writable
    ):
        return (
            f"in epoch {own_epoch.number} this hub names {own_epoch.writable}, and {other} names {other_epoch.writable}"
        )
    if own_epoch.writable != own:
        return f"{own_epoch.writable} is written since epoch {own_epoch.number}"
    return ""


def later(*epochs: Epoch | None) -> int:
    """The next number, greater than all of these."""
    return max((epoch.number for epoch in epochs if epoch), default=0) + 1
