"""Real rotations while processes of two hosts read continuously: does any return a superseded version, and how soon is
the new version there?

    python benchmarks/coherency.py [--rotations 1000] [--processes 2] [--begin 50]

Each host is a group of processes with its own port, and one of them receives its notices. A rotation is Keyturn's
whole protocol as plain functions, with the ledger, against the real OpenBao on durable storage and PostgreSQL. Its
notice goes over HTTP to both hosts at once, and the old credential is ended as soon as both have acknowledged.
Every process requests the secret in a loop and notes when it began to, by the one monotonic clock of the machine;
after every ``--reads`` of them it queries the database through its pool. Counted are processes that began a read of
an older version after their host's acknowledgement, failed reads, queries and logins. Then ``--begin`` processes start
at once, and are notified at once, and the reads of the hub are counted.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import secrets
import select
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg2

from benchmarks.limits import loosen
from benchmarks.processes import end_in_order
from keyturn.client.client import SecretClient
from keyturn.client.host.group import HostGroup
from keyturn.client.pool import SecretPool
from keyturn.client.secrets import Secret
from keyturn.client.sources import HubSource
from keyturn.client.statistics import Event
from keyturn.client.webhooks.receiver import Receiver, wsgi_app
from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.messages import SignedMessage
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice
from keyturn.core.sensitive import Sensitive
from keyturn.providers.http.webhook import WebhookSender
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import Hub, prepare
from local.support.ports import LOOPBACK, free_port

PATH: Final = "ml-training/database"
HOSTS: Final = ("host-a", "host-b")
GOAL_MS: Final = 50.0
CATALOGUE: Final = """
targets:
  ml-postgres: {{kind: postgresql, host: {host}, port: {port}, database: ml, admin: targets/ml-postgres}}
consumers:
  host-a: {{url: "http://127.0.0.1:{a}", signing_key: webhooks/host-a}}
  host-b: {{url: "http://127.0.0.1:{b}", signing_key: webhooks/host-b}}
secrets:
  ml-training/database:
    owner: benchmark
    classification: internal
    consumers: [host-a, host-b]
    rotation:
      strategy: alternating-users
      target: ml-postgres
      users: [ml_trainer_a, ml_trainer_b]
      owner_role: ml_trainer
      interval: 30d
      grace: 1m
"""


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@dataclasses.dataclass
class Readings:
    """What a process saw, in seconds of the machine's monotonic clock.

    ``first`` is when each version was given first, ``last`` when the last read that gave it began.
    """

    first: dict[int, float] = dataclasses.field(default_factory=dict)
    last: dict[int, float] = dataclasses.field(default_factory=dict)
    reads: int = 0
    queries: int = 0
    failed_reads: int = 0
    failed_queries: int = 0
    refused_logins: int = 0


class Reader:
    """One process of a host: it reads until its standard input is closed, then reports what it saw."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.readings = Readings()
        self.client = SecretClient(lambda: [HubSource(VaultHub(settings(options)))], host=group(options))

    def connect(self, secret: Secret) -> Any:
        """Log in, and count refusals."""
        fields = secret.fields.reveal()
        try:
            return psycopg2.connect(
                host=LOOPBACK,
                port=self.options.postgres,
                dbname="ml",
                user=fields["username"],
                password=fields["password"],
                sslmode="disable",
            )
        except psycopg2.OperationalError:
            self.readings.refused_logins += 1
            raise

    def run(self) -> None:
        """Read continuously."""
        with self.client, contextlib.closing(self.pool()) as pool, served(self.options, pool.told):
            print("ready", flush=True)
            while not select.select([sys.stdin], [], [], 0)[0]:
                self.read_often()
                self.query(pool)
        print(json.dumps(dataclasses.asdict(self.readings)), flush=True)

    def pool(self) -> SecretPool[Any]:
        """A pool over the real database."""
        return SecretPool(self.client, PATH, self.connect, refused=(psycopg2.OperationalError,), size=2)

    def read_often(self) -> None:
        """This many reads, one after another, each with the instant at which it began."""
        readings, get, clock, version = self.readings, self.client.get, time.monotonic, 0
        for _ in range(self.options.reads):
            began = clock()
            try:
                version = get(PATH).version or 0
            except KeyturnError:
                readings.failed_reads += 1
                continue
            if version not in readings.first:
                readings.first[version] = clock()
            readings.last[version] = began
        readings.reads += self.options.reads

    def query(self, pool: SecretPool[Any]) -> None:
        """One query through the pool."""
        self.readings.queries += 1
        try:
            with pool.connection() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                connection.rollback()
        except (psycopg2.Error, KeyturnError):
            self.readings.failed_queries += 1


def settings(options: argparse.Namespace) -> HubSettings:
    """The hub's address, and the file with a token."""
    return HubSettings(options.hub, login=TokenLogin(file=options.token))


def group(options: argparse.Namespace) -> HostGroup:
    """The processes of one host."""
    return HostGroup(options.host, Path(options.directory))


@contextlib.contextmanager
def served(options: argparse.Namespace, on_notice: Callable[[Notice], object]) -> Iterator[None]:
    """Receive notices meanwhile, if a port is given."""
    if not options.port:
        yield
        return
    app = wsgi_app(Receiver([Sensitive(Path(options.key).read_text())]), on_notice)
    with make_server(LOOPBACK, options.port, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class Site:
    """The servers, the catalogue and two hosts with a few processes each."""

    def __init__(self, directory: Path, stack: ExitStack, options: argparse.Namespace) -> None:
        loosen(directory)
        os.environ["KEYTURN_LEDGER"] = str(directory / "ledger.db")
        self.directory = directory
        self.options = options
        self.ports = {host: free_port() for host in HOSTS}
        self.hub = stack.enter_context(OpenBao(directory / "openbao", free_port()))
        self.postgres = stack.enter_context(PostgreSQL(directory / "postgres", free_port()))
        stack.callback(self.postgres.remove)
        self._prepare()
        self.catalogue = directory / "catalogue"
        self.catalogue.mkdir()
        ports = {"a": self.ports["host-a"], "b": self.ports["host-b"]}
        text = CATALOGUE.format(host=self.postgres.host, port=self.postgres.port, **ports)
        (self.catalogue / "benchmark.yaml").write_text(text)

    def arguments(self, host: str, port: int = 0) -> argparse.Namespace:
        """The input of a process of this host."""
        return argparse.Namespace(
            host=host,
            port=port,
            reads=self.options.reads,
            hub=self.hub.address,
            token=str(self.directory / "token"),
            key=str(self.directory / "key"),
            directory=str(self.directory / "groups"),
            postgres=self.postgres.port,
        )

    def start(self, host: str, port: int) -> "subprocess.Popen[str]":
        """A process of this host, once it reads."""
        command = [sys.executable, __file__, "--process", json.dumps(vars(self.arguments(host, port)))]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not process.stdout or process.stdout.readline() != "ready\n":
            raise SystemExit(f"a process of {host} did not begin")
        return process

    def _prepare(self) -> None:
        admin = Hub(self.hub.address, self.hub.root_token)
        prepare(admin, self.postgres.host, self.postgres.port, self.postgres.superuser_password, ())
        key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        for host in HOSTS:
            admin.first(f"webhooks/{host}", {"key": key}, "keyturn")
        for name, text in (("token", self.hub.root_token), ("key", key)):
            (self.directory / name).write_text(text)
            (self.directory / name).chmod(0o600)


class Timed:
    """When each notice was first sent and acknowledged, by consumer and version."""

    def __init__(self) -> None:
        self._send = WebhookSender.send
        self.sent: dict[tuple[str, int], float] = {}
        self.acknowledged: dict[tuple[str, int], float] = {}

    def __enter__(self) -> "Timed":
        timed = self

        def send(sender: WebhookSender, message: SignedMessage, timeout: float) -> None:
            version = Notice.from_json(message.body).version
            timed.sent.setdefault((sender.name, version), time.monotonic())
            timed._send(sender, message, timeout)
            timed.acknowledged[sender.name, version] = time.monotonic()

        WebhookSender.send = send  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        WebhookSender.send = self._send  # type: ignore[method-assign]


def rotations(site: Site) -> Timed:
    """Rotate this often, ending the old credential at once each time; when each notice was sent and acknowledged."""
    from keyturn.catalogue import load_catalogue
    from keyturn.core.overrides import Waive
    from keyturn.core.schedule.due import Trigger
    from keyturn.rotation.retire import retire
    from keyturn.rotation.run import rotate
    from keyturn.wiring.registry import open_workspace

    workspace = open_workspace(load_catalogue(site.catalogue, os.environ), VaultHub(settings(site.arguments(HOSTS[0]))))
    with Timed() as timed:
        for number in range(site.options.rotations):
            rotate(workspace, PATH, Trigger.FORCE)
            held_by = retire(workspace, PATH, Waive.EVERYTHING).held_by
            if held_by:
                print(f"rotation {number + 1}: the old credential is held by {held_by}")
    return timed


def measure(site: Site) -> bool:
    """Whether a goal of the rotations is missed."""
    processes = [
        (host, site.start(host, site.ports[host] if number == 0 else 0))
        for number in range(site.options.processes)
        for host in HOSTS
    ]
    began = time.monotonic()
    timed = rotations(site)
    took = time.monotonic() - began
    seen = [(host, finish(process)) for host, process in processes]
    superseded = sum(stale_reads(timed, host, readings) for host, readings in seen)
    delays = [delay for host, readings in seen for delay in delays_ms(timed, host, readings)]
    acknowledgements = [1000 * (timed.acknowledged[key] - sent) for key, sent in timed.sent.items()]
    total = {field: sum(getattr(each, field) for _, each in seen) for field in COUNTED}
    print(f"{site.options.rotations} rotations in {took:.0f} s, {len(seen)} processes on {len(HOSTS)} hosts")
    print("  ".join(f"{field.replace('_', ' ')}: {count:,}" for field, count in total.items()))
    print(f"reads of a superseded value after its acknowledgement: {superseded}")
    print(f"from the notice to the new value in each process: {quantiles(delays)}")
    print(f"from the notice to its acknowledgement: {quantiles(acknowledgements)}")
    missing = len(timed.sent) * site.options.processes - len(delays)
    print(f"new versions that a process never gave: {missing}")
    failures = sum(total[field] for field in ("failed_reads", "failed_queries", "refused_logins"))
    return bool(superseded or failures or percentile(delays, 99) > GOAL_MS)


COUNTED: Final = ("reads", "queries", "failed_reads", "failed_queries", "refused_logins")


def finish(process: "subprocess.Popen[str]") -> Readings:
    """What a process saw, once it is asked to stop."""
    output, _ = process.communicate(timeout=60)
    data = json.loads(output.splitlines()[-1])
    instants = {name: {int(version): at for version, at in data.pop(name).items()} for name in ("first", "last")}
    return Readings(**data, **instants)


def stale_reads(timed: Timed, host: str, readings: Readings) -> int:
    """How many versions were returned by a read that began after the next one's acknowledgement."""
    return sum(
        any(began > at for (name, later), at in timed.acknowledged.items() if name == host and later == version + 1)
        for version, began in readings.last.items()
    )


def delays_ms(timed: Timed, host: str, readings: Readings) -> list[float]:
    """Milliseconds from each notice until the process returned its version."""
    return [
        1000 * max(0.0, readings.first[version] - sent)
        for (name, version), sent in timed.sent.items()
        if name == host and version in readings.first
    ]


def percentile(numbers: list[float], percent: int) -> float:
    """A percentile; the greatest if there are few."""
    return sorted(numbers)[min(len(numbers) - 1, len(numbers) * percent // 100)]


def quantiles(numbers: list[float]) -> str:
    """The median, two others and the greatest."""
    shown = {"median": statistics.median(numbers), "p95": percentile(numbers, 95), "p99": percentile(numbers, 99)}
    return ", ".join(f"{name} {ms:.1f} ms" for name, ms in {**shown, "max": max(numbers)}.items())


def begin_at_once(site: Site) -> bool:
    """Whether processes that start at once, or are notified at once, read the hub more than once."""
    hub = VaultHub(settings(site.arguments("crowd")))
    path = f"crowd/{secrets.token_hex(4)}"
    write = lambda version: hub.write(path, fields(version), cas=version - 1)  # noqa: E731
    write(1)
    gate, told, results = os.pipe(), os.pipe(), os.pipe()
    arguments = site.arguments("crowd")
    children = [child(arguments, path, gate[0], told[0], results[1]) for _ in range(site.options.begin)]
    client = SecretClient(lambda: [HubSource(VaultHub(settings(arguments)))], host=group(arguments), poll=0)
    began = time.monotonic()
    os.close(gate[1])
    lines = [result(results[0]) for _ in children]
    took = 1000 * (time.monotonic() - began)
    first = sum(each["reads"] for each in lines)
    print(f"{len(children)} processes begin at once: {first} read of the hub, {took:.0f} ms until the last has it")
    write(2)
    time.sleep(3)  # a notice waits in the first moments of a directory for processes that may still join
    began = time.monotonic()
    client.told(Notice(SECRET_ROTATED, path, 2, datetime.now(UTC)))
    took = 1000 * (time.monotonic() - began)
    os.close(told[1])
    lines = [result(results[0]) for _ in children]
    second = sum(each["reads"] for each in lines) + client.statistics[Event.READ] - first
    print(f"the same are told at once: {second} read of the hub, {took:.0f} ms until all have it")
    old = sum(each["version"] != 2 for each in lines)
    print(f"of them give the old version afterwards: {old}")
    client.close()
    for pid in children:
        os.waitpid(pid, 0)
    return first != 1 or second != 1 or bool(old)


def fields(version: int) -> Any:
    """A value of some length."""
    from keyturn.core.sensitive import SecretFields

    return SecretFields({"password": f"{version}-" + "x" * 32})


def child(arguments: argparse.Namespace, path: str, gate: int, told: int, results: int) -> int:
    """A process that reads once the gate opens, and reports what it returned then, and after the notice."""
    pid = os.fork()
    if pid:
        return pid
    try:
        client = SecretClient(lambda: [HubSource(VaultHub(settings(arguments)))], host=group(arguments), poll=0)
        for pause in (gate, told):
            close_others(pause)
            os.read(pause, 1)
            version = client.get(path).version
            line = json.dumps({"reads": client.statistics[Event.READ], "version": version})
            os.write(results, line.encode().ljust(64))
    finally:
        os._exit(0)


def close_others(pause: int) -> None:
    """Release the end that its parent closes to let it continue."""
    with contextlib.suppress(OSError):
        os.close(pause + 1)


def result(results: int) -> dict[str, int]:
    """The next child's report."""
    return dict(json.loads(os.read(results, 64)))


def main() -> int:
    """Measure all of it; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rotations", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2, help="on each host")
    parser.add_argument("--reads", type=int, default=2000, help="between two queries")
    parser.add_argument("--begin", type=int, default=50)
    parser.add_argument("--process", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        Reader(argparse.Namespace(**json.loads(options.process))).run()
        return 0
    end_in_order()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        site = Site(Path(directory), stack, options)
        print(f"load at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        missed = begin_at_once(site)
        if options.rotations:
            missed |= measure(site)
    print("a goal is missed" if missed else "all goals are met")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
