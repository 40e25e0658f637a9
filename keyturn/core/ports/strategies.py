"""The ports of strategies and of targets with accounts.

Modelled on the Vault database plugin (few verbs, extensible requests, absent is success).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.connections import Connection

EXPIRES_AT = "expires_at"
"""Candidate field with its expiry, RFC 3339, read by the schedule."""
TOKEN_ACCESSOR = "token_accessor"
"""Field with the accessor of the token that requested a lease, to end both; may be empty."""
SHADOW: Final = "kt_rehearsal_"
"""The beginning of the name of each throw-away credential; nothing with another name is removed with one."""
NO_CREDENTIAL: Final = frozenset({EXPIRES_AT, TOKEN_ACCESSOR})
"""Fields that grant no access: versions that differ only here hold the same credential."""


@dataclass(frozen=True)
class Change:
    """One rotation attempt.

    ``candidate`` holds only changed fields; ``current`` is None before the first version. ``sequence`` fences writes:
    the target refuses an older number.
    """

    path: str
    sequence: int
    candidate: SecretFields
    current: SecretFields | None


@dataclass(frozen=True)
class RevokeResult:
    """The result of a revocation: ``sessions`` ended, and what ``outlives`` it.

    ``outlives`` describes for people what can't be ended, and how long it works.
    """

    sessions: int = 0
    outlives: tuple[str, ...] = ()


class Strategy(Protocol):
    """How one kind of credential is replaced. Every method is repeatable after a crash.

    Optional methods: see :func:`keyturn.core.rights.capabilities.capability`.
    """

    mints_at_target: bool
    """Whether :meth:`mint` creates something externally, so the intent is saved first."""
    overlaps: bool
    """Whether the old credential works until it is retired."""

    @property
    def credential_fields(self) -> Collection[str]:
        """The candidate's field names; other fields stay."""

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        """Refuse before any change: another target's or account's credential, or an exhausted quota.

        Called without ``candidate`` before minting, with it before installation.
        """

    def mint(self, current: SecretFields | None) -> SecretFields:
        """Create the candidate: only the changed fields."""

    def install(self, change: Change) -> None:
        """Make the target accept the candidate. Raises Superseded after a newer rotation."""

    def verify(self, change: Change) -> None:
        """Log in with the candidate on a new connection and compare its rights with the old one's.

        Raises CandidateRejected if refused.
        """

    def abandon(self, change: Change) -> None:
        """Remove an abandoned candidate from the target; CURRENT works afterwards."""

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        """Names (never values) with which :meth:`retire` ends this credential later."""

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        """Evidence for people that the old credential is in use; ``since`` is its promotion."""

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """End the old credential at the target. Absent is success."""

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """End this version's credential and sessions immediately, even if in use.

        Works for CURRENT too. Absent is success, and so is a version without a credential. Does nothing without a
        target. ``sequence`` fences it: raises Superseded, without change, if a newer rotation wrote the account. Only
        installing another candidate puts the account in force again.
        """

    def last_sequence(self, credentials: Sequence[SecretFields] = ()) -> int:
        """The highest sequence at the target for the secret's accounts and those in ``credentials``; 0 if none.

        The next operation needs a greater one.
        """

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterable[str]:
        """Names (never values) of everything that may grant access for this secret, except ``spared``.

        Searches by location, not by recorded versions, and changes nothing. Names before an error are still ended.
        Raises UnsupportedOperation, with the reason, without a target or if it can't distinguish credentials.
        """

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        """End immediately, like :meth:`revoke`, what :meth:`find_everything` named. Absent is success.

        The name or ``sequence`` protects anything put in force since.
        """

    def accepts(self, credential: SecretFields) -> bool | None:
        """Whether the target accepts this credential, tried as its holder would.

        None without a target or login. Raises TransientError without an answer.
        """


class RemovesOrphans(Protocol):
    """Capability: a failed mint may leave something at the target."""

    def existing_ids(self) -> Sequence[str]:
        """Names of existing items at the target, saved before minting."""

    def remove_orphans(self, before: Sequence[str], credentials: Sequence[SecretFields]) -> None:
        """Remove what a mint that died before saving its candidate left at the target.

        Spares ``before`` and ``credentials``.
        """


class RollsBack(Protocol):
    """Capability: rollback does more than leave both credentials in force.

    Without it, nothing is done for overlapping credentials; otherwise the candidate is abandoned.
    """

    def rollback(self, change: Change) -> None:
        """Undo a promotion: ``change.current`` works permanently again.

        Both work afterwards if both can be in force.
        """


class AdjustsFields(Protocol):
    """Capability: the secret also describes older credentials in force."""

    def cleanup_fields(self, current: SecretFields) -> SecretFields | None:
        """CURRENT's fields to change after the old credential ended; None if none."""

    def rollback_fields(self, before: SecretFields, promoted: SecretFields) -> Mapping[str, Sensitive]:
        """Fields of ``before`` to change when it is restored while ``promoted`` still works."""


class TellsRevoked(Protocol):
    """Capability: detects a revoked credential without a login."""

    def revocation(self, credential: SecretFields) -> str:
        """Return what is revoked; empty if nothing or unknown. Raises if the check fails."""


class AsksForRenewal(Protocol):
    """Capability: the issuer suggests when to replace the credential."""

    def renewal(self, credential: SecretFields) -> datetime | None:
        """The suggested start, or None. Raises if the query fails."""


class Renews(Protocol):
    """Capability: the credential expires unless renewed."""

    def renew(self, credential_id: Mapping[str, str]) -> None:
        """Renew a credential that expires before its replacement. Called every few minutes."""


Sessions = Callable[[], int]
"""Counts the open sessions of an account."""


@dataclass(frozen=True)
class Shadow:
    """A throw-away credential next to a secret's own, to rehearse its end.

    ``strategy`` never touches the secret's own credential. ``clear`` ends and removes everything of the shadow's name;
    absent is success. ``hold`` opens a session with the credential and gives what counts such sessions, None where it
    can't. ``needs_fields``: the secret's other fields are needed to create one.
    """

    strategy: Strategy
    clear: Callable[[], None]
    hold: Callable[[SecretFields], AbstractContextManager[Sessions | None]] | None = None
    needs_fields: bool = False


class MakesShadows(Protocol):
    """Capability: can create a throw-away credential of the same kind at the same target."""

    def shadow(self, name: str) -> Shadow:
        """The throw-away credential of this name, which begins with SHADOW; changes nothing.

        Raises UnsupportedOperation, with the reason, if what a killed rehearsal left could not be found again.
        """


class AccountTarget(Protocol):
    """A system with accounts and passwords. Errors are named ``{target}:{account}``."""

    name: str

    def set_password(
        self,
        account: str,
        password: Sensitive,
        *,
        sequence: int,
        like: str | None = None,
        member_of: str | None = None,
        keep_old: bool = False,
    ) -> None:
        """Set the password and record ``sequence``, in one transaction or under one lock.

        An absent account gets the memberships of ``like``. With ``member_of`` it acts as that role, which owns what it
        creates. With ``keep_old`` the previous password works until :meth:`discard_old`. Raises Superseded after a
        higher sequence, UnsupportedOperation if two passwords are impossible.
        """

    def discard_old(self, account: str, *, sequence: int) -> None:
        """Refuse the password kept by ``keep_old``. Absent is success. Raises Superseded like set_password."""

    def last_sequence(self, accounts: Collection[str]) -> int:
        """The highest recorded sequence of these accounts; 0 if there is none."""

    def check_login(self, account: str, password: Sensitive, *, like: str | None = None) -> None:
        """Log in on a new connection (10 s) and compare privileges with those of ``like``.

        Raises CandidateRejected for a refused password or missing privilege.
        """

    def read_connection(self, text: Sensitive) -> Connection | None:
        """The login in a connection string for this server and database, or None."""

    def accepts(self, account: str, password: Sensitive) -> bool:
        """Whether ``account`` can log in on a new connection, whatever its rights.

        Raises TransientError without an answer.
        """

    def lets_in(self, account: str) -> bool:
        """Whether any password can open ``account``; False if absent."""

    def sessions(self, account: str) -> int:
        """The number of open sessions of ``account``."""

    def disable(self, account: str, *, sequence: int) -> None:
        """Refuse all logins. Absent is success. Raises Superseded like set_password."""

    def revoke(self, account: str, *, sequence: int) -> int:
        """Refuse all logins, remove passwords, end sessions and return their number.

        The account and its objects stay. Absent is success. Raises Superseded like set_password, and Denied, after
        logins are refused, if the admin may not end sessions.
        """

    def end_sessions(self, account: str, refuse: Callable[[], None]) -> int:
        """Call ``refuse`` to block or remove the account, then end its sessions and return their number.

        Includes sessions that were logging in meanwhile. Absent is success. Raises Denied, after ``refuse``, if the
        admin may not end sessions.
        """

    def close(self) -> None:
        """Release connections."""


class DropsShadows(Protocol):
    """Capability: removes accounts of rehearsals, and holds a session with one."""

    def drop_shadow(self, account: str) -> None:
        """Remove the account. Absent is success. Raises Invalid for a name without SHADOW."""

    def hold_session(self, account: str, password: Sensitive) -> AbstractContextManager[Sessions | None]:
        """A session that stays open, and what counts the account's sessions; None if it may not open one."""


class LeavesSessions(Protocol):
    """Capability: sessions of an account outlive its revocation."""

    def left_open(self, account: str) -> str:
        """Which sessions outlive it, for people; empty if none."""


class TellsGrants(Protocol):
    """Capability: reports its admin's rights."""

    def missing_grants(self, accounts: Collection[str]) -> Sequence[str]:
        """Statements that grant the admin's missing rights; empty if none.

        Logs in as the admin and changes nothing. ``accounts`` may not exist yet. Raises Denied, Unavailable.
        """


class Reachable(Protocol):
    """Capability: can be tried without any account."""

    def reach(self) -> None:
        """Connect, and sign in where there is a login to try. Changes nothing. Raises Denied, Invalid, Unavailable."""


class ReadsConnections(Protocol):
    """Capability: the credential is a login that copies may hold as a connection string."""

    def read_connection(self, text: Sensitive) -> Connection | None:
        """The login in ``text``, parsed as clients do; None if not for this target."""

    def check_connection(self, connection: Connection) -> None:
        """Log in with it on a new connection. Raises CandidateRejected if refused."""
