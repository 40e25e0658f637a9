"""Readers of an entry's plain data. A wrong type reads as absent and is reported elsewhere."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

from keyturn.catalogue.choice import About
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import KeyPath
from keyturn.core.text.formatting import Case, spelled
from keyturn.core.text.references import Unfit
from keyturn.settings import durations


def at(data: Any, path: KeyPath) -> Any:
    """The value at ``path``; None if absent."""
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def text_at(entry: CatalogueEntry, *path: str) -> str | None:
    value = at(entry.data, path)
    return value if isinstance(value, str) else None


def list_at(entry: CatalogueEntry, *path: str) -> list[Any]:
    value = at(entry.data, path)
    return value if isinstance(value, list) else []


def describe_secret(entry: CatalogueEntry) -> About:
    data = entry.data if isinstance(entry.data, dict) else {}
    owner, classification, labels = data.get("owner"), data.get("classification"), data.get("labels")
    return About(
        owner if isinstance(owner, str) else "",
        classification if isinstance(classification, str) else "",
        {key: value for key, value in labels.items() if isinstance(value, str)} if isinstance(labels, dict) else {},
    )


def duration(entry: CatalogueEntry, key: str, section: str = "rotation") -> timedelta | None:
    try:
        return durations.parse(text_at(entry, section, key) or "")
    except ValueError:
        return None


def merged_keys(entry: CatalogueEntry, index: int) -> list[str] | None:
    """The keys that a destination merges into a secret of others; None for a whole copy."""
    listed = at(entry.data, ("destinations",))
    destination = listed[index]
    if at(destination, ("merge",)) is not True:
        return None
    fields, templates, case = at(destination, ("fields",)), at(destination, ("templates",)), at(destination, ("case",))
    named = [key for key in fields if isinstance(key, str)] if isinstance(fields, dict | list) else []
    if isinstance(fields, list) and case in list(Case):
        with suppress(Unfit):
            named = [spelled(key, Case(case)) for key in named]
    return [*named, *(map(str, templates) if isinstance(templates, dict) else ())]


def destinations(entry: CatalogueEntry) -> Iterator[tuple[int, str, str | None]]:
    """Yields index, store and remote name of each destination."""
    for index, destination in enumerate(list_at(entry, "destinations")):
        store, name = at(destination, ("store",)), at(destination, ("name",))
        if isinstance(store, str):
            yield index, store, name if isinstance(name, str) else None


def copy_names(entry: CatalogueEntry) -> Iterator[tuple[int, str, str | None]]:
    """As ``destinations``, with one name for each field of a list."""
    for index, store, name in destinations(entry):
        place = at(entry.data, ("destinations",))[index]
        each, case = at(place, ("each_field",)), at(place, ("case",))
        if isinstance(each, str):
            yield index, store, None  # the names depend on the secret's fields
            continue
        if not isinstance(each, list) or name is None:
            yield index, store, name
            continue
        for field in each:
            with suppress(ValueError):
                yield index, store, name.replace("{field}", spelled(str(field), Case(case) if case else None))


def name_templates(entry: CatalogueEntry) -> Iterator[tuple[int, str, str]]:
    """As ``destinations``, for those with a pattern of fields and {field} in the name."""
    for index, store, name in destinations(entry):
        if name and isinstance(at(at(entry.data, ("destinations",))[index], ("each_field",)), str):
            yield index, store, name
