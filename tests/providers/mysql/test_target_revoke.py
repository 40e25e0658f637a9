"""Ending an account at once on a real MariaDB: logins first, then sessions, and those that are logging in."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pymysql
import pytest

from keyturn.core.errors import Denied, Superseded, Unavailable, UnsupportedOperation
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.mysql import sessions as mysql_sessions
from keyturn.providers.mysql.fence import PATIENCE
from keyturn.providers.mysql.target import EMERGENCY, MySQL
from local.mariadb import MariaDB
from local.support.ports import free_port
from tests.providers.mysql.test_target import assert_silent, password, sequence_of
from tests.support.lab import fresh
from tests.support.mariadb_lab import ADMIN, Accounts, Gate, MariaDBLab, answers, run
from tests.support.mysql8 import MySQL8

PROOF = b"\x14\x00\x00\x03"
"""How the packet begins with which a client proves its password after it was told which plugin to use."""


@pytest.fixture(scope="module")
def lab(mariadb: MariaDB) -> MariaDBLab:
    return MariaDBLab(mariadb)


@pytest.fixture
def accounts(lab: MariaDBLab) -> Accounts:
    return lab.accounts()


@pytest.fixture
def target(lab: MariaDBLab, accounts: Accounts) -> Iterator[MySQL]:
    with closing(lab.target(accounts)) as opened:
        yield opened


@pytest.fixture
def weak(lab: MariaDBLab) -> Iterator[None]:
    """Keyturn's admin may end no session."""
    lab.sql(f"REVOKE CONNECTION ADMIN ON *.* FROM {ADMIN}")
    yield
    lab.sql(f"GRANT CONNECTION ADMIN ON *.* TO {ADMIN}")


class AsksForAnother(pymysql.Connection):  # type: ignore[type-arg]
    """A client that offers a plugin which the account does not have, so that the server has to tell it which."""

    def _get_server_information(self) -> None:
        super()._get_server_information()  # type: ignore[misc]
        self._auth_plugin_name = "mysql_clear_password"


def slow_login(fields: SecretFields, port: int) -> "pymysql.Connection[Any]":
    """Logs in by one word more than others do, which comes after the server has looked the account up."""
    user, password = fields["username"].reveal(), fields["password"].reveal()
    return AsksForAnother(host="127.0.0.1", port=port, user=user, password=password, ssl_disabled=True)


def test_sessions_end_whatever_they_do(lab: MariaDBLab, target: MySQL, accounts: Accounts) -> None:
    open_one = lambda: lab.session(accounts.serving, accounts.database)  # noqa: E731
    with open_one() as idle, open_one() as busy, open_one() as within, ThreadPoolExecutor(1) as pool:
        run(within, "CREATE TABLE t (n INT)")
        run(within, "BEGIN")
        run(within, "INSERT INTO t VALUES (1)")
        asleep = pool.submit(run, busy, "SELECT SLEEP(30)")
        while not lab.sql("SELECT 1 FROM information_schema.processlist WHERE info = 'SELECT SLEEP(30)'"):
            time.sleep(0.01)
        assert target.revoke(accounts.first, sequence=1) == 3
        with pytest.raises(pymysql.OperationalError):
            asleep.result(10)
        assert not [one for one in (idle, busy, within) if answers(one)]
    assert target.sessions(accounts.first) == 0


def test_other_accounts_keep_their_sessions(lab: MariaDBLab, target: MySQL, accounts: Accounts) -> None:
    with lab.opened(lab.accounts().serving) as works_still:
        assert target.revoke(accounts.first, sequence=1) == 0
        assert works_still()


def test_every_entry_of_the_account_is_shut_whatever_its_host(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    lab.sql(f"CREATE USER {accounts.first}@'127.0.0.1' IDENTIFIED BY %s", accounts.password)
    with lab.opened(accounts.serving) as works_still:
        assert target.revoke(accounts.first, sequence=7) == 1
        assert not works_still()
    assert not lab.logs_in(accounts.serving)
    assert sequence_of(lab, accounts.first) == [(7, 0)]
    lab.sql(f"DROP USER {accounts.first}@'127.0.0.1'")
    assert not lab.logs_in(accounts.serving)


def test_a_late_cut_ends_no_session_of_a_newer_rotation(lab: MariaDBLab, target: MySQL, accounts: Accounts) -> None:
    new = password()
    target.set_password(accounts.first, new, sequence=8)
    with lab.opened(SecretFields({"username": accounts.first, "password": new})) as works_still:
        with pytest.raises(Superseded):
            target.revoke(accounts.first, sequence=7)
        assert works_still()


def test_cutting_what_is_absent_is_quiet(target: MySQL, accounts: Accounts) -> None:
    assert target.revoke(accounts.second, sequence=1) == 0


def test_a_writer_that_stands_still_is_waited_for_a_moment_only(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    gate = Gate(lab.server.port, b"ALTER USER")
    suspended = lab.target(accounts, port=gate.port, tls="disable")
    with closing(gate), closing(suspended), ThreadPoolExecutor(1) as pool:
        late = pool.submit(suspended.set_password, accounts.first, password(), sequence=3)
        assert gate.held.wait(10)
        began = time.monotonic()
        target.revoke(accounts.first, sequence=4)
        assert EMERGENCY <= time.monotonic() - began < PATIENCE
        gate.opened.set()
        with pytest.raises(Unavailable):
            late.result(20)
    assert not lab.logs_in(accounts.serving)


# --- those that are logging in -----------------------------------------------------------------------------


def test_whoever_is_asked_for_the_password_while_the_account_is_cut_does_not_stay(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    """The server has looked the account up already, with its old password; the client's proof comes after the cut."""
    gate = Gate(lab.server.port, PROOF)
    with closing(gate), ThreadPoolExecutor(1) as pool:
        late = pool.submit(slow_login, accounts.serving, gate.port)
        assert gate.held.wait(10)
        target.revoke(accounts.first, sequence=1)
        gate.opened.set()
        with pytest.raises(pymysql.OperationalError):
            late.result(10)
    assert target.sessions(accounts.first) == 0


def test_a_login_that_was_only_seen_lets_a_cut_in_after_it(lab: MariaDBLab, accounts: Accounts) -> None:
    """Why they are waited for: without a cut's second half such a session is let in by a password that is gone."""
    gate = Gate(lab.server.port, PROOF)
    with closing(gate), ThreadPoolExecutor(1) as pool:
        late = pool.submit(slow_login, accounts.serving, gate.port)
        assert gate.held.wait(10)
        lab.sql(f"ALTER USER {accounts.first} IDENTIFIED BY 'another-0ne' ACCOUNT LOCK")
        gate.opened.set()
        with closing(late.result(10)) as let_in:
            assert answers(let_in)


def test_of_many_that_log_in_while_the_account_is_cut_none_stays(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    over, refused, opened = threading.Event(), threading.Event(), list[Any]()

    def log_in(stack: ExitStack) -> None:
        while not over.is_set():
            try:
                opened.append(stack.enter_context(lab.session(accounts.serving)))
            except pymysql.OperationalError:
                refused.set()
                return
            time.sleep(0.02)

    with ThreadPoolExecutor(6) as pool, ExitStack() as stack:
        for _ in range(6):
            pool.submit(log_in, stack)
        while not opened and not refused.is_set():
            time.sleep(0.01)
        time.sleep(0.1)
        ended = target.revoke(accounts.first, sequence=1)
        assert target.sessions(accounts.first) == 0
        refused.wait(60)
        over.set()
        pool.shutdown()
        assert refused.is_set()
        assert ended > 0
        assert not [one for one in opened if answers(one)]


def test_sessions_that_do_not_end_are_told_and_tried_again(
    lab: MariaDBLab, target: MySQL, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_sessions, "PATIENCE", 0.0)
    with lab.opened(accounts.serving), pytest.raises(Unavailable, match="1 of its 1 sessions do not end"):
        target.revoke(accounts.first, sequence=1)
    monkeypatch.undo()
    assert target.revoke(accounts.first, sequence=1) == 0


# --- rights ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("weak")
def test_an_admin_that_may_end_no_session_refuses_logins_and_is_told_what_to_grant(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    with lab.opened(accounts.serving) as works_still:
        with pytest.raises(Denied, match="end the sessions of") as caught:
            target.revoke(accounts.first, sequence=1)
        assert_silent(caught.value, Sensitive(accounts.password))
        assert not lab.logs_in(accounts.serving)
        assert works_still()
        lab.sql(caught.value.hint.removeprefix("Let an administrator run: "))
        target.close()
        assert target.revoke(accounts.first, sequence=1) == 1
        assert not works_still()


def test_keyturns_own_account_is_not_cut(target: MySQL, accounts: Accounts) -> None:
    with pytest.raises(UnsupportedOperation, match="Keyturn itself logs in with"):
        target.revoke(ADMIN, sequence=1)
    target.set_password(accounts.first, password(), sequence=1)


# --- whether a password is accepted ------------------------------------------------------------------------


def test_a_password_is_accepted_or_not(lab: MariaDBLab, target: MySQL, accounts: Accounts) -> None:
    held = Sensitive(accounts.password)
    assert target.accepts(accounts.first, held)
    assert not target.accepts(accounts.first, password())
    assert not target.accepts(accounts.second, held)
    lab.sql(f"ALTER USER {accounts.first} ACCOUNT LOCK")
    assert not target.accepts(accounts.first, held)


def test_a_password_of_an_account_that_may_not_use_this_database_is_accepted_all_the_same(
    lab: MariaDBLab, target: MySQL
) -> None:
    name, own = fresh(), password()
    lab.sql(f"CREATE USER {name} IDENTIFIED BY %s", own.reveal())
    assert target.accepts(name, own)


def test_a_password_that_has_expired_is_accepted_for_setting_another(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    lab.sql(f"ALTER USER {accounts.first} PASSWORD EXPIRE")
    held = Sensitive(accounts.password)
    assert target.accepts(accounts.first, held)
    assert not target.accepts(accounts.first, password())


def test_a_server_that_does_not_answer_says_nothing_of_the_password(lab: MariaDBLab, accounts: Accounts) -> None:
    held = Sensitive(accounts.password)
    with closing(lab.target(accounts, port=free_port())) as nowhere, pytest.raises(Unavailable) as caught:
        nowhere.accepts(accounts.first, held)
    assert_silent(caught.value, held)


# --- MySQL -------------------------------------------------------------------------------------------------


def test_on_mysql_both_passwords_are_forgotten_and_each_session_is_ended_by_its_number() -> None:
    admin = SecretFields({"username": ADMIN, "password": "admins-own"})
    app = SecretFields({"username": "app", "password": "first-of-all"})
    with MySQL8() as server:
        server.create(ADMIN, "admins-own")
        server.create("app", "first-of-all")
        target = MySQL("my", host="127.0.0.1", port=server.port, database="", admin=lambda: admin, tls="disable")
        with closing(target), server.opened(app) as works_still:
            target.set_password("app", password(), sequence=5, keep_old=True)
            assert target.revoke("app", sequence=6) == 1
            assert not works_still()
        assert server.accounts["app"].locked
        assert server.accounts["app"].secondary == ""
        assert not server.logs_in(app)
        assert [said for said in server.statements if said.startswith("KILL")] == ["KILL 1"]
