"""Reads from audit files of Vault and OpenBao."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from keyturn.access_log.hub_reads import HubReads, parse_time
from keyturn.access_log.log_files import BROKEN, SLACK, LogFile, lines, plausible_start, rotations, words
from keyturn.core.errors import Unavailable
from keyturn.core.ports.access import Access, Coverage
from keyturn.core.text.audit_lines import AuditMount, decode_line

OPENING, CLOSING = b"{}"


AUDIT_FILE: Final = "KEYTURN_HUB_AUDIT_FILE"
"""The local path of the hub's audit file."""


class HubAuditLog:
    """An :class:`keyturn.core.ports.access.AccessLog` of the KV v2 mounts, from a file audit device's JSON lines.

    It has reads of values, also wrapped, but not of metadata and subkeys. The device must log ``time``, ``type``,
    ``error``, ``auth``, ``request`` and ``response``, hashed or not. ``logins`` adds logins and changes of rights.
    """

    def __init__(
        self,
        file: Path,
        mount: str,
        namespace: str = "",
        others: Mapping[str, str] | None = None,
        *,
        logins: bool = False,
    ) -> None:
        self.name = f"hub audit file {file}"
        self.coverage = Coverage()
        self._file = file
        self._mount = AuditMount(mount, namespace, others or {})
        self._logins = logins

    def accesses(self, since: datetime, until: datetime) -> Iterator[Access]:
        """Yield the accesses of that time. Raises Unavailable."""
        reading = _Reading(HubReads(self._mount, logins=self._logins))
        for file in self._chosen(reading, since):
            yield from reading.file(file, since, until)
        self.coverage = reading.coverage(since)

    def _chosen(self, reading: "_Reading", since: datetime) -> list[LogFile]:
        """The files that may cover the period, oldest first."""
        try:
            files = rotations(self._file)
        except OSError as error:
            raise self._unavailable(words(error)) from None
        if not files:
            raise self._unavailable("there is no such file")
        began = {file: start for file in files if (start := reading.begin(file, since))}
        if len(reading.refused) == len(files):
            raise self._unavailable(reading.refused[0])
        # A first line with a late time excludes no file, because other lines may be in the period.
        return sorted(began, key=lambda file: began[file])

    def _unavailable(self, problem: str) -> Unavailable:
        hint = "Give the path of a file audit device, and let this user's group read it (its option `mode`)"
        return Unavailable("read", str(self._file), problem, hint)


def hub_logs(mount: str, others: Mapping[str, str], env: Mapping[str, str]) -> list[HubAuditLog]:
    """The hub's audit file from the environment, if it is set."""
    file = env.get(AUDIT_FILE)
    return [HubAuditLog(Path(file), mount, env.get("VAULT_NAMESPACE", ""), others)] if file else []


class _Reading:
    """One pass over the files, with statistics and gaps."""

    def __init__(self, reads: HubReads) -> None:
        self.refused: list[str] = []
        self._reads = reads
        self._lines = 0
        self._unreadable = 0
        self._moments: list[datetime] = []
        self._gaps: list[str] = []
        self._before: list[datetime] = []

    def begin(self, file: LogFile, since: datetime) -> datetime | None:
        """When the file begins, None if irrelevant or unreadable."""
        try:
            changed = file.changed()
            if changed + SLACK < since:
                self._before.append(changed)
                return None
            with file.opened() as text:
                first = next(lines(text), None)
        except BROKEN as error:
            self.refused.append(words(error))
            self._gaps.append(f"{file.path.name} could not be read: {words(error)}")
            return None
        # Without a time, files are read in the order of their last change.
        return None if first is None else plausible_start(dated(first), changed)

    def file(self, file: LogFile, since: datetime, until: datetime) -> Iterator[Access]:
        """Yield a file's accesses of that time."""
        try:
            with file.opened() as text:
                for line in self._candidates(lines(text)):
                    access = self._access(line)
                    if access and since <= access.at <= until:
                        yield access
        except BROKEN as error:
            self._gaps.append(f"{file.path.name} could not be read to its end: {words(error)}")

    def coverage(self, since: datetime) -> Coverage:
        """What was read, and what is missing."""
        first, last = min(self._moments, default=None), max(self._moments, default=None)
        gaps = list(self._gaps)
        if self._unreadable:
            gaps.append(f"{self._unreadable:,} of its lines could not be read")
        if first is None:
            ended = f" after {max(self._before):%Y-%m-%d %H:%M:%S} UTC" if self._before else ""
            gaps.append(f"it reports nothing{ended}")
        elif first > since and not self._before:
            gaps.append(f"it begins at {first:%Y-%m-%d %H:%M:%S} UTC; what was read before is not known")
        if self._reads.bare and not self._reads.given:
            gaps.append("no line records what was returned, so an apparently empty answer may have held the value")
        return Coverage(self._lines, first, last, tuple(gaps))

    def _candidates(self, text: Iterator[bytes]) -> Iterator[bytes]:
        """Yield lines that may be reads, by a fast byte search."""
        response, unwrap, data, *others = self._reads.needles
        first, last, count = b"", b"", 0
        try:
            for line in text:
                count += 1
                if line[0] != OPENING or line[-1] != CLOSING:
                    self._unreadable += 1
                    continue
                first, last = first or line, line
                if response in line and (data in line or unwrap in line or any(needle in line for needle in others)):
                    yield line
        finally:
            self._lines += count
            self._moments += [moment for line in (first, last) if (moment := dated(line))]

    def _access(self, line: bytes) -> Access | None:
        try:
            return self._reads.access(line)
        except ValueError:
            self._unreadable += 1
            return None


def dated(line: bytes) -> datetime | None:
    """When a line was written, None if unknown."""
    with suppress(ValueError):
        return parse_time(decode_line(line).time or "")
    return None
