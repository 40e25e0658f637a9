"""What came of each check: well, worth a look, failed, or nobody could look."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keyturn.core.errors import KeyturnError


class Grade(StrEnum):
    """How a check ended; what was not seen is never well."""

    WELL = "ok"
    ADVICE = "advice"
    """It works, and should be otherwise."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """Nobody could look."""


@dataclass(frozen=True)
class CheckResult:
    """One thing that was looked at: its ``area``, its ``name``, in ``words`` how it is, and what to do about it."""

    area: str
    name: str
    grade: Grade
    words: str
    remedy: str = ""

    @property
    def hinders(self) -> bool:
        """Whether work may fail for it, as far as anybody knows."""
        return self.grade in (Grade.FAILED, Grade.UNKNOWN)

    @property
    def unseen(self) -> bool:
        """Whether nobody could look."""
        return self.grade is Grade.UNKNOWN

    def to_data(self) -> dict[str, str]:
        """For scripts."""
        return {**vars(self), "grade": str(self.grade)}


def unseen(area: str, name: str, error: KeyturnError) -> CheckResult:
    """Where a look failed: what kept anybody from looking, and the remedy."""
    return CheckResult(area, name, Grade.UNKNOWN, f"{error.doing} {error.name}: {error.problem}", error.hint)


@dataclass(frozen=True)
class Diagnosis:
    """All checks of one login, in their order."""

    role: str
    results: Sequence[CheckResult]

    @property
    def hindering(self) -> Sequence[CheckResult]:
        """Those that the work may fail for."""
        return [result for result in self.results if result.hinders]

    @property
    def ready(self) -> bool:
        """Whether nothing hinders the work."""
        return not self.hindering

    @property
    def summary(self) -> str:
        """In one line."""
        hindering = len(self.hindering)
        advice = sum(result.grade is Grade.ADVICE for result in self.results)
        more = f", {advice} worth a look" if advice else ""
        if not hindering:
            return f"READY as {self.role}: {len(self.results)} checks{more}"
        return f"NOT READY as {self.role}: {hindering} of {len(self.results)} checks failed{more}"

    def to_data(self) -> dict[str, Any]:
        """For scripts."""
        return {"as": self.role, "ready": self.ready, "checks": [result.to_data() for result in self.results]}
