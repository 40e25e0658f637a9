"""A service that creates, tests, lists and deletes keys: the recipes of ``http-api-key``."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from keyturn.core.text import templates
from local.emulators.recipes.matching import Captured, Shape, put, satisfy
from local.emulators.recipes.server import Answer
from local.emulators.recipes.service import RecipeService, Requests

PAGE: Final = 2
"""Entries on a page, so that short lists have several."""

LIFETIME: Final = timedelta(days=90)


@dataclass
class Key:
    """``values`` are the fields of the recipe's ``answer``; ``named`` the texts of its entry in the list.

    ``owner`` is the path of the secret that it was made for. ``steps`` counts the requests that have ended it: the
    first one makes it invalid, the last one removes it.
    """

    values: dict[str, str]
    named: dict[str, str]
    owner: str
    until: datetime
    used: datetime | None = None
    steps: int = 0


@dataclass
class CreatedKeys(RecipeService):
    """``differences``: ``numbered`` (ids are numbers), ``keeps_ended`` (the list keeps ended keys), ``limit``,
    ``created`` and ``deleted`` (statuses), ``lifetime`` (days).
    """

    keys: dict[str, Key] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._id = self.rotation.get("id_field", "id")
        deletes = self.rotation["delete"]
        self._deletes = deletes if isinstance(deletes, list) else [deletes]
        super().__post_init__()

    def requests(self) -> Requests:
        for number, settings in enumerate(self._deletes):
            yield "delete", self.shape(settings, "DELETE"), partial(self._deleted, number=number)
        listing = self.rotation.get("list")
        if listing and "more" in listing:
            more = self.shape({**listing, "path": listing["more"]}, "GET")
            yield "list", more, lambda values: self._listed(self._start(values))
        if "last_used" in self.rotation:
            yield "last_used", self.shape(self.rotation["last_used"], "GET"), self._last_used
        if listing:
            yield "list", self.shape(listing, "GET"), lambda _: self._listed(0)
        yield "create", self.shape(self.rotation["create"], "POST"), self._created
        yield "test", self.shape(self.rotation["test"], "GET", as_admin=False, at_test_url=True), self._tested

    # --- what a test asks ---

    def issue(self) -> dict[str, str]:
        with self._lock:
            return dict(self._made({}).values)

    def works(self, fields: Mapping[str, str]) -> bool:
        return any(self._is_live(key) and self._holds(key, fields) for key in list(self.keys.values()))

    def living(self, path: str) -> list[Mapping[str, str]]:
        return [key.values for key in list(self.keys.values()) if self._is_live(key) and key.owner == path]

    def lives_after(self, time: timedelta, fields: Mapping[str, str]) -> bool:
        at = datetime.now(UTC) + time
        return any(each.until > at for each in list(self.keys.values()) if self._holds(each, fields))

    def reset(self) -> None:
        self.keys.clear()

    # --- requests ---

    def _created(self, values: Captured) -> Answer:
        if self._made_name(values) in self.keys:
            return Answer(400, {"message": "there is a key of this name"})
        if sum(map(self._is_live, self.keys.values())) >= int(self.differences.get("limit", 1000)):
            return Answer(409, {"message": "the limit of keys is reached"})
        key = self._made(values)
        document: Any = {}
        for name, pointer in self.rotation["answer"].items():
            document = put(document, pointer, self._typed(name, key.values[name]))
        return self.success(self.rotation["create"], document, self.differences.get("created", 200))

    def _made(self, values: Captured) -> Key:
        made = self._made_name(values) or secrets.token_hex(8)
        if self.differences.get("numbered"):
            made = str(secrets.randbelow(10**9))
        fields = {name: secrets.token_urlsafe(24) for name in self.rotation["answer"]}
        for name in self.rotation.get("generate", {}):
            fields[name] = values.get(f"candidate.{name}") or secrets.token_urlsafe(24)
        fields |= {self._id: made}
        until = datetime.now(UTC) + timedelta(days=self.differences.get("lifetime", LIFETIME.days))
        if "expires_at" in fields:
            fields["expires_at"] = until.isoformat()
        named = {pointer: self._text(text, values) for pointer, text in self._where.items()}
        self.keys[made] = key = Key(fields, named, values.get("path", ""), until)
        return key

    @property
    def _where(self) -> Mapping[str, str]:
        where: Mapping[str, str] = (self.rotation.get("list") or {}).get("where", {})
        return where

    def _text(self, text: str, values: Captured) -> str:
        return templates.fill(text, lambda name: self.constants.get(name) or values.get(name, "by hand"))

    def _made_name(self, values: Captured) -> str:
        """The id of a key that a request makes, where that is the name in it."""
        text = self._where.get((self.rotation.get("list") or {}).get("id", ""))
        return self._text(text, values) if text and values else ""

    def _typed(self, name: str, value: str) -> str | int:
        return int(value) if name == self._id and self.differences.get("numbered") else value

    def _tested(self, values: Captured) -> Answer:
        test = self.rotation["test"]
        shape = self.shape(test, "GET", as_admin=False, at_test_url=True)
        for key in self.keys.values():
            # Where two fields follow each other in one text, only the values of a key show where the second begins.
            held = Shape(shape.settings, shape.method, shape.base, {**shape.known, **key.values})
            if self._is_live(key) and held.match(self.received[-1][1]) is not None:
                key.used = datetime.now(UTC)
                return self.success(test)
        return self.refusal(test.get("refused"), 401, "the key is not valid")

    def _deleted(self, values: Captured, number: int) -> Answer:
        key = self.keys.get(values.get(self._id, ""))
        settings = self._deletes[number]
        if key is None or (key.steps >= len(self._deletes) and not self.differences.get("keeps_ended")):
            return self.refusal(settings.get("gone"), 404, "there is no such key")
        if key.steps < number:
            return Answer(403, {"error": "the key is still active"})
        key.steps = max(key.steps, number + 1)
        if key.steps >= len(self._deletes) and not self.differences.get("keeps_ended"):
            del self.keys[values[self._id]]
        return self.success(settings, status=self.differences.get("deleted", 200))

    def _listed(self, start: int) -> Answer:
        listing = self.rotation["list"]
        keys = list(self.keys.values())
        paged, size = "more" in listing, listing.get("page_size", PAGE)
        page = keys[start : start + size] if paged else keys
        document = put({}, listing.get("items", ""), [self._entry(key) for key in page])
        if "next" in listing and paged and start + size < len(keys):
            document = put(document, listing["next"], str(start + size))
        return self.success(listing, document)

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
        return self.success(settings, put({}, settings["at"], key.used.isoformat() if key.used else None))

    def _holds(self, key: Key, fields: Mapping[str, str]) -> bool:
        shared = (key.values.keys() & fields.keys()) - {self._id, "expires_at"}
        return bool(shared) and all(key.values[name] == fields[name] for name in shared)

    def _is_live(self, key: Key) -> bool:
        return key.steps == 0 and datetime.now(UTC) < key.until
