"""The local Google Cloud IAM: it behaves as the services are documented, and refuses what they refuse."""

import base64
import json
import secrets
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import load_pem_x509_certificate

from local.emulators.gcp_iam import LocalGcpIam, certificates
from local.support.ports import free_port

pytestmark = pytest.mark.sampled(4, of="file")

PROJECT = "ml-project"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
METRIC = "iam.googleapis.com/service_account/key/authn_events_count"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGcpIam]:
    with LocalGcpIam(tmp_path_factory.mktemp("gcp-iam"), free_port()) as running:
        yield running


def ask(server: LocalGcpIam, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """One call, below ``/v1/projects/ml-project/serviceAccounts`` unless the path is whole."""
    if not path.startswith("/v"):
        path = f"/v1/projects/{PROJECT}/serviceAccounts{path}"
    answer = requests.request(method, f"http://{server.endpoint}{path}", timeout=10, **more)
    return answer.status_code, answer.json()


def code_of(server: LocalGcpIam, method: str, path: str, **more: Any) -> tuple[int, str]:
    """How Google's documentation names this refusal."""
    status, told = ask(server, method, path, **more)
    error = told["error"]
    assert (error["code"], bool(error["message"])) == (status, True)
    return status, str(error["status"])


@pytest.fixture
def account(server: LocalGcpIam) -> str:
    status, told = ask(server, "POST", "", json={"accountId": f"app-{secrets.token_hex(4)}"})
    assert status == 200
    return str(told["email"])


def made(server: LocalGcpIam, account: str) -> dict[str, Any]:
    """A new key's file."""
    status, told = ask(server, "POST", f"/{account}/keys")
    assert status == 200
    found: dict[str, Any] = json.loads(base64.b64decode(told["privateKeyData"]))
    return found


def key(account: str, key_file: dict[str, Any], verb: str = "") -> str:
    return f"/{account}/keys/{key_file['private_key_id']}{verb}"


def claims(key_file: dict[str, Any], **others: Any) -> dict[str, Any]:
    now = int(time.time())
    usual = {"iss": key_file["client_email"], "aud": key_file["token_uri"], "scope": "email"}
    return {**usual, "iat": now, "exp": now + 3600, **others}


def exchanged(
    key_file: dict[str, Any], signed_with: str | None = None, kid: str | None = None, **others: Any
) -> tuple[int, dict[str, Any]]:
    """What the token endpoint says to a JWT of these claims."""
    headers = {"kid": kid or key_file["private_key_id"]}
    assertion = jwt.encode(claims(key_file, **others), signed_with or key_file["private_key"], "RS256", headers)
    answer = requests.post(key_file["token_uri"], {"grant_type": GRANT, "assertion": assertion}, timeout=10)
    return answer.status_code, answer.json()


def certificate(private: rsa.RSAPrivateKey) -> str:
    return base64.b64encode(certificates.signed(private, "unused", None).encode()).decode()


@pytest.fixture(scope="module")
def own_pair() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


# accounts


def test_an_account_is_made_once_and_shown(server: LocalGcpIam, account: str) -> None:
    status, told = ask(server, "GET", f"/{account}")
    assert (status, told["email"], told["projectId"]) == (200, account, PROJECT)
    assert told == ask(server, "GET", f"/{told['uniqueId']}")[1]
    again = {"accountId": account.partition("@")[0]}
    assert code_of(server, "POST", "", json=again) == (409, "ALREADY_EXISTS")
    assert code_of(server, "POST", "", json={"accountId": "No"}) == (400, "INVALID_ARGUMENT")


def test_what_is_not_there_is_not_found_and_behind_the_wildcard_denied(server: LocalGcpIam, account: str) -> None:
    nobody = f"nobody@{PROJECT}.iam.gserviceaccount.com"
    assert code_of(server, "GET", f"/{nobody}/keys") == (404, "NOT_FOUND")
    assert code_of(server, "GET", f"/v1/projects/other/serviceAccounts/{account}") == (404, "NOT_FOUND")
    assert code_of(server, "GET", f"/v1/projects/-/serviceAccounts/{nobody}") == (403, "PERMISSION_DENIED")
    assert ask(server, "GET", f"/v1/projects/-/serviceAccounts/{account}")[0] == 200
    assert code_of(server, "DELETE", f"/{account}/keys/{'0' * 40}") == (404, "NOT_FOUND")
    assert code_of(server, "GET", "/v1/projects/other/buckets") == (404, "NOT_FOUND")
    assert code_of(server, "POST", f"/{account}:rename") == (404, "NOT_FOUND")


# keys


def test_a_new_key_is_told_whole_once(server: LocalGcpIam, account: str) -> None:
    status, told = ask(server, "POST", f"/{account}/keys")
    found = json.loads(base64.b64decode(told["privateKeyData"]))
    assert status == 200
    assert told["name"].endswith(f"/serviceAccounts/{account}/keys/{found['private_key_id']}")
    assert told["validBeforeTime"] == "9999-12-31T23:59:59Z"
    assert abs(datetime.fromisoformat(told["validAfterTime"]) - datetime.now(UTC)) < timedelta(minutes=1)
    shown = ask(server, "GET", key(account, found))[1]
    assert shown == {name: told[name] for name in shown}
    assert not {"privateKeyData", "publicKeyData", "disabled"} & shown.keys()


def test_a_list_can_be_narrowed_to_the_keys_that_people_made(server: LocalGcpIam, account: str) -> None:
    assert [one["keyType"] for one in ask(server, "GET", f"/{account}/keys")[1]["keys"]] == ["SYSTEM_MANAGED"]
    assert ask(server, "GET", f"/{account}/keys?keyTypes=USER_MANAGED") == (200, {})
    found = made(server, account)
    (listed,) = ask(server, "GET", f"/{account}/keys?keyTypes=USER_MANAGED")[1]["keys"]
    assert listed["name"].endswith(found["private_key_id"])
    assert len(ask(server, "GET", f"/{account}/keys")[1]["keys"]) == 2


def test_the_public_half_belongs_to_the_private_one(server: LocalGcpIam, account: str) -> None:
    found = made(server, account)
    told = ask(server, "GET", f"{key(account, found)}?publicKeyType=TYPE_X509_PEM_FILE")[1]
    public = load_pem_x509_certificate(base64.b64decode(told["publicKeyData"])).public_key()
    private = serialization.load_pem_private_key(found["private_key"].encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    assert public == private.public_key()


def test_an_eleventh_key_is_refused_and_one_of_googles_own_does_not_count(
    server: LocalGcpIam, account: str, own_pair: rsa.RSAPrivateKey
) -> None:
    document = {"publicKeyData": certificate(own_pair)}
    uploads = [ask(server, "POST", f"/{account}/keys:upload", json=document)[0] for _ in range(9)]
    found = made(server, account)
    assert uploads == [200] * 9
    assert code_of(server, "POST", f"/{account}/keys") == (400, "FAILED_PRECONDITION")
    assert code_of(server, "POST", f"/{account}/keys:upload", json=document) == (400, "FAILED_PRECONDITION")
    ask(server, "DELETE", key(account, found))
    made(server, account)


def test_an_uploaded_key_signs_in(server: LocalGcpIam, account: str, own_pair: rsa.RSAPrivateKey) -> None:
    status, told = ask(server, "POST", f"/{account}/keys:upload", json={"publicKeyData": certificate(own_pair)})
    assert (status, told["keyOrigin"], told["keyType"]) == (200, "USER_PROVIDED", "USER_MANAGED")
    pem = own_pair.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = {"client_email": account, "token_uri": f"http://{server.endpoint}/token", "private_key": pem.decode()}
    assert exchanged({**file, "private_key_id": told["name"].rpartition("/")[2]})[0] == 200


@pytest.mark.parametrize("given", [b"no certificate", b"", None])
def test_what_is_no_certificate_can_not_be_uploaded(server: LocalGcpIam, account: str, given: bytes | None) -> None:
    data = None if given is None else base64.b64encode(given).decode()
    document = {"publicKeyData": data}
    assert code_of(server, "POST", f"/{account}/keys:upload", json=document) == (400, "INVALID_ARGUMENT")


def test_googles_own_key_can_not_be_changed(server: LocalGcpIam, account: str) -> None:
    (own,) = ask(server, "GET", f"/{account}/keys")[1]["keys"]
    path = f"/{account}/keys/{own['name'].rpartition('/')[2]}"
    assert code_of(server, "DELETE", path) == (400, "FAILED_PRECONDITION")
    assert code_of(server, "POST", f"{path}:disable") == (400, "FAILED_PRECONDITION")


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"keyAlgorithm": "KEY_ALG_RSA_512"}', b'{"privateKeyType": "P12"}'])
def test_a_key_that_can_not_be_made_is_invalid(server: LocalGcpIam, account: str, body: bytes) -> None:
    assert code_of(server, "POST", f"/{account}/keys", data=body) == (400, "INVALID_ARGUMENT")


# signing in


def test_a_key_gets_a_token_whatever_name_it_gives_itself(server: LocalGcpIam, account: str) -> None:
    found = made(server, account)
    status, told = exchanged(found)
    assert (status, told["token_type"], told["expires_in"]) == (200, "Bearer", 3599)
    assert exchanged(found, kid="0" * 40)[0] == 200
    assert exchanged(found, aud="https://oauth2.googleapis.com/token")[0] == 200


def test_disabled_and_deleted_keys_get_none(server: LocalGcpIam, account: str) -> None:
    found = made(server, account)
    assert ask(server, "POST", key(account, found, ":disable")) == (200, {})
    assert ask(server, "GET", key(account, found))[1]["disabled"] is True
    assert exchanged(found) == (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
    assert ask(server, "POST", key(account, found, ":enable")) == (200, {})
    assert exchanged(found)[0] == 200
    assert ask(server, "DELETE", key(account, found)) == (200, {})
    assert exchanged(found)[1]["error"] == "invalid_grant"


def test_a_disabled_account_gets_none(server: LocalGcpIam, account: str) -> None:
    found = made(server, account)
    ask(server, "POST", f"/{account}:disable")
    assert exchanged(found)[1] == {"error": "invalid_grant", "error_description": "Robot is disabled."}
    ask(server, "POST", f"/{account}:enable")
    assert exchanged(found)[0] == 200


@pytest.mark.parametrize(
    "others",
    [
        {"iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600},
        {"exp": int(time.time()) + 86_400},
        {"iat": int(time.time()) + 3600, "exp": int(time.time()) + 7200},
        {"aud": "https://example.com/token"},
        {"iss": "nobody@ml-project.iam.gserviceaccount.com"},
        {"scope": ""},
    ],
)
def test_a_jwt_that_is_not_for_here_and_now_is_refused(
    server: LocalGcpIam, account: str, others: dict[str, Any]
) -> None:
    status, told = exchanged(made(server, account), **others)
    assert (status, told["error"]) == (400, "invalid_grant")


def test_another_signature_and_what_is_no_jwt_are_refused(server: LocalGcpIam, account: str) -> None:
    found = made(server, account)
    other = made(server, str(ask(server, "POST", "", json={"accountId": f"app-{secrets.token_hex(4)}"})[1]["email"]))
    assert exchanged(found, signed_with=other["private_key"])[1]["error_description"] == "Invalid JWT Signature."
    for given in ({"grant_type": GRANT, "assertion": "a.b.c"}, {"grant_type": GRANT}):
        assert requests.post(found["token_uri"], given, timeout=10).json()["error"] == "invalid_grant"
    told = requests.post(found["token_uri"], {"grant_type": "password"}, timeout=10).json()
    assert told["error"] == "unsupported_grant_type"
    unsigned = jwt.encode(claims(found), None, "none")  # type: ignore[arg-type]
    given = {"grant_type": GRANT, "assertion": unsigned}
    assert requests.post(found["token_uri"], given, timeout=10).json()["error"] == "invalid_grant"
    curve = ec.generate_private_key(ec.SECP256R1())
    given = {"grant_type": GRANT, "assertion": jwt.encode(claims(found), curve, "ES256")}
    assert requests.post(found["token_uri"], given, timeout=10).json()["error"] == "invalid_grant"


# uses


def points(server: LocalGcpIam, key_file: dict[str, Any], begin: datetime, end: datetime) -> list[Any]:
    query = {
        "filter": f'metric.type="{METRIC}" AND metric.labels.key_id="{key_file["private_key_id"]}"',
        "interval.startTime": begin.isoformat(),
        "interval.endTime": end.isoformat(),
    }
    status, told = ask(server, "GET", f"/v3/projects/{PROJECT}/timeSeries", params=query)
    assert status == 200
    return [point for series in told.get("timeSeries", []) for point in series["points"]]


def test_each_sign_in_is_counted_in_the_metric(server: LocalGcpIam, account: str) -> None:
    found, day = made(server, account), timedelta(days=1)
    began = datetime.now(UTC)
    assert points(server, found, began - day, began + day) == []
    exchanged(found)
    exchanged(found)
    exchanged(found, aud="https://example.com")
    told = points(server, found, began - day, datetime.now(UTC))
    assert sum(int(point["value"]["int64Value"]) for point in told) == 2
    assert all(began <= datetime.fromisoformat(point["interval"]["endTime"]) for point in told)
    assert points(server, found, began + day, began + 2 * day) == []


def test_another_metric_and_half_an_interval_are_invalid(server: LocalGcpIam) -> None:
    path = f"/v3/projects/{PROJECT}/timeSeries"
    for query in ({}, {"filter": 'metric.type="other"'}, {"filter": f'metric.type="{METRIC}"'}):
        assert code_of(server, "GET", path, params=query) == (400, "INVALID_ARGUMENT")
    half = {"filter": f'metric.type="{METRIC}" AND metric.labels.key_id="x"', "interval.startTime": "2026-01-01"}
    assert code_of(server, "GET", path, params=half) == (400, "INVALID_ARGUMENT")


# the process


def test_accounts_and_keys_outlast_a_restart_and_no_private_key_is_kept(tmp_path: Path) -> None:
    account = f"app@{PROJECT}.iam.gserviceaccount.com"
    server = LocalGcpIam(tmp_path / "data", free_port(), f"--service-account={account}")
    with server:
        found = made(server, account)
    with server:
        assert exchanged(found)[0] == 200
    kept = [path for path in server.directory.iterdir() if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    line = found["private_key"].splitlines()[3].encode()
    assert not [path.name for path in kept if line in path.read_bytes()]


def test_it_can_be_told_to_wait_to_end_keys_and_to_deny(tmp_path: Path) -> None:
    account = f"app@{PROJECT}.iam.gserviceaccount.com"
    conduct = ("--key-settle-seconds=1", "--key-life-hours=2", "--deny=iam.serviceAccountKeys.disable")
    with LocalGcpIam(tmp_path, free_port(), f"--service-account={account}", *conduct) as server:
        told = ask(server, "POST", f"/{account}/keys")[1]
        found = json.loads(base64.b64decode(told["privateKeyData"]))
        life = datetime.fromisoformat(told["validBeforeTime"]) - datetime.fromisoformat(told["validAfterTime"])
        assert life == timedelta(hours=2)
        assert code_of(server, "POST", key(account, found, ":disable")) == (403, "PERMISSION_DENIED")
        assert exchanged(found)[0] == 400
        time.sleep(1.1)
        assert exchanged(found)[0] == 200


def run(port: int, data: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "local.emulators.gcp_iam", f"--port={port}", f"--data={data}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_says_when_it_is_ready_and_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    with run(free_port(), tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_that_is_taken_is_told_in_one_line(server: LocalGcpIam, tmp_path: Path) -> None:
    with run(server.port, tmp_path) as process:
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, "")
    assert err == f"gcp-iam: can't serve on 127.0.0.1:{server.port}: Address already in use\n"
