"""Clear-text connections go only to this machine, unless a setting declares the network safe."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from keyturn.core.hosts import to_address


def is_loopback(host: str) -> bool:
    """Whether a host, with or without brackets, can only be this machine."""
    address = to_address(host)
    return address.is_loopback if address else host == "localhost"


def is_set(env: Mapping[str, str], variable: str) -> bool:
    """Whether an environment variable enables its setting."""
    return env.get(variable, "").lower() in ("1", "true")


def leaves_in_clear(url: str) -> bool:
    """Whether traffic to this URL can be read on its way."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")
