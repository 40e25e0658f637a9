"""A witness's key and its state of each ledger, in two files."""

import base64
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn.core.errors import Invalid, Locked
from keyturn.core.files import sync_directory
from keyturn.ledger.witness.cosignatures import WitnessKey
from keyturn.ledger.witness.cosigner import Seen
from keyturn.providers.keys.note_signer import KeySigner

PRIVATE: Final = 0o600
BEGINNING: Final = "PRIVATE+KEY+"


class WitnessSigner(KeySigner):
    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        super().__init__(key)
        self.key = WitnessKey(name, self.public_key())

    @classmethod
    def made(cls, file: Path, name: str) -> "WitnessSigner":
        signer = cls(name, Ed25519PrivateKey.generate())
        typed = base64.b64encode(WitnessKey.TYPE + signer._key.private_bytes_raw()).decode()
        _write_new(file, f"{BEGINNING}{name}+{signer.key.key_id.hex()}+{typed}\n")
        return signer

    @classmethod
    def read(cls, file: Path) -> "WitnessSigner":
        try:
            name, key_id, typed = file.read_text().strip().removeprefix(BEGINNING).split("+", 2)
            decoded = base64.b64decode(typed, validate=True)
            signer = cls(name, Ed25519PrivateKey.from_private_bytes(decoded[1:]))
        except ValueError:
            signer, key_id, decoded = None, "", b""
        if signer is None or decoded[:1] != WitnessKey.TYPE or signer.key.key_id.hex() != key_id:
            raise Invalid("read", str(file), "it holds no witness's key", "Bring it back from a backup")
        return signer


class StateFile:
    """A ``WitnessState`` in one JSON file, which one process at a time holds open.

    Writes are atomic and durable. Raises Invalid for an unreadable file: a witness without its state would cosign any
    history. Raises Locked if another process holds it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._turn = threading.Lock()
        self._lock = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise Locked("open", str(file), "another witness has it", "Give each its own file") from None
        self._seen = _parsed(file)

    @staticmethod
    def make(file: Path) -> None:
        _write_new(file, "{}\n")

    @contextmanager
    def changing(self) -> Iterator[None]:
        with self._turn:
            yield

    def read(self, origin: str) -> Seen:
        return self._seen.get(origin, Seen())

    def write(self, origin: str, state: Seen) -> None:
        """Store it durably. Raises OSError, and then the previous state applies."""
        after = {**self._seen, origin: state}
        beside = Path(f"{self._file}.new")
        beside.unlink(missing_ok=True)
        _write_new(beside, json.dumps({name: _data(value) for name, value in sorted(after.items())}, indent=2) + "\n")
        os.replace(beside, self._file)
        sync_directory(self._file.parent)
        self._seen = after

    def close(self) -> None:
        os.close(self._lock)


def _data(state: Seen) -> dict[str, Any]:
    return {"size": state.size, "root": base64.b64encode(state.root).decode()}


def _parsed(file: Path) -> dict[str, Seen]:
    try:
        stored = json.loads(file.read_text())
        return {str(name): Seen(int(state["size"]), base64.b64decode(state["root"])) for name, state in stored.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        problem = "what it has seen can't be read, and without that it would cosign any history"
        raise Invalid("read", str(file), problem, "Bring it back from a backup, or begin with a new key") from None


def _write_new(file: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(file, flags, PRIVATE), "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    sync_directory(file.parent)
