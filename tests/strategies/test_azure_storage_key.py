"""The two keys of a storage account, against the local Azure Resource Manager and the blob service that takes them."""

import dataclasses
import secrets
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
from keyturn.providers.azure.resource_manager import AzureResourceManager, string_to_sign
from keyturn.revocation.incidents.incident import Mode
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.strategies.azure_storage_key import AzureStorageKey
from keyturn.strategies.two_slots import WINDOW, key_digest
from keyturn.wiring.registry import open_target
from local.emulators.azure_management import AzureManagement, StorageAccount
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.azure import (
    POWERLESS,
    SHORT,
    created,
    current,
    lists_containers,
    manager,
    workspace_for,
)
from tests.strategies.revoking import revoked
from tests.support.lab import Lab

pytestmark = pytest.mark.sampled(9, of="file")


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
    azure.emulator.delays.keys = azure.emulator.delays.listing = azure.emulator.delays.ended = 0


@pytest.fixture
def account(azure: AzureManagement) -> StorageAccount:
    return created(azure, f"keys{secrets.token_hex(6)}")


def strategy(
    azure: AzureManagement, account: StorageAccount, window: float = WINDOW, **options: Any
) -> AzureStorageKey:
    return AzureStorageKey(manager(azure, **options), "local", account.name, window)


def serving(azure: AzureManagement, account: StorageAccount, name: str = "key1") -> SecretFields:
    """What the secret holds while that key serves."""
    key = account.keys[name].value
    said = f"BlobEndpoint={azure.url}/blob/{account.name}/;AccountName={account.name};AccountKey={key}"
    named = {"account_name": account.name, "key_name": name, "container": "models"}
    return SecretFields({**named, "account_key": key, "connection_string": said})


def change(candidate: SecretFields, serving: SecretFields | None = None) -> Change:
    return Change("apps/contract", 5, candidate, serving)


def told(error: KeyturnError) -> str:
    return "".join(traceback.format_exception(error)) + repr(error.args)


class TestAzureStorageKey(StrategyContract):
    changes = frozenset({"account_name", "key_name", "account_key", "connection_string"})
    steady = frozenset({"account_name", "key_name"})

    @pytest.fixture
    def case(self, azure: AzureManagement, account: StorageAccount) -> Case:
        first = serving(azure, account)
        return Case(
            strategy(azure, account),
            first,
            lambda fields: lists_containers(azure, fields),
            lambda candidate: candidate.merged({"account_key": "bm90IHRoZSBrZXkgdGhhdCB3YXMgbWFkZQ=="}),
            stranger=first.merged({"account_name": created(azure, "another").name}),
        )

    def test_sweeping_ends_what_a_dead_run_left(self, case: Case) -> None:
        """A key that nobody knows does no harm, and ends with the next mint."""
        orphan = case.strategy.mint(case.current)
        case.remove_orphans(case.existing_ids(), [case.current])
        case.strategy.mint(case.current)
        assert case.works(case.current)
        assert not case.works(orphan)

    def test_the_keys_take_turns(self, case: Case) -> None:
        second = case.change().candidate
        case.strategy.retire(case.strategy.credential_id(case.current), 5)
        third = case.strategy.mint(case.current.merged(second))
        names = [fields["key_name"].reveal() for fields in (case.current, second, third)]
        assert names == ["key1", "key2", "key1"]
        assert case.works(second)
        assert case.works(third)

    def test_a_candidate_that_has_become_current_is_not_taken_back(self, case: Case) -> None:
        first = case.change()
        in_force = case.current.merged(first.candidate)
        case.strategy.abandon(change(first.candidate, in_force))
        assert case.works(in_force)

    def test_what_ends_a_key_is_a_digest(self, case: Case) -> None:
        ends = case.strategy.credential_id(case.current)
        assert ends == {
            "account": case.current["account_name"].reveal(),
            "key_name": "key1",
            "digest": key_digest(case.current["account_key"]),
        }
        assert case.current["account_key"].reveal() not in str(ends)


# who comes too late


def test_a_retired_key_that_was_regenerated_since_is_left_alone(
    azure: AzureManagement, account: StorageAccount
) -> None:
    rotation, first = strategy(azure, account), serving(azure, account)
    ends = rotation.credential_id(first)
    second = rotation.mint(first)
    rotation.retire(ends, 5)
    third = rotation.mint(first.merged(second))
    rotation.retire(ends, 5)
    rotation.abandon(change(second.merged({"account_key": first["account_key"]}), first.merged(third)))
    assert lists_containers(azure, third)
    assert lists_containers(azure, second)


def test_a_mint_that_wakes_up_after_another_has_minted_changes_nothing(
    azure: AzureManagement, account: StorageAccount
) -> None:
    """The first worker is suspended after it took the rotation, the second goes on and puts its key in force."""
    suspended, second = strategy(azure, account), strategy(azure, account)
    first = serving(azure, account)
    suspended.existing_ids()
    second.remove_orphans((), [first])
    in_force = second.mint(first)
    with pytest.raises(Superseded, match="another run"):
        suspended.mint(first)
    assert lists_containers(azure, in_force)


def test_a_mint_that_wakes_up_after_its_key_was_retired_changes_nothing(
    azure: AzureManagement, account: StorageAccount
) -> None:
    suspended, second = strategy(azure, account), strategy(azure, account)
    first = serving(azure, account)
    in_force = second.mint(first)
    second.retire(second.credential_id(first), 5)
    with pytest.raises(Invalid, match="none of its keys"):
        suspended.mint(first)
    assert lists_containers(azure, in_force)


@pytest.mark.parametrize("verb", ["mint", "retire", "abandon"])
def test_what_was_listed_too_long_ago_is_not_acted_on(
    azure: AzureManagement, account: StorageAccount, verb: str
) -> None:
    """A worker that is suspended once the keys were listed can't know whether they are still the same."""
    first, keys = serving(azure, account), dict(account.keys)
    late = strategy(azure, account, window=0.2)
    verbs: dict[str, Callable[[], object]] = {
        "mint": lambda: late.mint(first),
        "retire": lambda: late.retire(late.credential_id(first), 5),
        "abandon": lambda: late.abandon(change(first)),
    }
    azure.emulator.delays.listing = 0.3
    with pytest.raises(Unavailable, match=r"have passed.*nothing has been changed"):
        verbs[verb]()
    assert account.keys == keys


def test_what_is_checked_before_a_key_is_regenerated_may_stop_it(
    azure: AzureManagement, account: StorageAccount
) -> None:
    arm, before = manager(azure), account.keys["key2"].value

    def stop() -> None:
        raise Unavailable("regenerate", "arm", "too late")

    with pytest.raises(Unavailable, match="too late"):
        arm.regenerate_key("local", account.name, "key2", stop)
    assert account.keys["key2"].value == before
    made = arm.regenerate_key("local", account.name, "key2", lambda: None)
    assert made == Sensitive(account.keys["key2"].value)
    assert account.keys["key2"].value != before


# an emergency


def test_a_cut_of_an_old_version_spares_the_key_that_serves(azure: AzureManagement, account: StorageAccount) -> None:
    """The old version's key has been regenerated since: key1 is another one now, and in force."""
    rotation, first = strategy(azure, account), serving(azure, account)
    second = rotation.mint(first)
    rotation.retire(rotation.credential_id(first), 5)
    third = rotation.mint(first.merged(second))
    rotation.retire(rotation.credential_id(second), 6)
    assert third["key_name"] == first["key_name"]
    keys = dict(account.keys)
    for old in (first, second):
        assert rotation.revoke(old, 7) == RevokeResult()
        assert rotation.accepts(old) is False
    assert account.keys == keys
    assert rotation.accepts(third) is True


def test_a_cut_of_the_key_that_serves_spares_the_other(azure: AzureManagement, account: StorageAccount) -> None:
    rotation, first = strategy(azure, account), serving(azure, account)
    spare = account.keys["key2"].value
    assert rotation.revoke(first, 6) == RevokeResult()
    assert account.keys["key1"].value != first["account_key"].reveal()
    assert account.keys["key2"].value == spare
    regenerated = account.keys["key1"].value
    assert rotation.revoke(first, 6) == RevokeResult()
    assert account.keys["key1"].value == regenerated


@pytest.mark.parametrize("name", ["key1", "key2"])
def test_what_was_cut_is_replaced_by_the_same_key_and_the_other_stays(
    azure: AzureManagement, account: StorageAccount, name: str
) -> None:
    dead, rotation = serving(azure, account, name), strategy(azure, account)
    other = {"key1": "key2", "key2": "key1"}[name]
    spare = account.keys[other].value
    rotation.revoke(dead, 6)
    rotation.preflight(None, None)
    rotation.existing_ids()
    candidate = rotation.mint(dead)
    rotation.preflight(None, candidate)
    rotation.verify(change(candidate, dead))
    assert candidate["key_name"].reveal() == name
    assert account.keys[other].value == spare
    assert lists_containers(azure, dead.merged(candidate))
    rotation.retire(rotation.credential_id(dead), 8)
    assert lists_containers(azure, dead.merged(candidate))
    rotation.preflight(dead.merged(candidate), None)


def test_a_replacement_that_a_dead_run_has_begun_is_gone_on_with(
    azure: AzureManagement, account: StorageAccount
) -> None:
    """What it knew of the keys is in the record: that CURRENT's was gone before it began."""
    dead, first = serving(azure, account), strategy(azure, account)
    first.revoke(dead, 6)
    before = first.existing_ids()
    first.mint(dead)
    second = strategy(azure, account)
    second.remove_orphans(before, [dead])
    candidate = second.mint(dead)
    assert candidate["key_name"].reveal() == "key1"
    assert lists_containers(azure, candidate)


def test_a_key_that_somebody_regenerates_while_a_run_is_dead_is_not_taken_for_cut(
    azure: AzureManagement, account: StorageAccount
) -> None:
    first, rotation = serving(azure, account), strategy(azure, account)
    before = rotation.existing_ids()
    manager(azure).regenerate_key("local", account.name, "key1", lambda: None)
    keys, second = dict(account.keys), strategy(azure, account)
    for known in (before, ()):
        second.remove_orphans(known, [first])
        with pytest.raises(Invalid, match="none of its keys"):
            second.mint(first)
    assert account.keys == keys


def test_a_replacement_that_wakes_up_after_another_has_made_one_changes_nothing(
    azure: AzureManagement, account: StorageAccount
) -> None:
    dead, suspended, other = serving(azure, account), strategy(azure, account), strategy(azure, account)
    suspended.revoke(dead, 6)
    other.remove_orphans(suspended.existing_ids(), [dead])
    in_force = other.mint(dead)
    with pytest.raises(Superseded, match="another run"):
        suspended.mint(dead)
    assert lists_containers(azure, in_force)


def test_a_key_that_stands_in_the_connection_string_alone_is_cut_too(
    azure: AzureManagement, account: StorageAccount
) -> None:
    rotation, first = strategy(azure, account), serving(azure, account)
    by_hand = SecretFields({"connection_string": first["connection_string"]})
    assert rotation.accepts(by_hand) is True
    rotation.revoke(by_hand, 6)
    assert rotation.accepts(by_hand) is False
    assert not lists_containers(azure, first)


def test_another_accounts_key_is_told_of_and_left_alone(azure: AzureManagement, account: StorageAccount) -> None:
    theirs, rotation = serving(azure, created(azure, "theirs")), strategy(azure, account)
    (told,) = rotation.revoke(theirs, 6).outlives
    assert "theirs" in told
    assert rotation.accepts(theirs) is None
    assert lists_containers(azure, theirs)


@pytest.mark.parametrize("facts", [{"firewall": True}, {"shared_keys": False}])
def test_where_a_key_can_not_be_tried_azures_own_list_decides(azure: AzureManagement, facts: dict[str, bool]) -> None:
    closed = created(azure, f"closed{secrets.token_hex(6)}", **facts)
    rotation, first = strategy(azure, closed), serving(azure, closed)
    assert rotation.accepts(first) is True
    rotation.revoke(first, 6)
    assert rotation.accepts(first) is False


def test_a_refusal_of_a_key_that_is_listed_proves_nothing(azure: AzureManagement, account: StorageAccount) -> None:
    """So it is with a new key, and where this machine's clock is off."""
    rotation = strategy(azure, account)
    azure.emulator.delays.keys = 600
    candidate = rotation.mint(None)
    with pytest.raises(Unavailable, match="clock") as caught:
        rotation.accepts(candidate)
    assert candidate["account_key"].reveal() not in told(caught.value)
    rotation.revoke(candidate, 6)
    assert rotation.accepts(candidate) is False


@pytest.mark.parametrize("key", ["no base64!", "bm90IGEga2V5"])
def test_what_is_no_key_of_the_account_is_not_honoured(
    azure: AzureManagement, account: StorageAccount, key: str
) -> None:
    wrong = serving(azure, account).merged({"account_key": key})
    assert strategy(azure, account).accepts(wrong) is False
    assert strategy(azure, account).revoke(wrong, 6) == RevokeResult()


def test_a_cut_without_the_permission_says_which(
    azure: AzureManagement, account: StorageAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = serving(azure, account)
    for name, value in azure.environment("powerless").items():
        monkeypatch.setenv(name, value)
    powerless = strategy(azure, account)
    for verb in (lambda: powerless.revoke(first, 6), lambda: powerless.accepts(first)):
        with pytest.raises(Denied, match="regeneratekey/action") as caught:
            verb()
        assert first["account_key"].reveal() not in told(caught.value)


# what guards it


def test_a_key_that_somebody_regenerated_is_refused_before_the_other_is_touched(
    azure: AzureManagement, account: StorageAccount
) -> None:
    first, spare = serving(azure, account), account.keys["key2"].value
    manager(azure).regenerate_key("local", account.name, "key1", lambda: None)
    rotation = strategy(azure, account)
    for verb in (lambda: rotation.preflight(first, None), lambda: rotation.mint(first)):
        with pytest.raises(Invalid, match=r"none of its keys.*account_key"):
            verb()
    assert account.keys["key2"].value == spare


def test_a_current_that_names_no_key_is_refused(azure: AzureManagement, account: StorageAccount) -> None:
    with pytest.raises(Invalid, match="the key in use is unknown"):
        strategy(azure, account).preflight(SecretFields({"container": "models"}), None)
    assert strategy(azure, account).credential_id(SecretFields({"container": "models"})) == {}


def test_a_current_that_was_written_by_hand_needs_only_its_key(azure: AzureManagement, account: StorageAccount) -> None:
    by_hand = SecretFields({"account_key": account.keys["key2"].value})
    rotation = strategy(azure, account)
    rotation.preflight(by_hand, None)
    candidate = rotation.mint(by_hand)
    assert candidate["key_name"].reveal() == "key1"
    rotation.retire(rotation.credential_id(by_hand), 5)
    assert account.keys["key2"].value != by_hand["account_key"].reveal()
    assert lists_containers(azure, candidate)


def test_an_account_without_shared_keys_is_refused(azure: AzureManagement) -> None:
    closed = created(azure, "closed", shared_keys=False)
    with pytest.raises(Invalid, match=r"allowSharedKeyAccess.*Entra ID"):
        strategy(azure, closed).preflight(None, None)


def test_shared_keys_that_are_allowed_by_name_are_allowed(azure: AzureManagement) -> None:
    strategy(azure, created(azure, "allowed", shared_keys=True)).preflight(None, None)


def test_the_old_key_of_another_account_is_not_taken_for_ended(azure: AzureManagement, account: StorageAccount) -> None:
    elsewhere = serving(azure, created(azure, "elsewhere"))
    rotation = strategy(azure, account)
    with pytest.raises(Invalid, match="elsewhere"):
        rotation.retire(rotation.credential_id(elsewhere), 5)
    assert lists_containers(azure, elsewhere)


def test_an_account_that_is_not_there_is_named(azure: AzureManagement, account: StorageAccount) -> None:
    for group, options in (("other", {}), ("local", {"subscription": "00000000-0000-0000-0000-000000000000"})):
        rotation = AzureStorageKey(manager(azure, **options), group, account.name)
        with pytest.raises(NotFound, match=r"no such storage account.*resource_group"):
            rotation.preflight(None, None)


def test_an_account_that_is_gone_is_no_key_that_has_ended(azure: AzureManagement, account: StorageAccount) -> None:
    """It may be in another resource group, and its key in force."""
    rotation = AzureStorageKey(manager(azure), "other", account.name)
    with pytest.raises(NotFound, match="no such storage account"):
        rotation.retire(rotation.credential_id(serving(azure, account)), 5)


# permissions


def test_without_the_permission_the_error_says_which(
    azure: AzureManagement, account: StorageAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = serving(azure, account)
    for name, value in azure.environment("powerless").items():
        monkeypatch.setenv(name, value)
    powerless = strategy(azure, account)
    for verb in (
        lambda: powerless.preflight(first, None),
        lambda: powerless.mint(first),
        lambda: powerless.retire(powerless.credential_id(first), 5),
    ):
        with pytest.raises(Denied, match="regeneratekey/action") as caught:
            verb()
        assert first["account_key"].reveal() not in told(caught.value)


def test_a_lock_on_the_account_is_named(azure: AzureManagement) -> None:
    locked = created(azure, "locked", locked=True)
    with pytest.raises(Invalid, match="Remove the lock"):
        strategy(azure, locked).mint(serving(azure, locked))


# the account's own service


def test_a_key_that_takes_effect_late_is_waited_for(azure: AzureManagement, account: StorageAccount) -> None:
    azure.emulator.delays.keys = 0.4
    rotation = strategy(azure, account, pauses=(0.1, 0.2, 0.5))
    candidate = rotation.mint(serving(azure, account))
    assert not lists_containers(azure, candidate)
    rotation.verify(change(candidate))
    assert lists_containers(azure, candidate)


def test_a_key_that_takes_effect_later_keeps_its_place(azure: AzureManagement, account: StorageAccount) -> None:
    azure.emulator.delays.keys = 600
    rotation = strategy(azure, account, pauses=SHORT)
    candidate = rotation.mint(serving(azure, account))
    with pytest.raises(Unavailable, match=r"does not know the key yet.*clock") as caught:
        rotation.verify(change(candidate))
    assert candidate["account_key"].reveal() not in told(caught.value)
    azure.emulator.delays.keys = 0
    rotation.verify(change(candidate))


def test_a_candidate_that_somebody_regenerated_is_rejected(azure: AzureManagement, account: StorageAccount) -> None:
    rotation = strategy(azure, account)
    candidate = rotation.mint(None)
    manager(azure).regenerate_key("local", account.name, "key2", lambda: None)
    with pytest.raises(CandidateRejected, match="none of the account's"):
        rotation.verify(change(candidate))


def test_a_firewall_is_no_fault_of_the_key(azure: AzureManagement) -> None:
    behind = created(azure, "firewalled", firewall=True)
    rotation = strategy(azure, behind)
    with pytest.raises(Denied, match=r"AuthorizationFailure.*firewall"):
        rotation.verify(change(rotation.mint(None)))


def test_keys_that_are_forbidden_meanwhile_are_no_fault_of_the_key(
    azure: AzureManagement, account: StorageAccount
) -> None:
    rotation = strategy(azure, account)
    candidate = rotation.mint(None)
    account.shared_keys = False
    with pytest.raises(Invalid, match="allowSharedKeyAccess"):
        rotation.verify(change(candidate))


def test_what_is_signed_is_what_the_documentation_shows() -> None:
    """Source: "Authorize with Shared Key", the example of Get Container Metadata."""
    headers = {"x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version": "2015-02-21"}
    query = {"comp": "metadata", "restype": "container", "timeout": "20"}
    assert string_to_sign("myaccount", "/mycontainer", headers, query) == (
        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
        "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
    )


def test_a_connection_string_is_as_the_portal_shows_it(azure: AzureManagement, account: StorageAccount) -> None:
    class Public:
        """The real addresses, which the local services do not have."""

        name = "arm"

        def __getattr__(self, verb: str) -> Any:
            return getattr(manager(azure), verb)

        def storage_account(self, group: str, account: str) -> Any:
            real = manager(azure).storage_account(group, account)
            names = ("blob", "queue", "table", "file")
            return dataclasses.replace(
                real, endpoints={name: f"https://{account}.{name}.core.windows.net/" for name in names}
            )

    made = AzureStorageKey(Public(), "local", account.name).mint(None)
    assert made["connection_string"].reveal() == (
        f"DefaultEndpointsProtocol=https;AccountName={account.name};EndpointSuffix=core.windows.net;"
        f"BlobEndpoint=https://{account.name}.blob.core.windows.net/;"
        f"QueueEndpoint=https://{account.name}.queue.core.windows.net/;"
        f"TableEndpoint=https://{account.name}.table.core.windows.net/;"
        f"FileEndpoint=https://{account.name}.file.core.windows.net/;AccountKey={account.keys['key2'].value}"
    )


# the whole protocol


def test_keys_are_rotated_in_turn_and_only_one_is_known(
    azure: AzureManagement, account: StorageAccount, lab: Lab
) -> None:
    first = serving(azure, account)
    rotation = {"strategy": "azure-storage-key", "target": "cloud", "resource_group": "local", "account": account.name}
    workspace, path = workspace_for(lab, azure, first, **rotation)
    served = [first]
    for _ in range(3):
        assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
        served.append(current(lab, path))
        assert lists_containers(azure, served[-2])
        assert retire(workspace, path).retired
        assert not lists_containers(azure, served[-2])
    assert [fields["key_name"].reveal() for fields in served] == ["key1", "key2", "key1", "key2"]
    assert lists_containers(azure, served[-1])
    assert served[-1]["container"] == first["container"]


def test_a_key_that_has_leaked_is_ended_and_replaced_and_the_keys_take_turns_again(
    azure: AzureManagement, account: StorageAccount, lab: Lab
) -> None:
    first, spare = serving(azure, account), account.keys["key2"].value
    rotation = {"strategy": "azure-storage-key", "target": "cloud", "resource_group": "local", "account": account.name}
    workspace, path = workspace_for(lab, azure, first, **rotation)
    stands = revoked(workspace, path)
    assert (stands.left, stands.open, stands.secrets[0].outlives) == ((), False, ())
    second = current(lab, path)
    assert not lists_containers(azure, first)
    assert lists_containers(azure, second)
    assert second["key_name"].reveal() == "key1"
    assert account.keys["key2"].value != spare, "unknown who has it"
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
    assert current(lab, path)["key_name"].reveal() == "key2"
    assert lists_containers(azure, current(lab, path))


def test_a_key_that_the_service_takes_a_while_longer_is_tried_again_until_it_is_refused(
    azure: AzureManagement, account: StorageAccount, lab: Lab
) -> None:
    rotation = {"strategy": "azure-storage-key", "target": "cloud", "resource_group": "local", "account": account.name}
    first = serving(azure, account)
    workspace, path = workspace_for(lab, azure, first, **rotation)
    azure.emulator.delays.ended = 1.5
    stands = revoked(workspace, path)
    assert (stands.left, stands.open) == ((), False)
    assert not lists_containers(azure, first)


@pytest.mark.parametrize("mode", list(Mode))
def test_both_keys_end_where_a_rotation_has_left_both_in_versions(
    azure: AzureManagement, account: StorageAccount, lab: Lab, mode: Mode
) -> None:
    first = serving(azure, account)
    rotation = {"strategy": "azure-storage-key", "target": "cloud", "resource_group": "local", "account": account.name}
    workspace, path = workspace_for(lab, azure, first, **{**rotation, "grace": "1d"})
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
    second = current(lab, path)
    assert lists_containers(azure, first)
    stands = revoked(workspace, path, mode)
    assert (stands.left, stands.open) == ((), False)
    assert not lists_containers(azure, first)
    assert not lists_containers(azure, second)


def test_the_catalogue_opens_it(azure: AzureManagement, account: StorageAccount, lab: Lab) -> None:
    where = {"endpoint": azure.url, "authority": azure.url, "ca_file": azure.ca_file}
    target = {"kind": "azure-resource-manager", "subscription": azure.subscription, **where}
    catalogue = Catalogue.model_validate({"targets": {"cloud": target}})
    opened = open_target("cloud", catalogue.target("cloud"), lab.hub)
    assert isinstance(opened, AzureResourceManager)
    assert {key.name for key in opened.keys("local", account.name)} == {"key1", "key2"}
    opened.close()
