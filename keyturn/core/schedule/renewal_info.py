"""When an ACME server suggests that a certificate is renewed: ACME Renewal Information (RFC 9773)."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

ASKED_EVERY: Final = timedelta(hours=6)
"""How often a server is asked about a certificate (RFC 9773, 4.3.3)."""
YOUNG: Final = timedelta(days=1)
"""So long, or for a tenth of its life, a certificate is kept whatever a server suggests."""


@dataclass(frozen=True)
class RenewalWindow:
    """When the server would like the certificate to be renewed; ``identifier`` is the certificate's (4.1)."""

    identifier: str
    begins_at: datetime
    ends_at: datetime

    @property
    def moment(self) -> datetime:
        """One in it, spread evenly over certificates as the RFC asks for, and always the same for the same one."""
        share = int.from_bytes(hashlib.sha256(self.identifier.encode()).digest()[:8]) / 2**64
        return self.begins_at + (self.ends_at - self.begins_at) * share


class RenewalAdviser(Protocol):
    """Somebody who suggests when certificates are renewed, whoever has signed them."""

    name: str

    def window(self, pem: str) -> RenewalWindow:
        """What is suggested for a certificate. Raises Invalid for no sound answer, and what else hinders it."""
