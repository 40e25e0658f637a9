"""A request for access: what was asked for, and the digest that approvals sign."""

import hashlib
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

from keyturn.rotation.signers import Approval, Review, canonical
from keyturn.rotation.state.grant_store import GRANTED
from keyturn.settings.durations import show

GRANTS: Final = "grants"


ARCHIVE: Final = "access-archive"
"""Where requests lie that are long over: ``access-archive/<entity>/<request>``."""


LATER: Final = ("approvals", "closed", "closed_by", "closed_at", "because", "review")
"""What is not signed, since it comes after."""


SAID_SINCE: Final = ("break_glass", "login")
"""What is signed where it says something alone: requests that were signed before there was such a thing hold on."""


@dataclass(frozen=True)
class AccessRequest:
    """Access that somebody has asked for. ``entity`` is who, as the hub knows them; ``seconds`` for how long.

    ``needed`` is how many have to approve it: one more than the policy says where it is unknown which person asks, and
    none where the glass is broken, which another person reviews then.
    ``login`` is the accessor of the login that it was asked for with.
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
        """SHA-256, in hexadecimal digits, of all that an approval is for."""
        signed = {
            name: value
            for name, value in asdict(self).items()
            if name not in LATER and (value or name not in SAID_SINCE)
        }
        return hashlib.sha256(canonical(signed)).hexdigest()

    @property
    def message(self) -> bytes:
        """What each approver signs."""
        return f"keyturn access v1\n{self.digest}\n".encode()

    @property
    def words(self) -> str:
        """What was asked for, for people."""
        return f"{self.path} for {show(timedelta(seconds=self.seconds))}: {self.purpose}"

    @property
    def place(self) -> str:
        """Where it lies in Keyturn's own mount."""
        return f"{GRANTS}/{self.entity}/{self.id}"

    @property
    def archive_place(self) -> str:
        """Where it lies once it is long over."""
        return f"{ARCHIVE}/{self.entity}/{self.id}"

    @property
    def grant_place(self) -> str:
        """Where that stands which is given for it."""
        return f"{GRANTED}/{self.entity}/{self.id}"
