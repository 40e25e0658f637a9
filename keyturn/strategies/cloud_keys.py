"""The common part of cloud accounts' keys: made and ended by the cloud, a few at most, known with delay."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

from keyturn.core.errors import CandidateRejected, Invalid, NotFound, Unavailable
from keyturn.core.ports.cloud_keys import CloudKey, CloudKeys, KeyUse
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.strategies.base import StrategyBase, no_place

STEPS: Final = (0.5, 1.0, 2.0, 4.0, 7.5, 10.0, 15.0)
"""Seconds between two tries of a new key, 40 in all: clouds need some, seldom more.

That ends before the minute after which other hosts take a silent holder of a rotation for dead.
"""


def patiently(done: Callable[[], bool], sleep: Callable[[float], None]) -> bool:
    """Call ``done`` at growing intervals for 40 seconds, and return whether it succeeded."""
    for seconds in STEPS:
        if done():
            return True
        sleep(seconds)
    return done()


class CloudKeyStrategy(StrategyBase):
    """A new key for each version of the secret; the old one works next to it until it is retired.

    The cloud makes a key at once, so the intent is saved first, with the existing keys. Keys that Keyturn did not make
    are never touched.
    """

    mints_at_target = True
    limit: ClassVar[int]
    """Maximum number of keys that the cloud allows an account."""
    account_name: ClassVar[str]
    key_name: ClassVar[str]
    """The names of account and key in the id of a credential that ends later."""
    holds: ClassVar[frozenset[str]]
    """The fields that are needed to sign in."""

    def __init__(self, target: CloudKeys, account: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.target = target
        self.account = account
        self.sleep = sleep

    def key_id(self, fields: SecretFields | None) -> str | None:
        """Return the key that a version names; None where it names none. Raises Invalid where it can't be read."""
        raise NotImplementedError

    def check_own(self, key_id: str, keys: Sequence[CloudKey], fields: SecretFields) -> None:
        """Raises Invalid for a key that is another account's."""
        raise NotImplementedError

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        keys, serving = self.target.keys(self.account), self.key_id(current)
        if current is not None and serving is not None:
            self.check_own(serving, keys, current)
        if candidate is None and len(keys) >= self.limit:
            raise self._full([key for key in keys if key.key_id != serving])

    def mint(self, current: SecretFields | None) -> SecretFields:
        return self.target.create(self.account)

    def existing_ids(self) -> Sequence[str]:
        return [key.key_id for key in self.target.keys(self.account)]

    def remove_orphans(self, before: Sequence[str], credentials: Sequence[SecretFields]) -> None:
        """End keys that came since, that no secret holds and that were never used.

        A key that a dead run left was never used, since its value died with the run. So a worker that wakes up much
        later spares what a newer rotation put in force.
        """
        spared = {*before, *(self.key_id(fields) for fields in credentials)}
        for key in self.target.keys(self.account):
            if key.key_id not in spared and self.target.last_use(self.account, key.key_id, key.created) is None:
                self.target.end(self.account, key.key_id)

    def verify(self, change: Change) -> None:
        """Sign in with the new key, and wait up to 40 s until the cloud knows it everywhere.

        Raises CandidateRejected when the key is another account's, wrong or gone. Raises Unavailable, which keeps the
        key, when the cloud lists it but does not accept it yet.
        """
        if patiently(lambda: self.target.signs_in(self.account, change.candidate), self.sleep):
            return
        if gone := self._gone(change.candidate):
            raise CandidateRejected("verify", self._named, f"the new key {gone}", "Run the rotation again")
        problem = f"the new key is there, yet it is not taken after {sum(STEPS):.0f} s"
        raise Unavailable("verify", self._named, problem, "Run again later: the same key is tried")

    def abandon(self, change: Change) -> None:
        key_id = self.key_id(change.candidate)
        if key_id is not None and key_id != self.key_id(change.current):
            self.target.end(self.account, key_id)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        serving = self._readable_id(current)
        return {self.account_name: self.account, self.key_name: serving} if serving else {}

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        if self.key_name not in credential_id:
            return ()
        account, key_id = credential_id[self.account_name], credential_id[self.key_name]
        use = self.target.last_use(account, key_id, since)
        return (f"{self.target.name}:{account} used the key {key_id} {_shown(use)}",) if use else ()

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        if self.key_name in credential_id:
            self.target.end(credential_id[self.account_name], credential_id[self.key_name])

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        key_id = self._readable_id(credential)
        return (
            RevokeResult(outlives=tuple(self.target.revoke(self.account, key_id, sequence)))
            if key_id
            else RevokeResult()
        )

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterator[str]:
        serving = {self._readable_id(fields) for fields in spared}
        try:
            keys = self.target.keys(self.account)
        except NotFound:
            raise no_place(f"{self._named} is not there, so the keys of an older account are unknown") from None
        yield from (key.key_id for key in keys if key.key_id not in serving)

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        return RevokeResult(outlives=tuple(self.target.revoke(self.account, name, sequence)))

    def accepts(self, credential: SecretFields) -> bool | None:
        whole = all(credential.get(name) for name in self.holds)
        return self.target.accepts(self.account, credential) if whole else None

    def _readable_id(self, fields: SecretFields) -> str | None:
        try:
            return self.key_id(fields)
        except Invalid:
            return None

    @property
    def _named(self) -> str:
        return f"{self.target.name}:{self.account}"

    def _gone(self, candidate: SecretFields) -> str | None:
        key_id = self.key_id(candidate)
        keys = [key for key in self.target.keys(self.account) if key.key_id == key_id]
        if not keys:
            return "is not there any more"
        return None if keys[0].active else "has been switched off"

    def _full(self, others: Sequence[CloudKey]) -> Invalid:
        uses = "; ".join(self._told(key) for key in others)
        problem = f"there is no room for another key, it has {self.limit} at most: {uses}"
        hint = "Delete a key that nothing uses: Keyturn ends only keys that it made"
        return Invalid("make a key for", self._named, problem, hint)

    def _told(self, key: CloudKey) -> str:
        state = "active" if key.active else "switched off"
        use = self.target.last_use(self.account, key.key_id, key.created)
        used = f"last used {_shown(use)}" if use else "no use known"
        return f"{key.key_id} ({state}, made {key.created:%Y-%m-%d}, {used})"


def _shown(use: KeyUse) -> str:
    return f"on {use.at:%Y-%m-%d at %H:%M} UTC ({use.what})"
