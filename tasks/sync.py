"""The parts of a sync as tasks."""

import threading

from keyturn.core.plan import Item, Plan
from keyturn.sync import owing as owed
from keyturn.sync import plan as planning
from keyturn.sync import restarts, run
from keyturn.sync.apply import Result
from keyturn.sync.journal import Written
from keyturn.sync.notices import Notices, tell_written
from keyturn.sync.owing import Owing
from keyturn.sync.run import Executor
from tasks.step import step
from tasks.workspace import current_workspace


@step("plan")
def make_plan(patterns: list[str], deep: bool) -> Plan:
    """What is to be done for the secrets that fit, or for all; nothing is written."""
    return planning.plan(current_workspace(), patterns, deep=deep, unseen=True)


@step("push")
def apply_batch(items: list[Item], execute: Executor) -> list[Result]:
    """Do what a plan says of these copies; what fails is part of the answer."""
    results: list[Result] = []
    lock = threading.Lock()

    def take(result: Result) -> None:
        written.settled(result)
        with lock:
            results.append(result)

    with Written(current_workspace(), items) as written:
        execute(items, take)
    return results


@step("look for restarts")
def restart_owed(planned: Plan) -> bool:
    """Whether anybody is to be restarted who uses these copies."""
    return restarts.any_owed(current_workspace(), planned)


@step("restart")
def restart_all(planned: Plan) -> list[Result]:
    """Restart once whoever uses what was written, and tell which restarts have failed."""
    return restarts.restart_all(current_workspace(), planned)


@step("remember")
def remember(planned: Plan, results: list[Result]) -> None:
    """Keep what the run has learnt of each store."""
    run.record_results(current_workspace(), planned, results)


@step("owing")
def owing(planned: Plan, results: list[Result]) -> Owing:
    """Whose consumers are to be told of what somebody wrote, now that every copy serves it."""
    return owed.owing(current_workspace(), planned, results)


@step("notify", retries=0)
def tell(paths: list[str]) -> Notices:
    """Tell them; who does not acknowledge is part of the answer."""
    return tell_written(current_workspace(), paths)
