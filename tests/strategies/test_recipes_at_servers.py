"""Recipes and public keys against the real servers that they are for, out of Debian's packages."""

from collections.abc import Iterator
from typing import Any

import pytest

from keyturn.catalogue.recipes import Library
from keyturn.catalogue.recipes.expand import rotation_settings, target_settings
from keyturn.catalogue.targets import HttpApiSettings
from keyturn.core.errors import Invalid
from keyturn.core.ports.strategies import Change, Strategy
from keyturn.core.sensitive import SecretFields
from keyturn.providers.http.api_target import HttpApi
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.strategies.registry import STRATEGIES
from local.emulators.recipes.play import Tools
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.test_ssh_key import installed, other_pair
from tests.strategies.test_ssh_key import opened as opened_key
from tests.support.etcd import Etcd
from tests.support.influxdb import InfluxDb
from tests.support.lab import fresh
from tests.support.rest_api import RestApi
from tests.support.sshd import Sshd

pytestmark = [pytest.mark.slow, pytest.mark.sampled(8, of="file")]

PATH = "apps/contract"
LIBRARY = Library()


def opened(name: str, admin: SecretFields, **parameters: Any) -> Strategy:
    """A recipe's strategy, as a catalogue opens it."""
    recipe = LIBRARY[name]
    rotation = rotation_settings(recipe, parameters) | recipe.defaults | {"target": "server"}
    if len(parameters["accounts"]) == 1:
        rotation |= {"accepts_gap": True}
    target = HttpApiSettings.model_validate({**target_settings(recipe, parameters), "admin": "targets/server"})
    api = HttpApi("server", url=target.url, headers=target.headers, login=target.login, admin=lambda: admin)
    return STRATEGIES[recipe.strategy].model_validate(rotation).open(PATH, Tools(api, CryptographyKeys()))


def users(count: int) -> list[SecretFields]:
    """Fresh users with a password, of which the first one serves."""
    return [SecretFields({"username": fresh(), "password": f"first-{fresh()}"}) for _ in range(count)]


def names(accounts: list[SecretFields]) -> list[str]:
    return [fields["username"].reveal() for fields in accounts]


def spoilt(candidate: SecretFields) -> SecretFields:
    return candidate.merged({"password": "not-the-password-that-was-set"})


# --- etcd --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("etcd")) as serving:
        yield serving


def at_etcd(server: Etcd, count: int) -> Case:
    accounts = users(count)
    for fields in accounts:
        server.add(fields)
    return Case(
        opened("etcd-user", server.admin, url=server.url, accounts=names(accounts)),
        accounts[0],
        lambda fields: server.token(fields) is not None,
        spoilt,
        stranger=accounts[0].merged({"username": "somebody_else"}),
    )


class TestOneEtcdUser(StrategyContract):
    changes = frozenset({"username", "password"})
    overlaps = False
    has_place = False

    @pytest.fixture
    def case(self, etcd: Etcd) -> Case:
        return at_etcd(etcd, 1)


class TestTwoEtcdUsers(StrategyContract):
    changes = frozenset({"username", "password"})
    has_place = False

    @pytest.fixture
    def case(self, etcd: Etcd) -> Case:
        return at_etcd(etcd, 2)


def test_the_tokens_of_an_etcd_user_end_with_the_change_of_the_password(etcd: Etcd) -> None:
    case = at_etcd(etcd, 1)
    token = etcd.token(case.current)
    assert token is not None
    assert etcd.is_valid(token)
    change = case.installed()
    assert (etcd.is_valid(token), etcd.token(case.current)) == (False, None)
    assert etcd.token(change.candidate) is not None


# --- InfluxDB 1.x ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDb]:
    with InfluxDb(tmp_path_factory.mktemp("influxdb")) as serving:
        yield serving


def at_influxdb(server: InfluxDb, count: int) -> Case:
    accounts = users(count)
    for fields in accounts:
        server.add(fields)
    return Case(
        opened("influxdb-user", server.admin, url=server.url, accounts=names(accounts)),
        accounts[0],
        server.logs_in,
        spoilt,
        stranger=accounts[0].merged({"username": "somebody_else"}),
    )


class TestOneInfluxDbUser(StrategyContract):
    changes = frozenset({"username", "password"})
    overlaps = False
    has_place = False

    @pytest.fixture
    def case(self, influxdb: InfluxDb) -> Case:
        return at_influxdb(influxdb, 1)


class TestTwoInfluxDbUsers(StrategyContract):
    changes = frozenset({"username", "password"})
    has_place = False

    @pytest.fixture
    def case(self, influxdb: InfluxDb) -> Case:
        return at_influxdb(influxdb, 2)


def test_an_influxdb_user_who_is_absent_is_an_error_though_the_answer_is_a_success(influxdb: InfluxDb) -> None:
    strategy = opened("influxdb-user", influxdb.admin, url=influxdb.url, accounts=["absent"])
    with pytest.raises(Invalid, match="/results/0/error"):
        strategy.install(Change(PATH, 5, strategy.mint(None), None))


# --- OpenSSH, whose authorized keys are those that an API lists ---------------------------------------------


@pytest.fixture
def keys() -> Iterator[RestApi]:
    with RestApi() as serving:
        yield serving


@pytest.fixture
def sshd(keys: RestApi) -> Iterator[Sshd]:
    with Sshd(lambda: [str(key["key"]) for key in keys.ssh.values()]) as serving:
        yield serving


class TestSshKeyAtSshd(StrategyContract):
    changes = frozenset({"private_key", "public_key", "fingerprint"})
    has_place = False

    @pytest.fixture
    def case(self, keys: RestApi, sshd: Sshd) -> Case:
        strategy = opened_key(keys)
        return Case(strategy, installed(strategy), lambda fields: sshd.logs_in(key_of(fields)), other_pair)


def key_of(fields: SecretFields) -> str:
    return fields["private_key"].reveal()


def test_an_ssh_session_outlives_the_end_of_its_key(keys: RestApi, sshd: Sshd) -> None:
    strategy = opened_key(keys)
    old = installed(strategy)
    with sshd.opened(key_of(old)) as is_open:
        new = installed(strategy)
        strategy.retire(strategy.credential_id(old), 1)
        assert (sshd.logs_in(key_of(old)), sshd.logs_in(key_of(new)), is_open()) == (False, True, True)
