"""The old credential's grace period: by the hub's clock, from when every copy serves the new one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from keyturn.core.rotation_record import Rotation
from keyturn.rotation.copies.push import CopyState, Pushed
from keyturn.rotation.state.context import Workspace


def counted_from_now(workspace: Workspace, path: str) -> dict[str, Any]:
    """The start times of a promoted rotation: the grace period waits for the copies, if any."""
    now = workspace.hub_now()
    return {"in_force_at": now, "grace_from": None if workspace.secret(path).destinations else now}


def all_in_step(copies: Sequence[Pushed]) -> bool:
    """Whether every copy serves the version that it should."""
    return all(copy.in_step for copy in copies)


def count_grace(workspace: Workspace, rotation: Rotation, copies: Sequence[Pushed]) -> Rotation:
    """The rotation after a check of ``copies``: its grace period begins once all are in sync, and again after one was
    not.

    A copy that can't be checked changes nothing.
    """
    if all_in_step(copies):
        return rotation if rotation.grace_from else replace(rotation, grace_from=workspace.hub_now())
    behind = any(copy.state in (CopyState.STALE, CopyState.DRIFTED) for copy in copies)
    return replace(rotation, grace_from=None) if behind else rotation


def grace_over(workspace: Workspace, path: str, rotation: Rotation) -> datetime | None:
    """The end of the grace period, by the hub's clock; None before it begins, and without one."""
    grace: timedelta = workspace.secret(path).rotation.grace
    return rotation.grace_from + grace if rotation.grace_from and grace else None


def beyond_max_grace(workspace: Workspace, path: str, rotation: Rotation) -> bool:
    """Whether the catalogue's maximum grace period is over, counted from the promotion."""
    limit, since = workspace.secret(path).rotation.max_grace, rotation.in_force_at or rotation.promoted_at
    return limit is not None and since is not None and workspace.hub_now() >= since + limit


def by_this_clock(workspace: Workspace, at: datetime) -> datetime:
    """The hub's time, converted to the clock of this process."""
    return at + (workspace.clock() - workspace.hub_now())


def pause_after(workspace: Workspace, path: str, rotation: Rotation) -> datetime | None:
    """When a rolled-back rotation may be tried again, by the clock of this process."""
    since = rotation.grace_from or rotation.in_force_at
    grace: timedelta = workspace.secret(path).rotation.grace
    if since is None:
        return rotation.promoted_at + grace if rotation.promoted_at else None
    return by_this_clock(workspace, since + grace)
