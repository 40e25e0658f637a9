"""Engines of the hub that make accounts elsewhere than in databases: one suite over their shapes.

OpenBao has no engine for LDAP, AD, AWS, Azure and Google Cloud, so an emulator plays them,
and that of Kubernetes, which needs a cluster; the leases' tokens are the real hub's.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from keyturn.core.errors import Invalid
from keyturn.core.ports.engines import LEASES
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.sensitive import SecretFields
from keyturn.providers.http.api_target import HttpApi
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.strategies.base import Tools
from keyturn.strategies.vault_dynamic import VaultDynamic, VaultDynamicSettings
from keyturn.strategies.vault_static_role import VaultStaticRole, VaultStaticRoleSettings
from local.prepare import LEASE
from tests.contracts.static_role import StaticRoleContract
from tests.contracts.strategy import Case, StrategyContract
from tests.support.hub_engines import LEASING, STATIC, HubWithEngines
from tests.support.lab import Lab
from tests.support.sampling import deep
from tests.support.world import TOKEN_VARIABLE

DEEP = pytest.mark.skipif(not deep(), reason="their shapes differ from others in data alone: make test-deep")

PATH = "apps/contract"
NAMED = {
    "ldap": ("username", "password"),
    "aws": ("access_key_id", "secret_access_key"),
    "azure": ("client_id", "client_secret"),
    "gcp": ("private_key_data", "private_key_data"),
    "kubernetes": ("service_account_name", "token"),
    "ad": ("username", "password"),
}
"""The fields of the secret that a client logs in with."""
TIMES = {"target": "api", "role": "app", "interval": "1d", "grace": "1h"}


class Opened:
    """What a strategy is opened with: the hub, and an API that lets in with what the engine has made."""

    def __init__(self, hub: VaultHub, url: str) -> None:
        self.hub = hub
        self.url = url

    def clock(self) -> datetime:
        return datetime.now(UTC)

    def target(self, name: str) -> HttpApi:
        return HttpApi(name, url=self.url, admin=lambda: SecretFields({}))


@pytest.fixture
def engine() -> str:
    raise NotImplementedError


@pytest.fixture
def server(lab: Lab, engine: str, request: pytest.FixtureRequest) -> Iterator[HubWithEngines]:
    table = STATIC if issubclass(request.cls, StaticCases) else LEASING
    with HubWithEngines(lab.world.hub_address, engine, table[engine]) as serving:
        yield serving


@pytest.fixture
def tools(lab: Lab, server: HubWithEngines) -> Iterator[Tools]:
    settings = HubSettings(server.address, login=TokenLogin(TOKEN_VARIABLE), lease_token_role=LEASE)
    with closing(VaultHub(settings)) as hub:
        yield Opened(hub, server.address)  # type: ignore[misc]


def request_of(engine: str) -> dict[str, Any]:
    name, value = NAMED[engine]
    return {"path": "/whoami", "headers": {"x-credential": f"{{{{{name}}}}}:{{{{{value}}}}}"}}


def works(server: HubWithEngines, engine: str, fields: SecretFields) -> bool:
    name, value = NAMED[engine]
    return server.accepts(fields[name].reveal(), fields[value].reveal())


class LeaseCases(StrategyContract):
    @pytest.fixture
    def case(self, server: HubWithEngines, tools: Tools, engine: str) -> Case:
        rotation = {"strategy": "vault-dynamic", "engine": engine, "test": request_of(engine), **TIMES}
        settings: VaultDynamicSettings = TypeAdapter(VaultDynamicSettings).validate_python(rotation)
        strategy = settings.open(PATH, tools)
        current = strategy.mint(None)
        value = NAMED[engine][1]
        return Case(
            strategy,
            current,
            lambda fields: works(server, engine, fields),
            lambda candidate: candidate.merged({value: "n0t-what-was-made"}),
            stranger=current.merged({"lease_id": f"{engine}/creds/somebody-else/aBc"}),
        )

    def test_open_sessions_are_said_to_outlive_a_cut(self, case: Case) -> None:
        assert isinstance(case.strategy, VaultDynamic)
        outlives = case.strategy.revoke(case.current, 6).outlives
        assert bool(outlives) is bool(case.strategy.shape.account)
        assert all("nothing is set that ends them" in text for text in outlives)

    def test_its_rights_are_those_of_its_paths(self, case: Case, engine: str) -> None:
        rotation = {"strategy": "vault-dynamic", "engine": engine, "test": request_of(engine), **TIMES}
        settings: VaultDynamicSettings = TypeAdapter(VaultDynamicSettings).validate_python(rotation)
        places = HubPlaces()
        allowed = {rule.path for section in settings.rights(places) for rule in section.rules}
        assert {f"{engine}/{path}" for path in LEASING[engine].reads} <= allowed
        (asking,) = settings.rights_to_ask(places)
        assert f"{engine}/{LEASING[engine].credential}" in {rule.path for rule in asking.rules}


@DEEP
class TestLdapLeases(LeaseCases):
    changes = frozenset({"username", "password", "lease_id", "token_accessor", "expires_at"})

    @pytest.fixture
    def engine(self) -> str:
        return "ldap"


class TestAws(LeaseCases):
    changes = frozenset({"access_key_id", "secret_access_key", "lease_id", "token_accessor", "expires_at"})

    @pytest.fixture
    def engine(self) -> str:
        return "aws"


@DEEP
class TestAzure(LeaseCases):
    changes = frozenset({"client_id", "client_secret", "lease_id", "token_accessor", "expires_at"})

    @pytest.fixture
    def engine(self) -> str:
        return "azure"


@DEEP
class TestGoogleCloud(LeaseCases):
    changes = frozenset({"private_key_data", "lease_id", "token_accessor", "expires_at"})

    @pytest.fixture
    def engine(self) -> str:
        return "gcp"


@DEEP
class TestKubernetes(LeaseCases):
    changes = frozenset({"service_account_name", "token", "lease_id", "token_accessor", "expires_at"})

    @pytest.fixture
    def engine(self) -> str:
        return "kubernetes"


class StaticCases(StaticRoleContract):
    @pytest.fixture
    def case(self, server: HubWithEngines, tools: Tools, engine: str) -> Case:
        rotation = {"strategy": "vault-static-role", "engine": engine, "test": request_of(engine), **TIMES}
        settings = TypeAdapter(VaultStaticRoleSettings).validate_python({**rotation, "accepts_gap": True})
        strategy: VaultStaticRole = settings.open(PATH, tools)
        current = strategy.engine.static_credential("app")
        return Case(
            strategy,
            current,
            lambda fields: works(server, engine, fields),
            lambda candidate: candidate.merged({"password": "n0t-what-was-made"}),
            stranger=current.merged({"username": "stranger"}),
        )


@DEEP
class TestLdapStaticRole(StaticCases):
    @pytest.fixture
    def engine(self) -> str:
        return "ldap"


class TestActiveDirectory(StaticCases):
    @pytest.fixture
    def engine(self) -> str:
        return "ad"


# --- settings ----------------------------------------------------------------------------------------------


def validated(**changes: Any) -> VaultDynamicSettings:
    rotation = {"strategy": "vault-dynamic", "role": "app", "interval": "1d", "grace": "1h", **changes}
    return TypeAdapter(VaultDynamicSettings).validate_python(rotation)


def test_the_mount_is_the_engines_name_unless_it_is_said() -> None:
    assert validated(engine="aws").lease_places == ("aws/creds/app",)
    assert validated(engine="gcp", mount="google").lease_places == ("google/roleset/app/key",)
    assert validated().lease_shape == LEASES


def test_what_a_catalogue_says_of_an_engine_replaces_what_is_known() -> None:
    said = validated(engine="gcp", shape={"credential": "static-account/{{role}}/key", "terms": None}).lease_shape
    assert (said.credential, said.terms, said.default_ttl) == ("static-account/{{role}}/key", "", "ttl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "terraform"}, "nothing is known of the engine terraform"),
        ({"engine": "aws", "shape": {"fields": {"lease_id": "id"}}}, "the name lease_id has a meaning already"),
        ({"engine": "aws", "shape": {"fields": {"key": "key"}}}, "there is no field access_key_id"),
        ({"shape": {"role": "roles/{{name}}"}}, "asks for {{name}}"),
        ({"test": {"path": "/me"}}, "needs a target that is an API"),
        ({"target": "api", "test": {"path": "/me/{{token}}"}}, "asks for {{token}}"),
        ({"target": "api", "sessions": {"path": "/sessions/{{account}}"}}, "needs a target that is an API"),
    ],
)
def test_a_wrong_description_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        validated(**changes)
    assert message in str(caught.value)


class TestAnswers:
    @pytest.fixture
    def engine(self) -> str:
        return "aws"

    def test_an_answer_without_a_field_is_an_error_and_leaves_no_lease(
        self, server: HubWithEngines, tools: Tools
    ) -> None:
        shape = {"fields": {"access_key_id": "access_key", "secret_access_key": "security_token"}}
        strategy = validated(engine="aws", shape=shape).open(PATH, tools)
        with pytest.raises(Invalid, match="it has no text security_token"):
            strategy.mint(None)
        assert server.made == {}

    def test_without_a_target_nothing_is_tried_and_an_emergency_says_so(
        self, server: HubWithEngines, tools: Tools
    ) -> None:
        strategy = validated(engine="aws").open(PATH, tools)
        current = strategy.mint(None)
        assert strategy.accepts(current) is None
        (left,) = strategy.revoke(current, 6).outlives
        assert current["access_key_id"].reveal() in left
        assert server.made == {}

    def test_what_the_engine_cant_end_is_said_to_work_until_it_expires(
        self, server: HubWithEngines, tools: Tools
    ) -> None:
        strategy = validated(engine="aws", shape={"ends_with_lease": False}).open(PATH, tools)
        current = strategy.mint(None)
        assert any(current["expires_at"].reveal() in left for left in strategy.revoke(current, 6).outlives)

    def test_a_lease_that_cant_be_renewed_must_last_by_itself(self, server: HubWithEngines, tools: Tools) -> None:
        strategy = validated(engine="aws", interval="2d", shape={"renewable": False}).open(PATH, tools)
        with pytest.raises(Invalid, match="can't be renewed"):
            strategy.preflight(None, None)
