"""Drills of revocation: an incident about a secret that is there for it, by which everybody sees how long it takes.

Which are due, and what the last came to, is told by the incidents themselves: their names say for which secret, and
when.
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
"""What the ledger calls one."""
PREFIX: Final = "DRILL-"
STAMP: Final = "%Y%m%d-%H%M%S"
REASON: Final = "the drill that the catalogue asks for"


@dataclass(frozen=True)
class DrillResult:
    """How one drill went: ``refused`` and ``clear`` are seconds from its trigger, None for what was not seen yet."""

    incident: str
    path: str
    began: datetime
    refused: float | None
    clear: float | None
    verdict: IncidentVerdict

    @property
    def proven(self) -> bool:
        """Whether the credential was seen to be dead, and all of the rest is proven."""
        return self.refused is not None and self.verdict is IncidentVerdict.PROVEN

    @property
    def words(self) -> str:
        """In one line, for the ledger and for people."""
        dead = "the credential was not seen to be refused"
        if self.refused is not None:
            dead = f"the credential was refused after {self.refused:.2f} s"
        return f"{self.incident}; {'proven' if self.proven else 'NOT proven'}; {dead}"

    def to_data(self) -> dict[str, Any]:
        """For whoever counts."""
        return {**vars(self), "began": self.began.isoformat(), "proven": self.proven}


def drill_id(path: str, began: datetime) -> str:
    """The name of a drill's incident: when it began, in UTC, and of which secret it is."""
    return f"{PREFIX}{began.astimezone(UTC):{STAMP}}-{_mark(path)}"


def result_of(status: IncidentStatus) -> DrillResult:
    """What a drill's incident has come to."""
    (secret,) = status.secrets
    began = status.incident.triggered_at

    def after(moment: datetime | None) -> float | None:
        return max((moment - began).total_seconds(), 0.0) if moment else None

    return DrillResult(
        status.incident.id, secret.path, began, after(secret.refused_at), after(secret.clear_at), status.verdict
    )


def last_drill(workspace: Workspace, path: str, names: Mapping[str, str] | None = None) -> DrillResult | None:
    """The newest drill of a secret; None where there was none. Raises Denied, Invalid for a malformed entry."""
    incident = (newest_drills(workspace) if names is None else names).get(_mark(path))
    return result_of(incident_store.load_status(workspace, incident)) if incident else None


def newest_drills(workspace: Workspace) -> dict[str, str]:
    """The newest drill's incident of each secret, by the mark that its name ends with."""
    folders = (folder.rstrip("/") for folder in workspace.hub.list_folders(incident_store.INCIDENTS))
    return {name.rpartition("-")[2]: name for name in sorted(folders) if name.startswith(PREFIX)}


def due_drills(workspace: Workspace) -> list[str]:
    """The secrets whose drill is due, and that no freeze holds."""
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
    """The secrets that are there for drills, and how often each is tried."""
    for path, secret in sorted(workspace.catalogue.secrets.items()):
        if secret.drill is not None:
            yield path, secret.drill


def insist_on_drill(workspace: Workspace, path: str) -> None:
    """Raises NotFound for what is not declared, and Invalid for what is not there for drills."""
    if workspace.secret(path).drill is None:
        problem = "the catalogue does not say that it is there for drills"
        raise Invalid(DRILL, path, problem, "Say drill: 30d on a secret below drills/ that nobody needs, and name that")


def _is_over(incident: str | None, every: timedelta, now: datetime) -> bool:
    if incident is None:
        return True
    try:
        began = datetime.strptime(incident.removeprefix(PREFIX).rpartition("-")[0], STAMP).replace(tzinfo=UTC)
    except ValueError:
        return True
    return now - began >= every


def _mark(path: str) -> str:
    """Stands for a path in names: a path may have characters that no name has."""
    return hashlib.sha256(path.encode()).hexdigest()[:8]
