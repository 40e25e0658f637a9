"""Repositories and environments with their key pairs, sealed secrets and variables: one file, written whole."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from local.support.files import private_directory, write_private


class Scope:
    """What one repository, or one environment, holds: JSON as it lies in the file."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._kept = state
        self.secrets: dict[str, dict[str, str]] = state.setdefault("secrets", {})
        self.variables: dict[str, dict[str, str]] = state.setdefault("variables", {})
        if "key" not in state:
            self.new_key()

    def new_key(self) -> None:
        """Another key pair; what was sealed under an older one was opened when it came, and is sealed anew."""
        texts = {name: self.opened(name) or "" for name in self.secrets}
        self._kept["key"] = base64.b64encode(bytes(PrivateKey.generate())).decode()
        # Key ids are whole numbers as texts.
        self._kept["key_id"] = str(time.time_ns())
        for name, text in texts.items():
            sealed = SealedBox(self._private.public_key).encrypt(text.encode())
            self.secrets[name]["sealed"] = base64.b64encode(sealed).decode()

    @property
    def key_id(self) -> str:
        """What the key pair is called."""
        return str(self._kept["key_id"])

    @property
    def public_key(self) -> str:
        """The half that clients seal with, in base64."""
        return base64.b64encode(bytes(self._private.public_key)).decode()

    def unsealed(self, sealed: str) -> bytes | None:
        """What a sealed box holds; None where it does not open."""
        try:
            return SealedBox(self._private).decrypt(base64.b64decode(sealed, validate=True))
        except (ValueError, TypeError, CryptoError):
            return None

    def opened(self, name: str) -> str | None:
        """A secret's value; None where there is none."""
        secret = self.secrets.get(name.upper())
        content = None if secret is None else self.unsealed(secret["sealed"])
        return None if content is None else content.decode()

    @property
    def _private(self) -> PrivateKey:
        return PrivateKey(base64.b64decode(self._kept["key"]))


class State:
    """What is remembered under ``directory``, by names that fold case."""

    def __init__(self, directory: Path) -> None:
        self._file = private_directory(directory) / "github.json"
        self._lock = threading.Lock()
        self._kept: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def add(self, repository: str, environment: str | None) -> None:
        """Make a repository, and an environment in it where one is named, unless they are there."""
        with self.changing():
            for place in {(repository, None), (repository, environment)}:
                Scope(self._kept.setdefault(_key(*place), {}))

    def scope(self, repository: str, environment: str | None) -> Scope | None:
        """What a repository or an environment holds; None where there is none of that name."""
        scope = self._kept.get(_key(repository, environment))
        return None if scope is None else Scope(scope)

    def rotate_keys(self) -> None:
        """Another key pair everywhere."""
        with self.changing():
            for scope in self._kept.values():
                Scope(scope).new_key()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One caller at a time."""
        with self._lock:
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One caller at a time; what it did is on disk afterwards."""
        with self._lock:
            yield
            write_private(self._file, json.dumps(self._kept))


def _key(repository: str, environment: str | None) -> str:
    return f"{repository}:{environment or ''}".casefold()
