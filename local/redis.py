"""The key-value server: a real Redis on loopback whose ACL users outlive it; what it stores does not."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from local.programs import find_program
from local.support.files import kept_secret, private_directory, write_private
from local.support.ports import LOOPBACK
from local.support.process import Process
from local.support.tls import certificate_in

SUPERUSER: Final = "operator"
ADMIN: Final = "keyturn"

ADMIN_RULES: Final = "-@all +acl|getuser +acl|setuser +acl|save +client|list +client|kill +info"
"""What the adapter needs, and nothing else: no key, no channel."""


class Redis:
    """One Redis server under ``directory``; starting it again opens the users that it held, and an empty database.

    Where ``tls`` is set it speaks nothing else. It copies the data of ``primary``, where one is given; its users
    stay its own. ``settings`` are further directives of ``redis.conf``, or others than ours.
    """

    host: Final = LOOPBACK
    superuser: Final = SUPERUSER
    admin: Final = ADMIN

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        tls: bool = False,
        primary: "Redis | None" = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.port = port
        self.tls = tls
        self.primary = primary
        self.process = Process("redis", directory)
        self.users = directory / "users.acl"
        self._more = dict(settings or {})
        self._config = directory / "redis.conf"

    @property
    def superuser_password(self) -> str:
        """The password of :attr:`superuser`, who may do everything, kept in a file of mode 0600."""
        return kept_secret(self.directory / "superuser.password")

    @property
    def admin_password(self) -> str:
        """The password of :attr:`admin`, Keyturn's own user, kept in the same way."""
        return kept_secret(self.directory / "admin.password")

    @property
    def authority(self) -> Path:
        """A PEM file with the CA that signed its certificate."""
        return certificate_in(self.directory / "tls").authority

    def start(self) -> None:
        """Start it unless it runs, and return when it accepts connections."""
        private_directory(self.directory)
        if not self.users.exists():
            write_private(self.users, self._first_users())
        write_private(self._config, "".join(f"{name} {value}\n" for name, value in self._settings().items()))
        server = find_program("redis-server")
        self.process.start(
            [str(server.path), str(self._config.resolve())],
            ready=lambda: self.process.says(r"Ready to accept connections"),
            environment={**os.environ, **server.environment},
            cwd=self.directory,
        )

    def stop(self) -> None:
        """End it, cutting open connections. Absent is success."""
        self.process.stop()

    def remove(self) -> None:
        """Delete all that it held, for good. It must be stopped."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "Redis":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _settings(self) -> dict[str, str]:
        # Paths are relative to where it runs: a path with a space would have to be quoted in Redis's own way.
        settings = {
            "bind": self.host,
            "port": "0" if self.tls else str(self.port),
            "aclfile": self.users.name,
            "save": '""',
            # What it was started with stays to be seen: its title would be written over its environment.
            "set-proc-title": "no",
            "appendonly": "no",
        }
        if self.tls:
            certificate_in(self.directory / "tls")
            settings |= {"tls-port": str(self.port), "tls-auth-clients": "no"}
            settings |= {"tls-cert-file": "tls/server.pem", "tls-key-file": "tls/server.key"}
        if self.primary:
            settings |= {"replicaof": f"{self.primary.host} {self.primary.port}", "masteruser": self.superuser}
            settings |= {"masterauth": self.primary.superuser_password}
        return settings | self._more

    def _first_users(self) -> str:
        return (
            "user default off\n"
            f"user {SUPERUSER} on #{digest(self.superuser_password)} ~* &* +@all\n"
            f"user {ADMIN} on #{digest(self.admin_password)} resetkeys resetchannels {ADMIN_RULES}\n"
        )


def digest(password: str) -> str:
    """A password as Redis keeps it: the hexadecimal digits of its SHA-256."""
    return hashlib.sha256(password.encode()).hexdigest()
