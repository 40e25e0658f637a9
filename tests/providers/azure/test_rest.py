"""What Azure's management services answer, in our words."""

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.core.errors import (
    Denied,
    Invalid,
    KeyturnError,
    Locked,
    NotFound,
    Throttled,
    Unavailable,
    Unproven,
)
from keyturn.providers.azure.rest import Refused, Rest
from local.emulators.azure_management import AzureManagement

SECRET = "s3cr3t-in-the-answer"


class Granted:
    """A credential that asks nobody."""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        assert scopes == (f"{self.endpoint}/.default",)
        return AccessToken("the-token", 2**31)

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint


class Refusing:
    """A credential that fails in one way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        raise self.error


def opened(endpoint: str, credential: Any = None, ca_file: str | None = None) -> Rest:
    signed_in = credential or Granted(endpoint)
    return Rest(
        "cloud", endpoint, authority=None, ca_file=ca_file, credential=signed_in, permission="Give it the permission"
    )


@pytest.fixture
def rest(httpserver: HTTPServer) -> Iterator[Rest]:
    made = opened(httpserver.url_for("/").rstrip("/"))
    yield made
    made.close()


def failure(rest: Rest) -> KeyturnError:
    """What a call raises, which tells nothing of the answer's text."""
    with pytest.raises(KeyturnError) as caught:
        rest.call("GET", "thing", "look at", "thing")
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.args)
    assert SECRET not in told
    assert "the-token" not in told
    assert caught.value.name == "cloud:thing"
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (400, "Bad", Refused, "400 (Bad)"),
        (401, "Expired", Denied, "AZURE_CLIENT_SECRET"),
        (403, "Forbidden", Denied, "Give it the permission"),
        (404, "Gone", NotFound, "does not exist (Gone)"),
        (408, "Slow", Unavailable, "408"),
        (409, "Busy", Locked, "another change is under way (Busy)"),
        (409, "ScopeLocked", Refused, "Remove the lock"),
        (429, "Many", Throttled, "Slow down"),
        (500, "Oops", Unavailable, "500 (Oops)"),
        (503, "Oops", Unavailable, "503"),
    ],
)
def test_a_refusal_says_what_happened_and_whether_to_try_again(
    httpserver: HTTPServer, rest: Rest, status: int, code: str, kind: type[KeyturnError], words: str
) -> None:
    body = {"error": {"code": code, "message": SECRET}}
    httpserver.expect_request("/thing").respond_with_json(body, status=status, headers={"Retry-After": "7"})
    error = failure(rest)
    assert type(error) is kind
    assert words in str(error)
    assert getattr(error, "retry_after", 7) == 7


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", '{"error": 1}', f'{{"error": {{"code": "{SECRET} !"}}}}', '{"error": {"code": 5}}']
)
def test_a_refusal_without_a_code_is_one_all_the_same(httpserver: HTTPServer, rest: Rest, body: str) -> None:
    httpserver.expect_request("/thing").respond_with_data(body, status=400)
    error = failure(rest)
    assert isinstance(error, Refused)
    assert error.problem == "Azure answered 400"
    assert error.code == ""


@pytest.mark.parametrize("body", [SECRET, "[]", "5"])
def test_an_answer_that_is_none_is_not_taken_for_one(httpserver: HTTPServer, rest: Rest, body: str) -> None:
    httpserver.expect_request("/thing").respond_with_data(body)
    assert isinstance(failure(rest), Unavailable)


def test_nothing_to_answer_is_an_answer(httpserver: HTTPServer, rest: Rest) -> None:
    httpserver.expect_request("/thing").respond_with_data("", status=204)
    assert rest.call("POST", "thing", "remove", "thing") == {}


def test_a_redirect_is_not_followed_with_the_token(httpserver: HTTPServer, rest: Rest) -> None:
    elsewhere = httpserver.url_for("/elsewhere")
    httpserver.expect_request("/thing").respond_with_data("", status=307, headers={"Location": elsewhere})
    assert isinstance(failure(rest), Refused)
    assert [request.path for request, _ in httpserver.log] == ["/thing"]


def test_netrc_and_cookies_play_no_part(
    httpserver: HTTPServer, rest: Rest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(f"machine {httpserver.host} login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen = []

    def answer(request: Request) -> Response:
        seen.append((request.headers["Authorization"], request.headers.get("Cookie")))
        return Response("{}", headers={"Set-Cookie": "a=b"})

    httpserver.expect_request("/thing").respond_with_handler(answer)
    for _ in range(2):
        rest.call("GET", "thing", "look at", "thing")
    assert seen == [("Bearer the-token", None)] * 2


def test_a_call_that_may_be_refused_at_the_last_moment_is_not_sent(httpserver: HTTPServer, rest: Rest) -> None:
    def too_late() -> None:
        raise Unavailable("look at", "cloud:thing", "too late")

    with pytest.raises(Unavailable, match="too late"):
        rest.call("POST", "thing", "look at", "thing", at_once=too_late)
    assert httpserver.log == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ClientAuthenticationError(SECRET), Denied),
        (ServiceRequestError(SECRET), Unavailable),
        (ValueError(SECRET), Invalid),
    ],
)
def test_a_sign_in_that_fails_is_told_apart_from_one_that_is_not_answered(
    error: Exception, kind: type[KeyturnError]
) -> None:
    told = failure(opened("https://localhost:1", Refusing(error)))
    assert type(told) is kind
    assert told.hint


def test_silence_is_worth_another_try() -> None:
    assert isinstance(failure(opened("https://localhost:1", Granted("https://localhost:1"))), Unavailable)


def test_a_certificate_is_verified_with_its_own_authority_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AzureManagement(tmp_path / "one") as one, AzureManagement(tmp_path / "other") as other:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", other.ca_file)
        assert isinstance(failure(opened(one.url, ca_file=one.ca_file)), NotFound | Denied)
        for wrong in (other.ca_file, None):
            error = failure(opened(one.url, ca_file=wrong))
            assert isinstance(error, Unproven)
            assert "ca_file" in error.hint


def test_the_reason_survives_the_way_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(Refused("look at", "cloud:thing", "no", "do", "Why")))  # noqa: S301
    assert (error.code, str(error)) == ("Why", "look at cloud:thing: no. do")
