"""What every step needs: the catalogue, the hub, and how to open the adapters it names."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from keyturn.catalogue import Catalogue
from keyturn.catalogue.models import Secret
from keyturn.core.fingerprint import fingerprint, payload
from keyturn.core.hub import Hub
from keyturn.core.sensitive import SecretFields
from keyturn.core.stores import Store
from keyturn.core.strategies import Strategy


def this_process() -> str:
    """``host/pid/start``: names a process so that its death can be told, even when its pid is used again."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def alive(holder: str) -> bool | None:
    """Whether the process still runs; None when it is on another host, so that nobody here can tell."""
    host, _, process = holder.partition("/")
    pid, _, started = process.partition("/")
    if host != socket.gethostname():
        return None
    return _started(int(pid)) == started != ""


def _started(pid: int) -> str:
    try:
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # A process that ended stays as a zombie until its parent asks for it.
    return "" if state in "ZX" else others[18]


class Sender(Protocol):
    """Delivers notices to consumers."""

    def deliver(self, consumer: str, path: str, version: int, at: datetime) -> None:
        """Tell ``consumer`` that ``path`` is at ``version`` since ``at``; returns once it has acknowledged.

        Tries several times under one message id and raises the last error.
        """


@dataclass(frozen=True)
class Keyturn:
    """One opened catalogue. Shared by threads; opening adapters is cheap after the first time."""

    catalogue: Catalogue
    hub: Hub
    open_strategy: Callable[[str], Strategy]
    open_store: Callable[[str], Store]
    sender: Sender
    clock: Callable[[], datetime]
    holder: str = field(default_factory=this_process)

    def secret(self, path: str) -> Secret:
        """The catalogue's entry. Raises NotFound with the likely path meant."""
        return self.catalogue.secret(path)

    def fingerprint(self, fields: SecretFields) -> str:
        """The fingerprint of a whole secret, as its copies carry it."""
        return fingerprint(self.hub.fingerprint_key(), payload(fields))
