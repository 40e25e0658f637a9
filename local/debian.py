"""Server programs out of Debian's packages, unpacked into the user's cache: nothing is installed, no root is needed."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keyturn.core.errors import NotFound, Unavailable
from keyturn.settings.directories import cache_directory

PROGRAMS: Final = ("usr/sbin", "usr/bin", "sbin", "bin")
SYSTEM_PROGRAMS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where servers are, and where people's PATH seldom leads."""

TIMEOUT: Final = 300
"""Seconds for one call of apt-get."""


@dataclass(frozen=True)
class Program:
    """A program that can be run. ``root`` is the tree that its package was unpacked to, None for the system's own.

    ``environment`` is what its environment needs beside what is there.
    """

    path: Path
    root: Path | None
    environment: dict[str, str] = field(default_factory=dict)


def program(name: str, package: str, *parts: str, folder: str = "") -> Program:
    """The program ``name`` of Debian's ``package``, unpacked before or now, in ``folder`` or one that PATH names.

    ``parts`` are packages that are unpacked with it, without what they depend on. An installed program is used only
    on a system without apt-get, and where the packages can't be fetched now, but never there with ``CI=true``: what a
    run of the tests uses does not depend on its machine. Raises NotFound where it can't be had on this system,
    Unavailable where the packages can't be fetched.
    """
    place = cache() / "+".join((package, *parts))
    if not place.exists():
        if not fetches() and (installed := installed_program(name)):
            return installed
        try:
            _unpack(place, name, package, parts)
        except Unavailable:
            if os.environ.get("CI") != "true" and (installed := installed_program(name)):
                return installed
            raise
    return _within(place, name, package, folder)


def fetches() -> bool:
    """Whether this system has Debian's programs to fetch and unpack packages."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg") is not None


def within_reach(installed: Program, directory: Path) -> Program:
    """The same program in a copy of its tree under ``directory``, for accounts that may not enter the user's cache."""
    if installed.root is None:
        return installed
    stamp = f"{installed.root} {installed.root.stat().st_ctime_ns}"
    copy = directory / f"debian-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    if not copy.exists():
        _copy(installed.root, copy)
    return Program(copy / installed.path.relative_to(installed.root), copy, _libraries(copy))


def cache() -> Path:
    """Where packages of this system's release are kept unpacked."""
    return cache_directory() / "debian" / release()


def release() -> str:
    """The system's name, release and kind of machine, as in ``debian-trixie-x86_64``."""
    try:
        release_file = platform.freedesktop_os_release()
    except OSError:
        release_file = {"ID": platform.system().lower()}
    version = release_file.get("VERSION_CODENAME") or release_file.get("VERSION_ID") or "rolling"
    return f"{release_file['ID']}-{version}-{platform.machine()}"


def installed_program(name: str) -> Program | None:
    """The program that is installed on this system, if it is."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_PROGRAMS))
    path = shutil.which(name, path=places)
    return Program(Path(path), None) if path else None


def _within(root: Path, name: str, package: str, folder: str = "") -> Program:
    for directory in [folder] if folder else PROGRAMS:
        if (root / directory / name).exists():
            return Program(root / directory / name, root, _libraries(root))
    raise NotFound("find", name, f"the package {package} does not hold it", f"Remove {root}, or install it by hand")


def _libraries(root: Path) -> dict[str, str]:
    directories = sorted(
        path for place in ("usr/lib", "lib") for path in root.glob(f"{place}/*-linux-*") if path.is_dir()
    )
    before = os.environ.get("LD_LIBRARY_PATH", "")
    return (
        {"LD_LIBRARY_PATH": os.pathsep.join([*map(str, directories), *filter(None, [before])])} if directories else {}
    )


def _copy(tree: Path, copy: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="copy-", dir=copy.parent) as scratch:
        whole = Path(scratch) / "whole"
        shutil.copytree(tree, whole, symlinks=True)
        try:
            whole.replace(copy)
        except OSError:
            # Somebody quicker made the same copy.
            if not copy.exists():
                raise


def _unpack(place: Path, name: str, package: str, parts: Sequence[str]) -> None:
    if not fetches():
        problem = "it is not installed, and this system has no apt-get to fetch it with"
        raise NotFound("find", name, problem, f"Install the package {package}, or what holds {name} on this system")
    with _alone(place.parent):
        # Whoever had the lock before may have unpacked it.
        if not place.exists():
            with tempfile.TemporaryDirectory(prefix="new-", dir=place.parent) as scratch:
                whole = Path(scratch) / "whole"
                for file in _Apt(place.parent / "apt", package).fetched(parts, Path(scratch)):
                    _run(["dpkg", "-x", str(file), str(whole)], package)
                whole.replace(place)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Be the only process that unpacks here, and clear what a killed one left."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in directory.glob("new-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


class _Apt:
    """Downloads a package, with lists and caches of its own in ``directory`` where the system's don't do."""

    def __init__(self, directory: Path, package: str) -> None:
        self.package = package
        self._lists = directory / "lists"
        self._options = ["-qq", "-o", f"Dir::Cache={directory / 'cache'}", "-o", "APT::Sandbox::User=root"]
        self._options += ["-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"]
        for needed in (self._lists / "partial", directory / "cache" / "archives" / "partial"):
            needed.mkdir(parents=True, exist_ok=True)

    def fetched(self, parts: Sequence[str], into: Path) -> list[Path]:
        """The package files: of the package, of what it depends on and is missing here, and of the ``parts``."""
        try:
            self._download(parts, into)
        except Unavailable:
            # No lists, or stale ones, which name files that are no longer there.
            self._options += ["-o", f"Dir::State::lists={self._lists}"]
            self._call(["update"])
            self._download(parts, into)
        return sorted(into.glob("*.deb"))

    def _download(self, parts: Sequence[str], into: Path) -> None:
        plan = self._call(["install", "--simulate", "--no-install-recommends", self.package])
        needed = {line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")}
        self._call(["download", *sorted({*needed, self.package, *parts})], into)

    def _call(self, arguments: list[str], cwd: Path | None = None) -> str:
        return _run(["apt-get", *self._options, *arguments], self.package, cwd)


def _run(command: list[str], package: str, cwd: Path | None = None) -> str:
    # Its words are compared and shown, so they come in one language.
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    hint = f"Install the package {package} by hand, or try again with a network"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            env=environment,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("fetch", package, f"{command[0]} took over {TIMEOUT} s", hint) from None
    if done.returncode != 0:
        raise Unavailable("fetch", package, f"{command[0]} said: {' '.join(done.stderr.split())}", hint)
    return done.stdout
