"""The definition of proof: checks, answers, and when an incident is proven.

Preview, output, incident and report use :func:`decide`; docs/revocation.md has the same table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class CheckSubject(StrEnum):
    """The subject of a check."""

    TARGET = "target"
    """The target refuses the leaked credential."""
    HUB = "hub"
    """The hub gives no leaked version."""
    COPY = "copy"
    """A copy in a store gives no leaked value."""
    KEPT_FIELDS = "kept fields"
    """The fields that the rotation keeps hold no leaked value."""
    ELSEWHERE = "elsewhere"
    """Stores, destinations and targets that the hub knows, and this catalogue contradicts."""
    ACCESS = "access"
    """Leases and temporary access."""
    LEDGER = "ledger"
    """Every entry of the incident is in the ledger."""
    LEFT_OUT = "left out"
    """Parts of the catalogue that did not load."""

    @property
    def label(self) -> str:
        """The subject for people."""
        return "unchanged fields" if self is CheckSubject.KEPT_FIELDS else str(self)


class CheckAnswer(StrEnum):
    """The answer of a check."""

    CLEAR = "clear"
    NONE = "nothing to check"
    REFUSED = "refused"
    """It can't be removed, and the target refuses it."""
    IRREVOCABLE = "can't be revoked"
    """It can't be removed or ended, and no target was seen to refuse it."""
    UNRECORDED = "not recorded"
    NOT_CHECKED = "not checked"
    REMAINING = "remaining"
    """The leaked value is still there, or still works."""
    UNKNOWN = "unknown"
    """The check was not possible."""

    @property
    def label(self) -> str:
        """The answer for people."""
        return "no longer works" if self is CheckAnswer.REFUSED else str(self)


PROVES: Final = frozenset({CheckAnswer.CLEAR, CheckAnswer.NONE, CheckAnswer.REFUSED})
KEEPS_OPEN: Final = frozenset({CheckAnswer.REMAINING, CheckAnswer.UNKNOWN})


@dataclass(frozen=True)
class Check:
    """One check; ``place`` is a target, a store, ``store:name``, a field, or empty for the hub."""

    subject: CheckSubject
    place: str
    answer: CheckAnswer
    said: str = ""
    remedy: str = ""

    @property
    def proves(self) -> bool:
        """Whether an incident with only such checks is proven."""
        return self.answer in PROVES

    @property
    def name(self) -> str:
        """The subject and place in words."""
        return f"{self.subject.label} {self.place}".rstrip()

    @property
    def words(self) -> str:
        """The check and its answer in words."""
        return f"{self.name}: {self.answer.label}{f', {self.said}' if self.said else ''}"


class IncidentVerdict(StrEnum):
    """The conclusion from all checks of an incident."""

    OPEN = "open"
    PROVEN = "closed, and proven"
    CLOSED = "closed, and not proven"
    """Keyturn can do nothing more, and something is not proven."""
    GIVEN_UP = "given up, and not proven"


def decide(checks: Iterable[Check], *, unfinished: bool, given_up: bool = False) -> IncidentVerdict:
    """The verdict on an incident; ``unfinished`` while a step is left to do."""
    answers = [check.answer for check in checks]
    if given_up:
        return IncidentVerdict.GIVEN_UP
    if unfinished or not KEEPS_OPEN.isdisjoint(answers):
        return IncidentVerdict.OPEN
    return IncidentVerdict.PROVEN if answers and PROVES.issuperset(answers) else IncidentVerdict.CLOSED


def with_checks(checks: Iterable[Check], fresh: Sequence[Check]) -> tuple[Check, ...]:
    """The checks, with fresh ones replacing those of the same subject and place."""
    newest = {(check.subject, check.place): check for check in (*checks, *fresh)}
    return tuple(newest.values())


def checks_from_data(data: Iterable[dict[str, str]]) -> tuple[Check, ...]:
    """The checks from an incident's stored entry."""
    return tuple(
        Check(**{**entry, "subject": CheckSubject(entry["subject"]), "answer": CheckAnswer(entry["answer"])})  # type: ignore[arg-type]
        for entry in data
    )
