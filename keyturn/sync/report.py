"""The report of a sync: copies that needed work, notices, and JSON form."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyturn.core import errors
from keyturn.core.error_codes import code_of_kind
from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.plan import Action, Item, Plan
from keyturn.rotation.copies.push import CopyState, Pushed
from keyturn.sync.apply import DELETED, Result
from keyturn.sync.notices import Notices, Notified
from keyturn.sync.restarts import RESTART
from keyturn.sync.run import count_states, failing_copies, of_workloads


@dataclass(frozen=True)
class SyncedCopy:
    """One copy after a sync, in names only. ``error`` and ``kind`` are empty if in sync."""

    secret: str
    store: str
    name: str
    action: str
    state: str
    error: str = ""
    kind: str = ""

    @property
    def label(self) -> str:
        """The copy's name for people."""
        return f"{self.store}:{self.name}"


@dataclass(frozen=True)
class SyncReport:
    """The copies that needed work, with ``counts`` of all by state, and ``notices``."""

    copies: tuple[SyncedCopy, ...]
    counts: Mapping[str, int]
    notices: Notices = field(default_factory=Notices)

    @staticmethod
    def after(planned: Plan, results: Sequence[Result], notices: Notices) -> "SyncReport":
        """The report on an applied plan."""
        done = {(result.store, result.name): result for result in results}
        broken = failing_copies(planned, results)
        copies = []
        for item in planned.items:
            result, behind = done.get((item.store, item.name)), broken.get(item.label)
            if item.action is not Action.IN_SYNC or behind:
                state = str(CopyState.FAILED) if behind else result.state if result else item.why or str(item.action)
                problem = (behind.error, behind.kind) if behind else ("", "")
                copies.append(SyncedCopy(item.path, item.store, item.name, str(item.action), state, *problem))
        for store, workloads in of_workloads(planned, results).items():
            copies += [
                SyncedCopy(failure.path, store, name, RESTART, str(CopyState.FAILED), failure.error, failure.kind)
                for name, failure in workloads.items()
            ]
        return SyncReport(tuple(copies), count_states(planned, results), notices)

    def to_data(self) -> dict[str, Any]:
        """The report as JSON data, without errors of unsent notices."""
        copies = [{**vars(copy), "code": code_of_kind(copy.kind)} for copy in self.copies]
        return {"copies": copies, "counts": dict(self.counts), "notices": notice_data(self.notices)}

    def to_result(self) -> dict[str, Any]:
        """The complete report as JSON data."""
        return {**self.to_data(), "errors": {path: error_data(error) for path, error in self.notices.errors.items()}}

    @staticmethod
    def of_result(data: Mapping[str, Any]) -> "SyncReport":
        """Parse the complete report."""
        answers = tuple(notice_from(notice) for notice in data["notices"])
        untold = {path: error_from(error) for path, error in data["errors"].items()}
        copies = tuple(copy_of(copy) for copy in data["copies"])
        return SyncReport(copies, data["counts"], Notices(answers, errors=untold))


def copy_of(data: Mapping[str, Any]) -> SyncedCopy:
    """Parse a copy. Its code follows from its kind."""
    return SyncedCopy(**{name: text for name, text in data.items() if name != "code"})


def seen_copies(planned: Plan, results: Sequence[Result]) -> dict[str, list[Pushed]]:
    """Every existing copy of each secret after a run."""
    done = {(result.store, result.slot): result for result in results}
    broken = failing_copies(planned, results)
    copies: dict[str, list[Pushed]] = defaultdict(list)
    for item in planned.items:
        result, behind = done.get((item.store, item.slot)), broken.get(item.label)
        if item.action is Action.DELETE or (result and result.state == DELETED):
            continue
        state = CopyState.FAILED if behind else copy_state(item, result)
        problem = behind.error if behind else "" if state is not CopyState.STALE else item.why
        copies[item.path].append(Pushed(item.store, item.name, state, item.version, item.fingerprint, problem))
    return dict(copies)


def copy_state(item: Item, result: Result | None) -> CopyState:
    """The state of one copy that has not failed."""
    if result and result.state in set(CopyState):
        return CopyState(result.state)
    return {Action.IN_SYNC: CopyState.IN_STEP, Action.DRIFTED: CopyState.DRIFTED}.get(item.action, CopyState.STALE)


def notice_data(notices: Notices) -> list[dict[str, Any]]:
    """Each notified consumer with its result, as JSON data."""
    return [
        {
            "secret": o.path,
            "consumer": o.consumer,
            "version": o.version,
            "error": o.error,
            "kind": o.kind,
            "code": code_of_kind(o.kind),
            "answers": o.answers,
        }
        for o in notices.told
    ]


def notice_from(data: Mapping[str, Any]) -> Notified:
    """Parse a notified consumer."""
    return Notified(
        data["secret"], data["consumer"], data["version"], data["error"], data["kind"], data.get("answers", True)
    )


def error_data(error: KeyturnError) -> dict[str, str]:
    """An error as JSON data."""
    words = ("step", "doing", "name", "problem", "hint")
    return {"kind": type(error).__name__, **{word: getattr(error, word) for word in words}}


def error_from(data: Mapping[str, str]) -> KeyturnError:
    """Parse an error. An unknown class becomes a TransientError."""
    kind = getattr(errors, data["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, KeyturnError)):
        kind = TransientError
    error = kind(data["doing"], data["name"], data["problem"], data["hint"])
    error.step = data["step"]
    return error
