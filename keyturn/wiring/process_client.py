"""One client shared by a process, such as a flow and its tasks."""

import threading
from typing import Final

from keyturn.client.client import SecretClient
from keyturn.wiring.sources import open_client, source_names

_opened: Final[dict[tuple[str, ...], SecretClient]] = {}
_opening: Final = threading.Lock()


def process_client(source: str = "") -> SecretClient:
    """The process's only client of that source, or of those in KEYTURN_SOURCES."""
    names = (source,) if source else tuple(source_names())
    with _opening:
        if names not in _opened:
            _opened[names] = open_client(names)
        return _opened[names]
