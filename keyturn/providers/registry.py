"""From the catalogue's words to opened adapters; each SDK is imported when its first adapter is opened."""

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from keyturn.catalogue import Catalogue
from keyturn.catalogue.connections import StoreSettings
from keyturn.catalogue.targets import TargetSettings
from keyturn.core.errors import Invalid, NotFound
from keyturn.core.hub import Hub
from keyturn.core.names import AWS_SECRETS_MANAGER, AZURE_KEY_VAULT, GCP_SECRET_MANAGER
from keyturn.core.notices import SECRET_ROTATED, Notice, message_id
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.stores import Store
from keyturn.rotation.context import Keyturn

T = TypeVar("T")

STORES: Final = {
    AWS_SECRETS_MANAGER: ("aws_secrets_manager", "AwsSecretsManager", "aws"),
    AZURE_KEY_VAULT: ("azure_key_vault", "AzureKeyVault", "azure"),
    GCP_SECRET_MANAGER: ("gcp_secret_manager", "GcpSecretManager", "gcp"),
}
"""For each kind of store: its module, its adapter, and the extra that brings the SDK."""

TARGETS: Final = {
    "postgresql": ("postgresql", "PostgreSQL", "postgres"),
    "mysql": ("mysql", "MySQL", "mysql"),
    "redis": ("redis", "Redis", "redis"),
    "aws-iam": ("aws_iam", "AwsIam", "aws"),
    "microsoft-graph": ("microsoft_graph", "MicrosoftGraph", "azure"),
    "azure-resource-manager": ("azure_resource_manager", "AzureResourceManager", "azure"),
    "gcp-iam": ("gcp_iam", "GcpIam", "gcp"),
    "http-api": ("http_api", "HttpApi", "http"),
}
"""The same for each kind of target."""

ATTEMPTS: Final = 4
"""How often a consumer is told in one run before it counts as silent."""


def open_keyturn(catalogue: Catalogue, hub: Hub) -> Keyturn:
    """Everything that a rotation of this catalogue needs. Adapters are opened when first asked for, and kept."""
    stores = Kept(lambda name: open_store(name, catalogue.store(name)))
    tools = Opening(hub, Kept(lambda name: open_target(name, catalogue.target(name), hub)))
    strategies = Kept(lambda path: catalogue.secret(path).rotation.open(path, tools))
    return Keyturn(catalogue, hub, strategies, stores, CatalogueSender(catalogue, hub), tools.clock)


@dataclass(frozen=True)
class Opening:
    """What strategies are opened with."""

    hub: Hub
    target: Callable[[str], Any]

    def clock(self) -> datetime:
        """The time now, by this machine."""
        return datetime.now(UTC)


class Kept(dict[str, T]):
    """Opens each name once, whichever thread asks first."""

    def __init__(self, opener: Callable[[str], T]) -> None:
        super().__init__()
        self._opener = opener
        self._lock = threading.RLock()

    def __call__(self, name: str) -> T:
        if name not in self:
            with self._lock:
                if name not in self:
                    self[name] = self._opener(name)
        return self[name]


def open_store(name: str, settings: StoreSettings) -> Store:
    """The store's adapter. Raises Invalid, naming the extra, where its SDK is not installed."""
    module, adapter, extra = STORES[settings.kind]
    store: Store = _adapter(module, adapter, extra)(name, **settings.model_dump(exclude={"kind"}))
    return store


def open_target(name: str, settings: TargetSettings, hub: Hub) -> Any:
    """The target's adapter; its admin credential is read from the hub whenever it connects."""
    given = settings.model_dump(exclude={"kind", "admin"})
    if path := getattr(settings, "admin", None):
        given["admin"] = lambda: admin_credential(hub, name, path)
    module, adapter, extra = TARGETS[settings.kind]
    return _adapter(module, adapter, extra)(name, **given)


def admin_credential(hub: Hub, name: str, path: str) -> SecretFields:
    """Username and password of the role that may alter others. Raises NotFound, Invalid."""
    state = hub.read_state(path)
    if state is None:
        hint = f"Write username and password to {path} in Keyturn's own mount of the hub"
        raise NotFound("read", path, f"the admin credential of target {name} is not there", hint)
    if not {"username", "password"} <= state.data.keys():
        raise Invalid(
            "read", path, f"the admin credential of target {name} lacks a field", "Write username and password"
        )
    return SecretFields(state.data)


def _adapter(module: str, name: str, extra: str) -> Any:
    try:
        return getattr(importlib.import_module(f"keyturn.providers.{module}"), name)
    except ModuleNotFoundError as error:
        raise Invalid("open", name, f"the package {error.name} is missing", f"Install keyturn[{extra}]") from None


class CatalogueSender:
    """Delivers notices to the catalogue's consumers, signed with keys that lie in the hub."""

    def __init__(self, catalogue: Catalogue, hub: Hub) -> None:
        self._catalogue = catalogue
        self._hub = hub
        self._senders = Kept(lambda scheme: _webhook_sender(allow_http=scheme == "http"))

    def deliver(self, consumer: str, path: str, version: int, at: datetime) -> None:
        """Tell ``consumer``; returns once it has acknowledged. Raises the last error of several tries."""
        settings = self._catalogue.consumer(consumer)
        # The catalogue has refused plain http to other machines unless it was allowed by name.
        sender = self._senders("http" if settings.url.startswith("http://") else "https")
        sender.deliver_with_retries(
            settings.url,
            self._signing_key(consumer, settings.signing_key),
            Notice(SECRET_ROTATED, path, version, at),
            message_id=message_id(path, version, SECRET_ROTATED),
            timeout=settings.timeout.total_seconds(),
            name=consumer,
            attempts=ATTEMPTS,
        )

    def _signing_key(self, consumer: str, path: str) -> Sensitive:
        state = self._hub.read_state(path)
        if state is None or "key" not in state.data:
            hint = f"Write the consumer's webhook key to the field `key` at {path} in Keyturn's own mount of the hub"
            raise NotFound("read", path, f"the signing key of consumer {consumer} is not there", hint)
        return Sensitive(state.data["key"])


def _webhook_sender(*, allow_http: bool) -> Any:
    from keyturn.providers.webhook import WebhookSender

    return WebhookSender(allow_http=allow_http)
