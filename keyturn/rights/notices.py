"""The rights that let a login tell consumers who are told by a cloud's queues and topics."""

from collections.abc import Iterator

from keyturn.catalogue.models import Catalogue
from keyturn.core.rights.rights import Document


def notice_documents(catalogue: Catalogue, origin: str) -> Iterator[Document]:
    """The documents of each consumer that takes some, for the one call that tells it."""
    for name, settings in sorted(catalogue.consumers.items()):
        yield from settings.rights(f"notices-{name}", origin)
