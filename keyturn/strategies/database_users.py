"""Passwords of accounts that exist at a target: two accounts that alternate, or one changed in place."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from keyturn.core.errors import Invalid, UnsupportedOperation
from keyturn.core.ports.strategies import AccountTarget, Change, DropsShadows, LeavesSessions, RevokeResult, Shadow
from keyturn.core.rights.capabilities import capability
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.passwords import PasswordPolicy, generate
from keyturn.settings.fields import Line, RoleName, refused
from keyturn.settings.passwords import PasswordSettings
from keyturn.strategies.base import LoginStrategy, StrategySettings, Tools

DATABASES = frozenset({"postgresql", "mysql"})
ACCOUNTS = DATABASES | {"ldap"}
"""The kinds of target with accounts and passwords."""

GAP = "with one user, logins are refused from the change until the consumer has read the new password"

DIGEST_LENGTH = 12
"""Hexadecimal digits: enough to distinguish one user's passwords."""


class AccountStrategy(LoginStrategy):
    """The common part: an account of one of ``users``, and no change at the target before install."""

    credential_fields = frozenset({"username", "password"})

    def __init__(self, target: AccountTarget, policy: PasswordPolicy, users: Sequence[str]) -> None:
        self.target = target
        self.policy = policy
        self.users = tuple(users)

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        for named in (username(current), username(candidate)):
            if named is not None and named not in self.users:
                problem = f"the secret names {named}, which is not one of its users"
                hint = "Name it in the secret's rotation, or move on to its users"
                hint += ": `keyturn rotate PATH --now --change-account`, which retires the other one as usual"
                raise Invalid("rotate", f"{self.target.name}:{named}", problem, hint)

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Refuse logins of the version's account, whatever its password is by now, and end its sessions.

        Raises Invalid for a working credential of an account that is not this secret's.
        """
        account = self.named(credential)
        if account is None or (account not in self.users and not self.accepts(credential)):
            return RevokeResult()
        self.preflight(credential, None)
        return revoked(self.target, account, sequence)

    def last_sequence(self, credentials: Sequence[SecretFields] = ()) -> int:
        return self.target.last_sequence({*self.users, *filter(None, map(username, credentials))})

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterator[str]:
        serving = {self.named(fields) for fields in spared}
        for user in self.users:
            if user not in serving and (self.target.lets_in(user) or self.target.sessions(user)):
                yield user

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        return revoked(self.target, name, sequence)

    def accepts(self, credential: SecretFields) -> bool | None:
        account = self.named(credential)
        return None if account is None else self.target.accepts(account, credential["password"])

    def named(self, credential: SecretFields) -> str | None:
        return username(credential) if "password" in credential else None


def revoked(target: AccountTarget, account: str, sequence: int) -> RevokeResult:
    """End an account's logins and sessions, and say which sessions its target can't end."""
    leaves, count = capability(target, LeavesSessions), target.revoke(account, sequence=sequence)
    left = leaves.left_open(account) if leaves else ""
    return RevokeResult(count, outlives=(left,) if left else ())


class AlternatingUsers(AccountStrategy):
    """Two accounts alternate, so the old password works until it is retired.

    Both are members of ``owner_role`` and act as it, so the role owns what either makes; a directory has none.
    """

    def __init__(
        self, target: AccountTarget, policy: PasswordPolicy, users: Sequence[str], owner_role: str | None
    ) -> None:
        super().__init__(target, policy, users)
        self.owner_role = owner_role

    def mint(self, current: SecretFields | None) -> SecretFields:
        """Return the other user, with a new password. Raises Invalid when CURRENT names neither."""
        self.preflight(current, None)
        serving = username(current)
        other = self.users[1 - self.users.index(serving)] if serving else self.users[0]
        return SecretFields({"username": other, "password": generate(self.policy)})

    def install(self, change: Change) -> None:
        self.target.set_password(
            change.candidate["username"].reveal(),
            change.candidate["password"],
            sequence=change.sequence,
            like=username(change.current),
            member_of=self.owner_role,
        )

    def verify(self, change: Change) -> None:
        candidate = change.candidate
        self.target.check_login(candidate["username"].reveal(), candidate["password"], like=username(change.current))

    def abandon(self, change: Change) -> None:
        if change.candidate["username"].reveal() == username(change.current):
            return
        self.target.disable(change.candidate["username"].reveal(), sequence=change.sequence)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        serving = username(current)
        return {"username": serving} if serving else {}

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        count = self.target.sessions(credential_id["username"]) if "username" in credential_id else 0
        return (f"{self.target.name}:{credential_id['username']} has {count} open sessions",) if count else ()

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        if "username" in credential_id:
            self.target.disable(credential_id["username"], sequence=sequence)

    def shadow(self, name: str) -> Shadow:
        """Return a third account, which is a member of no role and may do nothing but log in."""
        if (drops := capability(self.target, DropsShadows)) is None:
            problem = "its target can't remove an account again"
            raise UnsupportedOperation("rehearse", self.target.name, problem, "Declare a secret for drills instead")
        strategy = AlternatingUsers(self.target, self.policy, (name, f"{name}_b"), None)

        def clear() -> None:
            self.target.revoke(name, sequence=self.target.last_sequence((name,)) + 1)
            drops.drop_shadow(name)

        return Shadow(strategy, clear, lambda fields: drops.hold_session(name, fields["password"]))


class SingleUser(AccountStrategy):
    """One account's password is changed in place; until consumers have read it, their logins are refused.

    With ``keeps_old`` the target accepts the former password too, until it is revoked.
    """

    def __init__(self, target: AccountTarget, policy: PasswordPolicy, user: str, *, keeps_old: bool = False) -> None:
        super().__init__(target, policy, (user,))
        self.user = user
        self.overlaps = keeps_old

    def mint(self, current: SecretFields | None) -> SecretFields:
        return SecretFields({"username": self.user, "password": generate(self.policy)})

    def install(self, change: Change) -> None:
        password = change.candidate["password"]
        self.target.set_password(self.user, password, sequence=change.sequence, keep_old=self.overlaps)

    def verify(self, change: Change) -> None:
        self.target.check_login(self.user, change.candidate["password"])

    def abandon(self, change: Change) -> None:
        """Restore CURRENT's password as the only one; without one, set a password that no one knows."""
        if change.current and "password" in change.current:
            self.target.set_password(self.user, change.current["password"], sequence=change.sequence)
            self._discard_old(change.sequence)
        elif self.target.accepts(self.user, change.candidate["password"]):
            self.target.set_password(self.user, generate(self.policy), sequence=change.sequence)

    def rollback(self, change: Change) -> None:
        """Restore CURRENT's password, and keep the candidate's too where the target can."""
        if change.current and "password" in change.current:
            password = change.current["password"]
            self.target.set_password(self.user, password, sequence=change.sequence, keep_old=self.overlaps)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        """Return the user and a digest of its password; empty where the target keeps no old password."""
        if not self.overlaps or "password" not in current:
            return {}
        digest = hashlib.sha256(current["password"].reveal().encode()).hexdigest()
        return {"username": self.user, "password_sha256": digest[:DIGEST_LENGTH]}

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        if credential_id:
            self._discard_old(sequence)

    def named(self, credential: SecretFields) -> str | None:
        """Return the account of a version, the only user where it names none; None where it has no password."""
        return username(credential) or self.user if "password" in credential else None

    def _discard_old(self, sequence: int) -> None:
        if self.overlaps:
            self.target.discard_old(self.user, sequence=sequence)


def username(fields: SecretFields | None) -> str | None:
    return fields["username"].reveal() if fields is not None and "username" in fields else None


# --- in the catalogue --------------------------------------------------------------------------------------


def _different(users: tuple[str, str]) -> tuple[str, str]:
    if users[0] == users[1]:
        raise refused("the two users are the same", "Name two: one serves while the other is changed.")
    return users


def is_true(value: Any) -> bool:
    if value is True:
        return True
    raise refused(GAP, "Say accepts_gap: true if it can bear that, else use alternating-users.")


class AlternatingUsersSettings(StrategySettings):
    """Two accounts alternate, so that the old password works until its grace is over."""

    targets = ACCOUNTS | {"credential-file"}
    claims = ("users",)

    strategy: Literal["alternating-users"]
    """How the secret is replaced."""
    target: Line
    """The name of the target that the users log in to."""
    users: Annotated[tuple[RoleName, RoleName], AfterValidator(_different)]
    """The two login roles. No other secret may rotate them."""
    owner_role: RoleName | None = None
    """The role without login that both are members of, and that owns what they make; not in a directory."""
    password: PasswordSettings = PasswordSettings()
    """What the passwords look like."""

    @model_validator(mode="after")
    def _owner_is_neither(self) -> Self:
        if self.owner_role in self.users:
            remedy = "Name a third role, without login, that both users are members of."
            raise refused("the owner is one of the two users", remedy, "owner_role")
        return self

    def open(self, path: str, tools: Tools) -> AlternatingUsers:
        return AlternatingUsers(tools.target(self.target), self.password.policy, self.users, self.owner_role)


class SingleUserSettings(StrategySettings):
    """One account's password is changed in place: between target and consumer nothing works for a moment."""

    targets = ACCOUNTS | {"credential-file"}
    claims = ("user",)

    strategy: Literal["single-user"]
    """How the secret is replaced."""
    target: Line
    """The name of the target that the user logs in to."""
    user: RoleName
    """The login role. No other secret may rotate it."""
    accepts_gap: Annotated[Literal[True] | None, BeforeValidator(is_true)] = None
    """True, once it is accepted that logins are refused from the change until the consumer has read the new value."""
    keeps_old_password: bool = False
    """Whether the server keeps the old password next to the new one, so that there is no gap: MySQL 8.0.14 or newer,
    and directories other than Active Directory."""
    password: PasswordSettings = PasswordSettings()
    """What the passwords look like."""

    @model_validator(mode="after")
    def _gap_is_known(self) -> Self:
        if self.accepts_gap is None and not self.keeps_old_password:
            remedy = "Say accepts_gap: true if it can bear that, else use alternating-users."
            raise refused(GAP, remedy, "accepts_gap")
        if self.accepts_gap and self.keeps_old_password:
            raise refused("there is no gap where the old password is kept", "Say one of the two.", "accepts_gap")
        return self

    def open(self, path: str, tools: Tools) -> SingleUser:
        target, policy = tools.target(self.target), self.password.policy
        return SingleUser(target, policy, self.user, keeps_old=self.keeps_old_password)
