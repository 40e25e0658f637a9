"""Opens the catalogue's adapters. Each SDK is imported on first use."""

import importlib
import os
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from keyturn.catalogue import Catalogue
from keyturn.catalogue.consumers import ConsumerSettings
from keyturn.catalogue.keys import KeySettings
from keyturn.catalogue.operator.policy import OperatorsPolicy
from keyturn.catalogue.stores import StoreSettings
from keyturn.catalogue.targets import TargetSettings
from keyturn.core.clocks import by_hub_clock
from keyturn.core.errors import Denied, Invalid, NotFound, UnsupportedOperation
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice, message_id
from keyturn.core.ports.consumers import ChecksHealth, NoticeSender
from keyturn.core.ports.grants import AccountMaker
from keyturn.core.ports.hub import Hub, KeyOpening, StatePort
from keyturn.core.ports.keys import KeyMaker
from keyturn.core.ports.ledger import Ledger
from keyturn.core.ports.managed_keys import ManagedKey
from keyturn.core.ports.stores import Store
from keyturn.core.ports.strategies import Strategy
from keyturn.core.redaction import discreet
from keyturn.core.rights.capabilities import capability
from keyturn.core.rights.rights import AccountRights, CopyRights, Verdict
from keyturn.core.rights.target_setup import TargetSetup
from keyturn.core.schedule.renewal_info import RenewalAdviser
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.webhook_keys import WebhookKeys
from keyturn.providers.access_page import access_page
from keyturn.providers.apprise_channel import configured_channel, partner_channel
from keyturn.rotation.state.agreements import partner_of
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.naming import names_of
from keyturn.strategies.base import StrategySettings
from keyturn.wiring.ledger import named_ledger

T = TypeVar("T")

TARGETS: Final = {
    "postgresql": ("keyturn.providers.postgresql.target", "PostgreSQL", "postgres"),
    "mysql": ("keyturn.providers.mysql.target", "MySQL", "mysql"),
    "redis": ("keyturn.providers.redis.target", "Redis", "redis"),
    "ldap": ("keyturn.providers.ldap.target", "Ldap", ""),
    "aws-iam": ("keyturn.providers.aws.iam", "AwsIam", "aws"),
    "microsoft-graph": ("keyturn.providers.azure.graph", "MicrosoftGraph", "azure"),
    "azure-resource-manager": ("keyturn.providers.azure.resource_manager", "AzureResourceManager", "azure"),
    "gcp-iam": ("keyturn.providers.gcp.iam", "GcpIam", "gcp"),
    "http-api": ("keyturn.providers.http.api_target", "HttpApi", ""),
    "credential-file": ("keyturn.providers.credential_files.target", "CredentialFile", ""),
}
"""The module, adapter and extra of each kind of target."""

SETUPS: Final = {"postgresql": "keyturn.providers.postgresql.setup", "mysql": "keyturn.providers.mysql.setup"}
"""The module that sets up accounts with statements, by the kind of target."""

MAKERS: Final = {"postgresql": ("keyturn.providers.postgresql.given_accounts", "GivenAccounts", "postgres")}
"""The module, adapter and extra that make accounts for grants, by the kind of target."""

LOGIN: Final = frozenset({"username", "password"})
"""The fields of an admin credential, unless a target's settings require others."""

ATTEMPTS: Final = 4
"""The number of attempts to notify a consumer in one run."""


def open_workspace(catalogue: Catalogue, hub: Hub, ledger: Ledger | None = None) -> Workspace:
    """Return all that rotations of this catalogue need. Adapters are opened on first use.

    ``ledger`` is by default that of the environment. Raises Invalid for mounts that the hub can't have.
    """
    if catalogue.mount_paths != hub.mounts:
        hub = hub.mounted(catalogue.mount_paths)
    stores = Cached(lambda name: open_store(name, catalogue.store(name), hub))
    tools = Opening(hub, Cached(lambda name: open_target(name, catalogue.target(name), hub, catalogue.policy)))

    def open_by(settings: StrategySettings, path: str) -> Strategy:
        return discreet(settings.open(path, tools), lambda: names_of(catalogue, hub, path))

    strategies = Cached(lambda path: open_by(catalogue.secret(path).rotation, path))
    replacements = Cached(lambda path: open_by(catalogue.secret(path).rotation.for_emergency(), path))
    sender, ledger = CatalogueSender(catalogue, hub), ledger or named_ledger(os.environ, hub)
    channel, page = configured_channel(os.environ), access_page(os.environ)
    keys = Cached(lambda name: open_key(name, catalogue.key(name), hub))
    opened = Workspace(
        catalogue, hub, strategies, stores, sender, ledger, tools.clock, channel=channel, access_page=page
    )
    policy = catalogue.policy
    return replace(
        opened,
        open_replacement=replacements,
        limits=policy.limits,
        approvals=policy.approvals,
        own_keys=policy.own_keys,
        open_key=keys,
        open_maker=Cached(lambda name: open_maker(catalogue, name, hub)),
        partner_channel=lambda name: partner_channel(catalogue.policy.partners[name].channel_file),
        open_partner=Cached(lambda name: open_partner(catalogue, name)),
        verify_signature=verify_signature,
    )


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature is valid. Raises Invalid, naming the extra, without the package."""
    try:
        from keyturn.providers.ledger.ed25519 import verify_ed25519
    except ModuleNotFoundError as error:
        problem = f"the package {error.name} is missing"
        raise Invalid("verify", "a signature", problem, "Install keyturn[certificates]") from None
    return verify_ed25519(public_key, message, signature)


@dataclass(frozen=True)
class Opening:
    """What strategies are opened with."""

    hub: Hub
    target: Callable[[str], Any]

    def clock(self) -> datetime:
        """The current time, by the hub's clock where known."""
        return time_of(self.hub)

    @property
    def keys(self) -> KeyMaker:
        """The maker of asymmetric keys. Raises Invalid, naming the extra, without the package."""
        keys: KeyMaker = import_adapter(
            "keyturn.providers.keys.key_maker", "CryptographyKeys", "certificates", "keys"
        )()
        return keys

    @property
    def adviser(self) -> RenewalAdviser | None:
        """The environment's ACME server, if any. Raises Invalid for a malformed address."""
        if not (directory := os.environ.get("KEYTURN_RENEWAL_INFO")):
            return None
        opens = import_adapter("keyturn.providers.http.renewal_info", "AcmeRenewalInfo", "certificates", "renewals")
        adviser: RenewalAdviser = opens(directory, os.environ.get("KEYTURN_RENEWAL_INFO_CA_FILE") or None)
        return adviser


class Cached(dict[str, T]):
    """Opens each name once, in whichever thread asks first."""

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


def open_store(name: str, settings: StoreSettings, hub: Hub | None = None) -> Store:
    """The store's adapter. Raises Invalid, naming the extra, without its SDK.

    With ``hub``, it reads its login there if the catalogue says so.
    """
    module, _, adapter = settings.ADAPTER.partition(":")
    arguments = {key: value for key, value in settings if key not in settings.OWN}
    if hub is not None and (path := getattr(settings, "admin", None)):
        fields = getattr(settings, "admin_fields", LOGIN)
        arguments["hub_login"] = lambda: admin_credential(hub, name, path, fields, "store")
    store: Store = import_adapter(module, adapter, settings.EXTRA, f"the store {name}")(name, **arguments)
    return store


def open_partner(catalogue: Catalogue, store: str) -> StatePort:
    """Keyturn's mount in the hub of the store's partner, read with the store's login.

    Raises NotFound for a store without a partner.
    """
    from keyturn.providers.vault.partner import open_state

    settings, partner = catalogue.store(store), partner_of(catalogue, store)
    if not partner:
        raise NotFound("ask", store, "it is in no other organisation's part of a hub", "See the operator's file")
    arguments = {key: value for key, value in settings if key not in settings.OWN}
    return open_state(catalogue.policy.partners[partner].state_mount, **arguments)


def open_key(name: str, settings: KeySettings, hub: Hub) -> ManagedKey:
    """A managed key's adapter. Raises Invalid, naming the extra, without its SDK."""
    module, _, opener = settings.ADAPTER.partition(":")
    arguments = {key: value for key, value in settings if key not in settings.OWN}
    opens = import_adapter(module, opener, settings.EXTRA, f"the key {name}")
    key: ManagedKey = opens(KeyOpening(name, hub), **arguments)
    return key


def open_maker(catalogue: Catalogue, name: str, hub: Hub) -> AccountMaker:
    """The account maker of an entry of `grants`, with its own admin at the target."""
    settings = catalogue.grants[name]
    target = catalogue.target(settings.target).model_copy(update={"admin": settings.admin})
    module, adapter, extra = MAKERS[target.kind]
    maker = import_adapter(module, adapter, extra, f"the target {settings.target}")
    made: AccountMaker = maker(
        open_target(settings.target, target, hub), settings.roles, settings.owner, hub.state_mount
    )
    return made


def ask_store(name: str, settings: StoreSettings, copies: CopyRights, revoking: bool) -> list[Verdict]:
    """What the login may do with copies in a store."""
    module, _, function = settings.ASKS.partition(":")
    arguments = {key: value for key, value in settings if key not in settings.OWN}
    return list(
        import_adapter(module, function, settings.EXTRA, f"the store {name}")(name, copies, revoking, **arguments)
    )


def ask_target(name: str, settings: TargetSettings, accounts: AccountRights, revoking: bool) -> list[Verdict]:
    """What the login may do with accounts at a target."""
    module, _, function = settings.ASKS.partition(":")
    arguments = {key: value for key, value in settings if key not in ("kind", "admin")}
    ask = import_adapter(module, function, TARGETS[settings.kind][2], f"the target {name}")
    return list(ask(name, accounts, revoking, **arguments))


def open_target(name: str, settings: TargetSettings, hub: Hub, policy: OperatorsPolicy | None = None) -> Any:
    """The target's adapter. It reads its admin credential from the hub at each connection."""
    arguments: dict[str, Any] = {key: value for key, value in settings if key not in ("kind", "admin")}
    arguments |= settings.from_operator(policy or OperatorsPolicy())
    if path := getattr(settings, "admin", None):
        fields = getattr(settings, "admin_fields", LOGIN)
        arguments["admin"] = lambda: admin_credential(hub, name, path, fields)
    module, adapter, extra = TARGETS[settings.kind]
    return import_adapter(module, adapter, extra, f"the target {name}")(name, **arguments)


def insist_on_setup(name: str, settings: TargetSettings) -> None:
    """Raise UnsupportedOperation for a target of a kind without setup statements."""
    if settings.kind not in SETUPS:
        problem = f"a target of kind {settings.kind} is not set up by statements"
        hint = (
            "Write its admin credential into the hub at the target's `admin` path. `keyturn recipe show` or the page "
            "of the strategy names its fields, and `keyturn doctor` says what is lacking"
        )
        raise UnsupportedOperation("set up", name, problem, hint)


def open_target_setup(name: str, settings: TargetSettings, login: SecretFields, admin: SecretFields) -> TargetSetup:
    """The setup of a target. ``admin`` is Keyturn's own account there.

    Raises UnsupportedOperation for a kind without setup statements.
    """
    insist_on_setup(name, settings)
    arguments = {key: value for key, value in settings if key not in ("kind", "admin")}
    extra = TARGETS[settings.kind][2]
    opens = import_adapter(SETUPS[settings.kind], "open_setup", extra, f"the target {name}")
    setup: TargetSetup = opens(name, login, admin, **arguments)
    return setup


def admin_credential(
    hub: Hub, name: str, path: str, fields: Collection[str] = LOGIN, kind: str = "target"
) -> SecretFields:
    """Keyturn's login at a target or store. Raises NotFound, or Invalid where one of ``fields`` is missing."""
    state = hub.read_state(path)
    if state is None:
        hint = f"Write {' and '.join(sorted(fields, reverse=True)) or 'it'} to {path} in Keyturn's own mount of the hub"
        raise NotFound("read", path, f"the admin credential of {kind} {name} is not there", hint)
    if lacking := sorted(set(fields) - state.data.keys(), reverse=True):
        problem = f"the admin credential of {kind} {name} lacks a field"
        raise Invalid("read", path, problem, f"Write {' and '.join(lacking)}")
    return SecretFields(state.data)


def import_adapter(module: str, name: str, extra: str, what: str) -> Any:
    """The class or function of that name. Raises Invalid, naming the extra without its SDK, if it can't be loaded."""
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise Invalid("open", what, f"the package {error.name} is missing", f"Install keyturn[{extra}]") from None
    except Exception as error:  # noqa: BLE001 - an installed package's own module may raise anything
        problem = f"{module}:{name} can't be loaded ({type(error).__name__})"
        raise Invalid("open", what, problem, "Uninstall its package, or install a version without this flaw") from None


def time_of(hub: Hub) -> datetime:
    """The current time, by the hub's clock where known."""
    return by_hub_clock(datetime.now(UTC), hub.clock_ahead())


class CatalogueSender:
    """Delivers notices to the catalogue's consumers, signed with keys from the hub."""

    def __init__(self, catalogue: Catalogue, hub: Hub) -> None:
        self._catalogue = catalogue
        self._hub = hub
        self._senders = Cached(lambda consumer: open_consumer(consumer, catalogue.consumer(consumer), hub))

    def deliver(
        self,
        consumer: str,
        path: str,
        version: int,
        at: datetime,
        event: str = SECRET_ROTATED,
        *,
        made: bool = False,
        replaced: bool = True,
    ) -> None:
        """Notify ``consumer``. Raises the last error unless it acknowledges."""
        keys = self._signing_keys(consumer)
        notice = Notice(event, path, version, at, replaced)
        sent_id = message_id(path, version, event, at if made else None, replaced=replaced)
        try:
            self._send(consumer, keys.all, notice, sent_id)
        except Denied:
            if keys.next is None or not self._catalogue.consumer(consumer).answers:
                raise
            # A receiver that compares the whole header with one signature knows only the old key.
            self._send(consumer, (keys.key,), notice, sent_id)

    def accepts_next_key(self, consumer: str, path: str, version: int, at: datetime, *, made: bool = False) -> bool:
        """Whether ``consumer`` acknowledges an earlier notice signed by its next webhook key alone.

        False for a refused signature or no next key. Raises any other error.
        """
        keys = self._signing_keys(consumer)
        if keys.next is None:
            return False
        notice = Notice(SECRET_ROTATED, path, version, at)
        try:
            self._send(consumer, (keys.next,), notice, message_id(path, version, notice.event, at if made else None))
        except Denied:
            return False
        return True

    def check_health(self, consumer: str) -> None:
        """Raise where ``consumer`` is not healthy, or can't be asked."""
        timeout = self._catalogue.consumer(consumer).timeout.total_seconds()
        if (asks := capability(self._senders(consumer), ChecksHealth)) is None:
            raise UnsupportedOperation(
                "ask the health of", consumer, "it has no way to answer", "Leave it out of canary"
            )
        asks.check_health(timeout)

    def _send(self, consumer: str, keys: Sequence[Sensitive], notice: Notice, sent_id: str) -> None:
        from keyturn.providers.deliver_notices import deliver_notice

        settings, sender = self._catalogue.consumer(consumer), self._senders(consumer)
        timeout, place = settings.timeout.total_seconds(), settings.signing_key
        deliver_notice(
            sender,
            keys,
            notice,
            message_id=sent_id,
            timeout=timeout,
            name=consumer,
            attempts=ATTEMPTS,
            place=place,
            now=lambda: time_of(self._hub),
        )

    def _signing_keys(self, consumer: str) -> WebhookKeys:
        path = self._catalogue.consumer(consumer).signing_key
        state = self._hub.read_state(path)
        if state is None:
            hint = f"Write the consumer's webhook key to the field `key` at {path} in Keyturn's own mount of the hub"
            raise NotFound("read", path, f"the signing key of consumer {consumer} is not there", hint)
        return WebhookKeys.from_data(path, state.data)


def open_consumer(name: str, settings: ConsumerSettings, hub: Hub) -> NoticeSender:
    """A consumer's sender. Raises Invalid, naming the extra, without its SDK."""
    module, _, adapter = settings.ADAPTER.partition(":")
    arguments: dict[str, Any] = {key: value for key, value in settings if key not in settings.OWN}
    if path := getattr(settings, "login", None):
        arguments["login"] = lambda: consumer_login(hub, name, path)
    sender: NoticeSender = import_adapter(module, adapter, settings.EXTRA, f"the consumer {name}")(name, **arguments)
    return sender


def consumer_login(hub: Hub, name: str, path: str) -> SecretFields:
    """The login to a consumer, read at each connection. Raises NotFound, Invalid."""
    state = hub.read_state(path)
    if state is None:
        hint = f"Write {' and '.join(sorted(LOGIN, reverse=True))} to {path} in Keyturn's own mount of the hub"
        raise NotFound("read", path, f"the login that consumer {name} is notified by is not there", hint)
    if lacking := sorted(LOGIN - state.data.keys(), reverse=True):
        problem = f"the login that consumer {name} is notified by lacks a field"
        raise Invalid("read", path, problem, f"Write {' and '.join(lacking)}")
    return SecretFields(state.data)
