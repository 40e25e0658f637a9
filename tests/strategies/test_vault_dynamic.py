"""Leases of the hub's database engine, against the real hub and databases, with a worker's own policy."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from keyturn.core.errors import Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.ports.engines import LeaseStanding
from keyturn.core.ports.strategies import AccountTarget, Change, RevokeResult
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.sensitive import SecretFields
from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.strategies.hub_engines import AccountProbe
from keyturn.strategies.vault_dynamic import MOST, VaultDynamic, VaultDynamicSettings, wants_renewal
from local.prepare import DATABASE, LEASE, REVOKER
from local.support.ports import free_port
from tests.contracts.strategy import Case, StrategyContract
from tests.support.engines import Engine, OverMariaDB, OverPostgreSQL, worker_hub
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh
from tests.support.world import TOKEN_VARIABLE

pytestmark = pytest.mark.sampled(10, of="file")

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def hub(lab: Lab, tmp_path: Path) -> Iterator[VaultHub]:
    """A worker's."""
    with worker_hub(lab, tmp_path) as opened:
        yield opened


@pytest.fixture
def revoker(lab: Lab, tmp_path: Path) -> Iterator[VaultHub]:
    """That of whoever revokes."""
    (tmp_path / "revoker").mkdir()
    with worker_hub(lab, tmp_path / "revoker", role=REVOKER) as opened:
        yield opened


def strategy(
    hub: VaultHub,
    database: Engine,
    role: str,
    life: timedelta = DAY,
    clock: Callable[[], datetime] = now,
    former: Sequence[str] = (),
) -> VaultDynamic:
    return VaultDynamic(
        "apps/contract", hub.database("database"), AccountProbe(database.target()), role, life, clock, former
    )


def other_password(candidate: SecretFields) -> SecretFields:
    return candidate.merged({"password": "n0t-the-password-that-was-made"})


class VaultDynamicCases(StrategyContract):
    changes = frozenset({"username", "password", "lease_id", "token_accessor", "expires_at"})
    ends_sessions = True

    @pytest.fixture
    def database(self) -> Engine:
        raise NotImplementedError

    @pytest.fixture
    def role(self, database: Engine) -> str:
        return database.dynamic("24h", "168h")

    @pytest.fixture
    def case(self, hub: VaultHub, revoker: VaultHub, database: Engine, role: str) -> Case:
        made, ends = strategy(hub, database, role), strategy(revoker, database, role)
        current = made.mint(None)
        stranger = current.merged({"lease_id": "database/creds/somebody-else/aBcDeF"})
        return Case(made, current, database.logs_in, other_password, database.session, stranger, database.opened, ends)

    def test_every_version_has_a_lease_and_an_account_of_its_own(
        self, case: Case, hub: VaultHub, database: Engine, role: str
    ) -> None:
        change, engine = case.installed(), hub.database("database")
        held = {fields["lease_id"].reveal() for fields in (case.current, change.candidate)}
        assert set(engine.leases(role)) == held
        assert database.accounts(role) == 2
        case.strategy.retire(case.strategy.credential_id(case.current), change.sequence)
        assert engine.leases(role) == [change.candidate["lease_id"].reveal()]
        assert database.accounts(role) == 1

    def test_a_record_of_an_older_version_ends_the_lease_and_tells_of_no_use(self, case: Case) -> None:
        ends = {"lease_id": case.current["lease_id"].reveal()}
        assert case.session is not None
        with case.session(case.current):
            assert case.strategy.in_use(ends, now()) == ()
        case.strategy.retire(ends, 5)
        assert not case.works(case.current)

    def test_a_cut_revokes_the_lease_and_its_account_is_gone(
        self, case: Case, hub: VaultHub, database: Engine, role: str
    ) -> None:
        case.strategy.revoke(case.current, 6)
        assert hub.database("database").leases(role) == []
        assert database.accounts(role) == 0

    def test_the_token_that_asked_for_a_lease_ends_with_it(self, case: Case, revoker: VaultHub) -> None:
        engine, change = revoker.database("database"), case.installed()
        asked = [fields["token_accessor"].reveal() for fields in (case.current, change.candidate)]
        assert set(asked) <= set(engine.tokens("apps/contract"))
        case.strategy.retire(case.strategy.credential_id(case.current), change.sequence)
        assert set(asked) & set(engine.tokens("apps/contract")) == {asked[1]}
        case.strategy.abandon(change)
        assert not set(asked) & set(engine.tokens("apps/contract"))

    def test_a_lease_that_no_version_holds_is_found_by_its_role_and_by_its_token(
        self, case: Case, hub: VaultHub, database: Engine, role: str
    ) -> None:
        elsewhere = hub.database("database").issue(database.dynamic("24h", "168h"), "apps/contract")
        orphan = hub.database("database").issue(role)
        for name in case.by_place.find_everything([case.current]):
            case.by_place.revoke_found(name, 6)
        assert case.works(case.current)
        assert not case.works(orphan.fields)
        assert eventually(lambda: not case.works(elsewhere.fields))  # the hub ends a token's leases after the token

    def test_the_lease_is_revoked_where_the_version_does_not_tell_the_account(self, case: Case) -> None:
        nameless = SecretFields({"lease_id": case.current["lease_id"]})
        (said,) = case.strategy.revoke(nameless, 6).outlives
        assert "whose name this version does not have" in said
        assert not case.works(case.current)


class TestOverPostgreSQL(VaultDynamicCases):
    @pytest.fixture
    def database(self, over_postgresql: OverPostgreSQL) -> Engine:
        return over_postgresql


class TestOverMariaDB(VaultDynamicCases):
    @pytest.fixture
    def database(self, over_mariadb: OverMariaDB) -> Engine:
        return over_mariadb


# --- how long a lease lasts --------------------------------------------------------------------------------


def test_the_candidate_ends_when_its_lease_can_be_renewed_no_more(
    hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    made = strategy(hub, over_postgresql, over_postgresql.dynamic("24h", "168h"), clock=lambda: at).mint(None)
    assert made["expires_at"].reveal() == "2030-01-08T00:00:00+00:00"


def test_a_lease_ends_with_its_role_and_not_before_two_rotations_and_a_grace(
    hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    role = over_postgresql.dynamic("1h", "24h")
    strategy(hub, over_postgresql, role).preflight(None, None)
    too_long = strategy(hub, over_postgresql, role, DAY + timedelta(seconds=1))
    with pytest.raises(Invalid, match=r"can last 1 day, 0:00:00.*need 1 day, 0:00:01.*max_ttl"):
        too_long.preflight(None, None)
    assert hub.database("database").leases(role) == []


def test_leases_that_would_end_between_two_renewals_are_refused(hub: VaultHub, over_postgresql: OverPostgreSQL) -> None:
    with pytest.raises(Invalid, match=r"last 0:59:59 unless renewed.*default_ttl to 1:00:00"):
        strategy(hub, over_postgresql, over_postgresql.dynamic("3599s", "24h")).preflight(None, None)
    strategy(hub, over_postgresql, over_postgresql.dynamic("3600s", "24h")).preflight(None, None)


def test_a_lease_whose_token_lives_too_short_is_given_back(lab: Lab, over_postgresql: OverPostgreSQL) -> None:
    role, token_role = over_postgresql.dynamic(), fresh()
    lab.root.auth.token.create_or_update_role(
        token_role, orphan=True, allowed_policies=[LEASE], token_explicit_max_ttl="1h"
    )
    settings = HubSettings(lab.world.hub_address, login=TokenLogin(TOKEN_VARIABLE), lease_token_role=token_role)
    with closing(VaultHub(settings)) as hub:
        short = strategy(hub, over_postgresql, role)
        short.preflight(None, None)
        with pytest.raises(Invalid, match=r"ends with the token that asked.*1:00:00.*KEYTURN_HUB_LEASE_TOKEN_ROLE"):
            short.mint(None)
        assert hub.database("database").leases(role) == []
    assert over_postgresql.accounts(role) == 0


def test_a_role_that_is_not_there_is_not_found(hub: VaultHub, over_postgresql: OverPostgreSQL) -> None:
    with pytest.raises(NotFound, match="database/roles/absent"):
        strategy(hub, over_postgresql, "absent").preflight(None, None)


# --- keeping it alive --------------------------------------------------------------------------------------


def shortened(lab: Lab, lease_id: str, left: timedelta) -> None:
    """Let a lease end in a while, as if the rest of it were over."""
    increment = int(left.total_seconds())
    lab.root.write_data("sys/leases/renew", data={"lease_id": lease_id, "increment": increment})


def left(hub: VaultHub, lease_id: str) -> timedelta:
    standing = hub.database("database").lease(lease_id)
    assert standing is not None
    return standing.left


def test_a_lease_is_renewed_when_little_is_left_and_left_alone_before(
    lab: Lab, hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    made = strategy(hub, over_postgresql, over_postgresql.dynamic("24h", "168h"))
    ends = made.credential_id(made.mint(None))
    shortened(lab, ends["lease_id"], timedelta(minutes=50))
    made.renew(ends)
    assert timedelta(minutes=49) < left(hub, ends["lease_id"]) <= timedelta(minutes=50)
    shortened(lab, ends["lease_id"], timedelta(minutes=44))
    made.renew(ends)
    assert left(hub, ends["lease_id"]) > timedelta(hours=23)


def test_a_short_lease_is_renewed_at_every_turn_but_the_first(
    hub: VaultHub, lab: Lab, over_postgresql: OverPostgreSQL
) -> None:
    made = strategy(hub, over_postgresql, over_postgresql.dynamic("1h", "24h"), life=HOUR)
    ends = made.credential_id(made.mint(None))
    made.renew(ends)
    assert left(hub, ends["lease_id"]) <= HOUR
    shortened(lab, ends["lease_id"], timedelta(minutes=40))
    made.renew(ends)
    assert left(hub, ends["lease_id"]) > timedelta(minutes=59)


@pytest.mark.parametrize(
    ("left", "granted", "renewed"),
    [
        (12 * HOUR, 24 * HOUR, False),
        (12 * HOUR - timedelta(seconds=1), 24 * HOUR, True),
        (45 * MINUTE, HOUR, False),
        (45 * MINUTE - timedelta(seconds=1), HOUR, True),
        (timedelta(0), timedelta(days=32), True),
    ],
)
def test_a_lease_is_renewed_once_half_of_it_or_all_but_45_minutes_are_over(
    left: timedelta, granted: timedelta, renewed: bool
) -> None:
    assert wants_renewal(LeaseStanding(left, granted)) is renewed


def test_current_whose_lease_has_ended_says_what_to_run(hub: VaultHub, over_postgresql: OverPostgreSQL) -> None:
    made = strategy(hub, over_postgresql, over_postgresql.dynamic())
    ends = made.credential_id(made.mint(None))
    made.retire(ends, 5)
    with pytest.raises(NotFound, match="keyturn rotate apps/contract --now") as caught:
        made.renew(ends)
    assert ends["lease_id"] in str(caught.value)


# --- whose lease it is -------------------------------------------------------------------------------------


def test_a_version_without_a_lease_names_nothing_to_end(
    lab: Lab, hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    by_hand = SecretFields({"username": "by-hand", "password": "x"})
    nowhere = PostgreSQL("pg", host=lab.world.host, port=free_port(), database=DATABASE, admin=lab.admin)
    assert over(hub, nowhere, over_postgresql.dynamic()).revoke(by_hand, 6) == RevokeResult()
    made = strategy(hub, over_postgresql, over_postgresql.dynamic())
    made.preflight(by_hand, None)
    assert made.credential_id(by_hand) == {}


def test_a_role_whose_name_another_begins_with_is_another(hub: VaultHub, over_postgresql: OverPostgreSQL) -> None:
    role = over_postgresql.dynamic()
    theirs = SecretFields({"username": "x", "password": "x", "lease_id": f"database/creds/{role}-too/aBcDeF"})
    with pytest.raises(Invalid, match=f"another role than database/creds/{role}.*former_roles"):
        strategy(hub, over_postgresql, role).preflight(theirs, None)


def test_a_role_that_others_use_too_is_refused_before_anything_is_swept(
    lab: Lab, hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    role = over_postgresql.dynamic()
    ours = strategy(hub, over_postgresql, role)
    for _ in range(MOST):
        lab.database.issue(role)
    assert len(ours.existing_ids()) == MOST
    lab.database.issue(role)
    with pytest.raises(Invalid, match=r"101 leases.*role that is used for nothing else"):
        ours.existing_ids()


def test_what_another_role_issued_is_never_swept(hub: VaultHub, over_postgresql: OverPostgreSQL) -> None:
    ours, theirs = over_postgresql.dynamic(), over_postgresql.dynamic()
    lease = hub.database("database").issue(theirs)
    made = strategy(hub, over_postgresql, ours)
    orphan = made.mint(None)
    made.remove_orphans((), [])
    assert hub.database("database").leases(theirs) == [lease.lease_id]
    assert not over_postgresql.logs_in(orphan)


def test_give_up_a_candidate_ends_its_account_though_current_has_been_changed(
    hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    made = strategy(hub, over_postgresql, over_postgresql.dynamic())
    candidate = made.mint(None)
    made.abandon(Change("apps/contract", 5, candidate, SecretFields({"note": "by hand"})))
    assert not over_postgresql.logs_in(candidate)


# --- an emergency at a database whose accounts are the engine's alone ----------------------------------------


@contextmanager
def another_admin(lab: Lab, *rights: str) -> Iterator[PostgreSQL]:
    """The database as a target, with an admin that may alter no account of the engine's."""
    name, password = fresh(), f"s3cr3t-{fresh()}"
    lab.sql(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{password}'")
    for right in rights:
        lab.sql(f"GRANT {right} TO {name}")
    admin = SecretFields({"username": name, "password": password})
    where: dict[str, Any] = {"host": lab.world.host, "port": lab.world.port, "database": DATABASE}
    with closing(PostgreSQL("pg", **where, admin=lambda: admin, sslmode="disable")) as target:
        yield target


def over(hub: VaultHub, target: AccountTarget, role: str) -> VaultDynamic:
    return VaultDynamic("apps/contract", hub.database("database"), AccountProbe(target), role, DAY, now)


def test_sessions_end_with_the_lease_where_keyturns_admin_may_end_sessions_and_no_more(
    lab: Lab, hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    role = over_postgresql.dynamic("24h", "168h")
    with another_admin(lab, "pg_signal_backend") as target:
        made = over(hub, target, role)
        current = made.mint(None)
        with over_postgresql.opened(current) as works_still:
            assert made.revoke(current, 6) == RevokeResult(sessions=1)
            assert not works_still()
        assert made.accepts(current) is False
    assert hub.database("database").leases(role) == []


def test_the_lease_ends_and_open_sessions_are_told_where_keyturns_admin_may_end_none(
    lab: Lab, hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    role = over_postgresql.dynamic("24h", "168h")
    with another_admin(lab) as target:
        made = over(hub, target, role)
        current = made.mint(None)
        with over_postgresql.opened(current) as works_still:
            (said,) = made.revoke(current, 6).outlives
            assert works_still()
        assert made.accepts(current) is False
    assert current["username"].reveal() in said
    assert "GRANT pg_signal_backend TO" in said
    assert current["password"].reveal() not in said


def test_the_lease_ends_though_the_target_can_not_be_reached_from_here(
    lab: Lab, hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    role = over_postgresql.dynamic("24h", "168h")
    nowhere = PostgreSQL("pg", host=lab.world.host, port=free_port(), database=DATABASE, admin=lab.admin)
    made = over(hub, nowhere, role)
    current = made.mint(None)
    (said,) = made.revoke(current, 6).outlives
    assert "does not answer" in said
    assert not over_postgresql.logs_in(current)
    with pytest.raises(Unavailable):
        made.accepts(current)


@pytest.mark.parametrize("tells_token", [True, False])
def test_a_working_lease_of_another_secrets_role_is_left_alone_and_reported(
    hub: VaultHub, revoker: VaultHub, over_postgresql: OverPostgreSQL, *, tells_token: bool
) -> None:
    lease = hub.database("database").issue(over_postgresql.dynamic("24h", "168h"), "apps/another")
    theirs = lease.fields.merged({"lease_id": lease.lease_id})
    theirs = theirs.merged({"token_accessor": lease.accessor}) if tells_token else theirs
    made = strategy(revoker, over_postgresql, over_postgresql.dynamic("24h", "168h"))
    with pytest.raises(Invalid, match="a lease of another role"):
        made.revoke(theirs, 6)
    assert over_postgresql.logs_in(theirs)
    assert made.revoke(theirs.merged({"password": "long-gone"}), 6) == RevokeResult()


@pytest.mark.parametrize("keeps_lease_id", [True, False])
def test_a_lease_of_a_role_that_the_catalogue_names_no_more_ends_with_the_secrets_own_token(
    hub: VaultHub, revoker: VaultHub, over_postgresql: OverPostgreSQL, *, keeps_lease_id: bool
) -> None:
    before = strategy(hub, over_postgresql, over_postgresql.dynamic("24h", "168h")).mint(None)
    version = before if keeps_lease_id else before.merged({"lease_id": ""})
    made = strategy(revoker, over_postgresql, over_postgresql.dynamic("24h", "168h"))
    with over_postgresql.opened(before) as works_still:
        result = made.revoke(version, 6)
        assert result.sessions == 1
        assert not works_still()
    assert "until the hub has revoked it" in result.outlives[0]
    assert eventually(lambda: not over_postgresql.logs_in(before), 30)
    assert made.revoke(version, 6) == RevokeResult()


@pytest.mark.parametrize("role_is_there", [True, False])
def test_leases_of_a_former_role_are_the_secrets_own(
    lab: Lab, hub: VaultHub, revoker: VaultHub, over_postgresql: OverPostgreSQL, *, role_is_there: bool
) -> None:
    old, new = over_postgresql.dynamic("24h", "168h"), over_postgresql.dynamic("24h", "168h")
    before, orphan = strategy(hub, over_postgresql, old).mint(None), hub.database("database").issue(old)
    with pytest.raises(Invalid, match=r"another role.*former_roles"):
        strategy(hub, over_postgresql, new).preflight(before, None)
    made = strategy(hub, over_postgresql, new, former=[old])
    made.preflight(before, None)
    made.renew(made.credential_id(before))
    if not role_is_there:
        lab.root.secrets.database.delete_role(name=old)
        with pytest.raises(KeyturnError):
            hub.database("database").renew(before["lease_id"].reveal())
    candidate = made.mint(before)
    assert hub.database("database").leases(new) == [candidate["lease_id"].reveal()]
    made.retire(made.credential_id(before), 5)
    assert (over_postgresql.logs_in(before), over_postgresql.logs_in(candidate)) == (False, True)
    by_place = strategy(revoker, over_postgresql, new, former=[old])
    assert orphan.lease_id in set(by_place.find_everything([candidate]))
    for name in by_place.find_everything([candidate]):
        by_place.revoke_found(name, 6)
    assert not over_postgresql.logs_in(orphan.fields)
    assert over_postgresql.logs_in(candidate)


def test_a_former_role_gives_the_rights_to_its_leases_and_to_no_new_one() -> None:
    settings = TypeAdapter(VaultDynamicSettings).validate_python(
        {
            "strategy": "vault-dynamic",
            "target": "pg",
            "interval": "1d",
            "grace": "1h",
            "role": "new",
            "former_roles": ["old"],
        }
    )
    rules = [rule for section in settings.rights(HubPlaces()) for rule in section.rules]
    allowed = {path: rule for rule in rules for path in [rule.path]}
    assert {"sys/leases/lookup/database/creds/new/", "sys/leases/lookup/database/creds/old/"} <= set(allowed)
    wanted = ("database/creds/new/*", "database/creds/old/*")
    assert allowed["sys/leases/revoke"].parameters["lease_id"] == wanted
    asked = [rule.path for section in settings.rights_to_ask(HubPlaces()) for rule in section.rules]
    assert "database/creds/old" not in asked


def test_the_account_is_shut_before_the_hub_is_asked_where_the_engine_lets_keyturns_admin_alter_it(
    lab: Lab, hub: VaultHub, over_postgresql: OverPostgreSQL
) -> None:
    """The right that the role's creation statements may give, as the page says; it ends sessions as well."""
    role = over_postgresql.dynamic("24h", "168h")
    with another_admin(lab) as target:
        made = over(hub, target, role)
        current = made.mint(None)
        account, admin = current["username"].reveal(), target._admin()["username"].reveal()
        lab.sql(f'GRANT "{account}" TO {admin} WITH ADMIN OPTION')
        with over_postgresql.opened(current) as works_still:
            assert made.revoke(current, 6) == RevokeResult(sessions=1)
            assert not works_still()
    assert hub.database("database").leases(role) == []
    assert not over_postgresql.logs_in(current)
