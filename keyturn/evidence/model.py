"""The model of a compliance report: frameworks, controls, results and rows of evidence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

Cell = str | int | None
"""The content of a row in one column."""


class ControlVerdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"
    """There is nothing here that it applies to."""
    UNSEEN = "could not be looked at"
    """It could not be checked, so it proves nothing. It is never a pass."""


WEIGHT: Final = (ControlVerdict.FAIL, ControlVerdict.UNSEEN, ControlVerdict.PASS, ControlVerdict.NOT_APPLICABLE)
"""The first of these decides among several checks."""


def worst(verdicts: Iterable[ControlVerdict]) -> ControlVerdict:
    return min(verdicts, key=WEIGHT.index, default=ControlVerdict.NOT_APPLICABLE)


@dataclass(frozen=True)
class Control:
    """A requirement of a framework, in Keyturn's words.

    ``checks`` are names in :data:`keyturn.evidence.checks.CHECKS`. ``beyond`` is what neither ledger nor hub can show.
    """

    id: str
    title: str
    asked: str
    checks: tuple[str, ...]
    beyond: str = ""


@dataclass(frozen=True)
class Framework:
    """A framework, as far as it concerns secrets; ``source`` includes the version."""

    id: str
    title: str
    source: str
    controls: tuple[Control, ...]


@dataclass(frozen=True)
class StateRow:
    """A row on the state when the report was made, without a ledger entry.

    ``kind`` is its table and ``name`` its subject; both together are its id.
    """

    kind: str
    name: str
    cells: Mapping[str, Cell]

    @property
    def id(self) -> str:
        return row_id(self.kind, self.name)


def row_id(kind: str, name: str) -> str:
    """Return the id by which checks cite a row of state."""
    return f"{kind}:{name}"


def entry_id(sequence: int) -> str:
    return f"entry:{sequence}"


@dataclass(frozen=True)
class CheckResult:
    """The result of one check: sentences, numbers and rows.

    ``entries`` are ledger entry numbers, ``rows`` are ids of rows of state. ``remarks`` are further notes for an
    auditor.
    """

    verdict: ControlVerdict
    found: tuple[str, ...]
    numbers: Mapping[str, int] = field(default_factory=dict)
    entries: tuple[int, ...] = ()
    rows: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def unseen(why: str, *remarks: str) -> CheckResult:
    return CheckResult(ControlVerdict.UNSEEN, (why,), remarks=remarks)


def nothing_of(what: str, *remarks: str) -> CheckResult:
    return CheckResult(ControlVerdict.NOT_APPLICABLE, (what,), remarks=remarks)
