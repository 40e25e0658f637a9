"""The topology itself: every process of docs/production.md, on loopback and without containers."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import psycopg2
from psycopg2 import sql

from deployments.healthy import http_status
from keyturn.core.ports.hub import ROTATED_AT
from keyturn.project.worker.scale_out import shared_settings
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.database_server import STATE, passable
from local.emulators.aws import LocalAws
from local.environment import RETENTION, inherited
from local.home import LoginFiles
from local.openbao import OpenBao
from local.prepare import ADMIN, NOTARY, OWNER, WORKER, Hub, database, prepare, write_login
from local.redis import Redis
from local.support.files import write_private
from local.support.ports import LOOPBACK, free_port
from local.support.process import Process
from tests.faults.disk import Disk
from tests.production.balancer import Balancer, Route
from tests.production.processes import Supervised
from tests.support.debian_postgres import DebianPostgreSQL
from tests.support.world import REGION

WORKERS: Final = (("worker-1", "default", WORKER), ("worker-2", "default", WORKER), ("notary", "notary", NOTARY))
"""Each with its queue and its login."""
POOL: Final = "keyturn"
LONG_AGO: Final = "2020-01-01T00:00:00+00:00"
BETWEEN_LOOKS: Final = 20
"""Seconds between two runs of the keeper, whose schedule is compressed here."""

CATALOGUE: Final = """\
targets:
  ml-postgres: {{kind: postgresql, host: {host}, port: {port}, database: ml, admin: targets/ml-postgres}}
stores:
  aws: {{kind: aws-secrets-manager, region: {region}, endpoint_url: '{aws}'}}
secrets:
  asked-for/by-event:
    owner: production
    classification: internal
    rotation: {{strategy: generated, interval: 30d, grace: 1h}}
"""
SECRET: Final = """\
  fleet/{name}:
    owner: production
    classification: internal
    rotation: {{strategy: alternating-users, target: ml-postgres, users: [{name}_a, {name}_b], owner_role: ml_trainer,
                interval: 30d, grace: 1m}}
    destinations: [{{store: aws, name: {name}}}]
"""


@dataclass
class Topology:
    """Everything, under ``directory``; ``fleet`` secrets in the database, each with a copy in a cloud.

    What stands beside Keyturn (hub, target, cloud, Redis, three databases) has attributes of its own; the processes of
    Prefect and of Keyturn are in ``parts``, by name. Prefect's servers are told ``more`` besides, and the keeper looks
    every ``between_looks`` seconds.
    """

    directory: Path
    fleet: int
    more: Mapping[str, str] = field(default_factory=dict)
    between_looks: int = BETWEEN_LOOKS
    parts: dict[str, Supervised] = field(default_factory=dict)

    def __post_init__(self) -> None:
        place = self.directory
        self.hub = OpenBao(place / "hub", free_port())
        self.target = DebianPostgreSQL(place / "target", free_port(), durable=False)
        self.prefect_database = DebianPostgreSQL(place / "prefect-database", free_port())
        # A database that root starts runs as another account, which may not enter a directory for temporary files.
        apart = STATE / f"disk-{secrets.token_hex(4)}" if os.geteuid() == 0 else place / "disk"
        self.disk = Disk(apart, size="512m")
        self.ledger_database = DebianPostgreSQL(place / "ledger-database", free_port())
        self.redis = Redis(place / "redis", free_port(), settings={"maxmemory-policy": "noeviction"})
        self.aws = LocalAws(place / "aws", free_port())
        self.api_ports = [free_port(), free_port()]
        self.serve_ports = [free_port(), free_port()]
        self.edge = Balancer(
            place / "edge",
            {
                "prefect": Route(self.api_ports, ready="/api/ready"),
                "hub": Route([self.hub.port]),
                "target": Route([self.target.port]),
                "ledger": Route([self.ledger_database.port]),
            },
        )
        self.catalogue = place / "catalogue"
        self._root = place / "root.token"
        self.password = secrets.token_urlsafe(24)
        self.names = [f"app{number:04}" for number in range(self.fleet)]
        self.paths = [f"fleet/{name}" for name in self.names]

    # ---- addresses and settings

    @property
    def api(self) -> str:
        """Prefect's address for clients."""
        return f"http://{LOOPBACK}:{self.edge.ports['prefect']}/api"

    @property
    def hub_address(self) -> str:
        """The hub's, as the workers have it."""
        return f"http://{LOOPBACK}:{self.edge.ports['hub']}"

    def redis_url(self, number: int) -> str:
        """One of the numbered databases of Redis."""
        user = f"{self.redis.superuser}:{self.redis.superuser_password}"
        return f"redis://{user}@{LOOPBACK}:{self.redis.port}/{number}"

    def server_settings(self, name: str) -> dict[str, str]:
        """What each process of Prefect's server side has, whichever it is."""
        database = self.prefect_database
        login = f"postgres:{database.superuser_password}@{LOOPBACK}:{database.port}"
        return {
            "PREFECT_HOME": str(self.directory / name / "home"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{login}/prefect",
            "PREFECT_SERVER_API_AUTH_STRING": f"keyturn:{self.password}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            **shared_settings(docket=self.redis_url(1), messaging=self.redis_url(0)),
            **RETENTION,
            **self.more,
        }

    def client_settings(self, name: str) -> dict[str, str]:
        """What leads a process to Prefect, and to nothing else."""
        return {
            "PREFECT_HOME": str(self.directory / name / "home"),
            "PREFECT_API_URL": self.api,
            "PREFECT_API_AUTH_STRING": f"keyturn:{self.password}",
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }

    def login(self, place: str) -> LoginFiles:
        """The files of a login of its own for each process."""
        directory = self.directory / place
        return LoginFiles(directory / "hub.role-id", directory / "hub.secret-id")

    def keyturn_settings(self, place: str) -> dict[str, str]:
        """What leads a process of Keyturn to the hub, the ledger and the cloud."""
        login = self.login(place)
        return {
            "VAULT_ADDR": self.hub_address,
            "KEYTURN_HUB_ROLE_ID_FILE": str(login.role_id),
            "KEYTURN_HUB_SECRET_ID_FILE": str(login.secret_id),
            "KEYTURN_CATALOGUE": str(self.catalogue),
            "KEYTURN_LEDGER": f"postgresql://postgres@{LOOPBACK}:{self.edge.ports['ledger']}/ledger",
            "KEYTURN_LEDGER_NAME": "production",
            "KEYTURN_LEDGER_SPOOL": str(self.directory / place / "ledger.spool"),
            "PGPASSFILE": str(self.directory / "ledger.pgpass"),
            "XDG_STATE_HOME": str(self.directory / place / "state"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.aws.credentials),
            "AWS_CONFIG_FILE": str(self.directory / "no-config"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    # ---- start

    def start(self, stack: ExitStack) -> None:
        """Everything, in the order of docs/production.md; it is all stopped with ``stack``."""
        passable(self.disk.directory)
        stack.callback(self.disk.directory.rmdir)
        stack.enter_context(self.disk)
        stack.callback(self.stop)
        self._start_ledger_database()
        for server in (self.hub, self.target, self.prefect_database, self.redis, self.aws):
            server.start()
        self.edge.start()
        self._fill()
        self._prefect("server", "database", "upgrade", "--yes")
        for number, port in enumerate(self.api_ports, 1):
            self.add(f"api-{number}", self._api(port), self.server_settings(f"api-{number}"), ready=answers(port))
            # Two that boot for the first time at once write the same rows, and one of them ends.
            self.parts["api-1"].start()
        for number in (1, 2):
            name = f"services-{number}"
            self.add(name, ["deployments.prefect_services"], self.server_settings(name), ready=r"^ready\b")
        self.begin()
        self.bootstrap()
        for name, queue, role in WORKERS:
            self._write_login(name, role)
            command = ["prefect", "worker", "start", f"--pool={POOL}", f"--work-queue={queue}", "--type=keyturn"]
            own = self.client_settings(name) | self.keyturn_settings(name) | {"PREFECT_WORKER_QUERY_SECONDS": "2"}
            self.add(name, [*command, f"--name={name}"], own, ready=r"^Worker .* started!")
        for number, port in enumerate(self.serve_ports, 1):
            self._write_login(name := f"serve-{number}", WORKER)
            command = ["keyturn.cli", "serve", f"--listen={LOOPBACK}:{port}", "--poll=5s"]
            self.add(name, command, self.keyturn_settings(name), ready=r"^ready\b")
        self.begin()

    def begin(self) -> None:
        """Start whatever does not run, side by side, as a supervisor does."""
        missing = [part for part in self.parts.values() if part.process.pid is None]
        with ThreadPoolExecutor(max(1, len(missing))) as pool:
            list(pool.map(Supervised.start, missing))

    def add(
        self, name: str, command: list[str], settings: Mapping[str, str], *, ready: str | Callable[[], bool]
    ) -> None:
        """One process of Prefect's or ours, to be started."""
        process = Process(name, self.directory / name)
        environment = {**inherited(), **settings}
        self.parts[name] = Supervised(process, [sys.executable, "-m", *command], environment, ready)

    def _api(self, port: int) -> list[str]:
        return ["prefect", "server", "start", "--no-services", f"--host={LOOPBACK}", f"--port={port}", "--no-ui"]

    def stop(self) -> None:
        """End it all."""
        for part in self.parts.values():
            part.end()
        self.edge.process.stop()
        for server in (self.aws, self.redis, self.prefect_database, self.ledger_database, self.target, self.hub):
            server.stop()
        for server in (self.prefect_database, self.ledger_database):
            server.remove()

    def _start_ledger_database(self) -> None:
        """On a disk of its own, which can be filled."""
        if self.disk.mounted:
            passable(self.disk.directory)
            self.ledger_database.directory.mkdir()
            write_private(self.ledger_database.directory / "data.place", str(self.disk.directory / "data"))
        self.ledger_database.start()

    def _write_login(self, place: str, role: str) -> None:
        (self.directory / place).mkdir(exist_ok=True)
        write_login(self.login(place), *self._admin.login_of(role))

    def _fill(self) -> None:
        """The hub's and the database's set-up, and the first version of every secret."""
        write_private(self._root, self.hub.root_token)
        self._admin = Hub(self.hub.address, self.hub.root_token)
        where = (self.target.host, self.target.port, self.target.superuser_password)
        prepare(self._admin, *where, ())
        with database(*where) as cursor:
            for name in self.names:
                password = secrets.token_urlsafe(24)
                cursor.execute(f"CREATE ROLE {name}_a LOGIN PASSWORD %s IN ROLE {OWNER}", (password,))
                cursor.execute(f"ALTER ROLE {name}_a SET role = {OWNER}")
                cursor.execute(f"GRANT {name}_a TO {ADMIN} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE")
                first = {"username": f"{name}_a", "password": password, "host": where[0], "port": where[1]}
                self._admin.first(f"fleet/{name}", first)
        self._admin.first("asked-for/by-event", {"value": secrets.token_urlsafe(24)})
        self.catalogue.mkdir()
        port = self.edge.ports["target"]
        head = CATALOGUE.format(host=LOOPBACK, port=port, region=REGION, aws=self.aws.endpoint_url)
        entries = [SECRET.format(name=name) for name in self.names]
        (self.catalogue / "fleet.yaml").write_text("".join([head, *entries]))
        for server, name in ((self.prefect_database, "prefect"), (self.ledger_database, "ledger")):
            with database(LOOPBACK, server.port, server.superuser_password) as cursor:
                cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        passwords = f"{LOOPBACK}:*:ledger:postgres:{self.ledger_database.superuser_password}\n"
        write_private(self.directory / "ledger.pgpass", passwords)

    # ---- commands

    def _prefect(self, *arguments: str) -> str:
        return self._run(["prefect", "--no-prompt", *arguments], self.server_settings("migration"))

    def bootstrap(self) -> None:
        """Register everything, and let the keeper look more often than every quarter of an hour."""
        self._write_login("operator", WORKER)
        self.keyturn("setup", "prefect", "--apply")
        keeper = self.ask("GET", "deployments/name/keeper/keeper")
        body = [{"active": True, "schedule": {"interval": self.between_looks}}]
        if not any(schedule["schedule"].get("interval") for schedule in keeper["schedules"]):
            self.ask("POST", f"deployments/{keeper['id']}/schedules", body)

    def keyturn(self, *arguments: str, check: bool = True) -> str:
        """What one of Keyturn's commands says, with an operator's login."""
        settings = self.client_settings("operator") | self.keyturn_settings("operator")
        return self._run(["keyturn.cli", *arguments], settings, check=check)

    def keyturn_json(self, *arguments: str) -> Any:
        """The same, with its JSON read."""
        return json.loads(self.keyturn(*arguments, "--json", check=False))

    def _run(self, module: list[str], settings: Mapping[str, str], *, check: bool = True) -> str:
        command, environment = [sys.executable, "-m", *module], {**inherited(), **settings}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=600)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(module)}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def ask(self, method: str, path: str, body: Any = None, port: int | None = None) -> Any:
        """What Prefect's API answers at its address, or one of its servers at its own port."""
        address = f"http://{LOOPBACK}:{port}/api" if port else self.api
        login = ("keyturn", self.password)
        answer = httpx.request(method, f"{address}/{path}", json=body, auth=login, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def all(self, kind: str, **asked: Any) -> list[dict[str, Any]]:
        """Everything of one kind, such as ``flow_runs``."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.ask("POST", f"{kind}/filter", {"limit": 200, "offset": len(found), **asked})
            found += page
            if len(page) < 200:
                return found

    def sql(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """The rows that the target gives a superuser."""
        connecting = psycopg2.connect(
            host=LOOPBACK,
            port=self.target.port,
            user=self.target.superuser,
            password=self.target.superuser_password,
            dbname="postgres",
        )
        with closing(connecting) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return list(cursor.fetchall())

    def installed(self) -> int:
        """How many secrets have had a candidate at the target."""
        return int(self.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'app%%\\_b'")[0][0])

    def operators_hub(self) -> HubSettings:
        """How an operator who may do everything reaches the hub, past the network that is cut."""
        return HubSettings(self.hub.address, login=TokenLogin(file=str(self._root)))

    def emit(self, name: str, resource: str, number: str) -> None:
        """Send an event to Prefect, as somebody's own system does."""
        occurred, about = datetime.now(UTC).isoformat(), {"prefect.resource.id": resource}
        event = {"event": name, "resource": about, "occurred": occurred, "id": str(uuid4()), "payload": {"n": number}}
        self.ask("POST", "events", [event])

    def make_due(self, paths: list[str]) -> None:
        """Let these look as old as can be."""
        with closing(VaultHub(self.operators_hub())) as hub:
            for path in paths:
                hub.patch_metadata(path, {ROTATED_AT: LONG_AGO})


def answers(port: int) -> Callable[[], bool]:
    """Whether an API is ready."""
    return lambda: http_status(port, "/api/ready") == HTTPStatus.OK
