"""The port for temporary access: login facts, and credentials that open once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from keyturn.core.sensitive import SecretFields, Sensitive

WRAP: Final = "sys/wrapping/wrap"
"""The hub's wrapping path, which a wrapping token reports as its origin."""

GRANT_TOKEN_ROLE: Final = "keyturn-grant"
"""The default role of the tokens that request credentials: auth/token/roles."""


@dataclass(frozen=True)
class LoginFacts:
    """The hub's facts about a login. ``networks`` is empty if unbound.

    ``path`` is such as ``auth/oidc/oidc/callback``. For a token created by another token, ``made_at`` is None and
    ``metadata`` empty, since the creator chose them. ``accessor`` names the login and is not secret. ``principal`` is
    the holder in the hub's audit log, for people.
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
        """The login path from the root namespace: ``red/auth/oidc/oidc/callback``."""
        return f"{self.namespace}{self.path}"


@dataclass(frozen=True)
class WrappedCredential:
    """An unread credential: only the first to open ``token`` gets it.

    It ends with the requesting token, ``accessor``. ``wrapping`` identifies the wrapping token.
    """

    token: Sensitive
    accessor: str
    wrapping: str
    wrapped_at: str = ""
    """The wrapping time by the hub, which a process that wraps it again can't choose."""


@dataclass(frozen=True)
class OpenedCredential:
    """A credential and its remaining life."""

    fields: SecretFields
    lease_id: str
    ttl: timedelta


class AccountMaker(Protocol):
    """Creates and ends accounts at one target, one per grant. Serves many threads.

    Each has a mark with grant and owner; unmarked accounts are never touched.
    """

    def make(self, account: str, grant: str, password: Sensitive, life: timedelta) -> None:
        """Create an account whose logins the target refuses after ``life``.

        Raises Conflict if the name exists.
        """

    def end(self, account: str, grant: str) -> int:
        """Refuse its logins, end its sessions, drop it, and return the number of sessions. Absent is success.

        Raises Denied if not created for this grant.
        """

    def own(self) -> Mapping[str, str]:
        """The existing accounts created for grants, with their grants."""

    def missing_rights(self) -> Sequence[str]:
        """Statements that grant missing rights for creating and ending accounts.

        Logs in as the admin and changes nothing. Raises Denied, Unavailable.
        """

    def close(self) -> None:
        """Release connections."""


class GrantsPort(Protocol):
    """The hub's reports and operations for access requests. Serves many threads."""

    def own_login(self) -> LoginFacts:
        """The facts of the login in use. Raises Denied."""

    def login_of(self, accessor: str) -> LoginFacts | None:
        """The facts of another live login; None if ended. Raises Denied."""

    def groups_of(self, entity: str) -> frozenset[str] | None:
        """Ids of all direct and indirect groups of an entity.

        None if removed or disabled. Raises Denied.
        """

    def issue_wrapped(self, credential: str, owner: str, life: timedelta) -> WrappedCredential:
        """Issue an unread credential at ``credential`` that expires after ``life``.

        The requesting token records ``owner``. Raises NotFound and Denied, and then leaves nothing.
        """

    def server_of(self, credential: str) -> str:
        """The server of the role at ``credential`` as HOST:PORT/DATABASE.

        Raises NotFound and Denied.
        """

    def wrap(self, fields: SecretFields, life: timedelta) -> WrappedCredential:
        """Wrap local fields to open once within ``life``, without a requesting token."""

    def tokens(self, owner: str) -> list[str]:
        """The accessors of live tokens created for this ``owner``."""

    def lives(self, owner: str, accessor: str) -> bool:
        """Whether a token created for this ``owner`` is live."""

    def unfinished(self, credential: str) -> list[str]:
        """Expired leases at ``credential`` whose accounts still exist.

        Raises Denied.
        """

    def end_tokens(self, owner: str) -> None:
        """End all tokens of ``owner`` with their credentials. Absent is success."""

    def end_token(self, owner: str, accessor: str) -> None:
        """End such a token with its credential. Absent is success."""

    def is_wrapped(self, wrapping: str) -> bool:
        """Whether it is unopened and has not expired."""

    def made_at_path(self, token: Sensitive) -> str | None:
        """The path whose answer ``token`` wraps; None if it opens nothing."""

    def wrapped_at(self, token: Sensitive) -> str:
        """Return when the content of ``token`` was wrapped; empty if it opens nothing."""

    def open_wrapped(self, token: Sensitive, name: str) -> OpenedCredential | None:
        """Open it once; None if opened before or expired. ``name`` appears in errors."""
