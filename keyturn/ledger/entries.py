"""The canonical bytes of an entry: what is stored, hashed and signed, always spelled in the one same way.

One compact JSON object in UTF-8 with its keys in a fixed order, ``seq`` first. Keys whose text is empty or whose
number is 0 are left out, but for time, actor, action and outcome. The time is RFC 3339 in UTC with microseconds.
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
"""Characters that a text of an entry may hold; the writer cuts a longer one."""

CUT: Final = "…"
"""The last character of a text that was cut."""

NO_ENTRY: Final = ("read", "an entry of the ledger", "it is not spelled as Keyturn writes it", "Verify the ledger")

BEGINNING: Final = b'{"seq":%d,'
"""How the canonical bytes begin. What follows is the entry's tail; a ledger stores it, and the number as the row's."""

REMEMBERED: Final = 4096
"""How many texts of one field are kept spelled; most entries repeat those of others."""


@dataclass(frozen=True)
class Numbered:
    """An entry and its place in the ledger, counted from 1."""

    sequence: int
    entry: Entry


def leaf(sequence: int, entry: Entry) -> bytes:
    """The canonical bytes. Raises Invalid for a time without a zone."""
    return leaf_of(sequence, encode(entry).encode())


def leaf_of(sequence: int, tail: bytes) -> bytes:
    """The canonical bytes of an entry by its tail."""
    return BEGINNING % sequence + tail


def leaves_of(rows: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Numbers with their leaves, from numbers with their tails; a leaf is empty where something else was stored."""
    return ((number, leaf_of(number, tail) if isinstance(tail, bytes) else b"") for number, tail in rows)


def encode(entry: Entry) -> str:
    """The tail: the canonical text without its beginning. Raises Invalid for a time without a zone."""
    # It is most of what an append costs beside SQLite. Entries that are written together share their second, and most
    # of their texts: what is spelled once is kept, and no function is called for what is.
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
    """The entry of a tail. Raises Invalid for any that Keyturn would not have written."""
    # Any number will do: it has none yet.
    return parse_leaf(leaf_of(1, tail)).entry


def missing_tails(tails: Iterable[str], stored: Iterable[str]) -> list[str]:
    """Those of ``tails`` that are not ``stored``; one that occurs twice has to be stored twice."""
    there, missing = Counter(stored), []
    for tail in tails:
        if there[tail]:
            there[tail] -= 1
        else:
            missing.append(tail)
    return missing


def parse_leaf(canonical_bytes: bytes) -> Numbered:
    """The entry of these canonical bytes. Raises Invalid for any that Keyturn would not have written."""
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
    """What ``spell`` makes of the values of one field, kept for those that come again."""

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
    # A surrogate that stands alone is in no UTF-8.
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
"""The second that was spelled last: when it begins and ends, and its text."""


def _encode_second(time: datetime) -> str:
    global _second
    begins = time.astimezone(UTC).replace(microsecond=0)
    text = begins.isoformat()[:19]
    _second = (begins, begins + timedelta(seconds=1), text)
    return text
