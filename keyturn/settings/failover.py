"""The two hubs of an installation, as a process is told of them: its own name, and where the other one is."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.settings.durations import parse
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin, HubLogin, TokenLogin

HUB_NAME: Final = "KEYTURN_HUB_NAME"
PEER_NAME: Final = "KEYTURN_PEER_NAME"
PEER_ADDRESS: Final = "KEYTURN_PEER_ADDR"
PEER_CA_FILE: Final = "KEYTURN_PEER_CACERT"
PEER_TOKEN_FILE: Final = "KEYTURN_PEER_TOKEN_FILE"
PEER_ROLE_ID_FILE: Final = "KEYTURN_PEER_ROLE_ID_FILE"
PEER_SECRET_ID_FILE: Final = "KEYTURN_PEER_SECRET_ID_FILE"
LEASE: Final = "KEYTURN_FAILOVER_LEASE"
NO_LEASE: Final = "none"
"""The lease of an environment for emergencies."""

VARIABLES: Final = (
    HUB_NAME,
    PEER_NAME,
    PEER_ADDRESS,
    PEER_CA_FILE,
    PEER_TOKEN_FILE,
    PEER_ROLE_ID_FILE,
    PEER_SECRET_ID_FILE,
    LEASE,
)


@dataclass(frozen=True)
class FailoverSettings:
    """``own`` is this hub's name, ``other`` that of ``peer``.

    With a ``lease`` this hub is written only while the other one has answered within it; None where it is written also
    while the other one can't be asked. Where that one answers and does not say which is written, nothing is written
    while this is ``strict``.
    """

    own: str
    other: str
    peer: HubSettings
    lease: timedelta | None = None
    strict: bool = True

    def without_lease(self) -> "FailoverSettings":
        """The same for emergencies, which no hub holds up that is silent, or refuses to be asked."""
        return replace(self, lease=None, strict=False)

    @staticmethod
    def from_environment(hub: HubSettings, env: Mapping[str, str] = os.environ) -> "FailoverSettings | None":
        """The settings of ``hub`` for the other one; None where no variable names it. Raises Invalid for half of it."""
        if not any(env.get(name) for name in VARIABLES):
            return None
        for name in (HUB_NAME, PEER_NAME, PEER_ADDRESS):
            if not env.get(name):
                variables = ", ".join(variable for variable in VARIABLES if env.get(variable))
                hint = f"Set {HUB_NAME}, {PEER_NAME} and {PEER_ADDRESS} together, or none of them"
                raise Invalid("find", "the other hub", f"{name} is not set, and {variables} is", hint)
        if env[HUB_NAME] == env[PEER_NAME] or env[PEER_ADDRESS].rstrip("/") == hub.address.rstrip("/"):
            problem = "both hubs have one name, or one address"
            raise Invalid("find", "the other hub", problem, f"Correct {PEER_NAME} and {PEER_ADDRESS}")
        peer = replace(
            hub,
            address=env[PEER_ADDRESS],
            ca_file=env.get(PEER_CA_FILE) or hub.ca_file,
            tls_server_name=None,
            login=_login(env) or hub.login,
        )
        lease = env.get(LEASE, "")
        settings = FailoverSettings(env[HUB_NAME], env[PEER_NAME], peer)
        return settings.without_lease() if lease == NO_LEASE else replace(settings, lease=_lease(lease))


def _login(env: Mapping[str, str]) -> HubLogin | None:
    if file := env.get(PEER_TOKEN_FILE):
        return TokenLogin(file=file)
    if role := env.get(PEER_ROLE_ID_FILE):
        return AppRoleLogin(role, env.get(PEER_SECRET_ID_FILE))
    return None


def _lease(text: str) -> timedelta | None:
    if not text:
        return None
    try:
        lease = parse(text)
    except ValueError:
        raise Invalid(
            "read", LEASE, "it is no duration", "Write it like 5m, or none in the environment of the revoker"
        ) from None
    if lease < timedelta(seconds=15):
        raise Invalid("read", LEASE, "it is shorter than what is looked at takes", "Give it 15s at least")
    return lease
