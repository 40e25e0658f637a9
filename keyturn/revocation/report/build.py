"""Builds the report from the hub's incident and the access logs."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from keyturn.access_log.readers import LogRead, Readers, SecretReader
from keyturn.core.fingerprint import shown
from keyturn.revocation.incidents.incident import STEPS, Event, Incident, IncidentStatus, Result, SecretProgress, Step
from keyturn.revocation.proof import Check
from keyturn.revocation.report.model import (
    SCHEMA,
    About,
    CheckReport,
    Counted,
    IncidentReport,
    LedgerFacts,
    LedgerReport,
    LogReport,
    Moment,
    PlaceReport,
    ReaderReport,
    ReadersReport,
    RelatedReport,
    SecretReport,
    TimeToRevoke,
    Version,
)
from keyturn.revocation.report.summary import describe_proof, summarise_report, things_left, write_headline

HUB: Final = "hub"
VERIFY: Final = "keyturn ledger verify"


def build_report(status: IncidentStatus, readers: Readers, ledger: LedgerFacts, written_at: datetime) -> IncidentReport:
    """The complete report, with the most important parts first."""
    incident = status.incident
    secrets = tuple(secret_report(incident, secret) for secret in status.secrets)
    access = readers_report(readers)
    times = time_to_revoke(secrets)
    to_do = things_left(status, secrets)
    return IncidentReport(
        schema=SCHEMA,
        state="open" if status.open else "given up" if incident.given_up else "closed",
        headline=write_headline(status, to_do),
        summary=summarise_report(status, secrets, access),
        left=to_do,
        incident=about_incident(incident),
        time_to_revoke=times,
        secrets=secrets,
        outlives=tuple(f"{secret.path}: {words}" for secret in secrets for words in secret.outlives),
        remains=tuple(f"{secret.path}: {words}" for secret in secrets for words in secret.remains),
        readers=access,
        verdict=str(status.verdict),
        checks=tuple(check_report(path, check) for path, check in status.checks),
        proof=describe_proof(status),
        timeline=tuple(timeline(status)),
        ledger=LedgerReport(ledger.sequences, ledger.checkpoint, VERIFY),
        written_at=written_at,
    )


def check_report(path: str, check: Check) -> CheckReport:
    """One check."""
    return CheckReport(path, str(check.subject), check.place, str(check.answer), check.said, check.remedy)


def about_incident(incident: Incident) -> About:
    """The incident's own facts."""
    return About(
        id=incident.id,
        reason=incident.reason,
        mode=str(incident.mode),
        selector=incident.selector,
        actor=incident.actor,
        remark=incident.remark,
        left_out=incident.left_out,
        triggered_at=incident.triggered_at,
        opened_at=incident.opened_at,
        closed_at=incident.closed_at,
        leases=incident.leases,
        given_up=f"{incident.given_up_by}: {incident.given_up}" if incident.given_up else "",
    )


def time_to_revoke(secrets: tuple[SecretReport, ...]) -> TimeToRevoke:
    """The slowest of the finished secrets."""
    refused = [secret.refused_seconds for secret in secrets if secret.refused_seconds is not None]
    clear = [secret.clear_seconds for secret in secrets if secret.clear_seconds is not None]
    return TimeToRevoke(len(secrets), len(refused), max(refused, default=None), len(clear), max(clear, default=None))


def secret_report(incident: Incident, progress: SecretProgress) -> SecretReport:
    """One secret, with every place that held its value."""
    trigger = incident.triggered_at
    done = [step for step in STEPS[incident.mode] if step in progress.done]
    return SecretReport(
        path=progress.path,
        strategy=progress.strategy,
        owner=progress.owner,
        classification=progress.classification,
        versions=tuple(Version(old.version, shown(old.fingerprints.get("", ""))) for old in progress.old),
        replacement=Version(progress.version, shown(progress.fingerprint)) if progress.version else None,
        cut_at=progress.cut_at,
        cut_seconds=seconds_since(trigger, progress.cut_at),
        refused_at=progress.refused_at,
        refused_seconds=seconds_since(trigger, progress.refused_at),
        clear_at=progress.clear_at,
        clear_seconds=seconds_since(trigger, progress.clear_at),
        sessions_ended=progress.sessions,
        outlives=progress.outlives,
        remains=progress.remains,
        left=progress.left,
        steps_done=tuple(map(str, done)),
        steps_missing=tuple(str(step) for step in STEPS[incident.mode] if step not in done),
        places=tuple(place_reports(incident, progress)),
    )


def seconds_since(trigger: datetime, moment: datetime | None) -> float | None:
    """Seconds between the two, to the millisecond."""
    return round((moment - trigger).total_seconds(), 3) if moment else None


def place_reports(incident: Incident, progress: SecretProgress) -> Iterator[PlaceReport]:
    """The hub, then every copy by name."""
    copies = {name for old in progress.old for name in old.fingerprints if name}
    copies |= {event.place for event in progress.events if event.step in (Step.PUSH, Step.FORGET) and event.place}
    at_hub = [
        event for event in progress.events if event.step is Step.HUB or (event.step, event.place) == (Step.REPLACE, "")
    ]
    if progress.old or at_hub:
        yield place_report(incident, progress, HUB, at_hub)
    for name in sorted(copies):
        yield place_report(incident, progress, name, [event for event in progress.events if event.place == name])


def place_report(incident: Incident, progress: SecretProgress, name: str, events: list[Event]) -> PlaceReport:
    """The state of the value in one place, from the events there."""
    replaced = last_done(events, {Step.REPLACE, Step.PUSH})
    removed = last_done(events, {Step.HUB, Step.FORGET})
    newest = max(progress.old, key=lambda old: old.version, default=None)
    digest = newest.fingerprints.get("" if name == HUB else name, "") if newest else ""
    state, why = place_state(progress, name, events, removed)
    return PlaceReport(
        place=name,
        fingerprint=shown(digest),
        replaced_at=replaced,
        replaced_seconds=seconds_since(incident.triggered_at, replaced),
        removed_at=removed,
        removed_seconds=seconds_since(incident.triggered_at, removed),
        state=state,
        said=why,
    )


def last_done(events: list[Event], steps: set[Step]) -> datetime | None:
    """When the last of these steps was done there; None if it failed since."""
    matching = [event for event in events if event.step in steps and event.result is not Result.REMAINS]
    return matching[-1].at if matching and matching[-1].result is Result.DONE else None


def place_state(progress: SecretProgress, name: str, events: list[Event], removed: datetime | None) -> tuple[str, str]:
    """The state of one place, and the reason."""
    stays = [words for words in progress.remains if words.startswith(f"{name}: ")]
    if stays and (progress.clear_at or removed):
        return "remains", "; ".join(words.removeprefix(f"{name}: ") for words in stays)
    if progress.clear_at:
        return "clear", ""
    if events and events[-1].result is Result.FAILED:
        return "failed", events[-1].said
    return ("removed", "") if removed else ("waiting", "")


def timeline(status: IncidentStatus) -> list[Moment]:
    """Every action, and the incident's start and end, by time."""
    incident = status.incident
    marks = [Event(incident.triggered_at, Step.CUT, Result.DONE, said=f"asked for by {incident.actor}")]
    marks.append(Event(incident.opened_at, Step.CUT, Result.DONE, said="the incident is recorded in the hub"))
    if incident.closed_at:
        words = f"the incident is {'given up' if incident.given_up else 'closed'}"
        marks.append(Event(incident.closed_at, Step.CUT, Result.DONE, said=words))
    moments = [moment_report(incident, "", event, "incident") for event in marks]
    moments += [moment_report(incident, "", event, str(event.step)) for event in incident.events]
    moments += [
        moment_report(incident, secret.path, event, str(event.step))
        for secret in status.secrets
        for event in secret.events
    ]
    return sorted(moments, key=lambda moment: moment.at)


def moment_report(incident: Incident, secret: str, event: Event, step: str) -> Moment:
    """One line of the timeline."""
    passed = seconds_since(incident.triggered_at, event.at) or 0.0
    return Moment(event.at, passed, secret, step, event.place, str(event.result), event.said, event.kind)


def readers_report(readers: Readers) -> ReadersReport:
    """The readers of each secret, with Keyturn's own logins marked."""
    everybody = [(path_readers.path, reader) for path_readers in readers.paths for reader in path_readers.readers]
    return ReadersReport(
        since=readers.since,
        until=readers.until,
        logs=tuple(map(log_report, readers.logs)),
        principals=tuple(reader_report(path, reader) for path, reader in everybody),
        unread=tuple(path_readers.path for path_readers in readers.paths if not path_readers.readers),
        related=tuple(
            RelatedReport(
                other.system,
                other.principal,
                other.path,
                other.reads,
                other.first,
                other.last,
            )
            for other in readers.related
        ),
        own_related=readers.own_related,
    )


def log_report(log: LogRead) -> LogReport:
    """One log and its coverage."""
    covered = log.coverage
    return LogReport(log.name, covered.lines, covered.first, covered.last, covered.gaps, log.failed)


def reader_report(path: str, reader: SecretReader) -> ReaderReport:
    """One principal and one secret."""
    return ReaderReport(
        path=path,
        system=reader.system,
        principal=reader.principal,
        reads=reader.reads,
        refused=reader.refused,
        first=reader.first,
        last=reader.last,
        sources=count_pairs(reader.sources),
        logins=count_pairs(reader.logins),
        versions=reader.versions,
        own=reader.own,
    )


def count_pairs(pairs: Iterable[tuple[str, int]]) -> tuple[Counted, ...]:
    """Names with their counts."""
    return tuple(Counted(name, number) for name, number in pairs)
