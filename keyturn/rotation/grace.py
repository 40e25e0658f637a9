"""How long the old credential stays valid: by the hub's clock, from the moment that every copy serves the new one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from keyturn.core.record import Rotation
from keyturn.rotation.context import Keyturn
from keyturn.rotation.sync import CopyState, Pushed


def counted_from_now(keyturn: Keyturn, path: str) -> dict[str, Any]:
    """What a rotation that is put in force keeps: the grace waits for the copies, where there are any."""
    now = keyturn.hub_now()
    return {"in_force_at": now, "grace_from": None if keyturn.secret(path).destinations else now}


def all_in_step(copies: Sequence[Pushed]) -> bool:
    """Whether every copy serves what it should."""
    return all(copy.in_step for copy in copies)


def count_grace(keyturn: Keyturn, rotation: Rotation, copies: Sequence[Pushed]) -> Rotation:
    """The rotation as these ``copies`` are seen: its grace begins once all are in step, and anew after one was not.

    A copy that can't be looked at now changes nothing.
    """
    if all_in_step(copies):
        return rotation if rotation.grace_from else replace(rotation, grace_from=keyturn.hub_now())
    behind = any(copy.state in (CopyState.STALE, CopyState.DRIFTED) for copy in copies)
    return replace(rotation, grace_from=None) if behind else rotation


def grace_over(keyturn: Keyturn, path: str, rotation: Rotation) -> datetime | None:
    """When the grace is over, by the hub's clock; None while it has not begun, and where there is none."""
    grace: timedelta = keyturn.secret(path).rotation.grace
    return rotation.grace_from + grace if rotation.grace_from and grace else None


def beyond_max_grace(keyturn: Keyturn, path: str, rotation: Rotation) -> bool:
    """Whether the old credential has lived as long as the catalogue allows at most, since the new one is in force."""
    limit, since = keyturn.secret(path).rotation.max_grace, rotation.in_force_at or rotation.promoted_at
    return limit is not None and since is not None and keyturn.hub_now() >= since + limit


def by_this_clock(keyturn: Keyturn, at: datetime) -> datetime:
    """A moment of the hub's clock, as the clock of this process will show it."""
    return at + (keyturn.clock() - keyturn.hub_now())


def pause_after(keyturn: Keyturn, path: str, rotation: Rotation) -> datetime | None:
    """Until when a rotation that was taken back is not tried again, by the clock of this process."""
    since = rotation.grace_from or rotation.in_force_at
    grace: timedelta = keyturn.secret(path).rotation.grace
    if since is None:
        return rotation.promoted_at + grace if rotation.promoted_at else None
    return by_this_clock(keyturn, since + grace)
