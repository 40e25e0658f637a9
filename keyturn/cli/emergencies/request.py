"""A revocation request from the command line."""

from dataclasses import dataclass
from datetime import datetime

from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.selector import Selector


@dataclass(frozen=True)
class RevocationRequest:
    """What to revoke, and why."""

    selector: Selector
    mode: Mode
    reason: str
    incident: str
    since: datetime
    expect: int = 0
