"""One rotation of a managed key: written down before its engine is asked, so that whoever dies is followed by the next.

Engines take no token: whoever asks twice gets two generations. So the generation before is noted in the hub, by
compare-and-set, and once another one is in use the rotation is over, whoever has made it.
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
"""Where the notes lie in Keyturn's own mount of the hub."""
ROTATE: Final = "rotate key"
SEE: Final = "see key rotated"
LONGEST: Final = timedelta(days=1)
"""How long an engine may take for what it was asked for: a person is told then."""


@dataclass(frozen=True)
class KeyNote:
    """What the hub has of one key: which generation was seen last, and the rotation that is open.

    ``place`` is the key that it is about: a catalogue may name another one since. ``before`` is the generation that is
    to be replaced, empty where nothing is open; ``asked_at`` when its engine has taken the request.
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
        """As it lies in the hub."""
        texts = {name: getattr(self, name) for name in ("place", "seen", "before", "reason", "holder")}
        return {**texts, "asked_at": self.asked_at.isoformat() if self.asked_at else ""}

    @classmethod
    def from_data(cls, data: Mapping[str, Any], version: int, age: float) -> "KeyNote":
        """What lies there. Raises ValueError, TypeError and KeyError for what nobody here has written."""
        texts = {name: data[name] for name in ("place", "seen", "before", "reason", "holder", "asked_at")}
        if not all(isinstance(text, str) for text in texts.values()):
            raise ValueError("not all are texts")
        moment = texts.pop("asked_at")
        return cls(**texts, asked_at=datetime.fromisoformat(moment) if moment else None, version=version, age=age)


def load_note(workspace: Workspace, name: str, place: str) -> KeyNote:
    """The note on a key; an empty one where there is none, or it is about another key. Raises Invalid."""
    state = workspace.hub.read_state(f"{MANAGED_KEYS}/{name}")
    if state is None:
        return KeyNote(place)
    try:
        note = KeyNote.from_data(state.data, state.version, state.age)
    except (ValueError, TypeError, KeyError):
        entry = f"{workspace.hub.state_mount}/{MANAGED_KEYS}/{name}"
        hint = f"Remove it (`vault kv metadata delete {entry}`): then the key's own age alone says when it is due"
        raise Invalid("read", name, f"its note {entry} can't be read: somebody else has written there", hint) from None
    return note if note.place == place else KeyNote(place, version=note.version)


def turn_key(workspace: Workspace, name: str, key: ManagedKey, facts: KeyFacts, reason: str) -> list[str]:
    """Go on with the rotation that is open, or begin one where there is a reason; what was done, in words.

    Raises Locked where another process is at it, and what the engine refuses.
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
    """Go on where a run has ended. Raises Locked while it may still be at it, and Invalid where the engine is not."""
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
    """Ask the engine for a new generation, unless there is one by now; where it makes it at once, that is the end."""
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
        # Whoever is faster here has seen the new generation, and notes the same.
        with suppress(Locked):
            save_note(workspace, name, closed(note, facts))
    return [words]


def conclude(workspace: Workspace, name: str, note: KeyNote, facts: KeyFacts) -> list[str]:
    """The rotation that was open is over: another generation is in use, so none is made besides."""
    words = f"generation {facts.generation} is in use, {note.before} was: the rotation that was open is over"
    with record_action(workspace, ROTATE, place=name, note=words, changes=False):
        save_note(workspace, name, closed(note, facts))
    return [words]


def see(workspace: Workspace, name: str, note: KeyNote, facts: KeyFacts) -> tuple[list[str], KeyNote]:
    """Note a generation that nobody here has made; what is said of it, nothing of the first that is seen at all."""
    if note.seen == facts.generation:
        return [], note
    if not note.seen:
        return [], save_note(workspace, name, closed(note, facts))
    words = f"generation {facts.generation} is in use, {note.seen} was: its engine, or somebody else, has changed that"
    with record_action(workspace, SEE, place=name, note=words, changes=False):
        return [words], save_note(workspace, name, closed(note, facts))


def closed(note: KeyNote, facts: KeyFacts) -> KeyNote:
    """The note once nothing is open any more."""
    return KeyNote(note.place, seen=facts.generation, version=note.version)


def save_note(workspace: Workspace, name: str, note: KeyNote) -> KeyNote:
    """Write a note over the one that was read. Raises Locked where another process was faster."""
    try:
        version = workspace.hub.write_state(f"{MANAGED_KEYS}/{name}", note.to_data(), cas=note.version)
    except Conflict:
        problem = "another process is at the key at this moment"
        raise Locked("rotate", name, problem, "It is looked at again with the next run") from None
    return replace(note, version=version, age=0.0)


def insist_on_dead_holder(workspace: Workspace, name: str, note: KeyNote) -> None:
    """Who has begun it has ended, or was not heard of for long. Raises Locked."""
    if note.holder == workspace.holder or (lives := alive(note.holder)) is False:
        return
    if lives or note.age < workspace.patience:
        raise Locked("rotate", name, f"{note.holder} is at it", "It goes on by itself once that has ended")


def insist_on_holding(workspace: Workspace, name: str, note: KeyNote) -> None:
    """Nobody has taken the rotation over meanwhile: read directly before the engine is asked. Raises Superseded."""
    if load_note(workspace, name, note.place).version != note.version:
        raise Superseded("rotate", name, "another process has taken the rotation over", "See `keyturn keys show`")
