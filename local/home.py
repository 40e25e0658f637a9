"""The directory that holds one local stack: its ports and identities, remembered, and one writer at a time."""

import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from keyturn.core.errors import Invalid, NotFound
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.support.files import private_directory, write_private
from local.support.ports import LOOPBACK, free_ports
from local.support.tls import Authority, Certificate

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LoginFiles:
    """Where the two halves of an AppRole login lie."""

    role_id: Path
    secret_id: Path


@dataclass(frozen=True)
class Stack:
    """One local stack: where its things lie and where its services answer. Nothing here is secret.

    ``hosts`` are the names of those that answer elsewhere than on loopback: in containers, that is all of them.
    """

    home: Path
    ports: Mapping[str, int]
    tenant_id: str
    client_id: str
    hosts: Mapping[str, str] = field(default_factory=dict)

    @property
    def hub(self) -> OpenBao:
        """The hub's server."""
        tls, host = self.certificate("openbao"), self.host("openbao")
        return OpenBao(self.directory("openbao"), self.ports["openbao"], certificate=tls, host=host)

    @property
    def database(self) -> PostgreSQL:
        """The database's server."""
        tls, host = self.certificate("postgres"), self.host("postgres")
        return PostgreSQL(self.directory("postgres"), self.ports["postgres"], certificate=tls, host=host)

    @property
    def authority(self) -> Authority:
        """Who signs the certificates of all servers here; whoever speaks to one trusts the first of its two files."""
        names = frozenset(self.hosts.values()) - {LOOPBACK}
        return Authority(self.home / "tls" / "ca.pem", self.home / "authority" / "ca.key", names)

    def host(self, service: str) -> str:
        """The host that others reach a service at."""
        return self.hosts.get(service, LOOPBACK)

    def certificate(self, service: str) -> Certificate:
        """Where the certificate of a service lies once the stack was started."""
        return self.authority.files_in(self.directory(service) / "tls")

    def issue_certificate(self, service: str, directory: Path | None = None) -> bool:
        """Have a good certificate for a service, in its directory or in another; whether it was made now."""
        names = {self.host(service)} - {LOOPBACK}
        return self.authority.issue((directory or self.directory(service)) / "tls", names=names)

    def directory(self, service: str) -> Path:
        """Where a service keeps its data and its log."""
        return self.home / service

    def url(self, service: str) -> str:
        """Where a service answers. Raises NotFound where the stack is older than the service."""
        if service not in self.ports:
            raise NotFound("find", service, f"the stack in {self.home} has none yet", "Add it with `keyturn up`")
        return f"https://{self.host(service)}:{self.ports[service]}"

    def login_files(self, role: str) -> LoginFiles:
        """The files that hold this AppRole's login once the stack is prepared."""
        logins = self.home / "logins"
        return LoginFiles(logins / f"{role}.role-id", logins / f"{role}.secret-id")

    def webhook_key_file(self, consumer: str) -> Path:
        """The file with the keys that this consumer accepts notices by, once the stack is prepared."""
        return self.directory(consumer) / "webhook.keys"


def opened(home: Path) -> Stack:
    """The stack in this directory. Raises NotFound where there is none, Invalid where its record is damaged."""
    record = home.absolute() / "stack.json"
    try:
        stored = json.loads(record.read_text())
        return Stack(home.absolute(), dict(stored["ports"]), stored["tenant_id"], stored["client_id"])
    except FileNotFoundError:
        raise NotFound("open", str(home), "there is no stack", "Start one with `keyturn up`") from None
    except (ValueError, KeyError, TypeError):
        raise Invalid("read", str(record), "it is damaged", f"Restore it, or remove {home} to start over") from None


def opened_or_made(home: Path, listening: Iterable[str]) -> Stack:
    """The stack in this directory, with a port for every service that listens; made if absent. Hold the lock."""
    home = home.absolute()
    stack = opened(home) if (home / "stack.json").exists() else Stack(home, {}, str(uuid.uuid4()), str(uuid.uuid4()))
    new = [name for name in listening if name not in stack.ports]
    if new or not stack.ports:
        stack = Stack(home, _with_ports(stack.ports, new), stack.tenant_id, stack.client_id)
        settings: dict[str, Any] = asdict(stack)
        del settings["home"], settings["hosts"]
        write_private(home / "stack.json", json.dumps(settings, indent=2))
    return stack


def _with_ports(ports: Mapping[str, int], names: list[str]) -> dict[str, int]:
    # A service that is stopped has its port free, but still keeps it.
    spare = [port for port in free_ports(len(names) + len(ports)) if port not in ports.values()]
    return {**ports, **dict(zip(names, spare, strict=False))}


@contextmanager
def locked(home: Path, progress: Progress) -> Iterator[None]:
    """Be the only one who starts or stops things here; waits for who is at it, and says so."""
    _make(home.absolute())
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another command that starts or stops {home}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(home: Path) -> None:
    # Its mode is changed, so it must not be a directory that holds other things.
    if home.exists() and not home.is_dir():
        raise Invalid("use", str(home), "it is not a directory", "Set KEYTURN_HOME to one that is new or empty")
    # One listing: another command may be making it at this moment, the lock first.
    names = {path.name for path in home.iterdir()} if home.is_dir() else set()
    if names and "lock" not in names:
        raise Invalid("use", str(home), "it holds other things", "Set KEYTURN_HOME to a new or empty directory")
    private_directory(home)
