"""Hub logins: only the worker's own is accepted, and an opened wrapping raises an alarm."""

import base64
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin, AwsLogin
from tests.support.hub_logins import KEYS, SERVER_ID, AwsHub, Doors
from tests.support.hub_logins import doors as doors
from tests.support.hub_logins import pods as pods
from tests.support.issuers import Issuer


def refusal(doors: Doors, login: Any, *silent: str) -> str:
    """What is said where the login is refused; it holds none of these."""
    with doors.hub(login) as hub, pytest.raises(Denied) as caught:
        hub.read("ml-training/database")
    assert caught.value.hint
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not [text for text in silent if text in str(caught.value)]
    return str(caught.value)


# --- pods and JWTs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("neighbour", "refuses the JWT of system:serviceaccount:ml:other"),
        ("forged", "refuses the JWT of system:serviceaccount:ml:keyturn"),
        ("ended", "expired at"),
    ],
)
def test_another_pods_token_is_refused(doors: Doors, token: str, problem: str) -> None:
    message = refusal(doors, doors.as_pod(token), doors.pods.tokens[token])
    assert problem in message


def test_a_token_for_another_audience_is_refused_by_the_hub_too(doors: Doors) -> None:
    message = refusal(doors, doors.as_pod("for another", audience=None))
    assert "for somebody-else" in message
    assert "bound_service_account_names, bound_service_account_namespaces, audience" in message


def test_a_token_for_another_audience_is_not_even_shown(doors: Doors, httpserver: HTTPServer) -> None:
    login = doors.as_pod("for another")
    message = refusal(doors, login)
    assert f"{doors.token} is for somebody-else, not for openbao" in message
    assert "KEYTURN_HUB_AUTH_AUDIENCE" in message
    settings = HubSettings(httpserver.url_for("").rstrip("/"), login=login)
    with closing(VaultHub(settings)) as hub, pytest.raises(Denied):
        hub.read("any")
    assert httpserver.log == []


@pytest.mark.parametrize(
    ("claims", "problem"),
    [
        ({"audience": "somebody-else"}, "for somebody-else"),
        ({"subject": "repo:acme/fork"}, "refuses the JWT of repo:acme/fork"),
        ({"lives": -600}, "expired at"),
    ],
)
def test_a_jwt_that_is_not_the_roles_is_refused(doors: Doors, claims: dict[str, Any], problem: str) -> None:
    login = doors.as_program(audience=None)
    doors.issue(**claims)
    assert problem in refusal(doors, login, doors.token.read_text())


def test_a_jwt_of_another_issuer_or_without_a_signature_is_refused(doors: Doors) -> None:
    login = doors.as_program()
    doors.token.write_text(Issuer("ci").token("repo:acme/app", "openbao"))
    assert "refuses the JWT" in refusal(doors, login)
    doors.issue()
    head, body, _ = doors.token.read_text().split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    for forged in (f"{none}.{body}.", f"{head}.{body}.AAAA"):
        doors.token.write_text(forged)
        assert "refuses the JWT" in refusal(doors, login)


def test_a_missing_role_or_method_is_reported(doors: Doors) -> None:
    assert "the role nobody at auth/" in refusal(doors, doors.as_program("nobody"))
    assert "KEYTURN_HUB_AUTH_ROLE" in refusal(doors, doors.as_pod(role="nobody"))
    doors.issue()
    doors.jwt, real = "nowhere", doors.jwt
    try:
        assert "at auth/nowhere" in refusal(doors, doors.as_program())
    finally:
        doors.jwt = real


def test_a_file_without_a_jwt_is_reported(doors: Doors) -> None:
    login = doors.as_program()
    for text in ("no-jwt", "a.b.c", "a.W10.c"):
        doors.token.write_text(text)
        with doors.hub(login) as hub, pytest.raises(Invalid, match=r"it holds no JWT.*KEYTURN_HUB_AUTH_TOKEN_PATH"):
            hub.read("any")
    doors.token.unlink()
    with doors.hub(login) as hub, pytest.raises(NotFound, match=r"no such file.*KEYTURN_HUB_AUTH_TOKEN_PATH"):
        hub.read("any")


# --- a server in the hub's place ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Response("<html>", 200), "can't be understood"),
        (Response("{}", 200), "can't be understood"),
        (Response('{"auth": null}', 200), "can't be understood"),
        (
            Response('{"auth": {"client_token": "x", "lease_duration": "long", "renewable": true}}'),
            "can't be understood",
        ),
        (Response('{"auth": {"client_token": "", "mfa_requirement": {"mfa_request_id": "1"}}}'), "a second factor"),
        (Response("", 307, {"Location": "/elsewhere"}), "a redirect, which is not followed"),
        (Response('{"errors": ["s3cr3t"]}', 500), "failed inside"),
    ],
)
def test_a_malformed_login_answer_is_refused_and_not_shown(
    doors: Doors, httpserver: HTTPServer, answer: Response, problem: str
) -> None:
    httpserver.expect_request(f"/v1/auth/{doors.jwt}/login").respond_with_response(answer)
    settings = HubSettings(httpserver.url_for("").rstrip("/"), login=doors.as_program())
    with closing(VaultHub(settings)) as hub, pytest.raises(KeyturnError, match=problem) as caught:
        hub.read("any")
    assert "s3cr3t" not in str(caught.value)
    assert [request.path for request, _ in httpserver.log] == [f"/v1/auth/{doors.jwt}/login"]


# --- wrapped secret ids ------------------------------------------------------------------------------------


def test_a_wrapping_opened_by_another_raises_an_alarm(doors: Doors) -> None:
    login = doors.as_role()
    wrap = doors.wrap.read_text()
    stolen = doors.root.sys.unwrap(wrap)["data"]["secret_id"]
    message = refusal(doors, login, wrap, stolen)
    assert "ALARM" in message
    assert "was opened before" in message
    assert "destroy it" in message
    assert doors.wrap.exists(), "what tells of it stays"


def test_a_wrapping_created_by_another_raises_an_alarm_and_is_not_opened(doors: Doors) -> None:
    login = doors.as_role()
    wrap = doors.root.sys.wrap({"secret_id": "of-an-attacker"}, ttl=300)["wrap_info"]["token"]
    doors.wrap.write_text(wrap)
    message = refusal(doors, login, wrap)
    assert "ALARM" in message
    assert "is no secret id of auth/approle" in message
    assert doors.root.sys.unwrap(wrap)["data"] == {"secret_id": "of-an-attacker"}


def test_a_token_that_is_no_wrapping_is_refused(doors: Doors) -> None:
    login = doors.as_role()
    doors.wrap.write_text(doors.lab.world.hub_token)
    assert "ALARM" in refusal(doors, login, doors.lab.world.hub_token)
    doors.wrap.unlink()
    assert "KEYTURN_HUB_SECRET_ID_FILE" in refusal(doors, login)


def test_a_wrapping_file_that_could_not_be_removed_is_not_opened(
    doors: Doors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = doors.as_role()
    monkeypatch.setattr("os.access", lambda place, mode: False)
    with doors.hub(login) as hub, pytest.raises(Invalid, match="nothing can be written to"):
        hub.read("any")
    monkeypatch.undo()
    assert doors.root.sys.unwrap(doors.wrap.read_text())["data"]["secret_id"]


def test_an_absent_role_id_is_reported_before_a_wrapping_is_opened(doors: Doors) -> None:
    login = doors.as_role()
    without = AppRoleLogin("/no/such/role-id", None, login.wrapped_secret_id_file)
    with doors.hub(without) as hub, pytest.raises(NotFound, match="KEYTURN_HUB_ROLE_ID_FILE"):
        hub.read("any")
    assert doors.wrap.exists()


# --- AWS ---------------------------------------------------------------------------------------------------


def decoded(body: dict[str, Any]) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = json.loads(base64.b64decode(body["iam_request_headers"]))
    return headers


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def unsigned(body: dict[str, Any]) -> None:
    headers = decoded(body)
    headers["Authorization"] = [f"{headers['Authorization'][0].rpartition('=')[0]}={'0' * 64}"]
    body["iam_request_headers"] = encode(json.dumps(headers))


def asks_for_more(body: dict[str, Any]) -> None:
    body["iam_request_body"] = encode("Action=GetSessionToken&Version=2011-06-15")


def another_server(body: dict[str, Any]) -> None:
    headers = {**decoded(body), "X-Vault-AWS-IAM-Server-ID": ["other.example.com"]}
    body["iam_request_headers"] = encode(json.dumps(headers))


def sent_elsewhere(body: dict[str, Any]) -> None:
    body["iam_request_url"] = encode("https://sts.amazonaws.com.evil.example/")


def of_yesterday(body: dict[str, Any]) -> None:
    headers = decoded(body)
    headers["X-Amz-Date"] = ["20200101T000000Z"]
    body["iam_request_headers"] = encode(json.dumps(headers))


@pytest.mark.parametrize("alter", [unsigned, asks_for_more, another_server, sent_elsewhere, of_yesterday])
def test_a_changed_login_request_is_refused(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, alter: Callable[[dict[str, Any]], None]
) -> None:
    hub = AwsHub(httpserver, monkeypatch)
    hub.alter = alter
    with closing(hub.session(AwsLogin("worker", None, SERVER_ID))) as session:
        with pytest.raises(Denied, match="the role worker at auth/aws refuses this process's AWS identity"):
            session.client()
        hub.alter = lambda body: None
        assert session.client().token == hub.token
    assert hub.callers == ["AKIDEXAMPLE"]


@pytest.mark.parametrize(
    ("login", "key"),
    [
        (AwsLogin("worker", None, "other.example.com"), "AKIDEXAMPLE"),
        (AwsLogin("worker"), "AKIDEXAMPLE"),
        (AwsLogin("nobody", None, SERVER_ID), "AKIDEXAMPLE"),
        (AwsLogin("worker", None, SERVER_ID), "AKIDFOREIGN"),
    ],
    ids=["for another hub", "for no hub", "another role", "somebody else"],
)
def test_another_identity_or_a_request_for_another_hub_is_refused(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, login: AwsLogin, key: str
) -> None:
    hub = AwsHub(httpserver, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS[key])
    with closing(hub.session(login)) as session, pytest.raises(Denied) as caught:
        session.client()
    assert KEYS[key] not in str(caught.value)
    assert hub.callers == []


def test_no_key_travels_to_the_hub(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = AwsHub(httpserver, monkeypatch)
    with closing(hub.session(AwsLogin("worker", None, SERVER_ID))) as session:
        session.client()
    (request, _) = httpserver.log[0]
    body = request.get_data(as_text=True)
    parts = [base64.b64decode(text).decode() for name, text in json.loads(body).items() if name not in NAMES]
    assert not [text for text in (body, *parts) if KEYS["AKIDEXAMPLE"] in text]


NAMES = ("role", "iam_http_request_method")


def test_without_credentials_one_error_names_the_settings(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = AwsHub(httpserver, monkeypatch)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    refusal = pytest.raises(KeyturnError, match=r"no AWS credentials are given.*AWS_WEB_IDENTITY_TOKEN_FILE")
    with closing(hub.session(AwsLogin("worker"))) as session, refusal:
        session.client()
    assert httpserver.log == []
