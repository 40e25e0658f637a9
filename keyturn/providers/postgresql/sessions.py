"""Counts a PostgreSQL account's sessions, and ends them without missing one.

Before login, only the lock on a server process's first transaction is visible. Logins that were under way when logins
were disabled are therefore awaited and ended too.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from psycopg2.errors import InsufficientPrivilege
from psycopg2.extensions import cursor as Cursor

from keyturn.core.errors import Denied, Unavailable

PAUSE: Final = 0.01  # seconds
PATIENCE: Final = 5.0  # seconds

LOGGING_IN: Final = 0.5
"""Seconds to wait for logins that were under way. A slower one still waits for its password, and the server then checks
the account's current state."""

STARTED: Final = "SELECT pid FROM pg_locks WHERE locktype = 'virtualxid' AND pid IS NOT NULL"

SHOWN: Final = """
SELECT pid, usesysid::bigint, usesysid IS NOT NULL OR datid IS NOT NULL,
       coalesce(backend_type IN ('client backend', 'walsender'), true)
FROM pg_stat_activity WHERE pid <> pg_backend_pid()
"""
"""Processes, their accounts, whether these are known, and whether they are sessions (shown to pg_read_all_stats only).
Since 18 this includes logins under way."""

Begin = Callable[[], AbstractContextManager[Cursor]]


def count_sessions(cursor: Cursor, account: str) -> int:
    cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (account,))
    (sessions,) = cursor.fetchone() or (0,)
    return int(sessions)


def account_oid(cursor: Cursor, account: str) -> int | None:
    """It stays valid after a drop; None if there is no such account."""
    cursor.execute("SELECT oid::bigint FROM pg_roles WHERE rolname = %s", (account,))
    row = cursor.fetchone()
    return int(row[0]) if row else None


def end_sessions(begin: Begin, oid: int, name: str) -> int:
    """End all sessions of an account that can't log in any more; their number. Raises Denied, Unavailable."""
    began = time.monotonic()
    ended: set[int] = set()
    waiting: set[int] | None = None
    while True:
        with begin() as cursor:
            alive, starting = _look(cursor, oid)
            _terminate(cursor, alive, name)
        ended |= alive
        waiting = starting if waiting is None else waiting & starting
        passed = time.monotonic() - began
        if not alive and (not waiting or passed > LOGGING_IN):
            return len(ended)
        if passed > PATIENCE:
            problem = f"{len(alive)} of its {len(ended)} sessions do not end"
            raise Unavailable("end the sessions of", name, problem, "It is tried again; see pg_stat_activity there")
        time.sleep(PAUSE)


def _look(cursor: Cursor, oid: int) -> tuple[set[int], set[int]]:
    # In this order, a login between the two queries shows in both, never in neither.
    cursor.execute(STARTED)
    started = {pid for (pid,) in cursor.fetchall()}
    cursor.execute(SHOWN)
    shown = cursor.fetchall()
    mine = {pid for pid, owner, _, session in shown if owner == oid and session}
    attributed = {pid for pid, _, owned, _ in shown if owned}
    return mine, started - attributed - {cursor.connection.info.backend_pid}


def _terminate(cursor: Cursor, sessions: set[int], name: str) -> None:
    try:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", (sorted(sessions),))
    except InsufficientPrivilege:
        problem = f"{len(sessions)} of its sessions stay open: the admin role may not end them"
        hint = f"Run there: GRANT pg_signal_backend TO {cursor.connection.info.user}"
        raise Denied("end the sessions of", name, problem, hint) from None
