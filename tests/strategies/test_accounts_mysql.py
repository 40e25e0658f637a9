"""Passwords of accounts, against a real MariaDB."""

from collections.abc import Iterator

import pymysql
import pytest

from keyturn.core.errors import Superseded
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.passwords import PasswordPolicy
from keyturn.providers.mysql.target import MySQL
from keyturn.strategies.database_users import AlternatingUsers, SingleUser
from local.mariadb import MariaDB
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.test_accounts import other_password
from tests.support.mariadb_lab import ADMIN, Accounts, MariaDBLab, run
from tests.support.mysql8 import MySQL8

pytestmark = pytest.mark.sampled(3, of="file")

DEFINED = (
    "CREATE TABLE t (n INT)",
    "INSERT INTO t VALUES (7)",
    "CREATE DEFINER = CURRENT_ROLE VIEW as_role AS SELECT * FROM t",
    "CREATE SQL SECURITY INVOKER VIEW as_caller AS SELECT * FROM t",
    "CREATE DEFINER = CURRENT_ROLE PROCEDURE counted() SELECT COUNT(*) FROM t",
    "CREATE DEFINER = CURRENT_ROLE TRIGGER more BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n + 1",
)


@pytest.fixture(scope="module")
def lab(mariadb: MariaDB) -> MariaDBLab:
    return MariaDBLab(mariadb)


@pytest.fixture
def accounts(lab: MariaDBLab) -> Accounts:
    return lab.accounts()


@pytest.fixture
def target(lab: MariaDBLab, accounts: Accounts) -> Iterator[MySQL]:
    opened = lab.target(accounts)
    yield opened
    opened.close()


class TestAlternatingUsersOnMariaDB(StrategyContract):
    changes = frozenset({"username", "password"})
    fenced = True
    ends_sessions = True

    @pytest.fixture
    def case(self, lab: MariaDBLab, target: MySQL, accounts: Accounts) -> Case:
        strategy = AlternatingUsers(target, PasswordPolicy(), (accounts.first, accounts.second), accounts.owner)
        stranger = accounts.serving.merged({"username": "stranger"})
        return Case(strategy, accounts.serving, lab.logs_in, other_password, lab.session, stranger, lab.opened)

    def test_both_users_act_as_the_owner_and_what_it_is_granted_later_reaches_both(
        self, case: Case, lab: MariaDBLab, accounts: Accounts
    ) -> None:
        both = case.current, case.current.merged(case.installed().candidate)
        later = lab.accounts()
        lab.sql(f"GRANT CREATE, INSERT ON {later.database}.* TO {accounts.owner}")
        for number, fields in enumerate(both):
            with lab.session(fields, later.database) as connection:
                assert run(connection, "SELECT CURRENT_ROLE()") == [(accounts.owner,)]
                run(connection, f"CREATE TABLE t{number} (n INT)")
        with lab.session(both[1], later.database) as connection:
            run(connection, "INSERT INTO t0 VALUES (1)")

    def test_what_the_retired_user_defined_as_the_role_or_for_its_caller_works_and_can_be_replaced(
        self, case: Case, lab: MariaDBLab, accounts: Accounts
    ) -> None:
        change = case.installed()
        with lab.session(case.current, accounts.database) as connection:
            for statement in DEFINED:
                run(connection, statement)
        case.strategy.retire(case.strategy.credential_id(case.current), change.sequence)
        assert not lab.logs_in(case.current)
        with lab.session(case.current.merged(change.candidate), accounts.database) as connection:
            assert run(connection, "SELECT n FROM as_role") == [(7,)]
            assert run(connection, "SELECT n FROM as_caller") == [(7,)]
            assert run(connection, "CALL counted()") == [(1,)]
            run(connection, "INSERT INTO t VALUES (1)")
            assert run(connection, "SELECT MIN(n) FROM t") == [(2,)]
            run(connection, "CREATE OR REPLACE DEFINER = CURRENT_ROLE VIEW as_role AS SELECT 1 AS n")
            run(connection, "DROP PROCEDURE counted")

    def test_mariadb_refuses_to_run_what_a_user_defined_in_its_own_name_by_the_rights_of_its_role(
        self, case: Case, lab: MariaDBLab, accounts: Accounts
    ) -> None:
        """Why the documents say DEFINER = CURRENT_ROLE: without it, it fails for both users, retired or not."""
        with lab.session(case.current, accounts.database) as connection:
            run(connection, "CREATE TABLE t (n INT)")
            run(connection, "CREATE VIEW v AS SELECT * FROM t")
            with pytest.raises(pymysql.OperationalError, match="lack rights"):
                run(connection, "SELECT * FROM v")

    def test_what_a_user_with_rights_of_its_own_defined_works_after_it_is_retired(
        self, case: Case, lab: MariaDBLab, accounts: Accounts
    ) -> None:
        rights = f"SELECT, CREATE, CREATE VIEW ON {accounts.database}.*"
        lab.sql(f"GRANT {rights} TO {accounts.first}")
        lab.sql(f"GRANT {rights} TO {ADMIN} WITH GRANT OPTION")
        change = case.installed()
        case.strategy.verify(change)
        with lab.session(case.current, accounts.database) as connection:
            run(connection, "CREATE TABLE t (n INT)")
            run(connection, "CREATE VIEW v AS SELECT * FROM t")
        case.strategy.retire(case.strategy.credential_id(case.current), change.sequence)
        with lab.session(case.current.merged(change.candidate), accounts.database) as connection:
            assert run(connection, "SELECT * FROM v") == []

    def test_a_retired_user_that_wakes_up_late_can_not_close_the_account_again(self, case: Case) -> None:
        case.installed(5)
        ends = case.strategy.credential_id(case.current)
        back = Change(
            "apps/contract", 9, SecretFields({**case.current.reveal(), "password": "again-" + "x" * 20}), None
        )
        case.strategy.install(back)
        with pytest.raises(Superseded):
            case.strategy.retire(ends, 5)
        assert case.works(case.current.merged(back.candidate))


class TestSingleUserOnMariaDB(StrategyContract):
    changes = frozenset({"username", "password"})
    overlaps = False
    fenced = True
    ends_sessions = True

    @pytest.fixture
    def case(self, lab: MariaDBLab, target: MySQL, accounts: Accounts) -> Case:
        strategy = SingleUser(target, PasswordPolicy(), accounts.first)
        stranger = accounts.serving.merged({"username": "stranger"})
        serving = accounts.serving
        return Case(strategy, serving, lab.logs_in, other_password, stranger=stranger, opened=lab.opened)

    def test_sweeping_ends_what_a_dead_run_left(self, case: Case) -> None:
        """Nothing is left by a mint that makes only a text; both versions name one account."""
        case.remove_orphans(case.existing_ids(), [])
        assert case.works(case.current)

    def test_a_promotion_that_is_taken_back_leaves_the_old_password_alone(self, case: Case) -> None:
        assert isinstance(case.strategy, SingleUser)
        change = case.installed()
        case.strategy.rollback(Change(change.path, 5, case.current.merged(change.candidate), case.current))
        assert case.works(case.current)
        assert not case.works(case.current.merged(change.candidate))


class TestSingleUserWithTwoPasswords(StrategyContract):
    """MySQL 8 keeps the old password beside the new one; here a stand-in does, after its manual."""

    changes = frozenset({"username", "password"})
    fenced = True
    ends_sessions = True

    @pytest.fixture
    def server(self) -> Iterator[MySQL8]:
        with MySQL8() as server:
            server.create(ADMIN, "admins-own")
            server.create("app", "first-of-all")
            yield server

    @pytest.fixture
    def strategy(self, server: MySQL8) -> Iterator[SingleUser]:
        admin = SecretFields({"username": ADMIN, "password": "admins-own"})
        target = MySQL("my", host="127.0.0.1", port=server.port, database="", admin=lambda: admin, tls="disable")
        yield SingleUser(target, PasswordPolicy(), "app", keeps_old=True)
        target.close()

    @pytest.fixture
    def case(self, server: MySQL8, strategy: SingleUser) -> Case:
        first = SecretFields({"username": "app", "password": "first-of-all"})
        stranger = first.merged({"username": "stranger"})
        return Case(strategy, first, server.logs_in, other_password, stranger=stranger, opened=server.opened)

    def test_sweeping_ends_what_a_dead_run_left(self, case: Case) -> None:
        """Nothing is left by a mint that makes only a text; both versions name one account."""
        case.remove_orphans(case.existing_ids(), [])
        assert case.works(case.current)

    def test_installing_again_after_a_crash_does_not_push_the_old_password_out(
        self, case: Case, server: MySQL8
    ) -> None:
        change = case.installed()
        case.strategy.install(change)
        assert case.works(case.current)
        assert [said for said in server.statements if "RETAIN" in said] == [
            f"ALTER USER `app`@`%` IDENTIFIED WITH mysql_native_password AS '{server.accounts['app'].primary}'"
            " RETAIN CURRENT PASSWORD ACCOUNT UNLOCK"
        ]

    def test_a_promotion_that_is_taken_back_leaves_both_until_the_newer_one_ends(self, case: Case) -> None:
        assert isinstance(case.strategy, SingleUser)
        change = case.installed()
        newer = case.current.merged(change.candidate)
        for _ in range(2):
            case.strategy.rollback(Change(change.path, 5, newer, case.current))
            assert case.works(case.current)
            assert case.works(newer)
        case.strategy.retire(case.strategy.credential_id(newer), 5)
        assert case.works(case.current)
        assert not case.works(newer)

    def test_the_old_and_the_new_credential_are_told_apart(self, case: Case) -> None:
        newer = case.current.merged(case.strategy.mint(case.current))
        assert case.strategy.credential_id(case.current) != case.strategy.credential_id(newer)
        assert case.strategy.credential_id(newer)["username"] == "app"

    def test_a_disabled_account_keeps_no_password(self, case: Case, server: MySQL8, strategy: SingleUser) -> None:
        case.installed()
        strategy.target.disable("app", sequence=6)
        assert server.accounts["app"].secondary == ""
        assert server.accounts["app"].locked

    def test_no_password_is_in_a_statement(self, case: Case, server: MySQL8) -> None:
        change = case.installed()
        case.strategy.abandon(Change(change.path, 6, change.candidate, change.current))
        told = " ".join(server.statements)
        assert "IDENTIFIED" in told
        assert not [fields for fields in (case.current, change.candidate) if fields["password"].reveal() in told]
