"""The definition of proof: what a revocation checks, what each answer means, and when its incident is proven.

Preview, output, incident and report all ask :func:`decide`. The table in docs/revocation.md lists the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class CheckSubject(StrEnum):
    """What is checked."""

    TARGET = "target"
    """The target refuses the leaked credential."""
    HUB = "hub"
    """The hub gives no leaked version."""
    COPY = "copy"
    """A copy in a store gives no leaked value."""
    KEPT_FIELDS = "kept fields"
    """The fields that the rotation keeps hold no leaked value."""
    ELSEWHERE = "elsewhere"
    """Stores, destinations and targets that the hub knows, and this catalogue lacks or contradicts."""
    ACCESS = "access"
    """Leases, and access that was given for a while."""
    LEDGER = "ledger"
    """Every entry of the incident is in the ledger."""
    LEFT_OUT = "left out"
    """Parts of the catalogue that could not be loaded."""


class CheckAnswer(StrEnum):
    """What a check found."""

    CLEAR = "clear"
    NONE = "nothing to check"
    REFUSED = "refused"
    """It can't be removed there, and the target refuses it."""
    IRREVOCABLE = "can't be revoked"
    """It can't be removed or ended there, and no target is seen to refuse it."""
    UNRECORDED = "not recorded"
    NOT_CHECKED = "not checked"
    REMAINING = "remaining"
    """The leaked value is still there, or still works."""
    UNKNOWN = "unknown"
    """Nothing could look."""


PROVES: Final = frozenset({CheckAnswer.CLEAR, CheckAnswer.NONE, CheckAnswer.REFUSED})
KEEPS_OPEN: Final = frozenset({CheckAnswer.REMAINING, CheckAnswer.UNKNOWN})


@dataclass(frozen=True)
class Check:
    """One thing that was checked. ``place`` is a target, a store, ``store:name``, a field; empty for the hub."""

    subject: CheckSubject
    place: str
    answer: CheckAnswer
    said: str = ""
    remedy: str = ""

    @property
    def proves(self) -> bool:
        """Whether an incident of such checks alone is proven."""
        return self.answer in PROVES

    @property
    def name(self) -> str:
        """What is checked, in words."""
        return f"{self.subject} {self.place}".rstrip()

    @property
    def words(self) -> str:
        """What is checked and its answer, in words."""
        return f"{self.name}: {self.answer}{f', {self.said}' if self.said else ''}"


class IncidentVerdict(StrEnum):
    """What follows from all checks of an incident."""

    OPEN = "open"
    PROVEN = "closed, and proven"
    CLOSED = "closed, and not proven"
    """Keyturn can do nothing more, and something remains that is no proof."""
    GIVEN_UP = "given up, and not proven"


def decide(checks: Iterable[Check], *, unfinished: bool, given_up: bool = False) -> IncidentVerdict:
    """The verdict on an incident; ``unfinished`` while a step is left to be done."""
    answers = [check.answer for check in checks]
    if given_up:
        return IncidentVerdict.GIVEN_UP
    if unfinished or not KEEPS_OPEN.isdisjoint(answers):
        return IncidentVerdict.OPEN
    return IncidentVerdict.PROVEN if answers and PROVES.issuperset(answers) else IncidentVerdict.CLOSED


def with_checks(checks: Iterable[Check], fresh: Sequence[Check]) -> tuple[Check, ...]:
    """The checks with these instead of earlier ones of the same subject and place."""
    newest = {(check.subject, check.place): check for check in (*checks, *fresh)}
    return tuple(newest.values())


def checks_from_data(data: Iterable[dict[str, str]]) -> tuple[Check, ...]:
    """The checks as an incident's entry stores them."""
    return tuple(
        Check(**{**entry, "subject": CheckSubject(entry["subject"]), "answer": CheckAnswer(entry["answer"])})  # type: ignore[arg-type]
        for entry in data
    )
