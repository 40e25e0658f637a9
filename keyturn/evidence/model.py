"""What a report on compliance is made of: frameworks and their controls, what checks come to, and rows of evidence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

Cell = str | int | None
"""What a row of evidence tells in one column."""


class ControlVerdict(StrEnum):
    """What a check, or a control, came to."""

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"
    """There is nothing here that it is about."""
    UNSEEN = "could not be looked at"
    """Nobody could tell, so nothing is proven by it. It is never a pass."""


WEIGHT: Final = (ControlVerdict.FAIL, ControlVerdict.UNSEEN, ControlVerdict.PASS, ControlVerdict.NOT_APPLICABLE)
"""Of several checks the first of these decides."""


def worst(verdicts: Iterable[ControlVerdict]) -> ControlVerdict:
    """What all of them come to together; NOT_APPLICABLE for none."""
    return min(verdicts, key=WEIGHT.index, default=ControlVerdict.NOT_APPLICABLE)


@dataclass(frozen=True)
class Control:
    """One demand of a framework, in our own words.

    ``checks`` are names in :data:`keyturn.evidence.checks.CHECKS`. ``beyond`` says what of it no ledger and no hub can
    tell, so that nobody takes the answer for more than it is.
    """

    id: str
    title: str
    asked: str
    checks: tuple[str, ...]
    beyond: str = ""


@dataclass(frozen=True)
class Framework:
    """A framework, as far as it is about secrets. ``source`` names the text and its version."""

    id: str
    title: str
    source: str
    controls: tuple[Control, ...]


@dataclass(frozen=True)
class StateRow:
    """Something that was looked at when the report was made; no entry of the ledger tells it.

    ``kind`` says which table it stands in, ``name`` what it is about; both together are its id.
    """

    kind: str
    name: str
    cells: Mapping[str, Cell]

    @property
    def id(self) -> str:
        """What checks cite it by."""
        return f"{self.kind}:{self.name}"


def entry_id(sequence: int) -> str:
    """What checks cite an entry of the ledger by."""
    return f"entry:{sequence}"


@dataclass(frozen=True)
class CheckResult:
    """What one check came to: in sentences, in numbers, and by which rows.

    ``entries`` are numbers of the ledger's entries, ``rows`` the ids of rows of state. ``remarks`` are what an auditor
    should know beside the verdict.
    """

    verdict: ControlVerdict
    found: tuple[str, ...]
    numbers: Mapping[str, int] = field(default_factory=dict)
    entries: tuple[int, ...] = ()
    rows: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def unseen(why: str, *remarks: str) -> CheckResult:
    """What could not be looked at, and why."""
    return CheckResult(ControlVerdict.UNSEEN, (why,), remarks=remarks)


def nothing_of(what: str, *remarks: str) -> CheckResult:
    """That there is nothing here which the check is about."""
    return CheckResult(ControlVerdict.NOT_APPLICABLE, (what,), remarks=remarks)
