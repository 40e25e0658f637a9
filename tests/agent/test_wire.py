"""The wire of AWS's agent, as its own tests say it: what is answered, with which status, in which words."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from keyturn.agent.application import Agent
from keyturn.agent.caller_auth import LocalEntrance
from keyturn.agent.plain_names import PlainNames
from keyturn.cli.programs.agent import metrics_of
from keyturn.client.client import SecretClient
from keyturn.client.policy import CachePolicy
from keyturn.client.secrets import Secret
from keyturn.core.errors import Denied, KeyturnError, Throttled, Unavailable
from tests.support.agent import HEADERS, TOKEN, ask, serving
from tests.support.served import MADE, MemorySource


class FailingSource(MemorySource):
    """Raises this from every read."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def read(self, path: str) -> Secret:
        raise self.error


QUERY = "/secretsmanager/get?secretId="
ABSENT = "Secrets Manager can't find the specified secret"


@pytest.fixture(scope="module")
def source() -> MemorySource:
    made = MemorySource(a=1)
    made.served["team/database"] = 3
    return made


@pytest.fixture(scope="module")
def client(source: MemorySource) -> Iterator[SecretClient]:
    with SecretClient([source], policy=CachePolicy(neg_ttl=0), poll=0) as client:
        yield client


@pytest.fixture(scope="module")
def url(client: SecretClient) -> Iterator[str]:
    with serving(Agent(client, PlainNames), LocalEntrance(TOKEN)) as url:
        yield url


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update(HEADERS)
        yield session


@pytest.mark.parametrize("address", [f"{QUERY}team/database", f"{QUERY}team%2Fdatabase", "/v1/team/database"])
def test_a_secret_is_given_as_get_secret_value_gives_it(url: str, session: requests.Session, address: str) -> None:
    answer = session.get(url + address)
    document = answer.json()
    assert answer.status_code == 200
    assert {*document} == {"ARN", "Name", "VersionId", "SecretString", "VersionStages", "CreatedDate"}
    assert document["Name"] == "team/database"
    assert document["SecretString"] == '{"password":"team/database-3"}'
    assert document["VersionStages"] == ["AWSCURRENT"]
    assert float(document["CreatedDate"]) == MADE.timestamp()
    assert len(document["VersionId"]) == 36
    assert answer.headers["cache-control"] == "no-store"


def test_either_header_has_the_token(url: str) -> None:
    for header in ("X-Aws-Parameters-Secrets-Token", "X-Vault-Token", "x-vault-token"):
        assert ask(url + "/v1/a", headers={header: TOKEN.reveal()}).status_code == 200


def test_the_version_that_is_served_may_be_named(url: str, session: requests.Session) -> None:
    document = session.get(f"{url}{QUERY}a&versionStage=AWSCURRENT").json()
    again = session.get(f"{url}{QUERY}a&versionId={document['VersionId']}&refreshNow=true")
    assert again.json() == document


def test_refresh_now_reads_what_is_there_now(url: str, session: requests.Session, source: MemorySource) -> None:
    before = session.get(f"{url}{QUERY}a").json()
    source.served["a"] = 2
    assert session.get(f"{url}{QUERY}a&refreshNow=false").json() == before
    after = session.get(f"{url}{QUERY}a&refreshNow=1").json()
    assert after["SecretString"] == '{"password":"a-2"}'
    assert after["VersionId"] != before["VersionId"]
    assert session.get(f"{url}/v1/a").json() == after


REFUSALS: list[tuple[str, str, int, Any]] = [
    ("GET", "/pong", 404, "Not found"),
    ("GET", "/secretsmanager/get", 400, "missing parameter secretId"),
    ("GET", "/secretsmanager/get?versionStage=AWSPENDING", 400, "missing parameter secretId"),
    ("GET", "/v1/", 400, "missing secret ID"),
    ("GET", f"{QUERY}a&abc=1", 400, "unknown parameter"),
    ("GET", "/v1/a?secretId=b", 400, "unknown parameter"),
    ("GET", f"{QUERY}a&refreshNow=yes", 400, "invalid refreshNow value"),
    ("GET", f"{QUERY}none", 400, {"__type": "ResourceNotFoundException", "message": f"{ABSENT}."}),
    (
        "GET",
        f"{QUERY}a&versionStage=AWSPREVIOUS",
        400,
        {"__type": "ResourceNotFoundException", "message": f"{ABSENT} value for staging label: AWSPREVIOUS"},
    ),
    (
        "GET",
        "/v1/a?versionId=11111",
        400,
        {"__type": "ResourceNotFoundException", "message": f"{ABSENT} value for VersionId: 11111"},
    ),
    *[
        (method, address, 405, "Not allowed" if method != "HEAD" else "")
        for method in ("POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
        for address in (f"{QUERY}a", "/v1/a")
    ],
]


@pytest.mark.parametrize(("method", "address", "status", "words"), REFUSALS)
def test_a_refusal_has_awss_status_and_words(
    url: str, session: requests.Session, method: str, address: str, status: int, words: Any
) -> None:
    answer = session.request(method, url + address)
    body = answer.json() if isinstance(words, dict) else answer.text
    assert (answer.status_code, body) == (status, words)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Unavailable("read", "hub:b", "gone"), 502, "ConnectionError"),
        (Throttled("read", "hub:b", "slower"), 400, "ThrottlingException"),
        (Denied("read", "hub:b", "no"), 400, "AccessDeniedException"),
        (KeyturnError("read", "hub:b", "odd"), 500, "InternalFailure"),
        (ZeroDivisionError("the value is hunter2"), 500, "InternalFailure"),
    ],
)
def test_what_goes_wrong_is_told_in_awss_words(error: Exception, status: int, kind: str) -> None:
    with (
        SecretClient([FailingSource(error)], poll=0) as client,
        serving(Agent(client, PlainNames), LocalEntrance(TOKEN)) as url,
    ):
        answer = ask(f"{url}/v1/b", headers=HEADERS)
    assert (answer.status_code, answer.json()["__type"]) == (status, kind)
    assert "hunter2" not in answer.text


def test_who_is_well_says_so_without_a_token(url: str) -> None:
    for address in ("/ping", "/api/secrets/health"):
        assert (ask(url + address).status_code, ask(url + address).text) == (200, "healthy")
    assert ask(url + "/ping", "POST").status_code == 405


def test_statistics_are_told_to_whoever_has_the_token(url: str, session: requests.Session) -> None:
    assert session.get(f"{url}/statistics").json().keys() >= {"misses", "reads", "stale"}
    assert ask(f"{url}/statistics").status_code == 403


def test_prometheus_reads_the_numbers(client: SecretClient, session: requests.Session) -> None:
    agent = Agent(client, PlainNames, metrics=metrics_of(client))
    with serving(agent, LocalEntrance(TOKEN)) as url:
        assert "keyturn_client_reads_total" in session.get(f"{url}/metrics").text
        assert ask(f"{url}/metrics").status_code == 403
