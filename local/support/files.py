"""Files that only their owner may read, written whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path


def private_directory(directory: Path) -> Path:
    """The directory, made if absent, open to its owner alone (0700)."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    return directory


def write_private(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Put the content there, for its owner alone; whoever reads sees the old content or the new, never half."""
    _fresh(path, content, mode).replace(path)


def kept_secret(path: Path, size: int = 32) -> str:
    """The random text in this file, made and stored (0600) the first time it is asked for."""
    if not path.exists():
        fresh = _fresh(path, secrets.token_urlsafe(size))
        # Whoever is first decides what it is, for good.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_text()


def _fresh(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content.encode() if isinstance(content, str) else content)
    return fresh
