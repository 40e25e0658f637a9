"""Storage accounts: what Azure Resource Manager does with their keys, and what their blob service does with them."""

import base64
import calendar
import hmac
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from local.emulators.azure_key_vault.messages import Answer, Refusal, Request
from local.emulators.azure_management.directory import Delays, permitted, stamp
from local.emulators.azure_management.graph import document

TYPE: Final = "Microsoft.Storage/storageAccounts"
READ: Final = f"{TYPE}/read"
LIST_KEYS: Final = f"{TYPE}/listkeys/action"
REGENERATE: Final = f"{TYPE}/regeneratekey/action"
KEY_ROTATION: Final = frozenset({READ, LIST_KEYS, REGENERATE})
"""The actions that rotating keys takes."""

SERVICES: Final = ("blob", "file", "queue", "table")
SKEW: Final = 15 * 60
"""Seconds that a signed request's date may be off."""

SIGNED_HEADERS: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


@dataclass
class Key:
    """One of an account's two keys, and when it was made, in seconds since 1970; None where nobody remembers."""

    value: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(64)).decode(), repr=False)
    made: float | None = None


@dataclass
class StorageAccount:
    """One account. ``shared_keys`` None is how accounts are where nobody said whether keys are allowed."""

    name: str
    group: str = "local"
    shared_keys: bool | None = None
    locked: bool = False
    firewall: bool = False
    keys: dict[str, Key] = field(default_factory=lambda: {"key1": Key(), "key2": Key()}, repr=False)
    former: list[tuple[float, Key]] = field(default_factory=list, repr=False)

    def told_keys(self) -> dict[str, Any]:
        """The resource ``StorageAccountListKeysResult``."""
        return {
            "keys": [
                {
                    "creationTime": None if key.made is None else stamp(key.made),
                    "keyName": name,
                    "permissions": "FULL",
                    "value": key.value,
                }
                for name, key in self.keys.items()
            ]
        }


class Storage:
    """Every storage account of one subscription."""

    def __init__(self, subscription: str, delays: Delays, clock: Callable[[], float]) -> None:
        self.subscription = subscription
        self.accounts: dict[str, StorageAccount] = {}
        self._delays = delays
        self._clock = clock

    # Azure Resource Manager

    def manage(self, request: Request, claims: Mapping[str, Any]) -> Answer:
        """The answer to a call under ``/subscriptions``. Raises a refusal."""
        match request.parts:
            case ("subscriptions", subscription, "resourceGroups", group, "providers", provider, kind, name, *action):
                account = self._find(subscription, group, f"{provider}/{kind}", name)
                return self._act(request, claims, account, tuple(action))
        raise Refusal(404, "InvalidResourceType", "The resource type could not be found.")

    def _find(self, subscription: str, group: str, kind: str, name: str) -> StorageAccount:
        if subscription != self.subscription:
            raise Refusal(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")
        account = self.accounts.get(name) if kind.lower() == TYPE.lower() else None
        if account is None or account.group.lower() != group.lower():
            message = f"The Resource '{kind}/{name}' under resource group '{group}' was not found."
            raise Refusal(404, "ResourceNotFound", message)
        return account

    def _act(
        self, request: Request, claims: Mapping[str, Any], account: StorageAccount, action: tuple[str, ...]
    ) -> Answer:
        match request.method, tuple(part.lower() for part in action):
            case "GET", ():
                self._allow(claims, READ, account)
                return Answer(self._described(request, account))
            case "POST", ("listkeys",):
                self._allow(claims, LIST_KEYS, account)
                listed = account.told_keys()
                time.sleep(self._delays.listing)
                return Answer(listed)
            case "POST", ("regeneratekey",):
                self._allow(claims, REGENERATE, account)
                return self._regenerate(document(request).get("keyName"), account)
        raise Refusal(405, "HttpMethodNotAllowed", "The HTTP method is not supported at this scope.")

    def _allow(self, claims: Mapping[str, Any], action: str, account: StorageAccount) -> None:
        if action not in permitted(claims):
            message = f"The client '{claims['appid']}' does not have authorization to perform action '{action}'."
            raise Refusal(403, "AuthorizationFailed", message)
        if account.locked and action != READ:
            raise Refusal(409, "ScopeLocked", "The scope cannot perform write operation because it is locked.")

    def _regenerate(self, name: object, account: StorageAccount) -> Answer:
        if not isinstance(name, str) or name not in account.keys:
            raise Refusal(400, "InvalidKeyName", "The key name is not one of key1, key2, kerb1, kerb2.")
        account.former.append((self._clock(), account.keys[name]))
        account.keys[name] = Key(made=self._clock())
        return Answer(account.told_keys())

    def _described(self, request: Request, account: StorageAccount) -> dict[str, Any]:
        scope = f"/subscriptions/{self.subscription}/resourceGroups/{account.group}/providers/{TYPE}/{account.name}"
        properties: dict[str, Any] = {
            "keyCreationTime": {name: key.made and stamp(key.made) for name, key in account.keys.items()},
            "primaryEndpoints": {kind: f"{request.base}/{kind}/{account.name}/" for kind in SERVICES},
            "provisioningState": "Succeeded",
        }
        if account.shared_keys is not None:
            properties["allowSharedKeyAccess"] = account.shared_keys
        return {"id": scope, "name": account.name, "type": TYPE, "kind": "StorageV2", "properties": properties}

    # the blob service

    def serve(self, request: Request) -> Answer:
        """The answer to a call of an account's blob service: List Containers, and nothing else."""
        account = self.accounts.get(request.parts[1] if len(request.parts) == 2 else "")
        if account is None or request.method != "GET" or request.query.get("comp") != "list":
            return Failure(400, "InvalidUri")
        if account.firewall:
            return Failure(403, "AuthorizationFailure")
        if account.shared_keys is False:
            return Failure(403, "KeyBasedAuthenticationNotPermitted")
        if not self._signed(request, account):
            return Failure(403, "AuthenticationFailed")
        return Markup("<EnumerationResults><Containers/><NextMarker/></EnumerationResults>")

    def _signed(self, request: Request, account: StorageAccount) -> bool:
        """Whether one of the account's keys signed the request a short while ago."""
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        name, _, signature = sent.partition(":")
        if scheme != "SharedKey" or name != account.name or not self._timely(request):
            return False
        message = string_to_sign(request, account.name).encode()
        return any(
            hmac.compare_digest(signature.encode(), sign(key.value, message).encode()) for key in self._taken(account)
        )

    def _taken(self, account: StorageAccount) -> list[Key]:
        """The keys that the service takes: neither those that it has not heard of yet, nor those that it has of."""
        now = self._clock()
        arrived = [key for key in account.keys.values() if (key.made or 0) + self._delays.keys <= now]
        return [*arrived, *(key for at, key in account.former if now < at + self._delays.ended)]

    def _timely(self, request: Request) -> bool:
        try:
            sent = time.strptime(request.headers.get("x-ms-date", ""), "%a, %d %b %Y %H:%M:%S GMT")
        except ValueError:
            return False
        return abs(calendar.timegm(sent) - self._clock()) <= SKEW


class Markup(Answer):
    """An answer in XML, as storage services give it."""

    def __init__(self, text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__({"xml": text}, status, {"Content-Type": "application/xml", **(headers or {})})

    def content(self) -> bytes:
        """The text itself."""
        return f'<?xml version="1.0" encoding="utf-8"?>{(self.document or {})["xml"]}'.encode()


class Failure(Markup):
    """A refusal of a storage service: its code stands in a header too."""

    def __init__(self, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>RequestId:{uuid.uuid4()}</Message></Error>"
        super().__init__(text, status, {"x-ms-error-code": code})


def string_to_sign(request: Request, account: str) -> str:
    """What the signature is made of: "Authorize with Shared Key", for versions since 2015."""
    headers = dict(request.headers)
    if headers.get("content-length") == "0":
        del headers["content-length"]
    standard = [headers.get(name, "") for name in SIGNED_HEADERS]
    own = [f"{name}:{headers[name].strip()}" for name in sorted(headers) if name.startswith("x-ms-")]
    resource = f"/{account}/" + "".join(f"{part}/" for part in request.parts)
    query = [f"{name.lower()}:{value}" for name, value in sorted(request.query.items())]
    return "\n".join([request.method, *standard, *own, resource, *query])


def sign(key: str, message: bytes) -> str:
    """HMAC-SHA256 with the key's bytes, in base64."""
    return base64.b64encode(hmac.digest(base64.b64decode(key), message, "sha256")).decode()
