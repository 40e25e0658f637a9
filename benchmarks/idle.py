"""What an idle installation adds to Prefect's database, the hub's audit log and the ledger.

    python benchmarks/idle.py [--secrets 20] [--runs 5]

Every scheduled flow is run this many times through its deployment and a process worker, with nothing to do: what each
run has added, and what all of a day's runs add by their schedules. Prefect's database is measured as SQLite packs it
(VACUUM INTO), without free space. It grows until the oldest rows reach the retention.
"""

import argparse
import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from cronsim import CronSim

from deployments.bootstrap import EMERGENCY, bootstrap
from keyturn.catalogue import load_catalogue
from keyturn.core.workspaces import HOUSE
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.registry import open_workspace
from local.openbao import OpenBao
from local.prepare import Hub
from local.support.ports import free_port
from tests.support.prefect_server import PrefectServer, wait_for

DAY = timedelta(days=1)
SECRET = """
  idle/app{number:05}:
    owner: benchmark
    classification: internal
    rotation: {{strategy: generated, interval: 30d, grace: 1h}}
    destinations: [{{store: files, name: app{number:05}.json}}]
"""


@dataclass(frozen=True)
class Sizes:
    """How large everything is, in bytes."""

    prefect: int
    audit: int
    ledger: int

    def since(self, before: "Sizes", runs: int) -> "Sizes":
        """What each run has added."""
        return Sizes(*((getattr(self, name) - getattr(before, name)) // runs for name in self.__dataclass_fields__))


class Installation:
    """A hub, a Prefect server and a worker for each queue, under one temporary directory."""

    def __init__(self, directory: Path, stack: ExitStack, count: int) -> None:
        self.directory = directory
        self.hub = stack.enter_context(OpenBao(directory / "openbao", free_port(), dev=True))
        hub = Hub(self.hub.address, self.hub.root_token)
        hub.set_up()
        self.catalogue = directory / "catalogue"
        self.write_catalogue(count)
        token = directory / "token"
        token.write_text(self.hub.root_token)
        self.settings = HubSettings(self.hub.address, login=TokenLogin(file=str(token)))
        self.ledger = directory / "ledger" / "ledger.db"
        os.environ["KEYTURN_LEDGER"] = str(self.ledger)
        self.server = PrefectServer(directory / "prefect")
        stack.callback(self.server.stop)
        self.server.start()
        stack.enter_context(self.server.in_use())
        self.workspace = open_workspace(load_catalogue(self.catalogue, {}), VaultHub(self.settings))

    def write_catalogue(self, count: int) -> None:
        """Secrets, each with a copy in a file."""
        self.catalogue.mkdir()
        stores = f"stores:\n  files: {{kind: file, directory: {self.directory / 'copies'}}}\nsecrets:"
        entries = [SECRET.format(number=number) for number in range(count)]
        (self.catalogue / "idle.yaml").write_text("".join([stores, *entries]))

    def install(self, stack: ExitStack) -> None:
        """Make every secret and copy, register everything, and start the workers; schedules are paused."""
        from keyturn.rotation.run import rotate

        for path in self.workspace.catalogue.secrets:
            rotate(self.workspace, path)
        asyncio.run(bootstrap(self.workspace.catalogue, None, lambda _: None))
        for deployment in self.server.all("deployments"):
            self.server.post(f"deployments/{deployment['id']}/pause_deployment")
        leading = {"VAULT_ADDR": self.hub.address, "KEYTURN_HUB_TOKEN_FILE": str(self.settings.login.file)}
        self.server.settle(leading | {"KEYTURN_CATALOGUE": str(self.catalogue)})
        self.server.start_worker(HOUSE, {})
        stack.enter_context(self.server.another_worker(HOUSE, EMERGENCY, {}))

    def sizes(self) -> Sizes:
        """Wait until Prefect has written everything."""
        time.sleep(3)
        return Sizes(packed(self.server.home / "prefect.db"), self.hub.audit_log.stat().st_size, packed(self.ledger))

    def run(self, deployment: str, parameters: dict[str, Any]) -> None:
        """One run, to its end."""
        body = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        run = self.server.post(f"deployments/{deployment}/create_flow_run", **body)["id"]
        over = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        wait_for(lambda: self.server.get(f"flow_runs/{run}")["state_type"] in over, 120)


def packed(database: Path) -> int:
    """The size of a SQLite file without slack."""
    copy = database.parent / "packed.db"
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    return copy.stat().st_size


def a_day(cron: str) -> int:
    """How often a schedule runs in a day."""
    start = datetime(2026, 1, 5, tzinfo=UTC)
    return sum(1 for _ in takewhile(lambda tick: tick <= start + DAY, CronSim(cron, start)))


def measured(installation: Installation, runs: int) -> Iterator[tuple[str, int, Sizes]]:
    """For each scheduled deployment: its name, its runs a day, and what each has added."""
    for deployment in sorted(installation.server.all("deployments"), key=lambda listed: str(listed["name"])):
        crons = [schedule["schedule"]["cron"] for schedule in deployment["schedules"]]
        if not crons:
            continue
        parameters = deployment["schedules"][0]["parameters"]
        installation.run(deployment["id"], parameters)  # the first finds what the last flow has left
        before = installation.sizes()
        for _ in range(runs):
            installation.run(deployment["id"], parameters)
        yield deployment["name"], sum(map(a_day, crons)), installation.sizes().since(before, runs)


def shown(size: float) -> str:
    """Bytes in readable units."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        installation = Installation(Path(directory), stack, options.secrets)
        installation.install(stack)
        totals = [0, 0, 0]
        print(f"{'flow':<18} {'a day':>6} {'Prefect':>10} {'audit log':>10} {'ledger':>10}   (each run)")
        for name, often, sizes in measured(installation, options.runs):
            each = (sizes.prefect, sizes.audit, sizes.ledger)
            totals = [total + often * size for total, size in zip(totals, each, strict=True)]
            print(f"{name:<18} {often:>6} {' '.join(f'{shown(size):>10}' for size in each)}", flush=True)
        print(f"{'all, in a day':<25} {' '.join(f'{shown(total):>10}' for total in totals)}")


if __name__ == "__main__":
    main()
