"""Many due secrets in one run, on the same servers: the flow `rotate-due` compared with the same protocol as
plain functions in as many threads.

    python benchmarks/fleet.py [--secrets 200] [--side-by-side 8] [--rounds 5]

Each round makes every secret due and rotates all of them on both sides; the sides alternate in who starts. Both find
the same work: what the last side left is retired, and all servers are idle. The flow also looks first for what is due,
which the plain functions need not.
Wall time is until the side returns. CPU time is what this process, the hub and the database use until then. The
Prefect server's own is listed separately, since in production it has its own machine, but here it shares the same
cores: the wall times include it, and the last ratio counts it.
Needs Linux, for the CPU times of processes. Compare the ratios, not the numbers of another machine.
"""

import argparse
import asyncio
import logging
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.processes import at_rest, cpu, end_in_order
from benchmarks.rotation import prefect_server
from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.core.overrides import Waive
from keyturn.core.ports.hub import ROTATED_AT
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.registry import open_workspace
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import ADMIN, Hub, database, prepare
from local.support.ports import free_port
from local.support.process import Process

LONG_AGO = "2020-01-01T00:00:00+00:00"
PLAIN, FLOW = "plain functions", "the flow rotate-due"
GOAL = 1.25
TARGET = """
targets:
  ml-postgres: {{kind: postgresql, host: {host}, port: {port}, database: ml, admin: targets/ml-postgres}}
secrets:
"""
SECRET = """
  fleet/{name}:
    owner: benchmark
    classification: internal
    rotation: {{strategy: alternating-users, target: ml-postgres, users: [{name}_a, {name}_b], owner_role: ml_trainer,
                interval: 30d, grace: 1m}}
"""


class Servers:
    """The hub and the database, with a fleet in them, under one temporary directory."""

    def __init__(self, directory: Path, stack: ExitStack, fleet: int) -> None:
        self.hub = stack.enter_context(OpenBao(directory / "openbao", free_port(), dev=True))
        self.postgres = stack.enter_context(PostgreSQL(directory / "postgres", free_port(), durable=False))
        admin = Hub(self.hub.address, self.hub.root_token)
        prepare(admin, self.postgres.host, self.postgres.port, self.postgres.superuser_password, ())
        names = [f"app{number:04}" for number in range(fleet)]
        self.fill(admin, names)
        self.catalogue = directory / "catalogue"
        self.catalogue.mkdir()
        entries = [SECRET.format(name=name) for name in names]
        target = TARGET.format(host=self.postgres.host, port=self.postgres.port)
        (self.catalogue / "fleet.yaml").write_text("".join([target, *entries]))
        token = directory / "token"
        token.write_text(self.hub.root_token)
        self.settings = HubSettings(self.hub.address, login=TokenLogin(file=str(token)))

    def fill(self, admin: Hub, names: Iterable[str]) -> None:
        """Give every secret its first version and its first user."""
        where = (self.postgres.host, self.postgres.port)
        with database(*where, self.postgres.superuser_password) as cursor:
            for name in names:
                password = secrets.token_urlsafe(24)
                cursor.execute(f"CREATE ROLE {name}_a LOGIN PASSWORD %s IN ROLE ml_trainer", (password,))
                cursor.execute(f"ALTER ROLE {name}_a SET role = ml_trainer")
                cursor.execute(f"GRANT {name}_a TO {ADMIN} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE")
                first = {"username": f"{name}_a", "password": password, "host": where[0], "port": where[1]}
                admin.first(f"fleet/{name}", first)

    @property
    def processes(self) -> list[Process]:
        """What both sides use."""
        return [self.hub.process, self.postgres.process]


@dataclass(frozen=True)
class Taken:
    """What one side of one round took, in seconds."""

    wall: float
    cpu: float
    server: float


def make_due(workspace: Workspace, path: str) -> None:
    """End what the last rotation left, and make the secret look as old as possible."""
    retire(workspace, path, Waive.EVERYTHING)
    workspace.hub.patch_metadata(path, {ROTATED_AT: LONG_AGO})


def plain(workspace: Workspace, paths: list[str], threads: int) -> int:
    """Run the protocol of every secret, in threads; how many were rotated."""
    with ThreadPoolExecutor(threads) as pool:
        return sum(
            outcome.state is RunState.ROTATED for outcome in pool.map(lambda path: rotate(workspace, path), paths)
        )


def through_prefect(threads: int) -> int:
    """Run the flow, in this process; how many secrets it worked on. Raises if one failed."""
    from flows.rotate_due import rotate_due

    return asyncio.run(rotate_due(side_by_side=threads))


def register(servers: Servers, catalogue: Catalogue) -> None:
    """What the flow needs: the workspace's address, and a place at the target at its server."""
    from deployments.bootstrap import make_limits
    from keyturn.core.workspaces import CATALOGUE_VARIABLE

    os.environ |= {"VAULT_ADDR": servers.settings.address, "KEYTURN_HUB_TOKEN_FILE": str(servers.settings.login.file)}
    os.environ[CATALOGUE_VARIABLE] = str(servers.catalogue)
    asyncio.run(make_limits(catalogue))


def measure(work: Callable[[], int], fleet: int, shared: list[Process], server: Process) -> Taken:
    """Run one side of one round; it must have done all of the work."""
    at_rest(*shared, server)
    cpu_before, server_before, began = cpu(*shared) + time.process_time(), cpu(server), time.perf_counter()
    done = work()
    wall, spent = time.perf_counter() - began, cpu(*shared) + time.process_time() - cpu_before
    at_rest(server)
    if done != fleet:
        raise SystemExit(f"{done} of {fleet} secrets were rotated")
    return Taken(wall, spent, cpu(server) - server_before)


def report(sides: dict[str, list[Taken]], fleet: int) -> None:
    """Each side's median, and the ratios of the rounds."""
    print(f"{'':26}{'wall s':>8}{'ms a secret':>13}{'CPU s':>8}{'Prefect server, CPU s':>24}")
    for name, rounds in sides.items():
        wall, spent, server = (statistics.median(column) for column in zip(*map(vars_of, rounds), strict=True))
        print(f"{name:26}{wall:8.2f}{wall / fleet * 1000:13.1f}{spent:8.2f}{server:24.2f}")
    slow, fast = sides[FLOW], sides[PLAIN]
    walls = [a.wall / b.wall for a, b in zip(slow, fast, strict=True)]
    cpus = [a.cpu / b.cpu for a, b in zip(slow, fast, strict=True)]
    print(f"\nPrefect to plain, wall: {statistics.median(walls):.2f} ({spread(walls)}), goal at most {GOAL}")
    print(f"Prefect to plain, CPU:  {statistics.median(cpus):.2f} ({spread(cpus)})")
    everything = [(a.cpu + a.server) / (b.cpu + b.server) for a, b in zip(slow, fast, strict=True)]
    print(f"the same with the Prefect server's CPU: {statistics.median(everything):.2f} ({spread(everything)})")


def vars_of(taken: Taken) -> tuple[float, float, float]:
    """A row of the table."""
    return taken.wall, taken.cpu, taken.server


def spread(ratios: list[float]) -> str:
    """All of them, in the order of the rounds."""
    return ", ".join(f"{ratio:.2f}" for ratio in ratios)


def measured(fleet: int, threads: int, rounds: int) -> dict[str, list[Taken]]:
    """The rounds of both sides, alternating."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        os.environ["KEYTURN_LEDGER"] = str(Path(directory) / "ledger.db")
        servers = Servers(Path(directory), stack, fleet)
        workspace = open_workspace(load_catalogue(servers.catalogue, os.environ), VaultHub(servers.settings))
        paths = sorted(workspace.catalogue.secrets)
        server = stack.enter_context(prefect_server(Path(directory) / "prefect"))
        register(servers, workspace.catalogue)
        work: dict[str, Callable[[], int]] = {
            PLAIN: lambda: plain(workspace, paths, threads),
            FLOW: lambda: through_prefect(threads),
        }
        sides: dict[str, list[Taken]] = {name: [] for name in work}
        for number in range(-1, rounds):
            for name in sorted(work, reverse=number % 2 == 0):
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(lambda path: make_due(workspace, path), paths))
                taken = measure(work[name], fleet, servers.processes, server)
                # The first round opens connections and imports what is needed.
                if number >= 0:
                    sides[name].append(taken)
        return sides


def main() -> None:
    """Measure both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, default=200, help="how many are due (default 200)")
    parser.add_argument("--side-by-side", type=int, default=8, help="at work at once on each side (default 8)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of both sides (default 5)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    end_in_order()
    report(measured(options.secrets, options.side_by_side, options.rounds), options.secrets)


if __name__ == "__main__":
    main()
