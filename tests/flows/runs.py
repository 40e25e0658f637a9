"""Running flows: in this process, or through a deployment and the worker."""

import asyncio
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prefect import State

from deployments.bootstrap import bootstrap
from keyturn.core.errors import KeyturnError
from keyturn.core.workspaces import HOUSE
from tests.flows.site import Architect, Site
from tests.support.announcements import load_apprise
from tests.support.prefect_server import PrefectServer, wait_for

AWS_VARIABLES = ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_EC2_METADATA_DISABLED")
TERMINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Installed:
    """What bootstrap has registered: ``deployments`` are ids by name."""

    server: PrefectServer
    deployments: dict[str, str]

    def start(
        self,
        name: str,
        site: Site,
        env: dict[str, str] | None = None,
        queue: str | None = None,
        labels: dict[str, Any] | None = None,
        **parameters: Any,
    ) -> str:
        """Ask for a run by the worker, which leads to this site, or by that of another ``queue``; its id."""
        self.server.settle(site.variables | (env or {}))
        body = {
            **({"work_queue_name": queue} if queue else {}),
            **({"labels": labels} if labels else {}),
            "parameters": parameters,
            "state": {"type": "SCHEDULED"},
        }
        return str(self.server.post(f"deployments/{self.deployments[name]}/create_flow_run", **body)["id"])

    def ended(self, run: str, seconds: float = 180) -> dict[str, Any]:
        """The run once it has ended."""

        def over() -> dict[str, Any] | None:
            told: dict[str, Any] = self.server.get(f"flow_runs/{run}")
            return told if told["state_type"] in TERMINAL else None

        return wait_for(over, seconds)

    def run(self, name: str, site: Site, **parameters: Any) -> dict[str, Any]:
        """Run a deployment through the worker, to its end."""
        return self.ended(self.start(name, site, **parameters))

    def rest(self) -> None:
        """Let no schedule start a run of its own."""
        for deployment in self.deployments.values():
            self.server.post(f"deployments/{deployment}/pause_deployment")

    def rows(self, run: str) -> list[dict[str, Any]]:
        """The rows of the table that a run has left, beside the one of all secrets."""
        left = self.server.all("artifacts", artifacts={"flow_run_id": {"any_": [run]}, "type": {"any_": ["table"]}})
        (table,) = [table for table in left if table["key"].rpartition("-")[2] != HOUSE]
        return list(json.loads(table["data"]))


def install(server: PrefectServer, architect: Architect, failure_url: str) -> Installed:
    """Bootstrap, and start a talkative worker that may use the local AWS; schedules rest."""
    load_apprise()
    register(architect.build(), server, failure_url)
    installed = Installed(server, {d["name"]: d["id"] for d in server.all("deployments")})
    installed.rest()
    variables = {name: os.environ[name] for name in AWS_VARIABLES}
    server.start_worker(HOUSE, variables | {"PREFECT_LOGGING_LEVEL": "DEBUG"})
    return installed


def register(site: Site, server: PrefectServer, failure_url: str | None) -> None:
    """What ``keyturn setup prefect --apply`` does; the worker leads to this site from now on."""
    server.settle(site.variables)
    asyncio.run(bootstrap(site.workspace.catalogue, failure_url, lambda _: None))


def ended(flow: Callable[..., Any], *arguments: Any, **named: Any) -> State[Any]:
    """The state that a flow of this process ends in."""
    state: State[Any] = asyncio.run(flow(*arguments, **named, return_state=True))
    return state


def completed(flow: Callable[..., Any], *arguments: Any) -> Any:
    """What a flow of this process returns."""
    return asyncio.run(flow(*arguments))


def error(state: State[Any]) -> KeyturnError:
    """What a run has failed with."""
    assert state.is_failed(), state
    raised = result(state)
    assert isinstance(raised, KeyturnError)
    return raised


def result(state: State[Any]) -> Any:
    """What a run of this process returned or raised."""
    return asyncio.run(state.aresult(raise_on_failure=False))


def once_retrying(server: PrefectServer, name: str, act: Callable[[], None]) -> None:
    """Act, beside the caller, once a step of the run of that name has failed and waits for its next try."""

    def waits() -> bool:
        tasks = server.all("task_runs", flow_runs={"name": {"any_": [name]}})
        return any(t["state_name"] == "AwaitingRetry" for t in tasks)

    def watch() -> None:
        wait_for(waits)
        act()

    threading.Thread(target=watch, daemon=True).start()


def attempts(server: PrefectServer, state: State[Any], last: str) -> dict[str, int]:
    """How often each task of a run was tried, once the server knows how the ``last`` and all others ended."""
    run = str(state.state_details.flow_run_id)

    def told() -> dict[str, int] | None:
        tasks = server.all("task_runs", task_runs={"flow_run_id": {"any_": [run]}})
        tried = {t["name"]: t["run_count"] for t in tasks}
        return tried if last in tried and all(t["state_type"] in TERMINAL for t in tasks) else None

    return wait_for(told)


def messages(server: PrefectServer, run: str, count: int) -> dict[str, str]:
    """What each task of a run has come to, by its name, once the server knows the end of so many."""

    def told() -> dict[str, str] | None:
        tasks = server.all("task_runs", task_runs={"flow_run_id": {"any_": [run]}})
        over = len(tasks) >= count and all(t["state"] and t["state_type"] in TERMINAL for t in tasks)
        return {t["name"]: t["state"]["message"] for t in tasks} if over else None

    return wait_for(told)


def logged(server: PrefectServer, run: str, last: str) -> list[str]:
    """The log of a run and its tasks, from INFO on, once it has its ``last`` line; without what its worker says."""

    def told() -> list[str] | None:
        records = server.all("logs", logs={"flow_run_id": {"any_": [run]}, "level": {"ge_": 20}})
        lines = [record["message"] for record in records if record["name"] != "prefect.flow_runs.worker"]
        return lines if last in lines else None

    return wait_for(told)
