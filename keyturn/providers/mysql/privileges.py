"""The rights in force that one MySQL or MariaDB user has and another lacks: granted, or by an active role."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from keyturn.providers.accounts import Missing
from keyturn.providers.mysql.grants import ALL, NOTHING, Grant, Grants

EVERYWHERE: Final = "*.*"
GRANT_OPTION: Final = "GRANT OPTION"
_COLUMNS: Final = re.compile(r"(?P<privilege>[A-Z ]+?) \((?P<columns>.*)\)")
_DATABASE: Final = re.compile(r"`(?P<database>(?:[^`]|``)*)`\.\*")
_WITHIN: Final = re.compile(r"(?:[A-Z ]+ )?`(?P<database>(?:[^`]|``)*)`\.")


@dataclass(frozen=True)
class Right:
    privilege: str
    scope: str
    columns: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.stated} on {self.scope}"

    @property
    def stated(self) -> str:
        return f"{self.privilege} ({', '.join(sorted(self.columns))})" if self.columns else self.privilege

    def covers(self, other: "Right") -> bool:
        everything = self.privilege == ALL and other.privilege != GRANT_OPTION
        if not (everything or self.privilege == other.privilege) or not reaches(self.scope, other.scope):
            return False
        return not self.columns or (bool(other.columns) and other.columns <= self.columns)


def reaches(wide: str, narrow: str) -> bool:
    if wide in (narrow, EVERYWHERE):
        return True
    whole, part = _DATABASE.fullmatch(wide), _WITHIN.match(narrow)
    if whole is None or part is None or _DATABASE.fullmatch(narrow):
        return False
    return like(whole["database"], part["database"])


def like(pattern: str, name: str) -> bool:
    """Whether the database's name matches, as in ``LIKE``: a grant's database may contain % and _."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    return re.fullmatch("".join(wild.get(part) or re.escape(part[-1]) for part in parts), name, re.DOTALL) is not None


def rights(grants: Iterable[Grant]) -> Iterator[Right]:
    for grant in grants:
        if grant.scope is None:
            continue
        for privilege in grant.privileges:
            match = _COLUMNS.fullmatch(privilege)
            if match:
                columns = frozenset(column.strip() for column in match["columns"].split(","))
                yield Right(match["privilege"], grant.scope, columns)
            elif privilege != NOTHING:
                yield Right(privilege, grant.scope)
        if grant.passed_on:
            yield Right(GRANT_OPTION, grant.scope)


@dataclass(frozen=True)
class AccountGrants:
    grants: Grants
    look: Callable[[str], Grants]

    @cached_property
    def active(self) -> frozenset[str]:
        return self._closure(self.grants.default_roles)

    @cached_property
    def roles(self) -> frozenset[str]:
        return self._closure(self.grants.roles)

    @cached_property
    def rights(self) -> frozenset[Right]:
        return frozenset(rights(self.grants.granted)) | self.given_by(self.active)

    def given_by(self, roles: Iterable[str]) -> frozenset[Right]:
        return frozenset(right for role in roles for right in rights(self.look(role).granted))

    def lacks(self, wanted: Iterable[Right]) -> list[Right]:
        return sorted((right for right in wanted if not any(held.covers(right) for held in self.rights)), key=str)

    def _closure(self, roles: Iterable[str]) -> frozenset[str]:
        closure: set[str] = set()
        waiting = list(roles)
        while waiting:
            role = waiting.pop()
            if role not in closure:
                closure.add(role)
                waiting += self.look(role).roles
        return frozenset(closure)


def missing_grants(account: AccountGrants, model: AccountGrants, grantee: str) -> list[Missing]:
    """What ``model`` may do and ``account`` may not; the statements grant it to ``grantee``."""
    lacks = [
        Missing(f"the default role {role}", f"GRANT {role} TO {grantee}")
        for role in sorted(model.active - account.active)
        if account.lacks(model.given_by([role]))
    ]
    lacks += [
        Missing(str(right), f"GRANT {right.stated} ON {right.scope} TO {grantee}")
        for right in account.lacks(rights(model.grants.granted))
    ]
    further = sorted(model.roles - model.active - account.roles)
    return lacks + [
        Missing(f"the role {role}", f"GRANT {role} TO {grantee}")
        for role in further
        if account.lacks(model.given_by([role]))
    ]
