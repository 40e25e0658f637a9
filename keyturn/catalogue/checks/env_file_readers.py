"""Checks that the reader of an environment file can read back the secret's values."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from keyturn.catalogue.checks.plain_data import at, describe_secret, destinations, text_at
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import Problem
from keyturn.core.text.dotenv import Reader, refuses_text

SEVERAL_LINES: Final[Mapping[str, frozenset[str]]] = {
    "certificate": frozenset({"certificate", "private_key", "chain", "bundle"}),
    "ssh-key": frozenset({"private_key"}),
    "signing-key": frozenset({"private_key"}),
    "gcp-service-account-key": frozenset({"credentials_json"}),
}
"""The fields with multi-line values, by strategy."""
TEXTS: Final = ("field", "each_field", "template", "templates")
REMEDY: Final = "Set another reader on the store, leave the field out with fields, or narrow the alphabet."


def carried_by_their_readers(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    for index, store, _ in destinations(entry):
        shape = at(entry.data, ("destinations",))[index]
        if at(shape, ("fields",)) or not any(at(shape, (key,)) for key in TEXTS):
            for message in _refused(entry, store, at(shape, ("fields",)), world):
                yield entry.problem(("destinations", index, "store"), message, REMEDY)
    for name, sync in world.syncs.items():
        stores = [store for store in sync.stores if _lines(world, store)]
        lines = sync.fields or not any(getattr(sync, key) for key in TEXTS)
        if stores and lines and sync.covers(entry.name, describe_secret(entry)):
            for message in (message for store in stores for message in _refused(entry, store, sync.fields, world)):
                yield entry.problem(("rotation",), f"{message}, where the sync {name} pushes it", REMEDY)


def _lines(world: World, store: str) -> CatalogueEntry | None:
    file = world.entries["stores"].get(store)
    return file if file and text_at(file, "kind") == "file" and text_at(file, "format") == "dotenv" else None


def _refused(entry: CatalogueEntry, store: str, chosen: Any, world: World) -> Iterator[str]:
    file = _lines(world, store)
    listed = chosen.values() if isinstance(chosen, dict) else chosen or ()
    named = {str(name) for names in listed for name in (names if isinstance(names, list | tuple) else (names,))} or None
    for field, refusal in _values(entry, _reader(file)) if file else ():
        if refusal and (named is None or field in named):
            yield f"the field {field} may hold {refusal} (the store {store})"


def _values(entry: CatalogueEntry, reader: Reader | None) -> Iterator[tuple[str, str | None]]:
    for field in sorted(SEVERAL_LINES.get(text_at(entry, "rotation", "strategy") or "", ())):
        yield field, refuses_text("a\nb", reader)
    rotation = at(entry.data, ("rotation",))
    named = at(rotation, ("fields",))
    settings: dict[Any, Any] = {
        "password": at(rotation, ("password",)),
        at(rotation, ("field",)) or "value": rotation,
        **(named if isinstance(named, dict) else {}),
    }
    for field, policy in settings.items():
        alphabet = at(policy, ("alphabet",))
        if isinstance(alphabet, str):
            yield str(field), _alphabet(alphabet, reader)


@lru_cache(maxsize=256)
def _alphabet(alphabet: str, reader: Reader | None) -> str | None:
    """The first misreading of a text of these characters; pairs of characters are enough."""
    signs = [sign for sign in alphabet if not sign.isalnum()]
    texts = (f"{first}{other}{first}" for first in signs for other in signs)
    return next((refusal for text in texts if (refusal := refuses_text(text, reader))), None)


def _reader(file: CatalogueEntry) -> Reader | None:
    name = text_at(file, "reader")
    return Reader(name) if name in list(Reader) else None


CHECKS: Final = (carried_by_their_readers,)
