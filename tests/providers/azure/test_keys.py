"""Keys of Azure Key Vault: managed as the catalogue says, and data keys that they wrap. Against the local vault."""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import EncryptionAlgorithm, SignatureAlgorithm

from keyturn.catalogue.keys.azure import AzureKeySettings
from keyturn.core.errors import Denied, Missing, NotFound, Unavailable
from keyturn.core.ports.envelope import DataKeys, SealRefused
from keyturn.core.ports.hub import KeyOpening
from keyturn.core.ports.managed_keys import KeyCondition
from keyturn.providers.azure.data_keys import AzureDataKeys
from keyturn.providers.azure.keys import AzureKey, open_key_client, span
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from local.emulators.azure_key_vault import SECRETS_USER, Application, Directory, Emulator, Server
from local.emulators.azure_key_vault.auth import ADMINISTRATOR
from local.support.ports import free_port
from tests.contracts.data_keys import DataKeysContract
from tests.deployments.emulators.test_azure_key_vault import TENANT
from tests.providers.azure.test_store import CLIENT_SECRET
from tests.providers.azure.test_store import pki as pki

pytestmark = pytest.mark.sampled(10, of="file")

Open = Callable[..., AzureKey]


@pytest.fixture(scope="module")
def vault(pki: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    applications = (
        Application("keyturn", CLIENT_SECRET, ADMINISTRATOR),
        Application("reader", CLIENT_SECRET, SECRETS_USER),
    )
    emulator = Emulator(tmp_path_factory.mktemp("vault") / "data", Directory(TENANT, applications))
    with Server(emulator, pki / "cert.pem", pki / "key.pem") as server:
        yield server


@pytest.fixture(autouse=True)
def signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TENANT_ID", TENANT), ("CLIENT_ID", "keyturn"), ("CLIENT_SECRET", CLIENT_SECRET)):
        monkeypatch.setenv(f"AZURE_{name}", value)


@pytest.fixture
def raw(pki: Path, vault: Server) -> Iterator[KeyClient]:
    with closing(open_key_client("raw", vault.url, str(pki / "ca.pem"), vault.url)) as client:
        yield client


@pytest.fixture
def name(raw: KeyClient) -> str:
    name = f"key-{secrets.token_hex(6)}"
    raw.create_rsa_key(name, hardware_protected=True)
    return name


@pytest.fixture
def opened(pki: Path, vault: Server) -> Iterator[Open]:
    """Opens keys as the registry does, from what a catalogue says."""
    keys: list[AzureKey] = []

    def open_key(name: str, url: str = vault.url, **settings: Any) -> AzureKey:
        own = {"kind": "azure-key-vault", "vault_url": url, "key": name, "authority": vault.url}
        declared = AzureKeySettings.model_validate({**own, "ca_file": str(pki / "ca.pem"), **settings})
        arguments = {key: value for key, value in declared if key not in declared.OWN}
        keys.append(AzureKey(KeyOpening("ours", VaultHub(HubSettings("https://127.0.0.1:9"))), **arguments))
        return keys[-1]

    yield open_key
    for key in keys:
        key.close()


def test_a_rotation_is_another_version(opened: Open, name: str) -> None:
    key = opened(name)
    first = key.describe()
    assert (first.hsm, first.condition, bool(first.made_at)) == (True, KeyCondition.ENABLED, True)
    key.rotate()
    second = key.describe()
    assert (second.generation != first.generation, second.hsm) == (True, True)


def test_what_a_version_has_encrypted_and_signed_outlives_a_rotation(opened: Open, name: str, raw: KeyClient) -> None:
    curve = f"{name}-ec"
    raw.create_ec_key(curve, hardware_protected=True)
    digest = hashlib.sha256(b"weights").digest()
    uses = ((name, SignatureAlgorithm.ps256), (name, SignatureAlgorithm.rs256), (curve, SignatureAlgorithm.es256))
    for key, algorithm in uses:
        before = raw.get_key(key).properties.version
        old = raw.get_cryptography_client(key, key_version=before)
        signature = old.sign(algorithm, digest).signature
        sealed = old.encrypt(EncryptionAlgorithm.rsa_oaep_256, b"weights").ciphertext if key == name else b""
        opened(key).rotate()
        assert old.verify(algorithm, digest, signature).is_valid
        newest = raw.get_cryptography_client(key, key_version=raw.get_key(key).properties.version)
        assert not newest.verify(algorithm, digest, signature).is_valid
        if sealed:
            assert old.decrypt(EncryptionAlgorithm.rsa_oaep_256, sealed).plaintext == b"weights"
            with pytest.raises(HttpResponseError):
                newest.decrypt(EncryptionAlgorithm.rsa_oaep_256, sealed)


def test_the_rotation_policy_comes_to_be_and_a_second_time_changes_nothing(
    opened: Open, name: str, raw: KeyClient
) -> None:
    assert opened(name).differences() == []
    key = opened(name, automatic="180d", expires_after="365d", notify_before="30d")
    assert len(key.settle()) == 1
    assert (key.differences(), key.settle()) == ([], [])
    policy = raw.get_key_rotation_policy(name)
    told = {(a.action, a.time_after_create, a.time_before_expiry) for a in policy.lifetime_actions}
    assert policy.expires_in == "P365D"
    assert {(str(getattr(kind, "value", kind)).lower(), *spans) for kind, *spans in told} == {
        ("rotate", "P180D", None),
        ("notify", None, "P30D"),
    }
    assert opened(name, expires_after="90d").differences() == ["its rotation policy is another"]


def test_each_state_of_a_key_is_told_apart(
    opened: Open, name: str, raw: KeyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw.update_key_properties(name, enabled=False)
    assert opened(name).describe().condition is KeyCondition.DISABLED
    raw.begin_delete_key(name).wait()
    with pytest.raises(Missing, match="it is deleted, and gone for good on"):
        opened(name).describe()
    with pytest.raises(NotFound, match="the vault has no such key"):
        opened("none").describe()
    with pytest.raises(Unavailable):
        opened(name, url=f"https://127.0.0.1:{free_port()}").describe()
    monkeypatch.setenv("AZURE_CLIENT_ID", "reader")
    with pytest.raises(Denied, match="Key Vault Crypto Officer"):
        opened(name).describe()


def test_a_key_of_software_is_told(opened: Open, raw: KeyClient) -> None:
    software = f"key-{secrets.token_hex(6)}"
    raw.create_ec_key(software)
    facts = opened(software).describe()
    assert (facts.hsm, facts.kept_in) == (False, "software keeps it, no HSM")


def test_durations_are_read_however_the_service_writes_them() -> None:
    assert (span("P1Y"), span("p2m3d"), span(None)) == (timedelta(days=365), timedelta(days=63), None)
    with pytest.raises(ValueError, match="no duration"):
        span("PT5M")


class TestAzureDataKeys(DataKeysContract):
    """The contract, with what the service says of a ciphertext that is none."""

    @pytest.fixture
    def keys(self, vault: Server, pki: Path, name: str) -> Iterator[DataKeys]:
        with closing(at(vault, pki, name)) as keys:
            yield keys

    @pytest.fixture
    def other(self, vault: Server, pki: Path, raw: KeyClient) -> Iterator[DataKeys]:
        raw.create_rsa_key("another")
        with closing(at(vault, pki, "another")) as keys:
            yield keys

    @pytest.fixture
    def rotate(self, raw: KeyClient, name: str) -> Callable[[], object]:
        return lambda: raw.rotate_key(name)


def at(vault: Server, pki: Path, name: str) -> AzureDataKeys:
    """What wraps with that key."""
    return AzureDataKeys(f"{vault.url}/keys/{name}", ca_file=str(pki / "ca.pem"), authority=vault.url)


def test_a_secret_that_was_wrapped_elsewhere_opens_nothing(vault: Server, pki: Path, name: str) -> None:
    with closing(at(vault, pki, name)) as keys:
        version, _, rest = keys.make({}).wrapped.partition(".")
        with pytest.raises(SealRefused):
            keys.unwrap(f"{'0' * len(version)}.{rest}", {})
