"""A hub whose keys of fingerprints a test may turn: with a state of its own, as an older release has begun it."""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta

from keyturn.core.errors import Unavailable
from keyturn.core.fingerprint_keys import FIRST_KEY
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.sync.own_fingerprints import SETTLING, Turned, turn_fingerprint_key
from tests.support.hooks import eventually
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
