"""What another party's token may read; the hub decides and logs the access.

Source: "Lookup a token (self)" in the API of Vault and of OpenBao.
"""

from collections.abc import Mapping
from typing import Any

from keyturn.core.errors import Denied, NotFound
from keyturn.core.ports.callers import Permit
from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.grants import networks_of
from keyturn.providers.vault.hub import VaultHub


@reads_answers("the hub")
class VaultCallers:
    """A :class:`keyturn.core.ports.callers.CallersPort`."""

    def __init__(self, hub: VaultHub) -> None:
        self._hub = hub
        self._calls = Calls(hub.settings)

    def permit(self, token: Sensitive, path: str) -> Permit:
        try:
            answer = self._calls.get("read", path, self._hub.address("data", path), token.reveal())
        except NotFound:
            pass
        else:
            insist_on_value(path, answer.json())
        about = self._calls.get("look up", "the caller's token", "auth/token/lookup-self", token.reveal())
        return permit_of(about.json()["data"])

    def close(self) -> None:
        self._calls.close()


def insist_on_value(path: str, answer: Mapping[str, Any]) -> None:
    """Raises Denied for a wrapped answer, which awaits an approval (control groups)."""
    if answer.get("wrap_info") or not isinstance((answer["data"] or {}).get("data"), dict):
        raise Denied("read", path, "the hub gives this token no value yet", "Ask the hub itself")


def permit_of(token: Mapping[str, Any]) -> Permit:
    if token.get("num_uses"):
        return Permit(0.0, networks_of(token))
    ttl = float(token["ttl"])
    return Permit(ttl if ttl > 0 else None, networks_of(token))
