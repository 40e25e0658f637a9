"""Where a connection may go in clear: to this machine alone, unless somebody says that nobody can listen between."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from keyturn.core.hosts import to_address


def is_loopback(host: str) -> bool:
    """Whether a host's name or address, in brackets or without, can only be this machine."""
    address = to_address(host)
    return address.is_loopback if address else host == "localhost"


def is_set(env: Mapping[str, str], variable: str) -> bool:
    """Whether a variable of the environment allows what it is named after."""
    return env.get(variable, "").lower() in ("1", "true")


def leaves_in_clear(url: str) -> bool:
    """Whether what is sent to this address can be read on its way to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")
