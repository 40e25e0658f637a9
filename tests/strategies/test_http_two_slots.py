"""The two keys of an account at a REST API, against a real server."""

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from keyturn.catalogue import Catalogue
from keyturn.core.errors import (
    CandidateRejected,
    Denied,
    Invalid,
    KeyturnError,
    NotFound,
    Superseded,
    Unavailable,
)
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.http.api_target import HttpApi
from keyturn.revocation.incidents.incident import Mode
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.strategies.http_two_slots import HttpTwoSlots, HttpTwoSlotsSettings
from keyturn.strategies.two_slots import key_digest
from keyturn.wiring.registry import open_workspace
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.revoking import revoked
from tests.support.lab import Lab, fresh
from tests.support.rest_api import Said
from tests.support.slot_api import SlotApi

PATH = "apps/contract"
ACCOUNT = "ml/team"

ROTATION: dict[str, Any] = {
    "strategy": "http-two-slots",
    "target": "api",
    "interval": "30d",
    "grace": "1h",
    "constants": {"account": ACCOUNT},
    "slots": ["key1", "key2"],
    "read": {"path": "/accounts/{{account}}/listKeys", "values": {"key1": "/key1", "key2": "/key2"}},
    "regenerate": {"path": "/accounts/{{account}}/regenerateKey", "body": {"keyName": "{{slot}}"}},
    "test": {"path": "/whoami", "headers": {"x-api-key": "{{key}}"}},
    "fields": {"key": "{{key}}", "key_name": "{{slot}}", "connection_string": "Account={{account}};AccountKey={{key}}"},
}
"""A secret's rotation as the catalogue has it."""


class Tools:
    """What the strategy is opened with: the API alone."""

    def __init__(self, api: HttpApi) -> None:
        self.api = api

    def target(self, name: str) -> HttpApi:
        assert name == "api"
        return self.api


def opened(server: SlotApi, **changes: Any) -> HttpTwoSlots:
    """The strategy as the catalogue opens it; a change of None leaves the key out."""
    said = {key: value for key, value in {**ROTATION, **changes}.items() if value is not None}
    settings: HttpTwoSlotsSettings = TypeAdapter(HttpTwoSlotsSettings).validate_python(said)
    headers = {"authorization": "Bearer {{admin.token}}"}
    api = HttpApi("api", url=server.url, admin=lambda: SecretFields({"token": server.admin_token}), headers=headers)
    made = settings.open(PATH, Tools(api))  # type: ignore[arg-type]
    made.sleep = lambda seconds: None
    if made.test:
        made.test.sleep = made.sleep
    return made


def works(server: SlotApi, fields: SecretFields) -> bool:
    """Whether an application gets in with this version, by its key and by its connection string."""
    key = fields["key"].reveal()
    if "connection_string" in fields:
        assert fields["connection_string"].reveal().endswith(f"AccountKey={key}")
    return server.takes(key)


def serving(server: SlotApi, name: str = "key1") -> SecretFields:
    """What the secret holds while that key serves."""
    key = server.slots[ACCOUNT][name]
    said = f"Account={ACCOUNT};AccountKey={key}"
    return SecretFields({"key": key, "key_name": name, "connection_string": said, "url": "https://service.example.com"})


def change(candidate: SecretFields, current: SecretFields | None = None) -> Change:
    return Change(PATH, 5, candidate, current)


def no_value_in(error: KeyturnError, server: SlotApi) -> bool:
    """Whether an error shows neither the admin's token nor a key, and has a remedy."""
    told = "".join(traceback.format_exception(error)) + repr(error.args)
    hidden = [server.admin_token, *(key for slots in server.slots.values() for key in slots.values())]
    return bool(error.hint) and not [value for value in hidden if value in told]


@pytest.fixture
def server() -> Iterator[SlotApi]:
    with SlotApi() as serving:
        serving.create(ACCOUNT)
        yield serving


class TestHttpTwoSlots(StrategyContract):
    changes = frozenset({"key", "key_name", "connection_string"})
    steady = frozenset({"key_name"})

    @pytest.fixture
    def case(self, server: SlotApi) -> Case:
        return Case(
            opened(server, holds={"url": "https://service.example.com"}),
            serving(server),
            lambda fields: works(server, fields),
            lambda candidate: candidate.merged(
                {"key": "not-the-key-that-was-made", "connection_string": "AccountKey=not-the-key-that-was-made"}
            ),
            stranger=serving(server).merged({"url": "https://another.example.com"}),
        )

    def test_sweeping_ends_what_a_dead_run_left(self, case: Case) -> None:
        """A key that no version holds does no harm, and ends with the next mint."""
        orphan = case.strategy.mint(case.current)
        case.remove_orphans(case.existing_ids(), [case.current])
        case.strategy.mint(case.current)
        assert case.works(case.current)
        assert not case.works(orphan)

    def test_the_slots_take_turns(self, case: Case) -> None:
        second = case.change().candidate
        case.strategy.retire(case.strategy.credential_id(case.current), 5)
        third = case.strategy.mint(case.current.merged(second))
        names = [fields["key_name"].reveal() for fields in (case.current, second, third)]
        assert names == ["key1", "key2", "key1"]
        assert case.works(second)
        assert case.works(third)


class TestWithTheAnswerToRegenerate(TestHttpTwoSlots):
    """The new key is in the answer: it is not read again."""

    @pytest.fixture
    def case(self, server: SlotApi) -> Case:
        values = {"key1": "/key1", "key2": "/key2"}
        current = serving(server)
        return Case(
            opened(server, regenerate={**ROTATION["regenerate"], "values": values}),
            current,
            lambda fields: works(server, fields),
            lambda candidate: candidate.merged(
                {"key": "not-the-key-that-was-made", "connection_string": "AccountKey=not-the-key-that-was-made"}
            ),
        )


class TestWithoutATest(TestHttpTwoSlots):
    """A key that only signs: the API's own list decides."""

    @pytest.fixture
    def case(self, server: SlotApi) -> Case:
        return Case(
            opened(server, test=None, trusts_list=True),
            serving(server),
            lambda fields: works(server, fields),
            lambda candidate: candidate.merged(
                {"key": "not-the-key-that-was-made", "connection_string": "AccountKey=not-the-key-that-was-made"}
            ),
        )


# --- what is late ------------------------------------------------------------------------------------------


def test_a_retired_key_that_was_regenerated_since_is_left_alone(server: SlotApi) -> None:
    rotation, first = opened(server), serving(server)
    ends = rotation.credential_id(first)
    second = rotation.mint(first)
    rotation.retire(ends, 5)
    third = rotation.mint(first.merged(second))
    rotation.retire(ends, 5)
    rotation.abandon(change(second.merged({"key": first["key"]}), first.merged(third)))
    assert works(server, third)
    assert works(server, second)


def test_a_mint_that_wakes_up_after_another_has_minted_changes_nothing(server: SlotApi) -> None:
    suspended, second, first = opened(server), opened(server), serving(server)
    suspended.existing_ids()
    second.remove_orphans((), [first])
    in_force = second.mint(first)
    with pytest.raises(Superseded, match="another run"):
        suspended.mint(first)
    assert works(server, in_force)


@pytest.mark.parametrize("verb", ["mint", "retire", "abandon", "revoke"])
def test_what_was_read_too_long_ago_is_not_acted_on(server: SlotApi, verb: str) -> None:
    first, keys, late = serving(server), dict(server.slots[ACCOUNT]), opened(server)
    late.window = 0
    verbs: dict[str, Callable[[], object]] = {
        "mint": lambda: late.mint(first),
        "retire": lambda: late.retire(late.credential_id(first), 5),
        "abandon": lambda: late.abandon(change(first)),
        "revoke": lambda: late.revoke(first, 5),
    }
    with pytest.raises(Unavailable, match=r"have passed.*nothing has been changed"):
        verbs[verb]()
    assert server.slots[ACCOUNT] == keys


def test_a_cut_of_an_old_version_spares_the_key_that_serves(server: SlotApi) -> None:
    rotation, first = opened(server), serving(server)
    second = rotation.mint(first)
    rotation.retire(rotation.credential_id(first), 5)
    third = rotation.mint(first.merged(second))
    rotation.retire(rotation.credential_id(second), 6)
    keys = dict(server.slots[ACCOUNT])
    for old in (first, second):
        assert rotation.revoke(old, 7) == RevokeResult()
        assert rotation.accepts(old) is False
    assert server.slots[ACCOUNT] == keys
    assert rotation.accepts(third) is True


@pytest.mark.parametrize("name", ["key1", "key2"])
def test_what_was_cut_is_replaced_by_the_same_slot_and_the_other_stays(server: SlotApi, name: str) -> None:
    dead, rotation = serving(server, name), opened(server)
    other = {"key1": "key2", "key2": "key1"}[name]
    spare = server.slots[ACCOUNT][other]
    rotation.revoke(dead, 6)
    rotation.preflight(None, None)
    rotation.existing_ids()
    candidate = rotation.mint(dead)
    rotation.verify(change(candidate, dead))
    assert candidate["key_name"].reveal() == name
    assert server.slots[ACCOUNT][other] == spare
    rotation.retire(rotation.credential_id(dead), 8)
    assert works(server, candidate)


# --- an API that is late, or answers otherwise -------------------------------------------------------------


def test_a_service_that_regenerates_in_the_background_is_asked_until_the_key_is_new(server: SlotApi) -> None:
    """As Cosmos DB does: 202 without keys, and the list shows the old one for some time."""
    server.silent = True
    rotation, first = opened(server, read={**ROTATION["read"], "patience": "5s"}), serving(server)
    server.stale = 3
    candidate = rotation.mint(first)
    assert works(server, candidate)
    assert works(server, first)


def test_a_slot_that_keeps_its_value_is_no_new_key(server: SlotApi) -> None:
    rotation, first = opened(server), serving(server)
    server.instead["POST"] = [Said(200, dict(server.slots[ACCOUNT]))] * 3
    with pytest.raises(Unavailable, match="key2 still has its old value") as caught:
        rotation.mint(first)
    assert no_value_in(caught.value, server)


def test_a_key_that_takes_effect_late_is_waited_for(server: SlotApi) -> None:
    rotation = opened(server, test={**ROTATION["test"], "patience": "5s"})
    candidate = rotation.mint(serving(server))
    server.slow_keys = 4
    rotation.verify(change(candidate))


def test_a_key_that_takes_effect_later_keeps_its_place(server: SlotApi) -> None:
    rotation = opened(server)
    candidate = rotation.mint(serving(server))
    server.slow_keys = 1
    with pytest.raises(Unavailable, match=r"refuses the new key with 401, and lists it.*patience") as caught:
        rotation.verify(change(candidate))
    assert no_value_in(caught.value, server)
    rotation.verify(change(candidate))


def test_a_candidate_that_a_person_regenerated_is_rejected(server: SlotApi) -> None:
    rotation = opened(server)
    candidate = rotation.mint(None)
    server.create(ACCOUNT)
    with pytest.raises(CandidateRejected, match="401") as caught:
        rotation.verify(change(candidate))
    assert no_value_in(caught.value, server)


def test_a_refusal_of_a_key_that_is_listed_proves_nothing(server: SlotApi) -> None:
    rotation, first = opened(server), serving(server)
    server.slow_keys = 1
    with pytest.raises(Unavailable, match="refuses a key that it lists") as caught:
        rotation.accepts(first)
    assert no_value_in(caught.value, server)
    rotation.revoke(first, 6)
    assert rotation.accepts(first) is False


@pytest.mark.parametrize("body", [{"key1": "a-long-enough-value-1"}, {"key1": "x", "key2": 5}, {}, b"<html>"])
def test_an_answer_without_both_keys_names_the_pointer(server: SlotApi, body: Any) -> None:
    rotation, first, keys = opened(server), serving(server), dict(server.slots[ACCOUNT])
    for verb in (rotation.existing_ids, lambda: rotation.mint(first), lambda: rotation.revoke(first, 5)):
        server.instead["POST"] = [Said(200, body)]
        with pytest.raises(Invalid, match=r"/key|web page") as caught:
            verb()
        assert no_value_in(caught.value, server)
    assert server.slots[ACCOUNT] == keys


def test_an_admin_that_is_refused_changes_nothing(server: SlotApi) -> None:
    rotation, first = opened(server), serving(server)
    server.instead["POST"] = [Said(403, {"error": {"code": "AuthorizationFailed"}})] * 2
    for verb in (lambda: rotation.mint(first), lambda: rotation.retire(rotation.credential_id(first), 5)):
        with pytest.raises(Denied) as caught:
            verb()
        assert no_value_in(caught.value, server)
    assert works(server, first)


def test_an_account_that_is_gone_is_no_key_that_has_ended(server: SlotApi) -> None:
    rotation, first = opened(server, constants={"account": "elsewhere"}), serving(server)
    for verb in (lambda: rotation.retire(rotation.credential_id(first), 5), lambda: rotation.revoke(first, 5)):
        with pytest.raises(NotFound):
            verb()


# --- what guards it ----------------------------------------------------------------------------------------


def test_a_key_that_a_person_regenerated_is_refused_before_the_other_is_touched(server: SlotApi) -> None:
    first, rotation = serving(server), opened(server)
    server.slots[ACCOUNT]["key1"] = "regenerated-by-a-person"
    spare = server.slots[ACCOUNT]["key2"]
    for verb in (lambda: rotation.preflight(first, None), lambda: rotation.mint(first)):
        with pytest.raises(Invalid, match=r"none of its keys.*into the secret's key"):
            verb()
    assert server.slots[ACCOUNT]["key2"] == spare


def test_a_current_that_names_no_key_is_refused(server: SlotApi) -> None:
    with pytest.raises(Invalid, match="the key in use is unknown"):
        opened(server).preflight(SecretFields({"url": "https://service.example.com"}), None)


def test_a_current_that_was_written_by_hand_needs_only_its_key(server: SlotApi) -> None:
    by_hand, rotation = SecretFields({"key": server.slots[ACCOUNT]["key2"]}), opened(server)
    rotation.preflight(by_hand, None)
    candidate = rotation.mint(by_hand)
    assert candidate["key_name"].reveal() == "key1"
    rotation.retire(rotation.credential_id(by_hand), 5)
    assert not server.takes(by_hand["key"].reveal())
    assert works(server, candidate)


def test_an_old_key_of_another_account_is_not_taken_for_ended(server: SlotApi) -> None:
    ends = opened(server, holds={"url": "https://service.example.com"}).credential_id(serving(server))
    elsewhere = opened(server, holds={"url": "https://another.example.com"})
    with pytest.raises(Invalid, match="another account's"):
        elsewhere.retire(ends, 5)
    assert works(server, serving(server))


def test_what_ends_a_key_is_a_digest(server: SlotApi) -> None:
    first = serving(server)
    assert opened(server).credential_id(first) == {"key_name": "key1", "digest": key_digest(first["key"])}


def test_values_may_lie_in_lists(server: SlotApi) -> None:
    """As in Container Registry: passwords[0] and passwords[1]."""
    values = {"password": "/passwords/0/value", "password2": "/passwords/1/value"}
    rotation = opened(
        server,
        slots=["password", "password2"],
        read={"path": "/accounts/{{account}}/listKeys", "values": values},
        fields=None,
    )
    listed = [
        {"name": "password", "value": "a-long-enough-value-1"},
        {"name": "password2", "value": "another-value-of-it"},
    ]
    server.instead["POST"] = [Said(200, {"username": "registry", "passwords": listed})]
    assert rotation.values() == {
        "password": Sensitive("a-long-enough-value-1"),
        "password2": Sensitive("another-value-of-it"),
    }
    assert rotation.credential_fields == {"key", "slot"}


# --- settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"slots": ["key1"]}, "slots"),
        ({"slots": ["key1", "key1"]}, "the two slots are the same"),
        ({"read": {"path": "/x", "values": {"key1": "/key1"}}}, "values lacks the slot key2"),
        ({"read": {"path": "/x", "values": {"key1": "/key1", "key3": "/key2"}}}, "values names key3"),
        ({"read": {"path": "/x", "values": {"key1": "/key", "key2": "/key"}}}, "one pointer for both slots"),
        ({"regenerate": {"path": "/x"}}, "the request names no slot"),
        ({"regenerate": {"path": "/x/{{slot}}", "values": {"key1": "/key1"}}}, "values lacks the slot key2"),
        ({"regenerate": {"path": "/x/{{slot}}/{{key}}"}}, "{{key}}, which is not known there"),
        ({"test": None}, "no request tries a key"),
        ({"trusts_list": True}, "a key is tried, so the list does not decide"),
        ({"test": {"path": "/whoami"}}, "does not use the key"),
        ({"test": {"path": "/whoami/{{key}}"}}, "a key in a path"),
        ({"test": {"path": "/whoami", "headers": {"x-api-key": "{{admin.key}}"}}}, "not known there"),
        ({"fields": {"key": "{{key}}"}}, "exactly one field is the slot's name"),
        ({"fields": {"slot": "{{slot}}", "url": "Key={{key}}"}}, "exactly one field is the key"),
        ({"fields": {"key": "{{key}}", "slot": "{{slot}}", "url": "{{host}}"}}, "{{host}}, which is not known there"),
        ({"constants": {"account": "a", "key": "b"}}, "the name key has a meaning already"),
        ({"holds": {"key_name": "key1"}}, "key_name changes with each key"),
    ],
)
def test_what_can_not_work_is_refused_with_a_remedy(server: SlotApi, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        opened(server, **changes)
    (error,) = caught.value.errors()
    assert problem in str(error.get("ctx", {}).get("message", error["loc"]))


# --- the whole protocol ------------------------------------------------------------------------------------


def workspace_for(lab: Lab, server: SlotApi, **changes: Any) -> tuple[Workspace, str]:
    """A secret in the hub whose key1 serves."""
    name = fresh()
    path, first = f"tests/{name}", serving(server).reveal()
    lab.hub.write(path, SecretFields(first), cas=0)
    lab.hub.write_state(f"targets/{name}", {"token": server.admin_token}, cas=0)
    headers = {"authorization": "Bearer {{admin.token}}"}
    target = {"kind": "http-api", "url": server.url, "admin": f"targets/{name}", "headers": headers}
    declared = {
        "path": path,
        "owner": "tests@example.com",
        "classification": "internal",
        "rotation": {**ROTATION, "grace": "0s", **changes},
    }
    catalogue = Catalogue.model_validate({"targets": {"api": target}, "secrets": {path: declared}})
    return open_workspace(catalogue, lab.hub), path


def current(lab: Lab, path: str) -> SecretFields:
    found = lab.hub.read(path)
    assert found
    return found.fields


def test_keys_are_rotated_in_turn_and_only_one_is_known(server: SlotApi, lab: Lab) -> None:
    workspace, path = workspace_for(lab, server)
    served = [current(lab, path)]
    for _ in range(3):
        assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
        served.append(current(lab, path))
        assert works(server, served[-2])
        assert retire(workspace, path).retired
        assert not works(server, served[-2])
    assert [fields["key_name"].reveal() for fields in served] == ["key1", "key2", "key1", "key2"]
    assert works(server, served[-1])
    assert served[-1]["url"] == served[0]["url"]


@pytest.mark.parametrize("mode", list(Mode))
def test_both_keys_end_where_a_rotation_has_left_both_in_versions(server: SlotApi, lab: Lab, mode: Mode) -> None:
    workspace, path = workspace_for(lab, server, grace="1d")
    first = current(lab, path)
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
    second = current(lab, path)
    assert works(server, first)
    stands = revoked(workspace, path, mode)
    assert (stands.left, stands.open) == ((), False)
    assert not works(server, first)
    assert not works(server, second)
