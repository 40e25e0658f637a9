"""The cryptoperiods of keys, by kind. Source: NIST SP 800-57 Part 1 Revision 5, table 1.

The table suggests periods; where it gives a range, the longer end is the limit here.
"""

from datetime import timedelta
from typing import Final

from keyturn.evidence.facts import KeyPeriod

YEAR: Final = timedelta(days=365)

SIGNATURE: Final = KeyPeriod("private signature key", 3 * YEAR)
AUTHENTICATION: Final = KeyPeriod("private authentication key", 2 * YEAR)
SYMMETRIC: Final = KeyPeriod("symmetric authentication key", 2 * YEAR)

BY_STRATEGY: Final = {
    "signing-key": SIGNATURE,
    "certificate": AUTHENTICATION,
    "ssh-key": AUTHENTICATION,
    "gcp-service-account-key": AUTHENTICATION,
    "aws-iam-key": SYMMETRIC,
    "azure-storage-key": SYMMETRIC,
}
"""The kind of key that each strategy makes. Passwords and tokens have no cryptoperiod."""


def own_key_period(name: str) -> KeyPeriod | None:
    """Return the cryptoperiod of an own key, or None for a non-key such as a secret id."""
    if name == "ledger-key":
        return SIGNATURE
    return None if name.startswith("secret-id/") else SYMMETRIC
