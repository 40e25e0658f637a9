"""Tokens that are exchanged for their successor, against a server that revokes the family of one that is sent twice."""

import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from keyturn.catalogue import Catalogue
from keyturn.core.errors import (
    CredentialLost,
    Invalid,
    KeyturnError,
    NothingMade,
    Superseded,
    Unavailable,
)
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.http.api_target import HttpApi
from keyturn.revocation.incidents.incident import Mode
from keyturn.rotation import steps
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import restore_previous, rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record, save
from keyturn.strategies.http_exchange import HttpExchange, HttpExchangeSettings
from keyturn.wiring.registry import open_workspace
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.revoking import revoked
from tests.support.exchange_api import ExchangeApi
from tests.support.lab import Lab, fresh
from tests.support.rest_api import Said

PATH = "apps/contract"
USER = "ml"
RECOVER: dict[str, Any] = {"path": "/users/{{user}}/tokens", "body": {"name": "keyturn {{path}} {{unique}}"}}

ROTATION: dict[str, Any] = {
    "strategy": "http-exchange",
    "target": "api",
    "interval": "30d",
    "grace": "0s",
    "accepts_gap": True,
    "constants": {"user": USER},
    "exchange": {"path": "/tokens/self/rotate", "headers": {"private-token": "{{current.token}}"}},
    "answer": {"id": "/id", "token": "/token", "expires_at": "/expires_at"},
    "test": {"path": "/tokens/self", "headers": {"private-token": "{{token}}"}},
    "revoke": {"method": "DELETE", "path": "/tokens/self", "headers": {"private-token": "{{token}}"}},
    "recover": RECOVER,
}
"""A secret's rotation as the catalogue has it: GitLab's."""

REFRESH: dict[str, Any] = {
    **ROTATION,
    "exchange": {
        "path": "/oauth/token",
        "form": {"grant_type": "refresh_token", "refresh_token": "{{current.refresh_token}}"},
    },
    "answer": {**ROTATION["answer"], "refresh_token": "/refresh_token"},
}
"""OAuth: the refresh token is exchanged, and the access token next to it is tried."""


class Tools:
    """What the strategy is opened with: the API and the time."""

    def __init__(self, api: HttpApi) -> None:
        self.api = api

    def target(self, name: str) -> HttpApi:
        assert name == "api"
        return self.api

    def clock(self) -> datetime:
        return datetime.now(UTC)


def opened(server: ExchangeApi, said: dict[str, Any] = ROTATION, **changes: Any) -> HttpExchange:
    """The strategy as the catalogue opens it; a change of None leaves the key out."""
    rotation = {key: value for key, value in {**said, **changes}.items() if value is not None}
    settings: HttpExchangeSettings = TypeAdapter(HttpExchangeSettings).validate_python(rotation)
    headers = {"authorization": "Bearer {{admin.token}}"}
    api = HttpApi("api", url=server.url, admin=lambda: SecretFields({"token": server.admin_token}), headers=headers)
    made = settings.open(PATH, Tools(api))  # type: ignore[arg-type]
    made.test.sleep = lambda seconds: None
    return made


def serving(server: ExchangeApi) -> SecretFields:
    """What the secret holds once a person has made a token."""
    value = server.create(USER)
    token = server.tokens[value]
    named = {"id": str(token.id), "url": "https://api.example.com", "expires_at": "2031-05-06T23:59:59+00:00"}
    return SecretFields({**named, "token": value, "refresh_token": token.refresh})


def one_token(server: ExchangeApi) -> SecretFields:
    """The same without a refresh token, which this rotation would not replace."""
    return SecretFields({name: value for name, value in serving(server).items() if name != "refresh_token"})


def works(server: ExchangeApi, fields: SecretFields) -> bool:
    return server.takes(fields["token"].reveal())


def change(candidate: SecretFields, current: SecretFields | None = None) -> Change:
    return Change(PATH, 5, candidate, current)


def no_value_in(error: KeyturnError, server: ExchangeApi) -> bool:
    """Whether an error shows neither the admin's token nor another, and has a remedy."""
    told = "".join(traceback.format_exception(error)) + repr(error.args)
    hidden = [server.admin_token, *server.tokens, *(token.refresh for token in server.tokens.values())]
    return bool(error.hint) and not [value for value in hidden if value in told]


@pytest.fixture
def server() -> Iterator[ExchangeApi]:
    with ExchangeApi() as serving:
        yield serving


class TestHttpExchange(StrategyContract):
    changes = frozenset({"id", "token", "expires_at"})
    steady = frozenset({"expires_at"})
    overlaps = False
    puts_back = False
    has_place = False

    @pytest.fixture
    def case(self, server: ExchangeApi) -> Case:
        current = serving(server)
        return Case(
            opened(server, holds={"url": "https://api.example.com"}),
            current,
            lambda fields: works(server, fields),
            lambda candidate: candidate.merged({"token": "not-the-token-that-was-made"}),
            stranger=current.merged({"url": "https://another.example.com"}),
        )

    # The exchange is the mint, and it ends CURRENT: what never minted leaves CURRENT alone.

    def test_minting_leaves_what_serves_alone(self, case: Case) -> None:
        candidate = case.strategy.mint(case.current)
        assert not case.works(case.current)
        assert case.works(candidate)

    def test_what_was_never_installed_can_be_abandoned(self, case: Case) -> None:
        made = case.change()
        case.strategy.abandon(made)
        assert not case.works(made.candidate)

    def test_sweeping_ends_what_a_dead_run_left(self, case: Case) -> None:
        """No one knows the successor whose answer was lost, so no request can name it."""
        before, orphan = case.existing_ids(), case.strategy.mint(case.current)
        case.remove_orphans(before, [case.current])
        assert case.works(orphan)

    def test_the_guard_lets_the_secrets_own_credentials_pass(self, case: Case) -> None:
        case.strategy.preflight(None, None)
        case.strategy.preflight(case.current, None)
        case.strategy.preflight(case.current, candidate := case.strategy.mint(case.current))
        assert case.works(candidate)

    def test_the_guard_refuses_another_accounts_credential(self, case: Case) -> None:
        assert case.stranger is not None
        with pytest.raises(Invalid, match="url does not hold"):
            case.strategy.preflight(case.stranger, None)
        assert case.works(case.current)


# --- a token is sent to be exchanged once -------------------------------------------------------------------


def test_the_server_revokes_the_successor_where_a_token_is_sent_twice(server: ExchangeApi) -> None:
    """What the strategy must never cause."""
    first = serving(server)
    successor = opened(server).mint(first)
    assert server._exchanged(first["token"].reveal()).status == 401
    assert not works(server, successor)


@pytest.mark.parametrize("said", [ROTATION, REFRESH], ids=["one token", "refresh token"])
def test_a_lost_answer_is_recovered_by_the_admin_and_the_token_is_not_sent_again(
    server: ExchangeApi, said: dict[str, Any]
) -> None:
    strategy, first = opened(server, said), serving(server)
    before = strategy.existing_ids()
    server.after["POST"] = lambda answered: Said(lost=True)
    with pytest.raises(Unavailable) as caught:
        strategy.mint(first)
    assert no_value_in(caught.value, server)
    server.after.clear()
    again = opened(server, said)
    again.remove_orphans(before, [first])
    candidate = again.mint(first)
    again.verify(change(candidate, first))
    assert max(server.exchanges.values()) == 1


@pytest.mark.parametrize("said", [ROTATION, REFRESH], ids=["one token", "refresh token"])
def test_without_recover_a_lost_answer_is_a_lost_credential_and_says_so(
    server: ExchangeApi, said: dict[str, Any]
) -> None:
    strategy, first = opened(server, said, recover=None), serving(server)
    server.after["POST"] = lambda answered: Said(lost=True)
    with pytest.raises(Unavailable):
        strategy.mint(first)
    server.after.clear()
    for _ in range(2):
        strategy.remove_orphans((), [first])
        with pytest.raises(CredentialLost, match=r"answer with its successor is lost.*by hand.*rotate apps") as caught:
            strategy.mint(first)
        assert no_value_in(caught.value, server)
    assert max(server.exchanges.values()) == 1
    assert len([token for token in server.tokens.values() if not token.dead and not token.spent]) == 1, "the successor"


def test_a_run_that_died_before_the_exchange_is_gone_on_with(server: ExchangeApi) -> None:
    strategy, first = opened(server, recover=None), serving(server)
    strategy.remove_orphans((), [first])
    assert works(server, strategy.mint(first))
    assert server.exchanges.total() == 1


def test_a_service_that_still_accepts_an_exchanged_token_is_asked_until_it_knows(server: ExchangeApi) -> None:
    strategy = opened(server, test={**ROTATION["test"], "patience": "5s"})
    first = serving(server)
    server.after["POST"] = lambda answered: Said(lost=True)
    with pytest.raises(Unavailable):
        strategy.mint(first)
    server.after.clear()
    server.lag = 4
    strategy.remove_orphans((), [first])
    assert works(server, strategy.mint(first))
    assert server.exchanges.total() == 1


def test_a_worker_that_was_suspended_after_the_proof_sends_nothing(server: ExchangeApi) -> None:
    strategy, first = opened(server), serving(server)
    strategy.window = 0
    with pytest.raises(Unavailable, match=r"have passed since the API accepted CURRENT.*nothing has been changed"):
        strategy.mint(first)
    assert server.exchanges.total() == 0


def test_a_worker_that_was_suspended_before_the_proof_finds_its_token_exchanged(server: ExchangeApi) -> None:
    late, other, first = opened(server, recover=None), opened(server), serving(server)
    late.existing_ids()
    in_force = other.mint(first)
    with pytest.raises(CredentialLost):
        late.mint(first)
    assert works(server, in_force)


def test_a_token_that_is_refused_from_the_start_is_never_sent(server: ExchangeApi) -> None:
    strategy, first = opened(server, recover=None), serving(server)
    successor = opened(server).mint(first)
    with pytest.raises(Invalid, match="the API refuses CURRENT"):
        strategy.preflight(first, None)
    assert works(server, successor)


def test_an_answer_that_proves_nothing_sends_nothing(server: ExchangeApi) -> None:
    strategy, first = opened(server), serving(server)
    for said in (Said(403, {"message": "no"}), Said(200, b"<html>"), Said(500)):
        server.instead["GET"] = [said]
        with pytest.raises(KeyturnError) as caught:
            strategy.mint(first)
        assert no_value_in(caught.value, server)
    assert server.exchanges.total() == 0


def test_a_refused_exchange_made_nothing(server: ExchangeApi) -> None:
    strategy, first = opened(server), serving(server)
    server.instead["POST"] = [Said(400, {"message": "expires_at is too late"})]
    with pytest.raises(NothingMade, match="answered 400, and so exchanged nothing") as caught:
        strategy.mint(first)
    assert no_value_in(caught.value, server)
    assert works(server, strategy.mint(first))


@pytest.mark.parametrize("body", [{"id": 5}, {"ok": False, "token": "x"}, [], None])
def test_an_answer_without_a_token_names_the_pointer(server: ExchangeApi, body: Any) -> None:
    strategy, first = opened(server), serving(server)
    server.instead["POST"] = [Said(200, body)]
    with pytest.raises(Invalid, match=r"/token|/ok") as caught:
        strategy.mint(first)
    assert no_value_in(caught.value, server)


def test_the_only_token_is_kept_though_the_api_refuses_it(server: ExchangeApi) -> None:
    """Giving it up would lose the credential, and the API may only be late."""
    strategy, first = opened(server, recover=None), serving(server)
    candidate = strategy.mint(first)
    server.instead["GET"] = [Said(401)]
    with pytest.raises(Unavailable, match="refuses the new token with 401") as caught:
        strategy.verify(change(candidate, first))
    assert no_value_in(caught.value, server)
    strategy.verify(change(candidate, first))


def test_an_answer_that_neither_accepts_nor_refuses_keeps_the_new_token(server: ExchangeApi) -> None:
    strategy, first = opened(server), serving(server)
    candidate = strategy.mint(first)
    server.instead["GET"] = [Said(403, {"message": "no"})]
    with pytest.raises(Invalid, match="neither accepts nor refuses"):
        strategy.verify(change(candidate, first))
    assert works(server, candidate)


# --- refresh tokens -----------------------------------------------------------------------------------------


def test_an_expired_access_token_does_not_keep_its_refresh_token_from_being_exchanged(server: ExchangeApi) -> None:
    strategy, first = opened(server, REFRESH, recover=None), serving(server)
    server.instead["GET"] = [Said(401)]
    expired = first.merged({"expires_at": "2020-01-01T00:00:00+00:00"})
    candidate = strategy.mint(expired)
    assert works(server, candidate)
    assert strategy.accepts(expired) is None, "the refusal of an expired token shows nothing"


def test_a_revoked_access_token_that_has_not_expired_is_recovered(server: ExchangeApi) -> None:
    strategy, first = opened(server, REFRESH), serving(server)
    server.tokens[first["token"].reveal()].dead = True
    assert works(server, strategy.mint(first))
    assert server.exchanges.total() == 0


def test_an_expired_pair_that_the_api_refuses_is_recovered(server: ExchangeApi) -> None:
    strategy, first = opened(server, REFRESH), serving(server)
    server.tokens[first["token"].reveal()].dead = True
    assert works(server, strategy.mint(first.merged({"expires_at": "2020-01-01T00:00:00+00:00"})))


# --- an emergency -------------------------------------------------------------------------------------------


def test_a_token_is_ended_by_its_value_alone(server: ExchangeApi) -> None:
    strategy, first, other = opened(server), serving(server), serving(server)
    assert strategy.revoke(first, 6) == RevokeResult()
    assert (works(server, first), works(server, other)) == (False, True)
    ending = next(told for told in server.told if told.method == "DELETE")
    assert "authorization" not in ending.headers


def test_without_revoke_a_living_token_is_reported(server: ExchangeApi) -> None:
    strategy, first = opened(server, revoke=None), serving(server)
    (remark,) = strategy.revoke(first, 6).outlives
    assert "by hand" in remark
    assert first["token"].reveal() not in remark


# --- settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"accepts_gap": None}, "the old token dies with the exchange"),
        ({"exchange": {"path": "/rotate"}}, "does not use the token that it exchanges"),
        (
            {"exchange": {"path": "/rotate", "headers": {"private-token": "{{current.other}}"}}},
            "does not use the token",
        ),
        ({"exchange": {"path": "/rotate/{{current.token}}"}}, "a token in a path"),
        ({"exchange": {"path": "/rotate", "headers": {"x": "{{token}}"}}}, "which is not known there"),
        ({"test": {"path": "/tokens/self"}}, "does not use the new token"),
        ({"test": {"path": "/tokens/{{token}}"}}, "a token in a path"),
        ({"recover": {"path": "/tokens", "answer": {"token": "/t"}}}, "other fields than the answer to exchange"),
        ({"recover": {"path": "/tokens/{{id}}"}}, "which is not known there"),
        ({"revoke": {"path": "/tokens"}}, "does not name the token"),
        ({"answer": {"token": "/token", "path": "/path"}}, "the name path has a meaning already"),
        ({"holds": {"token": "x"}}, "token changes with each token"),
    ],
)
def test_what_can_not_work_is_refused_with_a_remedy(server: ExchangeApi, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        opened(server, **changes)
    (error,) = caught.value.errors()
    assert problem in error["ctx"]["message"]


# --- the whole protocol -------------------------------------------------------------------------------------


def workspace_for(lab: Lab, server: ExchangeApi, **changes: Any) -> tuple[Workspace, str]:
    """A secret in the hub whose token a person made."""
    name = fresh()
    path = f"tests/{name}"
    lab.hub.write(path, one_token(server), cas=0)
    lab.hub.write_state(f"targets/{name}", {"token": server.admin_token}, cas=0)
    return over(lab, server, path, **changes), path


def over(lab: Lab, server: ExchangeApi, path: str, **changes: Any) -> Workspace:
    """A Keyturn over the secret at ``path``."""
    name = path.removeprefix("tests/")
    headers = {"authorization": "Bearer {{admin.token}}"}
    target = {"kind": "http-api", "url": server.url, "admin": f"targets/{name}", "headers": headers}
    rotation = {key: value for key, value in {**ROTATION, **changes}.items() if value is not None}
    declared = {"path": path, "owner": "tests@example.com", "classification": "internal", "rotation": rotation}
    catalogue = Catalogue.model_validate({"targets": {"api": target}, "secrets": {path: declared}})
    return open_workspace(catalogue, lab.hub)


def current(lab: Lab, path: str) -> SecretFields:
    found = lab.hub.read(path)
    assert found
    return found.fields


def test_a_token_is_exchanged_again_and_again(server: ExchangeApi, lab: Lab) -> None:
    workspace, path = workspace_for(lab, server, recover=None)
    for _ in range(3):
        before = current(lab, path)
        assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
        assert not works(server, before)
        assert works(server, current(lab, path))
        retire(workspace, path)
    assert current(lab, path)["url"].reveal() == "https://api.example.com"
    assert max(server.exchanges.values()) == 1


def test_a_lost_credential_is_a_stage_that_says_what_to_do_and_ends_with_a_new_token(
    server: ExchangeApi, lab: Lab
) -> None:
    workspace, path = workspace_for(lab, server, recover=None)
    server.after["POST"] = lambda answered: Said(lost=True)
    with pytest.raises(Unavailable):
        rotate(workspace, path, Trigger.FORCE)
    server.after.clear()
    for trigger in (Trigger.SCHEDULE, Trigger.FORCE, Trigger.SCHEDULE):
        with pytest.raises(CredentialLost):
            rotate(workspace, path, trigger)
        opened_one = load_record(workspace, path).open
        assert opened_one
        assert opened_one.stage is Stage.LOST
        assert "write it into the secret" in opened_one.note
    assert max(server.exchanges.values()) == 1
    by_hand = one_token(server)
    lab.hub.write(path, by_hand, cas=1)
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
    assert works(server, current(lab, path))
    assert not works(server, by_hand)
    assert [past.stage for past in load_record(workspace, path).history] == [Stage.ABANDONED]


def test_a_lost_credential_is_recovered_once_the_catalogue_says_how(server: ExchangeApi, lab: Lab) -> None:
    workspace, path = workspace_for(lab, server, recover=None)
    server.after["POST"] = lambda answered: Said(lost=True)
    with pytest.raises(Unavailable):
        rotate(workspace, path, Trigger.FORCE)
    server.after.clear()
    with pytest.raises(CredentialLost):
        rotate(workspace, path, Trigger.SCHEDULE)
    assert rotate(over(lab, server, path), path, Trigger.SCHEDULE).state is RunState.ROTATED
    assert works(server, current(lab, path))


def test_a_token_that_a_person_wrote_while_a_run_was_dead_is_not_thrown_away(server: ExchangeApi, lab: Lab) -> None:
    """The rotation was about the token before: it is closed, and the new one is exchanged by another."""
    workspace, path = workspace_for(lab, server, recover=None)
    server.after["POST"] = lambda answered: Said(lost=True)
    with pytest.raises(Unavailable):
        rotate(workspace, path, Trigger.FORCE)
    server.after.clear()
    lab.hub.write(path, one_token(server), cas=1)
    assert rotate(workspace, path, Trigger.SCHEDULE).state is RunState.ROTATED
    assert works(server, current(lab, path))


def test_a_refused_exchange_closes_the_rotation_and_three_stop_the_schedule(server: ExchangeApi, lab: Lab) -> None:
    workspace, path = workspace_for(lab, server, recover=None)
    for _ in range(3):
        server.instead["POST"] = [Said(403, {"message": "no"})]
        with pytest.raises(NothingMade):
            rotate(workspace, path, Trigger.FORCE)
        record = load_record(workspace, path)
        assert record.rotation is None
        assert record.history[-1].stage is Stage.ABANDONED
    assert record.refusals == 3
    assert works(server, current(lab, path))
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED


def test_a_successor_is_saved_though_another_worker_has_taken_the_rotation_over(
    server: ExchangeApi, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker is suspended between the answer and the record; without its save the successor would be lost."""
    workspace, path = workspace_for(lab, server, recover=None)
    other = over(lab, server, path, recover=None)
    minted = steps.minted

    def suspended(*arguments: Any) -> SecretFields:
        candidate = minted(*arguments)
        monkeypatch.setattr(steps, "minted", minted)
        record = load_record(other, path)
        assert record.rotation
        save(other, path, record, record.rotation)  # what the other writes to hold it
        return candidate

    monkeypatch.setattr(steps, "minted", suspended)
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.HELD
    record = load_record(workspace, path)
    assert record.open
    assert record.open.stage is Stage.PENDING
    assert rotate(workspace, path, Trigger.SCHEDULE).state is RunState.ROTATED
    assert works(server, current(lab, path))
    assert max(server.exchanges.values()) == 1


def test_an_exchanged_token_is_not_put_back_and_its_successor_stays(server: ExchangeApi, lab: Lab) -> None:
    workspace, path = workspace_for(lab, server)
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
    with pytest.raises(Superseded, match="nothing can revive it"):
        restore_previous(workspace, path, "a person asks")
    assert works(server, current(lab, path))


@pytest.mark.parametrize("mode", list(Mode))
def test_a_token_that_has_leaked_is_ended_and_recovered(server: ExchangeApi, lab: Lab, mode: Mode) -> None:
    workspace, path = workspace_for(lab, server)
    first = current(lab, path)
    stands = revoked(workspace, path, mode)
    assert (stands.left, stands.open) == ((), False)
    assert not works(server, first)
    if mode is Mode.REPLACE:
        assert works(server, current(lab, path))
    assert server.exchanges.total() == 0
