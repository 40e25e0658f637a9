"""Tokens of a gateway that keeps a directory: one file for each token it lets in, with the token's SHA-256."""

import fcntl
import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from keyturn.core.errors import CandidateRejected, Denied, Invalid, KeyturnError, NotFound, Superseded, Unavailable
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.passwords import Form, PasswordPolicy, generate
from keyturn.settings.fields import Line
from keyturn.strategies.base import StrategyBase, StrategySettings, Tools

ID: Final = re.compile("[0-9a-f]{16}")
"""The name of a token's file. Nothing else is written or deleted, whatever the secret says."""

FENCE: Final = ".sequence"
"""The file that holds the number of the rotation that wrote last."""


class TokenFiles(StrategyBase):
    """A new token beside the old one; ``path`` is the secret's own, and stands in errors."""

    credential_fields = frozenset({"id", "token"})

    def __init__(self, path: str, directory: Path) -> None:
        self.path = path
        self.directory = directory

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        """Refuse a credential that is no token file's."""
        for fields in (current, candidate):
            if fields is not None and "token" in fields and not ID.fullmatch(name_of(fields)):
                problem = "the secret's id is not the name of a token's file"
                raise Invalid("rotate", self.path, problem, "Write the name of its file into the field id")

    def mint(self, current: SecretFields | None) -> SecretFields:
        """A name and a random value; the gateway knows nothing of it yet."""
        return SecretFields({"id": secrets.token_hex(8), "token": generate(PasswordPolicy(Form.URL_SAFE))})

    def install(self, change: Change) -> None:
        """Write the token's file. Writing it again changes nothing."""
        with self._fenced("install", change.sequence):
            fresh = self.directory / ".fresh"
            fresh.write_text(digest(change.candidate["token"]))
            fresh.replace(self.directory / name_of(change.candidate))

    def verify(self, change: Change) -> None:
        """Look the token up as the gateway does."""
        file = self.directory / name_of(change.candidate)
        with self._translated("verify"):
            stands = file.read_text() if file.exists() else ""
        if stands != digest(change.candidate["token"]):
            hint = "The token is given up, and CURRENT stays as it is: run the rotation again"
            raise CandidateRejected("verify", self.path, "the gateway does not know the new token", hint)

    def abandon(self, change: Change) -> None:
        """Delete the candidate's file, unless CURRENT has come to name it."""
        given_up = self.credential_id(change.candidate)
        if change.current is None or given_up != self.credential_id(change.current):
            self.retire(given_up, change.sequence)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        """The name of the token's file."""
        return {"id": name_of(current)} if "id" in current else {}

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """Delete the old token's file. Absent is success."""
        if "id" in credential_id:
            with self._fenced("retire", sequence):
                (self.directory / credential_id["id"]).unlink(missing_ok=True)

    def last_sequence(self, known: Sequence[SecretFields] = ()) -> int:
        """The number in the directory: all tokens share it."""
        with self._translated("read the number"):
            file = self.directory / FENCE
            return int(file.read_text() or 0) if file.exists() else 0

    @contextmanager
    def _fenced(self, doing: str, sequence: int) -> Iterator[None]:
        """Hold the directory's lock, refuse to go back in sequence, and say so before anything is written."""
        file = self.directory / FENCE
        with self._translated(doing):
            file.touch()
            with file.open("r+b", buffering=0) as fence:
                fcntl.flock(fence, fcntl.LOCK_EX)
                written = int(fence.read() or 0)
                if written > sequence:
                    problem = f"rotation {written} has written since, this is {sequence}"
                    raise Superseded(doing, self.path, problem, "A newer run is in charge")
                fence.seek(0)
                fence.write(b"%020d" % sequence)
                yield

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Delete the token's file, whoever uses it still: the gateway looks there for every request."""
        self.preflight(credential, None)
        self.retire(self.credential_id(credential), sequence)
        return RevokeResult()

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterator[str]:
        """Every token's file in the directory, whoever has written it."""
        with self._translated("look up"):
            found = sorted(file.name for file in self.directory.iterdir() if ID.fullmatch(file.name))
        yield from (name for name in found if name not in set(map(name_of, spared)))

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        """Delete the file."""
        self.retire({"id": name}, sequence)
        return RevokeResult()

    def accepts(self, credential: SecretFields) -> bool | None:
        """Look the token up as the gateway does, which does not care for the names of files."""
        if "token" not in credential:
            return None
        with self._translated("look up"):
            files = [file for file in self.directory.iterdir() if ID.fullmatch(file.name)]
            return digest(credential["token"]) in {file.read_text() for file in files}

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Whatever the file system says leaves as one of ours."""
        try:
            yield
        except OSError as error:
            raise from_os(error, doing, self.path) from None


def from_os(error: OSError, doing: str, name: str) -> KeyturnError:
    """What an error of the file system means: only the last may be gone by itself."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return NotFound(doing, name, "the directory of tokens is not there", "Make it, or correct its path")
        case PermissionError():
            return Denied(doing, name, "the directory of tokens can't be written", "Let Keyturn's user write there")
        case _:
            return Unavailable(doing, name, f"the directory can't be used ({error.strerror})", "See the disk")


def name_of(fields: SecretFields) -> str:
    """The name of a version's file."""
    return fields["id"].reveal() if "id" in fields else ""


def digest(token: Sensitive) -> str:
    """What the gateway compares: a random token of 256 bits can't be guessed from its SHA-256."""
    return hashlib.sha256(token.reveal().encode()).hexdigest()


class TokenFilesSettings(StrategySettings):
    """Tokens of a gateway that looks them up in a directory."""

    strategy: Literal["token-files"]
    """How the secret is replaced."""
    directory: Line
    """The directory of this secret's tokens, and of no other secret's."""

    def open(self, path: str, tools: Tools) -> TokenFiles:
        """Files in this directory."""
        return TokenFiles(path, Path(self.directory))
