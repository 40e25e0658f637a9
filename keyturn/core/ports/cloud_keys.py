"""The port of clouds whose accounts sign in with keys: AWS IAM users, Google service accounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from keyturn.core.sensitive import SecretFields

CREDENTIALS_JSON = "credentials_json"
"""The field with a complete Google key file, as its clients read it."""
NEVER = "9999-12-31T23:59:59Z"
"""Google's expiry of a key that never expires."""


@dataclass(frozen=True)
class CloudKey:
    """One key of an account as its cloud lists it, without values."""

    key_id: str
    created: datetime
    active: bool


@dataclass(frozen=True)
class KeyUse:
    """One use of a key: its reported time, and its purpose for people."""

    at: datetime
    what: str


class CloudKeys(Protocol):
    """The keys of one cloud's accounts. Errors are named ``{target}:{account}``."""

    name: str

    def keys(self, account: str) -> Sequence[CloudKey]:
        """Every key that people may create and end. Raises NotFound without the account."""

    def create(self, account: str) -> SecretFields:
        """Create a key in one call, never repeated: the value is returned only once."""

    def signs_in(self, account: str, key: SecretFields) -> bool:
        """Whether the key signs in on a new connection; False if not known yet or any more.

        Raises CandidateRejected if it can never sign in as this account.
        """

    def last_use(self, account: str, key_id: str, since: datetime) -> KeyUse | None:
        """The latest reported use after ``since``; reports may be hours late."""

    def accepts(self, account: str, key: SecretFields) -> bool | None:
        """Whether the cloud accepts this key, for any account; None for a malformed key.

        ``account`` is the expected owner. Raises Unavailable if a refusal proves nothing.
        """

    def end(self, account: str, key_id: str) -> None:
        """Disable the key, then delete it. Absent is success."""

    def revoke(self, account: str, key_id: str, sequence: int) -> Sequence[str]:
        """End the key like :meth:`end`, and what the account's keys issued, if supported.

        Return what outlives it, for people, the same for all the account's keys. ``sequence`` is the cut's number: the
        same cut does not end these things again for a key that is gone.
        """
