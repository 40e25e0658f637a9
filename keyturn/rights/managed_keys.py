"""The rights that let a login manage the keys of a catalogue that lie in clouds."""

from collections.abc import Iterator

from keyturn.catalogue.models import Catalogue
from keyturn.core.rights.rights import Document


def key_documents(catalogue: Catalogue, origin: str) -> Iterator[Document]:
    """The documents of each key that takes some."""
    for name, settings in sorted(catalogue.keys.items()):
        yield from settings.rights(f"key-{name}", origin)
