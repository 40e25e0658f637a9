"""A ``sync_config``: which path is pushed to which stores, under which names."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.inventory.conversion import Conversion, Json, hub_path
from keyturn.inventory.drafting import DraftedPlace
from keyturn.inventory.matching import Form, Rank

PATHS: Final = ("path", "source", "vault_path", "secret")
"""How a list's entries call the path."""
PLACES: Final = ("destinations", "targets", "stores", "sync_to")
"""How they call the places, where those do not stand beside it."""
WRAPPERS: Final = ("sync_config", "secrets", "mappings")
"""What may stand around all of it."""
REMEDY: Final = "Write {PATH: {STORE: NAME}}; docs/init.md shows every form"


def convert_mapping(data: Json, mount: str, into: Conversion, file: str) -> None:
    """One mapping of paths, or one entry of a list of them. Raises Invalid."""
    for wrapper in WRAPPERS:
        if set(data) == {wrapper}:
            inner = data[wrapper]
            for part in inner if isinstance(inner, list) else [inner]:
                convert_mapping(_mapping(part, file, wrapper), mount, into, file)
            return
    named = next((key for key in PATHS if isinstance(data.get(key), str)), "")
    pairs = [(data[named], _places_beside(data, named))] if named else list(data.items())
    for path, places in pairs:
        secret = into.secret(hub_path(str(path), mount))
        secret.places += list(places_of(places, file, str(path)))


def _places_beside(data: Json, named: str) -> Any:
    """The places of a list's entry: under a key of their own, or beside the path."""
    below = next((data[key] for key in PLACES if key in data), None)
    return below if below is not None else {key: value for key, value in data.items() if key != named}


def places_of(data: Any, file: str, path: str) -> Iterator[DraftedPlace]:
    """Every place of one path. Raises Invalid."""
    if isinstance(data, Mapping):
        for store, names in data.items():
            for name in names if isinstance(names, list) else [names]:
                yield place(str(store), name, file, path)
        return
    if not isinstance(data, list):
        raise Invalid("read", file, f"{path}: no places stand there", REMEDY)
    for part in data:
        if isinstance(part, str) and ":" in part:
            store, _, name = part.partition(":")
            yield place(store, name, file, path)
        else:
            details = _mapping(part, file, path)
            store = details.get("store") or details.get("provider") or details.get("cloud")
            if not isinstance(store, str):
                raise Invalid("read", file, f"{path}: a place names no store", REMEDY)
            yield place(store, details, file, path)


def place(store: str, data: Any, file: str, path: str) -> DraftedPlace:
    """One place: a name, or a mapping with ``name`` and perhaps ``field`` or ``fields``. Raises Invalid."""
    if isinstance(data, str) and data:
        return DraftedPlace(store.casefold(), data)
    details = _mapping(data, file, path)
    name = details.get("name") or details.get("key") or details.get("secret_name")
    if not isinstance(name, str) or not name:
        raise Invalid("read", file, f"{path}: a place in {store} has no name", REMEDY)
    field, fields = details.get("field"), details.get("fields")
    if isinstance(field, str):
        return DraftedPlace(store.casefold(), name, Form(Rank.FIELD, field=field))
    if isinstance(fields, Mapping):
        return DraftedPlace(
            store.casefold(), name, Form(Rank.FIELDS, tuple((str(a), str(b)) for a, b in fields.items()))
        )
    if isinstance(fields, list):
        return DraftedPlace(store.casefold(), name, Form(Rank.FIELDS, tuple((str(own), str(own)) for own in fields)))
    return DraftedPlace(store.casefold(), name)


def _mapping(data: Any, file: str, where: str) -> Json:
    if not isinstance(data, Mapping):
        raise Invalid("read", file, f"{where}: a mapping is missing", REMEDY)
    return data
