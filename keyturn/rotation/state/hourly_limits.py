"""Hourly limits on requests, counted in the hub for all workers and commands together.

Schedules and a revocation's replacements are not limited. A person can exceed a limit with a reason, which is recorded
and announced.
"""

import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from keyturn.core.actor import past_rules
from keyturn.core.errors import Invalid, KeyturnError, OverLimit
from keyturn.core.hourly_limits import Happening, free_again, with_happening
from keyturn.core.notifications.channel import Announcement
from keyturn.core.ports.ledger import Outcome
from keyturn.core.rotation_record import Record
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import update_state
from keyturn.rotation.state.journal import entry, note_down

LIMITS: Final = "limits"

ASKED_FOR: Final = ("Forced", "Compromised", "Wanted")
"""The reasons of requested rotations."""

WAY_OUT: Final = "If it is meant, a person's command can exceed it: --over-limit REASON"


def insist_on_pace(workspace: Workspace, path: str, record: Record, reason: str) -> None:
    """Count a requested rotation before it begins. Raises OverLimit where there were too many.

    ``reason`` is its code. Raises Invalid for an unreadable count.
    """
    if reason not in ASKED_FOR:
        return
    now, limits = workspace.hub_now(), workspace.limits
    rotations = [record.rotation, *record.history] if record.rotation else list(record.history)
    same = [Happening(each.opened_at) for each in rotations if each.reason in ASKED_FOR and each.version]
    if again := free_again(same, limits.rotations_of_one_secret, now):
        exceeded(workspace, path, limits.rotations_of_one_secret, "rotations of it were asked for", again)
    else:
        most = limits.most_rotations(len(workspace.catalogue.secrets))
        if again := count_happening(workspace, "rotations", Happening(now), most):
            exceeded(workspace, path, most, "rotations were asked for", again)


def count_happening(workspace: Workspace, kind: str, new: Happening, most: int) -> datetime | None:
    """Count this in the hub; at the limit, count nothing and return when there is room again."""
    full: list[datetime | None] = [None]

    def laid(counting: list[Happening]) -> list[Happening]:
        full[0] = free_again(counting, most, new.at)
        return counting if full[0] else with_happening(counting, new)

    change_happenings(workspace, kind, laid)
    return full[0]


def change_happenings(
    workspace: Workspace, kind: str, change: Callable[[list[Happening]], list[Happening]]
) -> list[Happening]:
    """Apply a change to the hub's count of this kind. Raises Invalid where it can't be read."""

    def to_data(happenings: list[Happening]) -> dict[str, str]:
        return {"limits": json.dumps([event.to_data() for event in happenings])}

    return update_state(workspace, f"{LIMITS}/{kind}", lambda: load_happenings(workspace, kind), change, to_data)


def load_happenings(workspace: Workspace, kind: str) -> tuple[list[Happening], int]:
    """The hub's count of this kind, and the entry's version. Raises Invalid where it can't be read."""
    place = f"{LIMITS}/{kind}"
    state = workspace.hub.read_state(place)
    if state is None:
        return [], 0
    try:
        return [Happening.from_data(data) for data in json.loads(state.data["limits"])], state.version
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError):
        mount = workspace.hub.state_mount
        hint = f"It counts what was done within the hour, and no more: `vault kv metadata delete {mount}/{place}`"
        raise Invalid("read", f"{mount}/{place}", "the entry of Keyturn's state is malformed", hint) from None


def exceeded(workspace: Workspace, name: str, most: int, what: str, again: datetime) -> None:
    """Record and raise OverLimit; an intended excess is recorded and announced instead."""
    problem = f"{most} {what} within the hour, which is the limit"
    if reason := past_rules.get().over_limit:
        speak_up(workspace, "over limit", f"{name}: {problem}; on purpose: {reason}")
        return
    refused = entry(workspace, "over limit", Outcome.DENIED, note=f"{name}: {problem}")
    note_down(workspace, [refused])
    hint = f"It is possible again at {again:%Y-%m-%d %H:%M:%S} UTC. {WAY_OUT}"
    raise OverLimit("do more with", name, problem, hint)


def speak_up(workspace: Workspace, action: str, words: str, remedy: str = "", message: str = "") -> None:
    """Record an exception to a rule, and announce it to the person on call; a failed announcement stops nothing.

    ``remedy`` is advice for people. ``message`` is the message id, where it may be sent twice.
    """
    done = entry(workspace, action, Outcome.DONE, note=words)
    note_down(workspace, [done])
    if workspace.channel is None:
        return
    body = f"{words}\nWho: {done.actor}\nThrough: {done.run}\nWhen: {done.time:%Y-%m-%d %H:%M:%S} UTC"
    body += f"\n{remedy}" if remedy else ""
    with suppress(KeyturnError):
        workspace.channel.send(Announcement(message or f"msg_{uuid.uuid4().hex}", f"Keyturn: {action}", body))
