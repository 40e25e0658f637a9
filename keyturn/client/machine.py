"""Which machine this is, and its clocks: the one that a person may set, and the one that nobody may."""

import hashlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyturn.client.clock import elapsed

MACHINE_ID: Final = Path("/etc/machine-id")
"""Made when a system is installed, the same over restarts (source: machine-id(5)). It shall not be told to others."""
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Another after each boot (source: random(4))."""
NO_ID: Final = ("", "uninitialized")
DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class Machine:
    """``host`` and ``boot`` tell machines and boots apart; ``now`` is in seconds since 1970, ``elapsed`` since some
    moment of this boot, those too in which the machine slept.
    """

    host: str
    boot: str
    now: Callable[[], float]
    elapsed: Callable[[], float]


def this_machine(host: str = "") -> Machine:
    """The machine that this runs on; ``host`` is what to tell it by where its own id is no use, as in a container."""
    identity = f"{host or _read(MACHINE_ID) or socket.gethostname()}"
    digest = hashlib.sha256(b"keyturn offline cache\0" + identity.encode()).hexdigest()
    return Machine(digest[:DIGITS], _read(BOOT_ID), time.time, elapsed)


def _read(file: Path) -> str:
    try:
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if text in NO_ID else text
