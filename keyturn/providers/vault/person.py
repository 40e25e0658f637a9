"""A person's login to the hub by its OIDC provider or a password, which gives a token.

Source: "JWT/OIDC auth method" and "Userpass auth method" of OpenBao and Vault.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

import hvac
import requests
from hvac import exceptions as vault

from keyturn.core.errors import Unavailable
from keyturn.core.ports.hub import Identity
from keyturn.core.sensitive import Sensitive
from keyturn.providers.vault.client import from_vault
from keyturn.providers.vault.identity import identity_of
from keyturn.providers.vault.login import LoginSession
from keyturn.providers.vault.logins.exchange import REFUSED, denied, take_token
from keyturn.providers.vault.tls import insist_on_files
from keyturn.settings.hub import HubSettings


class PersonLogin:
    """A login to or logout from one hub. Each method raises Denied for a refusal."""

    def __init__(self, settings: HubSettings) -> None:
        insist_on_files(settings.tls)
        self._session = LoginSession(settings)

    def oidc_url(self, mount: str, role: str | None, redirect: str, nonce: str) -> str:
        body = {"redirect_uri": redirect, "client_nonce": nonce, **({"role": role} if role else {})}
        with _refusals(f"{_role(role)} at auth/{mount} offers no such login", _redirects(redirect)):
            answer = self._client().adapter.post(f"/v1/auth/{mount}/oidc/auth_url", json=body)
            url = answer.json()["data"]["auth_url"]
        if not url:
            # A hub gives no reason without a login.
            raise denied(f"{_role(role)} at auth/{mount} offers no such login", _redirects(redirect))
        return str(url)

    def oidc_token(self, mount: str, params: Mapping[str, str]) -> Sensitive:
        hint = "Check that you may have the role: its bound_audiences, bound_claims and user_claim in the hub"
        with _refusals(f"auth/{mount} refuses who has signed in", hint):
            client = self._client()
            return _token(client, client.adapter.get(f"/v1/auth/{mount}/oidc/callback", params=dict(params)))

    def password_token(self, mount: str, user: str, password: Sensitive) -> Sensitive:
        with _refusals(f"auth/{mount} refuses the name or the password", "Try again, or ask those who run the hub"):
            client = self._client()
            path = f"/v1/auth/{mount}/login/{quote(user, safe='')}"
            return _token(client, client.adapter.post(path, json={"password": password.reveal()}))

    def identity(self, token: Sensitive) -> Identity:
        with _refusals("the token has ended, or may not ask whose it is", "Log in again: `keyturn login`"):
            return identity_of(self._session.as_token(token.reveal()).auth.token.lookup_self().json()["data"])

    def revoke(self, token: Sensitive) -> None:
        with _refusals("it does not let the token end itself", "Give its policy auth/token/revoke-self"):
            self._session.as_token(token.reveal()).auth.token.revoke_self()

    def close(self) -> None:
        self._session.close()

    def _client(self) -> hvac.Client:
        return self._session.as_token("")


def _token(client: hvac.Client, answer: requests.Response) -> Sensitive:
    take_token(client, answer)
    return Sensitive(client.token)


@contextmanager
def _refusals(problem: str, hint: str) -> Iterator[None]:
    """Raise the hub's refusal as this problem."""
    try:
        yield
    except REFUSED:
        raise denied(problem, hint) from None
    except (requests.JSONDecodeError, KeyError, TypeError):
        problem, hint = "its answer can't be understood", "Check that VAULT_ADDR reaches the hub itself"
        raise Unavailable("log in to", "the hub", problem, hint) from None
    except (vault.VaultError, requests.RequestException) as error:
        raise from_vault(error, "log in to", "the hub", "auth") from None


def _role(role: str | None) -> str:
    return f"the role {role}" if role else "the default role"


def _redirects(redirect: str) -> str:
    return f"Check --path and --role, and that the role's allowed_redirect_uris in the hub have {redirect}"
