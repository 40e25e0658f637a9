"""How long until a leaked credential is refused, and until every copy of it is gone.

    python benchmarks/revoke.py [--runs 50] [--secrets 100] [--commands 5]

Three parts, each against the real OpenBao on durable storage, PostgreSQL that waits for its disk, and three local
clouds. First, one secret with three copies is revoked ``--runs`` times as plain functions, timed from the trigger until
a login with the old password is refused, and until the incident is closed with its proof. Second, the same by the
command line, from the start of its process until an outside login is refused. Third, ``--secrets`` secrets in one
incident. The first run of the first two parts, which opens every connection or compiles every module, is left out.
"""

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg2

from benchmarks.bare import PROJECT, REGION
from benchmarks.clouds import ENVIRONMENT, Clouds
from benchmarks.limits import loosen
from benchmarks.processes import end_in_order
from keyturn.catalogue import load_catalogue
from keyturn.providers.vault.hub import VaultHub
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.selector import Selection, Selector, select_secrets
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.wiring.registry import open_workspace
from local.postgres import PostgreSQL
from local.prepare import ADMIN, OWNER, Hub, database, prepare
from local.support.ports import free_port

ROOT: Final = Path(__file__).parent.parent
PAUSE: Final = 0.01
"""Seconds between two logins with the leaked password: without a pause they use a whole core."""
GOAL_ONE: Final = 1.0
GOAL_COMMAND: Final = 0.5
GOAL_MANY: Final = 60.0
SETTINGS: Final = """
stores:
  aws: {{kind: aws-secrets-manager, region: {region}, endpoint_url: "http://127.0.0.1:{aws}", writes_per_second: 1e6}}
  azure: {{kind: azure-key-vault, vault_url: "https://localhost:{azure}", authority: "https://localhost:{azure}",
           ca_file: {ca}, writes_per_second: 1e6}}
  gcp: {{kind: gcp-secret-manager, project: {project}, endpoint: "127.0.0.1:{gcp}", writes_per_second: 1e6}}
targets:
  ml-postgres: {{kind: postgresql, host: {host}, port: {port}, database: ml, admin: targets/ml-postgres}}
secrets:
"""
SECRET: Final = """
  revoke/{name}:
    owner: benchmark
    classification: restricted
    rotation: {{strategy: alternating-users, target: ml-postgres, users: [{name}_a, {name}_b], owner_role: ml_trainer,
                interval: 30d, grace: 1m}}
    destinations: [{{store: aws, name: {name}}}, {{store: azure, name: {name}}}, {{store: gcp, name: {name}}}]
"""


class Site:
    """All of the servers, with secrets whose copies are in sync."""

    def __init__(self, directory: Path, stack: ExitStack, secrets: int) -> None:
        self.directory = directory
        loosen(directory)
        os.environ["KEYTURN_LEDGER"] = str(directory / "ledger" / "ledger.db")
        os.environ["XDG_STATE_HOME"] = str(directory / "state")
        self.clouds = Clouds(directory, stack, [], 0, durable=True)
        self.clouds.start()
        self.postgres = stack.enter_context(PostgreSQL(directory / "postgres", free_port()))
        stack.callback(self.postgres.remove)
        self.names = [f"app{number:04}" for number in range(secrets)]
        self._fill()
        self.catalogue = self._declare()
        self.workspace = open_workspace(load_catalogue(self.catalogue, os.environ), VaultHub(self.clouds.settings))
        carry_out(self.workspace, plan(self.workspace), local_executor(Applier(self.workspace)))

    def _fill(self) -> None:
        hub, pg = Hub(self.clouds.hub.address, self.clouds.hub.root_token), self.postgres
        prepare(hub, pg.host, pg.port, pg.superuser_password, ())
        with database(pg.host, pg.port, pg.superuser_password) as cursor:
            for name in self.names:
                for user in (f"{name}_a", f"{name}_b"):
                    cursor.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'first-{user}' IN ROLE {OWNER}")
                    cursor.execute(f"ALTER ROLE {user} SET role = {OWNER}")
                    cursor.execute(f"GRANT {user} TO {ADMIN} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE")
        with ThreadPoolExecutor(8) as pool:
            first = lambda name: {"username": f"{name}_a", "password": f"first-{name}_a", "host": pg.host}  # noqa: E731
            list(pool.map(lambda name: hub.first(f"revoke/{name}", first(name)), self.names))

    def _declare(self) -> Path:
        ports = {name: self.clouds.ports[name] for name in ("aws", "azure", "gcp")}
        where = {"region": REGION, "project": PROJECT, "ca": self.clouds.tls.authority}
        text = SETTINGS.format(**ports, **where, host=self.postgres.host, port=self.postgres.port)
        catalogue = self.directory / "revoke-catalogue"
        catalogue.mkdir()
        (catalogue / "all.yaml").write_text(text + "".join(SECRET.format(name=name) for name in self.names))
        return catalogue

    def fields(self, name: str) -> dict[str, Any]:
        """What the hub serves now."""
        secret = self.workspace.hub.read(f"revoke/{name}")
        if secret is None:
            raise SystemExit(f"the hub has no version of {name}")
        return secret.fields.reveal()

    def refused(self, fields: dict[str, Any]) -> bool:
        """Whether the database refuses this login."""
        where = {"host": self.postgres.host, "port": self.postgres.port, "dbname": "ml"}
        try:
            psycopg2.connect(**where, user=fields["username"], password=fields["password"]).close()
        except psycopg2.OperationalError:
            return True
        return False


class Intruder:
    """Logs in with the leaked password repeatedly, and notes the first refusal."""

    def __init__(self, site: Site, fields: dict[str, Any]) -> None:
        self._site, self._fields = site, fields
        self._thread = threading.Thread(target=self._try)
        self.shut_out_at = 0.0
        self._thread.start()

    def _try(self) -> None:
        while not self._site.refused(self._fields):
            time.sleep(PAUSE)
        self.shut_out_at = time.perf_counter()

    def wait(self) -> float:
        """When it was first refused."""
        self._thread.join(60)
        return self.shut_out_at


def revoke(workspace: Workspace, selection: Selection, name: str) -> IncidentStatus:
    """One incident from its trigger to its proof."""
    now = datetime.now(UTC)
    run.begin(
        workspace,
        selection,
        incident=name,
        reason="benchmark",
        mode=Mode.REPLACE,
        selector=name,
        triggered_at=now,
        consent=Consent(selection.size),
    )
    stands = run.finish(workspace, name)
    if stands.open:
        raise SystemExit(f"the incident {name} is open: {stands.left[:3]}")
    return stands


def plain(site: Site, runs: int) -> tuple[list[float], list[float]]:
    """Seconds until the first refusal, and until all is proven, of each run but the first."""
    refused, closed = [], []
    for number in range(runs + 1):
        intruder = Intruder(site, site.fields(site.names[0]))
        time.sleep(0.05)
        began = time.perf_counter()
        revoke(site.workspace, Selection((f"revoke/{site.names[0]}",)), f"B-{number}")
        closed.append(time.perf_counter() - began)
        refused.append(intruder.wait() - began)
    return refused[1:], closed[1:]


def command(site: Site, runs: int) -> list[float]:
    """Seconds from the start of the command's process until the first refusal."""
    env = {
        **os.environ,
        **ENVIRONMENT,
        "VAULT_ADDR": site.clouds.hub.address,
        "VAULT_TOKEN": site.clouds.hub.root_token,
        "KEYTURN_CATALOGUE": str(site.catalogue),
        # An installed Keyturn has its bytecode; if Python writes none, it is kept elsewhere for this run.
        "PYTHONPYCACHEPREFIX": str(site.directory / "bytecode"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    taken = []
    for number in range(runs + 1):
        intruder = Intruder(site, site.fields(site.names[0]))
        arguments = [
            f"revoke/{site.names[0]}",
            "--reason",
            "benchmark",
            "--incident",
            f"C-{number}",
            "--yes",
            "--local",
        ]
        began = time.perf_counter()
        line = [sys.executable, "-m", "keyturn.cli", "revoke", *arguments]
        done = subprocess.run(line, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the command failed: {done.stderr}")
        taken.append(intruder.wait() - began)
    return taken[1:]


def many(site: Site) -> tuple[float, float]:
    """Seconds until the last of all secrets in one incident is refused, and until the incident is closed."""
    selection = select_secrets(site.workspace, Selector(paths=("revoke/*",)))
    began = time.perf_counter()
    stands = revoke(site.workspace, selection, "MANY")
    taken = time.perf_counter() - began
    slowest = max((secret.refused_at or secret.cut_at or datetime.now(UTC)) for secret in stands.secrets)
    return (slowest - stands.incident.triggered_at).total_seconds(), taken


def row(name: str, taken: Sequence[float], goal: float | None = None) -> None:
    """One line of the table."""
    ordered = sorted(taken)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    wanted = f"  goal {goal:g} s: {'met' if ordered[-1] <= goal else 'MISSED'}" if goal else ""
    middle = statistics.median(ordered)
    print(f"{name:52}{ordered[0]:8.3f}{middle:9.3f}{high:9.3f}{ordered[-1]:9.3f}{wanted}")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="revocations of one secret (default 50)")
    parser.add_argument("--secrets", type=int, default=100, help="secrets in the one large incident (default 100)")
    parser.add_argument("--commands", type=int, default=5, help="revocations by the command line (default 5)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    end_in_order()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        site = Site(Path(directory), stack, options.secrets)
        refused, closed = plain(site, options.runs)
        by_command = command(site, options.commands) if options.commands else []
        last, over = many(site)
        print(f"{'seconds':52}{'least':>8}{'median':>9}{'95 in 100':>9}{'most':>9}")
        row("one secret: the old login is refused", refused, GOAL_ONE)
        row("one secret: every copy gone, and proven", closed)
        if by_command:
            row("by the command, from its start: refused", by_command, GOAL_COMMAND)
        secrets, copies = options.secrets, 3 * options.secrets
        print(f"{secrets} secrets, {copies} copies, one incident: the last is refused after {last:.2f} s,")
        print(f"  closed after {over:.1f} s, goal {GOAL_MANY:.0f} s")
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
