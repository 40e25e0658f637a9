"""REST APIs on loopback that keep accounts with passwords, as RabbitMQ's and CouchDB's do."""

import base64
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from tests.support.rest_api import RestApi, Said, Told

ADMIN: Final = "admin"
UNAUTHORIZED: Final = Said(401, {"error": "not_authorized", "reason": "Not_Authorized"})


@dataclass
class AccountApi(RestApi):
    """``users`` hold a password or None, by name. ``keeps_old`` has former passwords work on, ``least`` is a rule."""

    users: dict[str, str | None] = field(default_factory=dict)
    former: set[tuple[str, str]] = field(default_factory=set)
    keeps_old: bool = False
    least: int = 1

    def __post_init__(self) -> None:
        self.users[ADMIN] = self.admin_token

    def logs_in(self, username: str, password: str = "") -> bool:
        """Whether somebody with this password gets in."""
        kept = self.keeps_old and (username, password) in self.former
        return kept or (bool(password) and self.users.get(username) == password)

    def set_password(self, username: str, password: str | None) -> None:
        """Set it by hand."""
        if before := self.users.get(username):
            self.former.add((username, before))
        self.users[username] = password

    def login(self, told: Told) -> str | None:
        """The user that a request logs in as; None where that is refused."""
        scheme, _, encoded = told.headers.get("authorization", "").partition(" ")
        username, _, password = base64.b64decode(encoded).decode().partition(":") if scheme == "Basic" else ("", "", "")
        return username if self.logs_in(username, password) else None


@dataclass
class RabbitApi(AccountApi):
    """RabbitMQ's management API (4.0): users, and the connections of each."""

    tags: dict[str, str] = field(default_factory=lambda: {ADMIN: "administrator"})
    connections: dict[str, str] = field(default_factory=dict)

    def _answered(self, told: Told) -> Said:
        parts = [unquote(part) for part in urlsplit(told.path).path.split("/")[1:]]
        user = self.login(told)
        if user is None:
            return UNAUTHORIZED
        if not self.tags.get(user):
            return Said(401, {"error": "not_authorised", "reason": "Not management user"})
        match [told.method, *parts]:
            case ["GET", "api", "whoami"]:
                return Said(200, {"name": user, "tags": [self.tags[user]]})
            case _ if self.tags[user] != "administrator":
                return Said(401, {"error": "not_authorised", "reason": "Not administrator user"})
            case ["PUT", "api", "users", name]:
                return self._put(name, told.json)
            case ["GET", "api", "connections", "username", name]:
                return Said(200, [{"name": id} for id, owner in self.connections.items() if owner == name])
            case ["DELETE", "api", "connections", "username", name]:
                self.connections = {id: owner for id, owner in self.connections.items() if owner != name}
                return Said(204)
        return Said(404, {"error": "Object Not Found", "reason": "Not Found"})

    def _put(self, name: str, body: dict[str, Any]) -> Said:
        if "tags" not in body or len(body.get("password", "x" * self.least)) < self.least:
            return Said(400, {"error": "bad_request", "reason": f"unfit: {body}"})
        new = name not in self.users
        self.set_password(name, body.get("password"))
        self.tags[name] = body["tags"]
        return Said(201 if new else 204)

    @contextmanager
    def connected(self, username: str, password: str) -> Iterator[Callable[[], bool]]:
        """A connection as a client opens it, and what tells whether it is still open."""
        assert self.logs_in(username, password)
        id = secrets.token_hex(8)
        self.connections[id] = username
        yield lambda: id in self.connections
        self.connections.pop(id, None)


@dataclass
class CouchApi(AccountApi):
    """CouchDB's user documents: a change names the revision that it replaces."""

    revisions: dict[str, int] = field(default_factory=dict)

    def _answered(self, told: Told) -> Said:
        parts = [unquote(part) for part in urlsplit(told.path).path.split("/")[1:]]
        user = self.login(told)
        if user is None:
            return Said(401, {"error": "unauthorized", "reason": "Name or password is incorrect."})
        match [told.method, *parts]:
            case ["GET", "_session"]:
                return Said(200, {"ok": True, "userCtx": {"name": user}})
            case [_, "_users", _] if user != ADMIN:
                return Said(403, {"error": "forbidden"})
            case ["GET", "_users", id] if id.partition(":")[2] in self.users:
                return Said(200, {"_id": id, "_rev": self._revision(id.partition(":")[2]), "roles": []})
            case ["PUT", "_users", id]:
                return self._put(id.partition(":")[2], told.json)
        return Said(404, {"error": "not_found"})

    def _put(self, name: str, body: dict[str, Any]) -> Said:
        if body.get("_rev") != (self._revision(name) if name in self.users else None):
            return Said(409, {"error": "conflict", "reason": "Document update conflict."})
        self.set_password(name, body["password"])
        self.revisions[name] = self.revisions.get(name, 0) + 1
        return Said(201, {"ok": True, "rev": self._revision(name)})

    def _revision(self, name: str) -> str:
        return f"{self.revisions.get(name, 0)}-abc"
