"""Single keys laid into a secret that others own: what a store shows of one, and what Keyturn notes beside it.

A JSON object is edited where it stands: whatever is not ours keeps its bytes, its order and its spelling.
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
"""How the names of the tags or annotations begin that tell whose which keys are."""

NOTE_CHARACTERS: Final = 250
"""A note is written in pieces of this length: the shortest value that a store's tag takes is 256."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]")
_JOINT: Final = "+"
_NO_TEXT: Final = "="
_SPACE: Final = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Note:
    """Which keys of a secret that others own are the copy of one secret of the hub, as its ``marks`` tell.

    ``not_texts`` are those of the ``keys`` whose values are no strings, for stores that hold texts alone.
    """

    marks: OwnershipTags
    keys: tuple[str, ...]
    not_texts: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """What tells it from the notes of other secrets."""
        return note_id(self.marks.source)

    def to_tags(self) -> dict[str, str]:
        """The note as one tag, or several where it is long: letters, digits and ``_.:/=+-@`` as far as the path is."""
        keys = _JOINT.join(f"{_spelled(key)}{_NO_TEXT if key in self.not_texts else ''}" for key in self.keys)
        text = ":".join((self.marks.fingerprint, self.marks.catalogue, keys, self.marks.source_tag))
        room = NOTE_CHARACTERS - 3
        pieces = [text[start : start + room] for start in range(0, len(text), room)]
        name = f"{NOTE}{self.id}"
        more = {f"{name}-{number}": piece for number, piece in enumerate(pieces[1:], 2)}
        return {name: f"{len(pieces)}:{pieces[0]}", **more}


def note_id(source: str) -> str:
    """Twelve hex digits that tell a hub path from others."""
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def notes_in(tags: Mapping[str, str]) -> dict[str, Note]:
    """Every note among these tags or annotations, by the hub path that it is of; what is malformed is none."""
    notes = (_note(name, tags) for name in tags if re.fullmatch(rf"{NOTE}[0-9a-f]{{12}}", name))
    return {note.marks.source: note for note in notes if note}


def note_names(source: str, tags: Mapping[str, str]) -> list[str]:
    """The names of all tags there are of one secret's note."""
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
    """A secret that others may own, as it is served now.

    ``members`` are its keys with their values; ``text`` is the JSON text that they stand in, None where the store
    keeps each key by itself or serves nothing yet. ``tags`` are the tags or annotations that hold Keyturn's notes.
    ``marks`` are there where the whole of it is a copy of Keyturn's. ``texts`` says that every value is a text.
    ``seen`` is what the store's own adapter needs to write over exactly this.
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
    """What is to be done to single keys: these are ``put``, those are taken away; None removes a tag."""

    put: Mapping[str, Any] = field(default_factory=dict, repr=False)
    take: frozenset[str] = frozenset()
    tags: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def laid(self) -> dict[str, str]:
        """The tags that are set."""
        return {name: text for name, text in self.tags.items() if text is not None}

    @property
    def removed(self) -> list[str]:
        """The names of the tags that are removed."""
        return [name for name, text in self.tags.items() if text is None]

    def __bool__(self) -> bool:
        """Whether the value changes."""
        return bool(self.put or self.take)

    def text(self, before: Sensitive | None) -> Sensitive:
        """The whole text afterwards. Raises ValueError as :func:`edited` does."""
        return edited(before, self.put, self.take)


class Shares(Protocol):
    """What a store has besides where single keys can be laid into a secret that others own.

    Every method raises the errors of :mod:`keyturn.core.errors`, named ``{store}:{remote name}``.
    """

    name: str
    atomic: bool
    """Whether notes and value are written in one call."""

    def look(self, remote: str) -> Shared | None:
        """The secret as it is served; None where there is none. Raises Invalid for one that no key can be laid into.

        That is one that is deleted and can be restored, is disabled, or holds something else than an object.
        """

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        """Do it to the secret as it was looked at, or make it with these keys alone where ``current`` is None.

        What is noted comes first or together with the value, what is no longer noted goes last. Raises Conflict where
        somebody else was faster and the service has refused the write. Where the service can't refuse it, what others
        wrote meanwhile is found afterwards, and the change is laid over that. Raises Invalid for what is too large as
        a whole.
        """

    def listed(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Every secret's name that carries notes of Keyturn's, with its tags."""

    def tidy(self, remote: str) -> None:
        """Remove what a write of Keyturn's that died has left beside it, and nothing of others. Absent is success."""


def sharing(store: Store) -> Shares | None:
    """The store's way to single keys, where it has one."""
    shared: Shares | None = getattr(store, "shared", None)
    return shared


# --- an object's text


@dataclass(frozen=True)
class _Member:
    """Where one member stands in a text: its key, its value, and the ends of both."""

    key: str
    begin: int
    value_begin: int
    end: int
    value: Any


def members_of(text: Sensitive) -> dict[str, Any]:
    """The members of a JSON object. Raises ValueError, without a value, for any other text."""
    return {member.key: member.value for member in _members(text.reveal())[0]}


def edited(before: Sensitive | None, put: Mapping[str, Any], take: Collection[str]) -> Sensitive:
    """The object's text with these members put and those taken away; all others stay to the byte.

    New ones stand at its end, spaced as the others are. Without a text there is a new object in canonical form.
    Raises ValueError where it is no object, or one of these members stands in it twice.
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
    """The members of the object, and where its first one would stand."""
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
        raise ValueError(f"the key {key} stands in it twice")
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
