"""Convert other tools' files to secrets of a catalogue, without the hub or a store."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import yaml

from keyturn.catalogue import Catalogue
from keyturn.catalogue.files.reading import read_file
from keyturn.catalogue.files.syntax import NotYaml
from keyturn.core.errors import Invalid
from keyturn.inventory.draft import CONVERTED, Draft
from keyturn.inventory.drafting import (
    Defaults,
    DraftedPlace,
    DraftedSecret,
    comment,
    folders_of,
    once_each,
    refusal_of_path,
)
from keyturn.inventory.given import Places
from keyturn.inventory.hub_inventory import Unread
from keyturn.inventory.matching import Matching
from keyturn.inventory.proposals import Proposal

MOST_DOCUMENTS: Final = 10_000
"""Maximum number of documents in one file."""
NO_PLACE: Final = "nothing declares the store {}: declare it under stores, or give --{}"

Json = Mapping[str, Any]


@dataclass
class Converted:
    places: list[DraftedPlace] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    proposal: Proposal | None = None


@dataclass
class Conversion:
    """All converted secrets by path, the stores, and what a catalogue can't express."""

    secrets: dict[str, Converted] = field(default_factory=dict)
    stores: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[Unread] = field(default_factory=list)
    mounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    heading: list[str] = field(default_factory=list)
    """Lines for the top of the file, which a person must read first."""
    declared: Mapping[str, str] = field(default_factory=dict)
    """The locations of the stores that the catalogue already declares, by name."""

    def secret(self, path: str) -> Converted:
        return self.secrets.setdefault(path, Converted())

    def leave_out(self, name: str, why: str) -> None:
        self.left_out.append(Unread(name, why))

    @property
    def told(self) -> Places:
        sections = {"stores": self.stores, "mounts": self.mounts}
        return {name: entries for name, entries in sections.items() if entries}


def read_documents(file: Path) -> list[Any]:
    """Return the documents of a YAML or JSON file, with lists and Kubernetes ``List`` objects split. Raises Invalid.

    A file may contain several consecutive JSON objects, as commands print them.
    """
    try:
        text = read_file(file).decode()
        loaded = list(_json_documents(text)) or [data for data in yaml.safe_load_all(text) if data is not None]
    except NotYaml as error:
        raise Invalid("read", str(file), error.message, error.remedy) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise Invalid(
            "read", str(file), "it is no YAML and no JSON", "Give the file as the other tool has it"
        ) from None
    documents = [document for data in loaded for document in _taken_apart(data)]
    if len(documents) > MOST_DOCUMENTS:
        raise Invalid("read", str(file), f"it has more than {MOST_DOCUMENTS:,} documents", "Divide it into several")
    return documents


def _json_documents(text: str) -> Iterator[Any]:
    decoder, made, rest = json.JSONDecoder(), list[Any](), text.strip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError:
            return
        made.append(value)
        rest = rest[end:].lstrip()
    yield from made


def _taken_apart(data: Any) -> Iterator[Any]:
    if isinstance(data, list):
        yield from data
    elif isinstance(data, Mapping) and data.get("kind") == "List" and isinstance(data.get("items"), list):
        yield from data["items"]
    elif isinstance(data, Mapping) and isinstance(data.get("SecretList"), list):
        yield from data["SecretList"]
    else:
        yield data


def hub_path(text: str, mount: str) -> str:
    """Return a path in the catalogue's notation: without mount and ``data/``."""
    path = text.strip().strip("/")
    for prefix in (f"{mount.strip('/')}/data/", f"{mount.strip('/')}/"):
        if path.startswith(prefix):
            return path.removeprefix(prefix)
    return path


def text_at(data: Any, *keys: str) -> str:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, str) else ""


def draft_conversion(conversion: Conversion, declared: Catalogue, defaults: Defaults, *, adopt: bool) -> Draft:
    """Return the draft. Places in undeclared stores are commented out, with the remedy."""
    stores = {*declared.stores, *declared.groups}
    folders = {folder for path in conversion.secrets for folder in folders_of(path)}
    proposals = {path: made.proposal for path, made in conversion.secrets.items() if made.proposal}
    distinct = once_each(proposals)
    entries = [
        DraftedSecret(
            path,
            defaults.owner,
            defaults.classification,
            tuple(_placed(unique(secret.places), stores, adopt=adopt)),
            distinct.get(path),
            tuple(dict.fromkeys(secret.notes)),
            refusal_of_path(path, folders),
        )
        for path, secret in sorted(conversion.secrets.items())
        if path not in declared.secrets
    ]
    already = [Unread(path, "it is declared already") for path in conversion.secrets if path in declared.secrets]
    heading = CONVERTED + "".join(f"# {comment(line)}\n" for line in conversion.heading)
    return Draft(tuple(entries), Matching((), (), ()), (), (*conversion.left_out, *already), heading)


def unique(places: Iterable[DraftedPlace]) -> list[DraftedPlace]:
    return list({(place.store, place.name, str(place.form), str(place.more)): place for place in places}.values())


def _placed(places: Sequence[DraftedPlace], stores: set[str], *, adopt: bool) -> Iterator[DraftedPlace]:
    for place in places:
        if place.store not in stores and not place.question:
            yield replace(place, question=NO_PLACE.format(place.store, option_of(place.store)))
        else:
            yield replace(place, adopt=adopt and not place.question)


def option_of(store: str) -> str:
    word = re.match("aws|ssm|azure|gcp", store)
    return word[0] if word else "stores"
