"""Who read an incident's secrets, and what else they read."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.access import HUB, Access, AccessLog, Coverage, SummedAccessLog


@dataclass(frozen=True)
class SecretReader:
    """One principal's accesses to one secret in one system.

    ``refused`` returned no value, ``first`` and ``last`` cover all. ``sources`` and ``logins`` have counts, most
    frequent first. ``own`` marks a login of Keyturn.
    """

    system: str
    principal: str
    reads: int
    refused: int
    first: datetime
    last: datetime
    sources: tuple[tuple[str, int], ...] = ()
    logins: tuple[tuple[str, int], ...] = ()
    versions: tuple[int, ...] = ()
    own: bool = False


@dataclass(frozen=True)
class PathReaders:
    """Principals that read a secret or tried to: most reads first, Keyturn's own last."""

    path: str
    readers: tuple[SecretReader, ...] = ()


@dataclass(frozen=True)
class Related:
    """Another secret that a principal of the incident has read."""

    system: str
    principal: str
    path: str
    reads: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class LogRead:
    """One queried log. ``failed`` is its error, otherwise empty."""

    name: str
    coverage: Coverage = field(default_factory=Coverage)
    failed: str = ""


@dataclass(frozen=True)
class Readers:
    """The readers in the look-back period. Without a log it proves nothing.

    ``own_related`` counts other secrets of Keyturn's logins.
    """

    since: datetime
    until: datetime
    paths: tuple[PathReaders, ...] = ()
    related: tuple[Related, ...] = ()
    own_related: int = 0
    logs: tuple[LogRead, ...] = ()


_ReaderKey = tuple[str, str]
"""System and principal."""


def gather(
    logs: Sequence[AccessLog | SummedAccessLog],
    paths: Collection[str],
    since: datetime,
    until: datetime,
    own: Collection[str] = (),
) -> Readers:
    """Gather the readers of these secrets. It never raises, and reports unreadable logs.

    ``own`` names Keyturn's principals in the hub.
    """
    tallies: dict[str, dict[_ReaderKey, _Tally]] = {}
    wanted = sorted(set(paths))
    logs_read = tuple(_take(log, wanted, since, until, tallies) for log in logs)
    everybody = {key for path in wanted for key in tallies.get(path, ())}
    others = [
        Related(system, principal, path, tally.reads, tally.first, tally.last)
        for path in sorted(tallies.keys() - set(wanted))
        for (system, principal), tally in tallies[path].items()
        if tally.reads and (system, principal) in everybody
    ]
    foreign = [related for related in others if not is_own(related.system, related.principal, own)]
    return Readers(
        since,
        until,
        tuple(PathReaders(path, _readers(tallies.get(path, {}), own)) for path in wanted),
        tuple(sorted(foreign, key=lambda related: (related.principal, related.system, related.path))),
        len({related.path for related in others if is_own(related.system, related.principal, own)}),
        logs_read,
    )


def is_own(system: str, principal: str, own: Collection[str]) -> bool:
    """Whether it is Keyturn's login, by its name in the hub, which is unique."""
    return system == HUB and principal in own


@dataclass
class _Tally:
    """Counts of one principal and secret."""

    first: datetime
    last: datetime
    reads: int = 0
    refused: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    logins: Counter[str] = field(default_factory=Counter)
    versions: set[int] = field(default_factory=set)

    def add(self, access: Access, last: datetime, count: int) -> None:
        if access.at < self.first:
            self.first = access.at
        if last > self.last:
            self.last = last
        if access.denied:
            self.refused += count
        else:
            self.reads += count
        self.sources[access.source] += count
        self.logins[access.login] += count
        if access.version is not None and not access.denied:
            self.versions.add(access.version)


def _take(
    log: AccessLog | SummedAccessLog,
    paths: Collection[str],
    since: datetime,
    until: datetime,
    tallies: dict[str, dict[_ReaderKey, _Tally]],
) -> LogRead:
    """Count a log's accesses by principal, secret and address."""
    try:
        for access, last, count in _sums(log, paths, since, until):
            of_path = tallies.setdefault(access.path, {})
            key = (access.system, access.principal)
            tally = of_path.get(key)
            if tally is None:
                tally = of_path[key] = _Tally(access.at, last)
            tally.add(access, last, count)
    except KeyturnError as error:
        return LogRead(log.name, failed=str(error))
    except Exception as error:  # noqa: BLE001  a report without its readers is better than none
        return LogRead(log.name, failed=f"it can't be read ({type(error).__name__})")
    return LogRead(log.name, log.coverage)


def _sums(
    log: AccessLog | SummedAccessLog, paths: Collection[str], since: datetime, until: datetime
) -> Iterator[tuple[Access, datetime, int]]:
    """Yield the first of equal accesses, the last time and their number."""
    if isinstance(log, SummedAccessLog):
        for summed in log.sums(paths, since, until):
            yield summed.access, summed.last, summed.count
    else:
        for access in log.accesses(since, until):
            yield access, access.at, 1


def _readers(tallies: Mapping[_ReaderKey, _Tally], own: Collection[str]) -> tuple[SecretReader, ...]:
    readers = (
        SecretReader(
            system=system,
            principal=principal,
            reads=tally.reads,
            refused=tally.refused,
            first=tally.first,
            last=tally.last,
            sources=_counted(tally.sources),
            logins=_counted(tally.logins),
            versions=tuple(sorted(tally.versions)),
            own=is_own(system, principal, own),
        )
        for (system, principal), tally in tallies.items()
    )
    return tuple(sorted(readers, key=lambda reader: (reader.own, -reader.reads, reader.principal, reader.system)))


def _counted(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    """Names and counts, most frequent first, without unknown names."""
    named = ((name, count) for name, count in counts.items() if name)
    return tuple(sorted(named, key=lambda pair: (-pair[1], pair[0])))
