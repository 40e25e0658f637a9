"""The status and the next step of each managed key."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from keyturn.catalogue.keys import KeySettings
from keyturn.core.error_codes import code_of
from keyturn.core.errors import Denied, Invalid, KeyturnError, Missing, NotFound, TerminalError, unexpected
from keyturn.core.own_keys import KeyTurn, turn_each
from keyturn.core.ports.managed_keys import (
    KeepsGenerations,
    KeyCondition,
    KeyFacts,
    ManagedKey,
    refuse_condition,
    refuse_place,
)
from keyturn.core.rights.capabilities import capability
from keyturn.keys.key_rotations import KeyNote, load_note, turn_key
from keyturn.keys.key_versions import find_old, floor_wanted, raise_floor, rewrap_old
from keyturn.rotation.state.context import Workspace, side_by_side

AT_ONCE: Final = 8


class KeyStanding(StrEnum):
    """The state of a managed key."""

    IN_USE = "in use"
    TURNING = "being rotated"
    OUTSIDE_HSM = "not in an HSM"
    DISABLED = "disabled"
    ENDING = "to be deleted"
    DELETED = "deleted"
    ABSENT = "absent"
    DENIED = "may not be looked at"
    UNFIT = "can't be managed"
    UNKNOWN = "unknown"
    """It could not be read."""


@dataclass(frozen=True)
class KeyStatus:
    """The status of one key, in names only.

    ``due_at`` is the next rotation. ``left`` lists other work. ``error`` may mean that it is unreadable.
    """

    name: str
    place: str
    owner: str
    standing: KeyStanding
    facts: KeyFacts | None = None
    due_at: datetime | None = None
    left: tuple[str, ...] = ()
    error: str = ""
    unseen: bool = False
    """Whether a rotation is open, or the generation is new."""
    code: str = ""
    """The error's code, if the key is unreadable."""

    def due(self, now: datetime) -> bool:
        """Whether the key requires work or a report."""
        late = self.due_at is not None and self.due_at <= now
        return bool(late or self.left or self.error or self.unseen)

    def to_data(self) -> dict[str, Any]:
        """The status as JSON data."""
        facts = self.facts
        return {
            "name": self.name,
            "place": self.place,
            "owner": self.owner,
            "state": str(self.standing),
            "generation": facts.generation if facts else "",
            "made_at": facts.made_at.isoformat() if facts and facts.made_at else None,
            "due_at": self.due_at.isoformat() if self.due_at else None,
            "ends_at": facts.ends_at.isoformat() if facts and facts.ends_at else None,
            "hsm": facts.hsm if facts else None,
            "kept_in": facts.kept_in if facts else "",
            "left": list(self.left),
            "error": self.error,
            "code": self.code,
        }


def key_statuses(workspace: Workspace, name: str | None = None) -> list[KeyStatus]:
    """The status of every managed key, or of one. Raises NotFound."""
    names = sorted(workspace.catalogue.keys) if name is None else [name]
    return side_by_side(lambda key: key_status(workspace, key), names, AT_ONCE)


def key_status(workspace: Workspace, name: str) -> KeyStatus:
    """The status of one key, with any error."""
    settings = workspace.catalogue.key(name)
    try:
        key = opened_key(workspace, name)
        facts = key.describe()
    except KeyturnError as error:
        return KeyStatus(
            name, settings.place, settings.owner or "", standing_of(error), error=str(error), code=code_of(error)
        )
    wrong = refuse_condition(name, facts) or (refuse_place(name, facts) if settings.hsm else None)
    if wrong:
        standing = WRONG.get(facts.condition, KeyStanding.OUTSIDE_HSM)
        return KeyStatus(name, settings.place, settings.owner or "", standing, facts, error=str(wrong))
    return usable_status(workspace, settings, key, facts, name)


WRONG: Final = {KeyCondition.DISABLED: KeyStanding.DISABLED, KeyCondition.ENDING: KeyStanding.ENDING}


def usable_status(
    workspace: Workspace, settings: KeySettings, key: ManagedKey, facts: KeyFacts, name: str
) -> KeyStatus:
    """The status of a usable key."""
    left, error, note = tuple[str, ...](), "", KeyNote(key.name, seen=facts.generation)
    try:
        note = load_note(workspace, name, key.name)
        left = tuple(work_left(workspace, settings, key))
    except KeyturnError as failure:
        error = str(failure)
    opened = bool(note.before) or facts.turning
    standing = KeyStanding.TURNING if opened else KeyStanding.IN_USE
    due_at = workspace.hub_now() if note.before else next_at(settings, facts)
    return KeyStatus(
        name,
        settings.place,
        settings.owner or "",
        standing,
        facts,
        due_at,
        left,
        error,
        note.before != "" or note.seen != facts.generation,
    )


def standing_of(error: KeyturnError) -> KeyStanding:
    """The state that an error implies."""
    kinds = {
        Missing: KeyStanding.DELETED,
        NotFound: KeyStanding.ABSENT,
        Denied: KeyStanding.DENIED,
        Invalid: KeyStanding.UNFIT,
    }
    return next((standing for kind, standing in kinds.items() if isinstance(error, kind)), KeyStanding.UNKNOWN)


def next_at(settings: KeySettings, facts: KeyFacts) -> datetime | None:
    """When the generation in use becomes too old."""
    return facts.made_at + settings.interval if facts.made_at and settings.interval else None


def work_left(workspace: Workspace, settings: KeySettings, key: ManagedKey) -> list[str]:
    """The work other than a rotation. Raises if unreadable."""
    left = list(key.differences())
    if keeps := capability(key, KeepsGenerations):
        generations = keeps.generations()
        old = find_old(workspace, keeps, rewrapped_by(settings), generations.newest)
        left += [f"{secret.path}: {secret.held_by or 'it is encrypted by an older generation'}" for secret in old]
        floor = floor_wanted(generations, grace_of(settings), workspace.hub_now())
        left += [f"generations before {floor} are to be put out of use"] if floor > generations.floor else []
    return left


def rewrapped_by(settings: KeySettings) -> tuple[str, ...]:
    """The secrets with fields that the key has encrypted."""
    paths: tuple[str, ...] = getattr(settings, "rewraps", ())
    return paths


def grace_of(settings: KeySettings) -> timedelta | None:
    """How long an old generation stays usable."""
    grace: timedelta | None = getattr(settings, "grace", None)
    return grace


def opened_key(workspace: Workspace, name: str) -> ManagedKey:
    """The key's adapter. Raises Invalid without one."""
    if workspace.open_key is None:
        raise Invalid("open", name, "this process opens no keys", "Use a worker, or the command line")
    return workspace.open_key(name)


def due_keys(workspace: Workspace, name: str | None = None, *, forced: bool = False) -> list[str]:
    """The names of the due keys, or all if ``forced``."""
    statuses, now = key_statuses(workspace, name), workspace.hub_now()
    return [status.name for status in statuses if forced or status.due(now)]


def rotate_key(workspace: Workspace, name: str, *, forced: bool = False) -> KeyTurn:
    """Take the next steps of one key: its rotation if due or ``forced``, then the follow-up work.

    Safe to run again. Raises the first error after trying all steps.
    """
    settings, key = workspace.catalogue.key(name), opened_key(workspace, name)
    facts = key.describe()
    if wrong := refuse_condition(name, facts) or (refuse_place(name, facts) if settings.hsm else None):
        raise wrong
    steps: list[Callable[[], list[str]]] = [
        lambda: turn_key(workspace, name, key, facts, reason_of(workspace, settings, facts, forced=forced)),
        lambda: list(key.settle()),
    ]
    if keeps := capability(key, KeepsGenerations):
        steps.append(lambda: follow_up(workspace, name, settings, keeps))
    did, failures = list[str](), list[KeyturnError]()
    for step in steps:
        try:
            did += step()
        except KeyturnError as error:
            failures.append(error)
        except Exception as error:  # noqa: BLE001  its text could hold a value
            failures.append(unexpected(error))
    if failures:
        raise with_done(failures[0], did)
    return KeyTurn(name, "; ".join(did) or "nothing was to be done", changed=bool(did))


def with_done(error: KeyturnError, did: list[str]) -> KeyturnError:
    """The error, with what was done in spite of it."""
    if did and isinstance(error, TerminalError):
        error.problem = f"{error.problem} (done all the same: {'; '.join(did)})"
    return error


def reason_of(workspace: Workspace, settings: KeySettings, facts: KeyFacts, *, forced: bool) -> str:
    """Why the key is rotated now, or empty."""
    if forced:
        return "a person requested it"
    at = next_at(settings, facts)
    return f"generation {facts.generation} is of {facts.made_at:%Y-%m-%d}" if at and at <= workspace.hub_now() else ""


def follow_up(workspace: Workspace, name: str, settings: KeySettings, keeps: KeepsGenerations) -> list[str]:
    """Rewrap old ciphertexts, then disable old generations.

    Raises the first error after trying all ciphertexts, and then disables no generation.
    """
    generations = keeps.generations()
    did, failures = list[str](), list[KeyturnError]()
    for old in find_old(workspace, keeps, rewrapped_by(settings), generations.newest):
        try:
            did.append(rewrap_old(workspace, name, keeps, old, generations.newest))
        except KeyturnError as error:
            failures.append(error)
    if failures:
        raise with_done(failures[0], did)
    floor = floor_wanted(generations, grace_of(settings), workspace.hub_now())
    return [*did, raise_floor(workspace, name, keeps, floor)] if floor > generations.floor else did


def rotate_keys(
    workspace: Workspace, name: str | None = None, *, forced: bool = False
) -> dict[str, KeyTurn | KeyturnError]:
    """Take the next steps of the due keys. One failure stops no other."""
    return turn_each(due_keys(workspace, name, forced=forced), lambda key: rotate_key(workspace, key, forced=forced))
