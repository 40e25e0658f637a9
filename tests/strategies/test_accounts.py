"""Passwords of accounts, against the real database."""

from contextlib import closing

import psycopg2
import pytest

from keyturn.core.errors import Invalid, Superseded
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.passwords import PasswordPolicy
from keyturn.strategies.database_users import AlternatingUsers, SingleUser
from local.prepare import DATABASE
from tests.contracts.strategy import Case, StrategyContract
from tests.support.lab import Declared, Lab

pytestmark = pytest.mark.sampled(3, of="file")


def other_password(candidate: SecretFields) -> SecretFields:
    return candidate.merged({"password": "n0t-the-password-that-was-installed"})


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.alternating()


@pytest.fixture
def alternating(lab: Lab, secret: Declared) -> AlternatingUsers:
    return AlternatingUsers(lab.target(), PasswordPolicy(), secret.users, secret.owner)


class TestAlternatingUsers(StrategyContract):
    changes = frozenset({"username", "password"})
    fenced = True
    ends_sessions = True

    @pytest.fixture
    def case(self, lab: Lab, secret: Declared, alternating: AlternatingUsers) -> Case:
        first = SecretFields(secret.first)
        session = lambda fields: closing(connect(lab, fields))  # noqa: E731
        stranger = first.merged({"username": "stranger"})
        return Case(alternating, first, lab.logs_in, other_password, session, stranger, lab.opened)

    def test_the_users_take_turns(self, case: Case, secret: Declared) -> None:
        second = case.strategy.mint(case.current)
        third = case.strategy.mint(case.current.merged(second))
        first = case.strategy.mint(None)
        names = [fields["username"].reveal() for fields in (first, second, third)]
        assert names == [secret.users[0], secret.users[1], secret.users[0]]

    def test_a_user_that_is_neither_is_invalid_and_named(self, case: Case) -> None:
        with pytest.raises(Invalid, match="stranger"):
            case.strategy.mint(SecretFields({"username": "stranger", "password": "x"}))

    def test_an_abandonment_spares_the_user_that_current_has_come_to_name(self, case: Case) -> None:
        change = case.installed()
        case.strategy.abandon(Change(change.path, 6, change.candidate, case.current.merged(change.candidate)))
        assert case.works(case.current.merged(change.candidate))

    def test_what_either_user_makes_belongs_to_the_owner(self, case: Case, lab: Lab, secret: Declared) -> None:
        change = case.installed()
        for number, fields in enumerate((case.current, case.current.merged(change.candidate))):
            make_table(lab, fields, f"{secret.owner}_{number}")
        owners = lab.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename LIKE %s", f"{secret.owner}%")
        assert owners == [(secret.owner,)]
        with closing(connect(lab, case.current.merged(change.candidate))) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {secret.owner}_0")

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

    def test_cutting_an_old_version_cuts_its_account_though_that_has_another_password_by_now(
        self, case: Case, lab: Lab
    ) -> None:
        newer = case.current.merged({"password": "newer-" + "x" * 20})
        case.strategy.install(Change("apps/contract", 5, newer, None))
        with lab.opened(newer) as works_still:
            assert case.strategy.revoke(case.current, 6).sessions == 1
            assert not works_still()
        assert not case.works(newer)

    def test_a_working_credential_of_another_account_is_left_alone_and_told(
        self, case: Case, lab: Lab, secret: Declared
    ) -> None:
        theirs = SecretFields(lab.single().first)
        with pytest.raises(Invalid, match="is not one of its users") as caught:
            case.strategy.revoke(theirs, 6)
        assert theirs["password"].reveal() not in str(caught.value)
        assert lab.logs_in(theirs)

    def test_a_dead_credential_of_another_account_needs_no_cut(self, case: Case, lab: Lab) -> None:
        theirs = SecretFields(lab.single().first)
        assert case.strategy.revoke(theirs.merged({"password": "long-gone"}), 6) == RevokeResult()
        assert lab.logs_in(theirs)


class TestSingleUser(StrategyContract):
    changes = frozenset({"username", "password"})
    overlaps = False
    fenced = True
    ends_sessions = True

    @pytest.fixture
    def case(self, lab: Lab) -> Case:
        secret = lab.single()
        strategy = SingleUser(lab.target(), PasswordPolicy(), secret.users[0])
        first = SecretFields(secret.first)
        stranger = first.merged({"username": "stranger"})
        return Case(strategy, first, lab.logs_in, other_password, stranger=stranger, opened=lab.opened)

    def test_sweeping_ends_what_a_dead_run_left(self, case: Case) -> None:
        """Nothing is left by a mint that makes only a text; both versions name one account."""
        case.remove_orphans(case.existing_ids(), [])
        assert case.works(case.current)

    def test_a_version_that_names_no_user_is_the_users(self, case: Case) -> None:
        alone = SecretFields({"password": case.current["password"]})
        assert case.strategy.accepts(alone) is True
        case.strategy.revoke(alone, 6)
        assert case.strategy.accepts(alone) is False

    def test_cutting_an_old_version_cuts_the_account_with_its_newer_password(self, case: Case) -> None:
        newer = case.current.merged(case.installed(5).candidate)
        case.strategy.revoke(case.current, 6)
        assert not case.works(newer)

    def test_a_replacement_that_is_given_up_is_refused_where_nothing_can_be_put_back(self, case: Case) -> None:
        case.strategy.revoke(case.current, 6)
        change = case.replacement()
        assert case.works(case.current.merged(change.candidate))
        case.strategy.abandon(change)
        assert not case.works(case.current.merged(change.candidate))

    def test_a_first_candidate_that_was_never_installed_ends_nothing(self, case: Case) -> None:
        case.strategy.abandon(Change("apps/contract", 5, case.strategy.mint(None), None))
        assert case.works(case.current)


def connect(lab: Lab, fields: SecretFields) -> "psycopg2.extensions.connection":
    connection = psycopg2.connect(
        host=lab.world.host,
        port=lab.world.port,
        dbname=DATABASE,
        user=fields["username"].reveal(),
        password=fields["password"].reveal(),
    )
    connection.autocommit = True
    return connection


def make_table(lab: Lab, fields: SecretFields, name: str) -> None:
    with closing(connect(lab, fields)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} (n int)")
