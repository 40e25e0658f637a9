"""The reads of a period, and the rights to read: from access logs and policies."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from keyturn.access_log.readers import LogRead, is_own
from keyturn.access_log.trail.period import Holdings, query_trail
from keyturn.access_log.trail.period import Period as TrailPeriod
from keyturn.access_log.trail.totals import TrailLog
from keyturn.catalogue.models import Secret
from keyturn.core.errors import KeyturnError
from keyturn.core.ports.access import READ, Access, AccessLog, SummedAccessLog
from keyturn.core.ports.own_login import own_roles
from keyturn.evidence.facts import AccessExtract, Period, ReaderFact
from keyturn.keys.own_login import own_principals
from keyturn.rights.acl import AclRule, parse_policy, policy_allows
from keyturn.rotation.state.context import Workspace

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Log = AccessLog | SummedAccessLog

MOST: Final = 200_000
"""Maximum number of pairs of principal and secret; a log beyond that counts as failed."""


TICK: Final = timedelta(microseconds=1)
"""The trail's period includes its last moment, a report's does not."""

HOURS: Final = f"""
    SELECT hour(time)::INTEGER, path, count(*)::BIGINT FROM events
    WHERE action = '{READ}' AND NOT denied AND list_contains($paths, path) GROUP BY ALL ORDER BY ALL"""  # noqa: S608


class HourlyTrail(TrailLog):
    def hours(self, paths: Collection[str], since: datetime, until: datetime) -> Mapping[tuple[int, str], int]:
        """Return the granted reads of these secrets by hour (UTC) and path. Raises Unavailable."""

        def answer(connection: "DuckDBPyConnection", _: Holdings) -> dict[tuple[int, str], int]:
            rows = connection.execute(HOURS, {"paths": sorted(paths)}).fetchall()
            return {(hour, path): count for hour, path, count in rows}

        return query_trail(self._directory, TrailPeriod(since, until - TICK), answer)


def able_by_policy(workspace: Workspace, paths: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the hub's policies that allow reading each secret. Raises Denied where they can't be read.

    A policy that can't be parsed is listed for every secret, because it may allow any read.
    """
    policies, broken = dict[str, list[AclRule]](), list[str]()
    for name, text in sorted(workspace.hub.acl_policies().items()):
        try:
            policies[name] = parse_policy(text)
        except (ValueError, RecursionError):
            broken.append(f"policy {name}, which can't be understood")
    places = {path: workspace.hub.address("data", path) for path in paths}
    return {
        path: (*(f"policy {name}" for name, rules in policies.items() if policy_allows(rules, place, "read")), *broken)
        for path, place in places.items()
    }


def extract_accesses(
    workspace: Workspace,
    period: Period,
    declared: Mapping[str, Secret],
    logs: Sequence[Log],
    able: Mapping[str, tuple[str, ...]],
) -> AccessExtract:
    """Return the accesses to these secrets. An unreadable log is marked as failed, and stops no other."""
    tally = _Tally(workspace, period, declared)
    read = tuple(tally.take(log) for log in logs)
    return AccessExtract(read, tally.readers(), dict(sorted(tally.hours.items())), expected_readers(declared, able))


def expected_readers(
    declared: Mapping[str, Secret], able: Mapping[str, tuple[str, ...]]
) -> Mapping[str, tuple[str, ...]]:
    """Return the identities that may read each secret: consumers, Keyturn's logins, and ``able``."""
    worker, revoker, _ = own_roles(os.environ)
    return {
        path: tuple(sorted({*secret.consumers, worker, revoker, *able.get(path, ())}))
        for path, secret in declared.items()
    }


@dataclass
class _Reads:
    first: datetime
    last: datetime
    given: int = 0
    refused: int = 0


class _Tally:
    """The counts for declared secrets. Memory grows with the pairs of principal and secret."""

    def __init__(self, workspace: Workspace, period: Period, declared: Mapping[str, Secret]) -> None:
        self.hours: Counter[tuple[int, str]] = Counter()
        self._declared = declared
        self._period = period
        self._own = own_principals(workspace)
        self._usual = {
            path: tuple(
                reader
                for monitor in workspace.catalogue.monitors.values()
                if monitor.readers and monitor.covers(path, secret.about)
                for reader in monitor.readers
            )
            for path, secret in declared.items()
        }
        self._pairs: dict[tuple[str, str, str], _Reads] = {}

    def take(self, log: Log) -> LogRead:
        try:
            for access, last, count in self._sums(log):
                if access.action == READ and access.path in self._declared and access.at < self._period.until:
                    self._add(access, last, count)
                    if len(self._pairs) > MOST:
                        return LogRead(log.name, failed=f"it has more than {MOST:,} pairs of who and what")
            if isinstance(log, HourlyTrail):
                self._add_hours(log)
        except KeyturnError as error:
            return LogRead(log.name, failed=str(error))
        return LogRead(log.name, log.coverage)

    def _sums(self, log: Log) -> Iterator[tuple[Access, datetime, int]]:
        since, until = self._period.since, self._period.until
        if isinstance(log, SummedAccessLog):
            for summed in log.sums(sorted(self._declared), since, until - TICK):
                yield summed.access, summed.last, summed.count
            return
        for access in log.accesses(since, until):
            yield access, access.at, 1
            if access.path in self._declared and access.action == READ and not access.denied:
                self.hours[access.at.astimezone(UTC).hour, self._class_of(access.path)] += access.at < until

    def _add_hours(self, log: HourlyTrail) -> None:
        for (hour, path), count in log.hours(list(self._declared), self._period.since, self._period.until).items():
            self.hours[hour, self._class_of(path)] += count

    def _class_of(self, path: str) -> str:
        return str(self._declared[path].classification)

    def _add(self, access: Access, last: datetime, count: int) -> None:
        key = (access.path, access.system, access.principal)
        reads = self._pairs.get(key)
        if reads is None:
            reads = self._pairs[key] = _Reads(access.at, last)
        reads.first, reads.last = min(reads.first, access.at), max(reads.last, last)
        if access.denied:
            reads.refused += count
        else:
            reads.given += count

    def readers(self) -> tuple[ReaderFact, ...]:
        return tuple(
            ReaderFact(
                path,
                system,
                principal,
                reads.given,
                reads.refused,
                reads.first,
                reads.last,
                own=is_own(system, principal, self._own),
                expected=self._is_expected(path, principal),
            )
            for (path, system, principal), reads in sorted(self._pairs.items())
        )

    def _is_expected(self, path: str, principal: str) -> bool:
        named = principal.rpartition(" ")[2]
        if named in self._declared[path].consumers:
            return True
        return any(fnmatchcase(principal, pattern) for pattern in self._usual[path])
