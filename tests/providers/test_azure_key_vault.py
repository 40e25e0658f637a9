"""Azure Key Vault: the contract against the local vault, and against a real one where AZURE_KEYVAULT_URL names it.

The real one is signed in to as ``DefaultAzureCredential`` does; it needs the role Key Vault Secrets Officer.
"""

import logging
import os
import secrets
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import trustme
from azure.core.credentials import TokenCredential
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from deployments.local.azure_key_vault import (
    SECRETS_OFFICER,
    SECRETS_USER,
    Application,
    Directory,
    Emulator,
    Limits,
    Server,
)
from deployments.local.ports import free_port
from keyturn.core.errors import (
    Conflict,
    Denied,
    Invalid,
    Locked,
    NotFound,
    Throttled,
    Unavailable,
)
from keyturn.core.names import AZURE_KEY_VAULT
from keyturn.core.stores import Copy, Marks
from keyturn.providers import azure, azure_key_vault
from keyturn.providers.azure_key_vault import AzureKeyVault
from tests.contracts.store import Raw, StoreContract, assert_silent, fresh_value, marks_for, put

TENANT = "3f6f7c0e-8a39-4a55-b9d7-0a1c5f2e9b64"
CLIENT_SECRET = "the client's secret"
DIRECTORY = Directory(
    TENANT,
    (Application("keyturn", CLIENT_SECRET, SECRETS_OFFICER), Application("reader", CLIENT_SECRET, SECRETS_USER)),
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
def vault(pki: Path, tmp_path: Path, clock: Clock, settle: float) -> Iterator[Server]:
    emulator = Emulator(tmp_path / "vault", DIRECTORY, clock=clock, settle=settle)
    with Server(emulator, pki / "cert.pem", pki / "key.pem") as server:
        yield server


Open = Callable[..., AzureKeyVault]


@pytest.fixture
def opened(pki: Path, vault: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens adapters on the local vault, signed in as the environment says, and closes them."""
    for name, value in (("TENANT_ID", TENANT), ("CLIENT_ID", "keyturn"), ("CLIENT_SECRET", CLIENT_SECRET)):
        monkeypatch.setenv(f"AZURE_{name}", value)
    stores: list[AzureKeyVault] = []

    def open_store(
        vault_url: str = vault.url, authority: str | None = vault.url, credential: TokenCredential | None = None
    ) -> AzureKeyVault:
        ca = str(pki / "ca.pem")
        store = AzureKeyVault("azure", vault_url=vault_url, ca_file=ca, authority=authority, credential=credential)
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


def versions(raw: SecretClient, remote: str) -> int:
    return len(list(raw.list_properties_of_secret_versions(remote)))


class TestAzureKeyVault(AzureContract):
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
        store.write(remote, value, marks_for(value), Copy(remote, "recorded long ago", None))
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
        found = store.find(remote)
        assert found is not None
        assert (found.marks, found.intact) == (marks_for(value), False)

    def test_a_secret_whose_marks_were_taken_off_is_nobodys(
        self, store: AzureKeyVault, remote: str, raw: SecretClient, clock: Clock
    ) -> None:
        put(store, remote, fresh_value())
        put(store, remote, fresh_value(), version=2)
        clock.ahead += 2
        raw.update_secret_properties(remote, tags={})
        found = store.find(remote)
        assert found is not None
        assert found.marks is None

    def test_the_version_id_tells_a_change_that_keeps_the_marks(
        self, store: AzureKeyVault, remote: str, raw: SecretClient, clock: Clock
    ) -> None:
        value = fresh_value()
        written = put(store, remote, value)
        clock.ahead += 2
        raw.set_secret(remote, "other", tags=marks_for(value).to_tags())
        [listed] = store.managed()
        found = store.find(remote)
        assert found is not None
        assert found.version_id == listed.version_id != written.version_id

    def test_finding_and_creating_cost_a_call_each_however_many_versions_there_are(
        self, store: AzureKeyVault, remote: str, vault: Server
    ) -> None:
        for version in range(1, 31):
            put(store, remote, fresh_value(), version)
        vault.emulator.throttle.limit(Limits(requests=2))
        assert store.find(remote) is not None
        value = fresh_value()
        store.write(f"{remote}-new", value, marks_for(value), None)

    # disabled and deleted

    def test_a_disabled_secret_is_not_intact_not_read_and_mended_by_a_write(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        raw.update_secret_properties(remote, enabled=False)
        found = store.find(remote)
        assert found is not None
        assert (found.marks, found.intact) == (marks_for(value), False)
        assert [copy.intact for copy in store.managed()] == [False]
        with pytest.raises(NotFound, match="disabled"):
            store.read(remote)
        put(store, remote, value)
        assert store.read(remote) == value

    def test_a_secret_disabled_after_it_was_found_is_mended_too(
        self, store: AzureKeyVault, remote: str, raw: SecretClient
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        found = store.find(remote)
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
        found = store.find(remote)
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
            assert list(store.managed()) == []
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
            store.find(remote)
        assert_silent(caught.value, wrong, store, remote)

    # the way there

    def test_an_address_where_nobody_listens_is_unavailable(self, opened: Open, remote: str) -> None:
        store = opened(vault_url=f"https://localhost:{free_port()}")
        value = fresh_value()
        for attempt in (
            lambda: store.find(remote),
            lambda: store.write(remote, value, marks_for(value), None),
            lambda: store.read(remote),
            lambda: store.delete(remote),
        ):
            with pytest.raises(Unavailable) as caught:
                attempt()
            assert_silent(caught.value, value, store, remote)
        with pytest.raises(Unavailable):
            list(store.managed())

    def test_a_sign_in_where_nobody_listens_is_unavailable(self, opened: Open, remote: str) -> None:
        store = opened(authority=f"https://localhost:{free_port()}")
        with pytest.raises(Unavailable):
            store.find(remote)

    def test_a_vault_that_hangs_up_is_unavailable(self, opened: Open, remote: str) -> None:
        with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as silent:
            thread = threading.Thread(target=silent.serve_forever, args=(0.05,))
            thread.start()
            store = opened(vault_url=f"https://127.0.0.1:{silent.server_address[1]}")
            with pytest.raises(Unavailable):
                store.find(remote)
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
                store.find(remote)

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
        with pytest.raises(Unavailable), azure.translated("find", "azure:x"):
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
        assert value.reveal() not in repr(store.find(remote))
        assert Marks.from_tags(marks_for(value).to_tags()) == marks_for(value)
