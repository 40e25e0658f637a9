"""``keyturn unused``: secrets without reads for a long time, and who could read them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.access_log.trail.period import Period
from keyturn.cli.environment import opened_workspace
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, stamp, when, write_json, write_table, write_text
from keyturn.cli.readers.investigate import trail_here
from keyturn.core.errors import KeyturnError
from keyturn.core.text.plain_text import visible

if TYPE_CHECKING:
    from keyturn.access_log.trail.last_reads import LastReads
    from keyturn.core.ports.hub import Survey
    from keyturn.rights.acl import AclRule
    from keyturn.rotation.state.context import Workspace

COLUMNS: Final = ("secret", "last read (UTC)", "who could")
HUB: Final = "hub"

DaysOption = Annotated[int, typer.Option("--days", metavar="N", min=1, help="How many days without a read.")]


def unused(days: DaysOption = 90, catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """List secrets that only Keyturn has read for so many days, in the hub or as a copy, and who may read them.

    Reads come from the access trail, secrets and policies from the hub. Secrets that are newer, or were observed for a
    shorter time, are marked.
    """
    directory = trail_here()
    with opened_workspace(catalogue) as workspace:
        rows, remarks = find_unused(workspace, directory, days, datetime.now(UTC))
    if as_json:
        secrets = [row.to_data() for row in rows]
        return write_json({"days": days, "secrets": secrets, "covered": not remarks, "remarks": remarks})
    return show_unused(rows, remarks, days)


def find_unused(
    workspace: "Workspace", directory: Path, days: int, now: datetime
) -> "tuple[list[UnusedSecret], list[str]]":
    from keyturn.access_log.trail.last_reads import last_reads
    from keyturn.core.ports.hub import survey
    from keyturn.keys.own_login import own_principals

    reads = last_reads(directory, own_principals(workspace))
    listing, readers = survey(workspace.hub), PolicyReaders.load(workspace)
    rows = unused_secrets(workspace, listing, reads, readers, now - timedelta(days=days))
    return list(rows), list(shortfalls(reads, listing, readers, now, days))


@dataclass(frozen=True)
class PolicyReaders:
    """The policies that allow reading a secret. ``error`` is why none are known; ``broken`` are unreadable."""

    policies: "Mapping[str, list[AclRule]]"
    broken: Sequence[str] = ()
    error: str = ""

    @staticmethod
    def load(workspace: "Workspace") -> "PolicyReaders":
        from keyturn.rights.acl import parse_policy

        try:
            texts = workspace.hub.acl_policies()
        except KeyturnError as error:
            return PolicyReaders({}, error=error.problem)
        policies, broken = {}, []
        for name, text in texts.items():
            try:
                policies[name] = parse_policy(text)
            except (ValueError, RecursionError):
                broken.append(name)
        return PolicyReaders(policies, broken)

    def of(self, path: str) -> list[str] | None:
        from keyturn.rights.acl import policy_allows

        if self.error:
            return None
        return sorted(name for name, rules in self.policies.items() if policy_allows(rules, path, "read"))


@dataclass(frozen=True)
class PlaceReads:
    """The last read of a secret in one system, and its reader.

    ``since`` is when the trail's knowledge of that system begins; None if it has none.
    """

    system: str
    at: datetime | None
    principal: str
    since: datetime | None

    def __str__(self) -> str:
        place = "" if self.system == HUB else f" in {visible(self.system)}"
        if self.at:
            return f"{when(self.at)}{place} by {visible(self.principal) or 'unknown reader'}"
        return f"none{place} since {when(self.since)}" if self.since else f"not known{place or ' in the hub'}"


@dataclass(frozen=True)
class UnusedSecret:
    """A secret without known reads. ``policies`` is None if they are unknown."""

    path: str
    places: tuple[PlaceReads, ...]
    policies: Sequence[str] | None

    def to_data(self) -> dict[str, Any]:
        places = [
            {
                "system": place.system,
                "last": stamp(place.at),
                "principal": place.principal or None,
                "known_since": stamp(place.since),
            }
            for place in self.places
        ]
        return {"path": self.path, "places": places, "policies": self.policies}


def unused_secrets(
    workspace: "Workspace", listing: "Survey", reads: "LastReads", readers: PolicyReaders, before: datetime
) -> Iterator[UnusedSecret]:
    """Yield secrets of the hub and catalogue that are older than ``before`` and not read since, except decoys."""
    declared = workspace.catalogue.secrets
    for path in sorted(path for path in {*listing, *declared} if path not in declared or not declared[path].decoy):
        info = listing.get(path)
        made = info.versions[0].created_at if info and info.versions else None
        stores = dict.fromkeys(place.store for place in workspace.catalogue.destinations(path))
        places = tuple(place_reads(reads, path, system) for system in (HUB, *stores))
        recent = any(place.at and place.at >= before for place in places)
        if made and made < before and not recent:
            yield UnusedSecret(path, places, readers.of(workspace.hub.address("data", path)))


def place_reads(reads: "LastReads", path: str, system: str) -> PlaceReads:
    read = reads.of(path, system)
    return PlaceReads(system, read.at if read else None, read.principal if read else "", reads.heard.get(system))


def shortfalls(
    reads: "LastReads", listing: "Survey", readers: PolicyReaders, now: datetime, days: int
) -> Iterator[str]:
    """Yield the gaps in what is known of reads."""
    before = now - timedelta(days=days)
    if not reads.coverage.sources:
        yield "the trail has heard of nothing yet, so nothing is known of reads"
    elif HUB not in reads.heard:
        yield "no log covers reads in the hub"
    for system, since in sorted(reads.heard.items()):
        if since > before:
            age = (now - since).days
            yield f"{visible(system)} is watched for {age} days alone, since {when(since)}: older reads are not known"
    for source in reads.coverage.sources:
        yield from (f"{visible(source.source)}: {visible(words)}" for words in source.shortfalls(Period(before, now)))
    yield from (f"mount {visible(mount or 'of the hub')}: {error.problem}" for mount, error in listing.unread.items())
    yield from (f"{visible(path)}: {error.problem}" for path, error in listing.refused.items())
    if readers.error:
        yield f"who could is not known: the hub's policies can't be read ({visible(readers.error)})"
    if readers.broken:
        yield f"these policies can't be understood: {', '.join(map(visible, readers.broken))}"


def show_unused(rows: Sequence[UnusedSecret], remarks: Sequence[str], days: int) -> None:
    for remark in remarks:
        note(remark)
    if not rows:
        return write_text(f"every secret that is {days} days old was read within {days} days, as far as is known")
    return write_table(COLUMNS, map(table_row, rows), whole=())


def table_row(row: UnusedSecret) -> tuple[str, str, str]:
    could = "not known" if row.policies is None else ", ".join(map(visible, row.policies)) or "no policy, but root"
    return visible(row.path), "\n".join(map(str, row.places)), could
