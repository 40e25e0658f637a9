"""A request for access, and the digest that approvals sign."""

import hashlib
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

from keyturn.rotation.signers import Approval, Review, canonical
from keyturn.rotation.state.grant_store import GRANTED
from keyturn.settings.durations import show

GRANTS: Final = "grants"


ARCHIVE: Final = "access-archive"
"""The folder of requests that ended long ago: ``access-archive/<entity>/<request>``."""


LATER: Final = ("approvals", "closed", "closed_by", "closed_at", "because", "review")
"""Fields that are set later and not signed."""


SAID_SINCE: Final = ("break_glass", "login")
"""Fields signed only if set, so that older requests without them stay valid."""


@dataclass(frozen=True)
class AccessRequest:
    """A request by ``entity``, the hub's id of a person, for ``seconds`` of access.

    ``needed`` counts approvals: one more than the policy's for an unknown person, none for a broken glass. ``login`` is
    an accessor.
    """

    id: str
    path: str
    seconds: int
    purpose: str
    ticket: str
    policy: str
    policy_digest: str
    needed: int
    entity: str
    asked_by: str
    asked_at: str
    expires_at: str
    nonce: str
    approvals: tuple[Approval, ...] = ()
    closed: str = ""
    closed_by: str = ""
    closed_at: str = ""
    because: str = ""
    break_glass: bool = False
    review: Review | None = None
    login: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal of everything that an approval covers."""
        signed = {
            name: value
            for name, value in asdict(self).items()
            if name not in LATER and (value or name not in SAID_SINCE)
        }
        return hashlib.sha256(canonical(signed)).hexdigest()

    @property
    def message(self) -> bytes:
        """The message that each approver signs."""
        return f"keyturn access v1\n{self.digest}\n".encode()

    @property
    def words(self) -> str:
        """A summary for people."""
        return f"{self.path} for {show(timedelta(seconds=self.seconds))}: {self.purpose}"

    @property
    def place(self) -> str:
        """Its path in Keyturn's mount."""
        return f"{GRANTS}/{self.entity}/{self.id}"

    @property
    def archive_place(self) -> str:
        """Its path in the archive."""
        return f"{ARCHIVE}/{self.entity}/{self.id}"

    @property
    def grant_place(self) -> str:
        """The path of its grant."""
        return f"{GRANTED}/{self.entity}/{self.id}"
