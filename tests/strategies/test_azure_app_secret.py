"""Client secrets of applications, against the local Microsoft Graph and the sign-in that takes them."""

import dataclasses
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.catalogue import Catalogue
from keyturn.core.errors import (
    CandidateRejected,
    Denied,
    Invalid,
    KeyturnError,
    NotFound,
    Throttled,
    TransientError,
    Unavailable,
)
from keyturn.core.ports.strategies import EXPIRES_AT, Change, RevokeResult
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.azure.graph import LOGIN_PAUSES, MicrosoftGraph
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.strategies.azure_app_secret import MOST_OWN, AzureAppSecret, AzureAppSecretSettings
from keyturn.wiring.registry import open_target
from local.emulators.azure_key_vault import Limits
from local.emulators.azure_management import AzureManagement, Registration
from local.emulators.azure_management.directory import stamp
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.azure import LIFE, POWERLESS, SHORT, current, graph, registered, signs_in, workspace_for
from tests.strategies.revoking import revoked
from tests.support.lab import Lab

pytestmark = pytest.mark.sampled(10, of="file")

LABEL = "keyturn apps/contract"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureManagement]:
    with AzureManagement(tmp_path_factory.mktemp("azure"), callers=(POWERLESS,)) as services:
        yield services


@pytest.fixture(autouse=True)
def signed_in(azure: AzureManagement, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a worker, and services without delays."""
    for name, value in azure.environment().items():
        monkeypatch.setenv(name, value)
    yield
    azure.emulator.delays.secrets = azure.emulator.delays.reads = azure.emulator.delays.ended = 0
    azure.emulator.graph.longest = None


@pytest.fixture
def application(azure: AzureManagement) -> Registration:
    return registered(azure)


def strategy(azure: AzureManagement, application: Registration, **options: Any) -> AzureAppSecret:
    return AzureAppSecret(graph(azure, **options), application.app_id, LABEL, LIFE, now)


def serving(application: Registration, days: float = 30) -> SecretFields:
    """A secret that serves since before the test."""
    made = now().timestamp() - 60
    password = application.add("by hand", stamp(made), stamp(made + days * 86_400), made)
    named = {"client_id": application.app_id, "key_id": password.key_id, "url": "https://api.example.com"}
    return SecretFields({**named, "client_secret": password.secret, EXPIRES_AT: password.end})


def change(candidate: SecretFields, current: SecretFields | None = None) -> Change:
    return Change("apps/contract", 5, candidate, current)


def told(error: KeyturnError) -> str:
    return "".join(traceback.format_exception(error)) + repr(error.args)


class TestAzureAppSecret(StrategyContract):
    changes = frozenset({"client_id", "client_secret", "key_id", EXPIRES_AT})
    steady = frozenset({"client_id"})

    @pytest.fixture
    def case(self, azure: AzureManagement, application: Registration) -> Case:
        first = serving(application)
        return Case(
            strategy(azure, application),
            first,
            lambda fields: signs_in(azure, fields),
            lambda candidate: candidate.merged({"client_secret": "n0t-the-secret-that-was-made"}),
            stranger=first.merged({"client_id": registered(azure).app_id}),
        )

    def test_a_secret_is_called_after_its_path_and_ends_by_itself(self, case: Case, application: Registration) -> None:
        candidate = case.change().candidate
        made = application.passwords[-1]
        assert (made.name, made.key_id) == (LABEL, candidate["key_id"].reveal())
        left = datetime.fromisoformat(candidate[EXPIRES_AT].reveal()) - now()
        assert timedelta(0) <= LIFE - left < timedelta(minutes=1)

    def test_a_sweep_leaves_secrets_of_others_alone(self, case: Case, application: Registration) -> None:
        before = case.existing_ids()
        serving(application)
        orphan = case.strategy.mint(case.current)
        case.remove_orphans(before, [])
        assert [one.name for one in application.passwords] == ["by hand", "by hand"]
        assert not case.works(case.current.merged(orphan))

    def test_a_sweep_spares_what_was_there_before(self, case: Case) -> None:
        older = case.strategy.mint(case.current)
        before = case.existing_ids()
        orphan = case.strategy.mint(case.current)
        case.remove_orphans(before, [])
        assert case.works(case.current.merged(older))
        assert not case.works(case.current.merged(orphan))

    def test_a_worker_that_comes_too_late_takes_back_its_own_secret_alone(
        self, case: Case, application: Registration
    ) -> None:
        late, newer = case.change(), case.installed()
        case.strategy.abandon(late)
        case.strategy.retire(case.strategy.credential_id(case.current), 3)
        assert [one.key_id for one in application.passwords] == [newer.candidate["key_id"].reveal()]
        assert case.works(case.current.merged(newer.candidate))

    def test_a_candidate_that_has_become_current_is_not_taken_back(self, case: Case) -> None:
        first = case.change()
        in_force = case.current.merged(first.candidate)
        case.strategy.abandon(change(first.candidate, in_force))
        assert case.works(in_force)


# an emergency


def test_a_cut_tells_what_tokens_it_leaves(azure: AzureManagement, application: Registration) -> None:
    rotation, first = strategy(azure, application), serving(application)
    (told,) = rotation.revoke(first, 6).outlives
    assert application.app_id in told
    assert "90 minutes" in told
    assert "service principal" in told
    assert application.passwords == []


def aged(fields: SecretFields, age: timedelta) -> SecretFields:
    """A version that Keyturn wrote then."""
    return fields.merged({"rotated_at": (now() - age).isoformat()})


def test_an_old_secret_that_is_gone_is_not_waited_for(
    azure: AzureManagement, application: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An incident cuts every version there is, and most of them ended long ago."""
    slept: list[float] = []
    monkeypatch.setattr("keyturn.providers.azure.graph.time.sleep", slept.append)
    first = serving(application)
    application.passwords.clear()
    rotation = strategy(azure, application)
    rotation.revoke(aged(first, timedelta(hours=2)), 6)
    assert slept == []
    rotation.revoke(aged(first, timedelta(minutes=2)), 6)
    assert slept == list(SHORT)
    rotation.revoke(first, 6)
    assert slept == [*SHORT, *SHORT]


def test_a_candidate_that_graph_does_not_list_yet_is_cut_all_the_same(
    azure: AzureManagement, application: Registration
) -> None:
    rotation = strategy(azure, application, absence_pauses=(0.2, 0.4))
    azure.emulator.delays.reads = 0.4
    rotation.revoke(aged(rotation.mint(None), timedelta(0)), 6)
    assert application.passwords == []


def test_a_version_without_a_key_id_is_cut_by_how_its_secret_begins(
    azure: AzureManagement, application: Registration
) -> None:
    first, other = serving(application), serving(application)
    by_hand = SecretFields({"client_secret": first["client_secret"]})
    rotation = strategy(azure, application)
    assert rotation.accepts(by_hand) is True
    assert rotation.revoke(by_hand, 6).outlives
    assert rotation.accepts(by_hand) is False
    assert [one.key_id for one in application.passwords] == [other["key_id"].reveal()]
    assert rotation.revoke(by_hand, 6) == RevokeResult()


def test_what_the_sign_in_takes_a_while_longer_is_honoured_as_long(
    azure: AzureManagement, application: Registration
) -> None:
    rotation, first = strategy(azure, application), serving(application)
    azure.emulator.delays.ended = 600
    rotation.revoke(first, 6)
    assert rotation.accepts(first) is True
    azure.emulator.delays.ended = 0
    assert rotation.accepts(first) is False


def test_secrets_that_begin_alike_are_left_to_a_person(azure: AzureManagement, application: Registration) -> None:
    first, other = serving(application), serving(application)
    application.passwords[1].secret = first["client_secret"].reveal()[:3] + other["client_secret"].reveal()[3:]
    rotation, by_hand = strategy(azure, application), SecretFields({"client_secret": first["client_secret"]})
    (told,) = rotation.revoke(by_hand, 6).outlives
    assert "2 begin like it" in told
    assert first["client_secret"].reveal() not in told
    assert rotation.accepts(by_hand) is True
    assert len(application.passwords) == 2


def test_another_applications_secret_is_told_of_and_left_alone(
    azure: AzureManagement, application: Registration
) -> None:
    other = registered(azure)
    theirs, rotation = serving(other), strategy(azure, application)
    (told,) = rotation.revoke(theirs, 6).outlives
    assert other.app_id in told
    assert rotation.accepts(theirs) is True
    assert signs_in(azure, theirs)


def test_a_secret_that_has_expired_is_honoured_no_more(azure: AzureManagement, application: Registration) -> None:
    assert strategy(azure, application).accepts(serving(application, days=0.0001)) is False


def test_an_application_that_can_not_sign_in_tells_nothing_of_its_secret(azure: AzureManagement) -> None:
    locked_out = registered(azure, principal=False)
    with pytest.raises(Invalid, match="AADSTS7000229"):
        strategy(azure, locked_out).accepts(serving(locked_out))


def test_a_secret_can_not_be_tried_without_its_text(azure: AzureManagement, application: Registration) -> None:
    assert strategy(azure, application).accepts(serving(application).merged({"client_secret": ""})) is None


def test_a_sign_in_that_does_not_answer_tells_nothing(application: Registration, tmp_path: Path) -> None:
    with AzureManagement(tmp_path) as stopped:
        environment = stopped.environment()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        rotation, first = strategy(stopped, application), serving(application)
        for verb in (lambda: rotation.accepts(first), lambda: rotation.revoke(first, 6)):
            with pytest.raises(TransientError) as caught:
                verb()
            assert first["client_secret"].reveal() not in told(caught.value)


def test_what_was_cut_is_replaced_although_the_hub_holds_it_still(
    azure: AzureManagement, application: Registration
) -> None:
    dead, rotation = serving(application), strategy(azure, application)
    rotation.revoke(dead, 6)
    rotation.preflight(None, None)
    rotation.existing_ids()
    candidate = rotation.mint(dead)
    rotation.preflight(None, candidate)
    rotation.verify(change(candidate, dead))
    assert signs_in(azure, dead.merged(candidate))


# what guards it


def test_a_current_of_before_keyturn_needs_no_key_id(azure: AzureManagement, application: Registration) -> None:
    by_hand = SecretFields({"client_secret": serving(application)["client_secret"]})
    rotation = strategy(azure, application)
    rotation.preflight(by_hand, None)
    assert rotation.credential_id(by_hand) == {}


def test_a_key_id_of_another_application_is_refused_where_no_client_id_tells(
    azure: AzureManagement, application: Registration
) -> None:
    theirs = serving(registered(azure))["key_id"]
    with pytest.raises(Invalid, match="none of this application's"):
        strategy(azure, application).preflight(SecretFields({"key_id": theirs}), None)


def test_a_secret_that_was_removed_by_hand_does_not_stop_its_rotation(
    azure: AzureManagement, application: Registration
) -> None:
    current = serving(application)
    application.passwords.clear()
    strategy(azure, application).preflight(current, None)


def test_an_application_for_personal_accounts_has_room_for_two(azure: AzureManagement) -> None:
    personal = registered(azure, audience="AzureADandPersonalMicrosoftAccount")
    rotation, current = strategy(azure, personal), serving(personal)
    rotation.preflight(current, None)
    candidate = rotation.mint(current)
    rotation.preflight(current, candidate)
    with pytest.raises(Invalid, match=r"can't hold one more secret.*Remove"):
        rotation.preflight(current, None)
    with pytest.raises(Invalid, match=r"can't hold one more secret.*Remove"):
        rotation.mint(current)
    assert len(personal.passwords) == 2


def test_secrets_that_pile_up_stop_the_rotation(azure: AzureManagement, application: Registration) -> None:
    rotation = strategy(azure, application)
    for _ in range(MOST_OWN):
        rotation.mint(None)
    with pytest.raises(Invalid, match=f"{MOST_OWN} secrets that are called"):
        rotation.preflight(None, None)


def test_an_application_that_is_not_there_is_named_with_the_id_that_is_meant(azure: AzureManagement) -> None:
    object_id = Registration(app_id=registered(azure).id)
    for verb in (
        lambda: strategy(azure, object_id).preflight(None, None),
        lambda: strategy(azure, object_id).mint(None),
    ):
        with pytest.raises(NotFound, match=r"no such application.*client.* id, not by its object id"):
            verb()


def test_the_tenants_policy_is_named_when_it_forbids_the_life(
    azure: AzureManagement, application: Registration
) -> None:
    azure.emulator.graph.longest = timedelta(days=90).total_seconds()
    with pytest.raises(Invalid, match=r"policy.*Shorten life"):
        strategy(azure, application).mint(None)
    assert application.passwords == []


# permissions


def test_without_the_permission_the_error_says_which(
    azure: AzureManagement, application: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in azure.environment("powerless").items():
        monkeypatch.setenv(name, value)
    powerless = strategy(azure, application)
    for verb in (
        lambda: powerless.mint(None),
        lambda: powerless.retire(powerless.credential_id(serving(application)), 5),
    ):
        with pytest.raises(Denied, match=r"Application\.ReadWrite\.OwnedBy.*owner of this application"):
            verb()


def test_an_application_of_somebody_else_is_out_of_reach(azure: AzureManagement) -> None:
    theirs = azure.emulator.register(Registration(owners=frozenset({"somebody"})))
    with pytest.raises(Denied, match="OwnedBy"):
        strategy(azure, theirs).mint(None)
    assert theirs.passwords == []


def test_a_worker_that_can_not_sign_in_is_told_with_what(
    azure: AzureManagement, application: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in (("AZURE_CLIENT_SECRET", "wr0ng"), ("AZURE_CLIENT_ID", "nobody")):
        monkeypatch.setenv(variable, value)
        with pytest.raises(Denied, match="AZURE_CLIENT_SECRET") as caught:
            strategy(azure, application).preflight(None, None)
        assert "wr0ng" not in told(caught.value)


# the sign-in comes to know a secret


def test_a_secret_that_is_slow_is_waited_for(azure: AzureManagement, application: Registration) -> None:
    azure.emulator.delays.secrets = 0.4
    rotation = strategy(azure, application, login_pauses=(0.1, 0.2, 0.5))
    candidate = rotation.mint(None)
    assert not signs_in(azure, candidate)
    rotation.verify(change(candidate))
    assert signs_in(azure, candidate)


def test_a_secret_that_is_slower_keeps_its_place_and_works_later(
    azure: AzureManagement, application: Registration
) -> None:
    azure.emulator.delays.secrets = 600
    rotation = strategy(azure, application)
    candidate = rotation.mint(None)
    with pytest.raises(Unavailable, match=r"does not know the secret yet.*same secret") as caught:
        rotation.verify(change(candidate))
    assert candidate["client_secret"].reveal() not in told(caught.value)
    azure.emulator.delays.secrets = 0
    rotation.verify(change(candidate))


def test_the_wait_is_shorter_than_the_time_after_which_others_take_over() -> None:
    assert 30 <= sum(LOGIN_PAUSES) < 60


def test_a_secret_that_reads_do_not_show_yet_is_waited_for_too(
    azure: AzureManagement, application: Registration
) -> None:
    azure.emulator.delays.secrets = azure.emulator.delays.reads = 0.4
    rotation = strategy(azure, application, login_pauses=(0.1, 0.2, 0.5))
    rotation.verify(change(rotation.mint(None)))


def test_a_secret_that_was_removed_is_rejected(azure: AzureManagement, application: Registration) -> None:
    rotation = strategy(azure, application)
    candidate = rotation.mint(None)
    application.passwords.clear()
    with pytest.raises(CandidateRejected, match="removed"):
        rotation.verify(change(candidate))


def test_a_secret_that_has_expired_is_rejected(azure: AzureManagement, application: Registration) -> None:
    with pytest.raises(CandidateRejected, match="AADSTS7000222"):
        strategy(azure, application).verify(change(serving(application, days=0.0001)))


def test_a_secret_that_is_still_refused_after_an_hour_is_rejected(
    azure: AzureManagement, application: Registration
) -> None:
    azure.emulator.delays.secrets = 100_000
    rotation = strategy(azure, application)
    candidate = rotation.mint(None)
    rotation.clock = lambda: now() + timedelta(minutes=61)
    with pytest.raises(CandidateRejected, match="more than 1:00:00"):
        rotation.verify(change(candidate))


def test_an_application_without_a_service_principal_is_no_fault_of_the_secret(azure: AzureManagement) -> None:
    rotation = strategy(azure, registered(azure, principal=False))
    candidate = rotation.mint(None)
    with pytest.raises(Invalid, match=r"AADSTS7000229.*az ad sp create"):
        rotation.verify(change(candidate))


def test_another_tenant_is_no_fault_of_the_secret(azure: AzureManagement, application: Registration) -> None:
    elsewhere = strategy(azure, application, tenant="other.example.com")
    candidate = strategy(azure, application).mint(None)
    with pytest.raises(Denied, match="AADSTS90002"):
        elsewhere.verify(change(candidate))


# removing


def test_a_secret_that_reads_do_not_show_yet_is_removed_all_the_same(
    azure: AzureManagement, application: Registration
) -> None:
    azure.emulator.delays.reads = 0.4
    rotation = strategy(azure, application, absence_pauses=(0.2, 0.4))
    rotation.abandon(change(rotation.mint(None)))
    assert application.passwords == []


def test_an_application_that_is_gone_is_no_secret_that_is_removed(azure: AzureManagement) -> None:
    """It may be restored, with all its secrets."""
    gone = Registration()
    with pytest.raises(NotFound, match="no such application"):
        strategy(azure, gone).retire({"application": gone.app_id, "key_id": "1b7a9b14-9e25-4f8a-bd70-2f0b2a3c4d5e"}, 5)


def test_throttling_says_how_long_to_wait(azure: AzureManagement, application: Registration) -> None:
    azure.emulator.throttle.limit(Limits(requests=0))
    try:
        with pytest.raises(Throttled) as caught:
            strategy(azure, application).mint(None)
    finally:
        azure.emulator.throttle.limit(Limits())
    assert caught.value.retry_after == 10
    assert application.passwords == []


def test_a_service_that_does_not_answer_is_worth_another_try(application: Registration, tmp_path: Path) -> None:
    with AzureManagement(tmp_path) as stopped:
        environment = stopped.environment()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(TransientError):
            strategy(stopped, application).mint(None)


# the whole protocol


def test_a_secret_is_rotated_twice_and_none_is_left_over(
    azure: AzureManagement, application: Registration, lab: Lab
) -> None:
    first = serving(application)
    rotation = {"strategy": "azure-app-secret", "target": "directory", "application": application.app_id}
    workspace, path = workspace_for(lab, azure, first, **rotation)
    served = [first]
    for _ in range(2):
        assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
        served.append(current(lab, path))
        assert signs_in(azure, served[-2])
        assert retire(workspace, path).retired
        assert not signs_in(azure, served[-2])
    assert signs_in(azure, served[-1])
    assert served[-1]["url"] == first["url"]
    assert [one.key_id for one in application.passwords] == [served[-1]["key_id"].reveal()]


def test_a_secret_that_has_leaked_is_ended_and_replaced(
    azure: AzureManagement, application: Registration, lab: Lab
) -> None:
    first = serving(application)
    rotation = {"strategy": "azure-app-secret", "target": "directory", "application": application.app_id}
    workspace, path = workspace_for(lab, azure, first, **rotation)
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
    second = current(lab, path)
    stands = revoked(workspace, path)
    assert (stands.left, stands.open) == ((), False)
    assert not signs_in(azure, first)
    assert not signs_in(azure, second)
    assert signs_in(azure, current(lab, path))
    assert len(application.passwords) == 1
    assert any("service principal" in said for said in stands.secrets[0].outlives)


def test_a_run_that_dies_in_its_mint_leaves_no_secret_behind(
    azure: AzureManagement, application: Registration, lab: Lab
) -> None:
    first = serving(application)
    rotation = {"strategy": "azure-app-secret", "target": "directory", "application": application.app_id}
    workspace, path = workspace_for(lab, azure, first, **rotation)

    class Dies(AzureAppSecret):
        def mint(self, current: SecretFields | None) -> SecretFields:
            super().mint(current)
            raise KeyboardInterrupt

    dying = Dies(graph(azure), application.app_id, f"keyturn {path}", LIFE, now)
    with pytest.raises(KeyboardInterrupt):
        rotate(dataclasses.replace(workspace, open_strategy=lambda _: dying), path, Trigger.FORCE)
    assert len(application.passwords) == 2
    assert rotate(workspace, path).state is RunState.ROTATED
    held = [first["key_id"].reveal(), current(lab, path)["key_id"].reveal()]
    assert [one.key_id for one in application.passwords] == held


# opening


def test_the_catalogue_opens_it(azure: AzureManagement, application: Registration, lab: Lab) -> None:
    target = {"kind": "microsoft-graph", "endpoint": azure.url, "authority": azure.url, "ca_file": azure.ca_file}
    catalogue = Catalogue.model_validate({"targets": {"directory": target}})
    opened = open_target("directory", catalogue.target("directory"), lab.hub)
    assert isinstance(opened, MicrosoftGraph)
    assert opened.application(application.app_id).passwords == ()
    opened.close()


def test_a_directory_has_to_be_named_somewhere(azure: AzureManagement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_TENANT_ID")
    with pytest.raises(Invalid, match="AZURE_TENANT_ID"):
        graph(azure, tenant=None)


def settings(**changes: Any) -> AzureAppSecretSettings:
    given = {"strategy": "azure-app-secret", "target": "directory", "application": Registration().app_id}
    return AzureAppSecretSettings.model_validate({**given, "interval": "30d", "grace": "7d", **changes})


def test_a_secret_outlives_the_grace_of_its_successor() -> None:
    assert settings(life="38d").life == timedelta(days=38)
    assert settings(interval=None, life="22d").life == timedelta(days=22)
    for short in ({"life": "37d"}, {"jitter": "2d", "life": "39d"}, {"interval": None, "life": "21d"}):
        with pytest.raises(ValidationError, match="would expire before its grace is over"):
            settings(**short)


def test_a_long_path_makes_a_label_that_fits(azure: AzureManagement, application: Registration) -> None:
    class Tools:
        clock = staticmethod(now)

        def target(self, name: str) -> MicrosoftGraph:
            return graph(azure)

    opened = settings(application=application.app_id).open("a/" + "x" * 198, Tools())  # type: ignore[arg-type]
    opened.mint(None)
    assert len(application.passwords[0].name or "") == 90
