"""Keys of Google Cloud service accounts, against the local server and through Google's own client."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from keyturn.core.errors import CandidateRejected, Denied, Invalid, NotFound, Unavailable
from keyturn.core.ports.strategies import EXPIRES_AT, Change, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.providers.gcp.iam import GcpIam
from keyturn.strategies.cloud_keys import STEPS
from keyturn.strategies.gcp_service_account_key import GcpServiceAccountKey
from local.emulators.gcp_iam import LocalGcpIam
from local.support.ports import free_port
from tests.contracts.strategy import Case, StrategyContract

pytestmark = pytest.mark.sampled(9, of="file")

PROJECT = "ml-project"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


@dataclass(frozen=True)
class Google:
    """The local server, as somebody with a console sees it."""

    address: str

    def ask(self, method: str, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = requests.request(
            method, f"{self.address}/v1/projects/{PROJECT}/serviceAccounts{path}", json=document, timeout=10
        )
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def account(self) -> str:
        return str(self.ask("POST", "", {"accountId": f"app-{secrets.token_hex(4)}"})["email"])

    def key(self, account: str) -> SecretFields:
        """A key that somebody made in the console, in a secret with another field next to it."""
        with closing(opened(self)) as target:
            return target.create(account).merged({"bucket": "models"})

    def keys(self, account: str) -> dict[str, bool]:
        """The account's keys, and whether each is enabled."""
        listed = self.ask("GET", f"/{account}/keys?keyTypes=USER_MANAGED").get("keys", [])
        return {key["name"].rpartition("/")[2]: not key.get("disabled", False) for key in listed}


def opened(google: Google) -> GcpIam:
    return GcpIam("gcp", project=PROJECT, endpoint=google.address.removeprefix("http://"))


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    with LocalGcpIam(tmp_path_factory.mktemp("gcp-iam"), free_port()) as server:
        yield Google(f"http://{server.endpoint}")


@pytest.fixture
def target(google: Google) -> Iterator[GcpIam]:
    with closing(opened(google)) as made:
        yield made


@pytest.fixture
def account(google: Google) -> str:
    return google.account()


@pytest.fixture
def strategy(target: GcpIam, account: str) -> GcpServiceAccountKey:
    return GcpServiceAccountKey(target, account)


@pytest.fixture
def case(google: Google, strategy: GcpServiceAccountKey) -> Case:
    def session(fields: SecretFields) -> AbstractContextManager[object]:
        return nullcontext(signs_in(fields))

    current, stranger = google.key(strategy.account), google.key(google.account())
    return Case(strategy, current, signs_in, other_private_key(current), session, stranger)


def key_file(fields: SecretFields) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fields["credentials_json"].reveal())
    return found


def key_id(fields: SecretFields) -> str:
    return str(key_file(fields)["private_key_id"])


def other_private_key(of: SecretFields) -> Any:
    """Spoils a candidate by the private key of another one, with which Google would let it in."""
    private = key_file(of)["private_key"]
    return lambda candidate: candidate.merged(
        {"credentials_json": json.dumps({**key_file(candidate), "private_key": private})}
    )


def signs_in(fields: SecretFields) -> bool:
    """Whether an application gets a token with the key file, by Google's own client."""
    credentials = service_account.Credentials.from_service_account_info(key_file(fields), scopes=SCOPES)
    with requests.Session() as session:
        try:
            credentials.refresh(Request(session))
        except RefreshError as error:
            if error.args[1]["error"] != "invalid_grant":
                raise
            return False
    return True


def not_yet(_: float) -> None:
    """Wait for nothing: for keys that will not come."""


class TestGcpServiceAccountKey(StrategyContract):
    changes = frozenset({"credentials_json"})

    @pytest.fixture
    def case(self, case: Case) -> Case:
        return case


# room for another key


def test_a_full_account_is_told_with_the_other_keys_and_nothing_changes(
    case: Case, strategy: GcpServiceAccountKey, google: Google, account: str
) -> None:
    others = [key_id(google.key(account)) for _ in range(9)]
    google.ask("POST", f"/{account}/keys/{others[0]}:disable")
    before = google.keys(account)
    with pytest.raises(Invalid) as caught:
        strategy.preflight(case.current, None)
    assert f"{others[0]} (switched off, made {datetime.now(UTC):%Y-%m-%d}, no use known)" in caught.value.problem
    assert all(f"{other} (active" in caught.value.problem for other in others[1:])
    assert key_id(case.current) not in caught.value.problem
    with pytest.raises(Invalid) as refused:
        strategy.mint(case.current)
    assert "ten keys" in refused.value.hint
    assert (google.keys(account), case.works(case.current)) == (before, True)


def test_google_s_own_keys_take_no_room(strategy: GcpServiceAccountKey, google: Google, account: str) -> None:
    assert len(google.ask("GET", f"/{account}/keys")["keys"]) == 1
    assert strategy.existing_ids() == []
    strategy.preflight(None, None)


def test_an_account_that_is_not_there_is_named(target: GcpIam) -> None:
    nobody = f"nobody@{PROJECT}.iam.gserviceaccount.com"
    with pytest.raises(NotFound, match=nobody) as caught:
        GcpServiceAccountKey(target, nobody).preflight(None, None)
    assert caught.value.hint


# a new key


def test_the_field_is_the_key_file_as_google_gave_it(strategy: GcpServiceAccountKey, account: str) -> None:
    found = key_file(strategy.mint(None))
    assert (found["type"], found["client_email"], found["project_id"]) == ("service_account", account, PROJECT)
    assert found["private_key"].startswith("-----BEGIN PRIVATE KEY-----\n")


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"type": "authorized_user"}'])
def test_what_is_no_key_file_is_invalid_in_current_and_rejected_as_candidate(
    case: Case, strategy: GcpServiceAccountKey, text: str
) -> None:
    broken = case.current.merged({"credentials_json": text})
    if text:
        with pytest.raises(Invalid, match="credentials_json"):
            strategy.preflight(broken, None)
    with pytest.raises(CandidateRejected, match="no key file"):
        strategy.verify(Change("apps/contract", 5, broken, case.current))


def test_a_private_key_that_google_does_not_know_is_rejected_without_waiting(
    case: Case, target: GcpIam, account: str
) -> None:
    assert case.stranger is not None
    waits: list[float] = []
    wrong = other_private_key(case.stranger)(case.strategy.mint(case.current))
    assert not signs_in(wrong)
    with pytest.raises(CandidateRejected, match="private key"):
        GcpServiceAccountKey(target, account, waits.append).verify(Change("apps/contract", 5, wrong, case.current))
    assert waits == []


def test_a_candidate_of_another_account_is_rejected(case: Case, strategy: GcpServiceAccountKey) -> None:
    assert case.stranger is not None
    with pytest.raises(CandidateRejected, match="another account"):
        strategy.verify(Change("apps/contract", 5, case.stranger, case.current))


@pytest.mark.parametrize(("method", "verb", "said"), [("DELETE", "", "is not there"), ("POST", ":disable", "off")])
def test_a_candidate_that_somebody_ended_is_rejected(
    case: Case, target: GcpIam, google: Google, account: str, method: str, verb: str, said: str
) -> None:
    candidate = case.strategy.mint(case.current)
    google.ask(method, f"/{account}/keys/{key_id(candidate)}{verb}")
    with pytest.raises(CandidateRejected, match=said):
        GcpServiceAccountKey(target, account, not_yet).verify(Change("apps/contract", 5, candidate, case.current))


def test_a_disabled_account_is_said_to_be_so_and_the_candidate_is_kept(
    case: Case, strategy: GcpServiceAccountKey, google: Google, account: str
) -> None:
    change = case.installed()
    google.ask("POST", f"/{account}:disable")
    with pytest.raises(Invalid, match="disabled") as caught:
        strategy.verify(change)
    assert "Enable" in caught.value.hint
    google.ask("POST", f"/{account}:enable")
    strategy.verify(change)


def started(tmp_path: Path, *arguments: str) -> tuple[LocalGcpIam, str]:
    """A server of another conduct, with one account."""
    account = f"app@{PROJECT}.iam.gserviceaccount.com"
    return LocalGcpIam(tmp_path, free_port(), f"--service-account={account}", *arguments), account


def test_a_new_key_is_waited_for(tmp_path: Path) -> None:
    server, account = started(tmp_path, "--key-settle-seconds=1.2")
    with server, closing(GcpIam("gcp", project=PROJECT, endpoint=server.endpoint)) as target:
        strategy, began = GcpServiceAccountKey(target, account), time.monotonic()
        change = Change("apps/slow", 5, strategy.mint(None), None)
        assert not signs_in(change.candidate)
        strategy.verify(change)
        assert time.monotonic() - began > 1


def test_a_key_that_is_listed_but_never_taken_is_kept_for_a_later_try(tmp_path: Path) -> None:
    waits: list[float] = []
    server, account = started(tmp_path, "--key-settle-seconds=3600")
    with server, closing(GcpIam("gcp", project=PROJECT, endpoint=server.endpoint)) as target:
        strategy = GcpServiceAccountKey(target, account, waits.append)
        with pytest.raises(Unavailable, match="40 s") as caught:
            strategy.verify(Change("apps/slow", 5, strategy.mint(None), None))
    assert caught.value.hint
    assert tuple(waits) == STEPS


def test_the_end_of_a_key_is_written_beside_it_and_taken_away_again(
    tmp_path: Path, case: Case, strategy: GcpServiceAccountKey
) -> None:
    server, account = started(tmp_path, "--key-life-hours=24")
    with server, closing(GcpIam("gcp", project=PROJECT, endpoint=server.endpoint)) as target:
        ending = GcpServiceAccountKey(target, account).mint(None)
    ends = datetime.fromisoformat(ending[EXPIRES_AT].reveal())
    assert abs(ends - datetime.now(UTC) - timedelta(days=1)) < timedelta(minutes=1)
    lasting = strategy.mint(case.current.merged({EXPIRES_AT: ending[EXPIRES_AT]}))
    assert datetime.fromisoformat(lasting[EXPIRES_AT].reveal()).year == 9999
    assert EXPIRES_AT not in strategy.mint(case.current)


# the old key


def test_the_old_key_is_in_use_while_it_signed_in_after_the_promotion(
    case: Case, strategy: GcpServiceAccountKey
) -> None:
    ends, now = strategy.credential_id(case.current), datetime.now(UTC)
    assert strategy.in_use(ends, now - timedelta(days=1)) == ()
    assert case.works(case.current)
    assert case.works(case.current)
    (told,) = strategy.in_use(ends, now - timedelta(days=1))
    assert key_id(case.current) in told
    assert "2 sign-ins since" in told
    assert f"{now:%Y-%m-%d}" in told
    assert strategy.in_use(ends, now + timedelta(minutes=1)) == ()


def test_without_the_permission_nothing_is_known_of_uses(tmp_path: Path) -> None:
    server, account = started(tmp_path, "--deny=monitoring.timeSeries.list")
    with server, closing(GcpIam("gcp", project=PROJECT, endpoint=server.endpoint)) as target:
        strategy = GcpServiceAccountKey(target, account)
        current = strategy.mint(None)
        assert signs_in(current)
        assert strategy.in_use(strategy.credential_id(current), datetime.now(UTC) - timedelta(days=1)) == ()


def test_ending_a_key_switches_it_off_before_it_is_deleted(tmp_path: Path) -> None:
    """Seen with a caller who may disable and not delete: the key is off although the deletion failed."""
    server, account = started(tmp_path, "--deny=iam.serviceAccountKeys.delete")
    with server, closing(GcpIam("gcp", project=PROJECT, endpoint=server.endpoint)) as target:
        strategy = GcpServiceAccountKey(target, account)
        current = strategy.mint(None)
        with pytest.raises(Denied, match=account) as caught:
            strategy.retire(strategy.credential_id(current), 5)
        assert "serviceAccountKeyAdmin" in caught.value.hint
        assert Google(f"http://{server.endpoint}").keys(account) == {key_id(current): False}
        assert not signs_in(current)


def test_an_abandonment_spares_the_key_that_current_has_come_to_name(case: Case) -> None:
    change = case.installed()
    case.strategy.abandon(Change(change.path, 6, change.candidate, case.current.merged(change.candidate)))
    assert case.works(case.current.merged(change.candidate))


def test_a_key_that_google_knows_no_more_can_be_replaced(
    case: Case, strategy: GcpServiceAccountKey, google: Google, account: str
) -> None:
    """Whoever deleted a leaked key by hand wants just that."""
    google.ask("DELETE", f"/{account}/keys/{key_id(case.current)}")
    strategy.preflight(case.current, None)
    change = case.installed()
    strategy.verify(change)
    strategy.retire(strategy.credential_id(case.current), 5)
    assert list(google.keys(account)) == [key_id(change.candidate)]


# an emergency


def test_a_cut_tells_what_tokens_it_leaves(case: Case, account: str) -> None:
    (told,) = case.strategy.revoke(case.current, 6).outlives
    assert account in told
    assert "12 hours" in told
    assert case.strategy.revoke(case.current, 6).outlives == (told,)


def test_a_cut_switches_the_key_off_before_it_is_deleted(tmp_path: Path) -> None:
    server, account = started(tmp_path, "--deny=iam.serviceAccountKeys.delete")
    with server, closing(GcpIam("gcp", project=PROJECT, endpoint=server.endpoint)) as target:
        strategy = GcpServiceAccountKey(target, account)
        current = strategy.mint(None)
        with pytest.raises(Denied, match=account):
            strategy.revoke(current, 6)
        assert not signs_in(current)
        assert strategy.accepts(current) is False


def test_another_accounts_key_is_told_of_and_left_alone(case: Case, strategy: GcpServiceAccountKey) -> None:
    assert case.stranger is not None
    (told,) = strategy.revoke(case.stranger, 6).outlives
    assert key_file(case.stranger)["client_email"] in told
    assert signs_in(case.stranger)
    assert strategy.accepts(case.stranger) is True


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"type": "authorized_user"}'])
def test_what_is_no_key_file_is_cut_quietly_and_nobody_can_try_it(
    case: Case, strategy: GcpServiceAccountKey, text: str
) -> None:
    broken = case.current.merged({"credentials_json": text})
    assert strategy.revoke(broken, 6) == RevokeResult()
    assert strategy.accepts(broken) is None
    assert strategy.credential_id(broken) == {}
    assert case.works(case.current)


@pytest.mark.parametrize("name", ["..", "../../other", "a/b", "x?y"])
def test_an_id_that_leads_elsewhere_is_no_keys(
    case: Case, strategy: GcpServiceAccountKey, google: Google, account: str, name: str
) -> None:
    astray = case.current.merged({"credentials_json": json.dumps({**key_file(case.current), "private_key_id": name})})
    strategy.revoke(astray, 6)
    assert google.ask("GET", f"/{account}")["email"] == account
    assert case.works(case.current)


def test_a_private_key_that_google_does_not_know_is_not_honoured(case: Case, strategy: GcpServiceAccountKey) -> None:
    assert case.stranger is not None
    assert strategy.accepts(other_private_key(case.stranger)(case.current)) is False


def test_a_disabled_account_honours_nothing(
    case: Case, strategy: GcpServiceAccountKey, google: Google, account: str
) -> None:
    google.ask("POST", f"/{account}:disable")
    assert strategy.accepts(case.current) is False


def test_a_refusal_of_a_key_that_is_listed_as_active_proves_nothing(tmp_path: Path) -> None:
    """So it is with a new key, and where this machine's clock is off."""
    server, account = started(tmp_path, "--key-settle-seconds=3600")
    with server, closing(GcpIam("gcp", project=PROJECT, endpoint=server.endpoint)) as target:
        strategy = GcpServiceAccountKey(target, account)
        current = strategy.mint(None)
        with pytest.raises(Unavailable, match="clock") as caught:
            strategy.accepts(current)
        assert caught.value.hint
        strategy.revoke(current, 6)
        assert strategy.accepts(current) is False


def test_a_server_that_does_not_answer_proves_nothing(case: Case) -> None:
    with closing(GcpIam("gcp", project=PROJECT, endpoint=f"127.0.0.1:{free_port()}")) as target:
        strategy = GcpServiceAccountKey(target, key_file(case.current)["client_email"])
        lost = {**key_file(case.current), "token_uri": f"http://127.0.0.1:{free_port()}/token"}
        with pytest.raises(Unavailable):
            strategy.accepts(SecretFields({"credentials_json": json.dumps(lost)}))
        with pytest.raises(Unavailable):
            strategy.revoke(case.current, 6)


def test_a_full_account_has_room_again_after_a_cut(case: Case, google: Google, account: str) -> None:
    for _ in range(9):
        google.key(account)
    case.strategy.revoke(case.current, 6)
    case.strategy.preflight(None, None)
    change = Change("apps/contract", 7, case.strategy.mint(case.current), case.current)
    case.strategy.preflight(None, change.candidate)
    case.strategy.verify(change)
    assert case.works(change.candidate)


# after a crash


def test_a_worker_that_sweeps_too_late_spares_what_a_newer_rotation_put_in_force(case: Case) -> None:
    before = case.existing_ids()
    newer = case.installed()
    case.strategy.verify(newer)
    case.remove_orphans(before, [case.current])
    assert case.works(case.current.merged(newer.candidate))


def test_no_error_holds_a_private_key(case: Case, strategy: GcpServiceAccountKey, google: Google, account: str) -> None:
    private = key_file(case.current)["private_key"]
    shredded = case.current.merged(
        {"credentials_json": json.dumps({**key_file(case.current), "private_key": private[:200]})}
    )
    with pytest.raises(CandidateRejected) as caught:
        strategy.verify(Change("apps/contract", 5, shredded, case.current))
    told = repr(caught.value.args)
    assert not [line for line in private.splitlines() if line in told]
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
