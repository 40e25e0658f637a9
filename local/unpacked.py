"""Programs that a package of Python's registry carries: locked with hashes, unpacked into the user's cache when needed.

Who never needs one does not pay for its download.
"""

import fcntl
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from keyturn.core.errors import Unavailable
from keyturn.settings.directories import cache_directory

SECONDS: Final = 300.0
"""For one download."""

HINT: Final = "Try again where the package registry is reached"


def unpacked(name: str, what: str, lock: Path, finish: Callable[[Path], None], *beside: Path) -> Path:
    """Where the package of ``lock`` lies, finished by ``finish``; fetched now where it is not there yet.

    What is named ``name`` there is renewed where the lock, or a file ``beside`` it, has changed. Raises Unavailable.
    """
    content = hashlib.sha256(b"".join(file.read_bytes() for file in (lock, *beside))).hexdigest()
    place = cache_directory() / f"{name}-{content[:16]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{name}.lock").open("w") as waiting:
        fcntl.flock(waiting, fcntl.LOCK_EX)
        if not place.exists():
            with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=place.parent) as scratch:
                whole = Path(scratch) / "whole"
                _install(what, lock, whole)
                finish(whole)
                whole.replace(place)
    return place


def _install(what: str, lock: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", f"--requirement={lock}", f"--target={target}"]
    fetch(what, command)


def fetch(what: str, command: list[str]) -> None:
    """Run what downloads a package. Raises Unavailable."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable("fetch", what, f"it took over {SECONDS:g} s", HINT) from None
    if done.returncode != 0:
        raise Unavailable("fetch", what, " ".join(done.stderr.split())[-300:], HINT)
