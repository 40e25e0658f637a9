"""An ACME server's suggested renewal time: ACME Renewal Information (RFC 9773)."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

ASKED_EVERY: Final = timedelta(hours=6)
"""Query interval per certificate (RFC 9773, 4.3.3)."""
YOUNG: Final = timedelta(days=1)
"""A certificate younger than both this and a tenth of its life is kept, whatever the server suggests."""


@dataclass(frozen=True)
class RenewalWindow:
    """The server's suggested renewal period; ``identifier`` is the certificate's (4.1)."""

    identifier: str
    begins_at: datetime
    ends_at: datetime

    @property
    def moment(self) -> datetime:
        """A time within it, evenly distributed over certificates (as the RFC requires) and constant for each."""
        share = int.from_bytes(hashlib.sha256(self.identifier.encode()).digest()[:8]) / 2**64
        return self.begins_at + (self.ends_at - self.begins_at) * share


class RenewalAdviser(Protocol):
    """A service that suggests when to renew certificates, whatever their issuer."""

    name: str

    def window(self, pem: str) -> RenewalWindow:
        """The suggestion for a certificate. Raises Invalid for a malformed answer, and query errors."""
