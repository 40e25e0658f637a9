"""The smallest strategy: tokens in a directory, one file for each that is let in."""

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from keyturn.core.errors import CandidateRejected
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.passwords import Form, PasswordPolicy, generate
from keyturn.strategies.base import StrategyBase

NAME: Final = re.compile("[0-9a-f]{16}")


class PlainTokens(StrategyBase):
    """A new token beside the old one."""

    credential_fields = frozenset({"id", "token"})

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def mint(self, current: SecretFields | None) -> SecretFields:
        """A name and a random value."""
        return SecretFields({"id": secrets.token_hex(8), "token": generate(PasswordPolicy(Form.URL_SAFE))})

    def install(self, change: Change) -> None:
        """Write its file; writing it again changes nothing."""
        file = self.directory / change.candidate["id"].reveal()
        file.write_text(change.candidate["token"].reveal())

    def verify(self, change: Change) -> None:
        """Look it up as whoever lets in does."""
        file = self.directory / change.candidate["id"].reveal()
        if not file.exists() or file.read_text() != change.candidate["token"].reveal():
            raise CandidateRejected("verify", "the new token", "it is not let in", "Run the rotation again")

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        """The name of its file."""
        name = current["id"].reveal() if "id" in current else ""
        return {"id": name} if NAME.fullmatch(name) else {}

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """Delete the old token's file. Absent is success."""
        if "id" in credential_id:
            (self.directory / credential_id["id"]).unlink(missing_ok=True)

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Delete the token's file, whoever uses it still."""
        self.retire(self.credential_id(credential), sequence)
        return RevokeResult()
