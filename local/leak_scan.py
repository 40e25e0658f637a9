"""Searching files and databases for secret values, however a program may have written them down."""

import base64
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

from keyturn.core.errors import Invalid

SHORTEST: Final = 8
"""Characters: a shorter text is found anywhere by chance."""

SQLITE: Final = b"SQLite format 3\x00"

Needles = dict[tuple[str, bytes], str]
"""A value's name and one way to write it, and what that way is called."""

WRAPPED: Final = re.compile(rb"(?:\\+[rn]|\s)+")
"""Line ends inside encoded text, also those that JSON has escaped."""


@dataclass(frozen=True, order=True)
class Finding:
    """Where a value was found: its name, never the value; ``form`` is how it was written."""

    place: str
    name: str
    form: str


def scan(places: Iterable[Path], values: Mapping[str, str]) -> list[Finding]:
    """Every place that holds one of ``values`` (each under a name), in clear, JSON, URL, hex or base64.

    Places are files, or directories with all below them; an SQLite file is searched byte for byte and
    column by column, since a long text lies there in pieces. A file that vanishes meanwhile is passed over,
    and compressed text is not opened. Raises Invalid for a value too short to search for.
    """
    needles: Needles = {}
    for name, value in values.items():
        if len(value) < SHORTEST:
            problem = f"it has fewer than {SHORTEST} characters"
            raise Invalid("search for", name, problem, "It would be found everywhere by chance")
        for form, needle in forms(value):
            needles.setdefault((name, needle), form)
    findings = {finding for file in files(places) for finding in in_file(file, needles)}
    return sorted(findings)


def forms(value: str) -> Iterator[tuple[str, bytes]]:
    """Each way to write the value, and what that is called."""
    raw = value.encode()
    yield "clear", raw
    yield from (("JSON", text.encode()) for text in as_json(value))
    yield from (("URL", text.encode()) for text in (quote(value, safe=""), quote(value), quote_plus(value)))
    yield "hex", raw.hex().encode()
    yield "hex", raw.hex().upper().encode()
    yield from (("base64", text) for text in as_base64(raw))


def as_json(value: str) -> Iterator[str]:
    """Inside a JSON text, and inside a JSON text that stands in another."""
    for plain in (True, False):
        once = json.dumps(value, ensure_ascii=plain)[1:-1]
        yield once
        yield json.dumps(once, ensure_ascii=plain)[1:-1]


def as_base64(raw: bytes) -> Iterator[bytes]:
    """What is the same in every longer text's base64: one for each of the three places it may begin at."""
    for before in range(3):
        # The characters at either end depend on the neighbours as well.
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        encoded = base64.b64encode(bytes(before) + raw)[first:last]
        yield encoded
        yield encoded.translate(bytes.maketrans(b"+/", b"-_"))


def files(places: Iterable[Path]) -> Iterator[Path]:
    """The files, and those below the directories; links are not followed."""
    for place in places:
        if not place.is_dir():
            yield place
            continue
        for directory, _, names in os.walk(place):
            yield from (Path(directory) / name for name in names)


def in_file(file: Path, needles: Needles) -> Iterator[Finding]:
    """What one file holds, in its bytes and, where it is a database, in its columns."""
    try:
        data = file.read_bytes() if file.is_file() else b""
    except FileNotFoundError:
        return
    yield from found_in(str(file), data, needles)
    if data.startswith(SQLITE):
        for column, text in columns(file):
            yield from found_in(f"{file}: {column}", text, needles)


def found_in(place: str, data: bytes, needles: Needles) -> Iterator[Finding]:
    """The needles in ``data``; those in base64 also where it is broken into lines."""
    joined = WRAPPED.sub(b"", data)
    for (name, needle), form in needles.items():
        if needle in data or (form == "base64" and needle in joined):
            yield Finding(place, name, form)


def columns(file: Path) -> Iterator[tuple[str, bytes]]:
    """The whole content of each column of an SQLite file, named ``table.column``."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in database.execute(f'PRAGMA table_info("{table}")').fetchall():
                rows = database.execute(f'SELECT CAST("{column}" AS BLOB) FROM "{table}"')  # noqa: S608  its own names
                yield f"{table}.{column}", b"\n".join(value for (value,) in rows if value)
