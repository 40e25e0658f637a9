"""A service that keeps entries under keys: the recipes of ``http-store``."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

from keyturn.core.text import templates
from local.emulators.recipes.matching import Captured, Received, Shape, put, satisfy
from local.emulators.recipes.server import Answer
from local.emulators.recipes.service import RecipeService, Requests

BASE64: Final = ".base64"
JSON: Final = ".json"
CURSOR: Final = "emulator_cursor"
PAGE: Final = 10
"""Entries on a page."""
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """``marks`` is the text in its tags or description, if it has such."""

    key: str
    id: str
    version: int
    value: str
    marks: str | None = None


@dataclass(frozen=True)
class StoreShape(Shape):
    """A request whose JSON may have keys of copies; ``keys`` are their patterns by their names."""

    keys: Mapping[str, re.Pattern[str]] = field(default_factory=dict)

    def match(self, received: Received) -> Captured | None:
        values: Captured = {}
        body = self._with_keys(self.settings.get("body"), received.data, values)
        plain = Shape({**self.settings, "body": body}, self.method, self.base, self.known)
        found = plain.match(received)
        return None if found is None else {**values, **found}

    def _with_keys(self, template: Any, data: Any, values: Captured) -> Any:
        """The template with its named keys as they are in the data."""
        if isinstance(template, list):
            members = data if isinstance(data, list) else []
            inner = [members[at] if at < len(members) else None for at in range(len(template))]
            return [self._with_keys(each, other, values) for each, other in zip(template, inner, strict=True)]
        if not isinstance(template, dict):
            return template
        made = {}
        for key, inner in template.items():
            name = next(iter(templates.names(key)), "")
            actual = next((each for each in data or () if self.keys[name].fullmatch(each)), key) if name else key
            if name:
                values[name] = actual
            made[actual] = self._with_keys(inner, data.get(actual) if isinstance(data, dict) else None, values)
        return made


@dataclass
class StoreService(RecipeService):
    """``rotation`` and ``target`` are both the store's settings.

    ``differences``: ``numbered`` (versions are numbers), ``times`` (versions are times in seconds), ``overwrites``
    (creating an entry that exists replaces it).
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    writes: int = 0

    def __post_init__(self) -> None:
        settings = self.settings = self.rotation
        self._entry, self._marks = settings["entry"], settings["marks"]
        self._key = settings.get("key", "{{name}}")
        self._patterns = {
            "key": self._pattern(self._key),
            "marks_key": self._pattern(self._marks.get("key", "(?!)")),
        }
        super().__post_init__()
        plain = {name: self._filled(text, "") for name, text in settings.get("texts", {}).items()}
        known = {**self._known, **plain}
        self._known = known | {f"{name}{BASE64}": _encoded(value) for name, value in known.items()}
        self._requests = list(self.requests())

    def _pattern(self, text: str) -> re.Pattern[str]:
        own = {"name": "(?P<name>.+)", "marks": "[A-Z2-7]+"}
        return templates.pattern(text, lambda part: own.get(part) or re.escape(self.constants.get(part, "")))

    def requests(self) -> Requests:
        settings, marks = self.settings, self._marks
        listing = settings["list"]
        if "more" in listing:
            more = self.shape({**listing, "path": listing["more"]}, "GET")
            yield "list", more, lambda values: self._listed(self._start(values))
        yield "list", self.shape(listing, "GET"), lambda _: self._listed(self._cursor())
        if "read" in settings:
            yield "read", self.entry_shape(settings["read"], "GET"), self._read
        for name, request, method in (
            ("create", settings["create"], "POST"),
            ("note", marks.get("create"), "POST"),
            ("update", settings.get("update"), "PUT"),
            ("mark", marks.get("update"), "PUT"),
        ):
            if request:
                updates = method == "PUT"
                yield name, self.entry_shape(request, method), partial(self._written, request, updates=updates)
        yield "delete", self.entry_shape(settings["delete"], "DELETE"), self._deleted

    def entry_shape(self, settings: Mapping[str, Any], method: str) -> StoreShape:
        shape = self.shape(settings, method)
        return StoreShape(shape.settings, shape.method, shape.base, shape.known, self._patterns)

    # --- what a test asks ---

    @property
    def login_text(self) -> str:
        """What a file with its login holds."""
        return self.admin["token"] if [*self.admin] == ["token"] else json.dumps(self.admin)

    def key_of(self, name: str) -> str:
        return self._filled(self._key, name)

    def put_by_hand(self, name: str, value: str) -> None:
        """Make an entry, or give it another value, as a person does."""
        with self._lock:
            key = self.key_of(name)
            there = self.entries.get(key)
            self._keep(replace(there, value=value) if there else Entry(key, "", 0, value))

    def strip(self, name: str) -> None:
        """Take the marks away."""
        with self._lock:
            key = self.key_of(name)
            if there := self.entries.get(key):
                self.entries[key] = replace(there, marks=None)
            for other in [each for each in self.entries if self._is_note_of(each, name)]:
                del self.entries[other]

    def erase(self, name: str) -> None:
        """Delete an entry, and leave what is next to it."""
        with self._lock:
            self.entries.pop(self.key_of(name), None)

    def served(self, name: str) -> str | None:
        """What consumers find."""
        entry = self.entries.get(self.key_of(name))
        return entry.value if entry else None

    def reset(self) -> None:
        self.entries.clear()

    def _is_note_of(self, key: str, name: str) -> bool:
        named = self._patterns["marks_key"].fullmatch(key)
        return named is not None and named["name"] == name

    # --- requests ---

    def _written(self, request: Mapping[str, Any], values: Captured, *, updates: bool) -> Answer:
        values = _decoded(values)
        wanted = {"key": values.get("key") or self._key_by_id(values.get("id", ""))}
        if "marks_key" in values and "marks" in values:
            wanted["marks_key"] = values["marks_key"]
        there = {name: self.entries.get(key) for name, key in wanted.items()}
        if updates and there["key"] is None:
            return Answer(404, {"error": "there is no such entry"})
        exists = not updates and "update" in self.settings and there["key"] is not None
        for name, entry in there.items():
            version = values.get("version" if name == "key" else "marks_version")
            shown = str(self._shown(entry.version)) if entry else ""
            exists = exists or (version is not None and version not in (shown, "" if shown else "0"))
        if exists and not self.differences.get("overwrites"):
            return self.refusal(request.get("conflict"), 409, "another writer came first")
        marks = values.get("marks")
        held = there["key"]
        value = values.get("value", held.value if held else "")
        self._keep(
            Entry(wanted["key"], held.id if held else "", 0, value, marks if "marks_key" not in wanted else None)
        )
        if "marks_key" in wanted:
            self._keep(Entry(wanted["marks_key"], "", 0, marks or ""))
        return self.success(request, status=200 if updates else 201)

    def _keep(self, entry: Entry) -> None:
        self.writes += 1
        made = entry.id or f"id{self.writes}"
        self.entries[entry.key] = replace(entry, id=made, version=self.writes)

    def _read(self, values: Captured) -> Answer:
        read = self.settings["read"]
        values = _decoded(values)
        entry = self.entries.get(values.get("key") or self._key_by_id(values.get("id", "")))
        if entry is None:
            return self.refusal(read.get("absent"), 404, "there is no such entry")
        return self.success(read, put({}, read.get("entry", ""), self._document(entry)))

    def _deleted(self, values: Captured) -> Answer:
        values, request = _decoded(values), self.settings["delete"]
        key = values.get("key") or self._key_by_id(values.get("id", ""))
        entry = self.entries.get(key)
        if entry is None:
            return self.refusal(request.get("gone"), 404, "there is no such entry")
        if values.get("version") not in (None, "", str(self._shown(entry.version))):
            return self.refusal(request.get("conflict"), 409, "another writer came first")
        del self.entries[key]
        self.entries.pop(values.get("marks_key", ""), None)
        return self.success(request, status=200)

    def _listed(self, start: int) -> Answer:
        listing = self.settings["list"]
        entries = list(self.entries.values())
        if not entries and listing.get("none"):
            return self.refusal(listing["none"], 404, "there are no entries")
        paged = "more" in listing or "next" in listing
        size = listing.get("page_size", PAGE)
        if "next" in listing:
            # A token names the entry before, so that a list that changes meanwhile leaves none out.
            entries = [entry for entry in entries if serial(entry) > start]
            start = 0
        page = entries[start : start + size] if paged else entries
        shown = [self._document(entry, listed=True) for entry in page]
        items: Any = {each["key"]: each["value"] for each in shown} if listing.get("members") else shown
        document = put({}, listing.get("items", ""), items)
        if listing.get("total"):
            document = put(document, listing["total"], len(self.entries))
        if "next" in listing and len(page) < len(entries):
            last = serial(page[-1])
            token = str(last) if "more" in listing else self._link(last)
            document = put(document, listing["next"], token)
        return self.success(listing, document)

    def _start(self, values: Captured) -> int:
        """Where a page begins: after the entry that a token names, or after so many entries or pages."""
        listing = self.settings["list"]
        if "page" in values:
            return (int(values["page"]) - int(listing.get("first_page", 1))) * int(listing.get("page_size", PAGE))
        return int(values.get("next") or values["offset"])

    def _cursor(self) -> int:
        query = parse_qs(self.received[-1][1].path.partition("?")[2])
        return int(query.get(CURSOR, ["0"])[0])

    def _link(self, last: int) -> str:
        path = self.received[-1][1].path.partition(f"{CURSOR}=")[0].rstrip("?&")
        return f"{path}{'&' if '?' in path else '?'}{CURSOR}={last}"

    def _document(self, entry: Entry, *, listed: bool = False) -> Any:
        where, settings = self._entry, self.settings
        shown = _encoded if where.get("encoding") == "base64" else str
        key = shown(entry.key) if where.get("encoded_names") else entry.key
        document = put({}, where["name"], key)
        if "id" in where:
            document = put(document, where["id"], entry.id)
        for pointer in where.get("version", ()):
            document = put(document, pointer, self._shown(entry.version))
        if not listed or settings["list"].get("shows_values", True):
            if "value" in where and not settings.get("write_only"):
                document = put(document, where["value"], shown(entry.value))
            if self._marks["kept"] != "name" and self._marks["at"] != where.get("value"):
                document = put(document, self._marks["at"], shown(entry.marks) if entry.marks is not None else None)
        conditions = templates.fill_all(settings["list"].get("in_force", []), self._constant)
        return satisfy(document, conditions)

    def _shown(self, version: int) -> str | int:
        if self.differences.get("times"):
            return (BEGAN + timedelta(seconds=version)).isoformat()
        return version if self.differences.get("numbered") else f"v{version}"

    def _key_by_id(self, found: str) -> str:
        return next((each.key for each in self.entries.values() if each.id == found), "")

    def _filled(self, text: str, name: str) -> str:
        return templates.fill(text, lambda part: name if part == "name" else self._constant(part))

    def _constant(self, part: str) -> str:
        return self.constants.get(part, f"{{{{{part}}}}}")


def serial(entry: Entry) -> int:
    """The number of the entry in the order in which they were made."""
    return int(entry.id.removeprefix("id"))


def _decoded(values: Captured) -> Captured:
    """The values, with those that were sent in another form as they are."""
    plain = {name: value for name, value in values.items() if not name.endswith((BASE64, JSON))}
    for ending, form in ((BASE64, _from_base64), (JSON, _from_json)):
        plain |= {name.removesuffix(ending): form(value) for name, value in values.items() if name.endswith(ending)}
    return plain


def _from_base64(text: str) -> str:
    return base64.b64decode(text).decode()


def _from_json(text: str) -> str:
    return str(json.loads(f'"{text}"'))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
