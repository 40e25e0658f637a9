"""One request to the hub with its login; refusals become Keyturn's own errors."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

import hvac
import requests
from hvac import exceptions as vault

from keyturn.core.errors import (
    Conflict,
    Denied,
    Invalid,
    KeyturnError,
    NotFound,
    Taken,
    Throttled,
    Unavailable,
    Unproven,
    UnsupportedOperation,
)
from keyturn.providers.connection_errors import RemoteServer, from_connection, from_plain_http
from keyturn.providers.vault.login import LoginLife, LoginSession
from keyturn.providers.vault.logins.exchange import Refusal, denied, exchange
from keyturn.providers.vault.tls import NotOfTheHub, Redirected, in_hubs_words
from keyturn.settings.hub import HubSettings

ABSENT: Final = re.compile(
    r"invalid lease|lease not found|unknown role|no static role found|cannot fetch sysview|"
    r"unable to find PKI issuer|No secret engine mount at|certificate with serial \S+ not found"
)
"""The engines' errors for an absent object."""

WRONG_MOUNT: Final = (
    "If its mount is wrong, correct KEYTURN_HUB_MOUNT, KEYTURN_HUB_STATE_MOUNT or KEYTURN_HUB_TRANSIT_MOUNT"
)
MALFORMED: Final = "the hub refuses the request as malformed"
TAKEN: Final = re.compile(r"existing mount at|conflicts with existing mount|conflicts with existing namespace")
"""The hub's errors for an occupied path."""
WHOSE: Final = "auth/token/lookup-self"
NO_PLUGIN: Final = re.compile(r"plugin not found in the catalog")
HUB: Final = RemoteServer(
    check="Check VAULT_ADDR and that the hub runs",
    address="VAULT_ADDR",
    authority="Set VAULT_CACERT to its CA file",
    who="the hub",
    whose="the hub's",
    other_name="Set VAULT_ADDR to a name that the certificate has, or VAULT_TLS_SERVER_NAME to that name",
    client="Where it asks for a client's certificate, set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY",
)
LEADS_ELSEWHERE: Final = (
    "Check that VAULT_ADDR reaches it without a proxy, and that VAULT_NAMESPACE is one of its namespaces"
)
NOT_DONE: Final = "the answer is not the hub's own, so it proves nothing done"

CHANGING: Final = ("post", "patch", "delete")
"""Methods whose answer, unless empty, must come from the hub."""

BEHIND: Final = timedelta(seconds=5)
"""Dates at most this far back come from rounding or another node; larger steps from a changed clock."""


def address_of(path: str, doing: str, name: str) -> str:
    """Raises Invalid for a part ``.`` or ``..``, which an HTTP library would resolve out of the mount."""
    if {".", ".."} & set(path.split("/")):
        raise Invalid(doing, name, "a part of its path is . or ..", "Write the path as `keyturn get` takes it")
    return f"/v1/{quote(path, safe='/')}"


class Calls:
    """Requests with the hub's login.

    ``find`` returns None for an absent object, ``get`` and ``post`` raise NotFound.
    """

    def __init__(self, settings: HubSettings) -> None:
        self._session = LoginSession(settings, self._hear_answer)
        self._heard: tuple[datetime, float] | None = None
        self._date = ""

    def get(self, doing: str, name: str, path: str, token: str | None = None, **more: Any) -> requests.Response:
        return self._must(doing, name, "get", path, token=token, **more)

    def find(
        self, doing: str, name: str, path: str, params: Mapping[str, Any] | None = None
    ) -> requests.Response | None:
        return self._call(doing, name, "get", path, params=params)

    def data(self, doing: str, name: str, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The member ``data`` of what :meth:`find` reads."""
        answer = self.find(doing, name, path, params)
        # An empty answer must fail here and not count as an empty secret.
        return None if answer is None else dict(answer.json()["data"])

    def list(self, name: str, path: str) -> list[str]:
        answer = self._call("list", name, "list", path)
        return list(answer.json()["data"]["keys"]) if answer is not None else []

    def post(
        self,
        doing: str,
        name: str,
        path: str,
        body: Mapping[str, Any],
        token: str | None = None,
        **more: Any,
    ) -> requests.Response:
        return self._must(doing, name, "post", path, token=token, json=body, **more)

    def send(self, doing: str, name: str, path: str, content: bytes, content_type: str) -> requests.Response | None:
        """Post content that is not JSON; the answer may have any status. None when absent."""
        headers = {"Content-Type": content_type}
        return self._call(doing, name, "post", path, data=content, headers=headers, raise_exception=False)

    def patch(self, doing: str, name: str, path: str, body: Mapping[str, Any]) -> requests.Response:
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._must(doing, name, "patch", path, headers=headers, json=body)

    def delete(self, doing: str, name: str, path: str) -> None:
        self._call(doing, name, "delete", path)

    def now(self) -> datetime | None:
        if self._heard is None:
            return None
        date, at = self._heard
        return date + timedelta(seconds=elapsed() - at)

    def _hear_answer(self, answer: requests.Response) -> None:
        if date := answer.headers.get("Date"):
            self._hear(date)

    def _hear(self, header: str) -> None:
        if header == self._date:
            return
        self._date, date, expected = header, parsedate_to_datetime(header), self.now()
        if expected is None or not expected - BEHIND < date <= expected:
            self._heard = date, elapsed()

    def login(self) -> hvac.Client:
        """The login in use; a new login is another object. Raises the login's errors."""
        try:
            with _no_word_of("log in to", "the hub"):
                return self._session.client()
        except (vault.VaultError, requests.RequestException) as error:
            raise from_vault(error, "log in to", "the hub", WHOSE) from None

    def look_up_login(self) -> requests.Response:
        """The hub's answer about the login's token; the one from its beginning, if the login asked then."""
        answer = self._session.lookup(self.login())
        return answer if answer is not None else self.get("ask for", "the login", WHOSE)

    def has_namespace(self) -> bool:
        name = "the hub's namespace"
        try:
            self._session.stranger().adapter.request("get", "/v1/sys/mounts")
        except vault.InvalidPath:
            return False
        except (vault.Forbidden, vault.Unauthorized):
            return True
        except (vault.VaultError, requests.RequestException) as error:
            raise from_vault(error, "find", name, "sys/mounts") from None
        return True

    def prolong_login(self) -> None:
        """Renew or replace the login, because new leases end with it."""
        try:
            self._session.prolong()
        except (vault.VaultError, requests.RequestException) as error:
            raise from_vault(error, "renew", "the hub's login", "auth/token/renew-self") from None

    @property
    def login_life(self) -> LoginLife:
        return self._session.life

    def prove_login(self, mount: str, body: Mapping[str, Any]) -> None:
        client = self._session.stranger()
        try:
            exchange(client, mount, body)
            # A token without the right to revoke itself expires.
            with suppress(vault.VaultError):
                client.adapter.post("/v1/auth/token/revoke-self")
        except Refusal:
            raise denied("the new login is refused", "See whether the role is bound to other addresses") from None
        except (vault.VaultError, requests.RequestException) as error:
            raise from_vault(error, "log in to", "the hub", f"auth/{mount}/login") from None

    def close(self) -> None:
        self._session.close()

    def _must(self, doing: str, name: str, method: str, path: str, **arguments: Any) -> requests.Response:
        answer = self._call(doing, name, method, path, **arguments)
        if answer is None:
            raise NotFound(doing, name, "the hub has nothing there", "Check the path and the mount") from None
        return answer

    def _call(
        self, doing: str, name: str, method: str, path: str, token: str | None = None, **arguments: Any
    ) -> requests.Response | None:
        address = address_of(path, doing, name)

        def ask(client: hvac.Client) -> requests.Response:
            answer: requests.Response = client.adapter.request(method, address, **arguments)
            self._hear_answer(answer)
            return answer

        try:
            answer = ask(self._session.as_token(token)) if token else self._logged_in(ask, doing, name)
        except vault.InvalidPath:
            return None
        except (vault.VaultError, requests.RequestException) as error:
            raise from_vault(error, doing, name, path) from None
        if method in CHANGING and "data" not in arguments and answer.content and not in_hubs_words(answer):
            # A proxy may answer 200 to anything.
            raise Unavailable(doing, name, NOT_DONE, LEADS_ELSEWHERE)
        return answer

    def _logged_in(self, ask: Callable[[hvac.Client], requests.Response], doing: str, name: str) -> requests.Response:
        """Logs in once more if the token has ended. A 404 during the login proves nothing about the object."""
        with _no_word_of(doing, name):
            client = self._session.client()
        try:
            return ask(client)
        except vault.Forbidden:
            with _no_word_of(doing, name):
                another = self._session.login_again()
            if not another:
                raise
            with _no_word_of(doing, name):
                client = self._session.client()
            return ask(client)


@contextmanager
def _no_word_of(doing: str, name: str) -> Iterator[None]:
    """Attribute a refusal inside to the login."""
    try:
        yield
    except (vault.Forbidden, vault.Unauthorized) as error:
        raise from_vault(error, doing, name, WHOSE) from None
    except vault.InvalidPath:
        problem = "the hub has nothing where its login is asked for"
        raise Unavailable(doing, name, problem, LEADS_ELSEWHERE) from None


def elapsed() -> float:
    """Monotonic seconds, including the time that the machine slept."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def from_vault(error: Exception, doing: str, name: str, path: str) -> KeyturnError:
    match error:
        case vault.InvalidRequest() if "check-and-set" in str(error.args):
            return Conflict(
                doing, name, "another write came first", "Run it again: it continues from what is there now"
            )
        case vault.InvalidRequest() | vault.InternalServerError() if ABSENT.search(str(error.args)):
            return NotFound(doing, name, "the hub has nothing there", "Check the path, mount and role")
        case vault.InvalidRequest() if "unavailable for a brief period" in str(error.args):
            return Unavailable(doing, name, "the hub is still preparing the mount", "It is tried again by itself")
        case vault.InvalidRequest() if TAKEN.search(str(error.args)):
            problem = "a mount or a namespace is there already, or above or below it: both share their names"
            return Taken(doing, name, problem, "Give this one, or the other, another name")
        case vault.InvalidRequest() if NO_PLUGIN.search(str(error.args)):
            hint = "OpenBao lacks some that Vault has: use a hub that has it, or another way"
            return UnsupportedOperation(doing, name, "the hub has no plugin for it", hint)
        case vault.InvalidRequest() if "only available in root namespace" in str(error.args):
            hint = "Declare it in the catalogue of a workspace that is in the root namespace"
            return UnsupportedOperation(doing, name, "the hub does this only in its root namespace", hint)
        case vault.InvalidRequest():
            return Invalid(doing, name, MALFORMED, "Check the path, mount and role")
        case vault.Forbidden() | vault.Unauthorized() if path == WHOSE:
            problem = f"the hub denies the token that it begins with ({WHOSE})"
            hint = (
                f"Either the token has ended, or its policies lack read on {WHOSE}: the hub does not say which. Try a "
                "new login: where that is denied too, give its policies that path, which `default` has"
            )
            return Denied(doing, name, problem, hint)
        case vault.Forbidden() | vault.Unauthorized():
            hint = f"Give this identity's policy the path {path} (`keyturn setup hub --apply` does)"
            return Denied(doing, name, "the hub denies it", f"{hint}, or renew its login. {WRONG_MOUNT}")
        case vault.RateLimitExceeded():
            return Throttled(doing, name, "the hub asks for a slower pace", "It is tried again by itself")
        case vault.VaultDown() | vault.VaultNotInitialized():
            return Unavailable(doing, name, "the hub is sealed or not active", "Unseal it, or wait for the fail-over")
        case Redirected():
            hint = "Set VAULT_ADDR to the address of the hub itself; standby nodes have to forward requests"
            return Unproven(doing, name, "the hub answers with a redirect, which is not followed", hint)
        case NotOfTheHub():
            return _of_another(error, doing, name)
        case requests.RequestException():
            return from_connection(error, doing, name, HUB)
        case _:
            return Unavailable(
                doing, name, "the hub failed inside", "See the hub's own log; it is tried again by itself"
            )


def _of_another(error: NotOfTheHub, doing: str, name: str) -> KeyturnError:
    status, text = (error.response.status_code, error.response.text) if error.response is not None else (0, "")
    problem = f"the answer ({status}) is not the hub's own, so it proves nothing about {name}"
    return from_plain_http(status, text, doing, name, HUB) or Unavailable(doing, name, problem, LEADS_ELSEWHERE)
