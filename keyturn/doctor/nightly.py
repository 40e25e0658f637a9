"""What the doctor's nightly look has come to, kept in the hub for whoever asks."""

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
"""Within so long nobody looks again of its own accord."""
SHOWN: Final = 20
"""So many findings are kept and named; of more, their number is told."""


@dataclass(frozen=True)
class KeptDiagnosis:
    """When somebody looked, by the hub's clock, and what that came to: ``findings`` hinder the work."""

    at: datetime
    ready: bool
    summary: str
    findings: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """As it lies in the hub."""
        return {**vars(self), "at": self.at.isoformat(), "findings": list(self.findings)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "KeptDiagnosis":
        """What lies there. Raises Invalid for what nobody here has written."""
        try:
            at, findings = datetime.fromisoformat(data["at"]), tuple(map(str, data["findings"]))
            return cls(at, bool(data["ready"]), str(data["summary"]), findings)
        except (KeyError, TypeError, ValueError):
            problem = "it can't be read: somebody else has written there"
            raise Invalid("read", f"the hub's entry {KEPT}", problem, "Delete it: the next look writes it") from None


def keep_diagnosis(workspace: Workspace, diagnosis: Diagnosis) -> None:
    """Write it over the last one; whoever looks at the same time has seen the same."""
    findings = tuple(map(finding, diagnosis.hindering[:SHOWN]))
    record = KeptDiagnosis(workspace.hub_now(), diagnosis.ready, diagnosis.summary, findings)
    state = workspace.hub.read_state(KEPT)
    with suppress(Conflict):
        workspace.hub.write_state(KEPT, record.to_data(), cas=state.version if state else 0)


def last_diagnosis(workspace: Workspace) -> KeptDiagnosis | None:
    """What the last look has come to; None where nobody has looked yet. Raises Denied, Invalid."""
    state = workspace.hub.read_state(KEPT)
    return KeptDiagnosis.from_data(state.data) if state else None


def was_made_lately(workspace: Workspace) -> bool:
    """Whether somebody has looked so lately that nobody needs to look again; what can't be read is no look."""
    with suppress(Invalid):
        last = last_diagnosis(workspace)
        return last is not None and workspace.hub_now() - last.at < RECENT
    return False


def insist_on_ready(diagnosis: Diagnosis) -> None:
    """Raises Invalid where anything hinders the work, naming it."""
    if diagnosis.ready:
        return
    named = list(map(finding, diagnosis.hindering[:SHOWN]))
    if more := len(diagnosis.hindering) - SHOWN:
        named += [f"and {more} more"] if more > 0 else []
    hint = "`keyturn doctor` on this worker's host says of each what to do"
    raise Invalid("work with", "this installation", f"{diagnosis.summary}: {'; '.join(named)}", hint)


def finding(result: CheckResult) -> str:
    """One result in a line, saying whether anybody has looked."""
    return f"{result.area} {result.name}: {'could not look: ' if result.unseen else ''}{result.words}"
