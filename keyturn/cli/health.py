"""Whether the installation works: its workers, incidents, ledger and logins.

Anything not checked is unknown, never healthy. The checks run in parallel and fail independently.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from keyturn.catalogue.operator.policy import Scheduler
from keyturn.core.errors import Denied, Invalid, KeyturnError
from keyturn.core.text.spans import span
from keyturn.core.workspaces import WorkspaceNames
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.rotation.heartbeat import ROUND, last_heartbeat
from keyturn.rotation.state.context import Workspace, side_by_side

if TYPE_CHECKING:
    from keyturn.ledger.naming import LedgerName
    from keyturn.revocation.incidents.incident import Incident
    from keyturn.rotation.state.login_checks import LoginCheck

AREA: Final = "health"

SILENT: Final = 3 * ROUND
"""The longest gap between the keeper's rounds. After it, the workers count as failed."""
ANSWERS: Final = 3.0
"""Seconds for the Prefect server to answer."""
UNTESTED: Final = timedelta(hours=26)
"""A version this old should have had its daily login test. A younger one passed its rotation's test."""
FIRST_SIGNED: Final = timedelta(hours=1)
"""A ledger may be unsigned for this long after its first entry."""
VERIFIED_AT_ONCE: Final = 10_000
"""The most ledger entries to verify here; for longer ledgers, the notary's daily verification counts."""


@dataclass(frozen=True)
class PrefectSight:
    """The Prefect server's report on this workspace's workers; ``problem`` is why it has none."""

    alive: int = 0
    problem: str = ""


@dataclass(frozen=True)
class LoginState:
    """The login check of a secret's CURRENT, in force for ``age``; None if it was not tried."""

    path: str
    age: timedelta
    check: "LoginCheck | None"


def check_services(workspace: Workspace) -> list[CheckResult]:
    """The checks of workers and ledger."""
    asking = {"workers": check_workers, "ledger": check_ledger}
    return side_by_side(lambda name: _looked(name, asking[name], workspace), asking)


def _looked(name: str, look: Callable[[Workspace], CheckResult], workspace: Workspace) -> CheckResult:
    try:
        return look(workspace)
    except KeyturnError as error:
        return unseen(AREA, name, error)


def check_workers(workspace: Workspace) -> CheckResult:
    if workspace.catalogue.policy.scheduler is Scheduler.EXTERNAL:
        words = "the operator's file declares an external scheduler, which is not checked"
        return CheckResult(AREA, "workers", Grade.ADVICE, words)
    names = WorkspaceNames.from_environment(os.environ)
    return judge_workers(last_heartbeat(workspace), ask_prefect(names), names)


def judge_workers(age: timedelta | None, sight: PrefectSight | None, names: WorkspaceNames) -> CheckResult:
    last = f"; the keeper last ran {span(age)} ago" if age is not None else ""
    start = "Start the Prefect server and the workers; `keyturn doctor` says what else is missing"
    if sight and sight.problem:
        return CheckResult(AREA, "workers", Grade.FAILED, f"{sight.problem}{last}", start)
    if sight and not sight.alive:
        return CheckResult(AREA, "workers", Grade.FAILED, f"no worker of pool {names.own} is alive{last}", start)
    if age is not None and age > SILENT:
        words = f"no sign of life for {span(age)}: the keeper runs every {span(ROUND)}"
        return CheckResult(AREA, "workers", Grade.FAILED, words, start)
    if age is not None:
        return CheckResult(AREA, "workers", Grade.WELL, f"the keeper ran {span(age)} ago")
    if sight:
        return CheckResult(AREA, "workers", Grade.WELL, f"{sight.alive} alive; the keeper has not run yet")
    words = "unknown: the keeper never ran, and PREFECT_API_URL is not set here"
    remedy = "Set PREFECT_API_URL; where cron runs Keyturn, declare `scheduler: external` in the operator's file"
    return CheckResult(AREA, "workers", Grade.UNKNOWN, words, remedy)


def ask_prefect(names: WorkspaceNames) -> PrefectSight | None:
    """Ask the environment's Prefect server for this workspace's workers. Raises Denied or Invalid."""
    from keyturn.cli.setup.prefect_server import prefect_settings

    try:
        settings = prefect_settings()
    except ModuleNotFoundError:  # Only Prefect could find them, and it is not installed.
        return None
    if not settings.url:
        return None
    from keyturn.providers.prefect_api import PrefectApi

    quick = replace(settings, timeout=min(settings.timeout, ANSWERS))
    try:
        with PrefectApi(quick, "look at", f"the workers of {names.own}", patience=ANSWERS) as api:
            api.insist_on_answer(ANSWERS)
            return PrefectSight(api.count_alive_workers(names.own))
    except (Denied, Invalid):
        raise
    except KeyturnError as error:
        return PrefectSight(problem=error.problem)


def check_incidents(incidents: "list[Incident] | KeyturnError") -> CheckResult:
    """Check the open incidents, or the error that listing them gave."""
    if isinstance(incidents, KeyturnError):
        return unseen(AREA, "incidents", incidents)
    if not incidents:
        return CheckResult(AREA, "incidents", Grade.WELL, "none is open")
    first = incidents[0]
    words = f"{len(incidents)} open, first {first.id}: {first.unread or first.reason}"
    return CheckResult(AREA, "incidents", Grade.FAILED, words, f"Run `keyturn incidents {first.id}`")


def check_ledger(workspace: Workspace) -> CheckResult:
    from keyturn.doctor.ledger import FIRST, signed_lately
    from keyturn.ledger.checkpointer import CheckpointInHub
    from keyturn.ledger.naming import read_name

    name, _ = read_name(workspace.hub)
    if name is None:
        return CheckResult(AREA, "ledger", Grade.ADVICE, "nothing was ever recorded with this hub")
    copy = CheckpointInHub(workspace.hub, name.origin)
    note, _ = copy.read()
    if not note:
        young = Grade.ADVICE, "not signed yet: its first entry is less than an hour old"
        unsigned = Grade.UNKNOWN, "unknown: no checkpoint vouches for it"
        return CheckResult(AREA, "ledger", *(young if is_young(workspace) else unsigned), FIRST)
    if damage := find_damage(workspace, name, note, looked_through=not copy.look_is_due(workspace.hub_now())):
        return damage
    return replace(signed_lately(workspace, name.origin), area=AREA, name="ledger")


def is_young(workspace: Workspace) -> bool:
    """Return whether the ledger is empty, or so young that the notary need not have signed it."""
    from keyturn.ledger.entries import parse_leaf
    from keyturn.ledger.naming import NamedLedger

    if not isinstance(workspace.ledger, NamedLedger):
        return False
    first = next(iter(workspace.ledger.leaves(1, 1)), None)
    return first is None or workspace.clock() - parse_leaf(first[1]).entry.time < FIRST_SIGNED


def find_damage(workspace: Workspace, name: "LedgerName", note: str, *, looked_through: bool) -> CheckResult | None:
    """Return what is missing or changed since ``note`` was signed, or why that is unknown; None if neither."""
    from keyturn.ledger.checkpoints import read_checkpoint
    from keyturn.ledger.naming import NamedLedger
    from keyturn.ledger.verify import verify_ledger

    ledger, size = workspace.ledger, read_checkpoint(note).size
    if not isinstance(ledger, NamedLedger) or ledger.origin != name.origin:
        words = f"unknown: this machine does not read {name.origin}, which the hub names"
        return CheckResult(AREA, "ledger", Grade.UNKNOWN, words, "Set KEYTURN_LEDGER as the workers have it")
    remedy = "Run `keyturn ledger verify`"
    if (count := ledger.size()) < size:
        words = f"NOT WHOLE: {count} of {size} signed entries are there"
        return CheckResult(AREA, "ledger", Grade.FAILED, words, remedy)
    if size > VERIFIED_AT_ONCE:
        words = "unknown: the notary has not looked through all entries for a day"
        return None if looked_through else CheckResult(AREA, "ledger", Grade.UNKNOWN, words, remedy)
    report = verify_ledger(ledger, name.keys, workspace.verify_signature, elsewhere=[note])
    words = f"NOT WHOLE: {report.problem}"
    return None if report.whole else CheckResult(AREA, "ledger", Grade.FAILED, words, remedy)


def check_logins(workspace: Workspace, logins: Sequence[LoginState]) -> CheckResult:
    from keyturn.rotation.state.login_checks import Login

    late = [login for login in logins if (login.check.result is Login.UNTRIED if login.check else login.age > UNTESTED)]
    if not late:
        return CheckResult(AREA, "logins", Grade.WELL, f"{len(logins)} tested within a day, or by their rotation")
    words = f"unknown for {len(late)} of {len(logins)} secrets, first {late[0].path}: CURRENT was never tested"
    if workspace.catalogue.policy.scheduler is Scheduler.EXTERNAL:
        return CheckResult(AREA, "logins", Grade.ADVICE, words, "Only the keeper tests logins, once a day")
    return CheckResult(AREA, "logins", Grade.UNKNOWN, words, "The keeper tests each once a day: see that it runs")
