"""Passwords of accounts in a directory, against a real OpenLDAP."""

from collections.abc import Iterator
from typing import Any

import pytest

from keyturn.core.errors import Denied, Locked, NotFound, Superseded, Unavailable, Unprivileged, Unproven
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.passwords import PasswordPolicy
from keyturn.providers.ldap.client import LdapSession, parts, tlv
from keyturn.providers.ldap.target import escaped, hashed, matches
from keyturn.strategies.database_users import AlternatingUsers, SingleUser
from local.support.ports import free_port
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.test_accounts import other_password
from tests.support.directory import APPS, KEYTURN, AppDirectory
from tests.support.lab import fresh

pytestmark = pytest.mark.sampled(6, of="file")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppDirectory]:
    with AppDirectory(tmp_path_factory.mktemp("ldap")) as serving:
        yield serving


def name_of(fields: SecretFields) -> str:
    return fields["username"].reveal()


def two_passwords(server: AppDirectory, **where: Any) -> tuple[SingleUser, SecretFields]:
    current = server.account()
    return SingleUser(server.target(**where), PasswordPolicy(), name_of(current), keeps_old=True), current


class TestTwoPasswordsOfOneAccount(StrategyContract):
    changes = frozenset({"username", "password"})
    fenced = True

    @pytest.fixture
    def case(self, server: AppDirectory) -> Case:
        strategy, current = two_passwords(server)
        stranger = current.merged({"username": "stranger"})
        return Case(strategy, current, server.logs_in, other_password, stranger=stranger)

    def test_the_entry_holds_one_password_once_the_old_one_is_retired(self, case: Case, server: AppDirectory) -> None:
        change, name = case.installed(), name_of(case.current)
        assert len(server.values(name, "userPassword")) == 2
        case.strategy.install(change)
        assert len(server.values(name, "userPassword")) == 2
        case.strategy.retire(case.strategy.credential_id(case.current), change.sequence)
        assert len(server.values(name, "userPassword")) == 1
        assert len(server.values(name, "description")) == 1

    def test_bound_connections_are_said_to_outlive_a_cut(self, case: Case) -> None:
        (left,) = case.strategy.revoke(case.current, 6).outlives
        assert "keep its rights until they are closed" in left


class TestOnePassword(StrategyContract):
    changes = frozenset({"username", "password"})
    fenced = True
    overlaps = False

    @pytest.fixture
    def case(self, server: AppDirectory) -> Case:
        current = server.account()
        strategy = SingleUser(server.target("starttls"), PasswordPolicy(), name_of(current))
        stranger = current.merged({"username": "stranger"})
        return Case(strategy, current, server.logs_in, other_password, stranger=stranger)


class TestTwoAccounts(StrategyContract):
    changes = frozenset({"username", "password"})
    fenced = True

    @pytest.fixture
    def case(self, server: AppDirectory) -> Case:
        current, other = server.account(), server.account()
        users = name_of(current), name_of(other)
        strategy = AlternatingUsers(server.target(), PasswordPolicy(), users, None)
        stranger = current.merged({"username": "stranger"})
        return Case(strategy, current, server.logs_in, other_password, stranger=stranger)


def test_an_account_that_lacks_a_group_of_the_other_is_refused(server: AppDirectory) -> None:
    current, other = server.account(fresh()), server.account()
    strategy = AlternatingUsers(server.target(), PasswordPolicy(), (name_of(current), name_of(other)), None)
    change = Change("apps/contract", 5, strategy.mint(current), current)
    strategy.install(change)
    with pytest.raises(Unprivileged, match="member of cn="):
        strategy.verify(change)


def test_a_password_by_hand_next_to_it_lets_in_still_and_is_found(server: AppDirectory) -> None:
    strategy, current = two_passwords(server)
    strategy.revoke(current, 5)
    assert list(strategy.find_everything([])) == []
    by_hand = Sensitive("set-by-hand-in-the-meantime")
    server.target().set_password(name_of(current), by_hand, sequence=5)
    assert list(strategy.find_everything([])) == [name_of(current)]


def test_a_rollback_puts_current_in_force_and_keeps_the_candidate(server: AppDirectory) -> None:
    strategy, current = two_passwords(server)
    change = Change("apps/contract", 5, strategy.mint(current), current)
    strategy.install(change)
    strategy.rollback(change)
    assert (server.logs_in(current), server.logs_in(current.merged(change.candidate))) == (True, True)
    strategy.abandon(change)
    assert (server.logs_in(current), server.logs_in(current.merged(change.candidate))) == (True, False)


# --- errors ------------------------------------------------------------------------------------------------


def test_keyturns_own_account_is_left_alone(server: AppDirectory) -> None:
    target = server.target(account_dn=KEYTURN.replace("keyturn", "{{account}}"))
    with pytest.raises(Exception, match="Keyturn itself logs in with"):
        target.revoke("keyturn", sequence=5)


def test_an_account_that_is_absent_is_not_found(server: AppDirectory) -> None:
    with pytest.raises(NotFound, match=f"there is no entry cn=nobody,{APPS}"):
        server.target().set_password("nobody", Sensitive("a-password"), sequence=5)
    server.target().disable("nobody", sequence=5)
    assert server.target().last_sequence(["nobody"]) == 0


def test_a_right_that_keyturn_lacks_is_an_error_that_says_so(server: AppDirectory) -> None:
    current = server.account()
    with pytest.raises(Denied, match="LDAP result 50"):
        server.target(mark="street").set_password(name_of(current), Sensitive("a-password"), sequence=5)
    assert server.logs_in(current)


def test_keyturns_own_login_may_be_refused(server: AppDirectory) -> None:
    target = server.target(admin=lambda: server.admin.merged({"password": "another"}))
    with pytest.raises(Denied, match="refuses Keyturn's own login"):
        target.last_sequence(["app"])


@pytest.mark.parametrize("tls", ["ldaps", "starttls"])
def test_another_authority_is_not_trusted(server: AppDirectory, tls: str) -> None:
    with pytest.raises(Unproven):
        server.target(tls, ca_file=None).accepts("app", Sensitive("a-password"))


def test_nothing_at_the_port_is_unavailable(server: AppDirectory) -> None:
    with pytest.raises(Unavailable):
        server.target("disable", port=free_port()).accepts("app", Sensitive("a-password"))


def test_an_empty_password_is_refused_here(server: AppDirectory) -> None:
    assert not server.target().accepts(name_of(server.account()), Sensitive(""))


def test_a_name_stays_one_part_of_the_distinguished_name() -> None:
    assert escaped("app,ou=admins") == r"app\,ou\=admins"
    assert escaped(" app#1 ") == r"\20app\#1\20"


def test_a_stored_value_is_compared_by_its_scheme() -> None:
    password = Sensitive("a-password")
    assert matches(hashed(password), password)
    assert not matches(hashed(password), Sensitive("another"))
    assert matches(b"a-password", password)
    assert not matches(b"{CRYPT}x", password)
    assert not matches(b"{SSHA}!", password)


def test_a_length_beyond_the_answer_is_refused() -> None:
    with pytest.raises(OSError, match="cut short"):
        list(parts(tlv(0x30, b"12345")[:-1]))
    assert [content for _, content in parts(tlv(4, b"x" * 300))] == [b"x" * 300]


def test_the_last_of_two_late_writers_is_refused(server: AppDirectory) -> None:
    strategy, current = two_passwords(server)
    strategy.install(Change("apps/contract", 9, strategy.mint(current), current))
    with pytest.raises(Superseded):
        server.target().discard_old(name_of(current), sequence=8)


def test_what_another_changes_between_reading_and_writing_is_not_overwritten(
    server: AppDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, current = two_passwords(server)
    strategy.install(Change("apps/contract", 5, strategy.mint(current), current))
    whole = LdapSession.read

    def outrun(session: LdapSession, dn: str, attributes: list[str]) -> Any:
        there = whole(session, dn, attributes)
        with monkeypatch.context() as alone:
            alone.setattr(LdapSession, "read", whole)
            number = server.target().last_sequence([name_of(current)])
            server.target().discard_old(name_of(current), sequence=number + 1)
        return there

    monkeypatch.setattr(LdapSession, "read", outrun)
    with pytest.raises((Superseded, Locked)):
        server.target().disable(name_of(current), sequence=6)
