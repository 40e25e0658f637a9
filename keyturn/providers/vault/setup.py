"""The calls that set a hub up, as the login in use, which has to be an administrator's for most of them."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from keyturn.core.errors import Invalid, NotFound
from keyturn.core.fingerprint_keys import FIRST_KEY
from keyturn.core.hub import State
from keyturn.core.sensitive import Sensitive
from keyturn.ledger.naming import claim_name
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.own_login import PLACE

if TYPE_CHECKING:
    from keyturn.providers.vault.hub import VaultHub


APPROLE: Final = "auth/approle/role"


@reads_answers("the hub")
class VaultSetup:
    """A :class:`keyturn.hub_setup.apply.HubPort` over a hub's connections."""

    def __init__(self, calls: Calls, hub: "VaultHub") -> None:
        self._calls = calls
        self._hub = hub

    def look(self, address: str) -> Mapping[str, Any] | None:
        """What the hub tells of it; None where nothing is there. Raises Denied, Unavailable."""
        answer = self._calls.find("look at", address, address)
        return None if answer is None else dict(answer.json()["data"] or {})

    def names(self, address: str) -> frozenset[str]:
        """The names of what is below it; none where nothing is there. Raises Denied, Unavailable."""
        return frozenset(self._calls.list(address, address))

    def put(self, address: str, body: Mapping[str, Any]) -> None:
        """Make it, or change it. Raises Denied, and Invalid for what the hub refuses."""
        try:
            self._calls.post("set up", address, address, body)
        except Invalid as error:
            hint = "See the hub's own log for what it objects to: what it can't reach from where it is, it refuses too"
            raise Invalid(error.doing, error.name, "the hub refuses it", hint) from None

    def remove(self, address: str) -> None:
        """Take it away. Absent is success."""
        self._calls.delete("remove", address, address)

    def begin(self, entry: str, initial: str) -> None:
        """The first key of fingerprints, or the name of the hub's ledger. Whoever comes first writes it."""
        if entry == FIRST_KEY:
            self._hub.fingerprint_keys()
        else:
            claim_name(self._hub, initial)

    def role_id(self, role: str) -> str:
        """The role id of an AppRole. Raises NotFound."""
        try:
            answer = self._calls.get("read", f"the AppRole {role}", f"{APPROLE}/{role}/role-id")
        except NotFound:
            hint = "Declare it in the catalogue's hub section, then run `keyturn hub apply`"
            raise NotFound("read", f"the AppRole {role}", "the hub has none of that name", hint) from None
        return str(answer.json()["data"]["role_id"])

    def make_secret_id(self, role: str, place: str) -> Sensitive:
        """A new secret id, which is for one place alone: that place ends it. Raises NotFound."""
        answer = self._calls.post("make a secret id of", f"the AppRole {role}", *_secret_id(role, place))
        return Sensitive(answer.json()["data"]["secret_id"])

    def make_wrapped_secret_id(self, role: str, place: str, ttl: timedelta) -> Sensitive:
        """What such a secret id is unwrapped with, once, within ``ttl``: nobody here sees it."""
        wrap = f"{int(ttl.total_seconds())}s"
        name = f"the AppRole {role}"
        answer = self._calls.post("make a secret id of", name, *_secret_id(role, place), wrap_ttl=wrap)
        return Sensitive(answer.json()["wrap_info"]["token"])

    def read_state(self, path: str) -> State | None:
        """An entry of Keyturn's own mount."""
        return self._hub.read_state(path)

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """Write such an entry. Raises Conflict when ``cas`` is not the newest."""
        return self._hub.write_state(path, data, cas=cas)


def _secret_id(role: str, place: str) -> tuple[str, dict[str, str]]:
    return f"{APPROLE}/{role}/secret-id", {"metadata": json.dumps({PLACE: place})}
