"""The rights of a login to manage a catalogue's keys in clouds."""

from collections.abc import Iterator

from keyturn.catalogue.models import Catalogue
from keyturn.core.rights.rights import Document


def key_documents(catalogue: Catalogue, origin: str) -> Iterator[Document]:
    for name, settings in sorted(catalogue.keys.items()):
        yield from settings.rights(f"key-{name}", origin)
