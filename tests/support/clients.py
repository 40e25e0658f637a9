"""Every client of ours that speaks HTTP, doing one thing at the server that a test names."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import time

from azure.core.credentials import AccessToken

from keyturn.core.notifications.notices import SECRET_ROTATED, Notice
from keyturn.core.ports.rest import Listing, Request
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.ledger.forwarding import Message
from keyturn.providers.aws.iam import AwsIam
from keyturn.providers.aws.parameter_store import AwsParameterStore
from keyturn.providers.aws.secrets_manager import AwsSecretsManager
from keyturn.providers.azure.graph import MicrosoftGraph
from keyturn.providers.azure.resource_manager import AzureResourceManager
from keyturn.providers.azure.store import AzureKeyVault
from keyturn.providers.deliver_notices import sign_notice
from keyturn.providers.gcp.iam import GcpIam
from keyturn.providers.github.store import GitHubActions
from keyturn.providers.http.api_target import HttpApi
from keyturn.providers.http.webhook import WebhookSender
from keyturn.providers.kubernetes.store import Kubernetes
from keyturn.providers.ledger.http_collector import HttpCollector
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.store import VaultStore
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.ledger.entries import entry

WAIT = 0.3
"""Seconds that a call has where a client is told."""
TOKEN = "token-that-nobody-else-may-hear"


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
    settings = HubSettings(place.url, ca_file=place.ca_file, login=TokenLogin(file=place.token_file))
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


def key_vault(place: Place) -> AzureKeyVault:
    return AzureKeyVault("kv", vault_url=place.url, ca_file=place.ca_file, authority=place.url, credential=SignedIn())


def list_key_vault(place: Place) -> object:
    return list(key_vault(place).list_all())


def describe_key_vault(place: Place) -> object:
    return key_vault(place).describe("db")


def read_key_vault(place: Place) -> object:
    return key_vault(place).read("db")


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


def kubernetes(place: Place) -> Kubernetes:
    return Kubernetes("k8s", namespace="app", server=place.url, ca_file=place.ca_file, token_file=place.token_file)


def list_kubernetes(place: Place) -> object:
    return list(kubernetes(place).list_all())


def describe_kubernetes(place: Place) -> object:
    return kubernetes(place).describe("db")


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
    sender = WebhookSender("app", place.url, ca_file=place.ca_file, insecure_http=True)
    sender.send(sign_notice([Sensitive("whsec_" + "A" * 32)], notice, "m", "app"), WAIT)
    return None


def forward_entries(place: Place) -> object:
    collector = HttpCollector(place.url, token_file=place.token_file, ca_file=place.ca_file, timeout=WAIT)
    collector.deliver("l", [Message(1, entry(), "{}")])
    return None


Act = Callable[[Place], object]

IN_CLEAR: tuple[Act, ...] = (list_secrets_manager, list_parameters, list_access_keys, list_service_account_keys)
"""Clients that take no certificate authority of our own from their settings, and trust loopback."""
LIBRARIES: tuple[Act, ...] = (
    ask_hub,
    list_secrets_manager,
    list_key_vault,
    list_app_secrets,
    list_kubernetes,
    list_service_account_keys,
)
"""Clients that reach the connections each in a way of its own."""
LOOKS: tuple[Act, ...] = (
    list_vault,
    list_secrets_manager,
    list_parameters,
    list_access_keys,
    list_key_vault,
    describe_key_vault,
    read_key_vault,
    list_app_secrets,
    list_storage_keys,
    list_service_account_keys,
    list_kubernetes,
    describe_kubernetes,
    list_github,
)
"""Clients that look at what a store or a target holds."""
CLIENTS: tuple[Act, ...] = (
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
