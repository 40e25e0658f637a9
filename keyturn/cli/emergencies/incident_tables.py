"""Incidents and previews as tables and as JSON data, with names and short fingerprints only."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from keyturn.cli.output import stamp, when
from keyturn.core.fingerprint import shown
from keyturn.revocation.incidents.announcements import unsent
from keyturn.revocation.incidents.incident import Event, Incident, IncidentStatus, Result, SecretProgress, Step
from keyturn.revocation.preview import Preview, SecretPreview
from keyturn.revocation.proof import Check

Row = tuple[object, ...]

PREVIEW_COLUMNS: Final = ("secret", "what", "")
SECRET_COLUMNS: Final = ("secret", "refused after", "clear after", "consumers", "new version")
MORE_COLUMNS: Final = ("secret", "what", "")
LIST_COLUMNS: Final = ("incident", "opened (UTC)", "state", "secrets", "reason")
EVENT_COLUMNS: Final = ("when (UTC)", "step", "result", "where and what")
CHECK_COLUMNS: Final = ("secret", "checked", "place", "answer", "")

FEW: Final = 3
"""Lines shown in tables of what remains of one secret."""


# --- before it happens


def preview_rows(preview: Preview) -> Iterator[Row]:
    """Each secret with what ends, its uses, copies and consumers; then leases."""
    for blast in preview.secrets:
        first = f"{blast.strategy}, version {blast.version}, {blast.classification}, of {blast.owner}"
        yield blast.path, "is", first
        for what, lines in preview_lines(blast).items():
            yield from (("", what if at == 0 else "", line) for at, line in enumerate(lines))
    yield from ((lease, "lease", "ends with what it gave") for lease in preview.leases)


def preview_lines(blast: SecretPreview) -> dict[str, Sequence[str]]:
    return {
        "ends": blast.names,
        "in use": blast.uses,
        "copies": blast.destinations,
        "consumers": blast.consumers,
        "proof": [", ".join(check.name for check in blast.checks)] if blast.checks else [],
        "warning": blast.warnings,
    }


def preview_summary(preview: Preview) -> str:
    copies = sum(len(blast.destinations) for blast in preview.secrets)
    consumers = {name for blast in preview.secrets for name in blast.consumers}
    counts = [
        count_noun(len(preview.secrets), "secret"),
        count_noun(copies, "copy"),
        count_noun(len(consumers), "consumer"),
    ]
    return ", ".join(counts + ([count_noun(len(preview.leases), "lease")] if preview.leases else []))


def count_noun(number: int, word: str) -> str:
    plural = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number} {word if number == 1 else plural}"


def preview_data(preview: Preview) -> dict[str, Any]:
    return {
        "mode": str(preview.mode),
        "secrets": [
            {
                "path": blast.path,
                "strategy": blast.strategy,
                "owner": blast.owner,
                "classification": blast.classification,
                "version": blast.version,
                "ends": list(blast.names),
                "in_use": list(blast.uses),
                "destinations": list(blast.destinations),
                "consumers": list(blast.consumers),
                "warnings": list(blast.warnings),
                "checks": [proof_data(blast.path, check) for check in blast.checks],
            }
            for blast in preview.secrets
        ],
        "leases": list(preview.leases),
        "checks": [proof_data("", check) for check in preview.checks],
    }


# --- an incident


def state_of(incident: Incident) -> str:
    if incident.unread:
        return "UNREADABLE"
    closed = "given up" if incident.given_up else "closed"
    return closed if incident.closed_at else "open"


def about_rows(status: IncidentStatus) -> Iterator[Row]:
    incident = status.incident
    yield "state", state_of(incident) if incident.unread else status.conclusion
    yield "reason", incident.reason
    yield "chosen", f"{incident.selector} ({incident.mode})"
    yield "asked by", incident.actor
    if incident.remark:
        yield "through", incident.remark
    yield "asked at", f"{when(incident.triggered_at)} UTC"
    for line in incident.left_out:
        yield "catalogue broken", line
    if incident.closed_at:
        yield "given up at" if incident.given_up else "closed at", f"{when(incident.closed_at)} UTC"
    if incident.given_up:
        yield "given up by", f"{incident.given_up_by}: {incident.given_up}"
    if incident.looked_at:
        yield "looked at again", ", ".join(f"{when(at)} UTC" for at in incident.looked_at)
    if waits := [f"{message.news} ({when(message.at)} UTC)" for message in unsent(incident)]:
        resume = f"`keyturn revoke --resume {incident.id}` with KEYTURN_FAILURE_URL"
        yield "messages not sent yet", f"{', '.join(waits)}: workers with a channel send them, or {resume}"


def list_row(incident: Incident) -> Row:
    opened = when(incident.opened_at)
    return incident.id, opened, state_of(incident), len(incident.paths) or "-", incident.reason


def secret_row(incident: Incident, progress: SecretProgress) -> Row:
    clear = seconds_after(incident, progress.clear_at) or "not yet"
    return progress.path, refused_after(incident, progress), clear, consumers_told(progress), progress.version or "-"


def refused_after(incident: Incident, progress: SecretProgress) -> str:
    """Time until its target refused it; time until it was ended if the target cannot show that."""
    if Step.CUT not in progress.done:
        return "NOT ENDED YET"
    return seconds_after(incident, progress.refused_at) or f"ended {seconds_after(incident, progress.cut_at)}"


def seconds_after(incident: Incident, moment: datetime | None) -> str:
    return f"{(moment - incident.triggered_at).total_seconds():.2f} s" if moment else ""


def consumers_told(progress: SecretProgress) -> str:
    """How many consumers acknowledged the notice, of those it was sent to."""
    heard = {event.place: event.result for event in progress.events if event.step is Step.NOTIFY and event.place}
    acknowledged = sum(result is Result.DONE for result in heard.values())
    return f"{acknowledged} of {len(heard)} notified" if heard else "-"


def more_rows(standing: IncidentStatus) -> Iterator[Row]:
    """What the first table omits: what is left, what cannot be removed, what still works."""
    for progress in standing.secrets:
        unseen = tuple(f"could not check {unseen.words}" for unseen in progress.unseen)
        sections = (
            ("still to do", progress.left),
            ("can't be deleted", few_lines(progress.remains)),
            ("still works", progress.outlives),
            ("not checked", unseen),
        )
        for what, lines in sections:
            yield from ((progress.path, what, line) for line in lines)
    yield from ((standing.incident.id, "still to do", line) for line in standing.incident.left)


def check_rows(standing: IncidentStatus) -> Iterator[Row]:
    ordered = sorted(standing.checks, key=lambda pair: pair[1].proves)
    for path, check in ordered:
        yield path, check.subject.label, check.place, check.answer.label, "; ".join(few_lines(check.said.split("; ")))


def few_lines(lines: Sequence[str]) -> Sequence[str]:
    """At most three lines: of more, the first two and the number of the others."""
    if len(lines) <= FEW:
        return lines
    more = f"and {len(lines) - FEW + 1} more, which the report lists (`keyturn incidents ID --report DIR`)"
    return (*lines[: FEW - 1], more)


def event_rows(standing: IncidentStatus) -> Iterator[Row]:
    events = [(event, progress.path) for progress in standing.secrets for event in progress.events]
    events += [(event, "") for event in standing.incident.events]
    remaining = Counter((path, event.place) for event, path in events if event.result is Result.REMAINS)
    for event, path in sorted(events, key=lambda pair: pair[0].at):
        result, more = str(event.result), ""
        if event.result is Result.REMAINS:
            result = "can't delete"
            if not (number := remaining.pop((path, event.place), 0)):
                continue
            more = f"and {number - 1} more like it" if number > 1 else ""
        text = ": ".join(part for part in (path, event.place, event.said, more) if part)
        yield f"{event.at:%H:%M:%S.%f}"[:-3], event.step, result, text


def incident_data(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "state": state_of(incident),
        "reason": incident.reason,
        "mode": str(incident.mode),
        "selector": incident.selector,
        "actor": incident.actor,
        "remark": incident.remark,
        "left_out": list(incident.left_out),
        "triggered_at": stamp(incident.triggered_at),
        "opened_at": stamp(incident.opened_at),
        "closed_at": stamp(incident.closed_at),
        "given_up": incident.given_up,
        "given_up_by": incident.given_up_by,
        "looked_at": [stamp(at) for at in incident.looked_at],
        "paths": list(incident.paths),
        "leases": list(incident.leases),
        "left": list(incident.left),
    }


def standing_data(standing: IncidentStatus) -> dict[str, Any]:
    return {
        **incident_data(standing.incident),
        "left": list(standing.left),
        "verdict": str(standing.verdict),
        "checks": [proof_data(path, check) for path, check in standing.checks],
        "secrets": [secret_data(standing.incident, progress) for progress in standing.secrets],
        "events": [event_data(event) for event in standing.incident.events],
    }


def proof_data(path: str, check: Check) -> dict[str, Any]:
    return {"secret": path, **asdict(check)}


def secret_data(incident: Incident, progress: SecretProgress) -> dict[str, Any]:
    seconds = {
        name: (moment - incident.triggered_at).total_seconds() if moment else None
        for name, moment in (("ended", progress.cut_at), ("refused", progress.refused_at), ("clear", progress.clear_at))
    }
    return {
        "path": progress.path,
        "strategy": progress.strategy,
        "done": [str(step) for step in progress.done],
        "version": progress.version,
        "fingerprint": shown(progress.fingerprint),
        "old_versions": [old.version for old in progress.old],
        "ended_at": stamp(progress.cut_at),
        "refused_at": stamp(progress.refused_at),
        "clear_at": stamp(progress.clear_at),
        "seconds": seconds,
        "sessions": progress.sessions,
        "outlives": list(progress.outlives),
        "remains": list(progress.remains),
        "unseen": [unseen.words for unseen in progress.unseen],
        "left": list(progress.left),
        "events": [event_data(event) for event in progress.events],
    }


def event_data(event: Event) -> dict[str, Any]:
    return {**vars(event), "at": stamp(event.at)}
