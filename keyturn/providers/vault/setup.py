"""The calls that set a hub up; most need an administrator's login."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Protocol

from hvac.exceptions import VaultError

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Taken
from keyturn.core.fingerprint_keys import FIRST_KEY
from keyturn.core.ports.hub import Hub, State
from keyturn.core.rights.hub_setup import NAMESPACES
from keyturn.core.rights.rights import holds
from keyturn.core.sensitive import Sensitive
from keyturn.ledger.naming import LedgerPlace, claim_name
from keyturn.providers.answers import reads_answers
from keyturn.providers.connection_errors import find_cause
from keyturn.providers.vault.capabilities import capabilities_at
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.own_login import PLACE
from keyturn.settings.hub import HubSettings

LONGEST_WORDS: Final = 400
USER_INFO: Final = re.compile(r"//[^/@\s]*@")
APPROLE: Final = "auth/approle/role"


@reads_answers("the hub")
class ConfiguredHub(Hub, Protocol):
    """A hub with known settings."""

    settings: HubSettings


class VaultSetup:
    """A :class:`keyturn.rights.hub_apply.HubPort` over a hub's connections."""

    def __init__(self, calls: Calls, hub: ConfiguredHub) -> None:
        self._calls = calls
        self._hub = hub
        self._lacking = False
        """Whether the namespace is known to be absent."""

    def look(self, address: str) -> Mapping[str, Any] | None:
        if address.startswith(NAMESPACES):
            return self._own_namespace()
        if self._lacking:
            return None
        answer = self._calls.find("look at", address, address)
        return None if answer is None else dict(answer.json()["data"] or {})

    def names(self, address: str) -> frozenset[str]:
        return frozenset() if self._lacking else frozenset(self._calls.list(address, address))

    def put(self, address: str, body: Mapping[str, Any], hidden: Collection[str] = ()) -> None:
        """Raises Denied, and Invalid with the hub's reason for a refusal, without the secrets in ``hidden``."""
        if address.startswith(NAMESPACES):
            self._make_namespace()
            return
        try:
            self._calls.post("set up", address, address, body)
        except Invalid as error:
            reason = hubs_words(error, hidden)
            hint = "Correct what it objects to; what it can't reach from where it is, it refuses too"
            raise Invalid(error.doing, error.name, f"the hub refuses it{reason and f': {reason}'}", hint) from None

    def remove(self, address: str) -> None:
        self._calls.delete("remove", address, address)

    def insist_on_making_namespace(self) -> None:
        with self._above() as (calls, name, address):
            try:
                rights = capabilities_at(calls, [address])[address]
            except Denied:
                raise _not_from_here(name) from None
            if not any(holds(rights, capability) for capability in ("create", "update")):
                raise _not_from_here(name)

    def _own_namespace(self) -> Mapping[str, Any] | None:
        self._lacking = not self._calls.has_namespace()
        return None if self._lacking else {}

    def _make_namespace(self) -> None:
        with self._above() as (calls, name, address):
            try:
                calls.post("make", name, address, {})
            except Denied:
                raise _not_from_here(name) from None
            except Taken as error:
                raise Taken(error.doing, name, "a mount above it has this name", "Give one of both another") from None
            except (NotFound, Invalid):
                hint = (
                    "Vault has namespaces in its Enterprise edition, OpenBao since 2.3; the one above has to be there"
                )
                raise Invalid("make", name, "the hub makes no namespace there", hint) from None
        self._lacking = False

    @contextmanager
    def _above(self) -> Iterator[tuple[Calls, str, str]]:
        path = (self._hub.settings.namespace or "").strip("/")
        above, _, last = path.rpartition("/")
        with closing(Calls(replace(self._hub.settings, namespace=above or None))) as calls:
            yield calls, f"the namespace {path}", f"{NAMESPACES}{last}"

    def begin(self, entry: str, initial: str) -> None:
        if entry == FIRST_KEY:
            self._hub.fingerprint_keys()
        else:
            origin, _, address = initial.partition(" ")
            claim_name(self._hub, origin, LedgerPlace(address))

    def role_id(self, role: str) -> str:
        try:
            answer = self._calls.get("read", f"the AppRole {role}", f"{APPROLE}/{role}/role-id")
        except NotFound:
            hint = "Declare it in the catalogue's hub section, then run `keyturn setup hub --apply`"
            raise NotFound("read", f"the AppRole {role}", "the hub has none of that name", hint) from None
        return str(answer.json()["data"]["role_id"])

    def make_secret_id(self, role: str, place: str) -> Sensitive:
        """A new secret id for one place."""
        answer = self._calls.post("make a secret id of", f"the AppRole {role}", *_secret_id(role, place))
        return Sensitive(answer.json()["data"]["secret_id"])

    def knows_secret_id(self, role: str, secret_id: Sensitive) -> bool:
        body = {"secret_id": secret_id.reveal()}
        answer = self._calls.post(
            "look up a secret id of", f"the AppRole {role}", f"{APPROLE}/{role}/secret-id/lookup", body
        )
        return bool(answer.content)

    def make_wrapped_secret_id(self, role: str, place: str, ttl: timedelta) -> Sensitive:
        """Keyturn never sees the wrapped secret id."""
        wrap = f"{int(ttl.total_seconds())}s"
        name = f"the AppRole {role}"
        answer = self._calls.post("make a secret id of", name, *_secret_id(role, place), wrap_ttl=wrap)
        return Sensitive(answer.json()["wrap_info"]["token"])

    def read_state(self, path: str) -> State | None:
        return None if self._lacking else self._hub.read_state(path)

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        return self._hub.write_state(path, data, cas=cas)


def hubs_words(error: KeyturnError, hidden: Collection[str]) -> str:
    """The hub's own error text on one line, without ``hidden`` secrets."""
    refusal = find_cause(error, VaultError)
    errors = refusal.errors if refusal is not None else None
    text = "; ".join(map(str, errors)) if isinstance(errors, list) else str(errors or "")
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = USER_INFO.sub("//***@", re.sub(r"[^ -~]+", " ", " ".join(text.split())))
    return text if len(text) <= LONGEST_WORDS else f"{text[:LONGEST_WORDS]}..."


def _not_from_here(name: str) -> Denied:
    hint = (
        "Have an administrator of the parent namespace make it (`bao namespace "
        "create`), or use a login of the parent that may write sys/namespaces"
    )
    return Denied("make", name, "the hub has none of that name, and this login may not make it", hint)


def _secret_id(role: str, place: str) -> tuple[str, dict[str, str]]:
    return f"{APPROLE}/{role}/secret-id", {"metadata": json.dumps({PLACE: place})}
