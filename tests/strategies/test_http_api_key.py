"""API keys of a REST API, against a real server."""

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from keyturn.core.errors import (
    CandidateRejected,
    Denied,
    Invalid,
    KeyturnError,
    NotFound,
    TransientError,
    Unavailable,
    UnsupportedOperation,
)
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.providers.http.api_target import HttpApi
from keyturn.strategies.http_api_key import HttpApiKey, HttpApiKeySettings
from tests.contracts.strategy import Case, StrategyContract
from tests.support.rest_api import RestApi, Said

PATH = "apps/contract"
NAME = "keyturn {{path}} {{unique}}"
KEYS = "/accounts/{{account}}/keys"
SINCE = timedelta(seconds=1)

ROTATION: dict[str, Any] = {
    "strategy": "http-api-key",
    "target": "api",
    "interval": "30d",
    "grace": "1h",
    "constants": {"account": "ml/team"},
    "create": {"path": KEYS, "body": {"name": NAME}, "expect": [201]},
    "answer": {"id": "/data/id", "key": "/data/value"},
    "test": {"path": "/whoami", "headers": {"x-api-key": "{{key}}"}},
    "delete": {"path": f"{KEYS}/{{{{id}}}}"},
    "list": {"path": KEYS, "items": "/data", "id": "/id", "where": {"/name": NAME}, "last_used": "/used"},
}
"""A secret's rotation as the catalogue has it."""


NOW = datetime(2026, 12, 3, 12, 30, 15, 500_000, tzinfo=UTC)


class Tools:
    """What the strategy is opened with: the API and the time."""

    def clock(self) -> datetime:
        return NOW

    def __init__(self, api: HttpApi) -> None:
        self.api = api

    def target(self, name: str) -> HttpApi:
        assert name == "api"
        return self.api


def opened(server: RestApi, path: str = PATH, **changes: Any) -> HttpApiKey:
    """The strategy as the catalogue opens it; a change of None leaves the key out."""
    said = {key: value for key, value in {**ROTATION, **changes}.items() if value is not None}
    settings: HttpApiKeySettings = TypeAdapter(HttpApiKeySettings).validate_python(said)
    headers = {"authorization": "Bearer {{admin.token}}"}
    api = HttpApi("api", url=server.url, admin=lambda: SecretFields({"token": server.admin_token}), headers=headers)
    return settings.open(path, Tools(api))  # type: ignore[arg-type]


def listing(**changes: Any) -> dict[str, Any]:
    """The rotation's list with some keys otherwise."""
    return {key: value for key, value in {**ROTATION["list"], **changes}.items() if value is not None}


def works(server: RestApi, fields: SecretFields) -> bool:
    """Whether an application gets in with this version."""
    value = fields["key" if "key" in fields else "password"].reveal()
    return any(key["value"] == value for key in server.keys.values())


def use(server: RestApi, fields: SecretFields) -> AbstractContextManager[None]:
    assert server._whoami(fields["key"].reveal()).status == 200
    return nullcontext()


def told(error: BaseException) -> str:
    """All that a log could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error.args)


def no_value_in(error: KeyturnError, server: RestApi, *values: str) -> bool:
    """Whether an error shows neither the admin's token nor a key, and has a remedy."""
    hidden = [server.admin_token, *values, *(key["value"] for key in server.keys.values())]
    return bool(error.hint) and not [value for value in hidden if value in told(error)]


@pytest.fixture
def server() -> Iterator[RestApi]:
    with RestApi() as serving:
        yield serving


@pytest.fixture
def strategy(server: RestApi) -> HttpApiKey:
    return opened(server)


class TestHttpApiKey(StrategyContract):
    changes = frozenset({"id", "key"})

    @pytest.fixture
    def case(self, server: RestApi, strategy: HttpApiKey) -> Case:
        current = SecretFields({"url": server.url, **strategy.mint(None)})
        return Case(
            opened(server, holds={"url": server.url}),
            current,
            lambda fields: works(server, fields),
            lambda candidate: candidate.merged({"key": "not-the-key-that-was-made"}),
            lambda fields: use(server, fields),
            current.merged({"url": "https://another.example.com"}),
        )


# --- what a dead run leaves --------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [str, str.upper])
def test_the_second_key_of_a_request_that_was_sent_twice_is_deleted(
    server: RestApi, stored: Callable[[str], str]
) -> None:
    strategy = opened(server)
    other = strategy.mint(None)

    def twice(said: Said) -> Said:
        head, mark = said.body["data"]["name"].rsplit(" ", 1)
        twin = {**said.body["data"], "id": 1, "value": "twin", "used": None, "name": f"{head} {stored(mark)}"}
        server.keys["1"] = twin
        return said

    server.after["POST"] = twice
    made = strategy.mint(None)
    assert set(server.keys) == {other["id"].reveal(), made["id"].reveal()}


def test_a_key_whose_answer_was_lost_is_swept_and_no_other(server: RestApi, strategy: HttpApiKey) -> None:
    neighbour = opened(server, "apps/contract-too").mint(None)
    by_hand = server._new_key("ml/team", "made by a person").body["data"]
    current = strategy.mint(None)
    before = strategy.existing_ids()
    server.after["POST"] = lambda said: Said(lost=True)
    with pytest.raises(Unavailable) as caught:
        strategy.mint(current)
    server.after.clear()
    assert no_value_in(caught.value, server)
    assert len(server.keys) == 4
    strategy.remove_orphans(before, [current])
    left = {key["value"] for key in server.keys.values()}
    assert left == {current["key"].reveal(), neighbour["key"].reveal(), by_hand["value"]}


def test_what_is_known_is_read_after_the_list_so_that_no_newer_key_is_swept(
    server: RestApi, strategy: HttpApiKey
) -> None:
    """A worker that wakes up late sees the key that another has made meanwhile, in the list and as the secret's."""
    before, made = strategy.existing_ids(), list[SecretFields]()

    class Known(list[SecretFields]):
        def __iter__(self) -> Iterator[SecretFields]:
            assert [told.method for told in server.told][-1] == "GET"
            return iter(made)

    made.append(strategy.mint(None))
    strategy.remove_orphans(before, Known())
    assert works(server, made[0])


def test_a_key_that_was_used_is_no_orphan_whoever_looks(server: RestApi, strategy: HttpApiKey) -> None:
    """A worker that wakes up late finds a key that it does not know; it was tried before it was put in force."""
    before, newer = strategy.existing_ids(), strategy.mint(None)
    strategy.verify(Change(PATH, 2, newer, None))
    orphan = strategy.mint(None)
    strategy.remove_orphans(before, [])
    assert (works(server, newer), works(server, orphan)) == (True, False)


def test_without_a_list_nothing_is_found_and_nothing_is_swept(server: RestApi) -> None:
    strategy = opened(server, list=None)
    assert strategy.existing_ids() == []
    orphan = strategy.mint(None)
    strategy.remove_orphans([], [])
    assert works(server, orphan)
    assert {told.method for told in server.told} == {"POST"}


def test_a_list_without_where_is_all_this_secrets_own(server: RestApi) -> None:
    strategy = opened(server, list=listing(where=None))
    by_hand = server._new_key("ml/team", "there before").body["data"]
    before = strategy.existing_ids()
    assert before == [str(by_hand["id"])]
    orphan = strategy.mint(None)
    strategy.remove_orphans(before, [])
    assert not works(server, orphan)
    assert len(server.keys) == 1


def test_more_keys_than_a_record_remembers_are_refused_rather_than_forgotten(server: RestApi) -> None:
    for number in range(101):
        server._new_key("ml/team", f"key {number}")
    with pytest.raises(Invalid, match=r"lists 101 keys.*`where`"):
        opened(server, list=listing(where=None)).existing_ids()
    assert opened(server).existing_ids() == []


# --- answers that are of no use ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: {"id": data["id"]}, id="no key"),
        pytest.param(lambda data: {**data, "value": ""}, id="empty key"),
        pytest.param(lambda data: {**data, "value": {"text": data["value"]}}, id="key is a mapping"),
        pytest.param(lambda data: {**data, "value": None}, id="key is null"),
    ],
)
def test_a_key_that_is_not_told_is_deleted_again(server: RestApi, strategy: HttpApiKey, spoil: Any) -> None:
    values: list[str] = []

    def answer(said: Said) -> Said:
        values.append(said.body["data"]["value"])
        return Said(201, {"data": spoil(said.body["data"])})

    server.after["POST"] = answer
    with pytest.raises(Invalid, match=r"answer lacks key; the key that was made is deleted again.*`answer`") as caught:
        strategy.mint(None)
    assert no_value_in(caught.value, server, *values)
    assert server.keys == {}


@pytest.mark.parametrize("body", [None, b"OK", [], {"data": []}, {"data": {"value": "the-value-of-a-key"}}, "text", 7])
def test_a_key_without_an_id_is_told_of_and_swept_by_the_next_run(
    server: RestApi, strategy: HttpApiKey, body: Any
) -> None:
    before = strategy.existing_ids()
    server.after["POST"] = lambda said: Said(201, body)
    with pytest.raises(Invalid, match=r"lacks id.*no known id") as caught:
        strategy.mint(None)
    assert no_value_in(caught.value, server, "the-value-of-a-key")
    assert len(server.keys) == 1
    strategy.remove_orphans(before, [])
    assert server.keys == {}


def test_a_useless_key_that_can_not_be_deleted_either_is_told_of(server: RestApi, strategy: HttpApiKey) -> None:
    server.after["POST"] = lambda said: Said(201, {"data": {"id": said.body["data"]["id"]}})
    server.instead["DELETE"] = [Said(403)]
    with pytest.raises(Invalid, match=r"lacks key; the key that was made is not deleted either \(answered 403\)"):
        strategy.mint(None)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (Said(200, {"data": {"id": 1, "value": "the-value-of-a-key"}}), Invalid),
        (Said(400, {"value": "the-value-of-a-key"}), Invalid),
        (Said(401, {"value": "the-value-of-a-key"}), Denied),
        (Said(404, {"value": "the-value-of-a-key"}), NotFound),
        (Said(409, {"value": "the-value-of-a-key"}), Invalid),
        (Said(500, {"value": "the-value-of-a-key"}), Unavailable),
        (Said(lost=True), Unavailable),
    ],
)
@pytest.mark.parametrize("verb", ["mint", "verify", "retire", "existing_ids", "remove_orphans", "in_use"])
def test_every_bad_answer_is_an_error_of_its_kind_without_a_value(
    server: RestApi, strategy: HttpApiKey, verb: str, said: Said, error: type[KeyturnError]
) -> None:
    current = strategy.mint(None)
    ends, change = strategy.credential_id(current), Change(PATH, 1, current, None)
    calls = {
        "mint": ("POST", lambda: strategy.mint(current)),
        "verify": ("GET", lambda: strategy.verify(change)),
        "retire": ("DELETE", lambda: strategy.retire(ends, 1)),
        "existing_ids": ("GET", strategy.existing_ids),
        "remove_orphans": ("GET", lambda: strategy.remove_orphans([], [])),
        "in_use": ("GET", lambda: strategy.in_use(ends, datetime.now(UTC))),
    }
    method, call = calls[verb]
    server.instead[method] = [said]
    if verb == "verify" and said.status in (400, 401, 409):
        error = CandidateRejected
    if said.status == 200 and not said.lost and verb == "verify":
        call()
        return
    if said.status == 200 and not said.lost and verb == "retire":
        with pytest.raises(Unavailable, match="lists it still"):
            call()
        return
    if verb == "retire" and said.status == 404:
        # The list has the key still, so that "absent" is not believed.
        with pytest.raises(Invalid, match="lists it still"):
            call()
        return
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert no_value_in(caught.value, server, "the-value-of-a-key")


def test_what_is_deleted_twice_is_gone(server: RestApi, strategy: HttpApiKey) -> None:
    ends = strategy.credential_id(strategy.mint(None))
    strategy.retire(ends, 1)
    strategy.retire(ends, 1)
    assert server.keys == {}


def test_without_a_list_absent_is_believed(server: RestApi) -> None:
    opened(server, list=None).retire({"id": "4711"}, 1)
    assert [told.path for told in server.told] == ["/accounts/ml%2Fteam/keys/4711"]


IN_TWO_STEPS = [
    {
        "method": "POST",
        "path": f"{KEYS}/{{{{id}}}}/deactivate",
        "gone": [{"status": [404]}, {"status": [400], "when": [{"pointer": "/code", "equals": "INACTIVE"}]}],
    },
    {"path": f"{KEYS}/{{{{id}}}}"},
]


def test_a_key_that_is_deleted_by_several_requests_is_finished_where_a_run_died_between_them(server: RestApi) -> None:
    server.in_two_steps = True
    with pytest.raises(Denied):
        opened(server).retire(opened(server).credential_id(opened(server).mint(None)), 1)
    server.keys.clear()
    server.told.clear()
    strategy = opened(server, delete=IN_TWO_STEPS)
    ends = strategy.credential_id(made := strategy.mint(None))
    server.instead["DELETE"] = [Said(lost=True)]
    with pytest.raises(Unavailable):
        strategy.retire(ends, 1)
    assert len(server.keys) == 1
    assert strategy.accepts(made) is False
    strategy.retire(ends, 1)
    assert server.keys == {}
    strategy.retire(ends, 1)
    sent = [told.method for told in server.told if told.method in ("POST", "DELETE")]
    assert sent == ["POST", *["POST", "DELETE"] * 3]


def test_a_first_request_that_fails_for_another_reason_stops_the_deletion(server: RestApi) -> None:
    strategy = opened(server, delete=IN_TWO_STEPS)
    ends = strategy.credential_id(strategy.mint(None))
    server.instead["POST"] = [Said(400, {"code": "OTHER"})]
    with pytest.raises(Invalid, match="answered 400"):
        strategy.retire(ends, 1)
    assert "DELETE" not in [told.method for told in server.told]


@pytest.mark.parametrize("id", ["..", "."])
def test_an_id_that_leads_to_another_path_is_never_asked_for(server: RestApi, strategy: HttpApiKey, id: str) -> None:
    with pytest.raises(Invalid, match="can't be used in the path"):
        strategy.retire({"id": id}, 1)
    assert server.told == []


def test_a_list_entry_without_an_id_is_refused(server: RestApi) -> None:
    opened(server).mint(None)
    strategy = opened(server, list=listing(id="/nothing"))
    with pytest.raises(Invalid, match="an entry without an id"):
        strategy.existing_ids()


# --- SQL statements -------------------------------------------------------------------------------------------


BY_SQL: dict[str, Any] = {
    "constants": {"account": "ml/team", "user": "SVC_TRAIN"},
    "create": {"path": KEYS, "body": {"statement": "ALTER USER {{user}} ADD PROGRAMMATIC ACCESS TOKEN KT_{{unique}}"}},
    "list": listing(where={"/name": "KT_{{unique}}"}),
}


def test_a_key_that_is_named_within_a_statement_is_swept_and_no_other(server: RestApi) -> None:
    strategy = opened(server, **BY_SQL)
    by_hand = server._new_key("ml/team", "KT_OTHER").body["data"]
    before, current = strategy.existing_ids(), strategy.mint(None)
    (sent,) = [told for told in server.told if told.method == "POST"]
    assert sent.json["statement"].startswith("ALTER USER SVC_TRAIN ADD PROGRAMMATIC ACCESS TOKEN KT_")
    orphan = server.keys[strategy.mint(None)["id"].reveal()]
    orphan["name"] = orphan["name"].upper()
    strategy.remove_orphans(before, [current])
    assert {key["value"] for key in server.keys.values()} == {current["key"].reveal(), by_hand["value"]}


@pytest.mark.parametrize("id", ["x; DROP USER app", "x--", "a b", "a'b", 'a"b', "\u00e4"])
def test_an_id_that_would_change_a_statement_is_never_sent(server: RestApi, id: str) -> None:
    delete = {"method": "POST", "path": "/sql", "body": {"statement": "ALTER USER X REMOVE ACCESS TOKEN {{id}}"}}
    strategy = opened(server, **BY_SQL, delete=delete)
    with pytest.raises(Invalid, match=r"value of \{\{id\}\} can't be put into an SQL statement") as caught:
        strategy.retire({"id": id}, 1)
    assert server.told == []
    assert id not in told(caught.value)


# --- trying a key ------------------------------------------------------------------------------------------


def test_the_test_request_is_made_with_the_new_key_alone(server: RestApi, strategy: HttpApiKey) -> None:
    candidate = strategy.mint(None)
    strategy.verify(Change(PATH, 1, candidate, None))
    asked = server.told[-1]
    assert asked.headers["x-api-key"] == candidate["key"].reveal()
    assert "authorization" not in asked.headers


def test_a_key_that_takes_a_while_is_tried_as_long_as_the_catalogue_allows(server: RestApi) -> None:
    slept: list[float] = []
    strategy = opened(server, test={**ROTATION["test"], "patience": "3s"})
    strategy.test.sleep = slept.append
    change = Change(PATH, 1, strategy.mint(None), None)
    server.slow_keys = 3
    strategy.verify(change)
    assert slept == [1, 1, 1]
    server.slow_keys = 4
    with pytest.raises(CandidateRejected, match="refuses the new key with 401"):
        strategy.verify(change)


def test_a_status_that_is_expected_is_no_refusal(server: RestApi) -> None:
    """Such as 422 for a request without a body, which an API answers once it has let the caller in."""
    strategy = opened(server, test={**ROTATION["test"], "expect": [422]})
    change = Change(PATH, 1, strategy.mint(None), None)
    server.instead["GET"] = [Said(422)]
    strategy.verify(change)
    server.instead["GET"] = [Said(401)]
    with pytest.raises(CandidateRejected):
        strategy.verify(change)


# --- guard -------------------------------------------------------------------------------------------------


def test_a_credential_that_could_never_be_deleted_is_refused(strategy: HttpApiKey) -> None:
    by_hand = SecretFields({"key": "a-key-that-was-written-by-hand"})
    with pytest.raises(Invalid, match=r"has no field id.*Write the id") as caught:
        strategy.preflight(by_hand, None)
    assert by_hand["key"].reveal() not in told(caught.value)
    strategy.preflight(SecretFields({"endpoint": "https://api.example.com"}), None)
    assert strategy.credential_id(SecretFields({"endpoint": "https://api.example.com"})) == {}


def test_no_key_is_made_where_the_limit_leaves_no_room(server: RestApi) -> None:
    strategy = opened(server, limit=3)
    current = strategy.mint(None)
    server._new_key("ml/team", "made by a person")
    strategy.preflight(current, None)
    candidate = strategy.mint(current)
    with pytest.raises(Invalid, match=r"there are 3 keys, and no more than 3 may be.*Delete an unused one"):
        strategy.preflight(current, None)
    strategy.preflight(current, candidate)


@pytest.mark.parametrize("written", [{}, {"url": "https://another.example.com"}])
def test_a_secret_that_does_not_hold_what_it_must_is_left_alone(server: RestApi, written: dict[str, str]) -> None:
    strategy = opened(server, holds={"url": "https://api.example.com"})
    with pytest.raises(Invalid, match="field url does not hold what the catalogue says") as caught:
        strategy.preflight(SecretFields({**written, "id": "1", "key": "x"}), None)
    assert "another" not in told(caught.value)
    assert server.told == []


# --- use of the old key ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_list", [True, False])
def test_only_use_after_the_promotion_is_evidence(server: RestApi, by_list: bool) -> None:
    asked = {"path": f"{KEYS}/{{{{id}}}}", "at": "/data/used"}
    strategy = opened(server) if by_list else opened(server, list=None, last_used=asked)
    ends = strategy.credential_id(old := strategy.mint(None))
    start = datetime.now(UTC) - SINCE
    assert strategy.in_use(ends, start) == ()
    use(server, old)
    (said,) = strategy.in_use(ends, start)
    assert said.startswith("api: the old key was used at 20")
    assert strategy.in_use(ends, datetime.now(UTC) + SINCE) == ()
    strategy.retire(ends, 1)
    assert strategy.in_use(ends, start) == ()


def test_a_use_that_can_not_be_read_is_an_error_and_not_taken_for_none(server: RestApi) -> None:
    strategy = opened(server, list=listing(last_used="/name"))
    with pytest.raises(Invalid, match="not a time"):
        strategy.in_use(strategy.credential_id(strategy.mint(None)), datetime.now(UTC))


def test_nothing_is_known_of_use_where_the_catalogue_names_no_place(server: RestApi) -> None:
    strategy = opened(server, list=listing(last_used=None))
    assert strategy.in_use({"id": "1"}, datetime.now(UTC)) == ()
    assert server.told == []


# --- an emergency ------------------------------------------------------------------------------------------


def test_a_cut_deletes_this_key_and_no_other(server: RestApi, strategy: HttpApiKey) -> None:
    leaked, other = strategy.mint(None), strategy.mint(None)
    assert strategy.revoke(leaked, 6) == RevokeResult()
    assert (works(server, leaked), works(server, other)) == (False, True)
    assert (strategy.accepts(leaked), strategy.accepts(other)) == (False, True)


def test_a_key_is_tried_with_itself_alone(server: RestApi, strategy: HttpApiKey) -> None:
    made = strategy.mint(None)
    assert strategy.accepts(made) is True
    assert server.told[-1].headers["x-api-key"] == made["key"].reveal()
    assert "authorization" not in server.told[-1].headers


def test_a_test_request_takes_other_fields_from_the_version_itself(server: RestApi) -> None:
    test = {"path": "/whoami?of={{current.team}}", "headers": {"x-api-key": "{{key}}"}}
    strategy = opened(server, test=test)
    made = strategy.mint(None)
    assert strategy.accepts(made) is None
    assert strategy.accepts(made.merged({"team": "ml"})) is True
    assert server.told[-1].path == "/whoami?of=ml"


@pytest.mark.parametrize("field", ["id", "key"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_version_that_lacks_a_field_is_cut_and_tried_as_far_as_that_goes(
    server: RestApi, strategy: HttpApiKey, field: str, empty: bool
) -> None:
    made = strategy.mint(None)
    lacking = {name: value for name, value in made.items() if name != field} | ({field: ""} if empty else {})
    version = SecretFields(lacking)
    assert strategy.accepts(version) is (None if field == "key" else True)
    outlives = strategy.revoke(version, 6).outlives
    assert works(server, made) is (field == "id")
    if field == "id":
        (said,) = outlives
        assert "no field id" in said
        assert made["key"].reveal() not in said
        strategy.revoke(made, 6)
    assert strategy.revoke(version, 6) == RevokeResult()


def test_another_accounts_key_is_told_of_and_neither_tried_nor_deleted(server: RestApi) -> None:
    strategy = opened(server, holds={"url": "https://api.example.com"})
    made = strategy.mint(None)
    foreign = made.merged({"url": "https://another.example.com"})
    server.told.clear()
    (said,) = strategy.revoke(foreign, 6).outlives
    assert "url" in said
    assert "another.example.com" not in said
    assert strategy.accepts(foreign) is None
    assert server.told == []
    assert works(server, made)


def test_a_version_from_before_the_field_that_it_must_hold_is_cut(server: RestApi) -> None:
    strategy = opened(server, holds={"url": "https://api.example.com"})
    made = strategy.mint(None)
    assert strategy.revoke(made, 6) == RevokeResult()
    assert not works(server, made)


def test_a_key_that_is_said_to_be_absent_and_listed_is_not_cut(server: RestApi, strategy: HttpApiKey) -> None:
    made = strategy.mint(None)
    server.instead["DELETE"] = [Said(404)]
    with pytest.raises(Invalid, match="lists it still"):
        strategy.revoke(made, 6)
    strategy.revoke(made, 6)
    assert not works(server, made)


@pytest.mark.parametrize("verb", ["revoke", "accepts"])
@pytest.mark.parametrize("said", [Said(500, {"value": "the-value-of-a-key"}), Said(429), Said(lost=True)])
def test_what_an_api_that_is_down_or_busy_says_proves_nothing(
    server: RestApi, strategy: HttpApiKey, verb: str, said: Said
) -> None:
    made = strategy.mint(None)
    server.instead["GET"], server.instead["DELETE"] = [said], [said]
    with pytest.raises(TransientError) as caught:
        strategy.revoke(made, 6) if verb == "revoke" else strategy.accepts(made)
    assert not [value for value in ("the-value-of-a-key", made["key"].reveal()) if value in told(caught.value)]


def test_what_was_cut_is_replaced_although_the_hub_holds_it_still(server: RestApi) -> None:
    create = {**ROTATION["create"], "path": "/accounts/{{current.account}}/keys"}
    strategy = opened(server, create=create, limit=2)
    dead = strategy.mint(SecretFields({"account": "ml/team"})).merged({"account": "ml/team"})
    server._new_key("ml/team", "made by a person")
    strategy.revoke(dead, 6)
    strategy.preflight(None, None)
    before = strategy.existing_ids()
    strategy.remove_orphans(before, [dead])
    candidate = strategy.mint(dead)
    strategy.preflight(None, candidate)
    strategy.verify(Change(PATH, 7, candidate, dead))
    strategy.retire(strategy.credential_id(dead), 8)
    assert works(server, candidate)


# --- other shapes of APIs ----------------------------------------------------------------------------------


def test_an_expiry_that_the_api_tells_is_kept_for_the_schedule(server: RestApi) -> None:
    strategy = opened(server, answer={**ROTATION["answer"], "expires_at": "/data/expires"})
    assert strategy.mint(None)["expires_at"].reveal() == "2031-05-06T07:08:09+00:00"
    strategy = opened(server, answer={**ROTATION["answer"], "expires_at": "/data/name"})
    with pytest.raises(Invalid, match="lacks expires_at; the key that was made is deleted again"):
        strategy.mint(None)


@pytest.mark.parametrize(
    ("format", "value"),
    [
        ("rfc3339", "2027-03-03T12:30:15Z"),
        ("date", "2027-03-03"),
        ("unix", 1804077015),
        ("unix_ms", 1804077015500),
        ("seconds", 7776000),
        ("hours", 2160),
        ("days", 90),
    ],
)
def test_a_date_from_now_is_sent_as_the_api_takes_it(server: RestApi, format: str, value: str | int) -> None:
    create = {
        "path": f"{KEYS}?until={{{{until}}}}",
        "headers": {"x-until": "{{until}}"},
        "body": {"name": NAME, "scopes": ["a", {"end": "{{ until }}"}], "lifetime": "{{until}}s"},
    }
    opened(server, create=create, dates={"until": {"after": "90d", "format": format}}).mint(None)
    sent = server.told[0]
    assert sent.json["scopes"] == ["a", {"end": value}]
    assert type(sent.json["scopes"][1]["end"]) is type(value)
    assert sent.json["lifetime"] == f"{value}s"
    assert sent.headers["x-until"] == str(value)
    assert sent.path.endswith(f"?until={str(value).replace(':', '%3A')}")


def test_fields_may_be_named_as_the_consumers_read_them(server: RestApi) -> None:
    strategy = opened(
        server,
        id_field="username",
        answer={"username": "/data/id", "password": "/data/value"},
        test={"path": "/whoami", "headers": {"x-api-key": "{{password}}"}},
        delete={"path": f"{KEYS}/{{{{username}}}}"},
    )
    made = strategy.mint(None)
    strategy.verify(Change(PATH, 1, made, None))
    assert strategy.credential_id(made) == {"username": made["username"].reveal()}
    orphan = strategy.mint(made)
    strategy.remove_orphans([], [made])
    assert (works(server, made), works(server, orphan)) == (True, False)


def test_a_field_of_current_may_be_part_of_a_request(server: RestApi) -> None:
    strategy = opened(server, create={**ROTATION["create"], "path": "/accounts/{{current.account}}/keys"})
    with pytest.raises(Invalid, match=r"asks for \{\{current\.account\}\}.*Write the field account in the secret"):
        strategy.mint(None)
    strategy.mint(SecretFields({"account": "other"}))
    assert [key["account"] for key in server.keys.values()] == ["other"]


def test_names_and_no_values_are_what_ends_a_key(strategy: HttpApiKey) -> None:
    made = strategy.mint(None)
    assert json.loads(json.dumps(dict(strategy.credential_id(made)))) == {"id": made["id"].reveal()}


# --- values that are made here -----------------------------------------------------------------------------


def test_a_value_that_is_made_here_is_sent_and_kept_with_the_id_of_the_answer(server: RestApi) -> None:
    create = {**ROTATION["create"], "body": {"name": NAME, "value": "{{candidate.key}}"}}
    rules = {"key": {"form": "hex", "length": 20}}
    strategy = opened(server, create=create, answer={"id": "/data/id"}, generate=rules)
    candidate = strategy.mint(None)
    assert set(candidate) == strategy.credential_fields == {"id", "key"}
    (sent,) = [told for told in server.told if told.method == "POST"]
    assert json.loads(sent.body)["value"] == candidate["key"].reveal()
    assert len(candidate["key"].reveal()) == 40
    strategy.verify(Change(PATH, 2, candidate, None))
    assert strategy.accepts(candidate) is True
    strategy.revoke(candidate, 3)
    assert strategy.accepts(candidate) is False


def test_a_throw_away_key_is_listed_under_its_own_name_and_clearing_spares_the_live_one(
    server: RestApi, strategy: HttpApiKey
) -> None:
    live, shadow = strategy.mint(None), strategy.shadow("kt_rehearsal_0123456789")
    made = shadow.strategy.mint(None)
    assert made["id"].reveal() not in list(strategy.find_everything([]))
    assert shadow.strategy.accepts(made)
    shadow.strategy.revoke(made, 1)
    assert (shadow.strategy.accepts(made), works(server, live)) == (False, True)
    left = shadow.strategy.mint(None)
    use(server, left)
    shadow.clear()
    assert (works(server, left), works(server, live)) == (False, True)
    shadow.clear()


@pytest.mark.parametrize("unlisted", [{"list": None}, {"list": listing(where=None)}], ids=["no list", "no where"])
def test_a_key_that_a_killed_rehearsal_could_leave_unseen_is_never_made(
    server: RestApi, unlisted: dict[str, Any]
) -> None:
    with pytest.raises(UnsupportedOperation, match="does not list whose a key is"):
        opened(server, **unlisted).shadow("kt_rehearsal_0123456789")
