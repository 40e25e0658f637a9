"""A real Prefect server and a worker of Keyturn's own type on loopback, with a home of their own."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from prefect.settings import temporary_settings

from deployments.healthy import http_status
from local.environment import IN_BATCHES, RETENTION, inherited
from local.support.ports import LOOPBACK, free_port
from local.support.process import Process

T = TypeVar("T")

LEDGER = "KEYTURN_LEDGER"
PAGE = 200
"""The most that the API gives at once."""

IMPATIENT = {
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_FOREMAN_WORK_QUEUE_LAST_POLLED_TIMEOUT_SECONDS": "5",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
}
"""Silence is noticed within seconds."""

KINDS = (
    "flows",
    "flow_runs",
    "task_runs",
    "logs",
    "artifacts",
    "deployments",
    "automations",
    "variables",
    "work_pools",
)


class PrefectServer:
    """One server under ``directory``. What its worker needs besides is given to :meth:`start_worker`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}/api"
        self.home = directory / "home"
        self.settings = directory / "worker.env"
        self.server = Process("server", directory)
        self.worker = Process("worker", directory)

    @property
    def environment(self) -> dict[str, str]:
        """What leads a process to this server and to no other."""
        return {
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(self.home),
            "PREFECT_LOCAL_STORAGE_PATH": str(self.home / "storage"),
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "0.5",
            # The tests' own, which a worker would otherwise look for in the user's home.
            **{name: value for name, value in os.environ.items() if name.startswith(LEDGER)},
        }

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = ["server", "start", f"--host={LOOPBACK}", f"--port={self.port}", "--no-ui"]
        settings = IN_BATCHES | RETENTION | IMPATIENT
        self._run(self.server, command, settings, lambda: http_status(self.port, "/api/health") == HTTPStatus.OK)

    def stop(self) -> None:
        """End the worker, with the runs it has, and the server."""
        self.worker.stop()
        self.server.stop()

    def start_worker(self, pool: str, environment: Mapping[str, str]) -> None:
        """Let a worker take what the pool's default queue has; return when it does."""
        command = ["worker", "start", f"--pool={pool}", "--work-queue=default", "--type=keyturn", "--name=tests"]
        self._run_worker(self.worker, command, environment)

    @contextmanager
    def another_worker(self, pool: str, queue: str, environment: Mapping[str, str], *others: str) -> Iterator[Process]:
        """One more worker, which takes only what is in this queue of the pool, and in the others named."""
        process = Process(f"worker-{queue}", self.directory)
        command = ["worker", "start", f"--pool={pool}", f"--work-queue={queue}", "--type=keyturn", f"--name={queue}"]
        command += [f"--work-queue={other}" for other in others]
        self._run_worker(process, command, environment)
        try:
            yield process
        finally:
            process.stop()

    def settle(self, variables: Mapping[str, str]) -> None:
        """What the workers' own file says from now on: runs that begin after this have it."""
        ledger = {name: value for name, value in self.environment.items() if name.startswith(LEDGER)}
        written = self.settings.with_suffix(".new")
        written.write_text("".join(f"{name}={value}\n" for name, value in {**ledger, **variables}.items()))
        written.replace(self.settings)

    def _run_worker(self, process: Process, command: list[str], variables: Mapping[str, str]) -> None:
        """One whose settings stand in the file, unless its environment says otherwise."""
        own = {"KEYTURN_SETTINGS_FILE": str(self.settings), **variables}
        self._run(process, command, own, lambda: process.says(r"^Worker .* started!"), LEDGER)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let this process, and those that it starts, use this server."""
        settings: Any = {name: value for name, value in self.environment.items() if name.startswith("PREFECT_")}
        with pytest.MonkeyPatch.context() as patch, temporary_settings(settings):
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    def all(self, kind: str, **asked: Any) -> list[dict[str, Any]]:
        """Everything of one kind, such as ``flow_runs``, as the API gives it."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.post(f"{kind}/filter", limit=PAGE, offset=len(found), **asked)
            found += page
            if len(page) < PAGE:
                return found

    def events(self) -> list[dict[str, Any]]:
        """Everything that the server has been told or has noticed."""
        answer = self.post("events/filter", limit=50)
        found = list(answer["events"])
        while following := answer["next_page"]:
            answer = httpx.get(following, timeout=30).json()
            found += answer["events"]
        return found

    def write_all(self, directory: Path) -> None:
        """Everything that whoever may call the API can read there, secrets of blocks included, one file a kind."""
        told = {kind: self.all(kind) for kind in KINDS}
        told["block_documents"] = self.all("block_documents", include_secrets=True)
        told["events"] = self.events()
        for kind, found in told.items():
            (directory / f"{kind}.json").write_text(json.dumps(found))

    def post(self, path: str, /, **body: Any) -> Any:
        """What the API answers to this question."""
        return self._ask("POST", path, body)

    def patch(self, path: str, **changes: Any) -> None:
        """Change what the API has there."""
        self._ask("PATCH", path, changes)

    def delete(self, path: str) -> None:
        """Remove what the API has there."""
        self._ask("DELETE", path)

    def get(self, path: str) -> Any:
        """What the API has there."""
        return self._ask("GET", path)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """On SQLite the server answers 503 where two writes meet; Prefect's own client then waits two seconds."""
        for _ in range(50):
            answer = httpx.request(method, f"{self.url}/{path}", json=body, timeout=30)
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                break
            time.sleep(0.1)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _run(
        self,
        process: Process,
        command: list[str],
        more: Mapping[str, str],
        ready: Callable[[], bool],
        without: str = "nothing",
    ) -> None:
        own = {name: value for name, value in self.environment.items() if not name.startswith(without)}
        environment = {**inherited(), **own, **more}
        process.start([sys.executable, "-m", "prefect", *command], ready=ready, environment=environment, timeout=120)


SERVER = pytest.StashKey[PrefectServer]()


def shared(config: pytest.Config, directories: pytest.TempPathFactory) -> PrefectServer:
    """The server of the tests at work: it takes nine seconds to start, so every package that needs it asks here."""
    if SERVER not in config.stash:
        server = config.stash[SERVER] = PrefectServer(directories.mktemp("prefect"))
        config.add_cleanup(server.stop)
        server.start()
    return config.stash[SERVER]


def stop_shared(config: pytest.Config) -> None:
    """Stop it; whoever asks next gets another."""
    if server := config.stash.get(SERVER, None):
        del config.stash[SERVER]
        server.stop()


def wait_for(found: Callable[[], T | None], seconds: float = 180) -> T:
    """What ``found`` gives once it gives something: much in Prefect arrives a moment later."""
    deadline = time.monotonic() + seconds
    while not (thing := found()):
        if time.monotonic() > deadline:
            raise AssertionError(f"nothing came within {seconds} s")
        time.sleep(0.1)
    return thing
