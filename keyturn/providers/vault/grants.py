"""The hub's part in temporary access.

Source: "Tokens", "Identity: entity", "/sys/wrapping" and "Response wrapping" in the documentation of Vault and OpenBao.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.core.ports.grants import WRAP, LoginFacts, OpenedCredential, WrappedCredential
from keyturn.core.rights.rights import holds
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.capabilities import capabilities_at
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.engines.database import answer_data
from keyturn.providers.vault.engines.issued_tokens import THREADS, IssuedTokens
from keyturn.providers.vault.engines.leases import leases_below
from keyturn.providers.vault.identity import MADE, identity_of

WRAP_TTL: Final = "X-Vault-Wrap-TTL"
LOOK_UP: Final = "auth/token/lookup-accessor"


@reads_answers("the hub")
class VaultGrants:
    """A :class:`keyturn.core.ports.grants.GrantsPort`."""

    def __init__(self, calls: Calls, tokens: IssuedTokens) -> None:
        self._calls = calls
        self._tokens = tokens

    def own_login(self) -> LoginFacts:
        return login_facts(answer_data(self._calls.get("ask for", "the login", "auth/token/lookup-self")))

    def login_of(self, accessor: str) -> LoginFacts | None:
        token = self._find_token(accessor)
        return login_facts(token) if token else None

    def groups_of(self, entity: str) -> frozenset[str] | None:
        about = self._calls.data("read", "the requester's groups", f"identity/entity/id/{entity}")
        return None if about is None or about["disabled"] else frozenset(map(str, about["group_ids"] or ()))

    def issue_wrapped(self, credential: str, owner: str, life: timedelta) -> WrappedCredential:
        """The hub wraps the credential unseen."""
        seconds = f"{int(life.total_seconds())}s"
        asking = self._tokens.make(owner, ttl=seconds, explicit_max_ttl=seconds, renewable=False)
        try:
            answer = self._calls.get("issue", credential, credential, token=asking.token, headers={WRAP_TTL: seconds})
            wrapped = answer.json()["wrap_info"]
            return WrappedCredential(Sensitive(wrapped["token"]), asking.accessor, str(wrapped["accessor"]))
        except KeyturnError:
            self._tokens.give_back(owner, asking)
            raise

    def server_of(self, credential: str) -> str:
        mount, _, role = credential.rpartition("/creds/")
        name = f"{mount}/roles/{role}"
        connection = f"{mount}/config/{answer_data(self._calls.get('read', name, name))['db_name']}"
        details = answer_data(self._calls.get("read", connection, connection))["connection_details"]
        place = str(details["connection_url"]).rpartition("@")[2].partition("?")[0]
        return place.removeprefix("tcp(").replace(")/", "/")

    def wrap(self, fields: SecretFields, life: timedelta) -> WrappedCredential:
        seconds = f"{int(life.total_seconds())}s"
        answer = self._calls.post("wrap", "a credential", WRAP, fields.reveal(), headers={WRAP_TTL: seconds})
        wrapped = answer.json()["wrap_info"]
        token, accessor = Sensitive(wrapped["token"]), str(wrapped["accessor"])
        return WrappedCredential(token, "", accessor, moment(wrapped["creation_time"]))

    def tokens(self, owner: str) -> list[str]:
        return self._tokens.of(owner)

    def lives(self, owner: str, accessor: str) -> bool:
        return self._tokens.lives(owner, accessor)

    def unfinished(self, credential: str) -> list[str]:
        """The end of a token expires its leases at once; the hub ends their credentials afterwards."""
        leases = leases_below(self._calls, credential)
        with ThreadPoolExecutor(THREADS) as pool:
            over = pool.map(self._is_over, leases)
        return [lease for lease, is_over in zip(leases, over, strict=True) if is_over]

    def end_tokens(self, owner: str) -> None:
        self._tokens.end_all(owner)

    def end_token(self, owner: str, accessor: str) -> None:
        self._tokens.end(owner, accessor)

    def is_wrapped(self, wrapping: str) -> bool:
        """The hub still reports a used token for a moment."""
        token = self._find_token(wrapping)
        return token is not None and int(token["num_uses"]) > 0

    def made_at_path(self, token: Sensitive) -> str | None:
        """The path whose answer is wrapped, which no other author of a wrap can choose."""
        wrapped = self._wrapped(token)
        return None if wrapped is None else str(wrapped["creation_path"])

    def wrapped_at(self, token: Sensitive) -> str:
        wrapped = self._wrapped(token)
        return "" if wrapped is None else moment(wrapped["creation_time"])

    def open_wrapped(self, token: Sensitive, name: str) -> OpenedCredential | None:
        try:
            answer = self._calls.post("open", name, "sys/wrapping/unwrap", {}, token=token.reveal()).json()
        except (Invalid, NotFound):
            return None
        ttl = timedelta(seconds=float(answer["lease_duration"]))
        return OpenedCredential(SecretFields(answer["data"]), str(answer["lease_id"]), ttl)

    def _wrapped(self, token: Sensitive) -> Mapping[str, Any] | None:
        try:
            body = {"token": token.reveal()}
            answer = self._calls.post("look at", "a wrapping token", "sys/wrapping/lookup", body)
        except (Invalid, NotFound):
            return None
        return answer_data(answer)

    def _find_token(self, accessor: str) -> Mapping[str, Any] | None:
        """The hub's facts of a token; None if it has ended.

        A hub that stops while it creates or ends a token may keep the accessor without a usable token. It answers 403
        until `auth/token/tidy` runs, as it does without the right. So the right is checked before and after.
        """
        try:
            return self._look_up(accessor)
        except Denied:
            held_before = self._may_look_up()
        try:
            return self._look_up(accessor)
        except Denied:
            if held_before and self._may_look_up():
                return None
            raise

    def _may_look_up(self) -> bool:
        return holds(capabilities_at(self._calls, [LOOK_UP])[LOOK_UP], "update")

    def _look_up(self, accessor: str) -> Mapping[str, Any] | None:
        try:
            body = {"accessor": accessor}
            return answer_data(self._calls.post("look up", f"the token {accessor}", LOOK_UP, body))
        except (NotFound, Invalid):
            return None

    def _is_over(self, lease: str) -> bool:
        try:
            answer = self._calls.post("look up", lease, "sys/leases/lookup", {"lease_id": lease})
        except (NotFound, Invalid):
            return False
        return int(answer_data(answer)["ttl"]) <= 0


def moment(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds")


def login_facts(token: Mapping[str, Any]) -> LoginFacts:
    """A token made by another token has no metadata and age here: its maker chooses them."""
    path = str(token["path"] or "")
    entity, networks = str(token.get("entity_id") or ""), networks_of(token)
    identity = identity_of(token)
    if path.startswith(MADE) or not path.startswith("auth/"):
        return LoginFacts(path, entity, None, networks, accessor=identity.accessor, principal=identity.name)
    made_at = datetime.fromtimestamp(int(token["creation_time"]), UTC)
    metadata = {str(name): str(value) for name, value in (token.get("meta") or {}).items()}
    return LoginFacts(path, entity, made_at, networks, metadata, identity.accessor, identity.name, identity.namespace)


def networks_of(token: Mapping[str, Any]) -> tuple[str, ...]:
    """Raises ValueError for anything but a list of texts."""
    networks = token.get("bound_cidrs") or ()
    if not isinstance(networks, list | tuple) or not all(isinstance(network, str) for network in networks):
        raise ValueError("bound_cidrs")
    return tuple(networks)
