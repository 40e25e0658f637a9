"""Commands against a Prefect server that is busy, protected, gone or silent."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.sensitive import Sensitive
from keyturn.providers import prefect_api
from keyturn.providers.prefect_api import PrefectApi
from keyturn.settings.prefect import PrefectSettings
from local.support.ports import free_port
from local.support.tls import certificate_in
from tests.support.liar import HUGE, SLOW, Behaviour, Liar, answers_in_turn, redirects_to

RUN = {"id": "0a", "name": "brave-otter", "state": {"type": "SCHEDULED", "name": "Late", "message": None}}
BEGUN = RUN | {"start_time": None}
OTHERWISE = ", or add --local"
CREATED = "/api/deployments/d1/create_flow_run"


def opened(url: str, **settings: Any) -> PrefectApi:
    return PrefectApi(PrefectSettings(f"{url.rstrip('/')}/api", **settings), "run", "sync/sync", OTHERWISE)


@pytest.fixture
def api(httpserver: HTTPServer) -> Iterator[PrefectApi]:
    with opened(httpserver.url_for("/"), key=Sensitive("CANARY-key")) as made:
        yield made


def test_a_run_is_asked_for_by_its_deployment_and_as_who_asks(httpserver: HTTPServer, api: PrefectApi) -> None:
    httpserver.expect_request(
        "/api/deployments/name/sync/sync", headers={"Authorization": "Bearer CANARY-key"}
    ).respond_with_json({"id": "d1"})
    httpserver.expect_request(CREATED, method="POST").respond_with_json(BEGUN, status=201)
    assert api.find_deployment("sync/sync", "Bootstrap") == "d1"
    run = api.create_run("d1", {"path": None}, {"label": True})
    assert (run.id, run.name, run.state.name, run.state.final, run.begun) == ("0a", "brave-otter", "Late", False, False)


def test_a_busy_server_is_asked_again_and_makes_one_run(httpserver: HTTPServer, api: PrefectApi) -> None:
    keys = list[str]()

    def create(request: Request) -> Response:
        keys.append(request.get_json()["idempotency_key"])
        status = (503, 429, 502, 201)[len(keys) - 1]
        return Response(json.dumps(BEGUN), status, {"Retry-After": "0"} if status == 429 else {})

    httpserver.expect_request(CREATED).respond_with_handler(create)
    assert api.create_run("d1", {}, {}).id == "0a"
    assert len(keys) == 4
    assert len(set(keys)) == 1


def test_a_server_that_stays_busy_is_told_of_in_the_end(
    httpserver: HTTPServer, api: PrefectApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_api, "PATIENCE", 0.3)
    httpserver.expect_request("/api/flow_runs/0a").respond_with_data(status=503)
    with pytest.raises(Unavailable, match=r"the Prefect server failed \(status 503\)"):
        api.read_run("0a")


def test_a_server_that_wants_a_token_against_forged_requests_is_asked_for_it(
    httpserver: HTTPServer, api: PrefectApi
) -> None:
    tokens, asked = list[str](), list[str]()

    def token(request: Request) -> Response:
        tokens.append(f"{request.args['client']} {len(tokens)}")
        return Response(json.dumps({"token": tokens[-1]}))

    def guarded(request: Request) -> Response:
        asked.append(request.headers.get("Prefect-Csrf-Token", ""))
        valid = asked[-1] in tokens[-1:] and asked[-1].startswith(request.headers["Prefect-Csrf-Client"])
        return Response("[]") if valid else Response('{"detail": "Missing CSRF token."}', 403)

    httpserver.expect_request("/api/csrf-token").respond_with_handler(token)
    httpserver.expect_request("/api/task_runs/filter").respond_with_handler(guarded)
    assert [api.list_steps("0a"), api.list_steps("0a")] == [[], []]
    tokens.append("another, since that is too old")
    assert api.list_steps("0a") == []
    assert asked == ["", tokens[0], tokens[0], tokens[0], tokens[2]]


def test_a_server_that_is_never_content_with_a_token_denies(httpserver: HTTPServer, api: PrefectApi) -> None:
    refused = Response('{"detail": "Invalid CSRF token or client identifier."}', 403)
    httpserver.expect_request("/api/csrf-token").respond_with_json({"token": "t"})
    httpserver.expect_request("/api/events").respond_with_handler(lambda _: refused)
    with pytest.raises(Denied):
        api.send_events([])


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, Denied, "the Prefect server denies it. Check PREFECT_API_KEY, or add --local"),
        (403, Denied, "the Prefect server denies it. Check PREFECT_API_KEY, or add --local"),
        (404, NotFound, "the Prefect server has no such thing. See the server's log, or add --local"),
        (422, Unavailable, "the Prefect server failed (status 422). See the server's log, or add --local"),
        (500, Unavailable, "the Prefect server failed (status 500). See the server's log, or add --local"),
        (307, Unavailable, "the Prefect server sends its clients elsewhere (status 307)"),
    ],
)
def test_a_refusal_is_one_error(
    httpserver: HTTPServer, api: PrefectApi, status: int, kind: type[KeyturnError], words: str
) -> None:
    httpserver.expect_request("/api/flow_runs/0a").respond_with_json({"exception_message": "CANARY"}, status)
    with pytest.raises(kind) as told:
        api.read_run("0a")
    assert f"run sync/sync: {words}" in str(told.value)
    assert "CANARY" not in str(told.value)


def test_a_deployment_that_there_is_not_is_told_with_its_own_remedy(httpserver: HTTPServer, api: PrefectApi) -> None:
    httpserver.expect_request("/api/deployments/name/sync/sync").respond_with_json(
        {"detail": "Deployment not found"}, 404
    )
    with pytest.raises(NotFound, match=r"the Prefect server has no such deployment\. Bootstrap"):
        api.find_deployment("sync/sync", "Bootstrap")


@pytest.mark.parametrize("text", ["[]", "{}", '{"id": 1}', '"text"', "null", ""])
def test_an_answer_that_is_not_prefects_is_one_error(httpserver: HTTPServer, api: PrefectApi, text: str) -> None:
    httpserver.expect_request("/api/flow_runs/0a").respond_with_data(text)
    with pytest.raises(Unavailable, match="its answer is not what its API promises"):
        api.read_run("0a")


@pytest.mark.parametrize(
    ("text", "status"), [("<html>", 200), ("<html>", 404), ("", 404), ('{"detail": "Not Found"}', 404), ("{}", 404)]
)
def test_an_address_that_is_not_the_apis_own_is_named_with_the_remedy(
    httpserver: HTTPServer, api: PrefectApi, text: str, status: int
) -> None:
    httpserver.expect_request("/api/deployments/name/sync/sync").respond_with_data(text, status)
    httpserver.expect_request("/api/work_pools/keyturn").respond_with_data(text, status)
    for ask in (lambda: api.find_deployment("sync/sync", "Bootstrap"), lambda: api.insist_on_api("keyturn")):
        with pytest.raises(Unavailable, match=r"is not Prefect's API\. Set PREFECT_API_URL.* ends with /api"):
            ask()


def test_an_api_without_the_pool_is_an_api(httpserver: HTTPServer, api: PrefectApi) -> None:
    httpserver.expect_request("/api/work_pools/keyturn").respond_with_json({"detail": "Work pool not found."}, 404)
    api.insist_on_api("keyturn")


@pytest.mark.parametrize("behaviour", [*SLOW, *HUGE])
@pytest.mark.attack
def test_a_malicious_server_blocks_no_command(behaviour: Behaviour) -> None:
    with Liar(behaviour) as liar, opened(liar.url, timeout=0.5) as api:
        with pytest.raises(Unavailable, match="the Prefect server does not answer"):
            api.read_run("0a")
        began = time.monotonic()
        if behaviour in SLOW:
            with pytest.raises(Unavailable, match=f"the Prefect server at {liar.url}/api does not answer"):
                api.insist_on_answer(0.2)
    assert time.monotonic() - began < 10


def test_nothing_is_sent_to_where_a_redirect_leads() -> None:
    with Liar(answers_in_turn(lambda *_: {})) as other, Liar(redirects_to(other.url)) as liar:
        with opened(liar.url, key=Sensitive("CANARY")) as api, pytest.raises(Unavailable, match="sends its clients"):
            api.read_run("0a")
        assert other.requests == []


def test_a_server_that_is_not_there_is_told_of_at_once() -> None:
    with opened(f"http://127.0.0.1:{free_port()}") as gone, pytest.raises(Unavailable, match="does not answer"):
        gone.read_run("0a")


def test_a_server_that_has_answered_and_hangs_up_is_asked_again() -> None:
    def hangs_up_once(liar: Liar, connection: socket.socket, request: bytes) -> None:
        if len(liar.requests) == 2:
            raise ConnectionResetError
        answers_in_turn(lambda *_: BEGUN)(liar, connection, request)

    with Liar(hangs_up_once) as liar, opened(liar.url) as api:
        assert [api.read_run("0a").id, api.read_run("0a").id] == ["0a", "0a"]
        assert len(liar.requests) == 3


def test_whose_certificate_is_not_trusted_is_no_server_of_ours(tmp_path: Path) -> None:
    certificate = certificate_in(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate.certificate, certificate.key)
    with Liar(answers_in_turn(lambda *_: BEGUN), tls) as liar:
        with opened(liar.url) as stranger:
            stranger.insist_on_answer(5)
            with pytest.raises(Unavailable, match=r"certificate is not trusted. Check PREFECT_API_SSL_CERT_FILE"):
                stranger.read_run("0a")
        with opened(liar.url, ca_file=str(certificate.authority)) as known:
            assert known.read_run("0a").id == "0a"
        with opened(liar.url, checked=False) as careless:
            assert careless.read_run("0a").id == "0a"


@pytest.mark.parametrize("url", ["ftp://prefect.example", "prefect.example/api", "http://", "https://host:port/api"])
def test_what_is_no_address_of_a_server_is_told(url: str) -> None:
    with pytest.raises(Invalid, match="Set PREFECT_API_URL to https://HOST/api"):
        PrefectApi(PrefectSettings(url), "run", "sync/sync")


def test_a_file_of_authorities_that_is_not_there_is_told() -> None:
    settings = replace(PrefectSettings("https://prefect.example/api"), ca_file="/nowhere/ca.pem")
    with pytest.raises(Invalid, match=r"there is no file /nowhere/ca.pem. PREFECT_API_SSL_CERT_FILE names it"):
        PrefectApi(settings, "run", "sync/sync")


def test_a_name_and_a_password_in_the_address_travel_as_a_header(httpserver: HTTPServer) -> None:
    named = httpserver.url_for("/api").replace("http://", "http://me:p%40ss@")
    httpserver.expect_request("/api/flow_runs/0a", headers={"Authorization": "Basic bWU6cEBzcw=="}).respond_with_json(
        BEGUN
    )
    with PrefectApi(PrefectSettings(named), "run", "sync/sync") as api:
        assert api.read_run("0a").id == "0a"
