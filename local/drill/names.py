"""What everything of one drill is called, so that it is told from all that is real, and found again to be removed."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keyturn.core.store_limits import AWS_PARAMETER_STORE

FOLDER: Final = "drills"
"""Everything that drills have in the hub lies below it, in both mounts."""

PREFIX: Final = "keyturn-drill"


@dataclass(frozen=True)
class Names:
    """``id`` is when the drill began and four random digits: ``20261125-153012-7f3a``."""

    id: str

    @staticmethod
    def new(now: datetime) -> "Names":
        """Names that nobody has used; ``now`` is in UTC."""
        return Names(f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")

    @property
    def incident(self) -> str:
        """In the ledger and in the report."""
        return f"DRILL-{self.id}"

    @property
    def folder(self) -> str:
        """In the hub: the secret, and what Keyturn keeps of it."""
        return f"{FOLDER}/{self.id}"

    @property
    def secret(self) -> str:
        """The path of the secret that is revoked."""
        return f"{self.folder}/secret"

    @property
    def signing_key(self) -> str:
        """Where the key lies that notices to the drill's application are signed with."""
        return f"{self.folder}/webhook"

    @property
    def role(self) -> str:
        """A role of the hub's database engine, and whatever else may have hyphens."""
        return f"{PREFIX}-{self.id}"

    @property
    def accounts(self) -> str:
        """What every account's name in the database begins with."""
        return f"{self.role}-".replace("-", "_")

    def copy(self, kind: str, number: int) -> str:
        """The name of one copy, which every kind of store takes."""
        name = f"{self.role}-{number}"
        return f"/{name}" if kind == AWS_PARAMETER_STORE else name
