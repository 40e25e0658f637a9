"""Runs the commands that Keyturn shows for an emergency, on the servers themselves, as an administrator does."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import psycopg2

from keyturn.catalogue.manual_commands import manual_commands
from keyturn.core.sensitive import SecretFields
from tests.crash.kinds.caches import RedisUser
from tests.crash.kinds.databases import OnMariaDB
from tests.faults.operators import Case


def disable_by_hand(case: Case) -> None:
    """Run every line that is shown for the case's secret."""
    lines = manual_commands(case.workspace.catalogue, case.path).lines
    if isinstance(case.kind, OnMariaDB):
        run_in_mariadb(case.kind, lines)
    elif isinstance(case.kind, RedisUser):
        for line in lines:
            case.kind.acl.ask(*shlex.split(line))
    else:
        for line in lines:
            run_in_postgresql(case, line)


def run_in_postgresql(case: Case, line: str) -> None:
    """As psql does, which goes on after an error: one of the two accounts may not exist yet."""
    try:
        case.site.lab.sql(line)
    except psycopg2.errors.UndefinedObject:
        assert line.startswith("ALTER ROLE")


def run_in_mariadb(kind: OnMariaDB, lines: Sequence[str]) -> None:
    """In one session, as a variable is set in it; each KILL that is printed is run, too."""
    superuser = {"username": kind.lab.server.superuser, "password": kind.lab.server.superuser_password}
    with kind.lab.session(SecretFields(superuser)) as connection, connection.cursor() as cursor:
        for statement in statements_of(lines):
            cursor.execute(statement)
            for (printed,) in list(cursor.fetchall()):
                cursor.execute(printed)


def statements_of(lines: Sequence[str]) -> Iterator[str]:
    """Each statement by itself, without comments."""
    for line in lines:
        if not line.startswith("--"):
            yield from (part.removesuffix(";") for part in line.split("; "))


def opened(case: Case) -> AbstractContextManager[Callable[[], bool]]:
    """A session with what has leaked, and what tells whether it still works."""
    leaked = case.known[0]
    if isinstance(case.kind, OnMariaDB):
        return case.kind.lab.opened(leaked)
    return case.kind.acl.opened(leaked) if isinstance(case.kind, RedisUser) else case.site.lab.opened(leaked)
