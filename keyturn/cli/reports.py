"""What rotations, syncs and retirements have come to, whether they ran here or through Prefect."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn.cli.failures import BEHIND, FAILED, HELD
from keyturn.cli.progress import notice_data, notice_lines
from keyturn.cli.status import copy_data
from keyturn.cli.watch import Run
from keyturn.core.errors import KeyturnError, Locked, TransientError
from keyturn.core.fingerprint import shown
from keyturn.core.plan import TROUBLE, Action, Plan
from keyturn.rotation.previous import Retirement
from keyturn.rotation.rollout import Acknowledgement
from keyturn.rotation.run import Outcome, RunState
from keyturn.rotation.sync import CopyState, Pushed
from keyturn.sync.apply import Result
from keyturn.sync.notices import NOTIFY, Notices, Notified, unheard
from keyturn.sync.restarts import RESTART
from keyturn.sync.run import failing, of_workloads, summary

BEFORE_PROMOTION: Final = ("make way", "stage", "install", "verify", "promote")
"""The steps in which another run's hold on the secret shows."""

CHECKED: Final = "not due; copies and consumers checked"

ROTATION_COLUMNS: Final = ("what", "name", "state", "version")
COPY_COLUMNS: Final = ("secret", "copy", "state")
RETIREMENT_COLUMNS: Final = ("secret", "old credential", "why")


# --- one rotation


def outcome_of(path: str, run: Run) -> Outcome:
    """What a run of rotate-secret did, told by its table and its steps. Raises the error that it ended with."""
    if run.rows:
        return settled(path, run)
    if not run.completed:
        raise run.error("rotate", path)
    blocked = next((name for name in BEFORE_PROMOTION if name in run.failures), None)
    if blocked:
        # The flow ends well after a failed step only where another run was at it.
        return Outcome(path, RunState.HELD, run.failures[blocked])
    return Outcome(path, RunState.NOT_DUE, "nothing to do")


def settled(path: str, run: Run) -> Outcome:
    """A promoted rotation, as its table tells it."""
    match = re.search(r"version (\d+), fingerprint ([0-9a-f]+)(?:, (.*))?", run.description)
    version, fingerprint, message = (int(match[1]), match[2], match[3] or "") if match else (None, "", "")
    state, previous, copies, consumers = RunState.ROTATED, "", [], []
    for row in run.rows:
        if row["what"] == "secret":
            state = RunState(row["state"])
        elif row["what"] == "credential before":
            previous = row["state"]
        elif row["what"] == "consumer":
            consumers.append(Acknowledgement(row["name"], "" if row["state"] == "acknowledged" else row["state"]))
        else:
            copies.append(pushed(row, version or 0, fingerprint))
    message = CHECKED if state is RunState.SETTLED else message
    return Outcome(path, state, message, version, fingerprint, tuple(copies), tuple(consumers), previous)


def pushed(row: dict[str, Any], version: int = 0, fingerprint: str = "") -> Pushed:
    """A destination, as a run's table tells it: its state, or the error in its place."""
    store, _, name = row["name"].partition(":")
    if row["state"] in set(CopyState):
        return Pushed(store, name, CopyState(row["state"]), version, fingerprint)
    return Pushed(store, name, CopyState.FAILED, 0, "", row["state"])


def outcome_rows(outcome: Outcome) -> list[tuple[object, ...]]:
    """For people: the hub, then every copy and consumer."""
    version = outcome.version or ""
    rows: list[tuple[object, ...]] = [("secret", outcome.path, outcome.state, version)]
    rows += [("copy", f"{p.store}:{p.name}", p.state, p.version or "") for p in outcome.destinations]
    rows += [("consumer", t.consumer, "silent" if t.error else "acknowledged", "") for t in outcome.consumers]
    return rows


def outcome_data(outcome: Outcome, run: Run | None) -> dict[str, Any]:
    """For scripts."""
    return {
        "path": outcome.path,
        "state": str(outcome.state),
        "message": outcome.message,
        "previous": outcome.previous,
        "version": outcome.version,
        "fingerprint": shown(outcome.fingerprint),
        "destinations": [copy_data(copy) for copy in outcome.destinations],
        "consumers": [{"consumer": consumer.consumer, "error": consumer.error} for consumer in outcome.consumers],
        "run": run.to_data() if run else None,
    }


# --- copies


@dataclass(frozen=True)
class SyncedCopy:
    """One copy after a sync, in names only. ``error`` and its class ``kind`` are empty where it is in step."""

    secret: str
    store: str
    name: str
    action: str
    state: str
    error: str = ""
    kind: str = ""

    @property
    def label(self) -> str:
        """How it is named to people."""
        return f"{self.store}:{self.name}"

    @staticmethod
    def of(row: dict[str, Any]) -> "SyncedCopy":
        """A copy, as a run's table tells it: its state, or the error in its place."""
        store, _, name = row["copy"].partition(":")
        action, state = row["action"], row["state"]
        # An error says "what: why"; what else stands there is a state, or why nothing was done.
        if action in TROUBLE or ": " in state:
            return SyncedCopy(row["secret"], store, name, action, str(CopyState.FAILED), state)
        return SyncedCopy(row["secret"], store, name, action, state)


@dataclass(frozen=True)
class Copies:
    """The copies that a sync had something to do with; ``counts`` are of all, by state, ``notices`` whom it told."""

    places: tuple[SyncedCopy, ...]
    counts: dict[str, int]
    run: Run | None = None
    notices: Notices = field(default_factory=Notices)

    @staticmethod
    def of(run: Run) -> "Copies":
        """What a run of sync did. Raises the error that it ended with, where that left no table."""
        places = tuple(SyncedCopy.of(row) for row in run.rows if row["action"] != NOTIFY)
        notices = tuple(notified(row) for row in run.rows if row["action"] == NOTIFY)
        failed = [place.error for place in places] + [notice.error for notice in notices]
        if not run.completed and not any(failed):
            raise run.error("sync", "the copies")
        counts = {state: int(count) for count, state in re.findall(r"(\d+) ([^,]+)", run.description)}
        return Copies(places, counts, run, Notices(notices))

    @staticmethod
    def after(planned: Plan, results: Sequence[Result], notices: Notices) -> "Copies":
        """What came of a plan that was carried out here."""
        done = {(result.store, result.name): result for result in results}
        broken = failing(planned, results)
        places = []
        for item in planned.items:
            result, behind = done.get((item.store, item.name)), broken.get(item.label)
            if item.action is not Action.IN_SYNC or behind:
                state = str(CopyState.FAILED) if behind else result.state if result else item.why or str(item.action)
                problem = (behind.error, behind.kind) if behind else ("", "")
                places.append(SyncedCopy(item.path, item.store, item.name, str(item.action), state, *problem))
        for store, workloads in of_workloads(planned, results).items():
            places += [
                SyncedCopy(failure.path, store, name, RESTART, str(CopyState.FAILED), failure.error, failure.kind)
                for name, failure in workloads.items()
            ]
        return Copies(tuple(places), summary(planned, results), notices=notices)

    def rows(self) -> Iterable[tuple[object, ...]]:
        """For people."""
        return ((place.secret, place.label, place.state) for place in self.places)

    def summary(self) -> str:
        """How many copies are in which state, in words; empty where there is none."""
        return ", ".join(f"{count} {state}" for state, count in sorted(self.counts.items()))

    def to_data(self) -> dict[str, Any]:
        """For scripts."""
        copies = [vars(place) for place in self.places]
        run = self.run.to_data() if self.run else None
        return {"copies": copies, "counts": self.counts, "notices": notice_data(self.notices), "run": run}

    def failure(self) -> tuple[KeyturnError, int] | None:
        """The error to end with where a copy is behind or a consumer silent, and its exit code."""
        behind = self.behind()
        if not behind:
            silent = unheard(self.notices)
            return (silent, BEHIND) if silent else None
        remedy = "All the others are in step. Mend the cause; the next sync heals only these"
        problem = "not in step" if len(behind) > 1 else behind[0]
        total = max(sum(self.counts.values()), len(self.places))
        return TransientError("sync", f"{len(behind)} of {total} copies", problem, remedy), BEHIND

    def details(self) -> list[str]:
        """What the table has no place for."""
        behind = self.behind()
        lines = [self.summary()] if self.places and self.counts else []
        return [*lines, *(behind if len(behind) > 1 else []), *notice_lines(self.notices)]

    def behind(self) -> list[str]:
        """Each copy that is not in step, and why."""
        return [f"{place.label} of {place.secret}: {place.error}" for place in self.places if place.error]


def notified(row: dict[str, Any]) -> Notified:
    """A consumer, as a run's table tells it."""
    error = "" if row["state"] == "acknowledged" else row["state"]
    return Notified(row["secret"], row["copy"], int(row["version"]), error)


# --- old credentials


@dataclass(frozen=True)
class OldCredential:
    """One old credential after a retirement: retired, kept or failed, and why."""

    path: str
    state: str
    why: str = ""

    @staticmethod
    def of(path: str, result: Retirement | KeyturnError) -> "OldCredential":
        """From what the library tells."""
        if isinstance(result, KeyturnError):
            return OldCredential(path, "failed", str(result))
        return OldCredential(path, result.state, result.message)


@dataclass(frozen=True)
class Retirements:
    """The old credentials that were looked at."""

    found: tuple[OldCredential, ...]
    run: Run | None = None

    @staticmethod
    def of(run: Run) -> "Retirements":
        """What a run of retire did. Raises the error that it ended with, where that left no table."""
        if not run.completed and not run.rows:
            raise run.error("retire", "the old credentials")
        return Retirements(tuple(OldCredential(row["secret"], row["state"], row["held by"]) for row in run.rows), run)

    def rows(self) -> Iterable[tuple[object, ...]]:
        """For people."""
        return ((old.path, old.state, old.why) for old in self.found)

    def details(self) -> list[str]:
        """Nothing: the table says why."""
        return []

    def to_data(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "secrets": [{"path": old.path, "state": old.state, "why": old.why} for old in self.found],
            "run": self.run.to_data() if self.run else None,
        }

    def failure(self) -> tuple[KeyturnError, int] | None:
        """The error to end with, and its exit code; none where one at least was retired and none failed."""
        failed = [old for old in self.found if old.state == "failed"]
        if failed:
            return TransientError("retire", some(failed, self.found), failed[0].why), FAILED
        held = [old for old in self.found if old.state == "kept" and old.why]
        if held and not any(old.state == "retired" for old in self.found):
            remedy = "Mend that, or waive it: --early waives the grace, --force everything"
            return Locked("retire", some(held, self.found), f"not retired: {held[0].why}", remedy), HELD
        return None


def some(olds: Sequence[OldCredential], among: Sequence[OldCredential]) -> str:
    """Which old credentials are meant: the one, or how many."""
    return olds[0].path if len(olds) == 1 else f"{len(olds)} of {len(among)} secrets, first {olds[0].path}"
