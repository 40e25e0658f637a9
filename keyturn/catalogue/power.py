"""What a line of the catalogue can't reach, whoever merged it: the hub's entries of another target or consumer.

It is asked of the models that are made, on every load, also where the catalogue was checked whole before.
"""

from collections.abc import Iterator
from typing import Any, Final

from keyturn.catalogue.problems import KeyPath

Flaw = tuple[KeyPath, str, str]
"""Where in the entry, what is wrong, and the remedy."""

OWN_PLACES: Final = {"targets": ("admin", "targets"), "consumers": ("signing_key", "webhooks")}
"""For each section the key that names an entry of the hub's state mount, and the folder that it lies in."""


def find_flaws(section: str, name: str, model: Any) -> Iterator[Flaw]:
    """Everything that an entry asks for and may not have."""
    if section in OWN_PLACES:
        yield from _other_place(section, name, model)


def _other_place(section: str, name: str, model: Any) -> Iterator[Flaw]:
    """Another entry's credential is sent to no host of this one's own."""
    key, folder = OWN_PLACES[section]
    path, own = getattr(model, key, None), f"{folder}/{name}"
    if path is not None and path != own and not path.startswith(f"{own}/"):
        message = f"it may only be read from the hub at {own} or below: what lies elsewhere is another's"
        yield (key,), message, f"Write {own}, and move the entry there in Keyturn's own mount of the hub."
