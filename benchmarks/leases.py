"""How many jobs take accounts of one role at once, and what the client adds to the hub's and the database's work.

    python benchmarks/leases.py [--leases 200] [--processes 4]

Against the real OpenBao and PostgreSQL: ``--processes`` processes take ``--leases`` credentials together, each logs in
once with every one, all are renewed, and all are returned. The same calls are made by the SDK alone, by as many
processes, in the same run. Each part is timed from the moment at which all processes are ready.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg2

from benchmarks.processes import end_in_order
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import DATABASE, Hub, prepare
from local.support.ports import free_port

ROLE: Final = "jobs"
PARTS: Final = ("take", "log in", "renew", "give back")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leases", type=int, default=200)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--job", choices=("client", "sdk"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        run_job(CLIENTS[options.job](), options.leases)
        return
    end_in_order()
    with ExitStack() as stack:
        measure(options, servers(stack))


def measure(options: argparse.Namespace, environment: dict[str, str]) -> None:
    """Each way once, alternating."""
    print(f"{options.leases} leases of one role in {options.processes} processes, seconds:")
    print(f"{'':10}" + "".join(f"{part:>12}" for part in PARTS))
    for way in ("sdk", "client"):
        times = side_by_side(way, options.leases // options.processes, options.processes, environment)
        print(f"{way:10}" + "".join(f"{seconds:12.2f}" for seconds in times))


def servers(stack: ExitStack) -> dict[str, str]:
    """A hub and a database, and their addresses for a process."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    database = stack.enter_context(PostgreSQL(directory / "postgres", free_port()))
    hub = stack.enter_context(OpenBao(directory / "openbao", free_port(), dev=True))
    token = hub.root_token
    prepared = Hub(hub.address, token, hub.ca_file)
    prepare(prepared, database.host, database.port, database.superuser_password, ())
    prepared.database_engine(database.host, database.port, (ROLE,), "24h")
    return {
        "VAULT_ADDR": hub.address,
        "VAULT_TOKEN": token,
        "PGHOST": database.host,
        "PGPORT": str(database.port),
        "PGDATABASE": DATABASE,
        "PGSSLMODE": "disable",
    }


def side_by_side(way: str, leases: int, processes: int, environment: dict[str, str]) -> list[float]:
    """How long each part took, from the first process's start to the last one's end."""
    command = [sys.executable, __file__, f"--job={way}", f"--leases={leases}"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    jobs = [subprocess.Popen(command, env={**os.environ, **environment}, **pipes) for _ in range(processes)]
    times = []
    for _ in ("ready", *PARTS):
        began = time.perf_counter()
        for job in jobs:
            print(file=job.stdin, flush=True)
        for job in jobs:
            assert job.stdout is not None  # noqa: S101
            json.loads(job.stdout.readline())
        times.append(time.perf_counter() - began)
    for job in jobs:
        job.communicate()
    return times[1:]


class ByClient:
    """Keyturn's client."""

    def __init__(self) -> None:
        from keyturn.wiring.sources import open_client

        self._client = open_client(["hub"], poll=0)

    def take(self) -> Any:
        # None: the role's lease is not shortened without the benchmark's knowledge.
        return self._client.lease(f"database/creds/{ROLE}", ttl=None)

    def login(self, lease: Any) -> tuple[str, str]:
        return lease["username"].reveal(), lease["password"].reveal()

    def renew(self, lease: Any) -> None:
        lease.renew()

    def give_back(self, lease: Any) -> None:
        lease.close()


class BySdk:
    """The same requests, made by the SDK."""

    def __init__(self) -> None:
        import hvac

        self._client = hvac.Client(url=os.environ["VAULT_ADDR"], token=os.environ["VAULT_TOKEN"])

    def take(self) -> Any:
        return self._client.secrets.database.generate_credentials(ROLE)

    def login(self, lease: Any) -> tuple[str, str]:
        return lease["data"]["username"], lease["data"]["password"]

    def renew(self, lease: Any) -> None:
        self._client.sys.renew_lease(lease["lease_id"])

    def give_back(self, lease: Any) -> None:
        self._client.adapter.post("/v1/sys/leases/revoke", json={"lease_id": lease["lease_id"], "sync": True})


CLIENTS: Final[dict[str, Any]] = {"client": ByClient, "sdk": BySdk}


def run_job(client: Any, count: int) -> None:
    """Take, use, renew and return as many, each part on request."""
    done("ready")
    leases = [client.take() for _ in range(count)]
    done("taken")
    for lease in leases:
        user, password = client.login(lease)
        psycopg2.connect(user=user, password=password).close()
    done("used")
    for lease in leases:
        client.renew(lease)
    done("renewed")
    for lease in leases:
        client.give_back(lease)
    done("given back")


def done(part: str) -> None:
    """Report it, once asked."""
    sys.stdin.readline()
    print(json.dumps(part), flush=True)


if __name__ == "__main__":
    main()
