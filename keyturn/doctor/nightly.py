"""The result of the doctor's nightly checks, stored in the hub."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import Conflict, Invalid
from keyturn.core.rights.hub_setup import HUB_CHECKS
from keyturn.doctor.results import CheckResult, Diagnosis
from keyturn.rotation.state.context import Workspace

KEPT: Final = f"{HUB_CHECKS}/doctor"
RECENT: Final = timedelta(hours=12)
"""A nightly check is skipped within this time after the last one."""
SHOWN: Final = 20
"""Maximum number of findings that are stored and named; the rest are counted."""


@dataclass(frozen=True)
class KeptDiagnosis:
    """The time of the checks, by the hub's clock, and their result; ``findings`` prevent the work."""

    at: datetime
    ready: bool
    summary: str
    findings: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Return the data for the hub."""
        return {**vars(self), "at": self.at.isoformat(), "findings": list(self.findings)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "KeptDiagnosis":
        """Return the diagnosis in this data. Raises Invalid where it is not one."""
        try:
            at, findings = datetime.fromisoformat(data["at"]), tuple(map(str, data["findings"]))
            return cls(at, bool(data["ready"]), str(data["summary"]), findings)
        except (KeyError, TypeError, ValueError):
            problem = "it can't be read: something other than Keyturn wrote there"
            raise Invalid("read", f"the hub's entry {KEPT}", problem, "Delete it: the next look writes it") from None


def keep_diagnosis(workspace: Workspace, diagnosis: Diagnosis) -> None:
    """Replace the stored result. A concurrent check had the same result."""
    findings = tuple(map(finding, diagnosis.hindering[:SHOWN]))
    record = KeptDiagnosis(workspace.hub_now(), diagnosis.ready, diagnosis.summary, findings)
    state = workspace.hub.read_state(KEPT)
    with suppress(Conflict):
        workspace.hub.write_state(KEPT, record.to_data(), cas=state.version if state else 0)


def last_diagnosis(workspace: Workspace) -> KeptDiagnosis | None:
    """Return the last result, or None where there is none. Raises Denied, Invalid."""
    state = workspace.hub.read_state(KEPT)
    return KeptDiagnosis.from_data(state.data) if state else None


def was_made_lately(workspace: Workspace) -> bool:
    """Whether the last readable check is recent enough to skip another one."""
    with suppress(Invalid):
        last = last_diagnosis(workspace)
        return last is not None and workspace.hub_now() - last.at < RECENT
    return False


def insist_on_ready(diagnosis: Diagnosis) -> None:
    """Raises Invalid with the findings where anything prevents the work."""
    if diagnosis.ready:
        return
    named = list(map(finding, diagnosis.hindering[:SHOWN]))
    if more := len(diagnosis.hindering) - SHOWN:
        named += [f"and {more} more"] if more > 0 else []
    hint = "`keyturn doctor` on this worker's host says of each what to do"
    raise Invalid("work with", "this installation", f"{diagnosis.summary}: {'; '.join(named)}", hint)


def finding(result: CheckResult) -> str:
    """Return one result as a line, marked where it could not be checked."""
    return f"{result.area} {result.name}: {'could not look: ' if result.unseen else ''}{result.words}"
