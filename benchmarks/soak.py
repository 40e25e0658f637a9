"""One secret rotated repeatedly while applications use it: none may be locked out, and nothing may grow.

    python benchmarks/soak.py [--rotations 1000] [--clients 8]

Each rotation is decided, installed, verified, promoted and pushed to the local AWS, and the old account is retired
once no session uses it. Each client reads the secret from the hub, logs in and queries, in a loop. A login that is
refused although its version is still CURRENT is a failure. The exit status is 1 if there was any, or if something grew
between the tenth rotation and the last. Times are for the ratio between runs on one machine alone.
"""

import argparse
import logging
import os
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pytest
from hvac.exceptions import InvalidPath

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.processes import end_in_order, memory
from keyturn.core.errors import TransientError
from keyturn.core.overrides import Waive
from keyturn.core.ports.hub import HubSecret
from keyturn.core.rotation_record import HISTORY_KEPT
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.outcome import Outcome, RunState, unsettled
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from local.emulators.aws import LocalAws
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import DATABASE, Hub, prepare
from local.support.ports import free_port
from tests.support import local_aws
from tests.support.lab import Declared, Lab
from tests.support.world import REGION, TOKEN_VARIABLE, World

SETTLED_AT = 10
"""The rotation from which on nothing may grow: the hub's ten versions and both accounts are there by then."""

RETRIES = 4
"""How often a rotation that failed on a busy server is retried."""

PATIENCE = 60.0
"""Seconds for clients to release the old account."""


class Client(threading.Thread):
    """One application. ``failures`` are versions that were CURRENT and were refused."""

    def __init__(self, world: World, path: str, over: threading.Event) -> None:
        super().__init__()
        self._world, self._path, self._over = world, path, over
        self._hub = world.hub()
        self.queries = 0
        self.failures: list[int] = []
        self.error: Exception | None = None

    def run(self) -> None:
        """Use the secret until it is over."""
        try:
            while not self._over.is_set():
                self._use(self._read())
        except Exception as error:  # noqa: BLE001  a thread has no other way to report
            self.error = error
        finally:
            self._hub.close()

    def _use(self, current: HubSecret) -> None:
        try:
            self._query(current.fields.reveal())
            self.queries += 1
        except psycopg2.OperationalError:
            if self._read().version == current.version:
                self.failures.append(current.version)

    def _query(self, login: dict[str, Any]) -> None:
        connection = psycopg2.connect(
            host=self._world.host,
            port=self._world.port,
            dbname=DATABASE,
            user=login["username"],
            password=login["password"],
            sslmode="disable",
        )
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT current_user")
        finally:
            connection.close()

    def _read(self) -> HubSecret:
        secret = self._hub.read(self._path)
        if secret is None:
            raise LookupError(self._path)
        return secret


@contextmanager
def servers() -> Iterator[tuple[Lab, LocalAws]]:
    """A hub, a database and a cloud without stored data."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hub = stack.enter_context(OpenBao(directory / "openbao", free_port(), dev=True))
        database = stack.enter_context(PostgreSQL(directory / "postgres", free_port(), durable=False))
        prepare(Hub(hub.address, hub.root_token), database.host, database.port, database.superuser_password, ())
        os.environ[TOKEN_VARIABLE] = hub.root_token
        aws = stack.enter_context(LocalAws(directory / "aws", free_port()))
        local_aws.use(aws, stack.enter_context(pytest.MonkeyPatch.context()))
        password, log = database.superuser_password, str(database.process.log)
        world = World(hub.address, hub.root_token, database.host, database.port, password, log)
        yield stack.enter_context(Lab(world)), aws


def rotated(workspace: Workspace, path: str) -> Outcome:
    """One rotation; a transient failure is shown and retried, as a task does it."""
    for number in range(RETRIES):
        try:
            return rotate(workspace, path, Trigger.FORCE)
        except TransientError as error:
            print(f"tried again: {error}", flush=True)
            time.sleep(2**number)
    return rotate(workspace, path, Trigger.FORCE)


def turn(workspace: Workspace, path: str) -> None:
    """One rotation and its retirement. Raises SystemExit if it did not succeed."""
    outcome = rotated(workspace, path)
    if outcome.state is not RunState.ROTATED or unsettled(outcome):
        raise SystemExit(f"a rotation ended as {outcome.state}: {unsettled(outcome) or outcome.message}")
    deadline = time.monotonic() + PATIENCE
    while (retirement := retire(workspace, path, Waive.GRACE)).held_by:
        if time.monotonic() > deadline:
            raise SystemExit(f"the old account is held: {'; '.join(retirement.held_by)}")
        time.sleep(0.005)


def sizes(lab: Lab, secret: Declared, name: str, endpoint: str) -> dict[str, int]:
    """How much is stored of the secret, and where."""
    cloud = boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=endpoint)
    # AWS removes versions without a stage by itself, the local one keeps them.
    staged = [stages for stages in cloud.describe_secret(SecretId=name)["VersionIdsToStages"].values() if stages]
    info = lab.hub.describe(secret.path)
    like = f"{secret.users[0][:-2]}%"
    return {
        "versions in the hub": len(info.versions) if info else 0,
        "staged versions in the cloud": len(staged),
        "accounts in the database": len(lab.sql("SELECT 1 FROM pg_roles WHERE rolname LIKE %s", like)),
        "leases in the hub": leases(lab),
        "entries of Keyturn's own state": len(list(lab.hub.list_state("rotations"))),
        "rotations in the record": min(len(load_record(lab.open(secret).workspace, secret.path).history), HISTORY_KEPT),
    }


def leases(lab: Lab, prefix: str = "") -> int:
    """How many leases the hub has, of its engines and its logins."""
    try:
        keys = lab.root.sys.list_leases(prefix)["data"]["keys"]
    except InvalidPath:
        return 0
    return sum(leases(lab, prefix + key) if key.endswith("/") else 1 for key in keys)


def main() -> int:
    """Run it and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rotations", type=int, default=1000, help="how many (default 1000, at least 20)")
    parser.add_argument("--clients", type=int, default=8, help="applications at work meanwhile (default 8)")
    options = parser.parse_args()
    if options.rotations < 2 * SETTLED_AT:
        parser.error(f"--rotations: at least {2 * SETTLED_AT}")
    logging.disable(logging.WARNING)
    end_in_order()
    with servers() as (lab, aws):
        return soak(lab, aws, options.rotations, options.clients)


def soak(lab: Lab, aws: LocalAws, rotations: int, count: int) -> int:
    """The loop; the exit status."""
    name = f"soak-{secrets.token_hex(4)}"
    secret = lab.alternating(destinations=({"store": "memory", "name": name},))
    store = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": aws.endpoint_url}
    from keyturn.providers.aws.secrets_manager import AwsSecretsManager

    copies = AwsSecretsManager("memory", region=REGION, endpoint_url=aws.endpoint_url)
    workspace = lab.open(secret, store_settings=store, stores=lambda _: copies).workspace
    over = threading.Event()
    clients = [Client(lab.world, secret.path, over) for _ in range(count)]
    for client in clients:
        client.start()
    began, early, held = time.monotonic(), dict[str, int](), 0.0
    try:
        for number in range(1, rotations + 1):
            turn(workspace, secret.path)
            if number == SETTLED_AT:
                early = sizes(lab, secret, name, aws.endpoint_url)
            if number == max(SETTLED_AT, rotations // 10):
                held = memory(os.getpid())
            if number % max(1, rotations // 10) == 0:
                print(f"{number} rotations, {sum(len(client.failures) for client in clients)} failures", flush=True)
    finally:
        over.set()
        for client in clients:
            client.join()
    return report(clients, rotations, time.monotonic() - began, early, sizes(lab, secret, name, aws.endpoint_url), held)


def report(
    clients: list[Client], rotations: int, seconds: float, early: dict[str, int], late: dict[str, int], held: float
) -> int:
    """Print the result; the exit status."""
    failures = [version for client in clients for version in client.failures]
    errors = [type(client.error).__name__ for client in clients if client.error]
    queries = sum(client.queries for client in clients)
    rates = f"{rotations / seconds:.1f} rotations and {queries / seconds:.0f} logins a second"
    print(f"\n{rotations} rotations in {seconds:.0f} s, {queries} logins and queries by {len(clients)} clients")
    print(rates)
    print(f"failures: {len(failures)}{f', clients that broke: {errors}' if errors else ''}")
    print(f"\n{'':34}{f'at {SETTLED_AT}':>8}{f'at {rotations}':>8}")
    for what, count in late.items():
        print(f"{what:34}{early[what]:8}{count:8}")
    early_memory = f"memory of this process, MB, at {max(SETTLED_AT, rotations // 10)}"
    print(f"{early_memory} and at the end: {held:.0f}, {memory(os.getpid()):.0f}")
    record = "rotations in the record"
    grew = [what for what, count in late.items() if count > (HISTORY_KEPT if what == record else early[what])]
    for what in grew:
        print(f"grew: {what}")
    return 1 if failures or errors or grew else 0


if __name__ == "__main__":
    sys.exit(main())
