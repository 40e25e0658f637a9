"""A Redis user's password: two are in force at once, so the old one works until it is retired."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Protocol

from pydantic import AfterValidator, WithJsonSchema

from keyturn.core.errors import Invalid
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.connections import Connection
from keyturn.core.text.passwords import PasswordPolicy, generate
from keyturn.settings.fields import Line, matching, refused
from keyturn.settings.passwords import PasswordSettings
from keyturn.strategies.base import LoginStrategy, StrategySettings, Tools
from keyturn.strategies.database_users import username

LEAST_BITS: Final = 112
"""NIST SP 800-63B-3, 5.1.2.2: a secret of this strength may be stored as a plain hash, as Redis does."""

SHOWN: Final = 3
"""How many sessions are named."""


class AclTarget(Protocol):
    """A system whose users have several passwords each, known by their SHA-256 in hexadecimal digits."""

    name: str

    def check_user(self, user: str) -> None:
        """Raises Invalid where the user can't be rotated."""

    def change_passwords(
        self, user: str, edit: Callable[[frozenset[str]], frozenset[str]], *, sequence: int, missing_ok: bool = False
    ) -> None:
        """Replace the user's passwords with the result of ``edit`` and record ``sequence``, in one step.

        Raises Superseded when the user has a higher sequence; Invalid without the user unless ``missing_ok``.
        """

    def check_login(self, user: str, password: Sensitive) -> None:
        """Log in on a new connection. Raises CandidateRejected when the password is refused."""

    def read_connection(self, text: Sensitive) -> Connection | None:
        """Return the login in a connection string to one of its nodes; None for any other text."""

    def accepts(self, user: str, password: Sensitive) -> bool:
        """Whether any part of it accepts the login. Raises TransientError where one does not answer and none does."""

    def revoke(self, user: str, password: str, *, sequence: int) -> int:
        """Remove the password with this SHA-256, end every session of the user, and return their number.

        A missing password is success. Raises Superseded like change_passwords. Raises Denied where sessions can't be
        ended, after logins with it are refused.
        """

    def last_sequence(self, user: str) -> int:
        """Return the highest sequence of the user anywhere; 0 without one, or without the user."""

    def passwords(self, user: str) -> frozenset[str]:
        """Return the SHA-256 of every password that any part of it accepts for the user; empty without the user.

        Raises Invalid where the user may log in with any password.
        """

    def sessions(self, user: str) -> Sequence[tuple[str, timedelta]]:
        """Return the origin of every session of the user, and how long it has been open at least."""


class RedisAcl(LoginStrategy):
    """One user with the passwords of CURRENT and the candidate; ``clock`` shows the time since a promotion."""

    credential_fields = frozenset({"username", "password"})

    def __init__(self, target: AclTarget, policy: PasswordPolicy, user: str, clock: Callable[[], datetime]) -> None:
        self.target = target
        self.policy = policy
        self.user = user
        self.clock = clock

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        for fields in (current, candidate):
            self._must_be_ours(fields)
        self.target.check_user(self.user)

    def mint(self, current: SecretFields | None) -> SecretFields:
        return SecretFields({"username": self.user, "password": generate(self.policy)})

    def install(self, change: Change) -> None:
        old, new = password_digest(change.current), password_digest(change.candidate)
        self.target.change_passwords(self.user, lambda there: serving(there, old) | {new}, sequence=change.sequence)

    def verify(self, change: Change) -> None:
        self.target.check_login(self.user, change.candidate["password"])

    def abandon(self, change: Change) -> None:
        gone = {password_digest(change.candidate)} - {password_digest(change.current)}
        self.target.change_passwords(self.user, lambda there: there - gone, sequence=change.sequence, missing_ok=True)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        if "password" not in current:
            return {}
        return {"username": username(current) or self.user, "password_sha256": password_digest(current)}

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        if not credential_id:
            return ()
        elapsed = self.clock() - since
        old = [where for where, age in self.target.sessions(credential_id["username"]) if age >= elapsed]
        if not old:
            return ()
        shown = ", ".join(old[:SHOWN]) + (" and others" if len(old) > SHOWN else "")
        place = f"{self.target.name}:{credential_id['username']}"
        return (f"{place} has {len(old)} sessions from before the promotion: {shown}",)

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        if credential_id:
            gone = {credential_id["password_sha256"]}
            self.target.change_passwords(
                credential_id["username"], lambda there: there - gone, sequence=sequence, missing_ok=True
            )

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Remove this version's password and end every session of the user, since none shows its password.

        The user's other passwords stay. Raises Invalid for a working credential of another user.
        """
        if "password" not in credential:
            return RevokeResult()
        user = username(credential) or self.user
        if user != self.user and not self.accepts(credential):
            return RevokeResult()
        self._must_be_ours(credential)
        return RevokeResult(self.target.revoke(user, password_digest(credential), sequence=sequence))

    def last_sequence(self, credentials: Sequence[SecretFields] = ()) -> int:
        return self.target.last_sequence(self.user)

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterator[str]:
        yield from sorted(self.target.passwords(self.user) - {password_digest(fields) for fields in spared})

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        return RevokeResult(self.target.revoke(self.user, name, sequence=sequence))

    def accepts(self, credential: SecretFields) -> bool | None:
        if "password" not in credential:
            return None
        return self.target.accepts(username(credential) or self.user, credential["password"])

    def _must_be_ours(self, fields: SecretFields | None) -> None:
        named = username(fields)
        if named not in (None, self.user):
            problem = f"the secret names {named}, and the catalogue {self.user}"
            hint = "Correct the catalogue's user, or write a credential of this user into the hub"
            raise Invalid("rotate", f"{self.target.name}:{named}", problem, hint)


def password_digest(fields: SecretFields | None) -> str:
    if fields is None or "password" not in fields:
        return ""
    return hashlib.sha256(fields["password"].reveal().encode()).hexdigest()


def serving(there: frozenset[str], old: str) -> frozenset[str]:
    """Return the passwords to keep with a candidate: CURRENT's, or all where CURRENT's is not among them."""
    return there & {old} or there


# --- in the catalogue --------------------------------------------------------------------------------------


def _hashable(password: PasswordSettings) -> PasswordSettings:
    if (bits := password.policy.entropy()) < LEAST_BITS:
        message = f"its values hold {bits:.0f} bits, and Redis keeps them as a plain SHA-256, which is fast to guess at"
        raise refused(message, f"Let them hold {LEAST_BITS} bits or more: lengthen them.")
    return password


AclUser = Annotated[
    str,
    matching(r"[^\s\x00-\x1f\x7f]{1,128}", "is not a legal Redis user name", "Write 1 to 128 characters, no space."),
    WithJsonSchema({"type": "string", "pattern": r"^\S{1,128}$"}),
]
"""Redis refuses spaces and NUL in a name; other control characters would break the lines of its ACL file."""


class RedisAclSettings(StrategySettings):
    """A Redis user's password; the old one works next to the new one until its grace is over."""

    targets = frozenset({"redis"})
    claims = ("user",)

    strategy: Literal["redis-acl"]
    """How the secret is replaced."""
    target: Line
    """The name of the target that the user logs in to."""
    user: AclUser
    """The ACL user, which must exist with its rules. No other secret may rotate it."""
    password: Annotated[PasswordSettings, AfterValidator(_hashable)] = PasswordSettings()
    """What the passwords look like."""

    def open(self, path: str, tools: Tools) -> RedisAcl:
        return RedisAcl(tools.target(self.target), self.password.policy, self.user, tools.clock)
