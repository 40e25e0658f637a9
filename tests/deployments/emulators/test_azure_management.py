"""The local Graph, Resource Manager and storage refuse and answer as the services' documentation says."""

import base64
import hmac
import os
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.identity import ClientSecretCredential

from local.emulators.azure_key_vault import Limits
from local.emulators.azure_management import AzureManagement, Caller, Registration, StorageAccount
from local.emulators.azure_management.directory import ALL_APPLICATIONS, READ_APPLICATIONS, stamp
from local.emulators.azure_management.storage import KEY_ROTATION, READ

CALLERS = (
    Caller("admin", "the secret of admin", frozenset({ALL_APPLICATIONS}) | KEY_ROTATION),
    Caller("reader", "the secret of reader", frozenset({READ_APPLICATIONS, READ})),
)
API = "api-version=2023-05-01"


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureManagement]:
    with AzureManagement(tmp_path_factory.mktemp("azure"), callers=CALLERS) as services:
        yield services


@pytest.fixture(autouse=True)
def at_once(azure: AzureManagement) -> Iterator[None]:
    """No delay and no limit outlives a test."""
    yield
    azure.emulator.throttle.limit(Limits())
    for name in ("secrets", "reads", "keys", "listing", "ended"):
        setattr(azure.emulator.delays, name, 0)


@pytest.fixture
def app(azure: AzureManagement) -> Registration:
    return azure.emulator.register(Registration(owners=frozenset({"keyturn"})))


@pytest.fixture
def account(azure: AzureManagement) -> StorageAccount:
    return azure.emulator.create(StorageAccount(f"local{os.urandom(5).hex()}"))


Call = Callable[..., requests.Response]


@pytest.fixture
def call(azure: AzureManagement) -> Call:
    """Sends one request as a caller, by default as Keyturn."""

    def send(method: str, path: str, document: object = None, caller: str = "keyturn", **more: Any) -> Any:
        token = token_of(azure, caller, azure.callers[caller].secret)
        headers = {"Authorization": f"Bearer {token}"}
        options = {"json": document, "headers": headers, "verify": azure.ca_file, **more}
        return requests.request(method, f"{azure.url}/{path}", timeout=10, **options)

    return send


def token_of(azure: AzureManagement, client: str, secret: str) -> str:
    with ClientSecretCredential(
        azure.tenant_id,
        client,
        secret,
        authority=azure.url,
        disable_instance_discovery=True,
        connection_verify=azure.ca_file,
        retry_total=0,
    ) as credential:
        return credential.get_token(f"{azure.url}/.default").token


def login(azure: AzureManagement, client: str, secret: str) -> list[int]:
    """The numbers that Entra ID gives for a refusal; none where it gives a token."""
    scope = f"{azure.url}/.default"
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret, "scope": scope}
    where = f"{azure.url}/{azure.tenant_id}/oauth2/v2.0/token"
    answer = requests.post(where, data=form, verify=azure.ca_file, timeout=10).json()
    return list(answer.get("error_codes", []))


def by_app_id(app: Registration, action: str = "") -> str:
    return f"v1.0/applications(appId='{app.app_id}'){action}"


def error_in(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# Microsoft Graph


def test_a_new_secret_is_shown_once_and_signs_in(azure: AzureManagement, app: Registration, call: Call) -> None:
    asked = {"passwordCredential": {"displayName": "mine", "endDateTime": "2099-01-01T00:00:00Z"}}
    made = call("POST", by_app_id(app, "/addPassword"), asked).json()
    assert (made["displayName"], made["endDateTime"]) == ("mine", "2099-01-01T00:00:00Z")
    assert made["hint"] == made["secretText"][:3]
    assert login(azure, app.app_id, made["secretText"]) == []
    assert token_of(azure, app.app_id, made["secretText"])
    (told,) = call("GET", by_app_id(app)).json()["passwordCredentials"]
    assert told == {**made, "secretText": None}


def test_an_application_is_found_by_either_id_and_told_in_part(app: Registration, call: Call) -> None:
    found = call("GET", f"v1.0/applications/{app.id}?$select=appId,signInAudience").json()
    assert {name: found[name] for name in found if not name.startswith("@")} == {
        "appId": app.app_id,
        "signInAudience": "AzureADMyOrg",
    }
    assert error_in(call("GET", by_app_id(app, "?$select=nothing"))) == (400, "Request_BadRequest")
    assert error_in(call("GET", f"v1.0/applications/{app.app_id}")) == (404, "Request_ResourceNotFound")


def test_a_removed_secret_is_refused_and_unknown_from_then_on(
    azure: AzureManagement, app: Registration, call: Call
) -> None:
    made = call("POST", by_app_id(app, "/addPassword"), {}).json()
    gone = {"keyId": made["keyId"]}
    assert call("POST", by_app_id(app, "/removePassword"), gone).status_code == 204
    assert error_in(call("POST", by_app_id(app, "/removePassword"), gone)) == (400, "Request_BadRequest")
    assert login(azure, app.app_id, made["secretText"]) == [7000215]


def test_an_expired_secret_is_told_from_a_wrong_one(azure: AzureManagement, app: Registration) -> None:
    password = app.add(None, stamp(0), stamp(1), 0)
    assert login(azure, app.app_id, password.secret) == [7000222]
    assert login(azure, app.app_id, "wr0ng") == [7000215]
    assert login(azure, "nobody", "wr0ng") == [700016]


def test_a_secret_is_late_at_the_sign_in_and_in_reads(azure: AzureManagement, app: Registration, call: Call) -> None:
    azure.emulator.delays.secrets = azure.emulator.delays.reads = 100
    made = call("POST", by_app_id(app, "/addPassword"), {}).json()
    assert login(azure, app.app_id, made["secretText"]) == [7000215]
    assert call("GET", by_app_id(app)).json()["passwordCredentials"] == []
    assert call("POST", by_app_id(app, "/removePassword"), {"keyId": made["keyId"]}).status_code == 400
    azure.emulator.delays.secrets = azure.emulator.delays.reads = 0
    assert login(azure, app.app_id, made["secretText"]) == []


def test_a_removed_secret_is_taken_a_while_longer_where_that_is_asked_for(
    azure: AzureManagement, app: Registration, call: Call
) -> None:
    azure.emulator.delays.ended = 100
    made = call("POST", by_app_id(app, "/addPassword"), {}).json()
    call("POST", by_app_id(app, "/removePassword"), {"keyId": made["keyId"]})
    assert login(azure, app.app_id, made["secretText"]) == []
    assert call("GET", by_app_id(app)).json()["passwordCredentials"] == []
    azure.emulator.delays.ended = 0
    assert login(azure, app.app_id, made["secretText"]) == [7000215]


def test_dates_that_do_not_fit_are_refused(app: Registration, call: Call) -> None:
    for end in ("tomorrow", "1999-01-01T00:00:00Z"):
        asked = {"passwordCredential": {"endDateTime": end}}
        assert error_in(call("POST", by_app_id(app, "/addPassword"), asked)) == (400, "Request_BadRequest")
    assert app.passwords == []


def test_owners_change_their_applications_and_readers_none(azure: AzureManagement, call: Call) -> None:
    theirs = azure.emulator.register(Registration())
    denied = (403, "Authorization_RequestDenied")
    assert error_in(call("GET", by_app_id(theirs))) == denied
    assert error_in(call("POST", by_app_id(theirs, "/addPassword"), {})) == denied
    assert call("GET", by_app_id(theirs), caller="reader").status_code == 200
    assert error_in(call("POST", by_app_id(theirs, "/addPassword"), {}, caller="reader")) == denied
    assert call("POST", by_app_id(theirs, "/addPassword"), {}, caller="admin").status_code == 200


def test_a_call_without_a_token_or_with_an_applications_own_is_refused(
    azure: AzureManagement, app: Registration, call: Call
) -> None:
    bare = {"headers": {"Authorization": ""}}
    assert error_in(call("GET", by_app_id(app), **bare)) == (401, "InvalidAuthenticationToken")
    assert error_in(call("GET", f"subscriptions/x?{API}", **bare)) == (401, "AuthenticationFailed")
    made = call("POST", by_app_id(app, "/addPassword"), {}).json()
    own = {"headers": {"Authorization": f"Bearer {token_of(azure, app.app_id, made['secretText'])}"}}
    assert error_in(call("POST", by_app_id(app, "/addPassword"), {}, **own)) == (403, "Authorization_RequestDenied")


def test_what_is_not_there_is_not_found_or_not_allowed(app: Registration, call: Call) -> None:
    assert error_in(call("DELETE", by_app_id(app)))[0] == 405
    assert error_in(call("POST", by_app_id(app, "/addPassword"), data="{")) == (400, "BadRequest")
    assert error_in(call("GET", "v2.1/other"))[0] == 404


def test_too_many_calls_are_refused_with_the_seconds_to_wait(
    azure: AzureManagement, app: Registration, call: Call
) -> None:
    azure.emulator.throttle.limit(Limits(requests=1))
    assert call("GET", by_app_id(app)).status_code == 200
    refused = call("GET", by_app_id(app))
    assert error_in(refused) == (429, "TooManyRequests")
    assert 0 < int(refused.headers["Retry-After"]) <= 10


# Azure Resource Manager


def arm(azure: AzureManagement, account: StorageAccount, action: str = "", query: str = API) -> str:
    scope = f"subscriptions/{azure.subscription}/resourceGroups/{account.group}"
    return f"{scope}/providers/Microsoft.Storage/storageAccounts/{account.name}{action}?{query}"


def test_a_regenerated_key_is_new_and_the_other_stays(
    azure: AzureManagement, account: StorageAccount, call: Call
) -> None:
    before = call("POST", arm(azure, account, "/listKeys")).json()["keys"]
    after = call("POST", arm(azure, account, "/regenerateKey"), {"keyName": "key2"}).json()["keys"]
    assert [key["keyName"] for key in before] == [key["keyName"] for key in after] == ["key1", "key2"]
    assert before[0] == after[0]
    assert before[1]["value"] != after[1]["value"]
    assert before[1]["creationTime"] is None
    assert after[1]["creationTime"].endswith("Z")
    assert {len(base64.b64decode(key["value"])) for key in (*before, *after)} == {64}


def test_a_call_says_which_interface_it_means(azure: AzureManagement, account: StorageAccount, call: Call) -> None:
    assert error_in(call("GET", arm(azure, account, query=""))) == (400, "MissingApiVersionParameter")
    old = call("GET", arm(azure, account, query="api-version=1999-01-01"))
    assert error_in(old) == (400, "NoRegisteredProviderFound")


def test_keys_are_posted_for_and_named(azure: AzureManagement, account: StorageAccount, call: Call) -> None:
    assert error_in(call("GET", arm(azure, account, "/listKeys"))) == (405, "HttpMethodNotAllowed")
    assert error_in(call("POST", arm(azure, account, "/regenerateKey"), {"keyName": "key3"}))[0] == 400
    assert error_in(call("POST", arm(azure, account, "/regenerateKey"), [])) == (400, "BadRequest")


def test_an_account_elsewhere_is_not_found(azure: AzureManagement, account: StorageAccount, call: Call) -> None:
    assert error_in(call("GET", arm(azure, StorageAccount("absent")))) == (404, "ResourceNotFound")
    assert error_in(call("GET", arm(azure, StorageAccount(account.name, "other")))) == (404, "ResourceNotFound")
    there = arm(azure, account).replace(azure.subscription, "another")
    assert error_in(call("GET", there)) == (404, "SubscriptionNotFound")
    assert error_in(call("GET", f"subscriptions/{azure.subscription}?{API}"))[0] == 404


def test_each_action_needs_its_permission(azure: AzureManagement, account: StorageAccount, call: Call) -> None:
    assert call("GET", arm(azure, account), caller="reader").status_code == 200
    for action, document in (("/listKeys", None), ("/regenerateKey", {"keyName": "key1"})):
        refused = call("POST", arm(azure, account, action), document, caller="reader")
        assert error_in(refused) == (403, "AuthorizationFailed")


def test_a_locked_account_can_be_seen_and_not_changed(azure: AzureManagement, call: Call) -> None:
    locked = azure.emulator.create(StorageAccount("locked", locked=True))
    assert call("GET", arm(azure, locked)).status_code == 200
    assert error_in(call("POST", arm(azure, locked, "/listKeys"))) == (409, "ScopeLocked")


def test_an_account_tells_whether_keys_are_allowed_only_where_somebody_said_so(
    azure: AzureManagement, account: StorageAccount, call: Call
) -> None:
    assert "allowSharedKeyAccess" not in call("GET", arm(azure, account)).json()["properties"]
    account.shared_keys = False
    assert call("GET", arm(azure, account)).json()["properties"]["allowSharedKeyAccess"] is False


# the blob service


def listed(azure: AzureManagement, account: StorageAccount, key: str, **changes: str) -> requests.Response:
    """List Containers, signed by the rules of the documentation, with headers changed after signing."""
    headers = {"x-ms-date": changes.pop("date", formatdate(usegmt=True)), "x-ms-version": "2021-08-06"}
    own = "".join(f"{name}:{text}\n" for name, text in sorted(headers.items()))
    message = "GET" + "\n" * 12 + f"{own}/{account.name}/blob/{account.name}/\ncomp:list\nprefix:a b"
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), message.encode(), "sha256")).decode()
    whole = {**headers, "Authorization": f"SharedKey {account.name}:{signature}", **changes}
    where = f"{azure.url}/blob/{account.name}/?comp=list&prefix=a%20b"
    return requests.get(where, headers=whole, verify=azure.ca_file, timeout=10)


def code_of(answer: requests.Response) -> tuple[int, str]:
    assert f"<Code>{answer.headers['x-ms-error-code']}</Code>" in answer.text
    return answer.status_code, answer.headers["x-ms-error-code"]


def test_either_key_signs_until_it_is_regenerated(azure: AzureManagement, account: StorageAccount, call: Call) -> None:
    keys = [key.value for key in account.keys.values()]
    answers = [listed(azure, account, key) for key in keys]
    assert [(answer.status_code, answer.headers["Content-Type"]) for answer in answers] == [
        (200, "application/xml")
    ] * 2
    call("POST", arm(azure, account, "/regenerateKey"), {"keyName": "key1"})
    assert code_of(listed(azure, account, keys[0])) == (403, "AuthenticationFailed")
    assert listed(azure, account, keys[1]).status_code == 200


def test_what_was_changed_after_signing_is_refused(azure: AzureManagement, account: StorageAccount) -> None:
    key = account.keys["key1"].value
    for changed in ({"x-ms-version": "2019-12-12"}, {"If-Match": "*"}, {"Authorization": "SharedKey"}):
        assert code_of(listed(azure, account, key, **changed)) == (403, "AuthenticationFailed")


def test_a_request_of_long_ago_is_refused(azure: AzureManagement, account: StorageAccount) -> None:
    key = account.keys["key1"].value
    assert code_of(listed(azure, account, key, date=formatdate(0, usegmt=True)))[0] == 403
    assert code_of(listed(azure, account, key, date="now"))[0] == 403


def test_a_new_key_takes_effect_late(azure: AzureManagement, account: StorageAccount, call: Call) -> None:
    azure.emulator.delays.keys = 100
    call("POST", arm(azure, account, "/regenerateKey"), {"keyName": "key1"})
    assert code_of(listed(azure, account, account.keys["key1"].value)) == (403, "AuthenticationFailed")
    assert listed(azure, account, account.keys["key2"].value).status_code == 200


def test_an_old_key_is_taken_a_while_longer_where_that_is_asked_for(
    azure: AzureManagement, account: StorageAccount, call: Call
) -> None:
    azure.emulator.delays.ended, old = 100, account.keys["key1"].value
    call("POST", arm(azure, account, "/regenerateKey"), {"keyName": "key1"})
    assert listed(azure, account, old).status_code == 200
    assert listed(azure, account, account.keys["key1"].value).status_code == 200
    azure.emulator.delays.ended = 0
    assert code_of(listed(azure, account, old)) == (403, "AuthenticationFailed")


def test_a_closed_account_says_why(azure: AzureManagement, account: StorageAccount) -> None:
    key = account.keys["key1"].value
    account.shared_keys = False
    assert code_of(listed(azure, account, key)) == (403, "KeyBasedAuthenticationNotPermitted")
    account.firewall = True
    assert code_of(listed(azure, account, key)) == (403, "AuthorizationFailure")


def test_it_starts_again_at_its_port_with_its_certificate(tmp_path: Path) -> None:
    with AzureManagement(tmp_path) as first:
        url = first.url
    with AzureManagement(tmp_path, int(url.rpartition(":")[2])) as second:
        assert second.url == url
        assert token_of(second, "keyturn", second.environment()["AZURE_CLIENT_SECRET"])
