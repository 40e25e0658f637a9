"""Notify consumers of a version that was written by hand, each consumer once, wave by wave.

A run claims a secret's notices in the hub, so that only one sends them. If it dies, the next run repeats the message
id.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.errors import KeyturnError, TransientError, Unavailable, unexpected
from keyturn.core.notifications.notice_state import Heard, Silence
from keyturn.rotation.rollout import Acknowledgement, deliver, unwell
from keyturn.rotation.state.context import Workspace, alive, side_by_side
from keyturn.rotation.state.notice_store import HeardByPath, by_part, change_part

PARTS_AT_ONCE: Final = 4
AT_ONCE: Final = 8
"""Secrets of one part notified at once, with answers stored together."""

NOTIFY: Final = "notify"
"""The action on a consumer, in tables of actions on copies."""

SHOWN: Final = 5
"""Unacknowledged consumers that an error names."""

HOLD: Final = timedelta(minutes=3)
"""The lifetime of a claim, longer than notifying takes."""


@dataclass(frozen=True)
class Notified:
    """The outcome of one notice. ``error`` and ``kind`` are empty if acknowledged.

    If the consumer never ``answers``, they are empty once delivered.
    """

    path: str
    consumer: str
    version: int
    error: str = ""
    kind: str = ""
    answers: bool = True

    @property
    def words(self) -> str:
        """The outcome for people."""
        return Acknowledgement(self.consumer, self.error, self.answers).words


@dataclass(frozen=True)
class Notices:
    """The outcome of all notices, in names only. ``held`` are secrets of another run.

    ``later`` has the seconds for which a canary is still watched.
    """

    told: tuple[Notified, ...] = ()
    held: frozenset[str] = frozenset()
    later: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, KeyturnError] = field(default_factory=dict)


@dataclass(frozen=True)
class Wave:
    """One secret after some of its consumers were notified."""

    heard: Heard
    told: tuple[Notified, ...] = ()
    later: float = 0.0
    error: KeyturnError | None = None


def unheard(notices: Notices) -> KeyturnError | None:
    """The error for unacknowledged or undecided notices, or None."""
    silent = [
        f"{notified.consumer} of {notified.path} ({notified.error})" for notified in notices.told if notified.error
    ]
    silent += [f"{path} ({error})" for path, error in sorted(notices.errors.items())]
    if not silent:
        return None
    more = f"; and {len(silent) - SHOWN} more" if len(silent) > SHOWN else ""
    hint = "Every copy is as the run says. The next sync notifies these again, under the same message id"
    return TransientError(NOTIFY, f"{len(silent)} consumers", "; ".join(silent[:SHOWN]) + more, hint)


def tell_written(workspace: Workspace, paths: Iterable[str]) -> Notices:
    """Send the notices due for these secrets and return any error."""
    parts = by_part(paths)
    return together(side_by_side(lambda part: tell_part(workspace, part, parts[part]), parts, PARTS_AT_ONCE))


def tell_part(workspace: Workspace, part: int, paths: Sequence[str]) -> Notices:
    """Send the notices of one part, some secrets at a time."""
    batches = [paths[begin : begin + AT_ONCE] for begin in range(0, len(paths), AT_ONCE)]
    return together([tell_batch(workspace, part, batch) for batch in batches])


def together(several: Iterable[Notices]) -> Notices:
    """Merge several results."""
    listed = list(several)
    return Notices(
        tuple(notified for part in listed for notified in part.told),
        frozenset().union(*(part.held for part in listed)),
        {path: left for part in listed for path, left in part.later.items()},
        {path: error for part in listed for path, error in part.errors.items()},
    )


def tell_batch(workspace: Workspace, part: int, paths: Sequence[str]) -> Notices:
    """Send the notices of a few secrets, then store all answers."""
    claim = str(uuid.uuid4())
    try:
        owed = claim_owed(workspace, part, paths, claim)
        mine = {path: heard for path, heard in owed.items() if heard.claim == claim}
        waves = side_by_side(lambda path: wave(workspace, path, mine[path]), mine)
        keep_answers(workspace, part, dict(zip(mine, waves, strict=True)))
    except KeyturnError as error:
        return Notices(errors=dict.fromkeys(paths, error))
    by_path = dict(zip(mine, waves, strict=True))
    return Notices(
        tuple(notified for some in waves for notified in some.told),
        frozenset(owed.keys() - mine.keys()),
        {path: some.later for path, some in by_path.items() if some.later},
        {path: some.error for path, some in by_path.items() if some.error},
    )


def claim_owed(workspace: Workspace, part: int, paths: Sequence[str], claim: str) -> dict[str, Heard]:
    """The records with notices due, with the ``claim`` on this run's."""
    now = workspace.hub_now()

    def lay(records: dict[str, Heard]) -> HeardByPath:
        free = [
            path for path in paths if path in records and records[path].waiting and not is_taken(records[path], now)
        ]
        return {**records, **{path: records[path].held(workspace.holder, claim, now.isoformat()) for path in free}}

    after = change_part(workspace, part, lay)
    return {path: after[path] for path in paths if path in after and after[path].waiting}


def is_taken(heard: Heard, now: datetime) -> bool:
    """Whether another run that may be alive notifies this secret's consumers."""
    if not heard.holder or alive(heard.holder) is False:
        return False
    return now - datetime.fromisoformat(heard.held_at) < HOLD


def keep_answers(workspace: Workspace, part: int, waves: Mapping[str, Wave]) -> None:
    """Store the answers and release the claims that are still this run's."""

    def lay(records: dict[str, Heard]) -> HeardByPath:
        mine = {
            path: wave for path, wave in waves.items() if path in records and records[path].claim == wave.heard.claim
        }
        return {**records, **{path: wave.heard.released() for path, wave in mine.items()}}

    if waves:
        change_part(workspace, part, lay)


def wave(workspace: Workspace, path: str, heard: Heard) -> Wave:
    """Notify one secret's consumers. Returns any error, to release the claim."""
    try:
        return tell_secret(workspace, path, heard)
    except KeyturnError as error:
        return Wave(heard, error=error)
    except Exception as error:  # noqa: BLE001  its text could hold a value
        return Wave(heard, error=unexpected(error))


def tell_secret(workspace: Workspace, path: str, heard: Heard) -> Wave:
    """Notify the canary, if any, and the others once it is healthy."""
    rollout = workspace.secret(path).rollout
    if rollout is None or heard.canary_well:
        return _tell(workspace, path, heard, heard.waiting)
    first = _tell(workspace, path, heard, [consumer for consumer in rollout.canary if consumer in heard.waiting])
    now = workspace.hub_now()
    if any(notice.error for notice in first.told):
        return first
    since = datetime.fromisoformat(first.heard.canary_told_at) if first.heard.canary_told_at else now
    watched = replace(first, heard=replace(first.heard, canary_told_at=since.isoformat()))
    if (left := (since + rollout.pause - now).total_seconds()) > 0:
        return replace(watched, later=left)
    if why := unwell(workspace, rollout.canary) if rollout.health else "":
        ailing = [Notified(path, consumer, heard.version, why, Unavailable.__name__) for consumer in rollout.canary[:1]]
        return replace(watched, told=(*watched.told, *ailing))
    well = replace(watched.heard, canary_well=True)
    rest = _tell(workspace, path, well, well.waiting)
    return replace(rest, told=(*first.told, *rest.told))


def _tell(workspace: Workspace, path: str, heard: Heard, consumers: Iterable[str]) -> Wave:
    """Notify these consumers concurrently."""
    listed = list(consumers)
    notices = side_by_side(lambda consumer: notified(workspace, path, heard, consumer), listed)
    answers = {notice.consumer: Silence("", notice.kind, notice.error) if notice.error else None for notice in notices}
    return Wave(heard.after(answers, workspace.hub_now().isoformat()), tuple(notices))


def notified(workspace: Workspace, path: str, heard: Heard, consumer: str) -> Notified:
    """Notify one consumer and return any error."""
    at = datetime.fromisoformat(heard.made_at)
    try:
        error = deliver(workspace, consumer, path, heard.version, heard.fingerprint, at, made=True)
    except Exception as unforeseen:  # noqa: BLE001  one that is not foreseen stops no other consumer
        error = unexpected(unforeseen)
    failure = (str(error), type(error).__name__) if error else ("", "")
    return Notified(path, consumer, heard.version, *failure, workspace.catalogue.consumer(consumer).answers)
