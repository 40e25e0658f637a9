"""The local Key Vault refuses and answers as the service's documentation says, through the official SDKs."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity import ClientSecretCredential, ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient

from local.emulators.azure_key_vault import (
    ADMINISTRATOR,
    SECRETS_USER,
    Application,
    Directory,
    Emulator,
    Limits,
    Server,
)
from local.emulators.azure_key_vault.__main__ import arguments, directory
from local.support.ports import free_port

pytestmark = pytest.mark.sampled(4, of="file")

TENANT = "72f9a1c0-5b1e-4c52-9d0a-6f3e2b8d4a11"
DIRECTORY = Directory(
    TENANT,
    (Application("writer", "writer's secret", ADMINISTRATOR), Application("reader", "reader's secret", SECRETS_USER)),
    identity_header="the header",
)
SCOPE = "https://vault.azure.net/.default"
DAY = 86_400


class Clock:
    """A time that only passes when told to."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


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


def credential(pki: Path, url: str, client: str = "writer", secret: str | None = None) -> ClientSecretCredential:
    return ClientSecretCredential(
        TENANT,
        client,
        secret or f"{client}'s secret",
        authority=url,
        disable_instance_discovery=True,
        connection_verify=str(pki / "ca.pem"),
        retry_total=0,
    )


def client_for(pki: Path, url: str, signed_in: Any) -> SecretClient:
    return SecretClient(
        url, signed_in, verify_challenge_resource=False, connection_verify=str(pki / "ca.pem"), retry_total=0
    )


@pytest.fixture
def client(pki: Path, vault: Server) -> Iterator[SecretClient]:
    with credential(pki, vault.url) as signed_in, client_for(pki, vault.url, signed_in) as client:
        yield client


@pytest.fixture
def reader(pki: Path, vault: Server) -> Iterator[SecretClient]:
    with credential(pki, vault.url, "reader") as signed_in, client_for(pki, vault.url, signed_in) as client:
        yield client


Call = Callable[..., requests.Response]


@pytest.fixture
def call(pki: Path, vault: Server) -> Iterator[Call]:
    """Sends one request as the writer, with an api-version unless the path has a query."""
    with credential(pki, vault.url) as signed_in, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {signed_in.get_token(SCOPE).token}"

        def send(method: str, path: str, document: object = None, **options: Any) -> requests.Response:
            query = "" if "?" in path else "?api-version=7.6"
            options = {"json": document, "verify": str(pki / "ca.pem"), "timeout": 10, **options}
            return session.request(method, f"{vault.url}{path}{query}", **options)

        yield send


def code_of(error: HttpResponseError) -> str | None:
    return error.error.code if error.error else None


def inner_code_of(error: HttpResponseError) -> str | None:
    return error.error.innererror["code"] if error.error and error.error.innererror else None


def error_in(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# signing in


@pytest.mark.parametrize(
    ("tenant", "client_id", "secret", "scope", "status", "error", "number"),
    [
        (TENANT, "writer", "wrong", SCOPE, 401, "invalid_client", 7000215),
        (TENANT, "nobody", "writer's secret", SCOPE, 400, "unauthorized_client", 700016),
        ("another", "writer", "writer's secret", SCOPE, 400, "invalid_request", 90002),
        (TENANT, "writer", "writer's secret", "https://graph.microsoft.com/.default", 400, "invalid_scope", 70011),
    ],
)
def test_a_sign_in_is_refused_as_entra_refuses_it(
    pki: Path,
    vault: Server,
    tenant: str,
    client_id: str,
    secret: str,
    scope: str,
    status: int,
    error: str,
    number: int,
) -> None:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "scope": scope}
    address = f"{vault.url}/{tenant}/oauth2/v2.0/token"
    answer = requests.post(address, data=form, verify=str(pki / "ca.pem"), timeout=10)
    assert (answer.status_code, answer.json()["error"], answer.json()["error_codes"]) == (status, error, [number])
    assert answer.json()["error_description"].startswith(f"AADSTS{number}: ")


def test_the_sdk_reports_a_wrong_client_secret(pki: Path, vault: Server) -> None:
    with credential(pki, vault.url, secret="wrong") as signed_in, pytest.raises(ClientAuthenticationError) as caught:
        signed_in.get_token(SCOPE)
    assert "AADSTS7000215" in str(caught.value)


def test_a_call_without_a_token_is_challenged(pki: Path, vault: Server) -> None:
    answer = requests.put(f"{vault.url}/secrets/a?api-version=7.6", verify=str(pki / "ca.pem"), timeout=10)
    assert error_in(answer) == (401, "Unauthorized")
    expected = f'Bearer authorization="{vault.url}/{TENANT}", resource="https://vault.azure.net"'
    assert answer.headers["WWW-Authenticate"] == expected


def test_a_token_that_is_forged_or_over_is_challenged(pki: Path, vault: Server, call: Call, clock: Clock) -> None:
    assert call("GET", "/secrets").status_code == 200
    forged = {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoiS2V5IFZhdWx0IEFkbWluaXN0cmF0b3IifQ."}
    assert error_in(call("GET", "/secrets", headers=forged)) == (401, "Unauthorized")
    clock.now += 3_600
    assert error_in(call("GET", "/secrets")) == (401, "Unauthorized")


def test_the_managed_identity_of_an_app_service_signs_in(
    pki: Path, vault: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{vault.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "the header")
    identity = ManagedIdentityCredential(connection_verify=str(pki / "ca.pem"))
    with identity, client_for(pki, vault.url, identity) as client:
        client.set_secret("a", "1")
        assert client.get_secret("a").value == "1"


def test_a_managed_identity_with_the_wrong_header_gets_no_token(pki: Path, vault: Server) -> None:
    address = f"{vault.url}/msi/token?api-version=2019-08-01&resource=https://vault.azure.net"
    answer = requests.get(address, headers={"X-IDENTITY-HEADER": "no"}, verify=str(pki / "ca.pem"), timeout=10)
    assert answer.status_code == 401
    assert "access_token" not in answer.text


def test_a_reader_reads_and_lists_and_is_denied_the_rest(client: SecretClient, reader: SecretClient) -> None:
    client.set_secret("a", "1")
    assert reader.get_secret("a").value == "1"
    assert [found.name for found in reader.list_properties_of_secrets()] == ["a"]
    for attempt in (lambda: reader.set_secret("a", "2"), lambda: reader.begin_delete_secret("a")):
        with pytest.raises(HttpResponseError) as caught:
            attempt()
        assert caught.value.status_code == 403
        assert (code_of(caught.value), inner_code_of(caught.value)) == ("Forbidden", "ForbiddenByRbac")


# requests


def test_the_api_version_is_required_and_checked(call: Call) -> None:
    assert error_in(call("GET", "/secrets?x=1")) == (400, "BadParameter")
    assert error_in(call("GET", "/secrets?api-version=7.99")) == (400, "BadParameter")
    assert call("GET", "/secrets?api-version=7.4").status_code == 200


def test_what_does_not_exist_is_refused_in_the_shape_of_an_error(call: Call) -> None:
    assert error_in(call("GET", "/certificates")) == (404, "NotFound")
    assert error_in(call("PUT", "/secrets/")) == (405, "MethodNotAllowed")
    assert error_in(call("PUT", "/secrets/a", {"no": "value"})) == (400, "BadParameter")
    assert error_in(call("PUT", "/secrets/a", {"value": 7})) == (400, "BadParameter")
    assert error_in(call("PUT", "/secrets/a", ["value"])) == (400, "BadParameter")
    assert error_in(call("PUT", "/secrets/a", {"value": "\ud800"})) == (400, "BadParameter")
    assert error_in(call("PUT", "/secrets/a", {"value": "v", "attributes": {"exp": "soon"}})) == (400, "BadParameter")
    assert error_in(call("PUT", "/secrets/a", None, data=b"{")) == (400, "BadParameter")


# secrets


def test_a_secret_has_versions_and_serves_the_newest(client: SecretClient) -> None:
    first, second = client.set_secret("a", "1"), client.set_secret("a", "2")
    assert first.properties.version != second.properties.version
    assert client.get_secret("a").value == "2"
    assert client.get_secret("a", first.properties.version).value == "1"
    versions = {found.version for found in client.list_properties_of_secret_versions("a")}
    assert versions == {first.properties.version, second.properties.version}


def test_versions_are_listed_by_their_ids_and_not_by_age(client: SecretClient) -> None:
    made = [client.set_secret("a", str(number)).properties.version or "" for number in range(30)]
    assert [found.version for found in client.list_properties_of_secret_versions("a")] == sorted(made)


def test_a_secret_keeps_its_attributes_tags_and_content_type(client: SecretClient) -> None:
    begins, ends = datetime(2031, 1, 1, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC)
    client.set_secret("a", "1", tags={"k": "v"}, content_type="text/plain", not_before=begins, expires_on=ends)
    found = client.get_secret("a").properties
    assert (found.tags, found.content_type, found.enabled) == ({"k": "v"}, "text/plain", True)
    assert (found.not_before, found.expires_on) == (begins, ends)
    assert (found.recovery_level, found.recoverable_days) == ("Recoverable+Purgeable", 90)


def test_a_new_version_takes_over_no_tags_and_no_content_type(client: SecretClient) -> None:
    client.set_secret("a", "1", tags={"k": "v"}, content_type="text/plain")
    client.set_secret("a", "2")
    assert client.get_secret("a").properties.tags is None
    assert client.get_secret("a").properties.content_type is None


def test_properties_change_without_a_new_version(client: SecretClient, clock: Clock) -> None:
    made = client.set_secret("a", "1", tags={"k": "v"})
    clock.now += 10
    changed = client.update_secret_properties("a", content_type="text/plain")
    assert (changed.version, changed.tags) == (made.properties.version, {"k": "v"})
    assert changed.updated_on
    assert changed.created_on
    assert (changed.updated_on - changed.created_on).seconds == 10
    assert client.update_secret_properties("a", made.properties.version, tags={}).tags == {}
    assert client.get_secret("a").value == "1"


def test_a_disabled_secret_is_forbidden_and_still_listed(client: SecretClient) -> None:
    client.set_secret("a", "1")
    client.update_secret_properties("a", enabled=False)
    with pytest.raises(HttpResponseError) as caught:
        client.get_secret("a")
    assert (caught.value.status_code, inner_code_of(caught.value)) == (403, "SecretDisabled")
    assert [found.enabled for found in client.list_properties_of_secrets()] == [False]


def test_a_secret_outside_its_dates_is_served(client: SecretClient) -> None:
    client.set_secret("a", "1", expires_on=datetime(2001, 1, 1, tzinfo=UTC))
    assert client.get_secret("a").value == "1"


def test_names_are_the_same_in_either_case(client: SecretClient) -> None:
    client.set_secret("Api-Key", "1")
    client.set_secret("api-key", "2")
    assert client.get_secret("API-KEY").value == "2"
    assert [found.name for found in client.list_properties_of_secrets()] == ["Api-Key"]


@pytest.mark.parametrize("name", ["a_b", "a.b", "é", "a" * 128])
def test_an_illegal_name_is_a_bad_parameter(client: SecretClient, name: str) -> None:
    with pytest.raises(HttpResponseError) as caught:
        client.set_secret(name, "1")
    assert (caught.value.status_code, code_of(caught.value)) == (400, "BadParameter")


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ("x" * 25_601, None),
        ("é" * 12_801, None),
        ("1", {f"k{number}": "v" for number in range(16)}),
        ("1", {"k" * 257: "v"}),
        ("1", {"k": "v" * 257}),
    ],
)
def test_what_is_over_a_limit_is_a_bad_parameter(client: SecretClient, value: str, tags: dict[str, str] | None) -> None:
    with pytest.raises(HttpResponseError) as caught:
        client.set_secret("a", value, tags=tags)
    assert (caught.value.status_code, code_of(caught.value)) == (400, "BadParameter")
    with pytest.raises(ResourceNotFoundError):
        client.get_secret("a")


def test_what_is_just_within_the_limits_is_taken(client: SecretClient) -> None:
    tags = {f"{number:0256}": "v" * 256 for number in range(15)}
    assert client.set_secret("a" * 127, "x" * 25_600, tags=tags).properties.tags == tags


def test_what_is_absent_is_not_found(client: SecretClient) -> None:
    made = client.set_secret("there", "1")
    for attempt in (
        lambda: client.get_secret("absent"),
        lambda: client.get_secret("there", "0" * 32),
        lambda: client.update_secret_properties("absent", enabled=False),
        lambda: client.begin_delete_secret("absent"),
        lambda: client.get_deleted_secret("there"),
        lambda: client.purge_deleted_secret("there"),
        lambda: client.begin_recover_deleted_secret("there"),
        lambda: client.backup_secret("absent"),
    ):
        with pytest.raises(ResourceNotFoundError) as caught:
            attempt()
        assert code_of(caught.value) == "SecretNotFound"
    assert list(client.list_properties_of_secret_versions("absent")) == []
    assert made.value == "1"


def test_listings_come_in_pages_of_25(client: SecretClient) -> None:
    names = [f"s{number:02}" for number in range(60)]
    for name in names:
        client.set_secret(name, "1", tags={"k": name})
    pages = [list(page) for page in client.list_properties_of_secrets().by_page()]
    assert [len(page) for page in pages] == [25, 25, 10]
    assert [found.name for page in pages for found in page] == names
    assert all(found.version is None and found.tags == {"k": found.name} for page in pages for found in page)
    small = [list(page) for page in client.list_properties_of_secrets(max_page_size=20).by_page()]
    assert [len(page) for page in small] == [20, 20, 20]


@pytest.mark.parametrize("size", ["0", "26", "-1", "x"])
def test_a_page_size_out_of_range_is_a_bad_parameter(call: Call, size: str) -> None:
    assert error_in(call("GET", f"/secrets?api-version=7.6&maxresults={size}")) == (400, "BadParameter")


# soft delete


def test_a_deleted_name_is_refused_until_it_is_recovered(client: SecretClient) -> None:
    client.set_secret("a", "1", tags={"k": "v"})
    client.set_secret("a", "2", tags={"k": "w"})
    deleted = client.begin_delete_secret("a").result()
    assert deleted.recovery_id == f"{client.vault_url}/deletedsecrets/a"
    with pytest.raises(ResourceNotFoundError):
        client.get_secret("a")
    with pytest.raises(ResourceExistsError) as caught:
        client.set_secret("a", "3")
    assert (code_of(caught.value), inner_code_of(caught.value)) == ("Conflict", "ObjectIsDeletedButRecoverable")
    assert client.get_deleted_secret("a").properties.tags == {"k": "w"}
    assert [found.name for found in client.list_deleted_secrets()] == ["a"]
    assert list(client.list_properties_of_secrets()) == []
    client.begin_recover_deleted_secret("a").wait()
    assert client.get_secret("a").value == "2"
    assert len(list(client.list_properties_of_secret_versions("a"))) == 2


def test_a_deleted_name_is_refused_until_it_is_purged(client: SecretClient) -> None:
    client.set_secret("a", "1")
    client.begin_delete_secret("a").wait()
    client.purge_deleted_secret("a")
    with pytest.raises(ResourceNotFoundError):
        client.get_deleted_secret("a")
    client.set_secret("a", "2")
    assert len(list(client.list_properties_of_secret_versions("a"))) == 1


@pytest.mark.parametrize("settle", [5.0])
def test_deleting_and_recovering_take_their_time(client: SecretClient, clock: Clock) -> None:
    client.set_secret("a", "1")
    client.begin_delete_secret("a")
    for attempt in (
        lambda: client.set_secret("a", "2"),
        lambda: client.begin_recover_deleted_secret("a"),
        lambda: client.purge_deleted_secret("a"),
    ):
        with pytest.raises(ResourceExistsError) as caught:
            attempt()
        assert inner_code_of(caught.value) == "ObjectIsBeingDeleted"
    with pytest.raises(ResourceNotFoundError):
        client.get_deleted_secret("a")
    clock.now += 5
    client.begin_recover_deleted_secret("a")
    with pytest.raises(ResourceNotFoundError):
        client.get_secret("a")
    with pytest.raises(ResourceExistsError) as caught:
        client.set_secret("a", "2")
    assert inner_code_of(caught.value) == "ObjectIsBeingRecovered"
    clock.now += 5
    assert client.get_secret("a").value == "1"


@pytest.mark.parametrize("settle", [5.0])
def test_a_purge_takes_its_time_before_the_name_is_free(client: SecretClient, clock: Clock) -> None:
    client.set_secret("a", "1")
    client.begin_delete_secret("a")
    clock.now += 5
    client.purge_deleted_secret("a")
    with pytest.raises(ResourceNotFoundError):
        client.get_deleted_secret("a")
    assert list(client.list_deleted_secrets()) == []
    with pytest.raises(ResourceExistsError) as caught:
        client.set_secret("a", "2")
    assert inner_code_of(caught.value) == "ObjectIsBeingDeleted"
    clock.now += 5
    client.set_secret("a", "2")
    assert len(list(client.list_properties_of_secret_versions("a"))) == 1


def test_a_vault_with_purge_protection_refuses_to_purge_and_says_so_beforehand(pki: Path, tmp_path: Path) -> None:
    emulator = Emulator(tmp_path / "protected", DIRECTORY, purge_protection=True)
    with (
        Server(emulator, pki / "cert.pem", pki / "key.pem") as vault,
        credential(pki, vault.url) as signed_in,
        client_for(pki, vault.url, signed_in) as client,
    ):
        assert client.set_secret("a", "1").properties.recovery_level == "Recoverable"
        client.begin_delete_secret("a").wait()
        with pytest.raises(HttpResponseError, match="purge protection") as caught:
            client.purge_deleted_secret("a")
        assert (caught.value.status_code, code_of(caught.value)) == (403, "Forbidden")
        assert client.get_deleted_secret("a").properties.recovery_level == "Recoverable"


def test_a_deleted_secret_is_gone_after_90_days(pki: Path, vault: Server, clock: Clock) -> None:
    with credential(pki, vault.url) as signed_in, client_for(pki, vault.url, signed_in) as before:
        before.set_secret("a", "1")
        purge = before.begin_delete_secret("a").result().scheduled_purge_date
    assert purge is not None
    assert purge.timestamp() == clock.now + 90 * DAY
    clock.now += 90 * DAY
    with credential(pki, vault.url) as signed_in, client_for(pki, vault.url, signed_in) as after:
        assert list(after.list_deleted_secrets()) == []
        after.set_secret("a", "2")


# backup


def test_a_backup_brings_every_version_back(client: SecretClient) -> None:
    first = client.set_secret("a", "1", tags={"k": "v"}).properties.version
    client.set_secret("a", "2")
    backup = client.backup_secret("a")
    assert b'"2"' not in backup
    with pytest.raises(ResourceExistsError):
        client.restore_secret_backup(backup)
    client.begin_delete_secret("a").wait()
    with pytest.raises(ResourceExistsError):
        client.restore_secret_backup(backup)
    client.purge_deleted_secret("a")
    client.restore_secret_backup(backup)
    assert client.get_secret("a").value == "2"
    assert client.get_secret("a", first).properties.tags == {"k": "v"}


def test_a_broken_backup_is_a_bad_parameter(client: SecretClient) -> None:
    with pytest.raises(HttpResponseError) as caught:
        client.restore_secret_backup(b"nonsense")
    assert (caught.value.status_code, code_of(caught.value)) == (400, "BadParameter")


# throttling


def test_calls_above_the_limit_are_told_when_to_come_back(vault: Server, call: Call) -> None:
    vault.emulator.throttle.limit(Limits(requests=3, creates=1))
    assert call("PUT", "/secrets/a", {"value": "1"}).status_code == 200
    refused = call("PUT", "/secrets/a", {"value": "2"})
    assert error_in(refused) == (429, "Throttled")
    assert 1 <= int(refused.headers["Retry-After"]) <= 10
    assert [call("GET", "/secrets/a").status_code for _ in range(3)] == [200, 200, 429]
    vault.emulator.throttle.limit(Limits())
    assert call("GET", "/secrets/a").json()["value"] == "1"


# keys


def test_a_key_wraps_and_unwraps_across_rotations(call: Call) -> None:
    made = call("POST", "/keys/k/create", {"kty": "RSA", "key_size": 2048}).json()["key"]
    assert made["kty"] == "RSA"
    assert "d" not in made
    old = made["kid"].rpartition("/")[2]
    content = {"alg": "RSA-OAEP-256", "value": "c2VjcmV0LWtleS0wMTIzNA"}
    wrapped = call("POST", f"/keys/k/{old}/wrapkey", content).json()
    assert wrapped["kid"] == made["kid"]
    rotated = call("POST", "/keys/k/rotate").json()["key"]
    assert rotated["n"] != made["n"]
    assert call("GET", "/keys/k").json()["key"]["kid"] == rotated["kid"]
    assert len(call("GET", "/keys/k/versions").json()["value"]) == 2
    operands = {"alg": "RSA-OAEP-256", "value": wrapped["value"]}
    assert call("POST", f"/keys/k/{old}/unwrapkey", operands).json()["value"] == content["value"]
    new = rotated["kid"].rpartition("/")[2]
    assert error_in(call("POST", f"/keys/k/{new}/unwrapkey", operands)) == (400, "BadParameter")


def test_a_key_rotates_by_itself_as_its_policy_says(call: Call, vault: Server, pki: Path, clock: Clock) -> None:
    first = call("POST", "/keys/k/create", {"kty": "EC", "crv": "P-256"}).json()["key"]["kid"]
    assert call("GET", "/keys/k/rotationpolicy").json()["lifetimeActions"][0]["action"] == {"type": "Notify"}
    rotate = {"trigger": {"timeAfterCreate": "P60D"}, "action": {"type": "Rotate"}}
    policy = {"lifetimeActions": [rotate], "attributes": {"expiryTime": "P90D"}}
    stored = call("PUT", "/keys/k/rotationpolicy", policy).json()
    assert stored["lifetimeActions"] == [rotate]
    assert stored["attributes"]["expiryTime"] == "P90D"
    assert call("GET", "/keys/k").json()["key"]["kid"] == first
    clock.now += 60 * DAY
    with credential(pki, vault.url) as signed_in:
        headers = {"Authorization": f"Bearer {signed_in.get_token(SCOPE).token}"}
    renewed = call("GET", "/keys/k", headers=headers).json()
    assert renewed["key"]["kid"] != first
    assert renewed["attributes"]["exp"] == clock.now + 90 * DAY


@pytest.mark.parametrize(
    "policy",
    [
        {"attributes": {"expiryTime": "P27D"}},
        {"attributes": {"expiryTime": "soon"}},
        {"lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Explode"}}]},
        {"lifetimeActions": ["rotate"]},
    ],
)
def test_a_senseless_rotation_policy_is_a_bad_parameter(call: Call, policy: object) -> None:
    call("POST", "/keys/k/create", {"kty": "EC"})
    assert error_in(call("PUT", "/keys/k/rotationpolicy", policy)) == (400, "BadParameter")


def test_keys_are_deleted_recoverably_and_refuse_what_they_are_not_for(call: Call) -> None:
    assert error_in(call("POST", "/keys/k/create", {"kty": "oct"})) == (400, "BadParameter")
    key = call("POST", "/keys/k/create", {"kty": "RSA", "key_ops": ["unwrapKey"]}).json()["key"]["kid"]
    version = key.rpartition("/")[2]
    operands = {"alg": "RSA-OAEP-256", "value": "AAAA"}
    assert error_in(call("POST", f"/keys/k/{version}/wrapkey", operands)) == (403, "Forbidden")
    assert call("PATCH", f"/keys/k/{version}", {"attributes": {"enabled": False}}).status_code == 200
    assert error_in(call("POST", f"/keys/k/{version}/unwrapkey", operands)) == (403, "Forbidden")
    assert call("DELETE", "/keys/k").json()["recoveryId"].endswith("/deletedkeys/k")
    assert error_in(call("GET", "/keys/k")) == (404, "KeyNotFound")
    assert error_in(call("POST", "/keys/k/create", {"kty": "RSA"})) == (409, "Conflict")
    assert [item["kid"] for item in call("GET", "/deletedkeys").json()["value"]] == [key.rpartition("/")[0]]
    assert call("POST", "/deletedkeys/k/recover").status_code == 200
    assert call("GET", "/keys/k").json()["key"]["kid"] == key


# the process


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "VAULT_CLIENT_SECRET": "writer's secret"}


def command(pki: Path, data: Path, port: int) -> list[str]:
    files = ["--cert", str(pki / "cert.pem"), "--key", str(pki / "key.pem"), "--data", str(data)]
    directory = ["--tenant-id", TENANT, "--client-id", "writer", "--client-secret-env", "VAULT_CLIENT_SECRET"]
    return [
        sys.executable,
        "-m",
        "local.emulators.azure_key_vault",
        "--port",
        str(port),
        *files,
        *directory,
    ]


def test_a_restarted_vault_still_holds_everything(pki: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    data, port, value = tmp_path / "vault", free_port(), "kept between starts"
    tags = {"k": "v"}
    for start in range(2):
        with subprocess.Popen(
            command(pki, data, port), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            url = f"https://localhost:{port}"
            with credential(pki, url) as signed_in, client_for(pki, url, signed_in) as client:
                if start == 0:
                    client.set_secret("a", value, tags=tags)
                assert client.get_secret("a").value == value
                assert client.get_secret("a").properties.tags == tags
                process.send_signal(signal.SIGTERM)
                out, err = process.communicate(timeout=10)
            assert (process.returncode, out, err) == (0, "", "")
    assert {path.stat().st_mode & 0o777 for path in data.iterdir()} == {0o600}
    assert data.stat().st_mode & 0o777 == 0o700


def test_a_port_in_use_is_told_in_one_line(pki: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            command(pki, tmp_path, port), env=environment, capture_output=True, text=True, timeout=30, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == f"azure-key-vault: can't serve on 127.0.0.1:{port}: Address already in use\n"


def test_a_missing_client_secret_is_told_in_one_line(pki: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    del environment["VAULT_CLIENT_SECRET"]
    ended = subprocess.run(
        command(pki, tmp_path, free_port()), env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "VAULT_CLIENT_SECRET" in ended.stderr


def test_the_command_line_describes_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WRITER", "READER", "IDENTITY_HEADER"):
        monkeypatch.setenv(variable, f"{variable}'s secret")
    given = ["--port", "1", "--cert", "c", "--key", "k", "--data", "d", "--tenant-id", TENANT]
    given += ["--client-id", "writer", "--client-secret-env", "WRITER"]
    given += ["--reader-client-id", "reader", "--reader-client-secret-env", "READER"]
    applications = (
        Application("writer", "WRITER's secret", ADMINISTRATOR),
        Application("reader", "READER's secret", SECRETS_USER),
    )
    assert directory(arguments(given)) == Directory(TENANT, applications, "IDENTITY_HEADER's secret")
