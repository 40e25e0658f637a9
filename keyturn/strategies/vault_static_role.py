"""The credential of an account that an engine of the hub keeps: a static role, rotated through the engine."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, model_validator

from keyturn.core.errors import CandidateRejected, Invalid, NotFound
from keyturn.core.ports.engines import STATIC_ROLES, DatabaseEngine, StaticRole, StaticShape
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.rights.rights import HubPlaces, Section, allow
from keyturn.core.sensitive import SecretFields
from keyturn.settings.fields import EngineRole, refused
from keyturn.strategies.base import StrategyBase, Tools
from keyturn.strategies.database_users import is_true, username
from keyturn.strategies.hub_engines import (
    STATIC_SHAPES,
    EngineSettings,
    Probe,
    StaticShapeSettings,
    below,
    check_engine,
    static_shape,
)


class VaultStaticRole(StrategyBase):
    """The engine makes the password and ends the old one at once; ``longest`` is the time between two rotations.

    The engine's password is authoritative. One that CURRENT lacks and that logs in is left by a dead run or the
    engine's own schedule, and is taken as it is. Nothing is ever put back: the engine can't.
    """

    mints_at_target = True
    overlaps = False

    def __init__(
        self,
        path: str,
        engine: DatabaseEngine,
        target: Probe,
        role: str,
        longest: timedelta,
        shape: StaticShape = STATIC_ROLES,
    ) -> None:
        self.path = path
        self.engine = engine
        self.target = target
        self.role = role
        self.longest = longest
        self.place = below(engine.mount, shape.role, role)
        self.credential_fields = frozenset(shape.fields)

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        role = self.engine.static_role(self.role)
        if role is None:
            hint = "Make it first (docs/strategies/vault-static-role.md), or correct mount and role"
            raise NotFound("read", self.place, "the hub's engine has no static role of that name", hint)
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
        self.target.check(change.candidate)

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Change the account's password through the engine, whatever it is by now, and end the account's sessions.

        Raises Invalid for a working credential of another account.
        """
        account = username(credential)
        if account is None or not self._is_whole(credential):
            return RevokeResult()
        held = self.engine.static_credential(self.role)
        if account != username(held) and not self.accepts(credential):
            return RevokeResult()
        self._must_be_the_account(held["username"].reveal(), account)
        # The engine may hold the candidate of an interrupted rotation, which must end too.
        self.engine.rotate_static(self.role)
        return self.target.end_sessions(account)

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterator[str]:
        held = self.engine.static_credential(self.role)
        if not any(fields.holds(held) for fields in spared):
            yield _digest(held)

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        held = self.engine.static_credential(self.role)
        if _digest(held) != name:
            return RevokeResult()
        self.engine.rotate_static(self.role)
        return self.target.end_sessions(held["username"].reveal())

    def accepts(self, credential: SecretFields) -> bool | None:
        return self.target.accepts(credential) if self._is_whole(credential) else None

    def _is_whole(self, fields: SecretFields) -> bool:
        return all(fields.get(name) for name in self.credential_fields)

    def _logs_in(self, fields: SecretFields) -> bool:
        try:
            self.target.check(fields)
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
    values = "\n".join(held[name].reveal() for name in sorted(held) if name != "username")
    return hashlib.sha256(values.encode()).hexdigest()


class VaultStaticRoleSettings(EngineSettings):
    """A static role of an engine of the hub: an account that exists, whose credential the engine changes."""

    takes_back = False

    strategy: Literal["vault-static-role"]
    """How the secret is replaced."""
    role: EngineRole
    """The engine's static role, of no other secret. Its rotation_period is at least twice the interval."""
    shape: StaticShapeSettings | None = None
    """Where the engine's paths, keys and fields differ from what Keyturn knows of its type."""
    accepts_gap: Annotated[Literal[True], BeforeValidator(is_true)]
    """True, once it is accepted that logins are refused from the change until the consumer has read the new value."""

    @model_validator(mode="after")
    def _engine_is_described(self) -> Self:
        check_engine(self.engine, STATIC_SHAPES, self.shape is not None and "fields" in self.shape.model_fields_set)
        if "username" not in self.static_shape.fields or len(self.static_shape.fields) < 2:
            raise refused("needs username and a field that is secret", "Add them to fields.", "shape")
        self.check_requests(self.static_shape.fields)
        return self

    @property
    def static_shape(self) -> StaticShape:
        return static_shape(self.engine, self.shape)

    def commands_to_end(self) -> tuple[str, ...]:
        return (f"vault write -f {below(self.mount, self.static_shape.rotate, self.role)}",)

    def rights(self, places: HubPlaces) -> Iterator[Section]:
        yield Section(
            "For the strategy vault-static-role: whose account it is, its password, and a new one.",
            (
                allow(below(self.mount, self.static_shape.role, self.role), "read"),
                allow(below(self.mount, self.static_shape.credential, self.role), "read"),
                allow(below(self.mount, self.static_shape.rotate, self.role), "update"),
            ),
        )

    def open(self, path: str, tools: Tools) -> VaultStaticRole:
        engine, shape = tools.hub.database(self.mount, static=self.static_shape), self.static_shape
        return VaultStaticRole(path, engine, self.probe(path, tools), self.role, self.longest or timedelta(0), shape)
