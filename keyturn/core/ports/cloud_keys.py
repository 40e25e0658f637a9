"""The port of the clouds whose accounts sign in with keys: IAM users at AWS, service accounts at Google Cloud."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from keyturn.core.sensitive import SecretFields

CREDENTIALS_JSON = "credentials_json"
"""The field that holds a whole key file of Google's, as its clients read it."""
NEVER = "9999-12-31T23:59:59Z"
"""How Google writes the end of a key that has none."""


@dataclass(frozen=True)
class CloudKey:
    """One key of an account as its cloud lists it: no value in it."""

    key_id: str
    created: datetime
    active: bool


@dataclass(frozen=True)
class KeyUse:
    """One use of a key: when, as far as the cloud tells, and for what, in words for people."""

    at: datetime
    what: str


class CloudKeys(Protocol):
    """The keys of one cloud's accounts. Errors are named ``{target}:{account}``."""

    name: str

    def keys(self, account: str) -> Sequence[CloudKey]:
        """Every key of the account that people may make and end. Raises NotFound where there is no such account."""

    def create(self, account: str) -> SecretFields:
        """Make another key, in one call that is never repeated: this is the only time that the cloud tells it."""

    def signs_in(self, account: str, key: SecretFields) -> bool:
        """Whether the key signs in on a new connection; False while the cloud does not know it, or no more.

        Raises CandidateRejected for a key that can never sign in as this account.
        """

    def last_use(self, account: str, key_id: str, since: datetime) -> KeyUse | None:
        """The latest use after ``since`` that the cloud tells of; it may learn of one hours later."""

    def accepts(self, account: str, key: SecretFields) -> bool | None:
        """Whether the cloud signs in who holds this key now, whoever's it is; None for what is no key at all.

        ``account`` is whose it should be. Raises Unavailable where a refusal proves nothing about the key.
        """

    def end(self, account: str, key_id: str) -> None:
        """Switch the key off, then delete it. Absent is success."""

    def revoke(self, account: str, key_id: str, sequence: int) -> Sequence[str]:
        """End the key like :meth:`end`, and what was given out on the account's keys where the cloud lets us.

        What outlives it, in words for people, the same for every key of the account. ``sequence`` is the cut's
        number: what one cut has ended beside the key is not ended again by the same cut of a key that is gone.
        """
