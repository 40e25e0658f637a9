"""Many secrets in one call: how many calls that takes, and what becomes of the others where some fail."""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.client.bulk import read_many
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.aws.secrets_manager import AwsSecretsManager
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.support import local_aws
from tests.support.lab import Lab, fresh
from tests.support.memory_store import MemoryStore

pytestmark = pytest.mark.sampled(4, of="file")

REGION = "eu-central-1"
MANY = 45
DOCUMENT = Path(__file__).parents[2] / "docs" / "consumers.md"


class Counting:
    """A proxy before the local AWS that counts each operation, and refuses the secrets of ``denied``."""

    def __init__(self, server: HTTPServer, upstream: str) -> None:
        self.calls: list[str] = []
        self._upstream = upstream
        self._lock = threading.Lock()
        server.expect_request(re.compile(".*")).respond_with_handler(self._answer)
        self.url = server.url_for("").rstrip("/")

    def _answer(self, request: Request) -> Response:
        import requests

        with self._lock:
            self.calls.append(request.headers.get("x-amz-target", "").rpartition(".")[2])
        headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
        answer = requests.post(f"{self._upstream}/", request.get_data(), headers=headers, timeout=30)
        return Response(answer.content, answer.status_code, content_type=answer.headers["content-type"])


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server:
        yield server


@pytest.fixture
def counting(aws: LocalAws, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Counting:
    local_aws.use(aws, monkeypatch)
    return Counting(httpserver, aws.endpoint_url)


@pytest.fixture
def store(counting: Counting) -> Iterator[AwsSecretsManager]:
    made = AwsSecretsManager("aws", region=REGION, endpoint_url=counting.url)
    yield made
    made.close()


@pytest.fixture
def remotes(aws: LocalAws, counting: Counting) -> list[str]:
    """45 secrets, each with its own name as its value."""
    prefix = fresh()
    names = [f"{prefix}-{number:02}" for number in range(MANY)]
    client = boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=aws.endpoint_url)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: client.create_secret(Name=name, SecretString=f"value of {name}"), names))
    client.close()
    return names


class Picky:
    """A source that refuses a whole call because of some names, as a batch with a denied one does."""

    def __init__(self, refused: Mapping[str, KeyturnError]) -> None:
        self.refused = refused
        self.calls = 0

    def read_many(self, names: Sequence[str], /) -> dict[str, Sensitive]:
        self.calls += 1
        for name in names:
            if name in self.refused:
                raise self.refused[name]
        return {name: Sensitive(name) for name in names}


def memory(**values: str) -> MemoryStore:
    made = MemoryStore("memory")
    for name, value in values.items():
        made.put_by_hand(name, value)
    return made


def test_45_secrets_of_one_account_take_three_calls(
    store: AwsSecretsManager, remotes: list[str], counting: Counting
) -> None:
    bulk = read_many({"aws": store}, [("aws", name) for name in remotes])
    assert counting.calls == ["BatchGetSecretValue"] * 3
    assert [value.reveal() for value in bulk.all().values()] == [f"value of {name}" for name in remotes]


def test_several_sources_keep_the_order_that_was_asked_for(store: AwsSecretsManager, remotes: list[str]) -> None:
    first, second = remotes[:2]
    asked = [("aws", second), ("memory", "b"), ("aws", first), ("memory", "a"), ("aws", second)]
    sources: dict[str, Any] = {"aws": store, "memory": memory(a="1", b="2")}
    bulk = read_many(sources, asked)
    assert list(bulk.values) == asked[:4]
    assert bulk.values["memory", "b"] == Sensitive("2")
    assert bulk.errors == {}


def test_what_is_absent_is_told_by_its_name_and_takes_nothing_from_the_others(
    store: AwsSecretsManager, remotes: list[str], counting: Counting
) -> None:
    bulk = read_many({"aws": store}, [("aws", remotes[0]), ("aws", "no-such-secret"), ("aws", remotes[1])])
    assert list(bulk.values) == [("aws", remotes[0]), ("aws", remotes[1])]
    assert {name: type(error) for name, error in bulk.errors.items()} == {("aws", "no-such-secret"): NotFound}
    assert counting.calls == ["BatchGetSecretValue"]
    with pytest.raises(NotFound, match="aws:no-such-secret"):
        bulk.all()


def test_a_name_that_is_refused_is_found_among_many(store: AwsSecretsManager, remotes: list[str]) -> None:
    bulk = read_many({"aws": store}, [("aws", name) for name in [*remotes, "not a name"]])
    assert {name: type(error) for name, error in bulk.errors.items()} == {("aws", "not a name"): Invalid}
    assert len(bulk.values) == MANY


def test_a_source_that_is_down_takes_nothing_from_the_others_and_is_asked_once() -> None:
    down = Picky({"a": Unavailable("read", "down:a", "it does not answer")})
    sources: dict[str, Any] = {"down": down, "memory": memory(a="1")}
    bulk = read_many(sources, [("down", "b"), ("down", "a"), ("memory", "a")])
    assert list(bulk.values) == [("memory", "a")]
    assert list(bulk.errors) == [("down", "b"), ("down", "a")]
    assert down.calls == 1


def test_only_the_refused_ones_of_a_batch_fail() -> None:
    refused = {name: Denied("read", name, "no right") for name in ("n3", "n7")}
    picky = Picky(refused)
    names = [("picky", f"n{number}") for number in range(20)]
    bulk = read_many({"picky": picky}, names)
    assert bulk.errors == {("picky", name): error for name, error in refused.items()}
    assert list(bulk.values) == [name for name in names if name[1] not in refused]


def test_hub_paths_are_read_side_by_side(lab: Lab) -> None:
    folder = fresh()
    paths = [f"{folder}/{number}" for number in range(20)]
    for path in paths[:-1]:
        lab.hub.write(path, SecretFields({"x": path}), cas=0)
    bulk = read_many({"hub": lab.hub}, [("hub", path) for path in paths])
    assert [secret.fields["x"].reveal() for secret in bulk.values.values()] == paths[:-1]
    assert {type(secret.version) for secret in bulk.values.values()} == {int}
    assert list(bulk.errors) == [("hub", paths[-1])]


def test_a_source_that_nobody_gave_is_told_before_anything_is_read() -> None:
    picky = Picky({})
    with pytest.raises(Invalid, match="Did you mean memory"):
        read_many({"memory": picky}, [("memory", "a"), ("memroy", "a")])
    assert picky.calls == 0


def test_nothing_asked_is_nothing_read() -> None:
    assert read_many({}, []).all() == {}


def test_no_value_shows_in_what_is_printed() -> None:
    bulk = read_many({"memory": memory(a="the-value")}, [("memory", "a"), ("memory", "b")])
    assert "the-value" not in repr(bulk) + str(bulk.errors)


def test_the_documents_example_runs(lab: Lab, aws: LocalAws, counting: Counting, remotes: list[str]) -> None:
    section = DOCUMENT.read_text().partition("## Read many secrets in one call")[2]
    example = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert example
    folder = fresh()
    lab.hub.write(f"{folder}/database", SecretFields({"password": "p"}), cas=0)
    code = example[1].replace("ml-training", folder).replace("ml-api-keys", remotes[0])
    code = code.replace('region="eu-central-1"', f'region="{REGION}", endpoint_url="{counting.url}"')
    code = code.replace("HubSettings.from_environment()", f"HubSettings('{lab.world.hub_address}')")
    told: dict[str, Any] = {"connect": lambda password: None}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VAULT_TOKEN", lab.world.hub_token)
        exec(compile(code, str(DOCUMENT), "exec"), told)  # noqa: S102  our own document
    bulk = told["bulk"]
    assert list(bulk.values) == [("hub", f"{folder}/database"), ("aws", remotes[0])]
    assert list(bulk.errors) == [("aws", "ml-model-registry")]
