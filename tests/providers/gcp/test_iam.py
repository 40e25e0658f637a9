"""Google Cloud IAM as a target: error translation, and nothing created twice."""

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.catalogue.targets import GcpIamSettings
from keyturn.core.errors import Denied, Invalid, KeyturnError, Locked, NotFound, Throttled, Unavailable
from keyturn.core.sensitive import SecretFields
from keyturn.providers.gcp.iam import GcpIam
from local.emulators.gcp_iam import LocalGcpIam
from local.support.ports import free_port

pytestmark = pytest.mark.sampled(4, of="file")

PROJECT = "ml-project"
ACCOUNT = f"app@{PROJECT}.iam.gserviceaccount.com"
SECRET = "a-private-key-to-look-for"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGcpIam]:
    with LocalGcpIam(tmp_path_factory.mktemp("gcp-iam"), free_port(), f"--service-account={ACCOUNT}") as running:
        yield running


@pytest.fixture
def target(server: LocalGcpIam) -> Iterator[GcpIam]:
    with closing(GcpIam("gcp", project=PROJECT, endpoint=server.endpoint)) as opened:
        yield opened


@pytest.fixture
def answering(httpserver: HTTPServer) -> Iterator[GcpIam]:
    """The target, at a server whose answers the test decides."""
    with closing(GcpIam("gcp", project=PROJECT, endpoint=f"127.0.0.1:{httpserver.port}")) as opened:
        yield opened


def test_it_takes_the_catalogues_settings(server: LocalGcpIam) -> None:
    settings = GcpIamSettings.model_validate({"kind": "gcp-iam", "project": PROJECT, "endpoint": server.endpoint})
    with closing(GcpIam("gcp", **settings.model_dump(exclude={"kind"}))) as target:
        assert target.keys(ACCOUNT) == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Denied),
        (403, Denied),
        (404, NotFound),
        (409, Locked),
        (429, Throttled),
        (503, Unavailable),
    ],
)
def test_an_answer_becomes_an_error_of_ours_without_its_text(
    answering: GcpIam, httpserver: HTTPServer, status: int, kind: type[KeyturnError]
) -> None:
    body = {"error": {"code": status, "message": SECRET, "status": SECRET}}
    headers = {"Retry-After": "7"}
    httpserver.expect_request(f"/v1/projects/{PROJECT}/serviceAccounts/{ACCOUNT}/keys").respond_with_json(
        body, status=status, headers=headers
    )
    with pytest.raises(kind, match=f"gcp:{ACCOUNT}") as caught:
        answering.create(ACCOUNT)
    # After a 401 the SDK asks for new credentials, and says itself that there are none.
    assert str(status) in caught.value.problem or status == 401
    assert SECRET not in repr(caught.value.args)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    if isinstance(caught.value, Throttled):
        assert caught.value.retry_after == 7


@pytest.mark.parametrize("body", ["<html>", "[]", "{}"])
def test_an_answer_that_is_not_googles_is_unavailable(answering: GcpIam, httpserver: HTTPServer, body: str) -> None:
    httpserver.expect_request(f"/v1/projects/{PROJECT}/serviceAccounts/{ACCOUNT}/keys").respond_with_data(body)
    with pytest.raises(Unavailable) as caught:
        answering.create(ACCOUNT)
    assert caught.value.hint


def test_a_key_is_asked_for_once_although_the_answer_was_lost(answering: GcpIam, httpserver: HTTPServer) -> None:
    asked: list[str] = []

    def lose(request: Request) -> Response:
        asked.append(request.path)
        return Response(status=503)

    httpserver.expect_request(f"/v1/projects/{PROJECT}/serviceAccounts/{ACCOUNT}/keys").respond_with_handler(lose)
    with pytest.raises(Unavailable):
        answering.create(ACCOUNT)
    assert len(asked) == 1


def test_no_server_is_unavailable(target: GcpIam) -> None:
    key = target.create(ACCOUNT)
    with closing(GcpIam("gcp", project=PROJECT, endpoint=f"127.0.0.1:{free_port()}")) as away:
        with pytest.raises(Unavailable) as caught:
            away.keys(ACCOUNT)
        assert caught.value.hint
        file = {**json.loads(key["credentials_json"].reveal()), "token_uri": f"http://127.0.0.1:{free_port()}/token"}
        with pytest.raises(Unavailable):
            away.signs_in(ACCOUNT, SecretFields({"credentials_json": json.dumps(file)}))


def test_a_sign_in_that_fails_for_another_reason_keeps_the_key(
    target: GcpIam, answering: GcpIam, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/token").respond_with_json({"error": "internal_failure"}, status=500)
    file = json.loads(target.create(ACCOUNT)["credentials_json"].reveal())
    file["token_uri"] = httpserver.url_for("/token")
    with pytest.raises(Unavailable, match="sign-in"):
        answering.signs_in(ACCOUNT, SecretFields({"credentials_json": json.dumps(file)}))


@pytest.mark.parametrize("endpoint", ["iam.example.com:443", "10.0.0.1:80", "127.0.0.1", "http://127.0.0.1:80"])
def test_keys_are_asked_for_in_clear_on_this_machine_only(endpoint: str) -> None:
    with pytest.raises(Invalid, match="loopback") as caught:
        GcpIam("gcp", project=PROJECT, endpoint=endpoint)
    assert caught.value.hint


def test_a_proxy_of_the_environment_sees_no_key(server: LocalGcpIam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    with closing(GcpIam("gcp", project=PROJECT, endpoint=server.endpoint)) as target:
        assert target.signs_in(ACCOUNT, target.create(ACCOUNT))


def test_no_credentials_are_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent"))
    with pytest.raises(Denied) as caught:
        GcpIam("gcp", project=PROJECT)
    assert "gcloud auth" in caught.value.hint


def test_nothing_is_logged_of_a_new_key_at_any_level(target: GcpIam, monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[logging.LogRecord] = []
    # Not by handlers: other libraries, if this process has used them, silence or filter the loggers of urllib3.
    monkeypatch.setattr(logging.Logger, "isEnabledFor", lambda logger, level: True)
    monkeypatch.setattr(logging.Logger, "handle", lambda logger, record: records.append(record))
    key = target.create(ACCOUNT)
    assert target.signs_in(ACCOUNT, key)
    private = json.loads(key["credentials_json"].reveal())["private_key"]
    logged = "".join(repr(vars(record)) for record in records)
    assert "urllib3" in logged
    assert private.splitlines()[3] not in logged


def test_uses_before_the_promotion_are_no_evidence(answering: GcpIam, httpserver: HTTPServer) -> None:
    """A point that began before it may count sign-ins of before, and none of these."""
    since = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)

    def point(begin: datetime, minutes: int, count: int) -> dict[str, object]:
        interval = {"startTime": begin.isoformat(), "endTime": (begin + timedelta(minutes=minutes)).isoformat()}
        return {"interval": interval, "value": {"int64Value": str(count)}}

    series: list[dict[str, object]] = [{"points": [point(since - timedelta(minutes=5), 10, 9)]}]
    path = f"/v3/projects/{PROJECT}/timeSeries"
    httpserver.expect_ordered_request(path).respond_with_json({"timeSeries": series})
    after = [point(since + timedelta(hours=1), 10, 2), point(since + timedelta(minutes=5), 10, 1)]
    silent = [point(since + timedelta(hours=2), 10, 0)]
    httpserver.expect_ordered_request(path).respond_with_json({"timeSeries": [*series, {"points": silent + after}]})
    assert answering.last_use(ACCOUNT, "0" * 40, since) is None
    use = answering.last_use(ACCOUNT, "0" * 40, since)
    assert use is not None
    assert (use.at, use.what) == (since + timedelta(minutes=70), "3 sign-ins since 2026-03-01 12:05")
