"""Plans and their results, as tables and as JSON."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from keyturn.cli.copies.grouped import CopyFailure, by_cause, failure_lines
from keyturn.cli.output import stamp, when
from keyturn.cli.running.progress import notice_lines
from keyturn.core.error_codes import code_of_kind
from keyturn.core.fingerprint import shown
from keyturn.core.plan import Action, Item, Plan
from keyturn.rotation.copies.store_status import Failing
from keyturn.rotation.state.context import Workspace
from keyturn.sync import run
from keyturn.sync.apply import Result
from keyturn.sync.notices import Notices
from keyturn.sync.orphans import deletion_due
from keyturn.sync.report import notice_data

COLUMNS: Final = ("action", "secret, and its copy", "versions", "fingerprint", "why")
APPLIED_COLUMNS: Final = ("state", "secret", "copy")

SHOWN: Final = 200
"""Rows of successful copies in the table; the JSON has all."""


# --- a plan


def plan_rows(items: Sequence[Item]) -> Iterator[tuple[str, ...]]:
    """One row per copy. Copies of one store blocked for one reason share a row, at the end."""
    blocked = {(item.store, item.name, item.path): item for item in items if item.action is Action.BLOCKED}
    yield from (item_row(item) for item in items if item.action is not Action.BLOCKED)
    for group in by_cause(CopyFailure(i.store, i.name, i.path, item_reason(i), i.kind) for i in blocked.values()):
        first = group[0]
        if len(group) == 1:
            yield item_row(blocked[first.store, first.name, first.path])
        else:
            yield str(Action.BLOCKED), f"{len(group)} copies in {first.store}\n  {first.label} ...", "", "", first.error


def item_row(item: Item) -> tuple[str, ...]:
    return str(item.action), f"{item.path}\n  {item.label}", versions(item), shown(item.fingerprint), item_reason(item)


def versions(item: Item) -> str:
    """The hub version that the copy holds, and its new one."""
    if item.action is Action.IN_SYNC:
        return str(item.holds or item.version)
    return f"{item.holds or '-'} -> {item.version or '-'}"


def item_reason(item: Item) -> str:
    reasons = [item.why] if item.why else []
    reasons += ["only reported"] if item.hands_off else []
    reasons += [f"not before {when(datetime.fromisoformat(item.due))} UTC"] if item.due else []
    return "; ".join(reasons)


def item_data(item: Item) -> dict[str, Any]:
    return {
        "action": str(item.action),
        "secret": item.path,
        "store": item.store,
        "name": item.name,
        "version": item.version or None,
        "holds": item.holds or None,
        "fingerprint": shown(item.fingerprint),
        "why": item.why,
        "kind": item.kind,
        "code": code_of_kind(item.kind),
        "work": item.work,
        "due": item.due or None,
    }


def plan_data(planned: Plan, items: Sequence[Item], out: Path | None) -> dict[str, Any]:
    return {
        "made_at": stamp(planned.made_at),
        "paths": list(planned.paths),
        "counts": planned.counts(),
        "work": len(planned.work),
        "file": str(out) if out else None,
        "items": [item_data(item) for item in items],
        "remarks": list(planned.remarks),
    }


def summarize_plan(planned: Plan) -> str:
    if not planned.items:
        return "there is no copy to sync"
    counts = ", ".join(f"{count} {action}" for action, count in planned.counts().items())
    return f"{counts}: {f'{len(planned.work)} to do' if planned.work else 'nothing to do'}"


# --- a plan that was carried out


@dataclass(frozen=True)
class Applied:
    """The result of a plan. ``capped`` are due deletions left to the next run."""

    planned: Plan
    results: tuple[Result, ...]
    failing: dict[str, Failing]
    delayed: tuple[Item, ...]
    capped: tuple[Item, ...]
    notices: Notices

    @staticmethod
    def after(workspace: Workspace, planned: Plan, results: Sequence[Result], notices: Notices) -> "Applied":
        done = {(result.store, result.name) for result in results}
        left = [i for i in planned.work if i.action is Action.DELETE and (i.store, i.name) not in done]
        delayed = tuple(item for item in left if not deletion_due(item, workspace.clock()))
        capped = tuple(item for item in left if item not in delayed)
        ordered = sorted(results, key=lambda result: (bool(result.error), result.path, result.label))
        return Applied(planned, tuple(ordered), run.failing_copies(planned, results), delayed, capped, notices)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Rows of what was done, then of what failed."""
        well = [result for result in self.results if not result.error]
        yield from ((result.state, result.path, result.label) for result in well[:SHOWN])
        if len(well) > SHOWN:
            yield "...", f"{len(well) - SHOWN} more, all of them with --json", ""
        yield from (("failed", failure.path, label) for label, failure in self.failing.items())

    def details(self) -> list[str]:
        """What the table omits: the counts, the failures, and what waits."""
        counts = Counter("failed" if result.error else result.state for result in self.results)
        done = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "nothing was to be done"
        failing = self.failing.items()
        failures = [CopyFailure.of_label(label, failed.path, failed.error, failed.kind) for label, failed in failing]
        behind = failure_lines(failures) if len(failures) > 1 else []
        return [done, *behind, *notice_lines(self.notices), *self.waiting(), *self.planned.remarks]

    def waiting(self) -> Iterator[str]:
        """Deletions that wait, and until when."""
        for item in self.delayed:
            yield f"waits: {item.label} of {item.path} is deleted after {when(datetime.fromisoformat(item.due))} UTC"
        for store, count in sorted(Counter(item.store for item in self.capped).items()):
            yield f"waits: {count} more deletions in {store}, left to the next run by most_deletions"

    def to_data(self) -> dict[str, Any]:
        waiting = [(item, "delete_after") for item in self.delayed] + [(item, "most_deletions") for item in self.capped]
        return {
            "counts": run.count_states(self.planned, self.results),
            "results": [result_data(result) for result in self.results],
            "failing": [
                {
                    "copy": label,
                    "secret": failure.path,
                    "kind": failure.kind,
                    "code": code_of_kind(failure.kind),
                    "error": failure.error,
                }
                for label, failure in self.failing.items()
            ],
            "waiting": [
                {"secret": i.path, "store": i.store, "name": i.name, "due": i.due or None, "by": by}
                for i, by in waiting
            ],
            "notices": notice_data(self.notices),
        }


def result_data(result: "Result") -> dict[str, Any]:
    parts = {name: part for name, part in vars(result).items() if name != "path"}
    return {"secret": result.path, **parts, "code": code_of_kind(result.kind)}
