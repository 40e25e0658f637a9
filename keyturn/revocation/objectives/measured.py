"""Reads how long revocations took from the records of incidents and rehearsals, and compares it with objectives."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any, Final

from keyturn.catalogue.models import Secret
from keyturn.core.errors import KeyturnError
from keyturn.core.text.spans import span
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.drills import PREFIX
from keyturn.revocation.incidents.incident import Incident, Result, SecretProgress, Step
from keyturn.revocation.objectives.record import Rehearsal, Rehearsals, load_rehearsals
from keyturn.revocation.objectives.rehearsing import why_not_rehearsed
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.settings.durations import show
from keyturn.strategies.manual import ManualSettings

EVERY: Final = timedelta(days=7)
"""How often a secret with an objective is rehearsed."""
SLACK: Final = timedelta(days=1)
"""The allowed delay, for a freeze, an absent worker, or a rotation that holds the secret."""
STATES: Final = ("met", "missed", "overdue", "untested", "unknown")
"""The states of a secret with an objective."""
COUNTED: Final = 50
"""The newest measurements of a secret that count."""
AT_ONCE: Final = 16


class MeasuredBy(StrEnum):
    """What measured."""

    INCIDENT = "incident"
    DRILL = "drill"
    REHEARSAL = "rehearsal"


@dataclass(frozen=True)
class Measurement:
    """One revocation of a secret: seconds from its start, or None if not seen.

    ``clear`` is when every store was clear; a rehearsal has no copies. ``waited`` is how long the target has accepted
    the credential, if it is not refused.
    """

    at: datetime
    by: MeasuredBy
    name: str
    refused: float | None
    sessions: float | None
    clear: float | None
    waited: float = 0.0

    def misses(self, objective: timedelta) -> bool:
        """Whether the credential worked for longer than the objective."""
        return (self.waited if self.refused is None else self.refused) > objective.total_seconds()


@dataclass(frozen=True)
class ObjectiveStatus:
    """One secret's objective and measurements, newest last.

    ``by_hand`` is why no machine ends it, ``unrehearsed`` why it can't be rehearsed, ``silent`` the consumers that
    can't acknowledge a replacement, ``error`` why the measurements are unknown.
    """

    path: str
    objective: timedelta | None
    now: datetime
    measurements: tuple[Measurement, ...] = ()
    by_hand: str = ""
    unrehearsed: str = ""
    silent: tuple[str, ...] = ()
    error: str = ""

    @property
    def last(self) -> Measurement | None:
        """The newest measurement."""
        return self.measurements[-1] if self.measurements else None

    def percentile(self, share: float) -> float | None:
        """The nearest-rank percentile of the seconds until the target refused; None without any."""
        seconds = sorted(each.refused for each in self.measurements if each.refused is not None)
        return seconds[ceil(share * len(seconds)) - 1] if seconds else None

    @property
    def missed(self) -> str:
        """Why the objective is missed; empty if it is met, or there is none."""
        if self.objective is None or self.last is None or not self.last.misses(self.objective):
            return ""
        result = f"refused after {self.last.refused:.1f} s" if self.last.refused is not None else "not refused"
        return f"{result} ({self.last.name}), and the objective is {show(self.objective)}"

    @property
    def overdue(self) -> str:
        """Why a rehearsal is overdue; empty if it is not, or can't be."""
        if self.objective is None or self.error or self.unrehearsed:
            return ""
        if self.last is None:
            return "never tested"
        age = self.now - self.last.at
        return f"last tested {span(age)} ago, and every {show(EVERY)} is expected" if age > EVERY + SLACK else ""

    @property
    def state(self) -> str:
        """One word for tables and JSON."""
        if self.error:
            return "unknown"
        if self.objective is None:
            return "no objective"
        return "missed" if self.missed else "overdue" if self.overdue else "met" if self.last else "untested"

    @property
    def why(self) -> str:
        """What a person should know about the state."""
        unrehearsed = f"cannot be rehearsed: {self.unrehearsed}" if self.unrehearsed else ""
        return "; ".join(filter(None, (self.error, self.missed, self.overdue, unrehearsed)))

    @property
    def words(self) -> str:
        """One line for people."""
        last = self.last
        result = f"refused after {last.refused:.2f} s" if last and last.refused is not None else "not refused"
        tested = f"{last.by} of {last.at:%Y-%m-%d}: {result}" if last else ""
        return "; ".join(filter(None, (self.state, tested, self.why)))

    def to_data(self) -> dict[str, Any]:
        """JSON-ready data."""
        last = self.last
        return {
            "path": self.path,
            "objective_seconds": self.objective.total_seconds() if self.objective else None,
            "state": self.state,
            "why": self.why,
            "p50_seconds": self.percentile(0.5),
            "p95_seconds": self.percentile(0.95),
            "measured": len(self.measurements),
            "last": {**vars(last), "at": last.at.isoformat(), "by": str(last.by)} if last else None,
            "by_hand": self.by_hand,
            "unrehearsed": self.unrehearsed,
            "silent_consumers": list(self.silent),
        }


def objective_statuses(workspace: Workspace, paths: Sequence[str]) -> list[ObjectiveStatus]:
    """The status of each secret; unreadable records make it unknown. Raises TransientError without the hub."""
    try:
        incidents, error = measure_incidents(workspace, paths)
    except KeyturnError as refused:
        incidents, error = {}, refused.text
    return side_by_side(lambda path: _status(workspace, path, incidents.get(path, ()), error), paths, AT_ONCE)


def _status(workspace: Workspace, path: str, by_incident: Sequence[Measurement], error: str) -> ObjectiveStatus:
    secret, rehearsals = workspace.secret(path), Rehearsals()
    unrehearsed = why_not_rehearsed(workspace, path) if secret.dead_within else ""
    if secret.dead_within:
        try:
            rehearsals, _ = load_rehearsals(workspace, path)
        except KeyturnError as refused:
            error = error or refused.text
    target = workspace.target(path)
    rehearsed = [_of_rehearsal(each) for each in rehearsals.results if each.target == target]
    newest = sorted((*by_incident, *rehearsed), key=lambda each: each.at)[-COUNTED:]
    silent = tuple(name for name in secret.consumers if not workspace.catalogue.consumer(name).answers)
    return ObjectiveStatus(
        path, secret.dead_within, workspace.clock(), tuple(newest), ended_by_hand(secret), unrehearsed, silent, error
    )


def ended_by_hand(secret: Secret) -> str:
    """Why no machine ends this secret; empty if one does."""
    if isinstance(secret.rotation, ManualSettings):
        return "a person ends it where it is honoured"
    return "" if getattr(secret.rotation, "target", None) else "no target that could refuse it"


def _of_rehearsal(result: Rehearsal) -> Measurement:
    return Measurement(
        result.at, MeasuredBy.REHEARSAL, "rehearsal", result.refused, result.sessions, None, result.waited
    )


def measure_incidents(workspace: Workspace, paths: Collection[str]) -> tuple[Mapping[str, list[Measurement]], str]:
    """The measurements of these secrets by incidents and drills, and why some are unknown. Raises Denied."""
    wanted, by_path = set(paths), defaultdict[str, list[Measurement]](list)
    incidents = incident_store.list_incidents(workspace)
    unread = [incident.id for incident in incidents if incident.unread]
    pairs = [(incident, path) for incident in incidents for path in incident.paths if path in wanted]
    for incident, measured in zip(
        (incident for incident, _ in pairs),
        side_by_side(lambda pair: incident_store.progress_or_unread(workspace, *pair), pairs, AT_ONCE),
        strict=True,
    ):
        for measurement in _of_incident(incident, measured, workspace.clock()):
            by_path[measured.path].append(measurement)
    return by_path, f"incidents that can't be read: {', '.join(unread)}" if unread else ""


def _of_incident(incident: Incident, progress: SecretProgress, now: datetime) -> Iterator[Measurement]:
    """The measurement by one incident; none for one that ended without the target's answer."""

    def after(moment: datetime | None) -> float | None:
        return max((moment - incident.triggered_at).total_seconds(), 0.0) if moment else None

    if progress.refused_at is None and incident.closed_at is not None:
        return
    if progress.refused_at and progress.refused_at < incident.triggered_at:
        return  # Another incident had ended it before.
    cuts = [event.at for event in progress.events if event.step is Step.CUT and event.result is Result.DONE]
    by = MeasuredBy.DRILL if incident.id.startswith(PREFIX) else MeasuredBy.INCIDENT
    sessions = after(cuts[-1]) if cuts and Step.CUT in progress.done else None
    waited = 0.0 if progress.refused_at else after(now) or 0.0
    yield Measurement(
        incident.triggered_at, by, incident.id, after(progress.refused_at), sessions, after(progress.clear_at), waited
    )
