"""Values that are made here and set at a REST API, against real servers on loopback."""

import base64
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from pydantic import TypeAdapter

from keyturn.core.errors import CandidateRejected, Denied, Invalid, Unavailable
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields
from keyturn.providers.http.api_target import HttpApi
from keyturn.strategies.http_password import HttpPassword, HttpPasswordSettings
from tests.contracts.strategy import Case, StrategyContract
from tests.support.account_apis import AccountApi, CouchApi, RabbitApi
from tests.support.rest_api import Said

PATH = "apps/contract"
FIRST = "the-first-password-of-all"

TIMES = {"strategy": "http-password", "target": "api", "interval": "30d", "grace": "1h"}
RABBIT: dict[str, Any] = {
    **TIMES,
    "change": {
        "path": "/api/users/{{account}}",
        "body": {"password": "{{candidate.password}}", "tags": "management"},
    },
    "test": {"path": "/api/whoami", "basic": "{{account}}:{{candidate.password}}"},
    "sessions": {"path": "/api/connections/username/{{account}}"},
    "end_sessions": {"path": "/api/connections/username/{{account}}"},
}
ONE = {**RABBIT, "accounts": ["trainer"], "accepts_gap": True}
TWO = {**RABBIT, "accounts": ["trainer_a", "trainer_b"]}

DOCUMENT = "/_users/org.couchdb.user:{{account}}"
BODY = {"name": "{{account}}", "password": "{{candidate.password}}", "roles": [], "type": "user"}
COUCH: dict[str, Any] = {
    **TIMES,
    "accounts": ["trainer"],
    "accepts_gap": True,
    "read": {"path": DOCUMENT, "answer": {"revision": "/_rev"}},
    "change": {"path": DOCUMENT, "body": {**BODY, "_rev": "{{read.revision}}"}},
    "create": {"method": "PUT", "path": DOCUMENT, "body": BODY},
    "test": {"path": "/_session", "basic": "{{account}}:{{candidate.password}}"},
}


class Tools:
    """What the strategy is opened with: the API alone."""

    def __init__(self, api: HttpApi) -> None:
        self.api = api

    def target(self, name: str) -> HttpApi:
        assert name == "api"
        return self.api


def opened(server: AccountApi, rotation: dict[str, Any], **changes: Any) -> HttpPassword:
    """The strategy as the catalogue opens it; a change of None leaves the key out."""
    said = {key: value for key, value in {**rotation, **changes}.items() if value is not None}
    settings: HttpPasswordSettings = TypeAdapter(HttpPasswordSettings).validate_python(said)
    return settings.open(PATH, Tools(api(server)))  # type: ignore[arg-type]


def api(server: AccountApi) -> HttpApi:
    """The API as a target, whose headers hold the administrator's login."""
    login = base64.b64encode(f"admin:{server.admin_token}".encode()).decode()
    headers = {"authorization": "Basic {{admin.login}}"}
    return HttpApi("api", url=server.url, admin=lambda: SecretFields({"login": login}), headers=headers)


def works(server: AccountApi, fields: SecretFields) -> bool:
    """Whether an application gets in with this version."""
    return server.logs_in(fields["username"].reveal(), fields["password"].reveal())


def in_force(server: AccountApi, account: str = "trainer") -> SecretFields:
    """A first version, set by hand."""
    server.set_password(account, FIRST)
    if isinstance(server, RabbitApi):
        server.tags[account] = "management"
    return SecretFields({"username": account, "password": FIRST, "url": server.url})


def told(error: BaseException) -> str:
    """All that a log could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error.args)


def case(server: AccountApi, rotation: dict[str, Any], account: str = "trainer") -> Case:
    """A fresh account in force."""
    current = in_force(server, account)

    def opens(fields: SecretFields) -> AbstractContextManager[Callable[[], bool]]:
        assert isinstance(server, RabbitApi)
        return server.connected(fields["username"].reveal(), fields["password"].reveal())

    return Case(
        opened(server, rotation, holds={"url": server.url}),
        current,
        lambda fields: works(server, fields),
        lambda candidate: candidate.merged({"password": "not-the-password-that-was-set"}),
        opens if "sessions" in rotation and len(rotation["accounts"]) > 1 else None,
        current.merged({"username": "somebody_else"}),
        opens,
    )


@pytest.fixture
def rabbit() -> Iterator[RabbitApi]:
    with RabbitApi() as serving:
        yield serving


@pytest.fixture
def couch() -> Iterator[CouchApi]:
    with CouchApi() as serving:
        yield serving


class TestOneAccount(StrategyContract):
    changes = frozenset({"username", "password"})
    overlaps = False
    has_place = False
    ends_sessions = True

    @pytest.fixture
    def case(self, rabbit: RabbitApi) -> Case:
        return case(rabbit, ONE)


class TestTwoAccounts(StrategyContract):
    changes = frozenset({"username", "password"})
    has_place = False
    ends_sessions = True

    @pytest.fixture
    def case(self, rabbit: RabbitApi) -> Case:
        return case(rabbit, TWO, "trainer_a")


class TestOneThatIsReadFirst(StrategyContract):
    changes = frozenset({"username", "password"})
    overlaps = False
    has_place = False

    @pytest.fixture
    def case(self, couch: CouchApi) -> Case:
        return case(couch, COUCH)


# --- a late worker, and a value that was changed elsewhere -------------------------------------------------


@pytest.mark.parametrize(("rotation", "account"), [(ONE, "trainer"), (TWO, "trainer_a")], ids=["one", "two"])
def test_nothing_is_changed_where_neither_current_nor_the_candidate_logs_in(
    rabbit: RabbitApi, rotation: dict[str, Any], account: str
) -> None:
    strategy, current = opened(rabbit, rotation), in_force(rabbit, account)
    candidate = strategy.mint(current)
    rabbit.set_password(account, "changed by hand")
    for next_one in (None, candidate):
        with pytest.raises(Invalid, match=r"refuses CURRENT.*--change-account") as caught:
            strategy.preflight(current, next_one)
        assert FIRST not in told(caught.value)
    assert rabbit.users[account] == "changed by hand"


def test_a_run_that_died_after_the_change_is_continued(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, ONE), in_force(rabbit)
    candidate = strategy.mint(current)
    rabbit.after["PUT"] = lambda said: Said(lost=True)
    change = Change(PATH, 5, candidate, current)
    with pytest.raises(Unavailable):
        strategy.install(change)
    rabbit.after.clear()
    assert not works(rabbit, current)
    strategy.preflight(current, candidate)
    strategy.install(change)
    strategy.verify(change)
    assert works(rabbit, current.merged(candidate))


def test_where_the_test_decides_nothing_nothing_is_refused_beforehand(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, ONE), in_force(rabbit)
    rabbit.instead["GET"] = [Said(403, {}), Said(500), Said(200, b"<html>")]
    for _ in range(3):
        strategy.preflight(current, None)


# --- the gap, and what verify finds ------------------------------------------------------------------------


def test_an_api_that_keeps_the_old_value_is_reported_and_the_candidate_not_promoted(rabbit: RabbitApi) -> None:
    rabbit.keeps_old = True
    slept: list[float] = []
    strategy = opened(rabbit, ONE, test={**RABBIT["test"], "patience": "2s"})
    strategy.test.sleep = slept.append
    current = in_force(rabbit)
    change = Change(PATH, 5, strategy.mint(current), current)
    strategy.install(change)
    with pytest.raises(Unavailable, match=r"accepts the old value.*patience.*http-api-key"):
        strategy.verify(change)
    assert slept == [1, 1]
    rabbit.keeps_old = False
    strategy.verify(change)


def test_with_two_accounts_the_old_value_works_and_verify_leaves_it_alone(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, TWO), in_force(rabbit, "trainer_a")
    change = Change(PATH, 5, strategy.mint(current), current)
    strategy.install(change)
    strategy.verify(change)
    assert change.candidate["username"].reveal() == "trainer_b"
    assert (works(rabbit, current), works(rabbit, change.candidate)) == (True, True)
    back = strategy.mint(current.merged(change.candidate))
    assert back["username"].reveal() == "trainer_a"


def test_a_promotion_is_undone_by_setting_the_previous_value_again(rabbit: RabbitApi) -> None:
    strategy, before = opened(rabbit, ONE), in_force(rabbit)
    promoted = before.merged(strategy.mint(before))
    strategy.install(Change(PATH, 5, promoted, before))
    strategy.abandon(Change(PATH, 6, promoted, before))
    assert (works(rabbit, before), works(rabbit, promoted)) == (True, False)


# --- answers -----------------------------------------------------------------------------------------------


def test_a_value_that_the_api_refuses_is_given_up_and_current_works(rabbit: RabbitApi) -> None:
    rabbit.least = 64
    strategy, current = opened(rabbit, ONE), in_force(rabbit)
    change = Change(PATH, 5, strategy.mint(current), current)
    with pytest.raises(CandidateRejected, match=r"api:trainer: it refuses the value with 400.*`generate`") as caught:
        strategy.install(change)
    assert change.candidate["password"].reveal() not in told(caught.value)
    assert works(rabbit, current)
    longer = opened(rabbit, ONE, generate={"password": {"length": 64}})
    longer.install(Change(PATH, 7, longer.mint(current), current))


def test_a_value_that_is_refused_because_it_is_set_already_is_no_error(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, ONE), in_force(rabbit)
    change = Change(PATH, 5, strategy.mint(current), current)
    strategy.install(change)
    rabbit.instead["PUT"] = [Said(400, {"error": "the password was used before"})]
    strategy.install(change)
    assert rabbit.instead["PUT"] == []


def test_an_admin_that_is_refused_is_no_refusal_of_the_value(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, ONE), in_force(rabbit)
    rabbit.instead["PUT"] = [Said(401, {}), Said(403, {})]
    for _ in range(2):
        with pytest.raises(Denied, match="`admin` path"):
            strategy.install(Change(PATH, 5, strategy.mint(current), current))
    assert works(rabbit, current)


def test_an_account_that_is_absent_is_created_where_that_is_described(couch: CouchApi) -> None:
    strategy = opened(couch, COUCH)
    candidate = strategy.mint(None)
    strategy.install(Change(PATH, 5, candidate, None))
    strategy.verify(Change(PATH, 5, candidate, None))
    assert works(couch, candidate)
    assert [request.method for request in couch.told[:2]] == ["GET", "PUT"]


def test_an_account_that_is_absent_and_can_not_be_created_is_named(couch: CouchApi) -> None:
    strategy = opened(couch, COUCH, create=None)
    with pytest.raises(Invalid, match=r"there is no account trainer.*`create`"):
        strategy.install(Change(PATH, 5, strategy.mint(None), None))
    assert "trainer" not in couch.users


def test_what_read_does_not_show_is_named(couch: CouchApi) -> None:
    in_force(couch)
    read = {"path": DOCUMENT, "answer": {"revision": "/rev"}}
    strategy = opened(couch, COUCH, read=read, create=None)
    with pytest.raises(Invalid, match="answer to `read` lacks revision"):
        strategy.install(Change(PATH, 5, strategy.mint(None), None))


def test_a_change_that_overtakes_the_read_is_refused_by_the_api(couch: CouchApi) -> None:
    strategy, current = opened(couch, COUCH), in_force(couch)

    def overtaken(said: Said) -> Said:
        couch.revisions["trainer"] = 7
        return said

    couch.after["GET"] = overtaken
    with pytest.raises(CandidateRejected, match="409"):
        strategy.install(Change(PATH, 5, strategy.mint(current), current))
    assert works(couch, current)


# --- ending ------------------------------------------------------------------------------------------------


def test_the_old_account_is_blocked_with_a_value_that_no_one_knows(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, TWO), in_force(rabbit, "trainer_a")
    strategy.retire(strategy.credential_id(current), 5)
    assert rabbit.users["trainer_a"] not in (None, FIRST)
    assert strategy.credential_id(current) == {"username": "trainer_a"}


def test_the_old_account_is_disabled_where_that_is_described(rabbit: RabbitApi) -> None:
    disable = {"method": "PUT", "path": "/api/users/{{account}}", "body": {"password_hash": "", "tags": ""}}
    strategy, current = opened(rabbit, TWO, disable=disable), in_force(rabbit, "trainer_a")
    strategy.retire(strategy.credential_id(current), 5)
    assert (rabbit.users["trainer_a"], rabbit.tags["trainer_a"]) == (None, "")


def test_a_late_abandonment_leaves_the_account_that_serves_by_now_alone(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, TWO), in_force(rabbit, "trainer_a")
    late = Change(PATH, 5, strategy.mint(current), current)
    strategy.install(late)
    newer = late.candidate.merged({"password": "the-password-of-a-newer-run"})
    rabbit.set_password("trainer_b", newer["password"].reveal())
    strategy.abandon(late)
    assert works(rabbit, newer)


def test_without_a_request_for_sessions_they_are_said_to_outlive_the_cut(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, ONE, sessions=None, end_sessions=None), in_force(rabbit)
    with rabbit.connected("trainer", FIRST) as is_open:
        ended = strategy.revoke(current, 6)
        assert is_open()
    assert ended.sessions == 0
    assert ended.outlives == ("sessions and tokens that trainer has open at api: no request that ends them is set",)
    assert not works(rabbit, current)


def test_sessions_of_an_old_value_end_too(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, ONE), in_force(rabbit)
    with rabbit.connected("trainer", FIRST) as is_open:
        newer = strategy.mint(current)
        strategy.install(Change(PATH, 5, newer, current))
        assert is_open()
        assert strategy.revoke(current, 6).sessions == 1
        assert not is_open()
    assert works(rabbit, newer)


def test_logins_are_refused_even_where_sessions_can_not_be_ended(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, ONE), in_force(rabbit)
    rabbit.instead["DELETE"] = [Said(403, {})]
    with pytest.raises(Denied):
        strategy.revoke(current, 6)
    assert not works(rabbit, current)


def test_a_cut_waits_for_no_test_that_decides_something(rabbit: RabbitApi) -> None:
    strategy, current = opened(rabbit, ONE, sessions=None), in_force(rabbit)
    rabbit.instead["GET"] = [Said(500)]
    strategy.revoke(current, 6)
    assert not works(rabbit, current)


def test_the_working_value_of_another_account_is_reported_and_left_alone(rabbit: RabbitApi) -> None:
    strategy, other = opened(rabbit, ONE), in_force(rabbit, "somebody_else")
    ended = strategy.revoke(other, 6)
    assert "somebody_else at api" in ended.outlives[0]
    assert works(rabbit, other)
    assert strategy.accepts(other) is True


def test_a_user_without_the_tag_is_tried_by_the_reason_of_its_refusal(rabbit: RabbitApi) -> None:
    """RabbitMQ answers 401 to a user who may not use its API, too, and says that the password was right."""
    test = {
        **RABBIT["test"],
        "expect": [
            401,
            {"pointer": "/error", "equals": "not_authorised"},
            {"pointer": "/reason", "equals": "Not management user"},
        ],
        "refused": {"status": [401], "when": [{"pointer": "/reason", "equals": "Not_Authorized"}]},
    }
    strategy = opened(
        rabbit, ONE, test=test, change={**RABBIT["change"], "body": {**RABBIT["change"]["body"], "tags": ""}}
    )
    current = in_force(rabbit)
    rabbit.tags["trainer"] = ""
    change = Change(PATH, 5, strategy.mint(current), current)
    strategy.preflight(current, change.candidate)
    strategy.install(change)
    strategy.verify(change)
    assert (strategy.accepts(current), strategy.accepts(change.candidate)) == (False, True)
