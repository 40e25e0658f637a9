"""Keys at a REST API: one that the API makes, one whose public half it keeps, and passwords that it is given."""

import base64
import secrets
from collections.abc import Iterator
from typing import Any

import requests

from keyturn.core.ports.keys import KeyKind
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.strategies.http_key_pair import FIELDS
from keyturn.strategies.ssh_key import fingerprint
from tests.crash.kinds.base import Kind, admin, declared
from tests.crash.site import Site
from tests.support.account_apis import RabbitApi
from tests.support.exchange_api import ExchangeApi
from tests.support.key_pair_api import SLOTS, KeyPairApi
from tests.support.lab import Declared, fresh
from tests.support.rest_api import RestApi
from tests.support.slot_api import SlotApi


class AtTheApi(Kind):
    """What the API keeps for one account."""

    modules: tuple[str, ...] = ("http.api_target",)
    server: type[RestApi] = RestApi

    def prepare(self, site: Site) -> None:
        self.api = site.server(self.server.__name__, self.server, lambda server: server.url)
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
    in_two_steps = False

    def prepare(self, site: Site) -> None:
        super().prepare(site)
        self.api.in_two_steps = self.in_two_steps

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
    in_two_steps = True

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


class Slots(AtTheApi):
    """The two keys of an account, of which one serves and nobody knows the other."""

    name = "http-two-slots"
    changes = frozenset({"key", "slot", "connection_string"})
    server = SlotApi
    api: SlotApi

    def make(self, site: Site) -> Declared:
        account = fresh()
        key = self.api.create(account)["key1"]
        rotation = {
            "strategy": "http-two-slots",
            "target": "api",
            "constants": {"account": account},
            "slots": ["key1", "key2"],
            "read": {"path": "/accounts/{{account}}/listKeys", "values": {"key1": "/key1", "key2": "/key2"}},
            "regenerate": {"path": "/accounts/{{account}}/regenerateKey", "body": {"keyName": "{{slot}}"}},
            "test": {"path": "/whoami", "headers": {"x-api-key": "{{key}}"}},
            "fields": {"key": "{{key}}", "slot": "{{slot}}", "connection_string": "Name={{account}};Key={{key}}"},
        }
        first = {"key": key, "slot": "key1", "connection_string": f"Name={account};Key={key}", "account": account}
        return declared(site, first, rotation, api=self.target)

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.api.takes(fields["key"].reveal())

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        account = secret.first["account"]
        if self.api.slots[account][current["slot"].reveal()] != current["key"].reveal():
            yield "the slot in CURRENT is the other key's"
        if current["connection_string"].reveal() != f"Name={account};Key={current['key'].reveal()}":
            yield "the connection string holds another key"


class Exchanged(AtTheApi):
    """A token that is exchanged for its successor, at a server that revokes the family of one that is sent twice.

    Where the answer to an exchange or to the recovery is lost, no one knows the token in it. It works until it expires.
    """

    name = "http-exchange"
    changes = frozenset({"id", "token"})
    gap = True
    server = ExchangeApi
    api: ExchangeApi

    def make(self, site: Site) -> Declared:
        user = fresh()
        token = self.api.create(user)
        rotation = {
            "strategy": "http-exchange",
            "target": "api",
            "accepts_gap": True,
            "constants": {"user": user},
            "exchange": {"path": "/tokens/self/rotate", "headers": {"private-token": "{{current.token}}"}},
            "answer": {"id": "/id", "token": "/token"},
            "test": {"path": "/tokens/self", "headers": {"private-token": "{{token}}"}},
            "recover": {"path": "/users/{{user}}/tokens"},
            "revoke": {"method": "DELETE", "path": "/tokens/self", "headers": {"private-token": "{{token}}"}},
        }
        first = {"id": str(self.api.tokens[token].id), "token": token, "user": user}
        return declared(site, first, rotation, api=self.target)

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.api.takes(fields["token"].reveal())

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        if len(living := self.api.living(secret.first["user"])) > 2:
            yield f"{len(living)} tokens work: more than CURRENT and the one whose answer was lost"
        if any(count > 1 for count in list(self.api.exchanges.values())):
            yield "a token was sent to be exchanged twice"


class KeyPairs(AtTheApi):
    """One of the two public keys of a user, who logs in by a JWT."""

    name = "http-key-pair"
    modules = ("http.api_target", "keys.key_maker")
    changes = frozenset(FIELDS)
    server = KeyPairApi
    api: KeyPairApi

    def make(self, site: Site) -> Declared:
        user, private = f"U{fresh()}".replace("-", "_"), CryptographyKeys().private_key(KeyKind.RSA_2048)
        self.api.create(user, line_of(private))
        sql: dict[str, Any] = {"method": "POST", "path": "/statements"}
        rotation = {
            "strategy": "http-key-pair",
            "target": "api",
            "constants": {"user": user},
            "jwt": {"claims": {"iss": "{{user}}.{{fingerprint}}", "sub": "{{user}}"}},
            "create": {**sql, "body": {"statement": "ALTER USER {{user}} SET {{slot}}='{{public_key_line}}'"}},
            "test": {**sql, "headers": {"authorization": "Bearer {{jwt}}"}, "body": {"statement": "SELECT 1"}},
            "delete": {**sql, "body": {"statement": "ALTER USER {{user}} UNSET {{slot}}"}},
            "list": {
                **sql,
                "body": {"statement": "DESC USER {{user}}"},
                "items": "/data",
                "id": "/0",
                "match": {"/1": "{{fingerprint}}"},
            },
            "slots": {slot: f"{slot}_FP" for slot in SLOTS},
        }
        return declared(site, {"private_key": private.reveal(), "user": user}, rotation, api=self.target)

    def works(self, site: Site, fields: SecretFields) -> bool:
        line = line_of(fields["private_key"])
        return line in self.api.users[fields["user"].reveal()].values()

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        held = [line for line in self.api.users[secret.first["user"]].values() if line]
        if held != [line_of(current["private_key"])]:
            yield f"{len(held)} public keys"


def line_of(private: Sensitive) -> str:
    return "".join(CryptographyKeys().public_key(private).strip().splitlines()[1:-1])


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


class PasswordInPlace(Kind):
    """The password of one user of a message broker."""

    name = "http-password, one account"
    modules = ("http.api_target",)
    gap = True
    accounts = 1

    def prepare(self, site: Site) -> None:
        self.broker = site.server("broker", RabbitApi, lambda server: server.url)
        login = base64.b64encode(f"admin:{self.broker.admin_token}".encode()).decode()
        path = admin(site, SecretFields({"login": login}))
        headers = {"authorization": "Basic {{admin.login}}"}
        self.target = {"kind": "http-api", "url": self.broker.url, "admin": path, "headers": headers}

    def make(self, site: Site) -> Declared:
        user, password = fresh(), secrets.token_urlsafe(24)
        accounts = [f"{user}_{letter}" for letter in "ab"[: self.accounts]]
        self.broker.set_password(accounts[0], password)
        self.broker.tags[accounts[0]] = "management"
        rotation = {
            "strategy": "http-password",
            "target": "broker",
            "accounts": accounts,
            "accepts_gap": self.gap,
            "change": {
                "path": "/api/users/{{account}}",
                "body": {"password": "{{candidate.password}}", "tags": "management"},
            },
            "test": {"path": "/api/whoami", "basic": "{{account}}:{{candidate.password}}"},
            "end_sessions": {"path": "/api/connections/username/{{account}}"},
        }
        return declared(site, {"username": accounts[0], "password": password}, rotation, broker=self.target)

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.broker.logs_in(fields["username"].reveal(), fields["password"].reveal())

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        prefix = secret.first["username"].removesuffix("a")
        if others := {name for name in self.broker.users if name.startswith(prefix)} - {
            *secret.data["rotation"]["accounts"]
        }:
            yield f"users {others}"


class AlternatingPasswords(PasswordInPlace):
    """The passwords of two users, of which one serves."""

    name = "http-password, two accounts"
    gap = False
    accounts = 2
