"""What every database engine must do: one suite over all adapters of ``DatabaseEngine``."""

from datetime import timedelta

import pytest

from keyturn.core.errors import KeyturnError, NotFound
from keyturn.core.ports.engines import DatabaseEngine, StaticRole, Terms
from keyturn.core.sensitive import SecretFields
from tests.contracts.hub import assert_silent
from tests.support.hooks import eventually

DAY = timedelta(hours=24)
WEEK = timedelta(hours=168)
YEARS = timedelta(hours=17520)


class DatabaseEngineContract:
    """The cases."""

    @pytest.fixture
    def engine(self) -> DatabaseEngine:
        """The adapter under test."""
        raise NotImplementedError

    @pytest.fixture
    def revoker(self) -> DatabaseEngine:
        """The same, as whoever revokes opens it."""
        raise NotImplementedError

    @pytest.fixture
    def role(self) -> str:
        """A role of nobody else: leases of 24 hours, renewable up to 168."""
        raise NotImplementedError

    @pytest.fixture
    def static(self) -> tuple[str, str]:
        """A static role that is rotated every 17520 hours, and its account."""
        raise NotImplementedError

    def works(self, fields: SecretFields) -> bool:
        """Whether the database takes this username and password."""
        raise NotImplementedError

    # leases

    def test_the_terms_are_the_roles(self, engine: DatabaseEngine, role: str) -> None:
        assert engine.terms(role) == Terms(DAY, WEEK)

    def test_a_lease_is_an_account_that_works_until_it_is_revoked(self, engine: DatabaseEngine, role: str) -> None:
        assert engine.leases(role) == []
        first, second = engine.issue(role), engine.issue(role)
        assert first.fields["username"] != second.fields["username"]
        assert first.terms == Terms(DAY, WEEK)
        assert sorted(engine.leases(role)) == sorted([first.lease_id, second.lease_id])
        engine.revoke(first.lease_id)
        assert engine.leases(role) == [second.lease_id]
        assert (self.works(first.fields), self.works(second.fields)) == (False, True)
        engine.revoke(second.lease_id)
        assert engine.leases(role) == []

    def test_a_lease_tells_what_is_left_of_it(self, engine: DatabaseEngine, role: str) -> None:
        lease = engine.issue(role)
        standing = engine.lease(lease.lease_id)
        assert standing is not None
        assert standing.granted == DAY
        assert DAY - timedelta(minutes=1) < standing.left <= DAY
        engine.renew(lease.lease_id)
        again = engine.lease(lease.lease_id)
        assert again is not None
        assert again.granted == DAY
        engine.revoke(lease.lease_id)
        assert engine.lease(lease.lease_id) is None

    def test_what_has_ended_can_not_be_renewed(self, engine: DatabaseEngine, role: str) -> None:
        lease = engine.issue(role)
        engine.revoke(lease.lease_id)
        with pytest.raises(NotFound) as caught:
            engine.renew(lease.lease_id)
        assert_silent(caught.value, lease.fields["password"].reveal())

    def test_revoking_what_is_absent_is_quiet(self, engine: DatabaseEngine, role: str) -> None:
        lease = engine.issue(role)
        engine.revoke(lease.lease_id)
        engine.revoke(lease.lease_id)
        engine.revoke(f"{engine.mount}/creds/{role}/never-was")
        assert engine.lease(f"{engine.mount}/creds/{role}/never-was") is None

    def test_the_token_that_asked_for_a_lease_is_found_by_its_owner_and_ends_with_what_it_still_has(
        self, engine: DatabaseEngine, revoker: DatabaseEngine, role: str
    ) -> None:
        owner = f"apps/{role}"
        ended, orphan = engine.issue(role, owner), engine.issue(role, owner)
        assert set(revoker.tokens(owner)) == {ended.accessor, orphan.accessor}
        engine.revoke(ended.lease_id)
        for _ in range(2):
            engine.end_token(owner, ended.accessor)
        assert revoker.tokens(owner) == [orphan.accessor]
        engine.end_token(owner, orphan.accessor)
        assert revoker.tokens(owner) == []
        # The hub ends a token's leases after it has said that the token is ended.
        assert eventually(lambda: not self.works(orphan.fields), 30)
        engine.end_token(owner, "never-was")

    @pytest.mark.parametrize("verb", ["issue", "terms", "static_credential", "rotate_static"])
    def test_a_role_that_is_not_there_is_not_found(self, engine: DatabaseEngine, verb: str) -> None:
        with pytest.raises(NotFound) as caught:
            getattr(engine, verb)("no-such-role")
        assert_silent(caught.value)

    # static roles

    def test_a_static_role_names_its_account(self, engine: DatabaseEngine, static: tuple[str, str]) -> None:
        assert engine.static_role(static[0]) == StaticRole(static[1], YEARS)
        assert engine.static_role("no-such-role") is None

    def test_a_static_roles_password_stays_until_it_is_rotated(
        self, engine: DatabaseEngine, static: tuple[str, str]
    ) -> None:
        role, username = static
        first = engine.static_credential(role)
        assert set(first) == {"username", "password"}
        assert first["username"].reveal() == username
        assert engine.static_credential(role) == first
        engine.rotate_static(role)
        second = engine.static_credential(role)
        assert second != first
        assert (self.works(first), self.works(second)) == (False, True)

    def test_what_the_database_refuses_is_an_error_without_its_words(self, engine: DatabaseEngine, doomed: str) -> None:
        before = engine.static_credential(doomed)
        with pytest.raises(KeyturnError) as caught:
            engine.rotate_static(doomed)
        assert_silent(caught.value, before["password"].reveal(), "SQLSTATE", "Error 1")

    @pytest.fixture
    def doomed(self) -> str:
        """A static role whose account has been dropped behind the engine's back."""
        raise NotImplementedError
