"""Static roles of the hub's database engine, against the real hub and databases, with a worker's own policy."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.core.errors import CandidateRejected, Invalid, NotFound, Unavailable
from keyturn.core.ports.engines import StaticRole
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.providers.vault.engines.database import VaultDatabase
from keyturn.providers.vault.hub import VaultHub
from keyturn.strategies.hub_engines import AccountProbe
from keyturn.strategies.vault_static_role import VaultStaticRole
from local.prepare import DATABASE
from local.support.ports import free_port
from tests.contracts.static_role import StaticRoleContract
from tests.contracts.strategy import Case
from tests.support.engines import Engine, OverMariaDB, OverPostgreSQL, worker_hub
from tests.support.lab import Lab

pytestmark = pytest.mark.sampled(10, of="file")

MONTH = timedelta(days=30)


@pytest.fixture
def hub(lab: Lab, tmp_path: Path) -> Iterator[VaultHub]:
    """A worker's."""
    with worker_hub(lab, tmp_path) as opened:
        yield opened


def strategy(hub: VaultHub, database: Engine, role: str, longest: timedelta = MONTH) -> VaultStaticRole:
    return VaultStaticRole("apps/contract", hub.database("database"), AccountProbe(database.target()), role, longest)


def other_password(candidate: SecretFields) -> SecretFields:
    return candidate.merged({"password": "n0t-the-password-that-was-made"})


class VaultStaticRoleCases(StaticRoleContract):
    ends_sessions = True

    @pytest.fixture
    def database(self) -> Engine:
        raise NotImplementedError

    @pytest.fixture
    def role(self, database: Engine) -> str:
        return database.static()[0]

    @pytest.fixture
    def case(self, hub: VaultHub, database: Engine, role: str) -> Case:
        made = strategy(hub, database, role)
        current = made.mint(None)
        stranger = current.merged({"username": "stranger"})
        return Case(made, current, database.logs_in, other_password, stranger=stranger, opened=database.opened)

    # what only it has

    def test_what_the_engine_rotated_by_itself_is_taken_and_not_rotated_again(
        self, case: Case, lab: Lab, role: str
    ) -> None:
        lab.database.rotate_static(role)
        held = lab.database.static_credential(role)
        assert case.strategy.mint(case.current) == held
        assert lab.database.static_credential(role) == held
        assert case.works(held)

    def test_a_password_of_the_engine_that_does_not_log_in_is_replaced(
        self, case: Case, lab: Lab, role: str, database: Engine
    ) -> None:
        held = lab.database.static_credential(role)
        database.set_password(held["username"].reveal(), "changed-behind-the-engines-back-1")
        candidate = case.strategy.mint(held.merged({"password": "what-the-secret-holds"}))
        assert candidate["password"] != held["password"]
        assert case.works(candidate)

    def test_a_candidate_that_was_refused_is_not_offered_again(
        self, case: Case, lab: Lab, role: str, database: Engine
    ) -> None:
        change = case.change()
        database.set_password(change.candidate["username"].reveal(), "changed-behind-the-engines-back-2")
        with pytest.raises(CandidateRejected):
            case.strategy.verify(change)
        case.strategy.abandon(change)
        again = Change("apps/contract", 6, case.strategy.mint(case.current), case.current)
        case.strategy.verify(again)
        assert again.candidate["password"] != change.candidate["password"]

    def test_a_worker_that_wakes_up_late_takes_what_is_there_and_harms_nothing(self, case: Case) -> None:
        newer = case.strategy.mint(case.current)
        late = Change("apps/contract", 4, case.strategy.mint(case.current), case.current)
        case.strategy.install(late)
        case.strategy.abandon(late)
        case.strategy.retire(case.strategy.credential_id(case.current), 4)
        assert case.works(newer)

    def test_a_cut_of_an_older_version_ends_the_account_with_its_newer_password(
        self, case: Case, database: Engine
    ) -> None:
        newer = case.strategy.mint(case.current)
        with database.opened(newer) as works_still:
            assert case.strategy.revoke(case.current, 6).sessions == 1
            assert not works_still()
        assert not case.works(newer)

    def test_a_password_that_works_though_the_engine_does_not_know_it_is_changed_too(
        self, case: Case, database: Engine
    ) -> None:
        behind = case.current.merged({"password": "changed-behind-the-engines-back-3"})
        database.set_password(behind["username"].reveal(), "changed-behind-the-engines-back-3")
        case.strategy.revoke(behind, 6)
        assert not case.works(behind)
        assert case.works(case.strategy.mint(None))

    def test_a_credential_of_another_account_is_left_alone_and_told_where_it_works(
        self, case: Case, hub: VaultHub, database: Engine
    ) -> None:
        theirs = strategy(hub, database, database.static()[0]).mint(None)
        with pytest.raises(Invalid, match="and the secret names"):
            case.strategy.revoke(theirs, 6)
        assert case.works(theirs)
        assert case.strategy.revoke(theirs.merged({"password": "long-gone"}), 6) == RevokeResult()


class TestOverPostgreSQL(VaultStaticRoleCases):
    @pytest.fixture
    def database(self, over_postgresql: OverPostgreSQL) -> Engine:
        return over_postgresql


class TestOverMariaDB(VaultStaticRoleCases):
    @pytest.fixture
    def database(self, over_mariadb: OverMariaDB) -> Engine:
        return over_mariadb


def test_a_password_that_changes_while_it_is_tried_is_looked_at_again(
    hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    """Between the engine's answer and the login another run has rotated: its password is taken, not replaced."""
    role, _ = over_postgresql.static()
    engine = hub.database("database")
    newest = engine.static_credential(role)

    class Behind(VaultDatabase):
        """Answers once with what was there before."""

        def __init__(self) -> None:
            super().__init__(hub._calls, "database", hub._tokens("lease", "lease-tokens"), own_token=True)
            self.answers = [newest.merged({"password": "the-one-before"})]

        def static_credential(self, role: str) -> SecretFields:
            return self.answers.pop() if self.answers else super().static_credential(role)

    made = VaultStaticRole("apps/contract", Behind(), AccountProbe(over_postgresql.target()), role, MONTH)
    assert made.mint(newest.merged({"password": "the-one-before-that"})) == newest
    assert over_postgresql.logs_in(newest)


def test_the_password_changes_though_the_target_can_not_be_reached_from_here(
    lab: Lab, hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    role, _ = over_postgresql.static()
    current = strategy(hub, over_postgresql, role).mint(None)
    nowhere = PostgreSQL("pg", host=lab.world.host, port=free_port(), database=DATABASE, admin=lab.admin)
    made = VaultStaticRole("apps/contract", hub.database("database"), AccountProbe(nowhere), role, MONTH)
    with pytest.raises(Unavailable):
        made.revoke(current, 6)
    assert not over_postgresql.logs_in(current)


# --- whose schedule it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize("period", ["24h", "719h", "1439h"])
def test_a_role_that_the_engine_rotates_too_soon_is_refused(
    hub: VaultHub, over_postgresql: OverPostgreSQL, period: str
) -> None:
    role, _ = over_postgresql.static(period)
    with pytest.raises(Invalid, match=r"rotates it by itself every .* rotation_period to 5184000s or more"):
        strategy(hub, over_postgresql, role).preflight(None, None)


def test_a_role_that_lasts_for_two_rotations_is_taken(hub: VaultHub, over_postgresql: OverPostgreSQL) -> None:
    role, _ = over_postgresql.static("1440h")
    strategy(hub, over_postgresql, role).preflight(None, None)


def test_a_role_that_a_calendar_rotates_is_refused(hub: VaultHub, over_postgresql: OverPostgreSQL) -> None:
    """Which Vault has, and OpenBao has not."""
    role, username = over_postgresql.static()
    with pytest.raises(Invalid, match="by a calendar"):
        strategy(hub, over_postgresql, role)._must_be_ours_to_rotate(StaticRole(username, None))


def test_a_role_that_is_not_there_is_not_found(hub: VaultHub, over_postgresql: OverPostgreSQL) -> None:
    with pytest.raises(NotFound, match=r"database/static-roles/absent.*Make it first"):
        strategy(hub, over_postgresql, "absent").preflight(None, None)
