"""The adapter of the hub's database engine, over PostgreSQL and MariaDB, and the tokens that ask for leases."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest

from keyturn.core.errors import Denied, Unavailable
from keyturn.core.ports.engines import DatabaseEngine, Terms
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.prepare import LEASE, REVOKER, WORKER
from tests.contracts.engines import DAY, DatabaseEngineContract
from tests.contracts.hub import assert_silent
from tests.support.engines import CONNECTION, Engine, OverMariaDB, OverPostgreSQL, worker_hub
from tests.support.lab import Lab, fresh
from tests.support.world import TOKEN_VARIABLE

pytestmark = pytest.mark.sampled(4, of="file")


class VaultDatabaseCases(DatabaseEngineContract):
    """The contract, with the policy that the repository gives to a worker."""

    @pytest.fixture
    def database(self) -> Engine:
        raise NotImplementedError

    @pytest.fixture
    def engine(self, lab: Lab, tmp_path: Path, database: Engine) -> Iterator[DatabaseEngine]:
        self.database_now = database
        with worker_hub(lab, tmp_path) as hub:
            yield hub.database("database")

    @pytest.fixture
    def revoker(self, lab: Lab, tmp_path: Path) -> Iterator[DatabaseEngine]:
        (tmp_path / "revoker").mkdir()
        with worker_hub(lab, tmp_path / "revoker", role=REVOKER) as hub:
            yield hub.database("database")

    @pytest.fixture
    def role(self, database: Engine) -> str:
        return database.dynamic("24h", "168h")

    @pytest.fixture
    def static(self, database: Engine) -> tuple[str, str]:
        return database.static()

    def works(self, fields: SecretFields) -> bool:
        return self.database_now.logs_in(fields)


class TestOverPostgreSQL(VaultDatabaseCases):
    @pytest.fixture
    def database(self, over_postgresql: OverPostgreSQL) -> Engine:
        return over_postgresql

    @pytest.fixture
    def doomed(self, lab: Lab, over_postgresql: OverPostgreSQL) -> str:
        role, username = over_postgresql.static()
        lab.sql(f"DROP ROLE {username}")
        return role

    def test_an_account_is_valid_as_long_as_its_lease_and_longer_when_that_is_renewed(
        self, lab: Lab, engine: DatabaseEngine, role: str
    ) -> None:
        lease = engine.issue(role)
        username = lease.fields["username"].reveal()
        ((first,),) = lab.sql("SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s", username)
        time.sleep(1.1)
        engine.renew(lease.lease_id)
        ((second,),) = lab.sql("SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s", username)
        assert timedelta(seconds=1) <= second - first < timedelta(seconds=60)


class TestOverMariaDB(VaultDatabaseCases):
    @pytest.fixture
    def database(self, over_mariadb: OverMariaDB) -> Engine:
        return over_mariadb

    @pytest.fixture
    def doomed(self, over_mariadb: OverMariaDB) -> str:
        role, username = over_mariadb.static()
        over_mariadb.sql(f"DROP USER '{username}'@'%'")
        return role


def test_a_role_without_times_of_its_own_has_those_of_its_mount(lab: Lab, over_postgresql: OverPostgreSQL) -> None:
    role = over_postgresql.dynamic("0", "0")
    lab.root.sys.tune_mount_configuration("database", default_lease_ttl="30h", max_lease_ttl="60h")
    try:
        assert lab.database.terms(role) == Terms(timedelta(hours=30), timedelta(hours=60))
        assert lab.database.terms(over_postgresql.dynamic("90h", "90h")) == Terms(
            timedelta(hours=60), timedelta(hours=60)
        )
    finally:
        lab.root.sys.tune_mount_configuration("database", default_lease_ttl="0", max_lease_ttl="0")
    assert lab.database.terms(role) == Terms(timedelta(hours=768), timedelta(hours=768))


def test_a_renewal_reaches_no_further_than_the_longest_life(lab: Lab, over_postgresql: OverPostgreSQL) -> None:
    lease = lab.database.issue(over_postgresql.dynamic("1h", "1h"))
    time.sleep(1.1)
    lab.database.renew(lease.lease_id)
    standing = lab.database.lease(lease.lease_id)
    assert standing is not None
    assert timedelta(minutes=59) < standing.left < timedelta(hours=1)


# --- leases and the token that asked for them --------------------------------------------------------------


def test_a_lease_is_no_longer_than_the_life_of_the_token_that_asks(
    lab: Lab, tmp_path: Path, over_postgresql: OverPostgreSQL
) -> None:
    lab.root.sys.create_or_update_policy(
        asker := fresh(),
        'path "database/*" { capabilities = ["read"] }\npath "sys/mounts/database/tune" { capabilities = ["read"] }',
    )
    token = lab.root.auth.token.create(policies=[asker], ttl="2s")["auth"]["client_token"]
    (tmp_path / "token").write_text(token)
    role = over_postgresql.dynamic()
    with closing(VaultHub(HubSettings(lab.world.hub_address, login=TokenLogin(file=str(tmp_path / "token"))))) as hub:
        lease = hub.database("database").issue(role)
    assert lease.terms.default <= timedelta(seconds=2)
    assert lease.terms.longest <= timedelta(seconds=2)
    end = time.monotonic() + 8
    while lab.database.leases(role) and time.monotonic() < end:
        time.sleep(0.1)
    assert lab.database.leases(role) == []
    assert not lab.logs_in(lease.fields)


def test_a_lease_asked_for_through_the_token_role_outlives_the_workers_login(
    lab: Lab, tmp_path: Path, over_postgresql: OverPostgreSQL
) -> None:
    with worker_hub(lab, tmp_path) as hub:
        lease = hub.database("database").issue(over_postgresql.dynamic())
        logins = [one["accessor"] for one in tokens(lab) if WORKER in one["policies"]]
        for accessor in logins:
            lab.root.auth.token.revoke_accessor(accessor)
        assert logins
        assert lease.terms.longest == DAY
        assert lab.logs_in(lease.fields)
        hub.database("database").revoke(lease.lease_id)
    assert not lab.logs_in(lease.fields)


def test_a_token_that_got_no_lease_is_given_back(lab: Lab, over_postgresql: OverPostgreSQL) -> None:
    token_role = fresh()
    lab.root.auth.token.create_or_update_role(token_role, orphan=True, allowed_policies=["default"])
    settings = HubSettings(lab.world.hub_address, login=TokenLogin(TOKEN_VARIABLE), lease_token_role=token_role)
    with closing(VaultHub(settings)) as hub, pytest.raises(Denied) as caught:
        hub.database("database").issue(over_postgresql.dynamic())
    assert_silent(caught.value)
    assert [one for one in tokens(lab) if one["path"] == f"auth/token/create/{token_role}"] == []


def test_a_token_that_can_not_be_recorded_is_given_back_and_asks_for_nothing(
    lab: Lab, tmp_path: Path, over_postgresql: OverPostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    role, before = over_postgresql.dynamic(), {one["accessor"] for one in tokens(lab) if LEASE in one["policies"]}

    def away(*_: object) -> None:
        raise Unavailable("write", "the record", "the hub does not answer")

    with worker_hub(lab, tmp_path) as hub:
        monkeypatch.setattr(VaultHub, "claim_state", away)
        with pytest.raises(Unavailable, match="the record"):
            hub.database("database").issue(role, "apps/any")
    assert lab.database.leases(role) == []
    assert {one["accessor"] for one in tokens(lab) if LEASE in one["policies"]} <= before


def test_a_lease_whose_account_can_not_be_ended_is_worth_another_try(lab: Lab, over_mariadb: OverMariaDB) -> None:
    role = over_mariadb.dynamic()
    lab.root.secrets.database.create_role(
        name=role,
        db_name=CONNECTION,
        creation_statements=["CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'"],
        revocation_statements=["DROP USER nobody@nowhere"],
    )
    lease = lab.database.issue(role)
    with pytest.raises(Unavailable, match="revocation_statements") as caught:
        lab.database.revoke(lease.lease_id)
    assert_silent(caught.value)
    assert lab.database.leases(role) == [lease.lease_id]


def tokens(lab: Lab) -> Iterator[Mapping[str, Any]]:
    """What the hub tells of every token that lives."""
    for accessor in lab.root.auth.token.list_accessors()["data"]["keys"]:
        try:
            yield lab.root.auth.token.lookup_accessor(accessor)["data"]
        except (hvac.exceptions.InvalidPath, hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden):
            continue
