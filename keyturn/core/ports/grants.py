"""The port of what access for a while needs of the hub: whose a login is, and credentials that open once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from keyturn.core.sensitive import SecretFields, Sensitive

WRAP: Final = "sys/wrapping/wrap"
"""Where the hub wraps what it is given: the path that such a wrapping tells."""

GRANT_TOKEN_ROLE: Final = "keyturn-grant"
"""The role of the tokens that ask for credentials, by default: auth/token/roles."""


@dataclass(frozen=True)
class LoginFacts:
    """What the hub tells of a login. ``networks`` are those that it is bound to; none where it is bound to none.

    ``path`` is where it was made, such as ``auth/oidc/oidc/callback``. ``made_at`` is None, and ``metadata`` empty,
    where whoever made the login chose them: a token that another token has made. ``accessor`` names it and is no
    secret; ``principal`` is what the hub's audit log calls who has it, for people.
    """

    path: str
    entity: str
    made_at: datetime | None
    networks: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    accessor: str = ""
    principal: str = ""
    namespace: str = ""

    @property
    def login(self) -> str:
        """Where the login was made, from the hub's root namespace on: ``red/auth/oidc/oidc/callback``."""
        return f"{self.namespace}{self.path}"


@dataclass(frozen=True)
class WrappedCredential:
    """A credential that nobody has seen yet: whoever opens ``token`` first has it, and nobody after them.

    ``accessor`` names the token that asked for it: the credential ends with that. ``wrapping`` names what opens it.
    """

    token: Sensitive
    accessor: str
    wrapping: str
    wrapped_at: str = ""
    """When it was wrapped, as the hub tells it: whoever wraps it anew can't choose that."""


@dataclass(frozen=True)
class OpenedCredential:
    """A credential, and for how long it lasts from now on."""

    fields: SecretFields
    lease_id: str
    ttl: timedelta


class AccountMaker(Protocol):
    """Makes accounts at one target for one grant each, and ends them. Serves many threads.

    Each bears a mark that tells its grant and whose it is; what bears none is never touched.
    """

    def make(self, account: str, grant: str, password: Sensitive, life: timedelta) -> None:
        """Make an account whose logins the target itself refuses once ``life`` is over.

        Raises Conflict where there is one of that name.
        """

    def end(self, account: str, grant: str) -> int:
        """Refuse its logins, end its sessions and drop it: how many sessions ended. Absent is success.

        Raises Denied for one that was not made for this grant.
        """

    def own(self) -> Mapping[str, str]:
        """The accounts that were made so and are there still, with their grants."""

    def missing_rights(self) -> Sequence[str]:
        """Statements for an administrator there, without which making and ending accounts fails.

        It logs in as the admin and changes nothing. Raises Denied, Unavailable.
        """

    def close(self) -> None:
        """Let go of connections."""


class GrantsPort(Protocol):
    """What the hub tells about whoever asks for access, and does for them. Serves many threads."""

    def own_login(self) -> LoginFacts:
        """Of the login in use. Raises Denied where it may not ask."""

    def login_of(self, accessor: str) -> LoginFacts | None:
        """Of another login that lives, by its accessor; None where it has ended. Raises Denied."""

    def groups_of(self, entity: str) -> frozenset[str] | None:
        """The ids of all groups that an entity is in, also by way of other groups.

        None for an entity that is gone or disabled. Raises Denied where this login may not see it.
        """

    def issue_wrapped(self, credential: str, owner: str, life: timedelta) -> WrappedCredential:
        """A new credential of the engine at ``credential``, seen by nobody, that ends after ``life`` by itself.

        The token that asks for it tells ``owner``. Raises NotFound and Denied, and then leaves nothing behind.
        """

    def server_of(self, credential: str) -> str:
        """The server that the engine's role at ``credential`` makes accounts at, as HOST:PORT/DATABASE.

        Raises NotFound and Denied.
        """

    def wrap(self, fields: SecretFields, life: timedelta) -> WrappedCredential:
        """What this process has made, so that it opens once within ``life``; no token has asked for it."""

    def tokens(self, owner: str) -> list[str]:
        """The accessors of the tokens that were made so for this ``owner``, and live."""

    def lives(self, owner: str, accessor: str) -> bool:
        """Whether a token that was made so for this ``owner`` lives."""

    def unfinished(self, credential: str) -> list[str]:
        """The leases of the engine at ``credential`` whose time is up, and whose accounts the hub has not ended yet.

        Raises Denied where this login may not look at them: then nobody can tell.
        """

    def end_tokens(self, owner: str) -> None:
        """End all of them, and their credentials with them. Absent is success."""

    def end_token(self, owner: str, accessor: str) -> None:
        """End such a token, and its credential with it. Absent is success."""

    def is_wrapped(self, wrapping: str) -> bool:
        """Whether nobody has opened it yet, and it has not ended."""

    def made_at_path(self, token: Sensitive) -> str | None:
        """The path that the hub has answered with what ``token`` opens; None where it opens nothing any more."""

    def wrapped_at(self, token: Sensitive) -> str:
        """When what ``token`` opens was wrapped, as the hub tells it; empty where it opens nothing any more."""

    def open_wrapped(self, token: Sensitive, name: str) -> OpenedCredential | None:
        """What it opens, once; None where it was opened before, or has ended. ``name`` stands in errors."""
