"""Passwords of users of a real RabbitMQ, tried as clients do: by AMQP."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields
from keyturn.providers.http.api_target import HttpApi
from keyturn.strategies.http_password import HttpPassword, HttpPasswordSettings
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.test_http_password import ONE, PATH, RABBIT, TWO, Tools
from tests.support.lab import fresh
from tests.support.rabbitmq import RabbitMq
from tests.support.sampling import deep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not deep(), reason="RabbitMQ takes a minute to start: make test-deep does that"),
]

UNTAGGED: dict[str, Any] = {
    "change": {**RABBIT["change"], "body": {"password": "{{candidate.password}}", "tags": ""}},
    "test": {
        **RABBIT["test"],
        "expect": [
            401,
            {"pointer": "/error", "equals": "not_authorised"},
            {"pointer": "/reason", "equals": "Not management user"},
        ],
        "refused": {"status": [401], "when": [{"pointer": "/reason", "equals": "Not_Authorized"}]},
    },
}
"""For a user who may not use the management API: its refusal says whether the password was right."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    with RabbitMq(tmp_path_factory.mktemp("rabbitmq")) as serving:
        yield serving


def opened(broker: RabbitMq, rotation: dict[str, Any]) -> HttpPassword:
    """The strategy as the catalogue opens it."""
    settings: HttpPasswordSettings = TypeAdapter(HttpPasswordSettings).validate_python(rotation)
    login = base64.b64encode(f"admin:{broker.admin_password}".encode()).decode()
    headers = {"authorization": "Basic {{admin.login}}"}
    api = HttpApi("api", url=broker.url, admin=lambda: SecretFields({"login": login}), headers=headers)
    return settings.open(PATH, Tools(api))  # type: ignore[arg-type]


def in_force(broker: RabbitMq, account: str, tags: str = "management") -> SecretFields:
    """A user with a first password, who may connect."""
    current = SecretFields({"username": account, "password": f"first-{account}"})
    broker.ask("PUT", f"/api/users/{account}", password=current["password"].reveal(), tags=tags).raise_for_status()
    permit(broker, account)
    return current


def permit(broker: RabbitMq, account: str) -> None:
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    broker.ask("PUT", f"/api/permissions/%2F/{account}", **everything).raise_for_status()


def works(broker: RabbitMq, fields: SecretFields) -> bool:
    """Whether a client gets in with this version."""
    return broker.logs_in(fields["username"].reveal(), fields["password"].reveal())


def case(broker: RabbitMq, rotation: dict[str, Any], accounts: list[str], tags: str = "management") -> Case:
    """Fresh users, of whom the first one serves."""
    current = in_force(broker, accounts[0], tags)
    for other in accounts[1:]:
        broker.ask("PUT", f"/api/users/{other}", password_hash="", tags=tags).raise_for_status()
        permit(broker, other)
    return Case(
        opened(broker, {**rotation, "accounts": accounts}),
        current,
        lambda fields: works(broker, fields),
        lambda candidate: candidate.merged({"password": "not-the-password-that-was-set"}),
        stranger=current.merged({"username": "somebody_else"}),
        opened=lambda fields: broker.connected(fields["username"].reveal(), fields["password"].reveal()),
    )


class TestOneAccount(StrategyContract):
    changes = frozenset({"username", "password"})
    overlaps = False
    has_place = False
    ends_sessions = True

    @pytest.fixture
    def case(self, broker: RabbitMq) -> Case:
        return case(broker, ONE, [fresh()])


class TestOneAccountWithoutTags(TestOneAccount):
    @pytest.fixture
    def case(self, broker: RabbitMq) -> Case:
        return case(broker, {**ONE, **UNTAGGED}, [fresh()], tags="")


class TestTwoAccounts(StrategyContract):
    changes = frozenset({"username", "password"})
    has_place = False
    ends_sessions = True

    @pytest.fixture
    def case(self, broker: RabbitMq) -> Case:
        return case(broker, TWO, [fresh(), fresh()])


def test_a_connection_outlives_the_change_and_ends_with_a_cut(broker: RabbitMq) -> None:
    strategy, current = opened(broker, {**ONE, "accounts": [account := fresh()]}), in_force(broker, account)
    with broker.connected(account, current["password"].reveal()) as is_open:
        change = Change(PATH, 5, strategy.mint(current), current)
        strategy.install(change)
        strategy.verify(change)
        assert (works(broker, current), works(broker, change.candidate), is_open()) == (False, True, True)
        assert strategy.revoke(current, 6).sessions == 1
        assert not is_open()
    assert works(broker, change.candidate)
