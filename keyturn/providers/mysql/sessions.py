"""Counts a MySQL or MariaDB account's sessions, and ends them without missing one.

A connection that is logging in is listed without a name, after the server has looked up its account. Those listed when
logins were disabled are therefore awaited briefly, then ended, whatever their account.
"""

import time
from typing import Final

from keyturn.core.errors import Unavailable
from keyturn.providers.mysql.server import NO_SUCH_THREAD, MySQLSession, ServerError

PAUSE: Final = 0.01  # seconds
PATIENCE: Final = 5.0  # seconds
LOGGING_IN: Final = 0.5
"""Seconds that a login usually takes at most, and the cleanup of an ended session."""
NOBODY: Final = "unauthenticated user"
ENDED: Final = "Killed"
NEEDS_LIST: Final = "GRANT PROCESS ON *.* TO {admin}"
NEEDS_KILL: Final = "GRANT CONNECTION_ADMIN ON *.* TO {admin}"
NEEDS_KILL_MARIADB: Final = "GRANT CONNECTION ADMIN ON *.* TO {admin}"

LISTED: Final = (
    "SELECT id, user, command FROM information_schema.processlist WHERE user IN (%s, %s) AND id <> CONNECTION_ID()"
)


def insist_on_all(session: MySQLSession) -> None:
    """Raise ServerError without PROCESS, where the list shows only the caller's sessions."""
    session.run("SELECT COUNT(*) FROM information_schema.innodb_trx", needs=NEEDS_LIST)


def count_sessions(session: MySQLSession, account: str) -> int:
    insist_on_all(session)
    return int(session.first("SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s", account))


def end_sessions(session: MySQLSession, account: str, name: str) -> int:
    """End all sessions of an account that can't log in any more; their number. Raises Unavailable."""
    insist_on_all(session)
    began = time.monotonic()
    ended: set[int] = set()
    waiting: set[int] | None = None
    while True:
        listed = [
            (int(session_id), user, command) for session_id, user, command in session.run(LISTED, account, NOBODY)
        ]
        mine = {session_id for session_id, user, _ in listed if user == account}
        alive = {session_id for session_id, user, command in listed if user == account and command != ENDED}
        logging_in = {session_id for session_id, user, _ in listed if user != account}
        waiting = logging_in if waiting is None else waiting & logging_in
        late = time.monotonic() - began > LOGGING_IN
        _kill(session, account, alive)
        _kill_each(session, waiting if late else set())
        ended |= mine
        if not (alive or waiting) and (late or not mine):
            return len(ended)
        if time.monotonic() - began > PATIENCE:
            problem = f"{len(alive)} of its {len(ended)} sessions do not end"
            raise Unavailable("end the sessions of", name, problem, "It is tried again; see SHOW PROCESSLIST there")
        time.sleep(PAUSE)


def _kill(session: MySQLSession, account: str, alive: set[int]) -> None:
    if alive and session.mariadb:
        session.run("KILL USER %s", account, needs=NEEDS_KILL_MARIADB)
    else:
        _kill_each(session, alive)


def _kill_each(session: MySQLSession, ids: set[int]) -> None:
    needs = NEEDS_KILL_MARIADB if session.mariadb else NEEDS_KILL
    for session_id in sorted(ids):
        try:
            session.run("KILL %s", session_id, needs=needs)
        except ServerError as error:
            if error.code != NO_SUCH_THREAD:
                raise
