"""The password of an account that the hub's database engine keeps: a static role, rotated through the engine."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator

from keyturn.core.errors import CandidateRejected, Invalid, NotFound
from keyturn.core.ports.engines import DatabaseEngine, StaticRole
from keyturn.core.ports.strategies import AccountTarget, Change, RevokeResult
from keyturn.core.rights.rights import HubPlaces, Section, allow
from keyturn.core.sensitive import SecretFields
from keyturn.settings.fields import EngineMount, EngineRole, Line
from keyturn.strategies.base import StrategyBase, StrategySettings, Tools
from keyturn.strategies.database_users import DATABASES, is_true, username


class VaultStaticRole(StrategyBase):
    """The engine makes the password and ends the old one at once; ``longest`` is the time between two rotations.

    The engine's password is authoritative. One that CURRENT lacks and that logs in is left by a dead run or the
    engine's own schedule, and is taken as it is. Nothing is ever put back: the engine can't.
    """

    credential_fields = frozenset({"username", "password"})
    mints_at_target = True
    overlaps = False

    def __init__(self, path: str, engine: DatabaseEngine, target: AccountTarget, role: str, longest: timedelta) -> None:
        self.path = path
        self.engine = engine
        self.target = target
        self.role = role
        self.longest = longest
        self.place = f"{engine.mount}/static-roles/{role}"

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        role = self.engine.static_role(self.role)
        if role is None:
            hint = "Make it first (docs/strategies/vault-static-role.md), or correct mount and role"
            raise NotFound("read", self.place, "the hub's database engine has no static role of that name", hint)
        for named in (username(current), username(candidate)):
            self._must_be_the_account(role.username, named)
        self._must_be_ours_to_rotate(role)

    def mint(self, current: SecretFields | None) -> SecretFields:
        """Return the engine's password where CURRENT lacks it and it works; else a new one, which ends the old one.

        A worker that was suspended before the look takes what a newer run has made. Between the look and the change
        nothing can refuse it; docs/strategies/vault-static-role.md has how long that is.
        """
        previous, credential = None, self.engine.static_credential(self.role)
        while credential != previous and not (current is not None and current.holds(credential)):
            if self._logs_in(credential):
                return credential
            previous, credential = credential, self.engine.static_credential(self.role)
        self.engine.rotate_static(self.role)
        return self.engine.static_credential(self.role)

    def verify(self, change: Change) -> None:
        self.target.check_login(change.candidate["username"].reveal(), change.candidate["password"])

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Change the account's password through the engine, whatever it is by now, and end the account's sessions.

        Raises Invalid for a working credential of another account.
        """
        account = username(credential)
        if account is None or "password" not in credential:
            return RevokeResult()
        held = self.engine.static_credential(self.role)
        if account != username(held) and not self.accepts(credential):
            return RevokeResult()
        self._must_be_the_account(held["username"].reveal(), account)
        # The engine may hold the candidate of an interrupted rotation, which must end too.
        self.engine.rotate_static(self.role)
        return RevokeResult(self.target.end_sessions(account, lambda: None))

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterator[str]:
        held = self.engine.static_credential(self.role)
        if not any(fields.holds(held) for fields in spared):
            yield _digest(held)

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        held = self.engine.static_credential(self.role)
        if _digest(held) != name:
            return RevokeResult()
        self.engine.rotate_static(self.role)
        return RevokeResult(self.target.end_sessions(held["username"].reveal(), lambda: None))

    def accepts(self, credential: SecretFields) -> bool | None:
        account = username(credential)
        if account is None or "password" not in credential:
            return None
        return self.target.accepts(account, credential["password"])

    def _logs_in(self, fields: SecretFields) -> bool:
        try:
            self.target.check_login(fields["username"].reveal(), fields["password"])
        except CandidateRejected:
            return False
        return True

    def _must_be_the_account(self, account: str, named: str | None) -> None:
        if named is not None and named != account:
            problem = f"it is the account {account}, and the secret names {named}"
            hint = f"Name the static role of {named}, or write {account} into {self.path}"
            raise Invalid("rotate", self.place, problem, hint)

    def _must_be_ours_to_rotate(self, role: StaticRole) -> None:
        """Raises Invalid for a short period: each rotation restarts the engine's schedule, so a long one never ends."""
        needed = 2 * self.longest
        if role.period is not None and role.period >= needed:
            return
        when = "by a calendar" if role.period is None else f"every {role.period}"
        problem = f"the engine rotates it by itself {when}, and CURRENT would be refused until the next rotation here"
        hint = f"Set its rotation_period to {int(needed.total_seconds())}s or more: twice the time between rotations"
        raise Invalid("rotate", self.place, problem, hint)


def _digest(held: SecretFields) -> str:
    return hashlib.sha256(held["password"].reveal().encode()).hexdigest()


class VaultStaticRoleSettings(StrategySettings):
    """A static role of the hub's database engine: an account that exists, whose password the engine changes."""

    targets = DATABASES
    takes_back = False
    claims_role = True

    strategy: Literal["vault-static-role"]
    """How the secret is replaced."""
    target: Line
    """The name of the target that the new password is tried at."""
    mount: EngineMount = "database"
    """Where the hub's database engine is mounted."""
    role: EngineRole
    """The engine's static role, of no other secret. Its rotation_period is at least twice the interval."""
    accepts_gap: Annotated[Literal[True], BeforeValidator(is_true)]
    """True, once it is accepted that logins are refused from the change until the consumer has read the new value."""

    def commands_to_end(self) -> tuple[str, ...]:
        return (f"vault write -f {self.mount}/rotate-role/{self.role}",)

    def rights(self, places: HubPlaces) -> Iterator[Section]:
        yield Section(
            "For the strategy vault-static-role: whose account it is, its password, and a new one.",
            (
                allow(f"{self.mount}/static-roles/{self.role}", "read"),
                allow(f"{self.mount}/static-creds/{self.role}", "read"),
                allow(f"{self.mount}/rotate-role/{self.role}", "update"),
            ),
        )

    def open(self, path: str, tools: Tools) -> VaultStaticRole:
        engine, target = tools.hub.database(self.mount), tools.target(self.target)
        return VaultStaticRole(path, engine, target, self.role, self.longest or timedelta(0))
