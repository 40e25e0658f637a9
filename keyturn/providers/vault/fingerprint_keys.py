"""The keys of all fingerprints in the hub, checked again because another worker may rotate them."""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from keyturn.core.errors import Conflict, Denied, NotFound, TransientError
from keyturn.core.fingerprint_keys import (
    BOUND,
    FIRST_KEY,
    KEYS,
    USED,
    FingerprintKey,
    FingerprintKeys,
    UnreadKey,
    generations,
    key_entry,
    keys_of,
    read_key,
    word_entry,
)
from keyturn.core.ports.hub import State, StatePort, VersionInfo

LOOK_AFTER: Final = 60.0
"""Seconds between checks for other keys, far less than the wait before a new key's use."""
LASTING: Final = 300.0
"""Seconds that known keys stay in use while the hub does not answer."""


class HubKeys:
    """The hub's keys, cached. ``newest`` describes an entry's newest version; ``clock`` gives the hub's time."""

    def __init__(
        self,
        hub: StatePort,
        state_mount: str,
        newest: Callable[[str], VersionInfo | None],
        clock: Callable[[], datetime | None],
    ) -> None:
        self._hub = hub
        self._mount = state_mount
        self._newest = newest
        self._clock = clock
        self._keys: FingerprintKeys | None = None
        self._names: frozenset[str] = frozenset()
        self._looked_at = 0.0

    def get(self, *, fresh: bool) -> FingerprintKeys:
        """Creates the first key if none exists."""
        age = time.monotonic() - self._looked_at
        if self._keys is not None and not fresh and age < LOOK_AFTER:
            return self._keys
        try:
            self._keys = self._look()
        except Denied as denied:
            self._keys = self._unread(denied)
        except TransientError:
            if self._keys is None or fresh or age > LASTING:
                raise
            return self._keys
        self._looked_at = time.monotonic()
        return self._keys

    def _look(self) -> FingerprintKeys:
        first = None if self._keys else (self._hub.read_state(FIRST_KEY) or self._make_first())
        names = frozenset(entry.removeprefix(f"{KEYS}/") for entry in self._hub.list_state(KEYS))
        if self._keys is not None and names == self._names:
            return self._keys
        first = first or self._read(FIRST_KEY)
        keys, used_since = [self._key(1, first)], dict[int, datetime]()
        for number in generations(names):
            if number == 1:
                continue
            key = self._key(number, self._read(key_entry(number)))
            if key is None:
                break  # the entry holds no key
            keys.append(key)
            if f"{number}.{USED}" in names:
                used_since[number] = self._made_at(self._read(word_entry(number, USED)))
        self._names = names
        return keys_of(tuple(key for key in keys if key), names, used_since)

    def _unread(self, denied: Denied) -> FingerprintKeys:
        """For a login that may list the keys but not read them. Raises Denied otherwise."""
        try:
            names = frozenset(entry.removeprefix(f"{KEYS}/") for entry in self._hub.list_state(KEYS))
            made = {number: self._newest(key_entry(number)) for number in generations(names)}
            used = {number: self._newest(word_entry(number, USED)) for number in made if f"{number}.{USED}" in names}
        except Denied:
            raise denied from None
        keys = tuple(UnreadKey(number, entry.created_at, denied) for number, entry in made.items() if entry)
        if not keys:
            raise denied
        return keys_of(keys, names, {number: entry.created_at for number, entry in used.items() if entry})

    def _key(self, number: int, state: State) -> FingerprintKey | None:
        key = read_key(number, state.data, self._made_at(state))
        if key is None and number == 1:
            raise NotFound("read", self._named(FIRST_KEY), "it holds no key", "Give it back from a snapshot")
        return key

    def _made_at(self, state: State) -> datetime:
        return (self._clock() or datetime.now(UTC)) - timedelta(seconds=state.age)

    def _read(self, entry: str) -> State:
        if state := self._hub.read_state(entry):
            return state
        raise self._gone(entry)

    def _make_first(self) -> State:
        try:
            self._hub.claim_state(FIRST_KEY, {"key": secrets.token_hex(32), BOUND: True})
        except (Conflict, Denied) as error:
            if made := self._hub.read_state(FIRST_KEY):  # another worker made it
                return made
            newest = self._newest(FIRST_KEY)
            if isinstance(error, Denied) and (newest is None or newest.readable):
                raise
            raise self._gone(FIRST_KEY) from None
        return self._read(FIRST_KEY)

    def _gone(self, entry: str) -> NotFound:
        problem = "a fingerprint key was deleted: copies can't be told apart any more"
        hint = f"Give it back: `vault kv undelete -mount={self._mount} -versions=1 {entry}`, or from a snapshot"
        return NotFound("read", self._named(entry), problem, hint)

    def _named(self, entry: str) -> str:
        return f"{self._mount}/{entry}"
