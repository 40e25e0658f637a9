"""The rights of a login to send notices through a cloud's queues and topics."""

from collections.abc import Iterator

from keyturn.catalogue.models import Catalogue
from keyturn.core.rights.rights import Document


def notice_documents(catalogue: Catalogue, origin: str) -> Iterator[Document]:
    for name, settings in sorted(catalogue.consumers.items()):
        yield from settings.rights(f"notices-{name}", origin)
