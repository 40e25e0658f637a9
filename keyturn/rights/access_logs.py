"""The rights that let a login read the access logs that lie in a cloud."""

from collections.abc import Iterator

from keyturn.catalogue.models import Catalogue
from keyturn.core.rights.rights import Document


def access_log_documents(catalogue: Catalogue, origin: str) -> Iterator[Document]:
    """The documents of each log that takes some, for whoever reads it."""
    for name, settings in sorted(catalogue.access_logs.items()):
        yield from settings.rights(f"access-log-{name}", origin)
