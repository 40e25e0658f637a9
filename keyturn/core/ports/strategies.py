"""The port that every strategy fills, and the port of the targets that hold accounts.

The shape follows the Vault database plugin (few verbs, requests that can grow, absent is success).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.connections import Connection

EXPIRES_AT = "expires_at"
"""The field of a candidate that says when it ends by itself, RFC 3339; the schedule knows it from there."""
TOKEN_ACCESSOR = "token_accessor"
"""The field that names the hub's token which asked for a lease, so that it is ended with it; it may be empty."""
NO_CREDENTIAL: Final = frozenset({EXPIRES_AT, TOKEN_ACCESSOR})
"""The fields of a candidate that let nobody in: two versions may differ in them, and hold the same credential."""


@dataclass(frozen=True)
class Change:
    """One rotation attempt as a strategy sees it.

    ``candidate`` holds only the fields that change; ``current`` is what consumers read now (None for a
    secret's first version). ``sequence`` fences writes at the target: an older number is refused.
    """

    path: str
    sequence: int
    candidate: SecretFields
    current: SecretFields | None


@dataclass(frozen=True)
class RevokeResult:
    """What ending a credential at once has done: how many ``sessions`` ended with it, and what ``outlives`` it.

    ``outlives`` tells in words for people what was given out on the credential and can't be ended, and how long it
    works.
    """

    sessions: int = 0
    outlives: tuple[str, ...] = ()


class Strategy(Protocol):
    """How one kind of credential is replaced. Every verb may be called again after a crash.

    What few of them need is a capability, which :func:`keyturn.core.rights.capabilities.capability` asks for.
    """

    mints_at_target: bool
    """Whether :meth:`mint` itself makes something outside, so that the intent is saved first."""
    overlaps: bool
    """Whether the old credential works beside the new one until it is retired."""

    @property
    def credential_fields(self) -> Collection[str]:
        """The names of the fields that a candidate holds, and so of the credential; all others stay as they are."""

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        """Refuse before anything changes: another target's or account's credential, a quota that is used up.

        Asked without ``candidate`` before one is made, and with it before it is installed.
        """

    def mint(self, current: SecretFields | None) -> SecretFields:
        """Make the candidate: only the fields that change."""

    def install(self, change: Change) -> None:
        """Make the target accept the candidate. Raises Superseded when a newer rotation was there."""

    def verify(self, change: Change) -> None:
        """Log in with the candidate on a new connection, and check it may do what the old one may.

        Raises CandidateRejected when the target refuses it.
        """

    def abandon(self, change: Change) -> None:
        """Take back what was installed for a candidate that is given up; CURRENT works afterwards."""

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        """The names (never values) by which :meth:`retire` can end this credential later."""

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        """What shows that the old credential is used still, in words for people; ``since`` is its promotion."""

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """End the old credential at the target. Absent is success."""

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """End this version's credential at the target at once, and its sessions with it, whoever uses it still.

        It is asked in an emergency, of CURRENT too, and whatever else is in force: nothing waits. Absent is success,
        and so is a version that names no credential. ``sequence`` fences it like an install: an account that a newer
        rotation has written since is left alone, and Superseded is raised. Nothing puts it in force again but an
        install of another candidate. Where there is no target it does nothing.
        """

    def last_sequence(self, credentials: Sequence[SecretFields] = ()) -> int:
        """The highest number that the target keeps of the secret's accounts, and of those that ``credentials`` name.

        What is done next there has to bear a greater one. 0 where the target keeps none.
        """

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterable[str]:
        """Names (never values) of all that may let anybody in at the target for this secret, but what ``spared`` holds.

        It is found by its place there, whether or not any version tells of it; nothing is changed. What was given
        before an error is ended all the same. Raises UnsupportedOperation, whose problem says why, where nobody can
        tell: there is no target, or the target does not tell this secret's credentials from others.
        """

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        """End at once, like :meth:`revoke`, what :meth:`find_everything` has named. Absent is success.

        A late call ends nothing that was put in force since: by its name, or by ``sequence``, which fences it.
        """

    def accepts(self, credential: SecretFields) -> bool | None:
        """Whether the target still accepts this version's credential, tried as its holder would.

        None where nobody can tell: there is no target, or nothing to log in with. Raises TransientError where the
        target does not answer.
        """


class RemovesOrphans(Protocol):
    """What a strategy has besides where a mint that died may have left something at the target."""

    def existing_ids(self) -> Sequence[str]:
        """Names of what is at the target already, saved before a mint that makes something there."""

    def remove_orphans(self, before: Sequence[str], credentials: Sequence[SecretFields]) -> None:
        """Remove what a mint that died before its candidate was saved may have left at the target.

        What was there ``before``, and the ``credentials`` that a version or candidate holds, are spared.
        """


class RollsBack(Protocol):
    """What a strategy has besides where undoing a promotion is more than leaving both credentials in force.

    Without it nothing is done where the credentials overlap; else the candidate is abandoned.
    """

    def rollback(self, change: Change) -> None:
        """Undo a promotion: ``change.current`` works again and for good, where the candidate has ended it or would.

        Both work afterwards where both can be in force.
        """


class AdjustsFields(Protocol):
    """What a strategy has besides where the secret says more of the credentials in force than the newest one."""

    def cleanup_fields(self, current: SecretFields) -> SecretFields | None:
        """The fields of CURRENT that must change once the old credential has ended; None when none must."""

    def rollback_fields(self, before: SecretFields, promoted: SecretFields) -> Mapping[str, Sensitive]:
        """The fields of ``before`` that must differ when it is put in force again, since ``promoted`` works still."""


class TellsRevoked(Protocol):
    """What a strategy has besides where it can be told without a login that a credential was revoked."""

    def revocation(self, credential: SecretFields) -> str:
        """What is revoked; empty where nothing is, or nobody knows the credential. Raises what hinders a look."""


class AsksForRenewal(Protocol):
    """What a strategy has besides where somebody suggests when its credential is to be replaced."""

    def renewal(self, credential: SecretFields) -> datetime | None:
        """From when on; None where nobody suggests anything. Raises what hinders asking."""


class Renews(Protocol):
    """What a strategy has besides where its credential ends by itself unless it is renewed."""

    def renew(self, credential_id: Mapping[str, str]) -> None:
        """Renew a credential that would end by itself before it is replaced. It is asked for every few minutes."""


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
        """Let ``account`` log in with ``password``, and record ``sequence``, in one transaction or under one lock.

        An absent account is made with the memberships of ``like``. With ``member_of`` the account acts as
        that role, so that what it makes belongs to the role. With ``keep_old`` the password before it works
        too, until :meth:`discard_old`. Raises Superseded when the account carries a higher sequence,
        UnsupportedOperation where an account can't have two passwords.
        """

    def discard_old(self, account: str, *, sequence: int) -> None:
        """Refuse the password that ``keep_old`` kept. Absent is success. Raises Superseded like set_password."""

    def last_sequence(self, accounts: Collection[str]) -> int:
        """The highest number that stands with any of these; 0 where none does, or there is no such account."""

    def check_login(self, account: str, password: Sensitive, *, like: str | None = None) -> None:
        """Log in on a new connection (10 s) and compare the account's privileges with those of ``like``.

        Raises CandidateRejected when the password is refused or a privilege is missing.
        """

    def read_connection(self, text: Sensitive) -> Connection | None:
        """Whose login at this server and database a connection string is; None for any other text."""

    def accepts(self, account: str, password: Sensitive) -> bool:
        """Whether the target lets ``account`` in with ``password``, whatever it may do there: a new connection tells.

        Raises TransientError where the target does not answer.
        """

    def lets_in(self, account: str) -> bool:
        """Whether anybody can be let in as ``account``, with whatever password; absent accounts let nobody in."""

    def sessions(self, account: str) -> int:
        """How many sessions ``account`` has open now."""

    def disable(self, account: str, *, sequence: int) -> None:
        """Refuse every login of ``account``. Absent is success. Raises Superseded like set_password."""

    def revoke(self, account: str, *, sequence: int) -> int:
        """Refuse every login of ``account``, forget its passwords, and end its sessions: how many were ended.

        The account and what it owns stay. Absent is success. Raises Superseded like set_password, and Denied, once
        logins are refused, where the admin may not end sessions.
        """

    def end_sessions(self, account: str, refuse: Callable[[], None]) -> int:
        """End the sessions of ``account`` once ``refuse`` has made logins fail, or the account vanish: how many.

        One that was logging in meanwhile is among them. Absent is success. Raises Denied, after ``refuse``, where the
        admin may not end sessions.
        """

    def close(self) -> None:
        """Let go of connections."""


class TellsGrants(Protocol):
    """What an account target has besides where it tells what its admin may do."""

    def missing_grants(self, accounts: Collection[str]) -> Sequence[str]:
        """Statements for an administrator there, without which the admin's work fails; empty where it may do all.

        It logs in as the admin and changes nothing; ``accounts`` are those that are rotated, whether they exist or not.
        Raises Denied, Unavailable.
        """


class ReadsConnections(Protocol):
    """What a strategy has besides where its credential is a login that copies may hold as a connection string."""

    def read_connection(self, text: Sensitive) -> Connection | None:
        """Whose login ``text`` is, as those who connect by it read it; None where it is none at this target."""

    def check_connection(self, connection: Connection) -> None:
        """Log in on a new connection with what was read. Raises CandidateRejected when it is refused."""
