"""The rotation of a managed key, recorded before the engine is called so that another run can continue.

Two requests to an engine make two generations. So the previous one is recorded by compare-and-set, and any other
generation ends the rotation.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import Conflict, Invalid, Locked, Superseded
from keyturn.core.ports.managed_keys import KeyFacts, ManagedKey
from keyturn.rotation.state.context import Workspace, alive
from keyturn.rotation.state.journal import record_action

MANAGED_KEYS: Final = "keys"
"""The folder of the notes in Keyturn's mount."""
ROTATE: Final = "rotate key"
SEE: Final = "see key rotated"
LONGEST: Final = timedelta(days=1)
"""How long an engine may take before an error is raised."""


@dataclass(frozen=True)
class KeyNote:
    """The hub's note on one key: the last seen generation, and the open rotation.

    ``before`` is the generation to replace, or empty. ``asked_at`` is when the engine accepted the request.
    """

    place: str
    seen: str = ""
    before: str = ""
    reason: str = ""
    holder: str = ""
    asked_at: datetime | None = None
    version: int = 0
    age: float = 0.0

    def to_data(self) -> dict[str, Any]:
        """The note as JSON data."""
        texts = {name: getattr(self, name) for name in ("place", "seen", "before", "reason", "holder")}
        return {**texts, "asked_at": self.asked_at.isoformat() if self.asked_at else ""}

    @classmethod
    def from_data(cls, data: Mapping[str, Any], version: int, age: float) -> "KeyNote":
        """Parse a note. Raises ValueError, TypeError or KeyError."""
        texts = {name: data[name] for name in ("place", "seen", "before", "reason", "holder", "asked_at")}
        if not all(isinstance(text, str) for text in texts.values()):
            raise ValueError("not all are texts")
        moment = texts.pop("asked_at")
        return cls(**texts, asked_at=datetime.fromisoformat(moment) if moment else None, version=version, age=age)


def load_note(workspace: Workspace, name: str, place: str) -> KeyNote:
    """The note on a key, empty if missing or about another. Raises Invalid."""
    state = workspace.hub.read_state(f"{MANAGED_KEYS}/{name}")
    if state is None:
        return KeyNote(place)
    try:
        note = KeyNote.from_data(state.data, state.version, state.age)
    except (ValueError, TypeError, KeyError):
        entry = f"{workspace.hub.state_mount}/{MANAGED_KEYS}/{name}"
        hint = f"Remove it (`vault kv metadata delete {entry}`): then the key's own age alone says when it is due"
        raise Invalid(
            "read", name, f"its note {entry} can't be read: something other than Keyturn wrote there", hint
        ) from None
    return note if note.place == place else KeyNote(place, version=note.version)


def turn_key(workspace: Workspace, name: str, key: ManagedKey, facts: KeyFacts, reason: str) -> list[str]:
    """Continue the open rotation, or begin one for a ``reason``. Returns what was done.

    Raises Locked during another process's work.
    """
    note = load_note(workspace, name, key.name)
    if note.before and note.before != facts.generation:
        return conclude(workspace, name, note, facts)
    if note.before:
        return resume_turn(workspace, name, key, note, facts)
    did, note = see(workspace, name, note, facts)
    if facts.turning or not reason:
        return did
    begun = replace(note, seen=facts.generation, before=facts.generation, reason=reason, holder=workspace.holder)
    return [*did, *ask_engine(workspace, name, key, save_note(workspace, name, begun))]


def resume_turn(workspace: Workspace, name: str, key: ManagedKey, note: KeyNote, facts: KeyFacts) -> list[str]:
    """Continue the rotation of another run.

    Raises Locked while that run may be alive, Invalid if the engine is idle a day after the request.
    """
    if note.asked_at is None:
        insist_on_dead_holder(workspace, name, note)
        return ask_engine(workspace, name, key, save_note(workspace, name, replace(note, holder=workspace.holder)))
    if facts.turning or workspace.hub_now() - note.asked_at < LONGEST:
        return []
    entry = f"{workspace.hub.state_mount}/{MANAGED_KEYS}/{name}"
    problem = f"its engine took the request {note.asked_at:%Y-%m-%d %H:%M} UTC and still uses generation {note.before}"
    hint = f"See what the engine says; to have it asked again, remove the note (`vault kv metadata delete {entry}`)"
    raise Invalid("rotate", name, problem, hint)


def ask_engine(workspace: Workspace, name: str, key: ManagedKey, note: KeyNote) -> list[str]:
    """Request a new generation unless there is one."""
    with record_action(workspace, ROTATE, place=name, note=f"{note.reason}; {key.name}") as doing:
        facts = key.describe()
        if facts.generation == note.before and not facts.turning:
            insist_on_holding(workspace, name, note)
            key.rotate()
            note = save_note(workspace, name, replace(note, asked_at=workspace.hub_now()))
            facts = key.describe()
        done = facts.generation != note.before
        words = f"generation {facts.generation} is in use" if done else "its engine makes the next generation"
        doing.note = f"{note.reason}; {words}"
    if done:
        # Another process that was faster has recorded the same generation.
        with suppress(Locked):
            save_note(workspace, name, closed(note, facts))
    return [words]


def conclude(workspace: Workspace, name: str, note: KeyNote, facts: KeyFacts) -> list[str]:
    """Close the open rotation, because another generation is in use."""
    words = f"generation {facts.generation} is in use, {note.before} was: the rotation that was open is over"
    with record_action(workspace, ROTATE, place=name, note=words, changes=False):
        save_note(workspace, name, closed(note, facts))
    return [words]


def see(workspace: Workspace, name: str, note: KeyNote, facts: KeyFacts) -> tuple[list[str], KeyNote]:
    """Record an outside generation, and report any but the first."""
    if note.seen == facts.generation:
        return [], note
    if not note.seen:
        return [], save_note(workspace, name, closed(note, facts))
    words = f"generation {facts.generation} is in use, {note.seen} was: its engine, or someone else, changed that"
    with record_action(workspace, SEE, place=name, note=words, changes=False):
        return [words], save_note(workspace, name, closed(note, facts))


def closed(note: KeyNote, facts: KeyFacts) -> KeyNote:
    """The note without an open rotation."""
    return KeyNote(note.place, seen=facts.generation, version=note.version)


def save_note(workspace: Workspace, name: str, note: KeyNote) -> KeyNote:
    """Write a note over the version read. Raises Locked if it has changed."""
    try:
        version = workspace.hub.write_state(f"{MANAGED_KEYS}/{name}", note.to_data(), cas=note.version)
    except Conflict:
        problem = "another process is at the key at this moment"
        raise Locked("rotate", name, problem, "It is looked at again with the next run") from None
    return replace(note, version=version, age=0.0)


def insist_on_dead_holder(workspace: Workspace, name: str, note: KeyNote) -> None:
    """Raise Locked unless the holder is dead or silent for too long."""
    if note.holder == workspace.holder or (lives := alive(note.holder)) is False:
        return
    if lives or note.age < workspace.patience:
        raise Locked("rotate", name, f"{note.holder} is at it", "It continues by itself once that has ended")


def insist_on_holding(workspace: Workspace, name: str, note: KeyNote) -> None:
    """Raise Superseded if another process has taken over."""
    if load_note(workspace, name, note.place).version != note.version:
        raise Superseded("rotate", name, "another process has taken the rotation over", "See `keyturn keys show`")
