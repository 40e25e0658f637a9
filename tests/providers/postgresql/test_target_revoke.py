"""Ending an account at once on a real PostgreSQL: logins first, then sessions, and those that are logging in."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from keyturn.core.errors import Denied, Superseded, Unavailable, UnsupportedOperation
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.postgresql import sessions as postgresql_sessions
from keyturn.providers.postgresql.target import PostgreSQL
from local.prepare import ADMIN, DATABASE
from local.support.ports import free_port
from tests.providers.postgresql.test_target import assert_silent, comment, elsewhere, password, works
from tests.support.lab import Declared, Lab, answers, fresh
from tests.support.mariadb_lab import Gate

CLIENT_FINAL = b",p="
"""How the last word of a SCRAM login ends: the client's proof (RFC 5802)."""


@pytest.fixture
def target(lab: Lab) -> Iterator[PostgreSQL]:
    with closing(lab.target()) as opened:
        yield opened


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.alternating()


@pytest.fixture
def user(secret: Declared) -> str:
    return secret.users[0]


@pytest.fixture
def held(secret: Declared) -> Sensitive:
    """The password that serves."""
    return Sensitive(secret.first["password"])


@pytest.fixture
def weak(lab: Lab) -> Iterator[PostgreSQL]:
    """With an admin that may alter accounts and may end no session."""
    name, own = fresh(), password()
    lab.sql(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD %s", own.reveal())
    with closing(elsewhere(lab, admin=lambda: SecretFields({"username": name, "password": own}))) as opened:
        yield opened


def connect(lab: Lab, secret: Declared, **changes: Any) -> Connection:
    where = {"host": lab.world.host, "port": lab.world.port, "dbname": DATABASE, "sslmode": "disable"}
    login = {"user": secret.first["username"], "password": secret.first["password"]}
    opened: Connection = psycopg2.connect(**{**where, **login, **changes})
    return opened


def test_sessions_on_every_database_end_whatever_they_do(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str
) -> None:
    idle, busy, within, beside = (connect(lab, secret, dbname=name) for name in (DATABASE,) * 3 + ("postgres",))
    with closing(idle), closing(within), closing(beside), closing(busy), ThreadPoolExecutor(1) as pool:
        with within.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE t (n int)")
        asleep = pool.submit(busy.cursor().execute, "SELECT pg_sleep(30)")
        assert target.revoke(user, sequence=1) == 4
        with pytest.raises(psycopg2.OperationalError):
            asleep.result(10)
        assert not [one for one in (idle, busy, within, beside) if answers(one)]
    assert target.sessions(user) == 0


def test_other_accounts_keep_their_sessions(lab: Lab, target: PostgreSQL, user: str) -> None:
    other = lab.alternating()
    with lab.opened(SecretFields(other.first)) as works_still:
        assert target.revoke(user, sequence=1) == 0
        assert works_still()


def test_an_account_that_is_cut_keeps_no_password_and_what_it_owns(
    lab: Lab, target: PostgreSQL, user: str, held: Sensitive
) -> None:
    lab.sql(f"CREATE SCHEMA {user} AUTHORIZATION {user}")
    target.revoke(user, sequence=7)
    assert lab.sql("SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %s", user) == [(False, None)]
    assert lab.sql("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = %s", user) == [(user,)]
    assert comment(lab, user) == "[keyturn sequence=7]"
    assert not target.accepts(user, held)


def test_cutting_what_is_absent_is_quiet_and_makes_nothing(lab: Lab, target: PostgreSQL, secret: Declared) -> None:
    assert target.revoke(secret.users[1], sequence=1) == 0
    assert lab.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", secret.users[1]) == []


def test_a_late_cut_ends_no_session_of_a_newer_rotation(lab: Lab, target: PostgreSQL, user: str) -> None:
    new = password()
    target.set_password(user, new, sequence=8)
    with lab.opened(SecretFields({"username": user, "password": new})) as works_still:
        with pytest.raises(Superseded):
            target.revoke(user, sequence=7)
        assert works_still()


# --- those that are logging in -----------------------------------------------------------------------------


def test_whoever_is_asked_for_the_password_while_the_account_is_cut_is_not_let_in(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str
) -> None:
    """The server has read the old verifier already; the client's proof comes after the cut."""
    gate = Gate(lab.world.port, CLIENT_FINAL)
    with closing(gate), ThreadPoolExecutor(1) as pool:
        late = pool.submit(connect, lab, secret, port=gate.port)
        assert gate.held.wait(10)
        target.revoke(user, sequence=1)
        gate.opened.set()
        with pytest.raises(psycopg2.OperationalError):
            late.result(10)
    assert target.sessions(user) == 0


def test_of_many_that_log_in_while_the_account_is_cut_none_stays(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str
) -> None:
    over, opened, refused = threading.Event(), list[Connection](), threading.Event()

    def log_in() -> None:
        while not over.is_set():
            try:
                opened.append(connect(lab, secret))
            except psycopg2.OperationalError:
                refused.set()
                return
            time.sleep(0.02)

    with ThreadPoolExecutor(6) as pool, ExitStack() as stack:
        for _ in range(6):
            pool.submit(log_in)
        time.sleep(0.1)
        ended = target.revoke(user, sequence=1)
        assert target.sessions(user) == 0
        refused.wait(60)
        over.set()
        pool.shutdown()
        for one in opened:
            stack.callback(one.close)
        assert refused.is_set()
        assert ended > 0
        assert not [one for one in opened if answers(one)]


def test_a_login_that_is_only_asked_for_does_not_hold_a_cut_up_for_long(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str
) -> None:
    other = lab.alternating()
    gate = Gate(lab.world.port, CLIENT_FINAL)
    with closing(gate), ThreadPoolExecutor(1) as pool:
        slow = pool.submit(connect, lab, other, port=gate.port)
        assert gate.held.wait(10)
        assert target.revoke(user, sequence=1) == 0
        gate.opened.set()
        with closing(slow.result(10)) as innocent:
            assert answers(innocent)


def test_sessions_that_do_not_end_are_told_and_tried_again(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_sessions, "PATIENCE", 0.0)
    monkeypatch.setattr(postgresql_sessions, "PAUSE", 0.3)
    with lab.opened(SecretFields(secret.first)):
        with pytest.raises(Unavailable, match="1 of its 1 sessions do not end"):
            target.revoke(user, sequence=1)
        assert target.revoke(user, sequence=1) == 0


# --- accounts that somebody else ends ----------------------------------------------------------------------


def test_the_sessions_of_an_account_that_is_dropped_meanwhile_end_too(lab: Lab, target: PostgreSQL) -> None:
    account, own = fresh(), password()
    lab.sql(f"CREATE ROLE {account} LOGIN PASSWORD %s", own.reveal())
    with lab.opened(SecretFields({"username": account, "password": own})) as works_still:

        def drop() -> None:
            lab.sql(f"DROP ROLE {account}")

        assert target.end_sessions(account, drop) == 1
        assert not works_still()


def test_what_should_refuse_logins_is_done_where_the_admin_may_end_no_session(
    lab: Lab, weak: PostgreSQL, secret: Declared, user: str
) -> None:
    done = []
    with lab.opened(SecretFields(secret.first)) as works_still:
        with pytest.raises(Denied):
            weak.end_sessions(user, lambda: done.append(user))
        assert works_still()
    assert done == [user]


# --- rights ------------------------------------------------------------------------------------------------


def test_an_admin_that_may_end_no_session_refuses_logins_and_is_told_what_to_grant(
    lab: Lab, weak: PostgreSQL, secret: Declared, user: str, held: Sensitive
) -> None:
    admin = weak._admin()["username"].reveal()
    lab.sql(f"GRANT {user} TO {admin} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE")
    with lab.opened(SecretFields(secret.first)) as works_still:
        with pytest.raises(Denied, match="1 of its sessions stay open") as caught:
            weak.revoke(user, sequence=1)
        assert_silent(caught.value, held)
        assert not works(lab, user, held)
        assert works_still()
        lab.sql(caught.value.hint.removeprefix("Run there: "))
        assert weak.revoke(user, sequence=1) == 1
        assert not works_still()


def test_keyturns_own_account_is_not_cut(target: PostgreSQL) -> None:
    with pytest.raises(UnsupportedOperation, match="Keyturn itself logs in with"):
        target.revoke(ADMIN, sequence=1)
    assert target.sessions(ADMIN) > 0


# --- whether a password is accepted ------------------------------------------------------------------------


def test_a_password_is_accepted_or_not(target: PostgreSQL, user: str, held: Sensitive) -> None:
    assert target.accepts(user, held)
    assert not target.accepts(user, password())
    assert not target.accepts("nobody-at-all", held)


def test_an_expired_password_is_not_accepted(lab: Lab, target: PostgreSQL, user: str, held: Sensitive) -> None:
    lab.sql(f"ALTER ROLE {user} VALID UNTIL '2020-01-01'")
    assert not target.accepts(user, held)


def test_a_password_of_an_account_that_may_not_use_this_database_is_accepted_all_the_same(
    lab: Lab, user: str, held: Sensitive
) -> None:
    """It may use others: what counts as proof of an end is a refusal of the login itself."""
    name = fresh()
    lab.sql(f"CREATE DATABASE {name}")
    lab.sql(f"REVOKE CONNECT ON DATABASE {name} FROM public")
    assert elsewhere(lab, database=name).accepts(user, held)
    assert not elsewhere(lab, database=name).accepts(user, password())
    lab.sql(f"DROP DATABASE {name}")


def test_a_server_that_does_not_answer_says_nothing_of_the_password(lab: Lab, user: str, held: Sensitive) -> None:
    with pytest.raises(Unavailable) as caught:
        elsewhere(lab, port=free_port()).accepts(user, held)
    assert_silent(caught.value, held)
