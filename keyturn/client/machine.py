"""This machine's identity and its clocks: one that can be set, and one that can't."""

import hashlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyturn.client.clock import elapsed

MACHINE_ID: Final = Path("/etc/machine-id")
"""Created at installation, stable over restarts, and not to be disclosed (source: machine-id(5))."""
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Different after each boot (source: random(4))."""
NO_ID: Final = ("", "uninitialized")
DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class Machine:
    """The ids of machine and boot. ``now`` is in seconds since 1970.

    ``elapsed`` is in seconds of this boot, including suspended time.
    """

    host: str
    boot: str
    now: Callable[[], float]
    elapsed: Callable[[], float]


def this_machine(host: str = "") -> Machine:
    """This machine; ``host`` replaces its machine id, as in a container."""
    identity = f"{host or _read(MACHINE_ID) or socket.gethostname()}"
    digest = hashlib.sha256(b"keyturn offline cache\0" + identity.encode()).hexdigest()
    return Machine(digest[:DIGITS], _read(BOOT_ID), time.time, elapsed)


def _read(file: Path) -> str:
    try:
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if text in NO_ID else text
