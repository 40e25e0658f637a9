"""Convert a ``sync_config``: the stores and names that each path is pushed to."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.inventory.conversion import Conversion, Json, hub_path
from keyturn.inventory.drafting import DraftedPlace
from keyturn.inventory.matching import Form, Rank

SYNC_MAPPINGS: Final = "sync_mappings"
"""The key around entries with a path under ``vault`` and a place per store."""
HUB: Final = "vault"
PATHS: Final = ("path", "source", "vault_path", "secret")
"""The keys for the path in entries of a list."""
PLACES: Final = ("destinations", "targets", "stores", "sync_to")
"""The keys for the places, where these are not next to the path."""
WRAPPERS: Final = ("sync_config", "secrets", "mappings")
"""Keys that may wrap the whole mapping."""
REMEDY: Final = "Write {PATH: {STORE: NAME}}; docs/migration.md shows every form"


NAMES: Final = ("name", "secret_name", "secret_id", "secret", "id", "path", "parameter")
"""The keys for the name of the remote secret in a place."""
WHERE: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "aws": ("aws-secrets-manager", "region", ("region",)),
    "ssm": ("aws-parameter-store", "region", ("region",)),
    "azure": ("azure-key-vault", "vault_url", ("vault_url", "url", "vault", "vault_name")),
    "gcp": ("gcp-secret-manager", "project", ("project", "project_id")),
}
"""The kind of each store, its location setting, and a place's keys for that."""
FIELD: Final = ("key", "field")
"""The keys for one field of the secret under ``vault``."""
MEMBER: Final = ("key", "field", "property", "json_key")
"""The keys for the JSON member that receives the value in a place."""


def convert_mapping(data: Json, mount: str, into: Conversion, file: str) -> None:
    """Convert a mapping of paths, or one entry of a list. Raises Invalid."""
    if SYNC_MAPPINGS in data:
        _convert_sync_mappings(data, mount, into, file)
        return
    if _is_entry(data):
        _convert_entry(data, {}, mount, into, file)
        return
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


def _is_entry(data: Json) -> bool:
    source = data.get(HUB)
    return isinstance(source, str) or (isinstance(source, Mapping) and isinstance(source.get("path"), str))


def _convert_sync_mappings(data: Json, mount: str, into: Conversion, file: str) -> None:
    entries, beside = data[SYNC_MAPPINGS], {key: value for key, value in data.items() if key != SYNC_MAPPINGS}
    defaults = {key: value for key, value in beside.items() if key in WHERE and isinstance(value, Mapping)}
    for key in beside.keys() - defaults.keys():
        into.leave_out(key, "it is next to sync_mappings, and is not converted")
    for entry in list(entries.values()) if isinstance(entries, Mapping) else entries or ():
        part = _mapping(entry, file, SYNC_MAPPINGS)
        if not _is_entry(part):
            raise Invalid("read", file, f"{SYNC_MAPPINGS}: an entry has no path under {HUB}", REMEDY)
        _convert_entry(part, defaults, mount, into, file)


def _convert_entry(data: Json, defaults: Mapping[str, Json], mount: str, into: Conversion, file: str) -> None:
    source = data[HUB] if isinstance(data[HUB], Mapping) else {"path": data[HUB]}
    where = str(source.get("mount") or mount).strip("/")
    path = hub_path(str(source["path"]), where)
    if where != mount:
        name = re.sub("[^A-Za-z0-9]+", "-", where)
        into.mounts[name] = {"mount": where}
        path = f"{name}:{path}"
    unknown = [key for key in source if key not in ("path", "mount", *FIELD)]
    secret = into.secret(path)
    for store, places in data.items():
        if store in (HUB, "name", "description"):
            continue
        for each in places if isinstance(places, list) else [places]:
            made = _sync_place(store.casefold(), each, source, defaults.get(store, {}), into, f"{file}: {path}")
            lost = f"{HUB} has {', '.join(unknown)}, which is not converted" if unknown else made.question
            secret.places.append(replace(made, question=lost))


def _sync_place(store: str, data: Any, source: Json, default: Json, into: Conversion, where: str) -> DraftedPlace:
    details = {**default, **(data if isinstance(data, Mapping) else {"name": data})}
    name = _first(details, NAMES)
    if not name:
        raise Invalid("read", where, f"a place in {store} has no name", REMEDY)
    kind, setting, words = WHERE.get(store, ("", "", ()))
    place, field = _first(details, words), _first(source, FIELD)
    member = _first(details, MEMBER)
    unknown = sorted(set(details) - {*NAMES, *words, *MEMBER})
    question = f"it has {', '.join(unknown)}, which is not converted" if unknown else ""
    if member and not field:
        question = f"it gets a value under {member}, and {HUB} names no field"
    if place:
        store = _declared_store(store, kind, setting, _address(place) if store == "azure" else place, into)
    form = (
        Form(Rank.FIELDS, ((member, field),))
        if member and field
        else Form(Rank.FIELD, field=field)
        if field
        else Form()
    )
    return DraftedPlace(store, name, form, question=question)


def _first(details: Json, words: Iterable[str]) -> str:
    return next((text for word in words if isinstance(text := details.get(word), str) and text), "")


def _address(vault: str) -> str:
    return vault.rstrip("/") if "://" in vault else f"https://{vault}.vault.azure.net"


def _declared_store(store: str, kind: str, setting: str, place: str, into: Conversion) -> str:
    settings = {"kind": kind, setting: place}
    taken = into.stores.get(store, settings) != settings or into.declared.get(store, place) != place
    name = f"{store}-{re.sub('[^A-Za-z0-9]+', '-', place.partition('://')[2] or place)}" if taken else store
    into.stores[name] = settings
    return name


def _places_beside(data: Json, named: str) -> Any:
    below = next((data[key] for key in PLACES if key in data), None)
    return below if below is not None else {key: value for key, value in data.items() if key != named}


def places_of(data: Any, file: str, path: str) -> Iterator[DraftedPlace]:
    if isinstance(data, Mapping):
        for store, names in data.items():
            for name in names if isinstance(names, list) else [names]:
                yield place(str(store), name, file, path)
        return
    if not isinstance(data, list):
        raise Invalid("read", file, f"{path}: it lists no places", REMEDY)
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
    """Return a place: a name, or a mapping with ``name`` and optional ``field`` or ``fields``. Raises Invalid."""
    if isinstance(data, str) and data:
        return DraftedPlace(store.casefold(), data)
    details = _mapping(data, file, path)
    name = details.get("name") or details.get("key") or details.get("secret_name")
    if not isinstance(name, str) or not name:
        raise Invalid("read", file, f"{path}: a place in {store} has no name", REMEDY)
    field, fields = details.get("field"), details.get("fields")
    form = Form()
    if isinstance(field, str):
        form = Form(Rank.FIELD, field=field)
    elif isinstance(fields, Mapping):
        form = Form(Rank.FIELDS, tuple((str(a), str(b)) for a, b in fields.items()))
    elif isinstance(fields, list):
        form = Form(Rank.FIELDS, tuple((str(own), str(own)) for own in fields))
    return DraftedPlace(store.casefold(), name, form)


def _mapping(data: Any, file: str, where: str) -> Json:
    if not isinstance(data, Mapping):
        raise Invalid("read", file, f"{where}: a mapping is missing", REMEDY)
    return data
