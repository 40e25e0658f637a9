"""Engines of the hub that OpenBao lacks, on loopback in front of a real hub: a server, in a thread.

The answers are those of the engines' API documentation (Vault 1.21, "Secrets Engines"). Leases are kept here, and end
with the hub's token that asked for them. Everything else goes on to the hub.
"""

import json
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

import requests

Data = dict[str, Any]


@dataclass
class EngineAnswers:
    """One engine: paths below its mount with their answers, and what it makes at ``credential``.

    ``held`` are the fields that a client logs in with: name, and value.
    """

    credential: str
    reads: dict[str, Data]
    make: Callable[[str], Data]
    held: tuple[str, str]
    method: str = "GET"
    static: bool = False
    ends: bool = True


def a_word() -> str:
    return secrets.token_hex(8)


def iam(role: str) -> Data:
    return {"access_key": f"AKIA{a_word().upper()}", "secret_key": a_word(), "security_token": None}


def service_account(role: str) -> Data:
    return {
        "service_account_name": f"v-token-{role}-{a_word()}",
        "service_account_namespace": "jobs",
        "service_account_token": a_word(),
    }


def ldap_account(role: str) -> Data:
    name = f"v_token_{role}_{a_word()}"
    return {"distinguished_names": [f"cn={name},dc=example,dc=com"], "username": name, "password": a_word()}


LEASING: Final[dict[str, EngineAnswers]] = {
    "ldap": EngineAnswers(
        "creds/app",
        {"role/app": {"creation_ldif": "dn: …", "default_ttl": 86400, "max_ttl": 604800}},
        ldap_account,
        ("username", "password"),
    ),
    "aws": EngineAnswers(
        "creds/app",
        {"roles/app": {"credential_type": "iam_user"}, "config/lease": {"lease": "24h0m0s", "lease_max": "168h0m0s"}},
        iam,
        ("access_key", "secret_key"),
    ),
    "azure": EngineAnswers(
        "creds/app",
        {"roles/app": {"azure_roles": [], "ttl": 86400, "max_ttl": 604800}},
        lambda role: {"client_id": a_word(), "client_secret": a_word()},
        ("client_id", "client_secret"),
    ),
    "gcp": EngineAnswers(
        "roleset/app/key",
        {"roleset/app": {"secret_type": "service_account_key"}, "config": {"ttl": 86400, "max_ttl": 604800}},
        lambda role: {"key_algorithm": "KEY_ALG_RSA_2048", "key_type": "…", "private_key_data": a_word()},
        ("private_key_data", "private_key_data"),
    ),
    "kubernetes": EngineAnswers(
        "creds/app",
        {"roles/app": {"token_default_ttl": 172800, "token_max_ttl": 604800}},
        service_account,
        ("service_account_name", "service_account_token"),
        method="POST",
    ),
}
STATIC: Final[dict[str, EngineAnswers]] = {
    "ldap": EngineAnswers(
        "static-cred/app",
        {"static-role/app": {"dn": "cn=app,dc=example,dc=com", "username": "app", "rotation_period": 63072000}},
        lambda role: {"dn": "cn=app,dc=example,dc=com", "username": "app", "password": a_word()},
        ("username", "password"),
        static=True,
    ),
    "ad": EngineAnswers(
        "creds/app",
        {"roles/app": {"service_account_name": "app@example.com", "ttl": 63072000}},
        lambda role: {"username": "app@example.com", "current_password": a_word(), "last_password": a_word()},
        ("username", "current_password"),
        static=True,
    ),
}


@dataclass
class Made:
    """A credential in force; ``token`` asked for it."""

    data: Data
    token: str = ""
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))


class HubWithEngines:
    """A hub with one such engine at the mount of its ``name``, while it is entered."""

    def __init__(self, hub: str, name: str, engine: EngineAnswers) -> None:
        self.hub = hub
        self.mount = name
        self.engine = engine
        self.made: dict[str, Made] = {}
        self.bound = timedelta(seconds=604800)
        if engine.static:
            self.made[""] = Made(engine.make("app"))

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, content = outer.answered(
                    self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body
                )
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_LIST = do_PATCH = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def accepts(self, name: str, value: str) -> bool:
        """Whether whatever the engine makes accounts for lets in with this name and secret."""
        keys = self.engine.held
        return any((made.data[keys[0]], made.data[keys[1]]) == (name, value) for made in self.made.values())

    def answered(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        place, token = path.removeprefix("/v1/").partition("?")[0], headers.get("x-vault-token", "")
        if place == "/whoami":
            name, _, value = headers.get("x-credential", "").partition(":")
            return said({"ok": True}) if self.accepts(name, value) else said({"errors": ["no"]}, 401)
        if place == f"sys/mounts/{self.mount}/tune":
            return said({"data": {"default_lease_ttl": 2764800, "max_lease_ttl": 2764800}})
        if place.startswith(f"{self.mount}/"):
            return self._engine(method, place.removeprefix(f"{self.mount}/"), token)
        asked = json.loads(body or b"{}")
        lease = asked.get("lease_id", "") if isinstance(asked, dict) else ""
        if place.startswith(f"sys/leases/lookup/{self.mount}/") or lease.startswith(f"{self.mount}/"):
            return self._lease(place, lease)
        answer = requests.request(
            method,
            f"{self.hub}{path}",
            headers={k: v for k, v in headers.items() if k not in ("host", "content-length")},
            data=body,
            timeout=30,
        )
        if method in ("POST", "PUT") and "revoke" in place:
            self._sweep()
        return answer.status_code, answer.content

    def _engine(self, method: str, place: str, token: str) -> tuple[int, bytes]:
        engine = self.engine
        if place in engine.reads and method == "GET":
            return said({"data": engine.reads[place]})
        if place == "rotate-role/app" and engine.static:
            self.made[""] = Made(engine.make("app"))
            return 204, b""
        if place != engine.credential or method not in (engine.method, engine.method.replace("POST", "PUT")):
            return said({"errors": []}, 404)
        if engine.static:
            return said({"data": self.made[""].data})
        lease = f"{self.mount}/{place}/{secrets.token_hex(12)}"
        self.made[lease] = Made(engine.make("app"), token)
        return said({"lease_id": lease, "lease_duration": 172800, "renewable": True, "data": self.made[lease].data})

    def _lease(self, place: str, lease: str) -> tuple[int, bytes]:
        if place.startswith(f"sys/leases/lookup/{self.mount}/"):
            prefix = place.removeprefix("sys/leases/lookup/").rstrip("/") + "/"
            keys = [name.removeprefix(prefix) for name in self.made if name.startswith(prefix)]
            return said({"data": {"keys": keys}}) if keys else said({"errors": []}, 404)
        made = self.made.get(lease)
        if place.startswith("sys/leases/revoke"):
            self.made.pop(lease, None)
            return 204, b""
        if made is None:
            return said({"errors": ["invalid lease"]}, 400)
        if place == "sys/leases/renew":
            made.begun = datetime.now(UTC)
        left = made.begun + timedelta(days=2) - datetime.now(UTC)
        times = {"issue_time": made.begun.isoformat(), "last_renewal": None}
        ends = (made.begun + timedelta(days=2)).isoformat()
        return said({"data": {"id": lease, "ttl": int(left.total_seconds()), "expire_time": ends, **times}})

    def _sweep(self) -> None:
        """End the leases of tokens that have ended."""
        for lease, made in list(self.made.items()):
            with suppress(requests.RequestException):
                where = f"{self.hub}/v1/auth/token/lookup-self"
                if requests.get(where, headers={"X-Vault-Token": made.token}, timeout=30).status_code == 403:
                    self.made.pop(lease, None)


def said(body: Data, status: int = 200) -> tuple[int, bytes]:
    return status, json.dumps(body).encode()
