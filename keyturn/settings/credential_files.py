"""Files with accounts as lines, which the operator lets Keyturn change: where they are, their form, and commands."""

import os
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Final

from pydantic import AfterValidator, Field, WithJsonSchema

from keyturn.settings.fields import Duration, Line, Model, matching, refused


class FileFormat(StrEnum):
    """The form of the lines, and of the hashes in them."""

    MOSQUITTO = "mosquitto"
    HTPASSWD = "htpasswd"
    NATS = "nats"
    HAPROXY = "haproxy"
    TSIG = "tsig"
    SHADOW = "shadow"


def _whole(path: str) -> str:
    if not os.path.isabs(path) or os.path.normpath(path) != path:
        raise refused("is no whole path", "Begin with /, and write no part . or ..")
    return path


def _begins_with_a_path(command: tuple[str, ...]) -> tuple[str, ...]:
    _whole(command[0])
    return command


ACCOUNTS: Final = r"[^\s:{}\"';#\\]+"
WholePath = Annotated[Line, AfterValidator(_whole), WithJsonSchema({"type": "string", "pattern": "^/"})]
Command = Annotated[tuple[Line, ...], Field(min_length=1), AfterValidator(_begins_with_a_path)]
AccountPattern = Annotated[Line, matching(ACCOUNTS, "is no pattern of accounts", "Write a name; * is any text.")]


class CredentialFileSettings(Model):
    """A file whose lines are accounts of a server on this machine."""

    path: WholePath
    """The file. Keyturn replaces it as a whole, so its directory must be writable, and it can't be a link."""
    format: FileFormat
    """The form of a line: mosquitto, htpasswd, nats, haproxy, tsig or shadow."""
    accounts: Annotated[tuple[AccountPattern, ...], Field(min_length=1)]
    """The accounts that a catalogue may rotate there; * is any text."""
    reload: Command | None = None
    """The program, with arguments, that makes the server read the file; without it, the server does so by itself."""
    check: Command | None = None
    """The program, with arguments, that tries a login. It reads two lines, the name and the password, and exits with 0
    if the server accepts them, with 1 if it refuses them, and otherwise with another number."""
    patience: Duration = timedelta(seconds=10)
    """The time in which the server must accept a new line, if there is a check."""

    def allows(self, account: str) -> bool:
        return any(fnmatchcase(account, pattern) for pattern in self.accounts)
