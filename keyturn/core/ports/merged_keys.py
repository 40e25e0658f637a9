"""Single keys merged into a secret that others own, and Keyturn's notes about them.

A JSON object is edited in place: all other bytes, order and spelling stay.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from keyturn.core.fingerprint import payload
from keyturn.core.ports.stores import (
    MANAGED_BY,
    TAG_CATALOGUE,
    TAG_FINGERPRINT,
    TAG_MANAGED_BY,
    TAG_SOURCE,
    OwnershipTags,
    Store,
)
from keyturn.core.sensitive import SecretFields, Sensitive

NOTE: Final = "keyturn-part-"
"""Prefix of the tags or annotations that record who owns which keys."""

NOTE_CHARACTERS: Final = 250
"""Length of a note's pieces: the shortest tag limit of any store is 256."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]")
_JOINT: Final = "+"
_NO_TEXT: Final = "="
_SPACE: Final = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Note:
    """Which keys of a shared secret are the copy of one hub secret (``marks``).

    ``not_texts`` are the ``keys`` with non-string values, for stores that hold only texts.
    """

    marks: OwnershipTags
    keys: tuple[str, ...]
    not_texts: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """Distinguishes it from other secrets' notes."""
        return note_id(self.marks.source)

    def to_tags(self) -> dict[str, str]:
        """The note as one or more tags: letters, digits and ``_.:/=+-@``, if the path allows."""
        keys = _JOINT.join(f"{_spelled(key)}{_NO_TEXT if key in self.not_texts else ''}" for key in self.keys)
        text = ":".join((self.marks.fingerprint, self.marks.catalogue, keys, self.marks.source_tag))
        room = NOTE_CHARACTERS - 3
        pieces = [text[start : start + room] for start in range(0, len(text), room)]
        name = f"{NOTE}{self.id}"
        more = {f"{name}-{number}": piece for number, piece in enumerate(pieces[1:], 2)}
        return {name: f"{len(pieces)}:{pieces[0]}", **more}


def note_id(source: str) -> str:
    """Return twelve hex digits that identify a hub path."""
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def notes_in(tags: Mapping[str, str]) -> dict[str, Note]:
    """Return every valid note among these tags or annotations, by hub path."""
    notes = (_note(name, tags) for name in tags if re.fullmatch(rf"{NOTE}[0-9a-f]{{12}}", name))
    return {note.marks.source: note for note in notes if note}


def note_names(source: str, tags: Mapping[str, str]) -> list[str]:
    """The names of all tags of one secret's note."""
    name = f"{NOTE}{note_id(source)}"
    return [tag for tag in tags if tag == name or tag.startswith(f"{name}-")]


def _note(name: str, tags: Mapping[str, str]) -> Note | None:
    count, _, text = tags[name].partition(":")
    pieces = [tags.get(f"{name}-{number}", "") for number in range(2, int(count) + 1)] if count.isdecimal() else []
    digest, _, rest = "".join((text, *pieces)).partition(":")
    catalogue, _, rest = rest.partition(":")
    keys, _, source = rest.partition(":")
    owner_tags = {TAG_SOURCE: source, TAG_FINGERPRINT: digest, TAG_CATALOGUE: catalogue, TAG_MANAGED_BY: MANAGED_BY}
    marks = OwnershipTags.from_tags(owner_tags)
    if marks is None or not keys or name != f"{NOTE}{note_id(marks.source)}":
        return None
    listed = keys.split(_JOINT)
    texts = {key.removesuffix(_NO_TEXT): key.endswith(_NO_TEXT) for key in listed}
    return Note(marks, tuple(map(_read, texts)), frozenset(_read(key) for key, no_text in texts.items() if no_text))


def _spelled(key: str) -> str:
    return "".join(sign if _PLAIN.match(sign) else "".join(f"={byte:02X}" for byte in sign.encode()) for sign in key)


def _read(spelled: str) -> str:
    return re.sub(rb"=([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), spelled.encode()).decode(
        errors="replace"
    )


@dataclass(frozen=True)
class Shared:
    """A secret that others may own, as served.

    ``members`` are keys with values. ``text`` is their JSON text, None if the store keeps keys separately or has none
    yet. ``tags`` hold Keyturn's notes. ``marks`` is set if all of it is Keyturn's copy. ``texts``: every value is a
    string. ``seen`` is for the adapter's conditional write.
    """

    name: str
    version_id: str
    members: Mapping[str, Any] = field(repr=False)
    text: Sensitive | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    marks: OwnershipTags | None = None
    texts: bool = False
    seen: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Change:
    """A change to single keys: ``put`` these, ``take`` those away; a tag of None is removed."""

    put: Mapping[str, Any] = field(default_factory=dict, repr=False)
    take: frozenset[str] = frozenset()
    tags: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def laid(self) -> dict[str, str]:
        """The tags to set."""
        return {name: text for name, text in self.tags.items() if text is not None}

    @property
    def removed(self) -> list[str]:
        """The names of the tags to remove."""
        return [name for name, text in self.tags.items() if text is None]

    def __bool__(self) -> bool:
        """Whether the value changes."""
        return bool(self.put or self.take)

    def text(self, before: Sensitive | None) -> Sensitive:
        """The whole text afterwards. Raises ValueError like :func:`edited`."""
        return edited(before, self.put, self.take)


class Shares(Protocol):
    """Capability: merges single keys into a secret that others own.

    Methods raise the errors of :mod:`keyturn.core.errors`, named ``{store}:{remote name}``.
    """

    name: str
    atomic: bool
    """Whether notes and value are written in one call."""

    def look(self, remote: str) -> Shared | None:
        """The secret as served; None if absent. Raises Invalid if keys can't be merged into it.

        That is a deleted but restorable, disabled, or non-object secret.
        """

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        """Apply the change to ``current``, or create the secret with only these keys if None.

        New notes are written before or with the value, obsolete ones removed last. Raises Conflict if the service
        refused the write after another's. Without such a check, concurrent writes are detected afterwards and the
        change reapplied. Raises Invalid if the result is too large.
        """

    def listed(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Iterate over all secrets with Keyturn's notes, as names with tags."""

    def tidy(self, remote: str) -> None:
        """Remove only what an interrupted write of Keyturn's left. Absent is success."""


def sharing(store: Store) -> Shares | None:
    """The store's port for single keys, if it has one."""
    shared: Shares | None = getattr(store, "shared", None)
    return shared


# --- JSON text of an object


@dataclass(frozen=True)
class _Member:
    """One member's position in a text: its key, its value, and their ends."""

    key: str
    begin: int
    value_begin: int
    end: int
    value: Any


def members_of(text: Sensitive) -> dict[str, Any]:
    """A JSON object's members. Raises ValueError, without a value, for other texts."""
    return {member.key: member.value for member in _members(text.reveal())[0]}


def edited(before: Sensitive | None, put: Mapping[str, Any], take: Collection[str]) -> Sensitive:
    """The object's text after these changes; all other bytes stay.

    New members go last, spaced like the others. Without a text, a canonical object. Raises ValueError for a non-object,
    or a changed member that appears twice.
    """
    if before is None:
        return payload(SecretFields(put))
    text = before.reveal()
    for key in take:
        text = _without(text, key)
    for key, value in put.items():
        text = _with(text, key, json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return Sensitive(text)


def _members(text: str) -> tuple[list[_Member], int]:
    """The object's members and the position of a first one."""
    try:
        return _parsed(text)
    except (ValueError, RecursionError, IndexError):
        raise ValueError("it holds no JSON object") from None


def _parsed(text: str) -> tuple[list[_Member], int]:
    decode, members = json.JSONDecoder().raw_decode, list[_Member]()
    at = _after(text, 0, "{")
    first, at = at, _past_space(text, at)
    while text[at] != "}":
        at = _past_space(text, _after(text, at, ",")) if members else at
        begin = at
        key, at = decode(text, _after(text, at, '"') - 1)
        value_begin = _past_space(text, _after(text, at, ":"))
        value, end = decode(text, value_begin)
        members.append(_Member(key, begin, value_begin, end, value))
        at = _past_space(text, end)
    if _past_space(text, at + 1) != len(text):
        raise ValueError
    return members, first


def _after(text: str, at: int, sign: str) -> int:
    at = _past_space(text, at)
    if text[at] != sign:
        raise ValueError
    return at + 1


def _past_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _only(members: Collection[_Member], key: str) -> _Member | None:
    there = [member for member in members if member.key == key]
    if len(there) > 1:
        raise ValueError(f"the key {key} appears twice in it")
    return there[0] if there else None


def _without(text: str, key: str) -> str:
    members, first = _members(text)
    if (member := _only(members, key)) is None:
        return text
    index = members.index(member)
    if index:
        return text[: members[index - 1].end] + text[member.end :]
    if len(members) > 1:
        return text[: member.begin] + text[members[1].begin :]
    return text[:first] + text[_past_space(text, member.end) :]


def _with(text: str, key: str, value: str) -> str:
    members, first = _members(text)
    if member := _only(members, key):
        return text[: member.value_begin] + value + text[member.end :]
    name = json.dumps(key, ensure_ascii=False)
    if not members:
        return f"{text[:first]}{name}:{value}{text[_past_space(text, first) :]}"
    last = members[-1]
    before = members[-2].end if len(members) > 1 else first
    joint = text[before : last.begin] if len(members) > 1 else f",{text[before : last.begin]}"
    colon = text[json.JSONDecoder().raw_decode(text, last.begin)[1] : last.value_begin]
    return f"{text[: last.end]}{joint}{name}{colon}{value}{text[last.end :]}"
