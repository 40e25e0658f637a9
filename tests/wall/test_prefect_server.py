"""Keyturn registers with no Prefect server that needs no login."""

from collections.abc import Callable

import pytest
from prefect.settings import PREFECT_API_SSL_CERT_FILE, temporary_settings
from pytest_httpserver import HTTPServer

from deployments.prefect_exposure import insist_on_guarded, without_login
from keyturn.core.errors import Denied, Unavailable

FAR = "https://prefect.example.com/api"
SAID = {"KEYTURN_PREFECT_ENCRYPTED": "true"}


def answering(status: int) -> Callable[[str], int]:
    return lambda api: status


def never_asked(api: str) -> int:
    raise AssertionError(f"{api} was asked")


@pytest.mark.parametrize(
    ("api", "env", "status", "named"),
    [
        (FAR, SAID, 200, ["PREFECT_SERVER_API_AUTH_STRING"]),
        (FAR, {}, 401, ["PREFECT_SERVER_ENCRYPTION_KEY", "KEYTURN_PREFECT_ENCRYPTED=true"]),
        (
            FAR,
            {"KEYTURN_PREFECT_ENCRYPTED": "no"},
            200,
            ["PREFECT_SERVER_API_AUTH_STRING", "KEYTURN_PREFECT_ENCRYPTED"],
        ),
        ("http://prefect.example.com/api", SAID, 401, ["https address", "KEYTURN_PREFECT_INSECURE_HTTP=true"]),
        ("http://127.0.0.1.example.com/api", SAID, 401, ["https address"]),
    ],
)
def test_a_remote_server_without_login_or_tls_is_refused_with_the_settings_to_add(
    api: str, env: dict[str, str], status: int, named: list[str]
) -> None:
    with pytest.raises(Denied) as refused:
        insist_on_guarded(api, env, answering(status))
    assert all(name in str(refused.value) for name in named)


@pytest.mark.parametrize("status", [401, 403])
def test_a_remote_server_that_requires_a_login_is_accepted(status: int) -> None:
    insist_on_guarded(FAR, SAID, answering(status))
    clear = {**SAID, "KEYTURN_PREFECT_INSECURE_HTTP": "true"}
    insist_on_guarded("http://prefect.internal:4200/api", clear, answering(status))


@pytest.mark.parametrize("api", ["http://127.0.0.1:4200/api", "https://localhost:4200/api", "http://[::1]:4200/api"])
def test_a_local_server_is_not_checked(api: str) -> None:
    insist_on_guarded(api, {}, never_asked)


@pytest.mark.parametrize("status", [200, 401, 403, 404])
def test_the_server_itself_shows_whether_it_requires_a_password(httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_oneshot_request("/api/work_pools/keyturn").respond_with_data("{}", status)
    assert without_login(httpserver.url_for("/api")) == status
    assert "Authorization" not in httpserver.log[0][0].headers


@pytest.mark.parametrize("status", [302, 400, 503])
def test_an_unclear_answer_does_not_count_as_a_required_password(httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_oneshot_request("/api/work_pools/keyturn").respond_with_data(
        "", status, {"Location": "/elsewhere"}
    )
    with pytest.raises(Unavailable, match=f"answered {status}"):
        without_login(httpserver.url_for("/api"))


def test_a_server_with_an_untrusted_certificate_is_refused(httpserver: HTTPServer) -> None:
    with temporary_settings({PREFECT_API_SSL_CERT_FILE: "/no/such/file"}), pytest.raises(Unavailable):
        without_login(httpserver.url_for("/api"))
