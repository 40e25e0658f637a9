"""Recognises requests by their templates, and makes answers from pointers and conditions."""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from keyturn.core.text import templates

Captured = dict[str, str]
"""What a request holds in the places of a template's names."""

NONE: Final = re.compile(r"(?!)")


@dataclass(frozen=True)
class Received:
    """A request as it arrived. ``path`` is not decoded; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        """Its JSON; None for anything else."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True))

    @property
    def basic(self) -> str:
        """``user:password`` of HTTP Basic; empty without it."""
        scheme, _, text = self.headers.get("authorization", "").partition(" ")
        try:
            return base64.b64decode(text).decode() if scheme.lower() == "basic" else ""
        except ValueError:
            return ""


@dataclass(frozen=True)
class Shape:
    """One request of a recipe, at ``base``: the path of the service's address.

    ``known`` are the values of names that every request must hold, such as the admin's.
    """

    settings: Mapping[str, Any]
    method: str
    base: str
    known: Mapping[str, str]

    def match(self, received: Received) -> Captured | None:
        """The values of names in a request of this shape; None for any other request."""
        if received.method != self.settings.get("method", self.method):
            return None
        pattern, _, query = self.settings["path"].partition("?")
        path, _, asked = received.path.partition("?")
        pairs: list[tuple[Any, Any]] = [(unquote(path), self.base + pattern)]
        given = dict(parse_qsl(asked, keep_blank_values=True))
        for name, text in parse_qsl(query, keep_blank_values=True):
            pairs.append((given.get(name), text))
        for name, text in self.settings.get("headers", {}).items():
            pairs.append((received.headers.get(name.lower()), text))
        if "basic" in self.settings:
            pairs.append((received.basic, self.settings["basic"]))
        pairs += pairs_of(received.data, self.settings.get("body"))
        pairs += [(received.form.get(name), text) for name, text in (self.settings.get("form") or {}).items()]
        if "text" in self.settings:
            pairs.append((received.body.decode(errors="replace"), self.settings["text"]))
        return captured(pairs, self.known)


def pairs_of(data: Any, template: Any) -> Iterable[tuple[Any, Any]]:
    """What stands in each place of a JSON template."""
    if isinstance(template, dict):
        for key, inner in template.items():
            yield from pairs_of(data.get(key) if isinstance(data, dict) else None, inner)
    elif isinstance(template, list):
        for at, inner in enumerate(template):
            yield from pairs_of(data[at] if isinstance(data, list) and at < len(data) else None, inner)
    elif template is not None:
        yield data, template


def captured(pairs: Iterable[tuple[Any, Any]], known: Mapping[str, str]) -> Captured | None:
    """The values of names; None if a text differs from its template, or one name has two values."""
    values: Captured = {}
    for actual, template in pairs:
        if not isinstance(template, str):
            if actual != template:
                return None
            continue
        names = templates.names(template)
        filled = template if not names else ""
        if names and all(name in known for name in names):
            filled = templates.fill(template, lambda name: known[name])
        if filled:
            if str(actual) != filled:
                return None
            continue
        pattern = templates.pattern(template, lambda name: re.escape(known[name]) if name in known else "((?s:.+))")
        found = pattern.fullmatch("" if actual is None else str(actual))
        if found is None:
            return None
        for name, value in zip((name for name in names if name not in known), found.groups(), strict=True):
            if values.setdefault(name, value) != value:
                return None
    return values


def put(document: Any, pointer: str, value: Any) -> Any:
    """The document with the value at the JSON pointer; lists and mappings on the way are made."""
    parts = pointer.split("/")[1:]
    if not parts:
        return value
    part, rest = parts[0].replace("~1", "/").replace("~0", "~"), "".join(f"/{each}" for each in parts[1:])
    name, equals, wanted = part.partition("=")
    if equals:
        members = list(document or [])
        at = next((at for at, each in enumerate(members) if each[name] == wanted), len(members))
        members += [{name: wanted}] * (at == len(members))
        members[at] = put(members[at], rest, value)
        return members
    if part.isdigit() and not isinstance(document, dict):
        members = list(document or [])
        members += [None] * (int(part) + 1 - len(members))
        members[int(part)] = put(members[int(part)], rest, value)
        return members
    mapping = dict(document or {})
    mapping[part] = put(mapping.get(part), rest, value)
    return mapping


def found(document: Any, pointer: str) -> Any:
    """What is at the JSON pointer; None for nothing."""
    for part in pointer.split("/")[1:]:
        if isinstance(document, list):
            document = document[int(part)] if part.isdigit() and int(part) < len(document) else None
        else:
            document = document.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(document, dict) else None
    return document


def satisfy(document: Any, conditions: Iterable[Mapping[str, Any]], *, broken: bool = False) -> Any:
    """The document such that it meets each condition, or with ``broken`` none of them."""
    for condition in conditions:
        if condition.get("absent"):
            document = put(document, condition["pointer"], "ended" if broken else None)
        elif "equals" in condition:
            wanted = condition["equals"]
            first = wanted[0] if isinstance(wanted, list) else wanted
            other = (not first) if isinstance(first, bool) else f"not {first}"
            document = put(document, condition["pointer"], other if broken else first)
        elif broken or found(document, condition["pointer"]) is None:
            document = put(document, condition["pointer"], None if broken else "there")
    return document
