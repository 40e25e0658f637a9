"""Azure Key Vault: the contract against the local vault, and against a real one where AZURE_KEYVAULT_URL names it.

The real one is signed in to as ``DefaultAzureCredential`` does; it needs the role Key Vault Secrets Officer.
"""

import json
import logging
import os
import secrets
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from keyturn.catalogue.stores.azure import AzureKeyVaultSettings
from keyturn.core.errors import (
    Conflict,
    Denied,
    Invalid,
    Locked,
    NotFound,
    Taken,
    Throttled,
    Unavailable,
    UnsupportedOperation,
)
from keyturn.core.ports.stores import Details, OwnershipTags, RemoteSecret
from keyturn.core.rights.rights import CopyRights
from keyturn.core.store_limits import AZURE_KEY_VAULT
from keyturn.providers.azure import client as azure
from keyturn.providers.azure import store as azure_key_vault
from keyturn.providers.azure.store import AzureKeyVault
from local.emulators.azure_key_vault import (
    SECRETS_OFFICER,
    SECRETS_USER,
    Application,
    Directory,
    Emulator,
    Limits,
    Server,
    auth,
)
from local.emulators.azure_key_vault.secret_calls import WITH_CONTENT_TYPE, WITH_EXPIRY
from local.support.ports import free_port
from tests.contracts.merging import MergingCases
from tests.contracts.store import Raw, StoreContract, assert_gone, assert_silent, fresh_value, marks_for, put

# The SDK remembers each address's tenant for the life of the process, and ports come back.
from tests.deployments.emulators.test_azure_key_vault import TENANT

pytestmark = pytest.mark.sampled(10, of="file")

CLIENT_SECRET = "the client's secret"
NARROW = "Keyturn copies"
REVOKER = "Keyturn copies and revocation"
DIRECTORY = Directory(
    TENANT,
    (
        Application("keyturn", CLIENT_SECRET, SECRETS_OFFICER),
        Application("reader", CLIENT_SECRET, SECRETS_USER),
        Application("narrow", CLIENT_SECRET, NARROW),
        Application("revoker", CLIENT_SECRET, REVOKER),
    ),
    identity_header="the header",
    identity_role=SECRETS_OFFICER,
)
CLOUD_VAULT = os.environ.get("AZURE_KEYVAULT_URL", "")


@dataclass
class Clock:
    """The machine's time and a few seconds more."""

    ahead: float = 0

    def __call__(self) -> float:
        return time.time() + self.ahead


class AzureContract(StoreContract):
    """What is the same against either vault; ``raw`` is an SDK client that knows nothing of Keyturn."""

    kind = AZURE_KEY_VAULT
    creates = True
    refuses_taken = False
    page_size = 25

    @pytest.fixture
    def foreign(self, raw: SecretClient) -> Raw:
        def create(name: str, value: str) -> None:
            raw.set_secret(name, value)

        return create

    @pytest.fixture
    def tampered(self, foreign: Raw) -> Raw:
        return foreign


@pytest.mark.skipif(not CLOUD_VAULT, reason="AZURE_KEYVAULT_URL is not set")
class TestAzureKeyVaultInTheCloud(AzureContract):
    listing_lag: ClassVar[float] = 60

    @pytest.fixture
    def raw(self) -> Iterator[SecretClient]:
        with DefaultAzureCredential() as credential, SecretClient(CLOUD_VAULT, credential) as client:
            yield client

    @pytest.fixture
    def store(self) -> Iterator[AzureKeyVault]:
        store = AzureKeyVault("azure", vault_url=CLOUD_VAULT)
        yield store
        store.close()

    @pytest.fixture
    def remote(self, raw: SecretClient) -> Iterator[str]:
        remote = f"keyturn-test-{secrets.token_hex(6)}"
        yield remote
        for found in list(raw.list_properties_of_secrets()):
            if found.name and found.name.startswith(remote):
                raw.begin_delete_secret(found.name)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a certificate for loopback, its key, and the authority that signed it."""
    where = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(where / "ca.pem")
    issued.private_key_pem.write_to_path(where / "key.pem")
    issued.cert_chain_pems[0].write_to_path(where / "cert.pem")
    return where


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settle() -> float:
    """Seconds that a deletion takes; overridden where it matters."""
    return 0


@pytest.fixture
def purge_protection() -> bool:
    """Whether the vault refuses to purge; overridden where it matters."""
    return False


@pytest.fixture
def policies() -> tuple[str, ...]:
    """What Azure Policy denies there; overridden where it matters."""
    return ()


@pytest.fixture
def vault(
    pki: Path, tmp_path: Path, clock: Clock, settle: float, purge_protection: bool, policies: tuple[str, ...]
) -> Iterator[Server]:
    emulator = Emulator(
        tmp_path / "vault",
        DIRECTORY,
        clock=clock,
        settle=settle,
        purge_protection=purge_protection,
        policies=policies,
    )
    with Server(emulator, pki / "cert.pem", pki / "key.pem") as server:
        yield server


Open = Callable[..., AzureKeyVault]


@pytest.fixture
def opened(pki: Path, vault: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens adapters on the local vault, signed in as the environment says, and closes them."""
    for name, value in (("TENANT_ID", TENANT), ("CLIENT_ID", "keyturn"), ("CLIENT_SECRET", CLIENT_SECRET)):
        monkeypatch.setenv(f"AZURE_{name}", value)
    stores: list[AzureKeyVault] = []

    def open_store(vault_url: str = vault.url, authority: str | None = vault.url, **settings: Any) -> AzureKeyVault:
        ca = str(pki / "ca.pem")
        store = AzureKeyVault("azure", vault_url=vault_url, ca_file=ca, authority=authority, **settings)
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        store.close()


def credential_for(pki: Path, url: str, client_id: str) -> ClientSecretCredential:
    return ClientSecretCredential(
        TENANT,
        client_id,
        CLIENT_SECRET,
        authority=url,
        disable_instance_discovery=True,
        connection_verify=str(pki / "ca.pem"),
    )


@pytest.fixture
def raw(pki: Path, vault: Server) -> Iterator[SecretClient]:
    ca = str(pki / "ca.pem")
    with (
        credential_for(pki, vault.url, "keyturn") as credential,
        SecretClient(vault.url, credential, verify_challenge_resource=False, connection_verify=ca) as client,
    ):
        yield client


def allowed_by(*parts: str) -> tuple[str, ...]:
    """The data actions that these of the rendered role definitions give together, where nothing is deleted."""
    settings = AzureKeyVaultSettings(kind="azure-key-vault", vault_url="https://v.vault.azure.net")
    made = {made.name: made.text for made in settings.rights(CopyRights("store-azure", "made by a test", ("*",)))}
    actions = (action for part in parts for action in json.loads(made[f"store-azure{part}.json"])["DataActions"])
    return tuple(action.removeprefix("Microsoft.KeyVault/vaults/") for action in actions)


@pytest.fixture
def revoker(pki: Path, vault: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClientSecretCredential]:
    """The sign-in of an application with all of the rendered roles."""
    monkeypatch.setitem(auth.ROLES, REVOKER, allowed_by("-vault", "", "-revoker"))
    with credential_for(pki, vault.url, "revoker") as credential:
        yield credential


@pytest.fixture
def narrow(pki: Path, vault: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClientSecretCredential]:
    """The sign-in of an application with the rendered roles for every day, and nothing else."""
    monkeypatch.setitem(auth.ROLES, NARROW, allowed_by("-vault", ""))
    with credential_for(pki, vault.url, "narrow") as credential:
        yield credential


@contextmanager
def something_else(pki: Path) -> Iterator[str]:
    """The address of a server that answers everything with a page for people."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<p>Sign in to the guest network</p>")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pki / "cert.pem", pki / "key.pem")
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def versions(raw: SecretClient, remote: str) -> int:
    return len(list(raw.list_properties_of_secret_versions(remote)))


class TestAzureKeyVault(MergingCases, AzureContract):
    @pytest.fixture
    def store(self, opened: Open) -> AzureKeyVault:
        return opened()

    # what others put on a secret

    def test_tags_and_content_type_of_others_stay(self, store: AzureKeyVault, remote: str, raw: SecretClient) -> None:
        raw.set_secret(remote, "theirs", tags={"team": "payments"}, content_type="application/json")
        for version in (1, 2):
            value = fresh_value()
            put(store, remote, value, version)
            properties = raw.get_secret(remote).properties
            assert properties.tags == {"team": "payments", **marks_for(value, version).to_tags()}
            assert properties.content_type == "application/json"

    def test_they_stay_too_when_what_was_found_comes_from_elsewhere(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        raw.set_secret(remote, "theirs", tags={"team": "payments"})
        value = fresh_value()
        store.write(remote, value, marks_for(value), RemoteSecret(remote, "recorded long ago", None))
        assert (raw.get_secret(remote).properties.tags or {})["team"] == "payments"

    def test_too_many_tags_of_others_are_told(self, store: AzureKeyVault, remote: str, raw: SecretClient) -> None:
        raw.set_secret(remote, "theirs", tags={f"tag-{number}": "x" for number in range(13)})
        value = fresh_value()
        with pytest.raises(Invalid, match="13 tags of others") as caught:
            put(store, remote, value)
        assert_silent(caught.value, value, store, remote)
        assert raw.get_secret(remote).value == "theirs"

    def test_a_source_too_long_for_a_tag_is_invalid(self, store: AzureKeyVault, remote: str) -> None:
        value = fresh_value()
        with pytest.raises(Invalid, match="256"):
            store.write(remote, value, marks_for(value, source="p" * 255), None)

    def test_new_copies_get_the_content_type_and_that_of_others_stays(
        self, opened: Open, remote: str, raw: SecretClient
    ) -> None:
        store = opened(content_type="application/json")
        raw.set_secret(f"{remote}-theirs", "theirs", content_type="text/plain")
        for name, expected in ((remote, "application/json"), (f"{remote}-theirs", "text/plain")):
            for version in (1, 2):
                put(store, name, fresh_value(), version)
                assert raw.get_secret(name).properties.content_type == expected

    def test_the_expiry_is_shown_until_a_value_without_one_comes(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        value, end = fresh_value(), datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        store.write(remote, value, marks_for(value), None, details=Details(expires_at=end))
        assert raw.get_secret(remote).properties.expires_on == end
        put(store, remote, fresh_value(), version=2)
        assert raw.get_secret(remote).properties.expires_on is None

    # details

    def test_tags_content_type_and_expiry_change_without_a_new_version_and_others_stay(
        self, store: AzureKeyVault, remote: str, raw: SecretClient, vault: Server
    ) -> None:
        raw.set_secret(remote, "theirs", tags={"theirs": "1", "team": "theirs"})
        value, end = fresh_value(), datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        first = Details({"team": "pay", "cost": "7"})
        put(store, remote, value, details=first)
        before = store.describe(remote)
        assert before is not None
        vault.emulator.throttle.limit(Limits(requests=1))
        second = Details({"cost": "8"}, content_type="text/plain", expires_at=end)
        marks = replace(marks_for(value), tags=second.names)
        labelled = store.relabel(remote, marks, second, before)
        vault.emulator.throttle.limit(Limits())
        shown = Details({"theirs": "1", "cost": "8"}, content_type="text/plain", expires_at=end)
        [listed] = store.list_managed()
        assert labelled == store.describe(remote) == listed == RemoteSecret(remote, before.version_id, marks)
        assert [copy and copy.details for copy in (labelled, store.describe(remote), listed)] == [shown] * 3
        assert versions(raw, remote) == 2
        assert store.read(remote) == value

    def test_the_same_value_with_other_details_is_changed_and_not_written(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        store.write(remote, value, marks_for(value), store.describe(remote), details=Details(content_type="text/plain"))
        assert raw.get_secret(remote).properties.content_type == "text/plain"
        assert versions(raw, remote) == 1

    def test_a_version_that_somebody_else_set_meanwhile_gets_no_tags(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        listed, before = next(iter(store.list_managed())), store.describe(remote)
        raw.set_secret(remote, "theirs")
        marks = replace(marks_for(value), tags=("team",))
        assert before is not None
        with suppress(Conflict):
            store.relabel(remote, marks, Details({"team": "pay"}), before)
        with pytest.raises(Conflict):
            store.relabel(remote, marks, Details({"team": "pay"}), listed)
        assert not raw.get_secret(remote).properties.tags
        found = store.describe(remote)
        assert found is not None
        assert not found.intact
        with pytest.raises(UnsupportedOperation):
            store.relabel(remote, marks, Details({"team": "pay"}), found)

    @pytest.mark.parametrize("policies", [(WITH_EXPIRY, WITH_CONTENT_TYPE)])
    def test_a_policy_that_asks_for_expiry_and_content_type_lets_copies_through_that_have_both(
        self, store: AzureKeyVault, remote: str
    ) -> None:
        value, both = fresh_value(), Details(content_type="text/plain", expires_at=datetime(2100, 1, 1, tzinfo=UTC))
        for lacking in (Details(), replace(both, expires_at=None), replace(both, content_type="")):
            with pytest.raises(Denied, match="say expires_after or content_type") as caught:
                store.create(remote, value, marks_for(value), details=lacking)
            assert_silent(caught.value, value, store, remote)
        store.create(remote, value, marks_for(value), details=both)
        put(store, remote, fresh_value(), 2, details=both)

    def test_the_rendered_roles_are_enough_to_change_tags_and_without_it_the_right_is_named(
        self, opened: Open, remote: str, narrow: ClientSecretCredential, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, value = opened(credential=narrow), fresh_value()
        written = put(store, remote, value)
        marks = replace(marks_for(value), tags=("team",))
        assert store.relabel(remote, marks, Details({"team": "pay"}), written).marks == marks
        actions = auth.ROLES[NARROW]
        monkeypatch.setitem(auth.ROLES, NARROW, tuple(one for one in actions if "update" not in one))
        with pytest.raises(Denied, match=r"may not change tags.*secrets/update/action"):
            store.relabel(remote, marks, Details({"team": "shop"}), written)

    # versions

    def test_writing_again_adds_no_version(self, store: AzureKeyVault, remote: str, raw: SecretClient) -> None:
        value = fresh_value()
        put(store, remote, value)
        put(store, remote, value)
        assert versions(raw, remote) == 1

    def test_a_value_changed_under_our_marks_is_written_again(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        raw.set_secret(remote, "other", tags=marks_for(value).to_tags())
        put(store, remote, value)
        assert store.read(remote) == value

    def test_a_value_set_by_somebody_else_leaves_the_secret_ours(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        raw.set_secret(remote, "other")
        found = store.describe(remote)
        assert found is not None
        assert (found.marks, found.intact) == (marks_for(value), False)

    def test_a_secret_whose_marks_were_taken_off_is_nobodys(
        self, store: AzureKeyVault, remote: str, raw: SecretClient, clock: Clock
    ) -> None:
        put(store, remote, fresh_value())
        put(store, remote, fresh_value(), version=2)
        clock.ahead += 2
        raw.update_secret_properties(remote, tags={})
        found = store.describe(remote)
        assert found is not None
        assert found.marks is None

    def test_the_version_id_tells_a_change_that_keeps_the_marks(
        self, store: AzureKeyVault, remote: str, raw: SecretClient, clock: Clock
    ) -> None:
        value = fresh_value()
        written = put(store, remote, value)
        clock.ahead += 2
        raw.set_secret(remote, "other", tags=marks_for(value).to_tags())
        [listed] = store.list_managed()
        found = store.describe(remote)
        assert found is not None
        assert found.version_id == listed.version_id != written.version_id

    def test_finding_and_creating_cost_a_call_each_however_many_versions_there_are(
        self, store: AzureKeyVault, remote: str, vault: Server
    ) -> None:
        for version in range(1, 31):
            put(store, remote, fresh_value(), version)
        vault.emulator.throttle.limit(Limits(requests=2))
        assert store.describe(remote) is not None
        value = fresh_value()
        store.write(f"{remote}-new", value, marks_for(value), None)

    def test_making_a_copy_without_being_told_what_is_there_costs_two_calls(
        self, store: AzureKeyVault, remote: str, vault: Server
    ) -> None:
        store.describe(remote)
        vault.emulator.throttle.limit(Limits(requests=2))
        value = fresh_value()
        store.create(remote, value, marks_for(value))

    def test_what_is_made_so_has_content_type_and_expiry_too(
        self, opened: Open, remote: str, raw: SecretClient
    ) -> None:
        value, end = fresh_value(), datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        opened(content_type="application/json").create(remote, value, marks_for(value), details=Details(expires_at=end))
        properties = raw.get_secret(remote).properties
        assert (properties.content_type, properties.expires_on) == ("application/json", end)

    def test_a_disabled_secret_has_its_name(self, store: AzureKeyVault, remote: str, raw: SecretClient) -> None:
        raw.set_secret(remote, "theirs", enabled=False)
        value = fresh_value()
        with pytest.raises(Taken):
            store.create(remote, value, marks_for(value))
        assert versions(raw, remote) == 1

    # disabled and deleted

    def test_a_disabled_secret_is_not_intact_not_read_and_mended_by_a_write(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        raw.update_secret_properties(remote, enabled=False)
        found = store.describe(remote)
        assert found is not None
        assert (found.marks, found.intact) == (marks_for(value), False)
        assert [copy.intact for copy in store.list_managed()] == [False]
        with pytest.raises(NotFound, match="disabled"):
            store.read(remote)
        put(store, remote, value)
        assert store.read(remote) == value

    def test_a_secret_disabled_after_it_was_found_is_mended_too(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        found = store.describe(remote)
        raw.update_secret_properties(remote, enabled=False)
        store.write(remote, value, marks_for(value), found)
        assert store.read(remote) == value

    def test_a_deleted_name_is_recovered_with_its_history_and_tags(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        value = fresh_value()
        raw.set_secret(remote, "theirs", tags={"team": "payments"})
        put(store, remote, value)
        store.delete(remote)
        found = store.describe(remote)
        assert found is not None
        assert (found.marks, found.intact) == (marks_for(value), False)
        put(store, remote, value)
        assert store.read(remote) == value
        assert versions(raw, remote) == 3
        assert (raw.get_secret(remote).properties.tags or {})["team"] == "payments"

    def test_our_own_deleted_secret_is_recovered_even_when_nobody_saw_it(
        self, store: AzureKeyVault, remote: str
    ) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        value = fresh_value()
        store.write(remote, value, marks_for(value, 2), None)
        assert store.read(remote) == value

    def test_somebody_elses_deleted_secret_is_not_revived_unseen(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        raw.set_secret(remote, "theirs")
        raw.begin_delete_secret(remote)
        value = fresh_value()
        with pytest.raises(Conflict, match="purge") as caught:
            store.write(remote, value, marks_for(value), None)
        assert_silent(caught.value, value, store, remote)
        with pytest.raises(ResourceNotFoundError):
            raw.get_secret(remote)

    @pytest.mark.parametrize("settle", [0.5])
    def test_a_write_waits_for_a_deletion_and_its_recovery(self, store: AzureKeyVault, remote: str) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        store.delete(remote)
        value = fresh_value()
        put(store, remote, value, version=2)
        assert store.read(remote) == value

    @pytest.mark.parametrize("settle", [600.0])
    def test_a_deletion_that_does_not_end_is_locked(
        self, store: AzureKeyVault, remote: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(azure_key_vault, "PAUSES", (0.01, 0.01))
        put(store, remote, fresh_value())
        store.delete(remote)
        value = fresh_value()
        with pytest.raises(Locked) as caught:
            store.write(remote, value, marks_for(value), None)
        assert_silent(caught.value, value, store, remote)

    # purging

    def test_a_deleted_name_is_purged_where_the_store_says_so_and_nothing_of_it_stays(
        self, opened: Open, remote: str, raw: SecretClient
    ) -> None:
        store = opened(deleted_name="purge")
        raw.set_secret(remote, "theirs", tags={f"tag-{number}": "x" for number in range(12)}, content_type="text/x")
        put(store, remote, fresh_value())
        store.delete(remote)
        value = fresh_value()
        put(store, remote, value, version=2)
        assert store.read(remote) == value
        assert versions(raw, remote) == 1
        properties = raw.get_secret(remote).properties
        assert (properties.tags, properties.content_type) == (marks_for(value, 2).to_tags(), None)

    @pytest.mark.parametrize("settle", [0.5])
    def test_a_write_waits_for_a_deletion_and_its_purge(self, opened: Open, remote: str, raw: SecretClient) -> None:
        store = opened(deleted_name="purge")
        put(store, remote, fresh_value())
        store.delete(remote)
        value = fresh_value()
        put(store, remote, value, version=2)
        assert store.read(remote) == value
        assert versions(raw, remote) == 1

    def test_somebody_elses_deleted_secret_is_not_purged_unseen(
        self, opened: Open, remote: str, raw: SecretClient
    ) -> None:
        raw.set_secret(remote, "theirs")
        raw.begin_delete_secret(remote)
        value = fresh_value()
        with pytest.raises(Conflict):
            opened(deleted_name="purge").write(remote, value, marks_for(value), None)
        raw.begin_recover_deleted_secret(remote)
        assert raw.get_secret(remote).value == "theirs"

    @pytest.mark.parametrize("purge_protection", [True])
    def test_purge_protection_is_told_and_the_deleted_secret_stays(
        self, opened: Open, remote: str, raw: SecretClient
    ) -> None:
        store = opened(deleted_name="purge")
        put(store, remote, fresh_value())
        store.delete(remote)
        value = fresh_value()
        with pytest.raises(UnsupportedOperation, match="purge protection") as caught:
            put(store, remote, value, version=2)
        assert_silent(caught.value, value, store, remote)
        assert raw.get_deleted_secret(remote).name == remote

    # permissions

    def test_the_rendered_roles_are_enough_for_all_but_deleting(
        self, opened: Open, remote: str, raw: SecretClient, narrow: ClientSecretCredential
    ) -> None:
        store = opened(credential=narrow)
        put(store, remote, fresh_value())
        raw.begin_delete_secret(remote)
        value = fresh_value()
        put(store, remote, value, version=2)
        assert store.read_many([remote]) == {remote: value}
        assert [copy.name for copy in store.list_managed()] == [copy.name for copy in store.list_all()] == [remote]
        with pytest.raises(Denied):
            store.delete(remote)

    def test_an_identity_that_may_not_purge_is_told_the_permission(
        self, opened: Open, remote: str, raw: SecretClient, narrow: ClientSecretCredential
    ) -> None:
        store = opened(deleted_name="purge", credential=narrow)
        put(store, remote, fresh_value())
        raw.begin_delete_secret(remote)
        value = fresh_value()
        with pytest.raises(Denied, match="permission to purge") as caught:
            put(store, remote, value, version=2)
        assert_silent(caught.value, value, store, remote)

    # past, forget and erase

    def test_a_disabled_version_is_not_past_and_forgetting_disables_every_old_one(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        values = [fresh_value() for _ in range(30)]
        ids = [raw.set_secret(remote, value.reveal()).properties.version or "" for value in values]
        raw.update_secret_properties(remote, ids[0], enabled=False)
        assert store.old_versions(remote) == dict(zip(ids[1:-1], values[1:-1], strict=True))
        stays = store.purge_old_versions(remote)
        assert sorted(stays) == sorted(
            f"version {version} is disabled, not removed: anyone who may update secrets can enable it again"
            for version in ids[:-1]
        )
        enabled = [one.version for one in raw.list_properties_of_secret_versions(remote) if one.enabled]
        assert enabled == [ids[-1]]
        assert store.old_versions(remote) == {}
        assert store.read(remote) == values[-1]

    def test_where_nothing_is_served_every_version_is_forgotten(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        old = fresh_value()
        first = raw.set_secret(remote, old.reveal()).properties.version or ""
        second = raw.set_secret(remote, "disabled").properties.version or ""
        raw.update_secret_properties(remote, second, enabled=False)
        assert store.old_versions(remote) == {first: old}
        assert len(store.purge_old_versions(remote)) == 2
        assert store.old_versions(remote) == {}

    def test_forgetting_a_deleted_secret_says_until_when_it_can_be_recovered(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        ends = raw.get_deleted_secret(remote).scheduled_purge_date
        assert ends is not None
        assert store.old_versions(remote) == {}
        assert store.purge_old_versions(remote) == (
            f"all versions can be recovered with the secret until {ends:%Y-%m-%d %H:%M} UTC",
        )

    @pytest.mark.parametrize("settle", [0.5])
    def test_erasing_waits_for_the_deletion_and_the_purge(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        assert store.purge(remote) == ()
        with pytest.raises(ResourceNotFoundError):
            raw.get_deleted_secret(remote)
        assert store.describe(remote) is None
        assert store.purge(remote) == ()
        value = fresh_value()
        put(store, remote, value)
        assert store.read(remote) == value

    @pytest.mark.parametrize("settle", [600.0])
    def test_an_erasure_that_does_not_end_is_locked(
        self, opened: Open, remote: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(azure_key_vault, "PAUSES", (0.01, 0.01))
        store, value = opened(), fresh_value()
        put(store, remote, value)
        with pytest.raises(Locked, match="still under way") as caught:
            store.purge(remote)
        assert_silent(caught.value, value, store, remote)

    @pytest.mark.parametrize("purge_protection", [True])
    def test_what_purge_protection_keeps_is_said_with_its_end(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        put(store, remote, fresh_value())
        stays = store.purge(remote)
        ends = raw.get_deleted_secret(remote).scheduled_purge_date
        assert ends is not None
        assert stays == (f"purge protection keeps it: it can be recovered until {ends:%Y-%m-%d %H:%M} UTC",)
        assert store.purge(remote) == stays
        assert_gone(store, remote)

    def test_all_rendered_roles_together_are_enough_to_forget_and_erase(
        self, opened: Open, remote: str, raw: SecretClient, revoker: ClientSecretCredential
    ) -> None:
        store = opened(credential=revoker)
        for version in (1, 2):
            put(store, remote, fresh_value(), version)
        assert len(store.old_versions(remote)) == 1
        assert len(store.purge_old_versions(remote)) == 1
        assert store.purge(remote) == ()

    def test_an_identity_that_may_not_is_told_what_it_lacks_and_what_is_left(
        self, opened: Open, remote: str, narrow: ClientSecretCredential, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, value = opened(credential=narrow), fresh_value()
        put(store, remote, value)
        put(store, remote, fresh_value(), 2)
        with pytest.raises(Denied) as caught:
            store.purge(remote)
        assert_silent(caught.value, value, store, remote)
        actions = auth.ROLES[NARROW]
        monkeypatch.setitem(auth.ROLES, NARROW, tuple(one for one in actions if "update" not in one))
        with pytest.raises(Denied) as caught:
            store.purge_old_versions(remote)
        assert_silent(caught.value, value, store, remote)
        monkeypatch.setitem(auth.ROLES, NARROW, (*auth.ROLES[NARROW], "secrets/delete"))
        with pytest.raises(Denied, match=r"it is deleted, can be recovered until .* and may not be purged") as caught:
            store.purge(remote)
        assert_silent(caught.value, value, store, remote)

    # lists

    def test_a_listing_counts_one_call_for_25_secrets(self, store: AzureKeyVault, remote: str, vault: Server) -> None:
        for number in range(26):
            put(store, f"{remote}-{number}", fresh_value())
        vault.emulator.throttle.limit(Limits(requests=2))
        assert len(list(store.list_managed())) == 26
        with pytest.raises(Throttled):
            list(store.list_all())

    def test_a_page_that_is_not_the_vaults_is_unavailable(self, opened: Open, pki: Path) -> None:
        with something_else(pki) as url:
            store = opened(vault_url=url)
            with pytest.raises(Unavailable):
                list(store.list_managed())

    def test_disabled_secrets_are_left_out_of_many(self, store: AzureKeyVault, remote: str, raw: SecretClient) -> None:
        put(store, remote, fresh_value())
        raw.update_secret_properties(remote, enabled=False)
        assert store.read_many([remote]) == {}
        assert [copy.intact for copy in store.list_all()] == [False]

    # refusals

    def test_throttling_tells_when_to_come_back(self, store: AzureKeyVault, remote: str, vault: Server) -> None:
        value = fresh_value()
        vault.emulator.throttle.limit(Limits(creates=0))
        began = time.monotonic()
        with pytest.raises(Throttled) as caught:
            store.write(remote, value, marks_for(value), None)
        assert caught.value.retry_after == 10
        assert time.monotonic() - began < 5
        assert_silent(caught.value, value, store, remote)

    def test_a_reader_is_denied_and_told_the_role(self, opened: Open, remote: str, pki: Path, vault: Server) -> None:
        with credential_for(pki, vault.url, "reader") as credential:
            store = opened(credential=credential)
            assert list(store.list_managed()) == []
            value = fresh_value()
            with pytest.raises(Denied, match="Key Vault Secrets Officer") as caught:
                store.write(remote, value, marks_for(value), None)
            assert_silent(caught.value, value, store, remote)

    def test_a_wrong_client_secret_is_denied_and_the_hint_names_the_variables(
        self, opened: Open, remote: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrong = fresh_value()
        monkeypatch.setenv("AZURE_CLIENT_SECRET", wrong.reveal())
        store = opened()
        with pytest.raises(Denied, match="AZURE_CLIENT_SECRET") as caught:
            store.describe(remote)
        assert_silent(caught.value, wrong, store, remote)

    # the way there

    def test_an_address_where_nobody_listens_is_unavailable(self, opened: Open, remote: str) -> None:
        store = opened(vault_url=f"https://localhost:{free_port()}")
        value = fresh_value()
        for attempt in (
            lambda: store.describe(remote),
            lambda: store.write(remote, value, marks_for(value), None),
            lambda: store.read(remote),
            lambda: store.delete(remote),
        ):
            with pytest.raises(Unavailable) as caught:
                attempt()
            assert_silent(caught.value, value, store, remote)
        with pytest.raises(Unavailable):
            list(store.list_managed())

    def test_a_sign_in_where_nobody_listens_is_unavailable(self, opened: Open, remote: str) -> None:
        store = opened(authority=f"https://localhost:{free_port()}")
        with pytest.raises(Unavailable):
            store.describe(remote)

    def test_a_vault_that_hangs_up_is_unavailable(self, opened: Open, remote: str) -> None:
        with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as silent:
            thread = threading.Thread(target=silent.serve_forever, args=(0.05,))
            thread.start()
            store = opened(vault_url=f"https://127.0.0.1:{silent.server_address[1]}")
            with pytest.raises(Unavailable):
                store.describe(remote)
            silent.shutdown()
            thread.join()

    def test_a_vault_that_stops_is_unavailable_and_serves_again_after_its_restart(
        self, store: AzureKeyVault, remote: str, vault: Server, pki: Path, tmp_path: Path
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        vault.stop()
        with pytest.raises(Unavailable):
            store.read(remote)
        again = Emulator(tmp_path / "vault", DIRECTORY)
        with Server(again, pki / "cert.pem", pki / "key.pem", vault.port):
            assert store.read(remote) == value

    # opening

    def test_an_address_without_tls_is_invalid(self, opened: Open) -> None:
        with pytest.raises(Invalid, match="https"):
            opened(vault_url="http://localhost:1")

    def test_a_private_vault_without_a_private_authority_is_told(
        self, opened: Open, remote: str, pki: Path, vault: Server
    ) -> None:
        with credential_for(pki, vault.url, "keyturn") as credential:
            store = opened(authority=None, credential=credential)
            with pytest.raises(Invalid, match="authority"):
                store.describe(remote)

    def test_a_private_authority_without_an_application_is_invalid(
        self, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AZURE_CLIENT_ID")
        with pytest.raises(Invalid, match="AZURE_CLIENT_ID not set"):
            opened()

    def test_opening_makes_no_call(self, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        opened(vault_url="https://unheard-of.vault.azure.net", authority=None)
        for variable in azure.OWN_SIGN_IN:
            monkeypatch.delenv(variable)
        opened(vault_url="https://unheard-of.vault.azure.net", authority=None)

    def test_a_public_sign_in_out_of_reach_is_unavailable(self, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"https://localhost:{free_port()}")
        credential = azure.credential("azure", None, {})
        with pytest.raises(Unavailable), azure.translate_azure_errors("find", "azure:x"):
            credential.get_token("https://vault.azure.net/.default")
        credential.close()

    # leaks

    def test_no_value_is_logged_even_at_debug(
        self, store: AzureKeyVault, remote: str, raw: SecretClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        value = fresh_value()
        put(store, remote, value)
        put(store, remote, value)
        store.read(remote)
        assert remote in caplog.text
        assert value.reveal() not in caplog.text
        assert CLIENT_SECRET not in caplog.text

    def test_what_is_found_shows_no_value(self, store: AzureKeyVault, remote: str) -> None:
        value = fresh_value()
        put(store, remote, value)
        assert value.reveal() not in repr(store.describe(remote))
        assert OwnershipTags.from_tags(marks_for(value).to_tags()) == marks_for(value)
