"""The results of checks: well, advice, failed or unknown."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keyturn.core.errors import KeyturnError


class Grade(StrEnum):
    """The grade of a check; what was not checked is never well."""

    WELL = "ok"
    ADVICE = "advice"
    """It works, but should be changed."""
    WAITING = "waiting"
    """Something that a person has not started yet."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be checked."""


@dataclass(frozen=True)
class CheckResult:
    """One check's result: its ``area`` and ``name``, its state in ``words``, and the remedy."""

    area: str
    name: str
    grade: Grade
    words: str
    remedy: str = ""

    @property
    def hinders(self) -> bool:
        """Whether work may fail because of it, as far as known."""
        return self.grade in (Grade.WAITING, Grade.FAILED, Grade.UNKNOWN)

    @property
    def unseen(self) -> bool:
        """Whether it could not be checked."""
        return self.grade is Grade.UNKNOWN

    def to_data(self) -> dict[str, str]:
        """Return the data for scripts."""
        return {**vars(self), "grade": str(self.grade)}


def unseen(area: str, name: str, error: KeyturnError) -> CheckResult:
    """Return the result of a failed look, with its cause and remedy."""
    return CheckResult(area, name, Grade.UNKNOWN, f"{error.doing} {error.name}: {error.problem}", error.hint)


@dataclass(frozen=True)
class Diagnosis:
    """All results of one login, in order."""

    role: str
    results: Sequence[CheckResult]

    @property
    def hindering(self) -> Sequence[CheckResult]:
        """The results that may make work fail."""
        return [result for result in self.results if result.hinders]

    @property
    def ready(self) -> bool:
        """Whether nothing prevents the work."""
        return not self.hindering

    @property
    def summary(self) -> str:
        """The summary in one line."""
        hindering = len(self.hindering)
        advice = sum(result.grade is Grade.ADVICE for result in self.results)
        more = f", {advice} worth a look" if advice else ""
        if not hindering:
            return f"READY as {self.role}: {len(self.results)} checks{more}"
        return f"NOT READY as {self.role}: {hindering} of {len(self.results)} checks failed or are unknown{more}"

    def to_data(self) -> dict[str, Any]:
        """Return the data for scripts."""
        return {"as": self.role, "ready": self.ready, "checks": [result.to_data() for result in self.results]}
