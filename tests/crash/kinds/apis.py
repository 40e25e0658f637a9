"""Keys at a REST API: one that the API makes, and one whose public half it keeps."""

from collections.abc import Iterator
from typing import Any

import requests

from keyturn.core.ports.keys import KeyKind
from keyturn.core.sensitive import SecretFields
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.strategies.ssh_key import fingerprint
from tests.crash.kinds.base import Kind, admin, declared
from tests.crash.site import Site
from tests.support.lab import Declared, fresh
from tests.support.rest_api import RestApi


class AtTheApi(Kind):
    """What the API keeps for one account."""

    modules: tuple[str, ...] = ("http.api_target",)

    def prepare(self, site: Site) -> None:
        self.api = site.server("api", RestApi, lambda server: server.url)
        path = admin(site, SecretFields({"token": self.api.admin_token}))
        authorization = {"authorization": "Bearer {{admin.token}}"}
        self.target = {"kind": "http-api", "url": self.api.url, "admin": path, "headers": authorization}

    def ask(self, path: str, **body: str) -> dict[str, Any]:
        """Make something there by hand."""
        headers = {"authorization": f"Bearer {self.api.admin_token}"}
        answer = requests.post(f"{self.api.url}{path}", json=body, headers=headers, timeout=10)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told


class ApiKey(AtTheApi):
    """One key of the account. Its list is described, so that a key which a crash left can be found."""

    name = "http-api-key"
    changes = frozenset({"id", "key"})

    def make(self, site: Site) -> Declared:
        account = fresh()
        made = self.ask(f"/accounts/{account}/keys", name=f"by hand {account}")["data"]
        keys = f"/accounts/{account}/keys"
        named = "keyturn {{path}} {{unique}}"
        rotation = {
            "strategy": "http-api-key",
            "target": "api",
            "constants": {"account": account},
            "create": {"path": keys, "body": {"name": named}},
            "answer": {"id": "/data/id", "key": "/data/value"},
            "test": {"path": "/whoami", "headers": {"x-api-key": "{{key}}"}},
            "delete": {"path": f"{keys}/{{{{id}}}}"},
            "list": {"path": keys, "items": "/data", "id": "/id", "where": {"/name": named}, "last_used": "/used"},
        }
        return declared(
            site, {"id": str(made["id"]), "key": made["value"], "account": account}, rotation, api=self.target
        )

    def works(self, site: Site, fields: SecretFields) -> bool:
        answer = requests.get(f"{self.api.url}/whoami", headers={"x-api-key": fields["key"].reveal()}, timeout=10)
        assert answer.status_code in (200, 401)
        return answer.status_code == 200

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        ids = [id for id, key in list(self.api.keys.items()) if key["account"] == secret.first["account"]]
        if ids != [current["id"].reveal()]:
            yield f"keys {ids}"


class ApiKeyInTwoRequests(ApiKey):
    """One that must be deactivated before it can be deleted."""

    name = "http-api-key, deleted by two requests"

    def prepare(self, site: Site) -> None:
        super().prepare(site)
        self.api.in_two_steps = True

    def make(self, site: Site) -> Declared:
        made = super().make(site)
        made.data["rotation"]["delete"] = [
            {
                "method": "POST",
                "path": "/accounts/{{account}}/keys/{{id}}/deactivate",
                "gone": [{"status": [404]}, {"status": [400], "when": [{"pointer": "/code", "equals": "INACTIVE"}]}],
            },
            {"path": "/accounts/{{account}}/keys/{{id}}"},
        ]
        return made


class SshKeys(AtTheApi):
    """One public key of the user."""

    name = "ssh-key"
    modules = ("http.api_target", "keys.key_maker")
    changes = frozenset({"private_key", "public_key", "fingerprint"})

    def make(self, site: Site) -> Declared:
        user, keys = fresh(), CryptographyKeys()
        private = keys.private_key(KeyKind.ED25519)
        public = keys.public_openssh(private)
        path = f"/users/{user}/ssh"
        self.ask(path, key=public, title="by hand")
        rotation = {
            "strategy": "ssh-key",
            "target": "api",
            "create": {"path": path, "body": {"title": "{{path}}", "key": "{{public_key}}"}},
            "delete": {"path": f"{path}/{{{{id}}}}"},
            "list": {"path": path, "items": "/data", "id": "/id", "public_key": "/key"},
        }
        first = {
            "private_key": keys.openssh(private),
            "public_key": public,
            "fingerprint": fingerprint(public),
            "user": user,
        }
        return declared(site, first, rotation, api=self.target)

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.api.logs_in(fields["private_key"].reveal())

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        there = [key["fingerprint"] for key in list(self.api.ssh.values()) if key["user"] == secret.first["user"]]
        if there != [current["fingerprint"].reveal()]:
            yield f"public keys {there}"
