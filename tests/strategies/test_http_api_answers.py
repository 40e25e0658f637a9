"""What an API's answers prove about a key: a refusal that the catalogue defines, and nothing less, proves it dead."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyturn.core.errors import CandidateRejected, Invalid, KeyturnError, Unavailable
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.test_http_api_key import PATH, ROTATION, listing, opened, use, works
from tests.support.always_ok import GRAPHQL, SLACK, AlwaysOk
from tests.support.rest_api import RestApi, Said

PAGE = b"<!DOCTYPE html>\n<html><title>Sign in</title></html>"
GARBAGE = SecretFields({"id": "1", "key": "no-key-that-was-ever-made"})


def requests_of(said: dict[str, Any]) -> dict[str, Any]:
    """The rotation of an API that answers so."""
    expect = said["expect"]
    return {
        "create": {**ROTATION["create"], "expect": expect},
        "test": {**ROTATION["test"], "expect": expect, "refused": said["refused"]},
        "delete": {**ROTATION["delete"], "expect": expect, "gone": said["gone"]},
        "list": {**ROTATION["list"], "expect": expect},
    }


class AlwaysOkCases(StrategyContract):
    """The contract over an API that never answers anything but 200."""

    changes = frozenset({"id", "key"})
    said: dict[str, Any]
    graphql: bool

    @pytest.fixture
    def server(self) -> Iterator[RestApi]:
        with AlwaysOk(graphql=self.graphql) as serving:
            yield serving

    @pytest.fixture
    def case(self, server: RestApi) -> Case:
        described = requests_of(self.said)
        current = SecretFields({"url": server.url, **opened(server, **described).mint(None)})
        return Case(
            opened(server, holds={"url": server.url}, **described),
            current,
            lambda fields: works(server, fields),
            lambda candidate: candidate.merged({"key": "not-the-key-that-was-made"}),
            None,
            current.merged({"url": "https://another.example.com"}),
        )

    def test_garbage_is_refused_and_a_deleted_key_too(self, case: Case) -> None:
        assert case.strategy.accepts(GARBAGE.merged({"url": case.current["url"]})) is False
        assert case.strategy.accepts(case.current) is True
        case.strategy.revoke(case.current, 6)
        assert case.strategy.accepts(case.current) is False

    def test_a_key_that_is_gone_already_is_deleted(self, case: Case) -> None:
        ends = case.strategy.credential_id(case.current)
        case.strategy.retire(ends, 5)
        case.strategy.retire(ends, 5)
        assert not case.works(case.current)

    def test_without_a_description_nothing_is_believed(self, server: RestApi, case: Case) -> None:
        plain = opened(server, create={**ROTATION["create"], "expect": [200]})
        with pytest.raises(Invalid, match=r"reports an error at /(errors|error|ok)"):
            plain.accepts(GARBAGE)
        with pytest.raises(Invalid, match="reports an error at"):
            plain.verify(Change(PATH, 5, GARBAGE, None))
        with pytest.raises(Invalid, match="reports an error at"):
            plain.retire({"id": "4711"}, 5)


class TestGraphql(AlwaysOkCases):
    said = GRAPHQL
    graphql = True


class TestSlack(AlwaysOkCases):
    said = SLACK
    graphql = False


# --- without conditions ------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[RestApi]:
    with RestApi() as serving:
        yield serving


PROVES_NOTHING = {
    "errors": Said(200, {"errors": [{"message": "internal"}], "data": None}),
    "error": Said(200, {"error": "ratelimited"}),
    "ok is false": Said(200, {"ok": False}),
    "success is false": Said(200, {"success": False, "errors": []}),
    "page": Said(200, PAGE),
    "page after a mark of its encoding": Said(200, b"\xef\xbb\xbf\r\n <html></html>"),
    "page that asks for a login": Said(401, PAGE),
    "page of a firewall": Said(403, PAGE),
    "page that is not there": Said(404, PAGE),
    "empty": Said(200),
    "no content": Said(204),
    "text": Said(200, b"OK"),
    "number": Said(200, 7),
    "redirect": Said(302, headers={"location": "/login"}),
    "permanent redirect": Said(308, headers={"location": "/login"}),
    "bad request": Said(400, {"message": "no"}),
    "forbidden": Said(403, {"message": "no"}),
    "conflict": Said(409, {"message": "no"}),
    "proxy": Said(407, {"message": "no"}),
    "broken": Said(500, {"message": "no"}),
    "busy": Said(503, PAGE),
    "breaks off": Said(lost=True),
}


@pytest.mark.parametrize("said", PROVES_NOTHING.values(), ids=PROVES_NOTHING)
def test_what_is_neither_acceptance_nor_a_defined_refusal_proves_nothing(server: RestApi, said: Said) -> None:
    strategy = opened(server)
    living = strategy.mint(None)
    for key in (GARBAGE, living):
        server.instead["GET"] = [said]
        with pytest.raises(KeyturnError) as caught:
            strategy.accepts(key)
        assert key["key"].reveal() not in caught.value.text
        assert caught.value.hint


@pytest.mark.parametrize("said", PROVES_NOTHING.values(), ids=PROVES_NOTHING)
def test_what_is_no_acceptance_puts_no_key_in_force(server: RestApi, said: Said) -> None:
    strategy = opened(server)
    candidate = strategy.mint(None)
    server.instead["GET"] = [said]
    with pytest.raises(KeyturnError) as caught:
        strategy.verify(Change(PATH, 5, candidate, None))
    rejected = said.status in (400, 403, 409) and not isinstance(said.body, bytes)
    assert isinstance(caught.value, CandidateRejected) == rejected


NOT_DELETED = {
    name: said for name, said in PROVES_NOTHING.items() if name not in ("empty", "no content", "text", "number")
}


@pytest.mark.parametrize("end", ["retire", "revoke"])
@pytest.mark.parametrize("said", NOT_DELETED.values(), ids=NOT_DELETED)
@pytest.mark.parametrize("with_list", [True, False])
def test_an_answer_that_deletes_nothing_is_not_taken_for_the_end_of_a_key(
    server: RestApi, end: str, said: Said, *, with_list: bool
) -> None:
    strategy = opened(server) if with_list else opened(server, list=None)
    living = strategy.mint(None)
    calls: dict[str, Callable[[], object]] = {
        "retire": lambda: strategy.retire(strategy.credential_id(living), 5),
        "revoke": lambda: strategy.revoke(living, 5),
    }
    server.instead["DELETE"] = [said]
    with pytest.raises(KeyturnError):
        calls[end]()
    assert works(server, living)
    calls[end]()
    assert not works(server, living)


@pytest.mark.parametrize("said", [Said(200, {"deleted": True}), Said(204), Said(200), Said(200, b"OK")])
def test_a_lie_about_a_deletion_is_found_in_the_list(server: RestApi, said: Said) -> None:
    strategy = opened(server)
    living = strategy.mint(None)
    server.instead["DELETE"] = [said]
    with pytest.raises(Unavailable, match=r"answers that the key is deleted, and lists it still.*`in_force`"):
        strategy.retire(strategy.credential_id(living), 5)
    assert works(server, living)


def test_a_list_that_takes_a_while_is_read_again_while_the_patience_lasts(server: RestApi) -> None:
    strategy, slept = opened(server, test={**ROTATION["test"], "patience": "2s"}), list[float]()
    living = strategy.mint(None)

    def wait(seconds: float) -> None:
        slept.append(seconds)
        server.keys.pop(living["id"].reveal(), None)

    strategy.test.sleep = wait
    server.instead["DELETE"] = [Said(204)]
    strategy.retire(strategy.credential_id(living), 5)
    assert slept == [1]


def test_entries_of_ended_keys_are_passed_over_where_the_catalogue_says_which_those_are(server: RestApi) -> None:
    strategy = opened(server, list=listing(in_force=[{"pointer": "/revoked", "absent": True}]), limit=2)
    old, new = strategy.mint(None), strategy.mint(None)

    def keep(said: Said) -> Said:
        """The list shows the key that was deleted, as ended."""
        ended = {"id": int(old["id"].reveal()), "name": "old", "revoked": "2026-12-01T00:00:00Z"}
        data = [entry for entry in said.body["data"] if str(entry["id"]) != old["id"].reveal()]
        return Said(200, {**said.body, "data": [ended, *data]}, said.headers)

    server.after["GET"] = keep
    strategy.retire(strategy.credential_id(old), 5)
    assert not works(server, old)
    assert list(strategy.existing_ids()) == [new["id"].reveal()]
    strategy.preflight(new, None)


def test_a_key_that_was_made_with_an_error_is_taken_back(server: RestApi) -> None:
    strategy = opened(server)
    server.after["POST"] = lambda said: Said(201, {**said.body, "errors": ["the scope is unknown"]})
    with pytest.raises(Invalid, match=r"reports an error at /errors; the key that was made is deleted again"):
        strategy.mint(None)
    assert server.keys == {}


# --- refusals that the catalogue defines -------------------------------------------------------------------


def test_403_refuses_where_the_catalogue_says_so(server: RestApi) -> None:
    strategy = opened(server, test={**ROTATION["test"], "refused": {"status": [401, 403]}})
    for status in (401, 403):
        server.instead["GET"] = [Said(status, {"message": "no"})]
        assert strategy.accepts(GARBAGE) is False
    server.instead["GET"] = [Said(403, PAGE)]
    with pytest.raises(Invalid, match="answered 403"):
        strategy.accepts(GARBAGE)


def test_a_defined_refusal_takes_the_place_of_401(server: RestApi) -> None:
    refused = [{"status": [400], "when": [{"pointer": "/reason", "equals": "API_KEY_INVALID"}]}]
    strategy = opened(server, test={**ROTATION["test"], "refused": refused})
    server.instead["GET"] = [Said(400, {"reason": "API_KEY_INVALID"})]
    assert strategy.accepts(GARBAGE) is False
    for said in (Said(400, {"reason": "QUOTA"}), Said(401, {"reason": "API_KEY_INVALID"}), Said(400, b"")):
        server.instead["GET"] = [said]
        with pytest.raises(Invalid):
            strategy.accepts(GARBAGE)


def test_a_token_that_is_known_and_not_active_is_no_acceptance(server: RestApi) -> None:
    """As Cloudflare answers: 200, success, and a status in the result."""
    status = {"pointer": "/result/status", "equals": "active"}
    dead = {"pointer": "/result/status", "equals": ["disabled", "expired"]}
    test = {**ROTATION["test"], "expect": [status], "refused": [{"status": [401]}, {"when": [dead]}]}
    strategy = opened(server, test=test)
    answers = {"active": True, "disabled": False, "expired": False}
    for word, accepted in answers.items():
        server.instead["GET"] = [Said(200, {"success": True, "errors": [], "result": {"status": word}})]
        assert strategy.accepts(GARBAGE) is accepted
    server.instead["GET"] = [Said(200, {"success": True, "result": {"status": "pending"}})]
    with pytest.raises(Invalid, match="does not hold at /result/status what `expect` says"):
        strategy.accepts(GARBAGE)


def test_an_expected_status_without_a_body_is_acceptance_where_it_is_named(server: RestApi) -> None:
    strategy = opened(server, test={**ROTATION["test"], "expect": [204]})
    server.instead["GET"] = [Said(204)]
    assert strategy.accepts(GARBAGE) is True


@pytest.mark.parametrize("equal", [("1", 1), (1, True), (True, 1), (0, False), ("", None)])
def test_values_are_compared_with_their_kind(server: RestApi, equal: tuple[Any, Any]) -> None:
    wanted, there = equal
    strategy = opened(server, test={**ROTATION["test"], "expect": [{"pointer": "/a~1b/0", "equals": wanted}]})
    server.instead["GET"] = [Said(200, {"a/b": [there]})]
    with pytest.raises(Invalid, match="does not hold at /a~1b/0"):
        strategy.accepts(GARBAGE)
    server.instead["GET"] = [Said(200, {"a/b": [wanted]})]
    assert strategy.accepts(GARBAGE) is True


def test_a_new_key_may_be_unknown_in_whatever_words_while_the_patience_lasts(server: RestApi) -> None:
    strategy = opened(server, test={**ROTATION["test"], "patience": "2s"})
    strategy.test.sleep = lambda seconds: None
    candidate = strategy.mint(None)
    server.instead["GET"] = [Said(200, {"ok": False}), Said(403, {"message": "no"})]
    strategy.verify(Change(PATH, 5, candidate, None))
    with use(server, candidate):
        assert strategy.accepts(candidate) is True
