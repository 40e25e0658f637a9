"""Results of rotations, syncs and retirements, whether they ran here or through Prefect."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyturn.cli.copies.grouped import CopyFailure, failure_lines
from keyturn.cli.failures import BEHIND, FAILED, HELD
from keyturn.cli.running.progress import notice_lines
from keyturn.cli.running.watch import Run
from keyturn.core.error_codes import code_of_kind
from keyturn.core.errors import KeyturnError, Locked, TransientError
from keyturn.rotation.outcome import Outcome
from keyturn.rotation.report import OldCredential, outcome_from
from keyturn.sync.notices import unheard
from keyturn.sync.report import SyncedCopy, SyncReport

ROTATION_COLUMNS: Final = ("what", "name", "state", "version")
COPY_COLUMNS: Final = ("secret", "copy", "state")
RETIREMENT_COLUMNS: Final = ("secret", "old credential", "why")


# --- one rotation


def outcome_of(path: str, run: Run) -> Outcome:
    """The outcome that a run of rotate-secret returned. Raises the error that it ended with."""
    if run.result is None:
        raise run.error("rotate", path)
    return outcome_from(run.result)


def outcome_rows(outcome: Outcome) -> list[tuple[object, ...]]:
    """Rows for the hub, then each copy and consumer."""
    version = outcome.version or ""
    rows: list[tuple[object, ...]] = [("secret", outcome.path, outcome.state, version)]
    rows += [("copy", f"{p.store}:{p.name}", p.state, p.version or "") for p in outcome.destinations]
    rows += [("consumer", t.consumer, "silent" if t.error else t.words, "") for t in outcome.consumers]
    return rows


# --- copies


@dataclass(frozen=True)
class Copies:
    """What a sync did, and its run; None if it ran in this process."""

    report: SyncReport
    run: Run | None = None

    @staticmethod
    def of(run: Run) -> "Copies":
        """The report that a run of sync returned. Raises the error that it ended with."""
        if run.result is None:
            raise run.error("sync", "the copies")
        return Copies(SyncReport.of_result(run.result), run)

    def rows(self) -> Iterable[tuple[object, ...]]:
        return ((copy.secret, copy.label, copy.state) for copy in self.report.copies)

    def summary(self) -> str:
        """The number of copies in each state; empty without copies."""
        return ", ".join(f"{count} {state}" for state, count in sorted(self.report.counts.items()))

    def to_data(self) -> dict[str, Any]:
        return {**self.report.to_data(), "run": self.run.to_data() if self.run else None}

    def failure(self) -> tuple[KeyturnError, int] | None:
        """The error and exit code if a copy is out of sync or a consumer did not answer."""
        behind = self.behind()
        if not behind:
            silent = unheard(self.report.notices)
            return (silent, BEHIND) if silent else None
        total = max(sum(self.report.counts.values()), len(self.report.copies))
        rest = "All others are in sync. " if len(behind) < total else ""
        remedy = f"{rest}Fix the cause; the next sync repairs only these"
        problem = "not in sync" if len(behind) > 1 else behind[0]
        return TransientError("sync", f"{len(behind)} of {total} copies", problem, remedy), BEHIND

    def details(self) -> list[str]:
        failures = [CopyFailure.of_label(copy.label, copy.secret, copy.error, copy.kind) for copy in self._failing()]
        lines = [self.summary()] if self.report.copies and self.report.counts else []
        return [*lines, *(failure_lines(failures) if len(failures) > 1 else []), *notice_lines(self.report.notices)]

    def behind(self) -> list[str]:
        return [f"{copy.label} of {copy.secret}: {copy.error}" for copy in self._failing()]

    def _failing(self) -> list[SyncedCopy]:
        return [copy for copy in self.report.copies if copy.error]


# --- old credentials


@dataclass(frozen=True)
class Retirements:
    """The old credentials that were checked."""

    found: tuple[OldCredential, ...]
    run: Run | None = None

    @staticmethod
    def of(run: Run) -> "Retirements":
        """The result that a run of retire returned. Raises the error that it ended with."""
        if run.result is None:
            raise run.error("retire", "the old credentials")
        return Retirements(tuple(OldCredential(**old) for old in run.result["secrets"]), run)

    def rows(self) -> Iterable[tuple[object, ...]]:
        return ((old.path, old.state, old.why) for old in self.found)

    def details(self) -> list[str]:
        return []

    def to_data(self) -> dict[str, Any]:
        return {
            "secrets": [{**vars(old), "code": code_of_kind(old.kind)} for old in self.found],
            "run": self.run.to_data() if self.run else None,
        }

    def failure(self) -> tuple[KeyturnError, int] | None:
        """The error and exit code; None if at least one was retired and none failed."""
        failed = [old for old in self.found if old.state == "failed"]
        if failed:
            return TransientError("retire", some(failed, self.found), failed[0].why), FAILED
        held = [old for old in self.found if old.state == "kept" and old.why]
        if held and not any(old.state == "retired" for old in self.found):
            remedy = "Fix that, or skip it: --early skips the grace, --force everything"
            return Locked("retire", some(held, self.found), f"not retired: {held[0].why}", remedy), HELD
        return None


def some(olds: Sequence[OldCredential], among: Sequence[OldCredential]) -> str:
    return olds[0].path if len(olds) == 1 else f"{len(olds)} of {len(among)} secrets, first {olds[0].path}"
