"""What the databases on loopback have in common: who runs them, where their data lies, and the superuser."""

import os
import pwd
import secrets
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Final, Self

from keyturn.core.errors import NotFound
from local.support.files import kept_secret, private_directory, write_private
from local.support.ports import LOOPBACK
from local.support.process import Account, Process

STATE: Final = Path("/var/lib/keyturn")
"""Where root's servers keep their data: a home directory may be closed to the account that they run as."""

ACCOUNTS: Final = ("postgres", "nobody")
"""PostgreSQL refuses to run as root: these accounts are tried in turn."""


class DatabaseServer(ABC):
    """One database server under ``directory``; starting it again opens what it held.

    Where ``durable`` is False it writes without waiting for the disk, and its data is removed when stopped.
    """

    name: ClassVar[str]
    superuser: ClassVar[str]

    def __init__(self, directory: Path, port: int, *, durable: bool = True, host: str = LOOPBACK) -> None:
        self.directory = directory
        self.host = host
        self.port = port
        self.durable = durable
        self.process = Process(self.name, directory)
        self._password = directory / "superuser.password"
        self._elsewhere = directory / "data.place"

    @property
    def superuser_password(self) -> str:
        """The password of :attr:`superuser`, kept in a file of mode 0600."""
        return self._password.read_text()

    def start(self) -> None:
        """Start it unless it runs, and return when it accepts connections."""
        private_directory(self.directory)
        kept_secret(self._password)
        self._start(service_account())

    def stop(self) -> None:
        """End it, with everything committed safe on disk where it is durable. Absent is success."""
        self._stop()
        if not self.durable:
            self.remove()

    def remove(self) -> None:
        """Delete all that it held, for good. It must be stopped."""
        if self._elsewhere.exists():
            shutil.rmtree(self._elsewhere.read_text(), ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _start(self, account: Account | None) -> None:
        """Make its data unless they are there, and start the process as this account."""

    @abstractmethod
    def _stop(self) -> None:
        """End the process as this kind of server likes it."""

    def _data(self, account: Account | None) -> Path:
        """Where the data lies: here, or in a place remembered here that the service account can reach."""
        if account is None:
            return self.directory.resolve() / "data"
        if not self._elsewhere.exists():
            write_private(self._elsewhere, str(STATE / f"{self.name}-data-{secrets.token_hex(8)}"))
        place = Path(self._elsewhere.read_text())
        passable(place.parent)
        passable(place)
        return place / "data"


def service_account() -> Account | None:
    """Who a database runs as: None for the caller, another account when the caller is root. Raises NotFound."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise NotFound("find", " or ".join(ACCOUNTS), "no such account", "PostgreSQL refuses to run as root: add one")


def passable(directory: Path) -> None:
    """Make it if absent; other accounts pass through it to what is theirs, and can't list it."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711)
