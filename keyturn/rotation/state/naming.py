"""Which names of a secret's credential may appear in messages: those in its catalogue entry."""

from collections.abc import Iterator
from typing import Any

from keyturn.catalogue import Catalogue
from keyturn.core.fingerprint import shown
from keyturn.core.ports.hub import StatePort
from keyturn.core.redaction import ShownNames
from keyturn.core.sensitive import Sensitive


def names_of(catalogue: Catalogue, hub: StatePort, path: str) -> ShownNames:
    """The names that may be shown for ``path``, declared or not."""

    def digits(text: Sensitive) -> str:
        return shown(hub.fingerprint_keys().make(path, text))

    if path not in catalogue.secrets:
        return ShownNames({path}, digits)
    rotation = catalogue.secret(path).rotation
    target = getattr(rotation, "target", None)
    settings = [rotation.model_dump(), catalogue.target(target).model_dump() if target else {}]
    return ShownNames({path, *path.replace(":", "/").split("/"), *_texts(settings)}, digits)


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    for inner in data.values() if isinstance(data, dict) else data if isinstance(data, list | tuple | set) else ():
        yield from _texts(inner)
