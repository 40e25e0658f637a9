"""One rotation of alternating users, compared in one run: a naive script, AWS's four steps, Keyturn's protocol
as plain functions, and the same through Prefect.

    python benchmarks/rotation.py [--runs 30]

Every side uses the same servers: the real OpenBao on durable storage, PostgreSQL that waits for its disk, and the
local Secrets Manager. Times are medians in milliseconds; compare the ratios, not the numbers of another machine.
"""

import argparse
import asyncio
import json
import logging
import os
import secrets
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

os.environ.update(PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1", PREFECT_LOGGING_LEVEL="ERROR")
sys.path.insert(0, str(Path(__file__).parent.parent))

import boto3
import hvac
import psycopg2

from benchmarks.limits import loosen
from local.emulators.aws import LocalAws
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import Hub, database, prepare
from local.support.ports import free_port
from local.support.process import Process

PATH = "ml-training/database"
REGION = "eu-central-1"
NAIVE, FOUR_STEPS = "naive script", "AWS's four steps"
SCHEDULED = "Keyturn, by schedule"
ASKED_FOR = "Keyturn, asked for by a person"
THROUGH_PREFECT = "the same, through Prefect"
INTERVAL = timedelta(days=31)
GOAL = 2.0
"""Times the naive script's, with the ledger."""
CATALOGUE = """
targets:
  ml-postgres: {{kind: postgresql, host: {host}, port: {port}, database: ml, admin: targets/ml-postgres}}
secrets:
  ml-training/database:
    owner: benchmark
    classification: internal
    rotation:
      strategy: alternating-users
      target: ml-postgres
      users: [ml_trainer_a, ml_trainer_b]
      owner_role: ml_trainer
      interval: 30d
      grace: 1m
"""


class Servers:
    """The hub, the database and Secrets Manager, prepared, under one temporary directory."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.hub = stack.enter_context(OpenBao(directory / "openbao", free_port()))
        self.postgres = stack.enter_context(PostgreSQL(directory / "postgres", free_port()))
        self.aws = stack.enter_context(LocalAws(directory / "aws", free_port()))
        stack.callback(self.postgres.remove)
        admin = Hub(self.hub.address, self.hub.root_token)
        prepare(admin, self.postgres.host, self.postgres.port, self.postgres.superuser_password, ())
        self.admin = admin.first("targets/ml-postgres", {}, "keyturn")
        self.catalogue = directory / "catalogue"
        self.catalogue.mkdir()
        filled = CATALOGUE.format(host=self.postgres.host, port=self.postgres.port)
        (self.catalogue / "benchmark.yaml").write_text(filled)

    def connect(self, user: str, password: str) -> "psycopg2.extensions.connection":
        return psycopg2.connect(
            host=self.postgres.host, port=self.postgres.port, dbname="ml", user=user, password=password
        )


def naive(servers: Servers) -> Callable[[], None]:
    """What a script does: read, ALTER ROLE, log in, write. It loses the password if it dies half way."""
    kv = hvac.Client(url=servers.hub.address, token=servers.hub.root_token).secrets.kv.v2
    with database(servers.postgres.host, servers.postgres.port, servers.postgres.superuser_password) as cursor:
        for user in ("naive_a", "naive_b"):
            cursor.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'first'")
            cursor.execute(f"GRANT {user} TO keyturn_admin WITH ADMIN OPTION")
    kv.create_or_update_secret("naive", {"username": "naive_a", "password": "first"})
    connection = servers.connect(servers.admin["username"], servers.admin["password"])

    def rotate() -> None:
        old = kv.read_secret_version("naive", raise_on_deleted_version=True)["data"]["data"]
        user = "naive_b" if old["username"] == "naive_a" else "naive_a"
        password = secrets.token_urlsafe(24)
        with connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE {user} PASSWORD %s", (password,))
        servers.connect(user, password).close()
        kv.create_or_update_secret("naive", {**old, "username": user, "password": password})

    return rotate


def four_steps(servers: Servers) -> Callable[[], None]:
    """AWS's createSecret, setSecret, testSecret and finishSecret for alternating users, from its guide."""
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(servers.aws.credentials)
    client = boto3.client("secretsmanager", region_name=REGION, endpoint_url=servers.aws.endpoint_url)
    with database(servers.postgres.host, servers.postgres.port, servers.postgres.superuser_password) as cursor:
        for user in ("aws_a", "aws_b"):
            cursor.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'first'")
            cursor.execute(f"GRANT {user} TO keyturn_admin WITH ADMIN OPTION")
    client.create_secret(Name="four-steps", SecretString=json.dumps({"username": "aws_a", "password": "first"}))
    client.create_secret(Name="four-steps-admin", SecretString=json.dumps(servers.admin))

    def value(name: str, stage: str) -> dict[str, Any]:
        read = client.get_secret_value(SecretId=name, VersionStage=stage)
        return dict(json.loads(read["SecretString"]))

    def rotate() -> None:
        token = str(uuid.uuid4())
        described = client.describe_secret(SecretId="four-steps")
        current_version = next(v for v, s in described["VersionIdsToStages"].items() if "AWSCURRENT" in s)
        current = value("four-steps", "AWSCURRENT")
        user = "aws_b" if current["username"] == "aws_a" else "aws_a"
        pending = {**current, "username": user, "password": client.get_random_password()["RandomPassword"]}
        client.put_secret_value(
            SecretId="four-steps",
            ClientRequestToken=token,
            SecretString=json.dumps(pending),
            VersionStages=["AWSPENDING"],
        )
        pending, current = value("four-steps", "AWSPENDING"), value("four-steps", "AWSCURRENT")
        servers.connect(current["username"], current["password"]).close()
        admin = value("four-steps-admin", "AWSCURRENT")
        with servers.connect(admin["username"], admin["password"]) as connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE {pending['username']} PASSWORD %s", (pending["password"],))
        connection.close()
        pending = value("four-steps", "AWSPENDING")
        servers.connect(pending["username"], pending["password"]).close()
        client.update_secret_version_stage(
            SecretId="four-steps",
            VersionStage="AWSCURRENT",
            MoveToVersionId=token,
            RemoveFromVersionId=current_version,
        )

    return rotate


def plain(servers: Servers) -> tuple[Callable[[], None], Callable[[], None]]:
    """Keyturn's whole protocol as plain functions, which checks more and survives a crash at every step: by schedule, a
    month later each time, and by request of a person, which the hub counts against a limit.
    """
    from keyturn.catalogue import load_catalogue
    from keyturn.core.overrides import Waive
    from keyturn.core.schedule.due import Trigger
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.rotation.retire import retire
    from keyturn.rotation.run import rotate
    from keyturn.wiring.registry import open_workspace

    os.environ["KEYTURN_LEDGER"] = str(servers.directory / "ledger.db")
    loosen(servers.directory)
    opened = open_workspace(load_catalogue(servers.catalogue, os.environ), VaultHub(hub_settings(servers)))
    passed = timedelta()
    clock = lambda: datetime.now(UTC) + passed  # noqa: E731
    workspace = replace(opened, clock=clock, hub_clock=clock)

    def scheduled() -> None:
        turned(Trigger.SCHEDULE)

    def asked_for() -> None:
        turned(Trigger.FORCE)

    def turned(trigger: Trigger) -> None:
        if not rotate(workspace, PATH, trigger).promoted:
            raise RuntimeError("it was not due")

    def before() -> None:
        nonlocal passed
        retire(workspace, PATH, Waive.EVERYTHING)
        passed += INTERVAL

    scheduled.before = asked_for.before = before  # type: ignore[attr-defined]
    return scheduled, asked_for


def hub_settings(servers: Servers) -> Any:
    """The hub's address, and the file with a token."""
    from keyturn.settings.hub import HubSettings
    from keyturn.settings.hub_login import TokenLogin

    token = servers.directory / "token"
    token.write_text(servers.hub.root_token)
    return HubSettings(servers.hub.address, login=TokenLogin(file=str(token)))


def measure(sides: dict[str, Callable[[], Any]], runs: int) -> dict[str, list[float]]:
    """Milliseconds of each run of each side, without the first. ``once.before`` runs outside the clock.

    The sides alternate, so that other work on this machine slows all of them alike.
    """
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs + 1):
        for name, once in sides.items():
            getattr(once, "before", lambda: None)()
            began = time.perf_counter()
            once()
            taken[name].append((time.perf_counter() - began) * 1000)
    return {name: times[1:] for name, times in taken.items()}


async def through_prefect(servers: Servers, runs: int, before: Callable[[], Any]) -> list[float]:
    """The flow `rotate-secret` in this process, against its own Prefect server."""
    from flows.rotate import rotate_secret
    from keyturn.core.schedule.due import Trigger
    from keyturn.core.workspaces import CATALOGUE_VARIABLE

    settings = hub_settings(servers)
    os.environ |= {"VAULT_ADDR": settings.address, "KEYTURN_HUB_TOKEN_FILE": settings.login.file}
    os.environ[CATALOGUE_VARIABLE] = str(servers.catalogue)
    loosen(servers.directory)
    taken = []
    for _ in range(runs + 1):
        before()
        # A loop without pause meets the server's SQLite while it still writes the last run's events.
        await asyncio.sleep(0.5)
        began = time.perf_counter()
        await rotate_secret(PATH, Trigger.FORCE)
        taken.append((time.perf_counter() - began) * 1000)
    return taken[1:]


@contextmanager
def prefect_server(directory: Path) -> Iterator[Process]:
    """A Prefect server on a free port, and this process's settings pointing at it as they do in the local stack."""
    from deployments.healthy import http_status
    from local.environment import IN_BATCHES, NO_TOKENS
    from local.support.tls import certificate_in

    port, authority = free_port(), certificate_in(directory / "tls").authority
    os.environ.update(PREFECT_HOME=str(directory), PREFECT_API_URL=f"http://127.0.0.1:{port}/api")
    os.environ.update(NO_TOKENS, PREFECT_API_SSL_CERT_FILE=str(authority))
    process = Process("prefect-server", directory)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host=127.0.0.1", f"--port={port}"]
    ready = lambda: http_status(port, "/api/health") == 200  # noqa: E731
    process.start(command, ready=ready, environment={**os.environ, **IN_BATCHES}, timeout=120)
    try:
        yield process
    finally:
        process.stop()


def report(rows: dict[str, list[float]]) -> None:
    """Medians, quartiles and ratios."""
    unit = statistics.median(rows[NAIVE])
    print(f"{'':32}{'median ms':>10}{'quartiles':>18}{'to naive':>10}")
    for name, taken in rows.items():
        low, middle, high = statistics.quantiles(taken, n=4)
        print(f"{name:32}{middle:10.1f}{f'{low:.1f} to {high:.1f}':>18}{middle / unit:10.2f}")
    plain_ms, asked_ms, flow_ms = (statistics.median(rows[n]) for n in (SCHEDULED, ASKED_FOR, THROUGH_PREFECT))
    aws = statistics.median(rows[FOUR_STEPS])
    ratio = plain_ms / unit
    print(f"\ngoal: at most {GOAL:.1f} times the naive script: {ratio:.2f}, {'met' if ratio <= GOAL else 'MISSED'};")
    print(
        f"  faster than AWS's four steps: {plain_ms / aws:.2f} of their time, {'met' if plain_ms < aws else 'MISSED'}"
    )
    print(f"Prefect adds {flow_ms - asked_ms:.0f} ms to a rotation")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def measured(runs: int) -> dict[str, list[float]]:
    """Milliseconds of each run of every side."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        servers = Servers(Path(directory), stack)
        scheduled, asked_for = plain(servers)
        sides = {NAIVE: naive(servers), FOUR_STEPS: four_steps(servers)}
        rows = measure({**sides, SCHEDULED: scheduled, ASKED_FOR: asked_for}, runs)
        stack.enter_context(prefect_server(Path(directory) / "prefect"))
        before = asked_for.before  # type: ignore[attr-defined]
        rows[THROUGH_PREFECT] = asyncio.run(through_prefect(servers, runs, before))
        return rows


def main() -> None:
    """Measure every side and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="rotations on each side (default 30)")
    runs = parser.parse_args().runs
    logging.disable(logging.WARNING)
    report(measured(runs))


if __name__ == "__main__":
    main()
