"""The canonical bytes of an entry, as stored, hashed and signed.

Compact UTF-8 JSON with keys in a fixed order, ``seq`` first. Empty texts and zeros are left out, except time, actor,
action and outcome. The time is RFC 3339 in UTC with microseconds.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring
from typing import Any, Final, TypeVar

from keyturn.core.errors import Invalid
from keyturn.core.ports.ledger import Entry, Outcome

T = TypeVar("T")

TEXT_LIMIT: Final = 1000
"""Maximum characters of a text; the writer cuts longer ones."""

CUT: Final = "…"
"""The last character of a cut text."""

NO_ENTRY: Final = ("read", "an entry of the ledger", "it is not spelled as Keyturn writes it", "Verify the ledger")

BEGINNING: Final = b'{"seq":%d,'
"""The start of the canonical bytes. The rest is the stored tail."""

REMEMBERED: Final = 4096
"""The cached texts per field, since most entries repeat texts."""


@dataclass(frozen=True)
class Numbered:
    """An entry and its number, counted from 1."""

    sequence: int
    entry: Entry


def leaf(sequence: int, entry: Entry) -> bytes:
    """The canonical bytes. Raises Invalid for a time without a zone."""
    return leaf_of(sequence, encode(entry).encode())


def leaf_of(sequence: int, tail: bytes) -> bytes:
    """The canonical bytes of an entry by its tail."""
    return BEGINNING % sequence + tail


def leaves_of(rows: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Numbers with leaves, from tails; empty for a tail that is not bytes."""
    return ((number, leaf_of(number, tail) if isinstance(tail, bytes) else b"") for number, tail in rows)


def encode(entry: Entry) -> str:
    """The tail of an entry. Raises Invalid for a time without a zone."""
    # Encoding is most of the cost of an append apart from SQLite. Entries written together share their second and most
    # texts, so encoded values are cached and looked up without a function call.
    time = entry.time
    begins, ends, second = _second
    try:
        if not begins <= time < ends:
            second = _encode_second(time)
    except TypeError:
        raise Invalid("write", "an entry", "its time has no zone", "Give it one, such as UTC") from None
    micros = time.microsecond
    note = _encode_text("note", entry.note) if entry.note else ""
    return (
        f'"time":"{second}.{_THREE_DIGITS[micros // 1000]}{_THREE_DIGITS[micros % 1000]}Z"'
        f'{_ACTOR[entry.actor]}{_ACTION[entry.action]},"outcome":"{entry.outcome._value_}"'
        f"{_SECRET[entry.secret]}{_VERSION[entry.version]}{_FINGERPRINT[entry.fingerprint]}{_PLACE[entry.place]}{note}"
        f"{_RUN[entry.run]}{_HOST[entry.host]}}}"
    )


def parse_tail(tail: bytes) -> Entry:
    """The entry of a tail. Raises Invalid for one that Keyturn would not write."""
    # Any number works: the entry has none yet.
    return parse_leaf(leaf_of(1, tail)).entry


def missing_tails(tails: Iterable[str], stored: Iterable[str]) -> list[str]:
    """The ``tails`` not in ``stored``. Duplicates must be stored as often."""
    there, missing = Counter(stored), []
    for tail in tails:
        if there[tail]:
            there[tail] -= 1
        else:
            missing.append(tail)
    return missing


def parse_leaf(canonical_bytes: bytes) -> Numbered:
    """The entry of these bytes. Raises Invalid for any that Keyturn would not write."""
    try:
        numbered = _parse(json.loads(canonical_bytes))
        canonical = leaf(numbered.sequence, numbered.entry)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, Invalid):
        raise Invalid(*NO_ENTRY) from None
    if canonical != canonical_bytes or type(numbered.sequence) is not int or type(numbered.entry.version) is not int:
        raise Invalid(*NO_ENTRY)
    return numbered


def _parse(fields: dict[str, Any]) -> Numbered:
    sequence, time, outcome = fields.pop("seq"), fields.pop("time"), fields.pop("outcome")
    return Numbered(sequence, Entry(time=datetime.fromisoformat(time), outcome=Outcome(outcome), **fields))


class _Remembered(dict[T, str]):
    """A cache of the encoded values of one field."""

    def __init__(self, spell: Callable[[T], str]) -> None:
        super().__init__()
        self._spell = spell

    def __missing__(self, value: T) -> str:
        if len(self) >= REMEMBERED:
            self.clear()
        made = self[value] = self._spell(value)
        return made


def _encode_text(key: str, text: str) -> str:
    if len(text) > TEXT_LIMIT:
        text = text[: TEXT_LIMIT - 1] + CUT
    # UTF-8 has no lone surrogates.
    whole = text if text.isascii() else text.encode(errors="replace").decode()
    return f',"{key}":{encode_basestring(whole)}'


def _always(key: str) -> _Remembered[str]:
    return _Remembered(lambda text: _encode_text(key, text))


def _unless_empty(key: str) -> _Remembered[str]:
    return _Remembered(lambda text: _encode_text(key, text) if text else "")


_ACTOR: Final = _always("actor")
_ACTION: Final = _always("action")
_SECRET: Final = _unless_empty("secret")
_VERSION: Final = _Remembered[int](lambda version: f',"version":{version}' if version else "")
_FINGERPRINT: Final = _unless_empty("fingerprint")
_PLACE: Final = _unless_empty("place")
_RUN: Final = _unless_empty("run")
_HOST: Final = _unless_empty("host")

_THREE_DIGITS: Final = tuple(f"{number:03}" for number in range(1000))

_second = (datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), "")
"""The last encoded second: its start, end and text."""


def _encode_second(time: datetime) -> str:
    global _second
    begins = time.astimezone(UTC).replace(microsecond=0)
    text = begins.isoformat()[:19]
    _second = (begins, begins + timedelta(seconds=1), text)
    return text
