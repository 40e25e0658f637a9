"""The parts of a sync as tasks."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from keyturn.core.plan import Item, Plan
from keyturn.sync import pending_notices as owed
from keyturn.sync import plan as planning
from keyturn.sync import restarts, run
from keyturn.sync.apply import Result
from keyturn.sync.journal import Written
from keyturn.sync.notices import SHOWN, Notices, Notified, tell_written
from keyturn.sync.pending_notices import Owing
from keyturn.sync.run import Executor
from tasks.step import task, tell
from tasks.workspace import current_workspace


@task("plan")
def make_plan(patterns: list[str], deep: bool) -> Plan:
    """Plan the work for the secrets that match, or for all, without writes."""
    return planning.plan(current_workspace(), patterns, deep=deep, unseen=True)


def called_push(parameters: Mapping[str, Any]) -> str:
    items = parameters["items"]
    return f"push {items[0].label if len(items) == 1 else f'{len(items)} copies to {items[0].store}'}"


def counted(states: Iterable[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(Counter(states).items()))


@task("push", called=called_push)
def apply_batch(items: list[Item], execute: Executor) -> list[Result]:
    """Apply a plan to these copies; failures are part of the result."""
    results: list[Result] = []
    lock = threading.Lock()

    def take(result: Result) -> None:
        written.settled(result)
        with lock:
            results.append(result)

    with Written(current_workspace(), items) as written:
        execute(items, take)
    tell(told_of(results))
    return results


def told_of(results: list[Result]) -> str:
    if len(results) != 1:
        return counted(result.state for result in results) or "nothing was to be done"
    (result,) = results
    if result.error or not result.version:
        return f"{result.label}: {result.error or result.state}"
    return f"version {result.version} is at {result.label}: {result.state}"


@task("look for restarts")
def restart_owed(planned: Plan) -> bool:
    """Whether workloads of these copies need a restart."""
    return restarts.any_owed(current_workspace(), planned)


@task("restart", called=lambda _: "restart who uses the copies")
def restart_all(planned: Plan) -> list[Result]:
    """Restart the users of written copies once; failures are part of the result."""
    results = restarts.restart_all(current_workspace(), planned)
    refused = len({result.label for result in results if result.error})
    tell(
        f"{refused} copies whose users were not restarted"
        if refused
        else "who uses the copies was restarted where that was owed"
    )
    return results


@task("remember")
def remember(planned: Plan, results: list[Result]) -> None:
    """Store what the run observed of each store."""
    run.record_results(current_workspace(), planned, results)


@task("owing")
def owing(planned: Plan, results: list[Result]) -> Owing:
    """The consumers to notify of manual changes, now that every copy serves them."""
    return owed.owing(current_workspace(), planned, results)


@task("notify", retries=0, called=lambda parameters: f"notify consumers of {len(parameters['paths'])} secrets")
def notify_consumers(paths: list[str]) -> Notices:
    """Notify these consumers; a missing acknowledgement is part of the result."""
    notices = tell_written(current_workspace(), paths)
    tell(told_consumers(notices))
    return notices


def told_consumers(notices: Notices) -> str:
    lines = [f"{notice.consumer} {verb(notice)} version {notice.version} of {notice.path}" for notice in notices.told]
    more = f", and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"{', '.join(lines[:SHOWN])}{more}" or "there was no one to notify"


def verb(notice: Notified) -> str:
    if notice.error:
        return "has not acknowledged"
    return "acknowledged" if notice.answers else "was handed"
