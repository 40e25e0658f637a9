"""The real ODBC drivers of PostgreSQL and MariaDB, out of Debian's packages, behind unixODBC and pyodbc.

They load libraries of their own, some of which this process has in other versions: so a child process has them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.core.errors import KeyturnError, NotFound
from local.programs import find_program

POSTGRESQL, MARIADB = "psqlodbcw.so", "libmaodbc.so"

CHILD = """
import json, sys
import pyodbc
pyodbc.pooling = False
for line in sys.stdin:
    try:
        pyodbc.connect(json.loads(line), timeout=10).close()
        said = ""
    except pyodbc.Error as error:
        said = str(error.args[0]) + " " + str(error.args[-1])
    print(json.dumps(said), flush=True)
"""


class Odbc:
    """``drivers`` are the paths of the two by their file names."""

    def __init__(self, drivers: dict[str, Path], child: "subprocess.Popen[str]") -> None:
        self.drivers = drivers
        self._child = child

    def refuses(self, text: str) -> str:
        """Log in by this connection string; what the driver says against it, empty where it is let in."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(json.dumps(text), file=self._child.stdin, flush=True)
        return str(json.loads(self._child.stdout.readline()))


@contextmanager
def odbc() -> Iterator[Odbc]:
    """Both drivers. Where they can't be had, the test is passed over and says so, and fails where CI=true."""
    try:
        found = find_program("isql")
        drivers = {name: _driver(found.root or Path("/"), name) for name in (POSTGRESQL, MARIADB)}
    except KeyturnError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"there are no ODBC drivers here: {error}")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **found.environment, "ODBCSYSINI": "/nonexistent", "ODBCINI": "/nonexistent"},
    ) as child:
        yield Odbc(drivers, child)
        assert child.stdin is not None
        child.stdin.close()


def _driver(root: Path, name: str) -> Path:
    for path in root.glob(f"usr/lib/*/odbc/{name}"):
        return path
    raise NotFound("find", name, "the package does not hold it", "Install odbc-postgresql and odbc-mariadb")
