"""How long until a secret that a thief has read is refused, with no person involved.

    python benchmarks/react.py [--runs 20] [--busy 200]

The real OpenBao with its audit file, PostgreSQL that waits for its disk, and one `keyturn serve` that reads the file
and ends each secret that is read by anyone but its readers (``react: revoke``). Timed from the moment before the read
to the first login with the read value that the database refuses; each run has another secret. Meanwhile an application
reads what it may, ``--busy`` times a second.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import hvac
import psycopg2

from benchmarks.limits import loosen
from benchmarks.processes import end_in_order
from benchmarks.revoke import PAUSE, ROOT, row
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import ADMIN, OWNER, Hub, database, prepare
from local.support.ports import free_port

GOAL: Final = 10.0
PATIENCE: Final = 120.0
READS: Final = 'path "secret/data/react/*" { capabilities = ["read"] }'


class Site:
    """The servers, secrets with an account each, and a thief who reads without permission."""

    def __init__(self, directory: Path, stack: ExitStack, secrets: int) -> None:
        self.directory = directory
        loosen(directory)
        self.hub = stack.enter_context(OpenBao(directory / "hub", free_port(), dev=True))
        self.postgres = stack.enter_context(PostgreSQL(directory / "postgres", free_port()))
        self.names = [f"app{number:04}" for number in range(secrets)]
        self._fill()
        self.root = hvac.Client(url=self.hub.address, token=self.hub.root_token)
        self.root.sys.create_or_update_policy("reads", READS)
        for who in ("thief", "payments"):
            self.root.auth.approle.create_or_update_approle(who, token_policies=["reads"])
        self.thief, self.application = self.login("thief"), self.login("payments")

    def _fill(self) -> None:
        hub, pg = Hub(self.hub.address, self.hub.root_token), self.postgres
        prepare(hub, pg.host, pg.port, pg.superuser_password, ())
        with database(pg.host, pg.port, pg.superuser_password) as cursor:
            for name in self.names:
                for user in (f"{name}_a", f"{name}_b"):
                    cursor.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'first-{user}' IN ROLE {OWNER}")
                    cursor.execute(f"ALTER ROLE {user} SET role = {OWNER}")
                    cursor.execute(f"GRANT {user} TO {ADMIN} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE")
        for name in self.names:
            hub.first(f"react/{name}", {"username": f"{name}_a", "password": f"first-{name}_a", "host": pg.host})

    def login(self, role: str) -> hvac.Client:
        """A client that is logged in by this role."""
        ways = self.root.auth.approle
        ids = (ways.read_role_id(role)["data"]["role_id"], ways.generate_secret_id(role)["data"]["secret_id"])
        token = ways.login(*ids, use_token=False)["auth"]["client_token"]
        return hvac.Client(url=self.hub.address, token=token)

    def catalogue(self) -> Path:
        """Every secret, its readers, and the reaction to other reads."""
        rotation = {"strategy": "alternating-users", "target": "ml-postgres", "owner_role": OWNER, "interval": "30d"}
        about = {"owner": "benchmark", "classification": "restricted"}
        secrets = {
            f"react/{name}": about | {"rotation": rotation | {"users": [f"{name}_a", f"{name}_b"], "grace": "1m"}}
            for name in self.names
        }
        target = {"kind": "postgresql", "host": self.postgres.host, "port": self.postgres.port, "database": "ml"}
        rule = {"other-reader": {"react": "revoke"}}
        readers = ["approle payments", "root", "root (root policy)"]
        monitors = {"react": {"paths": ["react/*"], "readers": readers, "rules": rule}}
        logs = {"bao": {"kind": "hub-file", "log_file": str(self.hub.audit_log), "pace": "1s"}}
        targets = {"ml-postgres": target | {"admin": "targets/ml-postgres"}}
        directory = self.directory / "catalogue"
        directory.mkdir()
        data = {"targets": targets, "secrets": secrets, "monitors": monitors, "access_logs": logs}
        (directory / "all.yaml").write_text(json.dumps(data))
        return directory

    @contextmanager
    def served(self) -> Iterator[None]:
        """While `keyturn serve` reads the hub's log."""
        env = os.environ | {
            "VAULT_ADDR": self.hub.address,
            "VAULT_TOKEN": self.hub.root_token,
            "KEYTURN_CATALOGUE": str(self.catalogue()),
            "KEYTURN_LEDGER": str(self.directory / "ledger" / "ledger.db"),
            "KEYTURN_TRAIL": str(self.directory / "trail"),
            "XDG_STATE_HOME": str(self.directory / "state"),
        }
        lines = self.directory / "serve.txt"
        command = [sys.executable, "-m", "keyturn", "serve", f"--listen=127.0.0.1:{free_port()}", "--only=access/bao"]
        with lines.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=env, cwd=ROOT) as child:
            try:
                wait_until(lambda: b"access/bao: runs here" in lines.read_bytes())
                # The log's earlier entries are learned first.
                time.sleep(5)
                yield
            finally:
                child.send_signal(signal.SIGTERM)

    @contextmanager
    def busy(self, each_second: int) -> Iterator[None]:
        """While the application reads one of its secrets after the other."""
        over = threading.Event()

        def read() -> None:
            number = 0
            while not over.wait(1 / each_second):
                read_secret(self.application, self.names[number % len(self.names)])
                number += 1

        thread = threading.Thread(target=read)
        if each_second:
            thread.start()
        yield
        over.set()
        if each_second:
            thread.join()

    def refused(self, fields: dict[str, Any]) -> bool:
        """Whether the database refuses this login."""
        where: dict[str, Any] = {"host": self.postgres.host, "port": self.postgres.port, "dbname": "ml"}
        try:
            psycopg2.connect(**where, user=fields["username"], password=fields["password"]).close()
        except psycopg2.OperationalError:
            return True
        return False

    def shut_out(self, name: str) -> float:
        """Seconds from the thief's read until what was read is refused."""
        began = time.perf_counter()
        fields = read_secret(self.thief, name)
        wait_until(lambda: self.refused(fields))
        return time.perf_counter() - began


def read_secret(client: hvac.Client, name: str) -> dict[str, Any]:
    """The hub's value of a secret."""
    secret = client.secrets.kv.v2.read_secret_version(f"react/{name}", raise_on_deleted_version=True)
    return dict(secret["data"]["data"])


def wait_until(happens: Any) -> None:
    """Ends the benchmark if it does not."""
    over = time.monotonic() + PATIENCE
    while not happens():
        if time.monotonic() > over:
            raise SystemExit(f"nothing came within {PATIENCE:g} s")
        time.sleep(PAUSE)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="secrets that a thief reads (default 20)")
    parser.add_argument("--busy", type=int, default=200, help="reads a second by the application (default 200)")
    options = parser.parse_args()
    end_in_order()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        site = Site(Path(directory), stack, options.runs + 1)
        with site.served(), site.busy(options.busy):
            taken = [site.shut_out(name) for name in site.names][1:]
        print(f"{'seconds':52}{'least':>8}{'median':>9}{'95 in 100':>9}{'most':>9}")
        row("from a thief's read until what was read is refused", taken, GOAL)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
