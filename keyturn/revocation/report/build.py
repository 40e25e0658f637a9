"""From what the hub knows of an incident, and what logs tell, to what the report says."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from keyturn.access_log.readers import LogRead, Readers, SecretReader
from keyturn.core.fingerprint import shown
from keyturn.revocation.incident import STEPS, Event, Incident, IncidentStatus, Progress, Result, Step
from keyturn.revocation.report.model import (
    SCHEMA,
    About,
    Counted,
    IncidentReport,
    LedgerFacts,
    LedgerReport,
    LogReport,
    Moment,
    Place,
    ReaderReport,
    ReadersReport,
    RelatedReport,
    SecretReport,
    TimeToRevoke,
    Version,
)
from keyturn.revocation.report.summary import headline, proof, summary, things_left

HUB: Final = "hub"
VERIFY: Final = "keyturn ledger verify"


def build_report(status: IncidentStatus, readers: Readers, ledger: LedgerFacts, written_at: datetime) -> IncidentReport:
    """Everything that is known, in the order in which it matters."""
    incident = status.incident
    secrets = tuple(secret_report(incident, one) for one in status.secrets)
    told = readers_report(readers)
    times = time_to_revoke(secrets)
    to_do = things_left(status, secrets)
    return IncidentReport(
        schema=SCHEMA,
        state="open" if status.open else "given up" if incident.given_up else "closed",
        headline=headline(status, to_do),
        summary=summary(status, secrets, told),
        left=to_do,
        incident=about(incident),
        time_to_revoke=times,
        secrets=secrets,
        outlives=tuple(f"{one.path}: {said}" for one in secrets for said in one.outlives),
        remains=tuple(f"{one.path}: {said}" for one in secrets for said in one.remains),
        readers=told,
        proof=proof(status, secrets),
        timeline=tuple(timeline(status)),
        ledger=LedgerReport(ledger.sequences, ledger.checkpoint, VERIFY),
        written_at=written_at,
    )


def about(incident: Incident) -> About:
    """The incident's own facts."""
    return About(
        id=incident.id,
        reason=incident.reason,
        mode=str(incident.mode),
        selector=incident.selector,
        actor=incident.actor,
        triggered_at=incident.triggered_at,
        opened_at=incident.opened_at,
        closed_at=incident.closed_at,
        leases=incident.leases,
        given_up=f"{incident.given_up_by}: {incident.given_up}" if incident.given_up else "",
    )


def time_to_revoke(secrets: tuple[SecretReport, ...]) -> TimeToRevoke:
    """The slowest of those that are over."""
    refused = [one.refused_seconds for one in secrets if one.refused_seconds is not None]
    clear = [one.clear_seconds for one in secrets if one.clear_seconds is not None]
    return TimeToRevoke(len(secrets), len(refused), max(refused, default=None), len(clear), max(clear, default=None))


def secret_report(incident: Incident, one: Progress) -> SecretReport:
    """One secret, with every place that its value was in."""
    trigger = incident.triggered_at
    done = [step for step in STEPS[incident.mode] if step in one.done]
    return SecretReport(
        path=one.path,
        strategy=one.strategy,
        owner=one.owner,
        classification=one.classification,
        versions=tuple(Version(old.version, shown(old.fingerprints.get("", ""))) for old in one.old),
        replacement=Version(one.version, shown(one.fingerprint)) if one.version else None,
        cut_at=one.cut_at,
        cut_seconds=seconds_since(trigger, one.cut_at),
        refused_at=one.refused_at,
        refused_seconds=seconds_since(trigger, one.refused_at),
        clear_at=one.clear_at,
        clear_seconds=seconds_since(trigger, one.clear_at),
        sessions_ended=one.sessions,
        outlives=one.outlives,
        remains=one.remains,
        left=one.left,
        steps_done=tuple(map(str, done)),
        steps_missing=tuple(str(step) for step in STEPS[incident.mode] if step not in done),
        places=tuple(place_reports(incident, one)),
    )


def seconds_since(trigger: datetime, moment: datetime | None) -> float | None:
    """Seconds between the two, to the millisecond."""
    return round((moment - trigger).total_seconds(), 3) if moment else None


def place_reports(incident: Incident, one: Progress) -> Iterator[Place]:
    """The hub, then every copy by name."""
    copies = {name for old in one.old for name in old.fingerprints if name}
    copies |= {event.place for event in one.events if event.step in (Step.PUSH, Step.FORGET) and event.place}
    at_hub = [
        event for event in one.events if event.step is Step.HUB or (event.step, event.place) == (Step.REPLACE, "")
    ]
    if one.old or at_hub:
        yield place_report(incident, one, HUB, at_hub)
    for name in sorted(copies):
        yield place_report(incident, one, name, [event for event in one.events if event.place == name])


def place_report(incident: Incident, one: Progress, name: str, events: list[Event]) -> Place:
    """What became of the value in one place, by the events there."""
    replaced = last_done(events, {Step.REPLACE, Step.PUSH})
    removed = last_done(events, {Step.HUB, Step.FORGET})
    newest = max(one.old, key=lambda old: old.version, default=None)
    digest = newest.fingerprints.get("" if name == HUB else name, "") if newest else ""
    state, said = place_state(one, name, events, removed)
    return Place(
        place=name,
        fingerprint=shown(digest),
        replaced_at=replaced,
        replaced_seconds=seconds_since(incident.triggered_at, replaced),
        removed_at=removed,
        removed_seconds=seconds_since(incident.triggered_at, removed),
        state=state,
        said=said,
    )


def last_done(events: list[Event], steps: set[Step]) -> datetime | None:
    """When the last of these steps was done there; None where it failed since."""
    found = [event for event in events if event.step in steps and event.result is not Result.REMAINS]
    return found[-1].at if found and found[-1].result is Result.DONE else None


def place_state(one: Progress, name: str, events: list[Event], removed: datetime | None) -> tuple[str, str]:
    """How it stands there, and why."""
    stays = [said for said in one.remains if said.startswith(f"{name}: ")]
    if stays and (one.clear_at or removed):
        return "remains", "; ".join(said.removeprefix(f"{name}: ") for said in stays)
    if one.clear_at:
        return "clear", ""
    if events and events[-1].result is Result.FAILED:
        return "failed", events[-1].said
    return ("removed", "") if removed else ("waiting", "")


def timeline(status: IncidentStatus) -> list[Moment]:
    """Every action, and what began and ended the incident, by time."""
    incident = status.incident
    marks = [Event(incident.triggered_at, Step.CUT, Result.DONE, said=f"asked for by {incident.actor}")]
    marks.append(Event(incident.opened_at, Step.CUT, Result.DONE, said="the incident stands in the hub"))
    if incident.closed_at:
        said = f"the incident is {'given up' if incident.given_up else 'closed'}"
        marks.append(Event(incident.closed_at, Step.CUT, Result.DONE, said=said))
    told = [moment_report(incident, "", event, "incident") for event in marks]
    told += [moment_report(incident, "", event, str(event.step)) for event in incident.events]
    told += [
        moment_report(incident, one.path, event, str(event.step)) for one in status.secrets for event in one.events
    ]
    return sorted(told, key=lambda one: one.at)


def moment_report(incident: Incident, secret: str, event: Event, step: str) -> Moment:
    """One line of the timeline."""
    passed = seconds_since(incident.triggered_at, event.at) or 0.0
    return Moment(event.at, passed, secret, step, event.place, str(event.result), event.said, event.kind)


def readers_report(told: Readers) -> ReadersReport:
    """Who read what; Keyturn's own logins keep their place and are marked."""
    everybody = [(one.path, reader) for one in told.paths for reader in one.readers]
    return ReadersReport(
        since=told.since,
        until=told.until,
        logs=tuple(map(log_report, told.logs)),
        principals=tuple(reader_report(path, reader) for path, reader in everybody),
        unread=tuple(one.path for one in told.paths if not one.readers),
        related=tuple(
            RelatedReport(one.system, one.principal, one.path, one.reads, one.first, one.last) for one in told.related
        ),
        own_related=told.own_related,
    )


def log_report(log: LogRead) -> LogReport:
    """One log and what it covers."""
    covered = log.coverage
    return LogReport(log.name, covered.lines, covered.first, covered.last, covered.gaps, log.failed)


def reader_report(path: str, one: SecretReader) -> ReaderReport:
    """One principal and one secret."""
    return ReaderReport(
        path=path,
        system=one.system,
        principal=one.principal,
        reads=one.reads,
        refused=one.refused,
        first=one.first,
        last=one.last,
        sources=count_pairs(one.sources),
        logins=count_pairs(one.logins),
        versions=one.versions,
        own=one.own,
    )


def count_pairs(pairs: Iterable[tuple[str, int]]) -> tuple[Counted, ...]:
    """Names with their numbers."""
    return tuple(Counted(name, number) for name, number in pairs)
