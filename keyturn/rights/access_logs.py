"""The rights of a login to read access logs in a cloud."""

from collections.abc import Iterator

from keyturn.catalogue.models import Catalogue
from keyturn.core.rights.rights import Document


def access_log_documents(catalogue: Catalogue, origin: str) -> Iterator[Document]:
    for name, settings in sorted(catalogue.access_logs.items()):
        yield from settings.rights(f"access-log-{name}", origin)
