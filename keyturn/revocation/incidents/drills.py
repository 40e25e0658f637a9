"""Drills of revocation: incidents about secrets made for them, to measure how long one takes.

Their names contain the secret and the time.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.incident import IncidentStatus
from keyturn.revocation.proof import IncidentVerdict
from keyturn.rotation.state.context import Workspace

DRILL: Final = "drill"
"""The ledger's name for a drill."""
PREFIX: Final = "DRILL-"
STAMP: Final = "%Y%m%d-%H%M%S"
REASON: Final = "the drill that the catalogue asks for"


@dataclass(frozen=True)
class DrillResult:
    """The result of one drill; ``refused`` and ``clear`` are seconds from its trigger, or None."""

    incident: str
    path: str
    began: datetime
    refused: float | None
    clear: float | None
    verdict: IncidentVerdict

    @property
    def proven(self) -> bool:
        """Whether the target was seen to refuse, and everything else is proven."""
        return self.refused is not None and self.verdict is IncidentVerdict.PROVEN

    @property
    def words(self) -> str:
        """One line for the ledger and for people."""
        dead = "the credential was not seen to be refused"
        if self.refused is not None:
            dead = f"the credential was refused after {self.refused:.2f} s"
        return f"{self.incident}; {'proven' if self.proven else 'NOT proven'}; {dead}"

    def to_data(self) -> dict[str, Any]:
        """Data for statistics."""
        return {**vars(self), "began": self.began.isoformat(), "proven": self.proven}


def drill_id(path: str, began: datetime) -> str:
    """A drill incident's name, from its start in UTC and its secret."""
    return f"{PREFIX}{began.astimezone(UTC):{STAMP}}-{_mark(path)}"


def result_of(status: IncidentStatus) -> DrillResult:
    """The result of a drill's incident."""
    (secret,) = status.secrets
    began = status.incident.triggered_at

    def after(moment: datetime | None) -> float | None:
        return max((moment - began).total_seconds(), 0.0) if moment else None

    return DrillResult(
        status.incident.id, secret.path, began, after(secret.refused_at), after(secret.clear_at), status.verdict
    )


def last_drill(workspace: Workspace, path: str, names: Mapping[str, str] | None = None) -> DrillResult | None:
    """The newest drill of a secret, or None. Raises Denied, Invalid for a malformed entry."""
    incident = (newest_drills(workspace) if names is None else names).get(_mark(path))
    return result_of(incident_store.load_status(workspace, incident)) if incident else None


def newest_drills(workspace: Workspace) -> dict[str, str]:
    """The newest drill incident of each secret, by the mark in its name."""
    folders = (folder.rstrip("/") for folder in workspace.hub.list_folders(incident_store.INCIDENTS))
    return {name.rpartition("-")[2]: name for name in sorted(folders) if name.startswith(PREFIX)}


def due_drills(workspace: Workspace) -> list[str]:
    """The secrets whose drill is due, without those in a freeze."""
    declared, now = dict(declared_drills(workspace)), workspace.clock()
    if not declared:
        return []
    names = newest_drills(workspace)
    return [
        path
        for path, every in declared.items()
        if _is_over(names.get(_mark(path)), every, now)
        and not any(freeze.holds(now) for freeze in workspace.catalogue.freezes_of(path))
    ]


def declared_drills(workspace: Workspace) -> Iterator[tuple[str, timedelta]]:
    """The secrets for drills, and their intervals."""
    for path, secret in sorted(workspace.catalogue.secrets.items()):
        if secret.drill is not None:
            yield path, secret.drill


def insist_on_drill(workspace: Workspace, path: str) -> None:
    """Raise NotFound for an undeclared secret, Invalid for one not for drills."""
    if workspace.secret(path).drill is None:
        problem = "the catalogue does not say that it is there for drills"
        raise Invalid(DRILL, path, problem, "Say drill: 30d on an unused secret below drills/, and name that")


def _is_over(incident: str | None, every: timedelta, now: datetime) -> bool:
    if incident is None:
        return True
    try:
        began = datetime.strptime(incident.removeprefix(PREFIX).rpartition("-")[0], STAMP).replace(tzinfo=UTC)
    except ValueError:
        return True
    return now - began >= every


def _mark(path: str) -> str:
    """A path's mark in names, which allow fewer characters."""
    return hashlib.sha256(path.encode()).hexdigest()[:8]
