"""A hub whose fingerprint keys a test may replace, with state from an older release."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any

from keyturn.core.errors import Conflict, Unavailable
from keyturn.core.fingerprint_keys import FIRST_KEY, KEYS, FingerprintKeys
from keyturn.core.ports.hub import State
from keyturn.keys.refingerprint import SETTLING, Turned, turn_fingerprint_key
from keyturn.providers.vault.fingerprint_keys import HubKeys
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.support.hooks import Replaced, eventually
from tests.support.lab import Lab, fresh
from tests.support.mounts import make_kv
from tests.support.world import TOKEN_VARIABLE

STEPS = 20


@contextmanager
def hub_apart(lab: Lab, mount: str = "secret") -> Iterator[VaultHub]:
    """A hub whose first key is one of an older release, whose fingerprints name no path."""
    state = f"state-{fresh()}"
    make_kv(lab.root, state)
    login = TokenLogin(TOKEN_VARIABLE)
    with closing(VaultHub(HubSettings(lab.world.hub_address, mount=mount, state_mount=state, login=login))) as hub:

        def answers() -> bool:
            try:
                return hub.read_state(FIRST_KEY) is None
            except Unavailable:
                return False

        assert eventually(answers)
        hub.claim_state(FIRST_KEY, {"key": secrets.token_hex(32)})
        yield hub
    lab.root.sys.disable_secrets_engine(state)


def later(workspace: Workspace) -> datetime:
    """When nothing waits any more."""
    return workspace.hub.now() + 2 * SETTLING + timedelta(minutes=1)


def turns(workspace: Workspace) -> Iterator[Turned]:
    """A whole turn, a step at a time."""
    for number in range(STEPS):
        done = turn_fingerprint_key(workspace, later(workspace), begin=number == 0)
        yield done
        if done.done:
            return
    raise AssertionError("it comes to no end")


class KeyState:
    """The part of a hub's state that keys of fingerprints are kept in, in memory; entries are created once alone."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {FIRST_KEY: {"key": secrets.token_hex(32)}}
        self.down = False
        self.looks = 0

    def read_state(self, path: str) -> State | None:
        """The entry, as one that is just made."""
        data = self.entries.get(path)
        return State(data, 1, 0.0) if data is not None else None

    def claim_state(self, path: str, data: Mapping[str, Any]) -> None:
        """Create it. Raises Conflict."""
        if path in self.entries:
            raise Conflict("create", path, "it is there")
        self.entries[path] = dict(data)

    def list_state(self, prefix: str) -> Iterator[str]:
        """The entries below."""
        self.looks += 1
        if self.down:
            raise Unavailable("list", prefix, "the hub does not answer")
        return iter([path for path in self.entries if path.startswith(f"{prefix}/")])

    def keys(self) -> HubKeys:
        """What a new process knows of them."""
        state: Any = self
        return HubKeys(state, "keyturn", lambda entry: None, lambda: None)

    def laid_over(self, hub: Any) -> Any:
        """That hub, with these keys, as a new process sees it."""
        keys = self.keys()

        def read_state(path: str) -> State | None:
            read: State | None = (self if path.startswith(KEYS) else hub).read_state(path)
            return read

        def fingerprint_keys(*, fresh: bool = False) -> FingerprintKeys:
            return keys.get(fresh=fresh)

        return Replaced(hub, fingerprint_keys=fingerprint_keys, claim_state=self.claim_state, read_state=read_state)
