"""Answers who read a secret, what a principal read and what came from an address."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from keyturn.access_log.trail.coverage import TrailCoverage, coverage_of
from keyturn.access_log.trail.period import Holdings, Period, query_trail
from keyturn.access_log.trail.summaries import SAME
from keyturn.core.errors import Invalid
from keyturn.core.hosts import to_address
from keyturn.core.ports.access import HUB

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = TypeVar("Row")

LIKE: Final = 5
"""The most similar names that are suggested."""
TOTALS: Final = 20
"""The most principals, secrets and addresses in an answer, by reads."""
OCTETS: Final = 4
MAPPED: Final = "::"
"""Occurs in every IPv4 address that is written as IPv6."""
CLAIMED: Final = ", said to be for "
"""Separates the caller's address from claimed forwarded ones."""


class Subject(StrEnum):
    """What a question is about."""

    PATH = "path"
    PRINCIPAL = "principal"
    ADDRESS = "address"


@dataclass(frozen=True)
class TimelineEntry:
    """Accesses that differ only in their times. ``own`` marks a login of Keyturn.

    ``login`` and ``other_login`` differ if there were several.
    """

    system: str
    path: str
    principal: str
    source: str
    version: int | None
    denied: bool
    action: str
    agent: str
    root: bool
    first: datetime
    last: datetime
    count: int
    login: str
    other_login: str
    own: bool


@dataclass(frozen=True)
class Total:
    """Reads and refusals by name. ``own`` is used for principals only."""

    system: str
    name: str
    reads: int
    refused: int
    first: datetime
    last: datetime
    own: bool = False


@dataclass(frozen=True)
class RelatedSecret:
    """Another secret that the same principals read, without Keyturn's own logins."""

    system: str
    path: str
    principals: int
    reads: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Investigation:
    """The answer. Without a match ``subject`` is None, and ``like`` has similar names.

    ``timeline`` has the latest entries, ``omitted`` counts the others, ``accesses`` everything. ``principals``,
    ``paths`` and ``addresses`` are the most frequent, with their totals in ``distinct``.
    """

    what: str
    subject: Subject | None
    period: Period
    coverage: TrailCoverage
    accesses: int = 0
    timeline: Sequence[TimelineEntry] = ()
    omitted: int = 0
    principals: Sequence[Total] = ()
    paths: Sequence[Total] = ()
    addresses: Sequence[Total] = ()
    distinct: tuple[int, int, int] = (0, 0, 0)
    related: Sequence[RelatedSecret] = ()
    like: Sequence[str] = ()


def investigate(
    directory: Path,
    what: str,
    period: Period,
    subject: Subject | None = None,
    limit: int = 100,
    own: Collection[str] = (),
) -> Investigation:
    """Query the trail in ``directory`` for a period.

    ``what`` is a path or principal, where ``*`` matches any text, an address or a network. Its ``subject`` is detected
    by default. ``limit`` is for the timeline, 0 for all. ``own`` names Keyturn's principals in the hub. Raises Invalid
    where it is ambiguous or no address, and Unavailable.
    """
    if subject is None and to_network(what):
        subject = Subject.ADDRESS
    if subject is Subject.ADDRESS and to_network(what) is None:
        raise Invalid("investigate", what, "it is neither an address nor a network", "Write 10.0.0.1 or 10.0.0.0/8")

    def answer(connection: "DuckDBPyConnection", holdings: Holdings) -> Investigation:
        nothing = Investigation(what, None, period, coverage_of(connection, holdings))
        return _Inquiry(connection, what, limit, list(own)).answer(subject, nothing)

    return query_trail(directory, period, answer)


def to_network(text: str) -> IPv4Network | IPv6Network | None:
    """Return an address or a network, None for anything else."""
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def common_part(network: IPv4Network | IPv6Network) -> str:
    """The common text prefix of its addresses, if any."""
    if isinstance(network, IPv6Network):
        return ""
    octets = str(network.network_address).split(".")[: network.prefixlen // 8]
    return ".".join(octets) + ("." if 0 < len(octets) < OCTETS else "")


def lies_in(source: str, network: IPv4Network | IPv6Network) -> bool:
    """Whether the caller's or a forwarded address is in a network."""
    for text in source.replace(CLAIMED, ",").split(","):
        address = to_address(text.strip())
        address = getattr(address, "ipv4_mapped", None) or address
        if address and address.version == network.version and address in network:
            return True
    return False


_SAME: Final = ", ".join(SAME)
_SUMS: Final = "min(first) AS first, max(last) AS last, sum(events)::BIGINT AS count"
_LOGINS: Final = "min(login) AS login, max(other_login) AS other_login"


@dataclass
class _Inquiry:
    """One question on one connection."""

    connection: "DuckDBPyConnection"
    what: str
    limit: int
    own: list[str]

    def answer(self, subject: Subject | None, nothing: Investigation) -> Investigation:
        """Return the answer, or ``nothing`` with similar names."""
        self._select(subject)
        accesses, groups = self._rows("SELECT coalesce(sum(count), 0)::BIGINT, count(*) FROM timeline")[0]
        if not accesses:
            return replace(nothing, like=self._like())
        subject = subject or self._subject()
        timeline = self._timeline()
        return replace(
            nothing,
            subject=subject,
            accesses=accesses,
            timeline=timeline,
            omitted=groups - len(timeline),
            principals=self._totals("principal"),
            paths=self._totals("path"),
            addresses=self._totals("source"),
            distinct=self._distinct(),
            related=() if subject is Subject.PRINCIPAL else self._related(),
        )

    def _select(self, subject: Subject | None) -> None:
        """Create the table of matching accesses."""
        condition, wanted = self._condition(subject)
        own = "system = $hub AND list_contains($own, principal)"
        query = (
            f"SELECT {_SAME}, {_SUMS}, {_LOGINS}, ({own}) AS own "  # noqa: S608
            f"FROM sums WHERE {condition} GROUP BY {_SAME}"
        )
        self.connection.execute(
            f"CREATE TEMP TABLE timeline AS {query}", {"hub": HUB, "own": self.own, "wanted": wanted}
        )

    def _condition(self, subject: Subject | None) -> tuple[str, Any]:
        """Return the SQL condition and its value of ``$wanted``."""
        if subject is Subject.ADDRESS:
            return "list_contains($wanted, source)", self._sources()
        columns = [Subject.PATH, Subject.PRINCIPAL] if subject is None else [subject]
        comparison = r"{} LIKE $wanted ESCAPE '\'" if "*" in self.what else "{} = $wanted"
        wanted = as_like(self.what) if "*" in self.what else self.what
        return f"({' OR '.join(comparison.format(column) for column in columns)})", wanted

    def _sources(self) -> list[str]:
        network = to_network(self.what)
        if network is None:
            return []
        # A text comparison excludes most of them, which is much faster than parsing addresses.
        query = "SELECT DISTINCT source FROM sums WHERE contains(source, $part) OR contains(source, $mapped)"
        sources = self._rows(query, {"part": common_part(network), "mapped": MAPPED})
        return [source for (source,) in sources if lies_in(source, network)]

    def _subject(self) -> Subject:
        """Whether it is a path or a principal. Raises Invalid for both."""
        (condition, wanted) = self._condition(Subject.PATH)
        query = f"SELECT count(*) FILTER ({condition}), count(*) FROM timeline"  # noqa: S608
        paths, rows = self._rows(query, {"wanted": wanted})[0]
        if 0 < paths < rows:
            hint = "Say which with --as path or --as principal"
            raise Invalid("investigate", self.what, "a secret and a principal are called so", hint)
        return Subject.PATH if paths else Subject.PRINCIPAL

    def _timeline(self) -> list[TimelineEntry]:
        columns = f"{_SAME}, epoch_us(first), epoch_us(last), count, login, other_login, own"
        order = "ORDER BY last DESC, path, principal, source, version, agent"
        limit = f"LIMIT {int(self.limit)}" if self.limit else ""
        rows = self._rows(f"SELECT {columns} FROM timeline {order} {limit}")  # noqa: S608
        timeline = [_with_moments(TimelineEntry, row) for row in rows]
        return sorted(timeline, key=lambda entry: (entry.first, entry.last))

    def _totals(self, column: str) -> list[Total]:
        own = "bool_and(own)" if column == "principal" else "false"
        query = (
            f"SELECT system, {column}, coalesce(sum(count) FILTER (NOT denied), 0)::BIGINT AS reads, "  # noqa: S608
            f"coalesce(sum(count) FILTER (denied), 0)::BIGINT AS refused, "
            f"epoch_us(min(first)), epoch_us(max(last)), {own} FROM timeline "
            f"WHERE action = 'read' AND {column} <> '' "
            f"GROUP BY system, {column} ORDER BY reads DESC, refused DESC, {column}, system LIMIT {TOTALS}"
        )
        return [_with_moments(Total, row) for row in self._rows(query)]

    def _distinct(self) -> tuple[int, int, int]:
        columns = (
            f"count(DISTINCT (system, {name})) FILTER ({name} <> '')" for name in ("principal", "path", "source")
        )
        principals, paths, addresses = self._rows(
            f"SELECT {', '.join(columns)} FROM timeline WHERE action = 'read'"  # noqa: S608
        )[0]
        return principals, paths, addresses

    def _related(self) -> list[RelatedSecret]:
        query = f"""
            SELECT system, path, count(DISTINCT principal) AS principals, sum(events)::BIGINT AS reads,
                epoch_us(min(first)), epoch_us(max(last))
            FROM sums WHERE action = 'read' AND NOT denied
                AND (system, principal) IN (SELECT (system, principal) FROM timeline WHERE NOT own AND principal <> '')
                AND (system, path) NOT IN (SELECT (system, path) FROM timeline)
            GROUP BY system, path ORDER BY principals DESC, reads DESC, path, system LIMIT {TOTALS}"""  # noqa: S608
        return [_with_moments(RelatedSecret, row) for row in self._rows(query)]

    def _like(self) -> list[str]:
        query = """
            SELECT name FROM (SELECT DISTINCT path AS name FROM sums UNION SELECT DISTINCT principal FROM sums)
            WHERE contains(lower(name), lower($text)) ORDER BY length(name), name LIMIT $most"""
        text = self.what.strip("*")
        return [name for (name,) in self._rows(query, {"text": text, "most": LIKE})] if text else []

    def _rows(self, query: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, parameters).fetchall()


def as_like(pattern: str) -> str:
    """Convert a pattern with ``*`` to SQL's LIKE."""
    escaped = "".join(f"\\{letter}" if letter in "\\%_" else letter for letter in pattern)
    return escaped.replace("*", "%")


def _with_moments(kind: Callable[..., Row], row: Sequence[Any]) -> Row:
    """Convert a row to a class with the columns as fields."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(
        *(to_utc(value) if name in ("first", "last") else value for name, value in zip(names, row, strict=True))
    )


def to_utc(microseconds: int) -> datetime:
    """Convert a query's microseconds to a time."""
    return datetime.fromtimestamp(microseconds // 10**6, UTC).replace(microsecond=microseconds % 10**6)
