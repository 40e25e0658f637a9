"""Logging in to the hub, and staying logged in: a token or an AppRole, from the environment or from files."""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import hvac
from hvac import exceptions as vault

from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.outbound import leaves_in_clear
from keyturn.providers.vault.tls import NoRedirects, TlsSettings, insist_on_files, open_session, tls_from_environment

TIMEOUT = 10.0
"""Seconds a single request to the hub may take."""
INSECURE_HTTP: Final = "KEYTURN_HUB_INSECURE_HTTP"
"""The variable that lets the hub be spoken to in clear over a network."""


@dataclass(frozen=True)
class HubSettings:
    """Where the hub is and which references lead to a login; never the credential itself.

    ``token_env`` names an environment variable, the ``*_file`` settings name files. A lease ends with the token
    that asked for it, so leases are asked for with an orphan token of ``lease_token_role`` (auth/token/roles). What
    ``ca_file`` to ``tls_server_name`` mean stands in :class:`TlsSettings`. A hub on another machine has an https
    address, unless ``insecure_http`` says that nobody can listen between; else Invalid is raised.
    """

    address: str
    mount: str = "secret"
    state_mount: str = "keyturn"
    namespace: str | None = None
    ca_file: str | None = None
    token_env: str = "VAULT_TOKEN"
    token_file: str | None = None
    role_id_file: str | None = None
    secret_id_file: str | None = None
    approle_mount: str = "approle"
    lease_token_role: str | None = None
    transit_mount: str = "transit"
    client_cert_file: str | None = None
    client_key_file: str | None = None
    tls_server_name: str | None = None
    insecure_http: bool = False

    def __post_init__(self) -> None:
        if leaves_in_clear(self.address) and not self.insecure_http:
            problem = "token and values would go to another machine in clear"
            hint = f"Give the hub an https address. Where nobody can listen between, set {INSECURE_HTTP}=true"
            hint += ", for workers as `keyturn bootstrap` runs"
            raise Invalid("speak plain http to", self.address, problem, hint)

    @property
    def tls(self) -> TlsSettings:
        """Whom the hub's connections trust, and by which name."""
        return TlsSettings(self.ca_file, self.client_cert_file, self.client_key_file, self.tls_server_name)

    @staticmethod
    def from_environment(env: Mapping[str, str] = os.environ) -> "HubSettings":
        """Vault's own variables, and KEYTURN_HUB_* for the rest.

        Raises Invalid without VAULT_ADDR, and for what would change whom the hub's clients trust and is not read.
        """
        if not env.get("VAULT_ADDR"):
            raise Invalid(
                "find", "the hub", "VAULT_ADDR is not set", "Set it to the hub's address, as for the vault CLI"
            )
        tls = tls_from_environment(env)
        return HubSettings(
            env["VAULT_ADDR"],
            mount=env.get("KEYTURN_HUB_MOUNT", "secret"),
            state_mount=env.get("KEYTURN_HUB_STATE_MOUNT", "keyturn"),
            namespace=env.get("VAULT_NAMESPACE"),
            ca_file=tls.ca_file,
            role_id_file=env.get("KEYTURN_HUB_ROLE_ID_FILE"),
            secret_id_file=env.get("KEYTURN_HUB_SECRET_ID_FILE"),
            token_file=env.get("KEYTURN_HUB_TOKEN_FILE"),
            lease_token_role=env.get("KEYTURN_HUB_LEASE_TOKEN_ROLE"),
            transit_mount=env.get("KEYTURN_HUB_TRANSIT_MOUNT", "transit"),
            client_cert_file=tls.client_cert_file,
            client_key_file=tls.client_key_file,
            tls_server_name=tls.server_name,
            insecure_http=env.get(INSECURE_HTTP, "").lower() in ("1", "true"),
        )


class LoginSession:
    """One login shared by many threads, renewed when two thirds of its life are over."""

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._http = open_session(settings.address, settings.tls)
        self._client: hvac.Client | None = None
        self._renew_at = float("inf")

    def client(self) -> hvac.Client:
        """A client that is logged in."""
        if self._client is not None and time.monotonic() < self._renew_at:
            return self._client
        with self._lock:
            if self._client is None:
                self._client = self._login()
            elif time.monotonic() >= self._renew_at:
                self._renew(self._client)
            return self._client

    def as_token(self, token: str) -> hvac.Client:
        """A client that is logged in with ``token``, over the same connections."""
        client = self._new_client()
        client.token = token
        return client

    def login_again(self) -> bool:
        """Drop the token for a new one; False where the login can't give another one."""
        if not self._settings.role_id_file:
            return False
        with self._lock:
            self._client = self._login()
        return True

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def _login(self) -> hvac.Client:
        insist_on_files(self._settings.tls)
        client = self._new_client()
        if self._settings.role_id_file:
            self._login_approle(client)
        else:
            client.token = self._token()
            self._note_life(client.auth.token.lookup_self().json()["data"])
        return client

    def _login_approle(self, client: hvac.Client) -> None:
        role_id, secret_id = (_content(f) for f in (self._settings.role_id_file, self._settings.secret_id_file) if f)
        try:
            answer = client.auth.approle.login(
                role_id, secret_id, mount_point=self._settings.approle_mount, use_token=False
            ).json()
        except (vault.InvalidRequest, vault.Forbidden):
            hint = "Make a new secret id for the role and write it to the file"
            raise Denied("log in to", "the hub", "the AppRole's role id or secret id is refused", hint) from None
        client.token = answer["auth"]["client_token"]
        self._note_life({"ttl": answer["auth"]["lease_duration"], "renewable": answer["auth"]["renewable"]})

    def _renew(self, client: hvac.Client) -> None:
        try:
            answer = client.auth.token.renew_self().json()["auth"]
            self._note_life({"ttl": answer["lease_duration"], "renewable": answer["renewable"]})
        except vault.VaultError:
            self._client = self._login()

    def _note_life(self, token: Mapping[str, object]) -> None:
        ttl = float(str(token["ttl"]))
        renewable = ttl > 0 and (token["renewable"] or self._settings.role_id_file)
        self._renew_at = time.monotonic() + ttl * 2 / 3 if renewable else float("inf")

    def _new_client(self) -> hvac.Client:
        settings = self._settings
        return hvac.Client(
            url=settings.address,
            namespace=settings.namespace,
            timeout=TIMEOUT,
            session=self._http,
            adapter=NoRedirects,
        )

    def _token(self) -> str:
        settings = self._settings
        if settings.token_file:
            return _content(settings.token_file)
        if token := os.environ.get(settings.token_env):
            return token
        hint = f"Set {settings.token_env}, or KEYTURN_HUB_ROLE_ID_FILE and KEYTURN_HUB_SECRET_ID_FILE"
        raise Denied("log in to", "the hub", "no token and no AppRole is given", hint)


def _content(file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except FileNotFoundError:
        raise NotFound("read", file, "there is no such file", "It should hold the hub's login") from None
    except OSError:
        raise Unavailable("read", file, "the file can't be read", "Check its owner and mode") from None
