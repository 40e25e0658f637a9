"""The other database: a real MariaDB on loopback, where every login needs a password, with TLS for who wants it."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from keyturn.core.errors import NotFound, Unavailable
from local.database_server import STATE, DatabaseServer
from local.debian import Program, within_reach
from local.programs import find_program
from local.support.files import write_private
from local.support.process import Account
from local.support.tls import certificate_in

SYSTEM_TABLES: Final = ("system_tables.sql", "performance_tables.sql", "system_tables_data.sql")
"""What ``mariadb-install-db`` feeds to a new server, less the help texts and the ``sys`` schema."""
NAMES: Final = ("mariadb", "mysql")
"""What the directory of these files is called, and how their names begin: from MariaDB 11 on, and before."""

FIRST: Final = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"

ACCOUNTS: Final = """
DELETE FROM mysql.global_priv WHERE User IN ('', 'root');
DELETE FROM mysql.proxies_priv;
FLUSH PRIVILEGES;
CREATE USER root@'{host}' IDENTIFIED BY '{password}';
GRANT ALL ON *.* TO root@'{host}' WITH GRANT OPTION;
"""


class MariaDB(DatabaseServer):
    """One MariaDB server. ``settings`` are further options of ``mariadbd``, without the leading dashes."""

    name: ClassVar = "mariadb"
    superuser: ClassVar = "root"

    def __init__(
        self, directory: Path, port: int, *, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(directory, port, durable=durable)
        self._more = dict(settings or {})

    @property
    def authority(self) -> Path:
        """A PEM file with the CA that signed its certificate."""
        return certificate_in(self.directory / "tls").authority

    def _start(self, account: Account | None) -> None:
        server, data = _server(account), self._data(account)
        if not data.exists():
            self._initialize(server, data, account)
        self._put_certificate(data, account)
        command = [*_command(server, data), *self._settings(data)]
        environment = {**os.environ, **server.environment}
        self.process.start(command, ready=self._ready, account=account, cwd=data, environment=environment)

    def _stop(self) -> None:
        # Data that is removed needs no tidy end.
        self.process.stop(signal.SIGTERM if self.durable else signal.SIGKILL, timeout=30)

    def _settings(self, data: Path) -> list[str]:
        settings = {
            "bind-address": self.host,
            "port": str(self.port),
            # No socket: a path to one is limited to 107 characters, and TCP is what applications use.
            "socket": "",
            "max-connections": "200",
            "innodb-buffer-pool-size": "32M",
            "innodb-flush-log-at-trx-commit": "1" if self.durable else "0",
            "innodb-doublewrite": "ON" if self.durable else "OFF",
            "sync-frm": "ON" if self.durable else "OFF",
            "ssl-cert": str(data / "server.pem"),
            "ssl-key": str(data / "server.key"),
            # What SQL may read and write as a file.
            "secure-file-priv": str(data),
            **self._more,
        }
        return [f"--{name}={value}" for name, value in settings.items()]

    def _initialize(self, server: Program, data: Path, account: Account | None) -> None:
        # Under another name until it is whole: an interrupted start leaves nothing that looks like a database.
        with tempfile.TemporaryDirectory(prefix="new-", dir=data.parent) as scratch:
            fresh = Path(scratch) / "data"
            fresh.mkdir(mode=0o700)
            if account:
                for path in (Path(scratch), fresh):
                    os.chown(path, account.uid, account.gid)
            self._fill(server, fresh, account)
            fresh.replace(data)

    def _put_certificate(self, data: Path, account: Account | None) -> None:
        # At each start, as it may have been renewed; where the account can read it.
        issued = certificate_in(self.directory / "tls")
        for name, file in (("server.pem", issued.certificate), ("server.key", issued.key)):
            write_private(data / name, file.read_bytes())
            if account:
                os.chown(data / name, account.uid, account.gid)

    def _fill(self, server: Program, data: Path, account: Account | None) -> None:
        accounts = ACCOUNTS.format(host=self.host, password=self.superuser_password)
        tables = [file.read_text() for file in _system_tables(server)]
        done = subprocess.run(
            [*_command(server, data), "--bootstrap", "--innodb-flush-log-at-trx-commit=0"],
            input="".join((FIRST, *tables, accounts)),
            capture_output=True,
            text=True,
            check=False,
            cwd=data,
            env={**os.environ, **server.environment},
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode != 0:
            errors = "\n".join(line for line in done.stderr.splitlines() if "ERROR" in line)
            raise Unavailable("initialize", "mariadb", f"mariadbd said:\n{errors}\n")

    def _ready(self) -> bool:
        return self.process.says(r"ready for connections")


def _server(account: Account | None) -> Program:
    """The server's program, and its plugins, where the account can run it. Raises NotFound, Unavailable."""
    server = find_program("mariadbd")
    if not _system_tables(server):
        raise NotFound("find", "mariadb", f"{_share(server)} holds no system tables", "Install mariadb-server-core")
    return within_reach(server, STATE) if account else server


def _system_tables(server: Program) -> list[Path]:
    """The files, in their order; none if one is missing."""
    share = _share(server)
    files = [share / f"{share.name}_{name}" for name in SYSTEM_TABLES]
    return files if all(file.exists() for file in files) else []


def _share(server: Program) -> Path:
    shares = [server.path.parent.parent / "share" / name for name in NAMES]
    return next(filter(Path.exists, shares), shares[0])


def _command(server: Program, data: Path) -> list[str]:
    """The server over this data, deaf to the settings of any other one on the machine.

    Its temporary tables lie with the data: one that starts removes those that it finds, which may be another's.
    """
    command = [str(server.path), "--no-defaults", f"--datadir={data}", f"--tmpdir={data}"]
    command += ["--skip-name-resolve", "--innodb-log-file-size=16M"]
    return command if server.root is None else [*command, *_places(server)]


def _places(server: Program) -> list[str]:
    """Where an unpacked server finds what it was built to find below /usr."""
    base = server.path.parent.parent
    places = {
        "basedir": base,
        "plugin-dir": base / "lib" / "mysql" / "plugin",
        "lc-messages-dir": _share(server),
        "character-sets-dir": _share(server) / "charsets",
    }
    return [f"--{name}={place}" for name, place in places.items()]
