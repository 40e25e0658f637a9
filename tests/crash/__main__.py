"""The whole matrix as a table: strategies by places to stop at, with the outcome of each.

make crash-matrix                     every strategy, every place
make crash-matrix ARGS="--only redis" the strategies whose name holds "redis"
make crash-matrix ARGS=--verbose      every case on a line of its own
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.local.openbao import OpenBao
from deployments.local.postgres import PostgreSQL
from deployments.local.prepare import Hub, prepare
from deployments.local.support.ports import free_port
from tests.crash.kinds import KINDS, Kind
from tests.crash.matrix import KILLED, LOST, Result, Row
from tests.crash.site import Site, forget_foreign_settings
from tests.support.lab import Lab
from tests.support.world import TOKEN_VARIABLE, World


@contextmanager
def world() -> Iterator[World]:
    """A hub in memory and a database that forgets everything."""
    with (
        tempfile.TemporaryDirectory() as directory,
        OpenBao(Path(directory) / "openbao", free_port(), dev=True) as hub,
        PostgreSQL(Path(directory) / "postgres", free_port(), durable=False) as database,
    ):
        filling = Hub(hub.address, hub.root_token)
        prepare(filling, database.host, database.port, database.superuser_password, ())
        filling.database_engine(database.host, database.port, "unused")
        os.environ[TOKEN_VARIABLE] = hub.root_token
        password, log = database.superuser_password, str(database.process.log)
        yield World(hub.address, hub.root_token, database.host, database.port, password, log)


def row(site: Site, kind: Kind, verbose: bool) -> list[Result]:
    """Run one strategy's cases, and print its line."""
    began, results = time.monotonic(), list[Result]()

    def told(result: Result) -> None:
        results.append(result)
        if verbose:
            say(f"    {result.case.how:12} {result.case.place}: {'; '.join(result.problems) or 'finished'}")

    with Row(site, kind) as opened:
        opened.run(opened.cases(), told)
    places = Counter(result.case.how for result in results)
    breaches = sum(bool(result.problems) for result in results)
    outcome = f"{breaches} BREACHES" if breaches else "all finished by the next run"
    seconds = time.monotonic() - began
    say(f"{kind.name:36}{places[KILLED]:8}{places[LOST]:14}   {outcome}   ({seconds:.0f} s)")
    return results


def say(line: str) -> None:
    """Print at once: a line is minutes apart from the next."""
    print(line, flush=True)  # noqa: T201


def main() -> int:
    """Print the table; the exit status is 1 when anything was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="strategies whose name holds this")
    parser.add_argument("--verbose", action="store_true", help="show every case")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    # So that the servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kinds = [kind() for kind in KINDS if arguments.only in kind.name]
    forget_foreign_settings()
    results: list[Result] = []
    with world() as servers, Lab(servers) as lab, Site(lab) as site:
        say(f"{'strategy':36}{KILLED:>8}{LOST:>14}   outcome")
        for kind in kinds:
            results += row(site, kind, arguments.verbose)
    bad = [result for result in results if result.problems]
    for result in bad:
        say(f"BREACH, {result.case.how} at {result.case.place}: {'; '.join(result.problems)}")
    say(f"{len(results)} cases of {len(kinds)} strategies, {len(bad)} breaches")
    return 1 if bad or not results else 0


if __name__ == "__main__":
    sys.exit(main())
