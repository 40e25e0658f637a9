"""Loopback ports: choosing free ones that stay free between restarts, and asking whether one is taken."""

import os
import random
import socket
from typing import Final

from deployments.healthy import LOOPBACK as LOOPBACK
from keyturn.core.errors import Invalid

RANGE: Final = range(20_000, 32_000)
"""Below what Linux (32768) and macOS (49152) give to outgoing connections, which could take a remembered port."""


RANGE_VARIABLE: Final = "KEYTURN_LOCAL_PORTS"
"""Narrows it (``20000-23999``), so that processes that start servers side by side choose none of each other's."""

_chosen: Final[set[int]] = set()
"""What this process has chosen: who was given one may not listen on it yet."""


def in_use(port: int) -> bool:
    """Whether somebody listens on this port, here or on every address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def free_ports(count: int) -> list[int]:
    """``count`` different ports that nobody listens on, and that were not chosen here before."""
    allowed = ports_allowed()
    ports: list[int] = []
    for port in random.SystemRandom().sample(allowed, len(allowed)):
        if len(ports) == count:
            break
        if port not in _chosen and not in_use(port):
            ports.append(port)
    if len(ports) < count and _chosen:
        # All were chosen once: most of them are free again.
        _chosen.clear()
        return free_ports(count)
    _chosen.update(ports)
    return ports


def ports_allowed() -> range:
    """The ports to choose from. Raises Invalid for a variable that says none."""
    text = os.environ.get(RANGE_VARIABLE)
    if not text:
        return RANGE
    first, _, last = text.partition("-")
    if first.isdecimal() and last.isdecimal() and 1024 <= int(first) <= int(last) <= 65_535:
        return range(int(first), int(last) + 1)
    raise Invalid("choose", "a port", f"{RANGE_VARIABLE} is no range of ports", "Write it as 20000-23999, or unset it")


def free_port() -> int:
    """One port that nobody listens on."""
    return free_ports(1)[0]
