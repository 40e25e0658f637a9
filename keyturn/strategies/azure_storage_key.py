"""The two keys of a storage account alternate: the one not in use is regenerated, and then put in force."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import WithJsonSchema

from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.settings.fields import Line, matching
from keyturn.strategies.base import StrategySettings, Tools, text_of
from keyturn.strategies.two_slots import WINDOW, TwoSlots, key_digest

SERVICES: Final = {"BlobEndpoint": "blob", "QueueEndpoint": "queue", "TableEndpoint": "table", "FileEndpoint": "file"}
"""The name of each service in a connection string."""


class StorageKey(Protocol):
    @property
    def name(self) -> str:
        """key1 or key2."""

    @property
    def value(self) -> Sensitive:
        """The key itself, in base64."""


class StorageAccount(Protocol):
    @property
    def shared_keys(self) -> bool:
        """Whether it takes keys at all."""

    @property
    def endpoints(self) -> Mapping[str, str]:
        """The addresses of its services, by their names."""


class StorageTarget(Protocol):
    name: str

    def storage_account(self, group: str, account: str) -> StorageAccount:
        """The account as it is now. Raises NotFound."""

    def keys(self, group: str, account: str) -> Sequence[StorageKey]:
        """Its keys as they are now. Raises NotFound."""

    def regenerate_key(self, group: str, account: str, key_name: str, before_sending: Callable[[], None]) -> Sensitive:
        """Regenerate a key and return its new value. ``before_sending`` may raise, and nothing is changed."""

    def check_key(self, group: str, account: str, key: Sensitive) -> None:
        """Use the key. Raises CandidateRejected, or Unavailable while it may be too new."""

    def accepts(self, group: str, account: str, key: Sensitive) -> bool:
        """Whether the account takes the key now. Raises Unavailable where a refusal proves nothing."""


class AzureStorageKey(TwoSlots):
    """The keys of ``account``."""

    credential_fields = frozenset({"account_name", "key_name", "account_key", "connection_string"})
    slots = ("key1", "key2")
    key_field = "account_key"
    slot_field = "key_name"

    def __init__(self, target: StorageTarget, group: str, account: str, window: float = WINDOW) -> None:
        super().__init__(window)
        self.target = target
        self.group = group
        self.account = account

    @property
    def account_name(self) -> str:
        return f"{self.target.name}:{self.account}"

    def values(self) -> Mapping[str, Sensitive]:
        listed = self.target.keys(self.group, self.account)
        return {key.name: key.value for key in listed if key.name in self.slots}

    def regenerate(self, slot: str, old: Sensitive, before_sending: Callable[[], None]) -> Sensitive:
        return self.target.regenerate_key(self.group, self.account, slot, before_sending)

    def value_of(self, fields: SecretFields) -> Sensitive | None:
        if key := fields.get("account_key"):
            return key
        connection_string = fields["connection_string"].reveal() if "connection_string" in fields else ""
        match = re.search(r"(?:^|;)AccountKey=([^;]+)", connection_string)
        return Sensitive(match[1]) if match else None

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        for fields in (current, candidate):
            self._check_account(fields)
        if not self.target.storage_account(self.group, self.account).shared_keys:
            hint = "Let its consumers sign in with Entra ID and drop this secret, or set allowSharedKeyAccess"
            raise self.invalid("it takes no keys (allowSharedKeyAccess is false)", hint)
        super().preflight(current, candidate)

    def mint(self, current: SecretFields | None) -> SecretFields:
        addresses = self._addresses()
        name, made = self.regenerate_idle(current)
        return SecretFields(
            {
                "account_name": self.account,
                "key_name": name,
                "account_key": made,
                "connection_string": Sensitive(f"{addresses};AccountKey={made.reveal()}"),
            }
        )

    def verify(self, change: Change) -> None:
        self.target.check_key(self.group, self.account, change.candidate["account_key"])

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        named = super().credential_id(current)
        return {"account": text_of(current, "account_name") or self.account, **named} if named else {}

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """Regenerate the old key, if it still has its value. Raises Invalid for another account's key."""
        if not credential_id:
            return
        if credential_id["account"] != self.account:
            hint = f"Put account back to {credential_id['account']} in the catalogue, until its old key is retired"
            raise self.invalid("the old key is another account's", hint)
        self.end(credential_id["digest"])

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        key, named = self.value_of(credential), text_of(credential, "account_name")
        if key is None:
            return RevokeResult()
        if named not in (None, self.account):
            remark = f"a key of {named}, another account, which the secret held: regenerate it there by hand"
            return RevokeResult(outlives=(remark,))
        self.end(key_digest(key))
        return RevokeResult()

    def accepts(self, credential: SecretFields) -> bool | None:
        key = self.value_of(credential)
        if key is None or text_of(credential, "account_name") not in (None, self.account):
            return None
        return self.target.accepts(self.group, self.account, key)

    def _check_account(self, fields: SecretFields | None) -> None:
        named = text_of(fields, "account_name")
        if named not in (None, self.account):
            problem = f"the secret names another account ({named})"
            raise self.invalid(problem, "Correct account in its rotation, or account_name in the hub")

    def _addresses(self) -> str:
        endpoints = self.target.storage_account(self.group, self.account).endpoints
        suffix = (urlsplit(endpoints.get("blob", "")).hostname or "").partition(".blob.")[2]
        parts = ["DefaultEndpointsProtocol=https", f"AccountName={self.account}"]
        parts += [f"EndpointSuffix={suffix}"] if suffix else []
        parts += [f"{word}={endpoints[kind]}" for word, kind in SERVICES.items() if kind in endpoints]
        return ";".join(parts)


# --- in the catalogue --------------------------------------------------------------------------------------

ACCOUNT: Final = r"^[a-z0-9]{3,24}$"
GROUP: Final = r"^[A-Za-z0-9_.()-]{0,89}[A-Za-z0-9_()-]$"


class AzureStorageKeySettings(StrategySettings):
    """The two keys of an Azure storage account alternate."""

    targets = frozenset({"azure-resource-manager"})
    claims = ("account",)

    strategy: Literal["azure-storage-key"]
    """How the secret is replaced."""
    target: Line
    """The name of the target whose subscription the account is in."""
    resource_group: Annotated[
        str,
        matching(GROUP, "is not a resource group's name", "Use 1 to 90 letters, digits and _ . - ( )"),
        WithJsonSchema({"type": "string", "pattern": GROUP}),
    ]
    """The resource group that the account is in."""
    account: Annotated[
        str,
        matching(ACCOUNT, "is not a storage account's name", "Use 3 to 24 lower-case letters and digits."),
        WithJsonSchema({"type": "string", "pattern": ACCOUNT}),
    ]
    """The storage account. No other secret may rotate its keys."""

    def open(self, path: str, tools: Tools) -> AzureStorageKey:
        return AzureStorageKey(tools.target(self.target), self.resource_group, self.account)
