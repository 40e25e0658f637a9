"""What a large catalogue costs: opening it, checking all of it, and ending one of its secrets.

    python benchmarks/catalogue.py [--secrets 1000 5000 10000] [--runs 3]

For each number of secrets there is a real OpenBao on durable storage with a version, metadata and the record of a past
rotation for every secret, one copy of each at the local Secrets Manager, and a PostgreSQL that accepts one of them.
Commands are timed from the start of their process. "First" is without caches of earlier runs. Time is wall time, CPU
is that of the process alone; the fastest run counts, since others may use this machine.
"""

import argparse
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg2

from benchmarks.processes import end_in_order
from keyturn.catalogue import load_catalogue
from keyturn.cli.failures import UNKNOWN
from keyturn.core.ports.hub import ROTATED_AT, TOKEN
from keyturn.core.rotation_record import Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.decide import sight
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.quiet_period import list_secrets, listed_records
from keyturn.settings.hub import HubSettings
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.wiring.registry import open_workspace
from local.emulators.aws import LocalAws
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import ADMIN, OWNER, Hub, database, prepare
from local.support.ports import free_port

ROOT: Final = Path(__file__).parent.parent
REGION: Final = "eu-central-1"
FILE: Final = 500
"""Secrets in a file."""
FOLDER: Final = 100
"""Secrets in a folder of the hub."""
AT_ONCE: Final = 8
SHARED: Final = """
targets:
  ml-postgres: {{kind: postgresql, host: {host}, port: {port}, database: ml, admin: targets/ml-postgres}}
stores:
  aws: {{kind: aws-secrets-manager, region: {region}, endpoint_url: "{aws}", writes_per_second: 1e6}}
"""
SECRET: Final = """
  {path}:
    owner: {team}@example.com
    classification: internal
    rotation:
      strategy: alternating-users
      target: ml-postgres
      users: [{name}_a, {name}_b]
      owner_role: ml_trainer
      interval: 30d
      grace: 1h
    destinations:
      - {{store: aws, name: {name}}}
"""
GOALS: Final = {
    "open, first": 6.0,
    "open, unchanged": 1.0,
    "keyturn status": 10.0,
    "keyturn due": 10.0,
    "a look of rotate-due": 4.0,
    "a look of retire": 4.0,
    "keyturn revoke: refused": 1.0,
    "keyturn --help": 0.25,
}
"""Seconds with 10,000 secrets."""


def path_of(number: int) -> str:
    """The hub's path of a secret."""
    return f"team-{number // FOLDER:03}/app{number:05}"


class Site:
    """A hub, a database and a cloud with that many secrets in them."""

    def __init__(self, directory: Path, stack: ExitStack, secrets: int) -> None:
        self.directory, self.secrets = directory, secrets
        os.environ["KEYTURN_LEDGER"] = str(directory / "ledger.db")
        os.environ["XDG_STATE_HOME"], os.environ["XDG_CACHE_HOME"] = str(directory / "state"), str(directory / "cache")
        self.hub = stack.enter_context(OpenBao(directory / "openbao", free_port()))
        self.postgres = stack.enter_context(PostgreSQL(directory / "postgres", free_port()))
        stack.callback(self.postgres.remove)
        self.aws = stack.enter_context(LocalAws(directory / "aws", free_port()))
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(self.aws.credentials)
        os.environ.update(VAULT_ADDR=self.hub.address, VAULT_TOKEN=self.hub.root_token)
        self.catalogue = self.declare()
        self.fill()
        workspace = self.open()
        carry_out(workspace, plan(workspace), local_executor(Applier(workspace)))

    def declare(self) -> Path:
        """The catalogue's files."""
        catalogue = self.directory / "catalogue"
        catalogue.mkdir()
        where = {"host": self.postgres.host, "port": self.postgres.port}
        (catalogue / "shared.yaml").write_text(SHARED.format(**where, region=REGION, aws=self.aws.endpoint_url))
        for begin in range(0, self.secrets, FILE):
            entries = [self.entry(number) for number in range(begin, min(begin + FILE, self.secrets))]
            (catalogue / f"secrets-{begin // FILE:03}.yaml").write_text("secrets:" + "".join(entries))
        return catalogue

    def declare_one(self) -> Path:
        """A catalogue of the first secret alone."""
        alone = self.directory / "alone"
        alone.mkdir()
        shared = (self.catalogue / "shared.yaml").read_text()
        (alone / "all.yaml").write_text(f"{shared}secrets:{self.entry(0)}")
        return alone

    def entry(self, number: int) -> str:
        """The entry of one secret."""
        path = path_of(number)
        return SECRET.format(path=path, team=path.partition("/")[0], name=f"app{number:05}")

    def fill(self) -> None:
        """Write versions, metadata and records; the first secret's account exists, too."""
        where = (self.postgres.host, self.postgres.port, self.postgres.superuser_password)
        prepare(Hub(self.hub.address, self.hub.root_token), *where, ())
        with database(*where) as cursor:
            for user in ("app00000_a", "app00000_b"):
                cursor.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'first' IN ROLE {OWNER}")
                cursor.execute(f"ALTER ROLE {user} SET role = {OWNER}")
                cursor.execute(f"GRANT {user} TO {ADMIN} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE")
        hub = VaultHub(HubSettings.from_environment())
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda number: self.fill_one(hub, number), range(self.secrets)))

    def fill_one(self, hub: VaultHub, number: int) -> None:
        """A secret with a past rotation."""
        path, now = path_of(number), datetime.now(UTC)
        hub.write(path, SecretFields({"username": f"app{number:05}_a", "password": "first"}), cas=0)
        token = f"token-{number:05}"
        hub.patch_metadata(path, {ROTATED_AT: now.isoformat(), TOKEN: token})
        past = Rotation(
            token, 1, Stage.RETIRED, "alternating-users", "", "host/1/1", now, 0, version=1, promoted_at=now,
            closed_at=now + timedelta(hours=1),
        )  # fmt: skip
        hub.write_state(f"rotations/{path}", Record(history=(past,)).to_data(), cas=0)

    def open(self) -> Workspace:
        """The catalogue and its hub, opened."""
        return open_workspace(load_catalogue(self.catalogue, os.environ), VaultHub(HubSettings.from_environment()))

    def forget(self) -> None:
        """Drop the caches of earlier openings."""
        shutil.rmtree(self.directory / "cache", ignore_errors=True)

    def command(self, *arguments: str) -> None:
        """A command in a process of its own. SystemExit if it fails."""
        env = {**os.environ, "KEYTURN_CATALOGUE": str(self.catalogue), "PYTHONPYCACHEPREFIX": str(self.directory / "c")}
        # An installed command is compiled already.
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        line = [sys.executable, "-m", "keyturn.cli", *arguments]
        done = subprocess.run(line, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
        # No worker runs here, so `keyturn status` ends with "not everything could be checked".
        if done.returncode not in (0, UNKNOWN):
            raise SystemExit(f"{' '.join(arguments)} failed: {done.stderr[-2000:]}")

    def refused(self, fields: dict[str, Any]) -> bool:
        """Whether the database refuses this login."""
        where = {"host": self.postgres.host, "port": self.postgres.port, "dbname": "ml"}
        try:
            psycopg2.connect(**where, user=fields["username"], password=fields["password"]).close()
        except psycopg2.OperationalError:
            return True
        return False


def look_for_due(site: Site) -> None:
    """What a run of rotate-due checks."""
    workspace = site.open()
    paths = sorted(workspace.catalogue.secrets)
    with list_secrets(workspace, len(paths)) as listing:
        sightings = side_by_side(lambda path: sight(workspace, path, listing), paths, AT_ONCE)
    if any(sighting.work for sighting in sightings):
        raise SystemExit("nothing should be due")


def look_for_unretired(site: Site) -> None:
    """What a run of retire checks."""
    workspace = site.open()
    paths = sorted(workspace.catalogue.secrets)
    with listed_records(workspace, len(paths)) as record:
        if any(secret_record.retiring for secret_record in side_by_side(record, paths, AT_ONCE)):
            raise SystemExit("nothing should wait for its end")


def shut_out(site: Site, incident: str, catalogue: Path) -> float:
    """Seconds from the start of `keyturn revoke`, with that catalogue, until an outside login is refused."""
    secret = VaultHub(HubSettings.from_environment()).read(path_of(0))
    fields = secret.fields.reveal() if secret else {}
    arguments = [path_of(0), "--reason", "benchmark", "--incident", incident, "--yes", "--local"]
    arguments += ["--catalogue", str(catalogue)]
    with ThreadPoolExecutor(1) as pool:
        began = time.perf_counter()
        running = pool.submit(site.command, "revoke", *arguments)
        while not site.refused(fields):
            time.sleep(0.002)
        taken = time.perf_counter() - began
        running.result()
    return taken


@dataclass(frozen=True)
class Taken:
    """Seconds that a call took."""

    wall: float
    cpu: float


def measure(work: Callable[[], object]) -> Taken:
    """Wall time, and CPU time of this process and of its ended children."""
    before, began = cpu(), time.perf_counter()
    work()
    return Taken(time.perf_counter() - began, cpu() - before)


def cpu() -> float:
    """Seconds of CPU so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measured(site: Site, runs: int) -> Iterator[tuple[str, Taken]]:
    """Each row with its fastest run."""
    repeated: dict[str, Callable[[], object]] = {
        "open, unchanged": site.open,
        "keyturn catalogue validate": lambda: site.command("catalogue", "validate", str(site.catalogue)),
        "keyturn status": lambda: site.command("status"),
        "keyturn due": lambda: site.command("due"),
        "a look of rotate-due": lambda: look_for_due(site),
        "a look of retire": lambda: look_for_unretired(site),
    }
    yield "a look of rotate-due, first", measure(lambda: look_for_due(site))
    site.forget()
    yield "open, first", measure(site.open)
    for name, work in repeated.items():
        yield name, min((measure(work) for _ in range(runs)), key=lambda result: result.wall)
    alone = site.declare_one()
    shut_out(site, "B-0", alone)
    sides: dict[str, list[float]] = {"keyturn revoke: refused": [], "the same with one secret": []}
    for number in range(1, runs + 1):
        for (name, taken), catalogue in zip(sides.items(), (site.catalogue, alone), strict=True):
            taken.append(shut_out(site, f"B-{number}-{len(name)}", catalogue))
    for name, taken in sides.items():
        yield name, Taken(min(taken), 0.0)
    yield (
        "keyturn --help",
        min((measure(lambda: site.command("--help")) for _ in range(runs)), key=lambda result: result.wall),
    )


def main() -> None:
    """Measure each size, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, nargs="+", default=[1000, 5000, 10000], help="sizes of the catalogue")
    parser.add_argument("--runs", type=int, default=3, help="of each row the least of so many counts (default 3)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    end_in_order()
    for secrets in options.secrets:
        with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
            site = Site(Path(directory), stack, secrets)
            print(f"\n{f'{secrets:,} secrets, seconds':32}{'wall':>8}{'CPU':>8}", flush=True)
            for name, taken in measured(site, options.runs):
                goal = GOALS.get(name)
                verdict = f"   goal {goal:g}: {'met' if taken.wall <= goal else 'MISSED'}" if goal else ""
                print(f"{name:32}{taken.wall:8.2f}{taken.cpu:8.2f}{verdict}", flush=True)
            print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)


if __name__ == "__main__":
    main()
