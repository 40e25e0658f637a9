"""A journal of notices that outlives the process, so that the sealed file never gives what they ended.

It needs no key, so that it works while a KMS is unavailable, and contains no value. A line is a checksum and a JSON
object, with consecutive numbers. A torn line was never acknowledged, and is overwritten. The sealed file names this
journal and its last line, and is not accepted with a different or truncated one.

This does not protect against a user who may write here, who may use the key as well.
"""

import errno
import json
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn.client.private_directory import PrivateDirectory
from keyturn.core.notifications.notices import Notice

FILE: Final = "notices"
LOCK: Final = "notices.lock"
LARGEST: Final = 16 * 2**20
"""Bytes."""
LINES: Final = 512
"""The number of lines above which they are compacted to one."""
HOUR: Final = 3600.0
"""Seconds for which a notice is always kept; processes check more often."""


@dataclass(frozen=True, slots=True)
class Barrier:
    """A notice, its number, its arrival, and until when its version is required, in seconds since 1970."""

    number: int
    notice: Notice
    at: float
    until: float


@dataclass(slots=True)
class Journal:
    """The file's contents. ``clock`` is the latest time since the last sealing."""

    name: str = ""
    number: int = 0
    """The number of its last line."""
    first: int = 0
    """Notices up to this number may be missing."""
    generation: int = 0
    """The generation of the last sealed file."""
    sealed: int = 0
    """The number of the last notice known at that sealing."""
    clock: float = 0.0
    barriers: list[Barrier] = field(default_factory=list)
    size: int = 0
    """Bytes of the complete lines."""
    lines: int = 0
    sound: bool = True
    """Whether all lines are readable, and none is missing."""

    @property
    def believed(self) -> bool:
        """Whether the journal can confirm a sealed file."""
        return bool(self.name) and self.sound

    def covering(self, notice: Notice) -> Barrier | None:
        """The same notice, or a later one of its secret."""
        of_it = (each for each in self.barriers if each.notice.secret_path == notice.secret_path)
        return next((each for each in of_it if each.notice.covers(notice)), None)

    def needed(self, now: float) -> list[Barrier]:
        """The notices that still count; of those after the last sealing, each secret's last."""
        latest = {barrier.notice.secret_path: barrier.number for barrier in self.barriers}
        return [
            barrier
            for barrier in self.barriers
            if barrier.until > now
            or barrier.at > now - HOUR
            or (barrier.number > self.sealed and latest[barrier.notice.secret_path] == barrier.number)
        ]

    def after(self, number: int) -> Iterator[Barrier]:
        """The notices after this number."""
        return (barrier for barrier in self.barriers if barrier.number > number)


class NoticeJournal:
    """The file in ``directory``, shared by a host's processes. Every method raises OSError."""

    def __init__(self, directory: PrivateDirectory) -> None:
        self._directory = directory

    def read(self) -> Journal:
        """Read the journal, which may be empty."""
        content = self._directory.read(FILE, LARGEST) or b""
        if len(content) > LARGEST:
            raise OSError(errno.EFBIG, f"{FILE} is larger than any that is written")
        return parse(content)

    def note(self, notice: Notice, until: float, now: float) -> int:
        """Store a notice on disk; its number, which a repeat keeps."""
        return self._add({"notice": json.loads(notice.to_json()), "until": until, "at": now}, notice)

    def mark(self, now: float) -> int:
        """Store the time, so that a clock set back later is detected."""
        return self._add({"at": now})

    def sealed(self, generation: int, number: int, now: float) -> None:
        """Record the generation of the last sealed file, and its last notice."""
        self._add({"generation": generation, "sealed": number, "at": now})

    def _add(self, fields: dict[str, Any], notice: Notice | None = None) -> int:
        with self._directory.locked(LOCK):
            journal = self.read()
            if not journal.believed:
                return self._begin(journal, fields)
            if notice and (noted := journal.covering(notice)):
                return noted.number
            number = journal.number + 1
            self._directory.append(FILE, encode_line({"number": number, **fields}), journal.size)
            if journal.lines >= LINES:
                self._directory.replace(FILE, compacted(self.read(), fields["at"]))
            return number

    def _begin(self, lost: Journal, fields: dict[str, Any]) -> int:
        """Start a new journal with the readable notices, which accepts no earlier sealed file."""
        number = lost.number + 1
        journal = Journal(secrets.token_hex(16), number, number, lost.generation, barriers=lost.barriers)
        line = encode_line({"number": number + 1, **fields})
        self._directory.replace(FILE, compacted(journal, fields["at"]) + line)
        return number + 1


def compacted(journal: Journal, now: float) -> bytes:
    """The same journal, with only the notices that are needed."""
    needed = journal.needed(now)
    dropped = {barrier.number for barrier in journal.barriers} - {barrier.number for barrier in needed}
    begun = {
        "journal": journal.name,
        "number": journal.number,
        "first": max(journal.first, *dropped) if dropped else journal.first,
        "generation": journal.generation,
        "sealed": journal.sealed,
        "at": journal.clock,
        "notices": [
            {"number": each.number, "notice": json.loads(each.notice.to_json()), "at": each.at, "until": each.until}
            for each in needed
        ],
    }
    return encode_line(begun)


def encode_line(fields: dict[str, Any]) -> bytes:
    """A line with its checksum."""
    text = json.dumps(fields, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def parse(content: bytes) -> Journal:
    """Parse the lines. Unreadable ones make the journal unsound. An incomplete last line is ignored."""
    journal = Journal()
    *lines, _torn = content.split(b"\n")
    for line in lines:
        journal.size += len(line) + 1
        journal.lines += 1
        try:
            _take(journal, _fields(line))
        except (ValueError, TypeError, LookupError, RecursionError):
            journal.sound = False
    return journal


def _fields(line: bytes) -> dict[str, Any]:
    checksum, _, text = line.partition(b" ")
    if int(checksum, 16) != zlib.crc32(text):
        raise ValueError("its checksum is another's")
    fields: dict[str, Any] = json.loads(text)
    return fields


def _take(journal: Journal, fields: dict[str, Any]) -> None:
    number, at = int(fields["number"]), float(fields["at"])
    if "journal" in fields:
        journal.name, journal.first, journal.sound = str(fields["journal"]), int(fields["first"]), journal.lines == 1
        journal.barriers += [_barrier(each) for each in fields["notices"]]
    elif number != journal.number + 1:
        journal.sound = False
    if "notice" in fields:
        journal.barriers.append(_barrier(fields))
    journal.number = number
    journal.clock = max(journal.clock, at)
    if "generation" in fields:
        journal.generation, journal.sealed, journal.clock = int(fields["generation"]), int(fields["sealed"]), at


def _barrier(fields: dict[str, Any]) -> Barrier:
    notice = Notice.from_json(json.dumps(fields["notice"]))
    return Barrier(int(fields["number"]), notice, float(fields["at"]), float(fields["until"]))
