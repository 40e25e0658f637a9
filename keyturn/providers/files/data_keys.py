"""A file of wrapping keys: one a line, 32 bytes in base64, the newest last.

    openssl rand -base64 32 >> FILE       # creates it, and later adds a generation

Every line unwraps what it wrapped; removing it makes that unreadable.
"""

import base64
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.core.ports.envelope import KEY_BYTES, DataKey, SealRefused, encode_context, refuse_key
from keyturn.core.sensitive import Sensitive
from keyturn.providers.keys.aes_gcm import decrypt, encrypt, fresh_key

MAKE: Final = "Make one: (umask 077; openssl rand -base64 32 >> FILE)"
LARGEST: Final = 65_536  # bytes
ID_DIGITS: Final = 16


class FileDataKeys:
    """:class:`keyturn.core.ports.envelope.DataKeys` from a file that only its owner may read; each use reads it.

    Raises Invalid for a missing, malformed or linked file, another owner, or access by others.
    """

    kind = "file"

    def __init__(self, file: Path | str) -> None:
        self._file = Path(file)
        self._generations()

    def make(self, context: Mapping[str, str]) -> DataKey:
        generation, wrapping = [*self._generations().items()][-1]
        key = fresh_key()
        wrapped = encrypt(wrapping, key.reveal().encode(), encode_context(context))
        return DataKey(key, f"{generation}:{base64.b64encode(wrapped).decode()}")

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> Sensitive:
        generation, _, text = wrapped.partition(":")
        wrapping = self._generations().get(generation)
        if wrapping is None:
            raise refuse_key(str(self._file), "the key that it was sealed with is not in this file")
        try:
            return Sensitive(decrypt(wrapping, base64.b64decode(text), encode_context(context)).decode())
        except (ValueError, SealRefused):
            raise refuse_key(str(self._file), "the data key was changed since it was wrapped") from None

    def _generations(self) -> dict[str, Sensitive]:
        lines = [Sensitive(line) for line in _read(self._file).reveal().split()]
        try:
            raw = {_id_of(line): len(base64.b64decode(line.reveal(), validate=True)) for line in lines}
        except ValueError:
            raw = {}
        if not raw or set(raw.values()) != {KEY_BYTES}:
            raise Invalid("use", str(self._file), f"its lines are not {KEY_BYTES} bytes in base64 each", MAKE)
        return {_id_of(line): line for line in lines}


def _id_of(line: Sensitive) -> str:
    return hashlib.sha256(b"keyturn key file\0" + line.reveal().encode()).hexdigest()[:ID_DIGITS]


def _read(file: Path) -> Sensitive:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            if problem := _unsafe(os.fstat(descriptor)):
                raise Invalid("use", str(file), *problem)
            return Sensitive(opened.read(LARGEST).decode("ascii", "replace"))
    except OSError as error:
        raise Invalid("use", str(file), f"it can't be read ({error.strerror})", MAKE) from None


def _unsafe(status: os.stat_result) -> tuple[str, str] | None:
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file", MAKE
    if status.st_uid != os.geteuid():
        return "it belongs to another user than this process", "chown it to this user"
    if stat.S_IMODE(status.st_mode) & 0o177:
        return "others may read or write this key, or it is executable", "chmod 0600 it"
    return None
