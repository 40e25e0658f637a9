"""Checks Keyturn's objects on the Prefect server and its workers."""

import os
import statistics
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkQueueStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from deployments.bootstrap import limits_there, type_of_pool
from deployments.prefect_exposure import lacking, without_login
from deployments.prefect_file import declared_file
from deployments.retention import advice, server_settings
from keyturn.core.clear_text import is_loopback
from keyturn.core.errors import KeyturnError
from keyturn.core.text.spans import span
from keyturn.core.workspaces import WorkspaceNames
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.project.worker import scale_out
from keyturn.project.worker.worker import TYPE

AREA: Final = "prefect"
NEEDED: Final = ("a silent run is crashed", "a run that never began is crashed", "rotate what an event asks for")
REPORT: Final = "report a failed run"

KEEPER: Final = "keeper"
KEEPER_SILENT: Final = timedelta(minutes=30)
"""Two rounds of the keeper."""

RECENT: Final = timedelta(days=1)
LATEST: Final = 20

LATE_BY_THEN: Final = timedelta(minutes=5)
"""A healthy server marks an overdue run late within this time."""

SOON: Final = 5.0
"""Seconds in which a run starts whose worker hears of it and forks it, with a margin."""


async def check_prefect(
    api: str, workspace: WorkspaceNames, unneeded: frozenset[str] = frozenset(), targets: Iterable[str] = ()
) -> list[CheckResult]:
    """All checks of a workspace with these ``targets``; queues in ``unneeded`` need no worker."""
    try:
        async with get_client() as client:
            return [result async for result in _checks(client, api, workspace, unneeded, targets)]
    except KeyturnError as error:
        return [unseen(AREA, "server", error)]
    except (httpx.HTTPError, RuntimeError) as error:
        words = f"it does not answer as it should ({type(error).__name__})"
        return [CheckResult(AREA, "server", Grade.UNKNOWN, words, "Check PREFECT_API_URL and that the server runs")]


async def _checks(
    client: PrefectClient, api: str, workspace: WorkspaceNames, unneeded: frozenset[str], targets: Iterable[str]
) -> AsyncIterator[CheckResult]:
    if not is_loopback(httpx.URL(api).host):
        for lack in lacking(api, os.environ, without_login):
            yield CheckResult(
                AREA, "server", Grade.FAILED, lack, "Anyone who can call its API can have credentials ended"
            )
    remedy = f"Run `keyturn setup prefect --apply{workspace.option}`"
    deployments: list[dict[str, Any]] = declared_file(unneeded)["deployments"]
    if (kind := await type_of_pool(client, workspace.own)) != TYPE:
        names = ", ".join(workspace.deployment(entry["name"]) for entry in deployments)
        queues = ", ".join(dict.fromkeys(entry["work_pool"]["work_queue_name"] for entry in deployments))
        unregistered = (
            f"it is not registered, nor are its queues ({queues}), deployments ({names}), limits and automations"
        )
        words = f"it is of type {kind}" if kind else unregistered
        yield CheckResult(AREA, f"pool {workspace.own}", Grade.FAILED, words, remedy)
        return
    async for result in _queues(client, workspace, deployments, remedy):
        yield result
    lacking_limits = {workspace.limit(target) for target in targets} - await limits_there(client)
    for name in sorted(lacking_limits):
        words = "it is not registered, so no run of Prefect begins a rotation at this target"
        yield CheckResult(AREA, f"limit {name}", Grade.FAILED, words, remedy)
    async for result in _deployments(client, workspace, deployments, remedy):
        yield result
    async for result in _automations(client, workspace, remedy):
        yield result
    async for result in check_keeper(client, workspace):
        yield result
    async for result in check_waits(client, workspace):
        yield result
    async for result in check_services(client, workspace, datetime.now(UTC)):
        yield result
    server = await server_settings() or {}
    for words, remedy in scale_out.unshared_settings(server):
        yield CheckResult(AREA, "several servers", Grade.FAILED, words, remedy)
    for words, remedy in scale_out.settings_remarks(server):
        yield CheckResult(AREA, "several servers", Grade.ADVICE, words, remedy)
    for remark in await advice():
        yield CheckResult(AREA, "retention", Grade.ADVICE, remark)


def queue_check(queue: str) -> str:
    return f"queue {queue}"


async def check_services(client: PrefectClient, workspace: WorkspaceNames, now: datetime) -> AsyncIterator[CheckResult]:
    """Whether the server's services run. They can stop while every process looks healthy."""
    overdue = FlowRunFilter(
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Scheduled"])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=now - LATE_BY_THEN),
    )
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[workspace.own]))
    for run in await client.read_flow_runs(work_pool_filter=pool, flow_run_filter=overdue, limit=1):
        words = f"they are stuck: {run.name} was due at {run.expected_start_time:%H:%M} UTC, and is not called late"
        yield CheckResult(AREA, "services", Grade.FAILED, words, "Restart them, see docs/production.md")


async def _queues(
    client: PrefectClient, workspace: WorkspaceNames, declared: list[dict[str, Any]], remedy: str
) -> AsyncIterator[CheckResult]:
    there = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=workspace.own)}
    for name in dict.fromkeys(entry["work_pool"]["work_queue_name"] for entry in declared):
        queue = there.get(name)
        start = f"Start its worker with the line that `keyturn setup prefect{workspace.option}` prints"
        if queue is None:
            yield CheckResult(AREA, queue_check(name), Grade.FAILED, "it is not registered", remedy)
        elif queue.is_paused:
            yield CheckResult(AREA, queue_check(name), Grade.FAILED, "it is paused", "Resume it in the Prefect UI")
        elif queue.status == WorkQueueStatus.READY:
            yield CheckResult(AREA, queue_check(name), Grade.WELL, "a worker serves it")
        elif queue.last_polled is None:
            yield CheckResult(AREA, queue_check(name), Grade.WAITING, "waiting for a worker: none was started", start)
        else:
            yield CheckResult(AREA, queue_check(name), Grade.FAILED, "no worker asks it for work", start)


async def check_keeper(client: PrefectClient, workspace: WorkspaceNames) -> AsyncIterator[CheckResult]:
    """The state and age of the keeper's last run; nothing if it is not registered."""
    try:
        keeper = await client.read_deployment_by_name(workspace.deployed(KEEPER))
    except ObjectNotFound:
        return
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[keeper.id]), start_time=FlowRunFilterStartTime(is_null_=False)
        ),
        sort=FlowRunSort.START_TIME_DESC,
        limit=1,
    )
    name, remedy = "keeper", "See its log in Prefect, and that a worker serves the queue default"
    run = runs[0] if runs else None
    if run is None or run.start_time is None or run.state is None:
        yield CheckResult(AREA, name, Grade.ADVICE, "it has not run yet: its schedule begins it within 15 minutes")
        return
    age = datetime.now(UTC) - run.start_time
    words = f"its last run began {span(age)} ago: {(run.state.name or run.state.type).lower()}"
    if run.state.type in (StateType.FAILED, StateType.CRASHED) or age > KEEPER_SILENT:
        yield CheckResult(AREA, name, Grade.FAILED, words, remedy)
    else:
        yield CheckResult(AREA, name, Grade.WELL, words)


async def check_waits(client: PrefectClient, workspace: WorkspaceNames) -> AsyncIterator[CheckResult]:
    """The median start delay of the latest runs, which ignores a few that waited for another run."""
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[workspace.own]))
    begun = FlowRunFilter(start_time=FlowRunFilterStartTime(after_=datetime.now(UTC) - RECENT, is_null_=False))
    runs = await client.read_flow_runs(
        work_pool_filter=pool, flow_run_filter=begun, sort=FlowRunSort.START_TIME_DESC, limit=LATEST
    )
    waited = [
        max((run.start_time - run.expected_start_time).total_seconds(), 0.0)
        for run in runs
        if run.start_time and run.expected_start_time
    ]
    if not waited:
        return
    half = statistics.median(waited)
    words = f"half of the last {len(waited)} began within {half:.1f} s of being due"
    if half <= SOON:
        yield CheckResult(AREA, "runs", Grade.WELL, words)
    else:
        remedy = "See that their workers are not busy, listen to the server's events, and fork runs: their logs say so"
        yield CheckResult(AREA, "runs", Grade.ADVICE, words, remedy)


async def _deployments(
    client: PrefectClient, workspace: WorkspaceNames, declared: list[dict[str, Any]], remedy: str
) -> AsyncIterator[CheckResult]:
    well = 0
    for entry in declared:
        named = f"deployment {workspace.deployment(entry['name'])}"
        try:
            deployment = await client.read_deployment_by_name(workspace.deployed(entry["name"]))
        except ObjectNotFound:
            yield CheckResult(AREA, named, Grade.FAILED, "it is not registered", remedy)
            continue
        active = [schedule for schedule in deployment.schedules if schedule.active]
        if deployment.paused or len(active) < len(entry.get("schedules", ())):
            resume = "Resume it in the Prefect UI"
            yield CheckResult(AREA, named, Grade.FAILED, "it is paused, or one of its schedules", resume)
        else:
            well += 1
    if well:
        yield CheckResult(AREA, f"{well} of {len(declared)} deployments", Grade.WELL, "registered, and not paused")


async def _automations(client: PrefectClient, workspace: WorkspaceNames, remedy: str) -> AsyncIterator[CheckResult]:
    enabled = {automation.name: automation.enabled for automation in await client.read_automations()}
    for does in (*NEEDED, REPORT):
        name = workspace.automation(does)
        if enabled.get(name) is False:
            yield CheckResult(AREA, name, Grade.FAILED, "it is switched off", "Switch it on in the Prefect UI")
        elif name not in enabled and does != REPORT:
            yield CheckResult(AREA, name, Grade.FAILED, "it is not registered", remedy)
        elif name not in enabled:
            option = f"Run `keyturn setup prefect --apply --failure-url URL{workspace.option}`"
            yield CheckResult(AREA, name, Grade.ADVICE, "Prefect notifies no one of failed runs", option)
        else:
            yield CheckResult(AREA, name, Grade.WELL, "it is in force")
