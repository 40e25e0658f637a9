"""Real rotations while processes of two hosts read without pause, and query the real database through pools."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from select import select
from threading import Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIServer, make_server

import psycopg2

from keyturn.client.client import SecretClient
from keyturn.client.host.group import HostGroup
from keyturn.client.pool import SecretPool
from keyturn.client.secrets import Secret
from keyturn.client.sources import HubSource
from keyturn.client.webhooks.receiver import Receiver, wsgi_app
from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice, message_id
from keyturn.core.overrides import Waive
from keyturn.core.schedule.due import Trigger
from keyturn.providers.deliver_notices import sign_notice
from keyturn.providers.http.webhook import WebhookSender
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from local.support.ports import LOOPBACK
from tests.client.test_webhook import KEY, Quiet
from tests.rotation.helpers import worker
from tests.support.hooks import eventually
from tests.support.lab import Lab
from tests.support.sampling import examples

HOSTS: Final = ("host-a", "host-b")
PROCESSES: Final = 2
"""On each host; the first of them takes the notices."""
READS: Final = 500
"""Between two queries."""


APP: Any = None
"""What a server serves that was made before its process."""


@dataclass
class Readings:
    """What a process saw. ``last`` is when the last read began that gave each version, by the machine's one clock."""

    last: dict[int, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    refused: int = 0


class Application:
    """A process of a host: it reads, and queries, until it is told to end."""

    def __init__(self, lab: Lab, path: str, group: HostGroup) -> None:
        self.lab = lab
        self.path = path
        self.readings = Readings()
        self.client = SecretClient(lambda: [HubSource(lab.world.hub())], host=group)

    def run(self, server: WSGIServer | None, goes_on: Callable[[], bool]) -> Readings:
        refused = (psycopg2.OperationalError,)
        with self.client, closing(SecretPool(self.client, self.path, self.connect, refused=refused)) as pool:
            if server:
                server.set_app(wsgi_app(Receiver([KEY]), pool.told))
                Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            while goes_on():
                try:
                    self.read()
                    self.query(pool)
                except (KeyturnError, psycopg2.Error) as error:
                    self.readings.failed.append(f"{type(error).__name__}: {error}")
        return self.readings

    def read(self) -> None:
        get, clock, last = self.client.get, time.monotonic, self.readings.last
        for _ in range(READS):
            began = clock()
            last[get(self.path).version or 0] = began

    def query(self, pool: SecretPool[Any]) -> None:
        with pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            connection.rollback()

    def connect(self, secret: Secret) -> Any:
        try:
            return self.lab.connect(secret.fields.reveal())
        except psycopg2.OperationalError:
            self.readings.refused += 1
            raise


@contextmanager
def application(lab: Lab, path: str, group: HostGroup, server: WSGIServer | None) -> Iterator[Callable[[], Readings]]:
    """A child that reads; what is given ends it and tells what it saw."""
    end, results = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(3600)
            readings = Application(lab, path, group).run(server, lambda: not select([end[0]], [], [], 0)[0])
            os.write(results[1], json.dumps(asdict(readings)).encode())
        finally:
            os._exit(0)
    os.close(results[1])

    def finish() -> Readings:
        os.write(end[1], b"!")
        with os.fdopen(results[0]) as file:
            data = json.load(file)
        return Readings({int(version): at for version, at in data["last"].items()}, data["failed"], data["refused"])

    try:
        yield finish
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(end[0])
        os.close(end[1])


def test_nobody_reads_what_was_superseded_once_it_is_acknowledged_and_no_login_fails(lab: Lab, tmp_path: Path) -> None:
    secret, rotations = lab.alternating(), examples(15, 1000)
    workspace = worker(lab, secret).workspace
    acknowledged: dict[str, dict[int, float]] = {host: {} for host in HOSTS}
    groups = {host: HostGroup(host, tmp_path, patience=20, check=0.05) for host in HOSTS}
    with ExitStack() as stack:
        servers = {host: stack.enter_context(make_server(LOOPBACK, 0, APP, handler_class=Quiet)) for host in HOSTS}
        finishing = [
            (host, stack.enter_context(application(lab, secret.path, groups[host], None if number else servers[host])))
            for host in HOSTS
            for number in range(PROCESSES)
        ]
        assert eventually(lambda: all(members(group) == PROCESSES for group in groups.values()))

        def tell(host: str, version: int) -> None:
            notice = Notice(SECRET_ROTATED, secret.path, version, datetime.now(UTC))
            message = sign_notice([KEY], notice, message_id(secret.path, version, SECRET_ROTATED), host)
            WebhookSender(host, f"http://{LOOPBACK}:{servers[host].server_port}").send(message, 30)
            acknowledged[host][version] = time.monotonic()

        with ThreadPoolExecutor(len(HOSTS)) as both:
            for version in range(2, rotations + 2):
                rotate(workspace, secret.path, Trigger.FORCE)
                list(both.map(tell, HOSTS, [version] * len(HOSTS)))
                assert not retire(workspace, secret.path, Waive.EVERYTHING).held_by
        seen = [(host, finish()) for host, finish in finishing]
    for host, readings in seen:
        assert (readings.failed, readings.refused) == ([], 0)
        assert max(readings.last) == rotations + 1
        assert stale_reads(readings, acknowledged[host]) == {}


def stale_reads(readings: Readings, acknowledged: dict[int, float]) -> dict[int, float]:
    """The versions that a read gave which began after the next one's acknowledgement, and how long after."""
    late = {version: began - acknowledged.get(version + 1, began) for version, began in readings.last.items()}
    return {version: seconds for version, seconds in late.items() if seconds > 0}


def members(group: HostGroup) -> int:
    """How many processes have joined."""
    return len([*group.place.glob("*.sock")])


def test_the_counting_counts() -> None:
    assert stale_reads(Readings({1: 5.0, 2: 9.0}), {2: 6.0, 3: 8.0}) == {2: 1.0}
