"""A service that creates, tests, lists and deletes keys: the recipes of ``http-api-key``."""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from keyturn.core.text import templates
from local.emulators.recipes.logins import new_token
from local.emulators.recipes.matching import Captured, Received, Shape, put, satisfy
from local.emulators.recipes.server import Answer, Service, base_of

PAGE: Final = 2
"""Entries on a page, so that short lists have several."""

LIFETIME: Final = timedelta(days=90)


@dataclass
class Key:
    """``values`` are the fields of the recipe's ``answer``; ``named`` the texts of its entry in the list.

    ``steps`` counts the requests that have ended it: the first one makes it invalid, the last one removes it.
    """

    values: dict[str, str]
    named: dict[str, str]
    used: datetime | None = None
    steps: int = 0
    ended: datetime | None = None


@dataclass
class CreatedKeys(Service):
    """Plays ``rotation``, a strategy's settings with all parameters filled in, at the address of ``target``.

    ``admin`` are the fields of the admin credential. ``differences`` are the recipe's ``emulator``:
    ``numbered`` (ids are numbers), ``keeps_ended`` (the list keeps ended keys), ``limit``, ``created``, ``deleted``
    (statuses).
    """

    rotation: Mapping[str, Any]
    target: Mapping[str, Any]
    admin: Mapping[str, str]
    differences: Mapping[str, Any] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    received: list[tuple[str, Received]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._id = self.rotation.get("id_field", "id")
        constants = self.rotation.get("constants", {})
        self.login = new_token(self.target)
        known = {**constants, **self.login, **{f"admin.{name}": value for name, value in self.admin.items()}}
        base = base_of(self.target["url"])
        test_base = base_of(self.target.get("test_url", self.target["url"]))
        headers = self.target.get("headers", {})

        def shape(settings: Mapping[str, Any], method: str, base: str = base, *, as_admin: bool = True) -> Shape:
            merged = {**settings, "headers": {**(headers if as_admin else {}), **settings.get("headers", {})}}
            return Shape(merged, method, base, known)

        test = self.rotation["test"]
        deletes = self.rotation["delete"]
        self._create = shape(self.rotation["create"], "POST")
        self._test = shape(test, "GET", test_base, as_admin=False)
        self._deletes = [shape(each, "DELETE") for each in (deletes if isinstance(deletes, list) else [deletes])]
        listing = self.rotation.get("list")
        self._list = shape(listing, "GET") if listing else None
        self._more = shape({**listing, "path": listing["more"]}, "GET") if listing and "more" in listing else None
        self._used = shape(self.rotation["last_used"], "GET") if "last_used" in self.rotation else None

    # --- what a test asks ---

    def make_by_hand(self) -> dict[str, str]:
        """Create a key as a person does; its fields."""
        with self._lock:
            return dict(self._made({}).values)

    def works(self, fields: Mapping[str, str]) -> bool:
        """Whether the service accepts this key."""
        return any(self._is_live(key) and self._holds(key, fields) for key in self.keys.values())

    @property
    def live(self) -> list[str]:
        return [name for name, key in self.keys.items() if self._is_live(key)]

    def owners(self, path: str) -> list[tuple[str, str]]:
        """The ids of living keys whose entry names the secret at ``path``, with that text."""
        found = ((made, text) for made, key in self.keys.items() if self._is_live(key) for text in key.named.values())
        return [(made, text) for made, text in found if path in text]

    # --- requests ---

    def answer(self, received: Received) -> Answer:
        with self._lock:
            for name, shape, act in self._admin_requests():
                if (values := shape.match(received)) is not None:
                    self.received.append((name, received))
                    return act(values)
            if (values := self._test.match(received)) is not None:
                self.received.append(("test", received))
                return self._tested(values)
            self.received.append(("unknown", received))
            return Answer(404, {"error": "no request of the recipe looks like this"})

    def _admin_requests(self) -> Iterator[tuple[str, Shape, Callable[[Captured], Answer]]]:
        for number, shape in enumerate(self._deletes):
            yield "delete", shape, partial(self._deleted, number=number)
        if self._more:
            yield "list", self._more, lambda values: self._listed(self._start(values))
        if self._used:
            yield "last_used", self._used, self._last_used
        if self._list:
            yield "list", self._list, lambda _: self._listed(0)
        yield "create", self._create, self._created

    def _created(self, values: Captured) -> Answer:
        if len(self.live) >= int(self.differences.get("limit", 1000)):
            return Answer(409, {"message": "the limit of keys is reached"})
        key = self._made(values)
        document: Any = {}
        for name, pointer in self.rotation["answer"].items():
            document = put(document, pointer, self._typed(name, key.values[name]))
        return self._success(self.rotation["create"], document, self.differences.get("created", 200))

    def _made(self, values: Captured) -> Key:
        made = str(secrets.randbelow(10**9)) if self.differences.get("numbered") else secrets.token_hex(8)
        fields = {name: secrets.token_urlsafe(24) for name in self.rotation["answer"]}
        fields |= {self._id: made}
        if "expires_at" in fields:
            fields["expires_at"] = (datetime.now(UTC) + LIFETIME).isoformat()
        where = (self.rotation.get("list") or {}).get("where", {})
        constants = self.rotation.get("constants", {})
        named = {
            pointer: templates.fill(text, lambda name: constants.get(name) or values.get(name, "by hand"))
            for pointer, text in where.items()
        }
        key = Key(fields, named)
        self.keys[made] = key
        return key

    def _typed(self, name: str, value: str) -> str | int:
        return int(value) if name == self._id and self.differences.get("numbered") else value

    def _tested(self, values: Captured) -> Answer:
        test = self.rotation["test"]
        for key in self.keys.values():
            if self._is_live(key) and self._holds(key, values):
                key.used = datetime.now(UTC)
                return self._success(test, {})
        refused = test.get("refused")
        pattern = (refused[0] if isinstance(refused, list) else refused) or {"status": [401]}
        status = pattern.get("status", [200])
        document = satisfy({}, pattern.get("when", ()))
        return Answer(status[0] if isinstance(status, list) else status, document or {"error": "the key is not valid"})

    def _deleted(self, values: Captured, number: int) -> Answer:
        key = self.keys.get(values.get(self._id, ""))
        settings = self._deletes[number].settings
        if key is None or (key.steps >= len(self._deletes) and not self.differences.get("keeps_ended")):
            gone = settings.get("gone")
            pattern = (gone[0] if isinstance(gone, list) else gone) or {"status": [404]}
            status = pattern.get("status", [200])
            body = satisfy({}, pattern.get("when", ())) or {"error": "there is no such key"}
            return Answer(status[0] if isinstance(status, list) else status, body)
        if key.steps < number:
            return Answer(403, {"error": "the key is still active"})
        key.steps = max(key.steps, number + 1)
        key.ended = key.ended or datetime.now(UTC)
        if key.steps >= len(self._deletes) and not self.differences.get("keeps_ended"):
            del self.keys[values[self._id]]
        return self._success(settings, {}, self.differences.get("deleted", 200))

    def _listed(self, start: int) -> Answer:
        listing = self.rotation["list"]
        keys = list(self.keys.values())
        paged, size = "more" in listing, listing.get("page_size", PAGE)
        page = keys[start : start + size] if paged else keys
        document = put({}, listing.get("items", ""), [self._entry(key) for key in page])
        if "next" in listing and paged and start + size < len(keys):
            document = put(document, listing["next"], str(start + size))
        return self._success(listing, document)

    def _start(self, values: Captured) -> int:
        """Where a page begins, by a token, the number of entries before it, or the page's number."""
        listing = self.rotation["list"]
        if "page" in values:
            return (int(values["page"]) - int(listing.get("first_page", 1))) * int(listing.get("page_size", PAGE))
        return int(values.get("next") or values["offset"])

    def _entry(self, key: Key) -> Any:
        listing = self.rotation["list"]
        entry: Any = {}
        for pointer, text in key.named.items():
            entry = put(entry, pointer, text)
        entry = put(entry, listing["id"], self._typed(self._id, key.values[self._id]))
        if "last_used" in listing:
            entry = put(entry, listing["last_used"], key.used.isoformat() if key.used else None)
        return satisfy(entry, listing.get("in_force", ()), broken=not self._is_live(key))

    def _last_used(self, values: Captured) -> Answer:
        settings = self.rotation["last_used"]
        key = self.keys.get(values.get(self._id, ""))
        if key is None:
            return Answer(404, {"error": "there is no such key"})
        used = key.used.isoformat() if key.used else None
        return self._success(settings, put({}, settings["at"], used))

    def _success(self, settings: Mapping[str, Any], document: Any, status: int = 200) -> Answer:
        expected = settings.get("expect", ())
        statuses = [item for item in expected if isinstance(item, int)]
        document = satisfy(document, [item for item in expected if isinstance(item, dict)])
        chosen = statuses[0] if statuses else status
        return Answer(chosen, None if chosen == 204 else document)

    def _holds(self, key: Key, fields: Mapping[str, str]) -> bool:
        shared = (key.values.keys() & fields.keys()) - {self._id, "expires_at"}
        return bool(shared) and all(key.values[name] == fields[name] for name in shared)

    def _is_live(self, key: Key) -> bool:
        return key.ended is None
