"""Whoever answers over HTTP may lie: never answer, drip, send its client elsewhere, or answer without an end."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPMessage
from pathlib import Path
from time import time

import pytest
import trustme
from azure.core.credentials import AccessToken

from keyturn.core.errors import RETRY_AFTER_LIMIT, KeyturnError, Throttled
from keyturn.core.notices import SECRET_ROTATED, Notice
from keyturn.core.rest import Listing, Request
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.ledger.forwarding import Message
from keyturn.providers.answers import RefusedAnswer
from keyturn.providers.aws.iam import AwsIam
from keyturn.providers.aws.parameter_store import AwsParameterStore
from keyturn.providers.aws.secrets_manager import AwsSecretsManager
from keyturn.providers.azure.client import SDK_SETTINGS
from keyturn.providers.azure.graph import MicrosoftGraph
from keyturn.providers.azure.resource_manager import AzureResourceManager
from keyturn.providers.azure.store import AzureKeyVault
from keyturn.providers.gcp.iam import GcpIam
from keyturn.providers.github.store import GitHubActions
from keyturn.providers.http.api_target import HttpApi
from keyturn.providers.http.webhook import WebhookSender
from keyturn.providers.kubernetes.store import Kubernetes
from keyturn.providers.ledger.http_collector import HttpCollector
from keyturn.providers.outbound import cap_waits, insist_on_size, within
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.login import HubSettings
from keyturn.providers.vault.store import VaultStore
from tests.ledger.entries import entry
from tests.support.liar import (
    HUGE,
    SLOW,
    Behaviour,
    Liar,
    answers_in_turn,
    asks_for_ages,
    never_answers,
    never_ends,
    redirects_to,
    says_a_huge_chunk,
)

WAIT = 0.3
"""Seconds that a call has here."""
TOKEN = "token-that-nobody-else-may-hear"
SIZE = 1 << 20
"""Bytes that an answer may have here."""


class SignedIn:
    """An identity of Azure's that has a token."""

    def get_token(self, *_: str, **__: object) -> AccessToken:
        return AccessToken(TOKEN, int(time()) + 3600)


@dataclass(frozen=True)
class Place:
    """Where a client finds the server, whom it trusts, and the file with its token."""

    url: str
    ca_file: str
    token_file: str

    @property
    def host(self) -> str:
        """With its port."""
        return self.url.partition("://")[2]


def ask_hub(place: Place) -> object:
    settings = HubSettings(place.url, ca_file=place.ca_file, token_file=place.token_file)
    return Calls(settings).find("read", "app/db", "secret/data/app/db")


def list_vault(place: Place) -> object:
    store = VaultStore("vault", address=place.url, ca_file=place.ca_file, token_file=place.token_file)
    return list(store.list_all())


def list_secrets_manager(place: Place) -> object:
    return list(AwsSecretsManager("aws", region="eu-central-1", endpoint_url=place.url).list_all())


def list_parameters(place: Place) -> object:
    return list(AwsParameterStore("ssm", region="eu-central-1", endpoint_url=place.url).list_all())


def list_access_keys(place: Place) -> object:
    return AwsIam("iam", endpoint_url=place.url).keys("robot")


def list_key_vault(place: Place) -> object:
    vault = AzureKeyVault("kv", vault_url=place.url, ca_file=place.ca_file, authority=place.url, credential=SignedIn())
    return list(vault.list_all())


def list_app_secrets(place: Place) -> object:
    graph = MicrosoftGraph(
        "graph", tenant="t", endpoint=place.url, authority=place.url, ca_file=place.ca_file, credential=SignedIn()
    )
    return graph.application("11111111-2222-3333-4444-555555555555")


def list_storage_keys(place: Place) -> object:
    azure = AzureResourceManager(
        "azure", subscription="s", endpoint=place.url, ca_file=place.ca_file, credential=SignedIn(), pauses=()
    )
    return azure.keys("group", "account")


def list_service_account_keys(place: Place) -> object:
    return GcpIam("gcp", project="p", endpoint=place.host).keys("robot@p.iam.gserviceaccount.com")


def list_kubernetes(place: Place) -> object:
    store = Kubernetes("k8s", namespace="app", server=place.url, ca_file=place.ca_file, token_file=place.token_file)
    return list(store.list_all())


def list_github(place: Place) -> object:
    store = GitHubActions(
        "github", repository="a/b", token_file=place.token_file, api_url=place.url, ca_file=place.ca_file
    )
    return list(store.list_all())


def call_api(place: Place) -> object:
    api = HttpApi(
        "api",
        url=place.url,
        admin=lambda: SecretFields({"token": TOKEN}),
        headers={"authorization": "Bearer {{admin.token}}"},
        ca_file=place.ca_file,
        timeout=timedelta(seconds=WAIT),
    )
    return api.listed(Listing(Request("GET", "/keys"), ""), SecretFields({}), "list")


def notify_consumer(place: Place) -> object:
    notice = Notice(SECRET_ROTATED, "app/db", 3, datetime(2026, 11, 1, tzinfo=UTC))
    sender = WebhookSender(ca=Path(place.ca_file), allow_http=True)
    sender.deliver(place.url, Sensitive("whsec_" + "A" * 32), notice, message_id="m", timeout=WAIT, name="app")
    return None


def forward_entries(place: Place) -> object:
    collector = HttpCollector(place.url, token_file=place.token_file, ca_file=place.ca_file, timeout=WAIT)
    collector.deliver("l", [Message(1, entry(), "{}")])
    return None


IN_CLEAR = (list_secrets_manager, list_parameters, list_access_keys, list_service_account_keys)
"""Clients that take no certificate authority of our own from their settings, and trust loopback."""
LIBRARIES = (
    ask_hub,
    list_secrets_manager,
    list_key_vault,
    list_app_secrets,
    list_kubernetes,
    list_service_account_keys,
)
"""Clients that reach the connections each in a way of its own."""
CLIENTS = (
    *LIBRARIES,
    list_vault,
    list_parameters,
    list_access_keys,
    list_storage_keys,
    list_github,
    call_api,
    notify_consumer,
    forward_entries,
)
Act = Callable[[Place], object]
Serve = Callable[[Behaviour, Act], tuple[Liar, Place]]


def each(clients: Sequence[Act], behaviours: Sequence[Behaviour]) -> list[object]:
    """Every client with the first of these ways to lie; those with a way of their own with every one."""
    pairs = [(act, way) for act in clients for way in behaviours if way is behaviours[0] or act in LIBRARIES]
    return [pytest.param(act, way, id=f"{act.__name__}-{way.__name__}") for act, way in pairs]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path, Path]:
    """A server's TLS, the file of who signed it, and a file with a token."""
    directory, authority, tls = tmp_path_factory.mktemp("liar"), trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(directory / "ca.pem")
    (directory / "token").write_text(TOKEN)
    return tls, directory / "ca.pem", directory / "token"


@pytest.fixture
def serve(authority: tuple[ssl.SSLContext, Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A server that lies so, as a client needs it; an answer may be small only, and AWS's SDK is signed in."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TOKEN)
    monkeypatch.setattr("keyturn.providers.outbound.LARGEST_ANSWER", SIZE)
    tls, ca_file, token_file = authority
    with ExitStack() as opened:

        def open_server(behaviour: Behaviour, act: Act) -> tuple[Liar, Place]:
            server = opened.enter_context(Liar(behaviour, None if act in IN_CLEAR else tls))
            return server, Place(server.url, str(ca_file), str(token_file))

        yield open_server


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients whose deadline is no setting of theirs have a short one."""
    assert isinstance(SDK_SETTINGS, dict)
    monkeypatch.setitem(SDK_SETTINGS, "read_timeout", WAIT)
    monkeypatch.setattr("keyturn.providers.vault.login.TIMEOUT", WAIT)
    monkeypatch.setattr("keyturn.providers.aws.client.LONGEST_CALL", WAIT)
    monkeypatch.setattr("keyturn.providers.azure.rest.TIMEOUT", (5, WAIT))
    monkeypatch.setattr("keyturn.providers.kubernetes.client.TIMEOUT", (5.0, WAIT))
    monkeypatch.setattr("keyturn.providers.github.client.TIMEOUT", (5, WAIT))
    monkeypatch.setattr("keyturn.providers.gcp.iam.DEADLINE", WAIT)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(("act", "behaviour"), each(CLIENTS, SLOW))
def test_whoever_does_not_answer_in_time_is_given_up(serve: Serve, act: Act, behaviour: Behaviour) -> None:
    _, place = serve(behaviour, act)
    with pytest.raises(KeyturnError, match=rf"within {WAIT} s"):
        act(place)


@pytest.mark.parametrize(
    ("act", "behaviour"), each([act for act in CLIENTS if act not in (notify_consumer, forward_entries)], HUGE)
)
def test_an_answer_without_an_end_is_refused_before_it_is_read(serve: Serve, act: Act, behaviour: Behaviour) -> None:
    server, place = serve(behaviour, act)
    with pytest.raises(KeyturnError, match=r"longer than 1 MiB|compressed, which was not asked for"):
        act(place)
    assert server.requests
    assert server.sent < 64 * SIZE


@pytest.mark.parametrize("act", [notify_consumer, forward_entries])
@pytest.mark.parametrize("behaviour", [never_ends, says_a_huge_chunk])
def test_an_acknowledgement_is_one_however_much_follows(serve: Serve, act: Act, behaviour: Behaviour) -> None:
    server, place = serve(behaviour, act)
    act(place)
    assert len(server.requests) == 1
    assert server.sent < 64 * SIZE


@pytest.mark.parametrize("act", CLIENTS)
def test_nobody_is_sent_to_another_server(serve: Serve, act: Act) -> None:
    elsewhere, _ = serve(answers_in_turn(lambda _: {}), act)
    server, place = serve(redirects_to(elsewhere.url), act)
    with pytest.raises(KeyturnError) as raised:
        act(place)
    assert server.requests
    assert elsewhere.requests == []
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("act", CLIENTS)
def test_nobody_waits_longer_than_a_minute_because_a_server_says_so(serve: Serve, act: Act) -> None:
    server, place = serve(asks_for_ages, act)
    with pytest.raises(KeyturnError) as raised:
        act(place)
    assert server.requests
    requested = raised.value.retry_after if isinstance(raised.value, Throttled) else None
    assert requested is None or requested <= RETRY_AFTER_LIMIT


def test_a_second_look_takes_what_is_left_of_one_deadline(serve: Serve) -> None:
    _, place = serve(never_answers, ask_hub)
    with within(WAIT), pytest.raises(KeyturnError, match=rf"within {WAIT} s"):
        ask_hub(place)


def test_a_header_that_asks_for_a_wait_asks_for_a_minute_at_most() -> None:
    headers = HTTPMessage()
    for name, text in (
        ("date", "Fri, 27 Nov 2026 12:00:00 GMT"),
        ("retry-after", "Fri, 27 Nov 2026 18:00:00 GMT"),
        ("retry-after-ms", "1e30"),
        ("x-ms-retry-after-ms", "30000"),
        ("x-amz-retry-after", "1"),
    ):
        headers[name] = text
    cap_waits(headers)
    waits = {name: headers[name] for name in headers if "retry" in name}
    assert waits == {"retry-after": "60", "x-ms-retry-after-ms": "30000"}


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1_000", "٣", "", "12, 13", str(1 << 40)])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    headers = HTTPMessage()
    headers["content-length"] = length
    with pytest.raises(RefusedAnswer, match=r"Content-Length|longer than"):
        insist_on_size(headers)
