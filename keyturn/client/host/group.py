"""The group of a host's processes that belong together.

client = SecretClient(lambda: [HubSource(...)], host=HostGroup("inference"))
"""

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyturn.client.host.member import Member
from keyturn.core.errors import Invalid, UnsupportedOperation

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class HostGroup:
    """Processes of one user and host that read the same secrets from the same sources with the same login.

    They meet in ``directory``/``name``, which only that user may use, by default below ``keyturn`` in XDG_RUNTIME_DIR.
    A notice to one reaches all, and each has ``patience`` seconds to take it. A replaced directory is detected every
    ``check`` seconds.
    """

    name: str
    directory: Path | None = None
    patience: float = 4.0
    check: float = 1.0

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise Invalid("join", "host group", "its name is not one", "Use letters, digits, dots and hyphens")
        if not hasattr(socket, "SO_PEERCRED"):
            raise UnsupportedOperation("join", f"host group {self.name}", "this system doesn't say who asks")

    @property
    def place(self) -> Path:
        """The directory in which they meet. Raises Invalid where it is not configured."""
        if self.directory is not None:
            return Path(self.directory).absolute() / self.name
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        if not runtime:
            hint = "Give HostGroup a directory that all of its processes share"
            raise Invalid("join", f"host group {self.name}", "XDG_RUNTIME_DIR is not set", hint)
        return Path(runtime).absolute() / "keyturn" / self.name

    def open(self) -> Member:
        """This process's member, which joins on first use."""
        return Member(self.place, self.patience, self.check)
