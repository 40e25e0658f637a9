"""How long the old credential stays valid: by the hub's clock, from the moment that every copy serves the new one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from keyturn.core.record import Rotation
from keyturn.rotation.copies.push import CopyState, Pushed
from keyturn.rotation.state.context import Workspace


def counted_from_now(workspace: Workspace, path: str) -> dict[str, Any]:
    """What a rotation that is put in force keeps: the grace waits for the copies, where there are any."""
    now = workspace.hub_now()
    return {"in_force_at": now, "grace_from": None if workspace.secret(path).destinations else now}


def all_in_step(copies: Sequence[Pushed]) -> bool:
    """Whether every copy serves what it should."""
    return all(copy.in_step for copy in copies)


def count_grace(workspace: Workspace, rotation: Rotation, copies: Sequence[Pushed]) -> Rotation:
    """The rotation as these ``copies`` are seen: its grace begins once all are in step, and anew after one was not.

    A copy that can't be looked at now changes nothing.
    """
    if all_in_step(copies):
        return rotation if rotation.grace_from else replace(rotation, grace_from=workspace.hub_now())
    behind = any(copy.state in (CopyState.STALE, CopyState.DRIFTED) for copy in copies)
    return replace(rotation, grace_from=None) if behind else rotation


def grace_over(workspace: Workspace, path: str, rotation: Rotation) -> datetime | None:
    """When the grace is over, by the hub's clock; None while it has not begun, and where there is none."""
    grace: timedelta = workspace.secret(path).rotation.grace
    return rotation.grace_from + grace if rotation.grace_from and grace else None


def beyond_max_grace(workspace: Workspace, path: str, rotation: Rotation) -> bool:
    """Whether the old credential has lived as long as the catalogue allows at most, since the new one is in force."""
    limit, since = workspace.secret(path).rotation.max_grace, rotation.in_force_at or rotation.promoted_at
    return limit is not None and since is not None and workspace.hub_now() >= since + limit


def by_this_clock(workspace: Workspace, at: datetime) -> datetime:
    """A moment of the hub's clock, as the clock of this process will show it."""
    return at + (workspace.clock() - workspace.hub_now())


def pause_after(workspace: Workspace, path: str, rotation: Rotation) -> datetime | None:
    """Until when a rotation that was taken back is not tried again, by the clock of this process."""
    since = rotation.grace_from or rotation.in_force_at
    grace: timedelta = workspace.secret(path).rotation.grace
    if since is None:
        return rotation.promoted_at + grace if rotation.promoted_at else None
    return by_this_clock(workspace, since + grace)
