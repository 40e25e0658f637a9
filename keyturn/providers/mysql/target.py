"""MySQL and MariaDB as a target: accounts are users, a role holds an application's rights, and writes are fenced.

An account is every entry of its name, whatever the host. :mod:`keyturn.providers.mysql.fence` explains the fence.
"""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

from keyturn.core.errors import CandidateRejected, KeyturnError, Locked, UnsupportedOperation
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.connections import Connection, keyword_pairs, url
from keyturn.providers.accounts import Idle, admin_refused, insist_on_another, lacking, login_refused, superseded
from keyturn.providers.mysql import accounts, sessions
from keyturn.providers.mysql.fence import FenceEntry, highest, locked, read_fence, write_fence
from keyturn.providers.mysql.server import (
    ELSEWHERE,
    EXPIRED,
    IDLE,
    NO_DATABASE_PRIVILEGE,
    REFUSED_LOGIN,
    MySQLServer,
    MySQLSession,
    ServerError,
)

KEEPS_OLD: Final = (8, 0, 14)
PORT: Final = 3306
SCHEMES: Final = r"(?:mysql|mariadb)(?:\+\w+)?"

EMERGENCY: Final = 0.3
"""Seconds that another writer gets when an account is revoked: a change takes a hundredth. MySQL counts whole seconds
and gives none."""


class MySQL:
    """An :class:`keyturn.core.ports.strategies.AccountTarget` on MySQL 8.0 or newer, or MariaDB 10.6 or newer.

    ``admin`` gives the login of a user that may alter the accounts. Each new connection calls it again, so that the
    admin's own password can be rotated.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        database: str,
        admin: Callable[[], SecretFields],
        tls: str = "verify",
        ca_file: str | None = None,
    ) -> None:
        self.name = name
        self._server = MySQLServer(name, host, port, database, tls, ca_file)
        self._admin = admin
        self._idle = Idle(self._connect_admin, MySQLSession.usable)

    def set_password(
        self,
        account: str,
        password: Sensitive,
        *,
        sequence: int,
        like: str | None = None,
        member_of: str | None = None,
        keep_old: bool = False,
    ) -> None:
        """Set the account's password; only its stored form is sent, so no log can hold it."""
        with self._fenced("set the password of", account, sequence) as (session, stands):
            if keep_old and not keeps_old(session):
                problem = "this server can't keep the old password next to a new one"
                hint = "That takes MySQL 8.0.14 or newer: say accepts_gap, or use alternating-users"
                raise UnsupportedOperation("set the password of", self._named(account), problem, hint)
            current = accounts.account_entries(session, account)
            accounts.insist_on_plugins(current)
            making = stands.making or not current
            write_fence(session, account, sequence, making=making)
            if making:
                accounts.make(session, account, like)
            if member_of:
                accounts.act_as(session, account, member_of)
            accounts.identify(session, account, password, keep_old=keep_old and not making)
            if making:
                write_fence(session, account, sequence, making=False)

    def discard_old(self, account: str, *, sequence: int) -> None:
        with self._fenced("discard the old password of", account, sequence) as (session, stands):
            write_fence(session, account, sequence, making=stands.making)
            if keeps_old(session):
                accounts.discard_old(session, account)

    def disable(self, account: str, *, sequence: int) -> None:
        self._shut("disable", account, sequence)

    def revoke(self, account: str, *, sequence: int) -> int:
        insist_on_another(self._named(account), account, self._admin())
        return self.end_sessions(account, lambda: self._shut("cut", account, sequence, EMERGENCY))

    def end_sessions(self, account: str, refuse: Callable[[], None]) -> int:
        refuse()
        with self._administrator("end the sessions of", account) as session:
            return sessions.end_sessions(session, account, self._named(account))

    def last_sequence(self, accounts: Collection[str]) -> int:
        named = ", ".join(sorted(accounts))
        with self._administrator("read the number of", named) as session:
            return highest(session, accounts)

    def check_login(self, account: str, password: Sensitive, *, like: str | None = None) -> None:
        try:
            session = self._server.log_in(account, password, self._server.database)
        except ServerError as error:
            raise self._login_failure(error, account) from None
        session.close()
        if like and like != account:
            with self._administrator("compare the privileges of", account) as admin:
                missing = accounts.missing_rights(admin, account, like)
            if missing:
                raise lacking(self._named(account), missing)

    def read_connection(self, text: Sensitive) -> Connection | None:
        connection = url(text.reveal(), SCHEMES, PORT) or keyword_pairs(text.reveal(), PORT)
        leads_here = connection is not None and connection.leads_to(self._server.host, self._server.port)
        return connection.within(self._server.database) if connection and leads_here else None

    def accepts(self, account: str, password: Sensitive) -> bool:
        try:
            self._server.log_in(account, password).close()
        except ServerError as error:
            if error.code in EXPIRED:
                return True
            if error.code in REFUSED_LOGIN - {ELSEWHERE}:
                return False
            raise self._server.translated(error, "log in as", self._named(account)) from None
        return True

    def lets_in(self, account: str) -> bool:
        with self._administrator("look at", account) as session:
            users = (entry.user for entry in accounts.account_entries(session, account))
            return not all(accounts.is_locked(session, user) for user in users)

    def list_accounts(self) -> dict[str, frozenset[str]]:
        with self._administrator("list the accounts of", self.name) as session:
            return accounts.list_accounts(session)

    def sessions(self, account: str) -> int:
        with self._administrator("count the sessions of", account) as session:
            return sessions.count_sessions(session, account)

    def close(self) -> None:
        self._idle.close()

    def _shut(self, doing: str, account: str, sequence: int, patience: float | None = None) -> None:
        with self._fenced(doing, account, sequence, patience) as (session, stands):
            write_fence(session, account, sequence, making=stands.making)
            accounts.shut(session, account)
            if keeps_old(session):
                accounts.discard_old(session, account)

    @contextmanager
    def _fenced(
        self, doing: str, account: str, sequence: int, patience: float | None = None
    ) -> Iterator[tuple[MySQLSession, FenceEntry]]:
        with self._administrator(doing, account) as session:
            # Also checked before locking, so that an older run does not end a newer one's connection.
            self._check_sequence(read_fence(session, account), doing, account, sequence)
            with locked(session, account, patience) as alone:
                if not alone:
                    problem = f"another admin account's session holds it, for {IDLE} s at most"
                    raise Locked(doing, self._named(account), problem, "It is tried again")
                stands = read_fence(session, account)
                self._check_sequence(stands, doing, account, sequence)
                yield session, stands

    def _check_sequence(self, stands: FenceEntry, doing: str, account: str, sequence: int) -> None:
        if stands.sequence > sequence:
            raise superseded(doing, self._named(account), stands=stands.sequence, sequence=sequence)

    @contextmanager
    def _administrator(self, doing: str, account: str) -> Iterator[MySQLSession]:
        """An idle session, or a new one; after an error it is closed, which frees what it locked."""
        try:
            with self._idle.lent() as session:
                try:
                    yield session
                except BaseException:
                    session.close()
                    raise
        except ServerError as error:
            raise self._server.translated(error, doing, self._named(account)) from None

    def _connect_admin(self) -> MySQLSession:
        admin = self._admin()
        account = admin["username"].reveal()
        try:
            return self._server.log_in(account, admin["password"])
        except ServerError as error:
            if error.code in REFUSED_LOGIN:
                raise admin_refused(self.name, f"the admin account {account} is refused") from None
            raise self._server.translated(error, "log in to", self._named(account)) from None

    def _login_failure(self, error: ServerError, account: str) -> KeyturnError:
        if error.code in REFUSED_LOGIN:
            return login_refused(self._named(account))
        if error.code == NO_DATABASE_PRIVILEGE:
            hint = "Grant the owner role something in it, or correct the target's database"
            problem = f"it may not use the database {self._server.database}"
            return CandidateRejected("log in as", self._named(account), problem, hint)
        return self._server.translated(error, "log in as", self._named(account))

    def _named(self, account: str) -> str:
        return f"{self.name}:{account}"


def keeps_old(session: MySQLSession) -> bool:
    if session.mariadb:
        return False
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", session.version)
    return match is not None and tuple(map(int, match.groups())) >= KEEPS_OLD
