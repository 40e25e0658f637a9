"""Incidents and previews as tables for people and as data for scripts, in names and short fingerprints alone."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from keyturn.cli.output import stamp, when
from keyturn.core.fingerprint import shown
from keyturn.revocation.incident import Event, Incident, IncidentStatus, Progress, Result, Step
from keyturn.revocation.news import unsent
from keyturn.revocation.preview import Preview, SecretPreview
from keyturn.revocation.selector import Match

Row = tuple[object, ...]

PREVIEW_COLUMNS: Final = ("secret", "what", "")
SECRET_COLUMNS: Final = ("secret", "refused after", "clear after", "consumers", "version")
MORE_COLUMNS: Final = ("secret", "what", "")
LIST_COLUMNS: Final = ("incident", "opened (UTC)", "state", "secrets", "reason")
EVENT_COLUMNS: Final = ("when (UTC)", "step", "result", "where and what")
MATCH_COLUMNS: Final = ("secret", "version", "where")


# --- before it happens


def preview_rows(preview: Preview) -> Iterator[Row]:
    """Each secret with what ends, who uses it, its copies and its consumers; then leases."""
    for one in preview.secrets:
        first = f"{one.strategy}, version {one.version}, {one.classification}, of {one.owner}"
        yield one.path, "is", first
        for what, said in told(one).items():
            yield from (("", what if at == 0 else "", line) for at, line in enumerate(said))
    yield from ((lease, "lease", "ends with what it gave") for lease in preview.leases)


def told(one: SecretPreview) -> dict[str, Sequence[str]]:
    """What a preview tells of one secret, each under its word."""
    return {
        "ends": one.names,
        "in use": one.uses,
        "copies": one.destinations,
        "consumers": one.consumers,
        "mind": one.warnings,
    }


def preview_summary(preview: Preview) -> str:
    """How much would be touched, in one line."""
    copies = sum(len(one.destinations) for one in preview.secrets)
    consumers = {name for one in preview.secrets for name in one.consumers}
    said = [counted(len(preview.secrets), "secret"), counted(copies, "copy"), counted(len(consumers), "consumer")]
    return ", ".join(said + ([counted(len(preview.leases), "lease")] if preview.leases else []))


def counted(number: int, word: str) -> str:
    """``3 secrets``, ``1 copy``."""
    plural = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number} {word if number == 1 else plural}"


def preview_data(preview: Preview) -> dict[str, Any]:
    """For scripts."""
    return {
        "mode": str(preview.mode),
        "secrets": [
            {
                "path": one.path,
                "strategy": one.strategy,
                "owner": one.owner,
                "classification": one.classification,
                "version": one.version,
                "ends": list(one.names),
                "in_use": list(one.uses),
                "destinations": list(one.destinations),
                "consumers": list(one.consumers),
                "warnings": list(one.warnings),
            }
            for one in preview.secrets
        ],
        "leases": list(preview.leases),
    }


# --- an incident


def state_of(incident: Incident) -> str:
    """In one word."""
    if incident.unread:
        return "UNREADABLE"
    closed = "given up" if incident.given_up else "closed"
    return closed if incident.closed_at else "open"


def about_rows(incident: Incident) -> Iterator[Row]:
    """What it is about, for people."""
    yield "state", state_of(incident)
    yield "reason", incident.reason
    yield "chosen", f"{incident.selector} ({incident.mode})"
    yield "asked by", incident.actor
    yield "asked at", f"{when(incident.triggered_at)} UTC"
    if incident.closed_at:
        yield "given up at" if incident.given_up else "closed at", f"{when(incident.closed_at)} UTC"
    if incident.given_up:
        yield "given up by", f"{incident.given_up_by}: {incident.given_up}. What is left is not proven"
    if incident.looked_at:
        yield "looked at again", ", ".join(f"{when(at)} UTC" for at in incident.looked_at)
    if waits := [f"{message.news} ({when(message.at)} UTC)" for message in unsent(incident)]:
        yield "not told yet", ", ".join(waits)


def list_row(incident: Incident) -> Row:
    """One of many."""
    opened = when(incident.opened_at)
    return incident.id, opened, state_of(incident), len(incident.paths) or "-", incident.reason


def secret_row(incident: Incident, one: Progress) -> Row:
    """One secret for people."""
    clear = after(incident, one.clear_at) or "not yet"
    return one.path, refused(incident, one), clear, consumers(one), one.version or "-"


def refused(incident: Incident, one: Progress) -> str:
    """When its target was seen to refuse it; where nobody can see that, when it was told."""
    if Step.CUT not in one.done:
        return "NOT ENDED YET"
    return after(incident, one.refused_at) or f"ended {after(incident, one.cut_at)}"


def after(incident: Incident, moment: datetime | None) -> str:
    """The time since somebody asked for it; empty for what has not happened."""
    return f"{(moment - incident.triggered_at).total_seconds():.2f} s" if moment else ""


def consumers(one: Progress) -> str:
    """How many consumers have acknowledged."""
    heard = {event.place: event.result for event in one.events if event.step is Step.NOTIFY and event.place}
    told = sum(result is Result.DONE for result in heard.values())
    return f"{told} of {len(heard)} told" if heard else "-"


def more_rows(standing: IncidentStatus) -> Iterator[Row]:
    """What the first table has no place for: what is left, what can't be removed, what works on."""
    for one in standing.secrets:
        unseen = tuple(f"nobody could look at {unseen.words}" for unseen in one.unseen)
        told = (("left", one.left), ("remains", one.remains), ("outlives", one.outlives), ("unseen", unseen))
        for what, said in told:
            yield from ((one.path, what, line) for line in said)
    yield from ((standing.incident.id, "left", line) for line in standing.incident.left)


def event_rows(standing: IncidentStatus) -> Iterator[Row]:
    """Everything that was done, in the order of time."""
    found = [(event, one.path) for one in standing.secrets for event in one.events]
    found += [(event, "") for event in standing.incident.events]
    for event, path in sorted(found, key=lambda pair: pair[0].at):
        said = ": ".join(part for part in (path, event.place, event.said) if part)
        yield f"{event.at:%H:%M:%S.%f}"[:-3], event.step, event.result, said


def incident_data(incident: Incident) -> dict[str, Any]:
    """One of many, for scripts."""
    return {
        "id": incident.id,
        "state": state_of(incident),
        "reason": incident.reason,
        "mode": str(incident.mode),
        "selector": incident.selector,
        "actor": incident.actor,
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
    """One in full, for scripts."""
    return {
        **incident_data(standing.incident),
        "left": list(standing.left),
        "secrets": [secret_data(standing.incident, one) for one in standing.secrets],
        "events": [event_data(event) for event in standing.incident.events],
    }


def secret_data(incident: Incident, one: Progress) -> dict[str, Any]:
    """One secret of an incident, for scripts."""
    seconds = {
        name: (moment - incident.triggered_at).total_seconds() if moment else None
        for name, moment in (("ended", one.cut_at), ("refused", one.refused_at), ("clear", one.clear_at))
    }
    return {
        "path": one.path,
        "strategy": one.strategy,
        "done": [str(step) for step in one.done],
        "version": one.version,
        "fingerprint": shown(one.fingerprint),
        "old_versions": [old.version for old in one.old],
        "ended_at": stamp(one.cut_at),
        "refused_at": stamp(one.refused_at),
        "clear_at": stamp(one.clear_at),
        "seconds": seconds,
        "sessions": one.sessions,
        "outlives": list(one.outlives),
        "remains": list(one.remains),
        "unseen": [unseen.words for unseen in one.unseen],
        "left": list(one.left),
        "events": [event_data(event) for event in one.events],
    }


def event_data(event: Event) -> dict[str, Any]:
    """One action, for scripts."""
    return {
        "at": stamp(event.at),
        "step": str(event.step),
        "result": str(event.result),
        "place": event.place,
        "said": event.said,
        "kind": event.kind,
    }


# --- whose value it is


def match_row(match: Match) -> Row:
    """One place for people."""
    return match.path, match.version, match.place or "hub"


def match_data(match: Match) -> dict[str, Any]:
    """One place for scripts; an empty one is the hub."""
    return {"path": match.path, "version": match.version, "place": match.place}
