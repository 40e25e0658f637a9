"""Which of two hubs may be written: a number that only grows, and a name, kept in both.

The number is an epoch: whoever takes over raises it, so a hub that comes back finds a greater one at the other, and is
written no more. Two hubs of one epoch that name different hubs are written neither.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from keyturn.core.ports.hub import State

EPOCH: Final = "failover/epoch"
"""The entry of the state mount."""

FORMAT: Final = 1
"""What an epoch's ``format`` may be at most."""

LOOK_EVERY: Final = timedelta(seconds=5)
"""So long what was read of the two hubs holds."""

SETTLED: Final = timedelta(seconds=30)
"""So long after a hub was told that another one is written, nothing is on its way there any more: a process looks
every five seconds, and a request ends within twenty."""


@dataclass(frozen=True)
class Epoch:
    """What one hub says: the number, and which hub is written since. ``age`` is in seconds, by that hub's clock.

    ``wait`` is how many seconds later it begins to be written; ``by`` is who has said so. ``addresses`` are those of
    the two hubs by their names, as whoever said so had them.
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
        """Seconds until it begins."""
        return max(0.0, self.wait - self.age)

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it."""
        data = {"format": FORMAT, "epoch": self.number, "writable": self.writable, "wait": self.wait, "by": self.by}
        return {**data, "addresses": dict(self.addresses)} if self.addresses else data


def read_epoch(state: State | None) -> Epoch | None:
    """What an entry says; None where there is none. Raises ValueError for what is no epoch, or a newer format's."""
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
    """Why the hub ``own`` may not be written, in words for people; empty where it may.

    ``own_epoch`` is what it says itself, ``other_epoch`` what the ``other`` hub has said when it was last asked.
    """
    if own_epoch is None:
        return f"which of {own} and {other} is written stands nowhere in it"
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
    """The number of what is said next: greater than all of these."""
    return max((epoch.number for epoch in epochs if epoch), default=0) + 1
