"""The two keys of storage accounts in Azure Resource Manager, tested at the account's own service."""

import base64
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
from azure.core.credentials import TokenCredential

from keyturn.core.errors import (
    CandidateRejected,
    Denied,
    Invalid,
    KeyturnError,
    NotFound,
    TerminalError,
    Throttled,
    Unavailable,
)
from keyturn.core.sensitive import Sensitive
from keyturn.providers.azure.rest import Rest, Signed, retry_after, send

PUBLIC: Final = "https://management.azure.com"
API_VERSION: Final = {"api-version": "2023-05-01"}
SERVICE_VERSION: Final = "2021-08-06"

PERMISSION: Final = (
    "Give Keyturn's identity the actions read, listkeys/action and regeneratekey/action of "
    "Microsoft.Storage/storageAccounts on this account"
)
NO_SHARED_KEYS: Final = "Let its consumers sign in with Entra ID and drop this secret, or set allowSharedKeyAccess"
FIREWALL: Final = "Let this machine's address through the storage account's firewall"
PAUSES: Final = (1, 2, 3, 5, 8, 13)
"""Seconds between sign-in attempts; a new key takes effect within about 30."""
TRIED: Final = ("blob", "file")


@dataclass(frozen=True)
class StorageKey:
    """``made`` is the service's creation time, or empty."""

    name: str
    value: Sensitive
    made: str


@dataclass(frozen=True)
class StorageAccount:
    shared_keys: bool
    endpoints: Mapping[str, str] = field(default_factory=dict)


class AzureResourceManager:
    def __init__(
        self,
        name: str,
        *,
        subscription: str,
        endpoint: str = PUBLIC,
        authority: str | None = None,
        ca_file: str | None = None,
        credential: TokenCredential | None = None,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.name = name
        self._subscription = subscription
        self._rest = Rest(
            name, endpoint, authority=authority, ca_file=ca_file, credential=credential, permission=PERMISSION
        )
        self._pauses = tuple(pauses)

    def storage_account(self, group: str, account: str) -> StorageAccount:
        """Raises NotFound, Denied."""
        properties = self._call("GET", group, account, "", "look at").get("properties")
        if not isinstance(properties, dict) or not isinstance(properties.get("primaryEndpoints", {}), dict):
            problem = "the description of the account can't be understood"
            raise Unavailable("look at", self._named(account), problem)
        return StorageAccount(
            properties.get("allowSharedKeyAccess") is not False, dict(properties.get("primaryEndpoints", {}))
        )

    def keys(self, group: str, account: str) -> tuple[StorageKey, ...]:
        """Raises NotFound, Denied."""
        return self._keys(self._call("POST", group, account, "listKeys", "list the keys of"), account)

    def regenerate_key(self, group: str, account: str, key_name: str, before_sending: Callable[[], None]) -> Sensitive:
        """Regenerate the key and return its new value. ``before_sending`` may raise, and nothing is changed."""
        doing, wanted = f"regenerate {key_name} of", {"keyName": key_name}
        answer = self._call("POST", group, account, "regenerateKey", doing, document=wanted, at_once=before_sending)
        made = {key.name: key.value for key in self._keys(answer, account)}
        if key_name not in made:
            raise Unavailable(doing, self._named(account), "the new key can't be found in the answer")
        return made[key_name]

    def check_key(self, group: str, account: str, key: Sensitive) -> None:
        """Raises CandidateRejected if it is none of the account's keys, Unavailable while it may still work later."""
        endpoint = self._endpoint(group, account)
        if not self._lists(group, account, key):
            hint = "Run the rotation again: it makes another key"
            raise CandidateRejected("sign in to", self._named(account), "the key is none of the account's", hint)
        for pause in (*self._pauses, None):
            if self._takes(account, endpoint, key):
                return
            if pause is not None:
                time.sleep(pause)
        hint = "Run it again in a minute. If that does not help, check this machine's clock: 15 minutes are allowed"
        raise Unavailable("sign in to", self._named(account), "the storage service does not know the key yet", hint)

    def accepts(self, group: str, account: str, key: Sensitive) -> bool:
        """A refused key that Azure lists raises Unavailable, because the service refuses a wrong clock likewise."""
        try:
            if self._takes(account, self._endpoint(group, account), key):
                return True
        except TerminalError:
            return self._lists(group, account, key)
        if self._lists(group, account, key):
            problem = "Azure lists the key and the service does not take it: it is too new, or this clock is off"
            raise Unavailable("sign in to", self._named(account), problem, "Set this machine's clock, or try again")
        return False

    def reach(self) -> None:
        """Sign in; a token shows nothing of its permissions."""
        self._rest.token("sign in to", self.name)

    def close(self) -> None:
        self._rest.close()

    def _lists(self, group: str, account: str, key: Sensitive) -> bool:
        return any(key == listed.value for listed in self.keys(group, account))

    def _endpoint(self, group: str, account: str) -> str:
        described = self.storage_account(group, account)
        endpoint = next((described.endpoints[kind] for kind in TRIED if kind in described.endpoints), None)
        if endpoint is None or urlsplit(endpoint).scheme != "https":
            problem = "it has no blob or file service that a key could be tried at"
            raise Invalid("sign in to", self._named(account), problem, "Use an account that stores blobs or files")
        return endpoint

    def _takes(self, account: str, endpoint: str, key: Sensitive) -> bool:
        query = {"comp": "list", "maxresults": "1"}
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": SERVICE_VERSION}
        path = urlsplit(endpoint).path or "/"
        signed = Signed(f"SharedKey {account}:{signature(key, string_to_sign(account, path, headers, query))}")
        doing, name = "sign in to", self._named(account)
        answer = send(self._rest.session, doing, name, "GET", endpoint, auth=signed, query=query, headers=headers)
        if answer.status_code == 200:
            return True
        if answer.headers.get("x-ms-error-code") == "AuthenticationFailed":
            return False
        raise not_served(answer, doing, name)

    def _call(self, method: str, group: str, account: str, action: str, doing: str, **more: Any) -> dict[str, Any]:
        scope = f"subscriptions/{quote(self._subscription, safe='')}/resourceGroups/{quote(group, safe='')}"
        path = f"{scope}/providers/Microsoft.Storage/storageAccounts/{quote(account, safe='')}/{action}".rstrip("/")
        try:
            return self._rest.call(method, path, doing, account, query=API_VERSION, **more)
        except NotFound as error:
            hint = "Check account, resource_group, and the target's subscription"
            raise NotFound(error.doing, error.name, "the subscription has no such storage account", hint) from None

    def _keys(self, answer: Mapping[str, Any], account: str) -> tuple[StorageKey, ...]:
        try:
            return tuple(
                StorageKey(entry["keyName"], Sensitive(entry["value"]), entry.get("creationTime") or "")
                for entry in answer["keys"]
            )
        except (KeyError, TypeError):
            problem = "the listing of its keys can't be understood"
            raise Unavailable("list the keys of", self._named(account), problem) from None

    def _named(self, account: str) -> str:
        return f"{self.name}:{account}"


def string_to_sign(account: str, path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Source: "Authorize with Shared Key", for the versions since 2015-02-21."""
    standard = ["GET", *[""] * 11]
    own = [f"{name}:{headers[name]}" for name in sorted(headers)]
    parameters = [f"{name}:{query[name]}" for name in sorted(query)]
    return "\n".join([*standard, *own, f"/{account}{path}", *parameters])


def signature(key: Sensitive, message: str) -> str:
    """Raises Invalid if the key is not base64."""
    try:
        digest = hmac.digest(base64.b64decode(key.reveal(), validate=True), message.encode(), "sha256")
    except ValueError:
        raise Invalid("sign with", "account_key", "it is no base64", "Copy it as the portal shows it") from None
    return base64.b64encode(digest).decode()


def not_served(answer: requests.Response, doing: str, name: str) -> KeyturnError:
    status, code = answer.status_code, answer.headers.get("x-ms-error-code", "")
    problem = f"the storage service answered {status}" + (f" ({code})" if re.fullmatch(r"\w{1,80}", code) else "")
    if status == 429:
        return Throttled(doing, name, problem, "Slow down", retry_after(answer))
    if status == 408 or status >= 500:
        return Unavailable(doing, name, problem)
    if code == "KeyBasedAuthenticationNotPermitted":
        return Invalid(doing, name, "the account takes no keys (allowSharedKeyAccess is false)", NO_SHARED_KEYS)
    return Denied(doing, name, problem, FIREWALL)
