"""Passwords of accounts that exist at a target: two that take turns, or one changed in place."""

from collections.abc import Mapping, Sequence

from keyturn.core.errors import Invalid
from keyturn.core.passwords import PasswordPolicy, generate
from keyturn.core.sensitive import SecretFields
from keyturn.core.strategies import AccountTarget, Change


class AccountStrategy:
    """What both have in common: nothing happens at the target before install."""

    mints_at_target = False

    def __init__(self, target: AccountTarget, policy: PasswordPolicy) -> None:
        self.target = target
        self.policy = policy

    def before_mint(self) -> Sequence[str]:
        """Nothing: a mint makes only a text."""
        return ()

    def sweep(self, before: Sequence[str], known: Sequence[SecretFields]) -> None:
        """Nothing to remove."""


class AlternatingUsers(AccountStrategy):
    """Two accounts take turns, so the old password works until it is retired.

    Both are members of ``owner_role`` and act as it, so what either makes belongs to the role.
    """

    def __init__(self, target: AccountTarget, policy: PasswordPolicy, users: Sequence[str], owner_role: str) -> None:
        super().__init__(target, policy)
        self.users = tuple(users)
        self.owner_role = owner_role

    def mint(self, current: SecretFields | None) -> SecretFields:
        """The other user, with a new password. Raises Invalid when CURRENT names neither."""
        serving = username(current)
        if serving is None:
            return SecretFields({"username": self.users[0], "password": generate(self.policy)})
        if serving not in self.users:
            problem = f"the secret names {serving}, which is not one of its users"
            raise Invalid(
                "alternate", f"{self.target.name}:{serving}", problem, "Put it among `users` in the catalogue"
            )
        other = self.users[1 - self.users.index(serving)]
        return SecretFields({"username": other, "password": generate(self.policy)})

    def install(self, change: Change) -> None:
        """Give the other user its password, making the user first where it does not exist."""
        self.target.set_password(
            change.candidate["username"].reveal(),
            change.candidate["password"],
            sequence=change.sequence,
            like=username(change.current),
            member_of=self.owner_role,
        )

    def verify(self, change: Change) -> None:
        """Log in, and compare the privileges of the two users."""
        candidate = change.candidate
        self.target.check_login(candidate["username"].reveal(), candidate["password"], like=username(change.current))

    def abandon(self, change: Change) -> None:
        """Close the account again, unless CURRENT has come to name it: the user that serves is untouched."""
        if change.candidate["username"].reveal() == username(change.current):
            return
        self.target.disable(change.candidate["username"].reveal(), sequence=change.sequence)

    def ends(self, current: SecretFields) -> Mapping[str, str]:
        """The user that serves now."""
        serving = username(current)
        return {"username": serving} if serving else {}

    def revoke(self, ends: Mapping[str, str], sequence: int) -> None:
        """The retired user can't log in any more."""
        if "username" in ends:
            self.target.disable(ends["username"], sequence=sequence)


class SingleUser(AccountStrategy):
    """One account's password is changed in place; until consumers have read it, their logins are refused."""

    def __init__(self, target: AccountTarget, policy: PasswordPolicy, user: str) -> None:
        super().__init__(target, policy)
        self.user = user

    def mint(self, current: SecretFields | None) -> SecretFields:
        """The same user, with a new password."""
        return SecretFields({"username": self.user, "password": generate(self.policy)})

    def install(self, change: Change) -> None:
        """From here on the old password is refused."""
        self.target.set_password(self.user, change.candidate["password"], sequence=change.sequence)

    def verify(self, change: Change) -> None:
        """Log in."""
        self.target.check_login(self.user, change.candidate["password"])

    def abandon(self, change: Change) -> None:
        """Put CURRENT's password back."""
        if change.current and "password" in change.current:
            self.target.set_password(self.user, change.current["password"], sequence=change.sequence)

    def ends(self, current: SecretFields) -> Mapping[str, str]:
        """Nothing: the old password died at install."""
        return {}

    def revoke(self, ends: Mapping[str, str], sequence: int) -> None:
        """Nothing is left to end."""


def username(fields: SecretFields | None) -> str | None:
    """The account that a version names; None for a secret that has none yet."""
    return fields["username"].reveal() if fields is not None and "username" in fields else None
