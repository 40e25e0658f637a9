"""A login to the hub by any method, and its renewal."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import hvac
import requests
from hvac import exceptions as vault

from keyturn.core.errors import KeyturnError
from keyturn.providers.vault.logins.approle import AppRoleMethod
from keyturn.providers.vault.logins.aws import AwsMethod
from keyturn.providers.vault.logins.certificate import CertMethod
from keyturn.providers.vault.logins.exchange import LoginMethod, TokenLife
from keyturn.providers.vault.logins.jwt import JwtMethod
from keyturn.providers.vault.logins.token import TokenMethod
from keyturn.providers.vault.tls import HubAdapter, insist_on_files, open_session
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin, AwsLogin, CertLogin, HubLogin, JwtLogin, TokenLogin

TIMEOUT = 10.0
PATIENCE: Final = 30.0
"""Seconds between two attempts to replace a living token."""


@dataclass
class LoginLife:
    """``granted`` seconds at first; renewals move ``ends_at``, a monotonic time."""

    granted: float = float("inf")
    ends_at: float = float("inf")

    @property
    def left(self) -> float:
        return self.ends_at - time.monotonic()

    @property
    def lasts(self) -> bool:
        return self.left >= self.granted / 2


def _ignore(_: requests.Response) -> None:
    """Use nothing of the answer."""


class LoginSession:
    """One login for many threads, renewed after two thirds of its life."""

    def __init__(self, settings: HubSettings, heard: Callable[[requests.Response], None] = _ignore) -> None:
        """``heard`` gets the hub's answer about the token, if the login asks for it."""
        self._settings, self._heard = settings, heard
        self._lock = threading.Lock()
        self._http = open_session(settings.address, settings.tls)
        self._client: hvac.Client | None = None
        self._method = open_method(settings.login)
        self._renew_at = float("inf")
        self.life = LoginLife()
        self._lookup: tuple[hvac.Client, requests.Response] | None = None

    def client(self) -> hvac.Client:
        if self._client is not None and time.monotonic() < self._renew_at:
            return self._client
        with self._lock:
            if self._client is None:
                self._client = self._login()
            elif time.monotonic() >= self._renew_at:
                self._renew(self._client)
            return self._client

    def lookup(self, client: hvac.Client) -> requests.Response | None:
        """The answer about this login's token from when it began; None where the login did not ask."""
        lookup = self._lookup
        return lookup[1] if lookup and lookup[0] is client else None

    def as_token(self, token: str) -> hvac.Client:
        client = self.stranger()
        client.token = token
        return client

    def login_again(self) -> bool:
        with self._lock:
            if not self._method.has_another():
                return False
            self._client = self._login()
        return True

    def prolong(self) -> None:
        """Renew a login with less than half its life left, or log in again.

        Call it before requests for leases and other results that end with the login.
        """
        client = self.client()
        with self._lock:
            if client is self._client and not self.life.lasts:
                self._renew(client)
                if not self.life.lasts and self._method.has_another():
                    self._replace()

    def close(self) -> None:
        self._http.close()

    def _login(self) -> hvac.Client:
        insist_on_files(self._settings.tls)
        client = self.stranger()
        life = self._method.log_in(client)
        self.life = LoginLife(life.ttl or float("inf"))
        self._note_life(life)
        if life.lookup is not None:
            self._heard(life.lookup)
            self._lookup = client, life.lookup
        return client

    def _renew(self, client: hvac.Client) -> None:
        try:
            answer = client.auth.token.renew_self().json()["auth"]
            self._note_life(TokenLife(float(answer["lease_duration"]), bool(answer["renewable"])))
        except vault.VaultError:
            self._replace()

    def _replace(self) -> None:
        """If the login fails, keep the living token to its end."""
        try:
            self._client = self._login()
        except KeyturnError:
            if self.life.left <= 0:
                raise
            self._renew_at = min(time.monotonic() + PATIENCE, self.life.ends_at)

    def _note_life(self, life: TokenLife) -> None:
        renews = life.ttl > 0 and (life.renewable or self._method.replaces)
        now = time.monotonic()
        self._renew_at = now + life.ttl * 2 / 3 if renews else float("inf")
        self.life.ends_at = now + life.ttl if life.ttl > 0 else float("inf")

    def stranger(self) -> hvac.Client:
        settings = self._settings
        return hvac.Client(
            url=settings.address,
            namespace=settings.namespace,
            timeout=TIMEOUT,
            session=self._http,
            adapter=HubAdapter,
        )


def open_method(login: HubLogin) -> LoginMethod:
    match login:
        case TokenLogin():
            return TokenMethod(login)
        case AppRoleLogin():
            return AppRoleMethod(login)
        case JwtLogin():
            return JwtMethod(login)
        case AwsLogin():
            return AwsMethod(login)
        case CertLogin():
            return CertMethod(login)
