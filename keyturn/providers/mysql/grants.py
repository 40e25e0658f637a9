"""A MySQL or MariaDB user's grants, parsed from ``SHOW GRANTS``, and the statements that give them to another."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ALL: Final = "ALL PRIVILEGES"
NOTHING: Final = "USAGE"
DEFAULT_ROLE: Final = "SET DEFAULT ROLE "
_PRIVILEGE: Final = re.compile(r"(?:`(?:[^`]|``)*`|\([^)]*\)|[^,])+")


@dataclass(frozen=True)
class User:
    """An account's entry for one host."""

    name: str
    host: str

    @property
    def quoted(self) -> str:
        return f"{quote_name(self.name)}@{quote_name(self.host)}"


@dataclass(frozen=True)
class Grant:
    """Privileges on something, or roles if ``scope`` is None; ``passed_on`` with grant or admin option."""

    privileges: tuple[str, ...]
    scope: str | None
    passed_on: bool = False

    def rights(self) -> set[str]:
        if self.scope is None:
            rights = {f"the role {role}" for role in self.privileges}
            return rights | {f"{right} with admin option" for right in rights if self.passed_on}
        rights = {f"{privilege} on {self.scope}" for privilege in self.privileges if privilege != NOTHING}
        return rights | ({f"GRANT OPTION on {self.scope}"} if self.passed_on else set())

    def statement(self, user: User) -> str:
        what = ", ".join(self.privileges)
        if self.scope is None:
            return f"GRANT {what} TO {user.quoted}{' WITH ADMIN OPTION' if self.passed_on else ''}"
        return f"GRANT {what} ON {self.scope} TO {user.quoted}{' WITH GRANT OPTION' if self.passed_on else ''}"


@dataclass(frozen=True)
class Grants:
    """One user's grants; ``default_roles`` are active from login."""

    granted: tuple[Grant, ...]
    default_roles: frozenset[str]

    def rights(self) -> set[str]:
        roles = {f"the default role {role}" for role in self.default_roles}
        return roles.union(*(grant.rights() for grant in self.granted))

    def acts_as(self, role: str) -> bool:
        return {f"the role {role}", f"the default role {role}"} <= self.rights()

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(role for grant in self.granted if grant.scope is None for role in grant.privileges)


def parse_grants(lines: Iterable[str], user: User | str, default_roles: Iterable[str] = ()) -> Grants:
    """The answer to ``SHOW GRANTS``. MariaDB's includes default roles, and passwords, which are left out."""
    grants, roles = [], set(default_roles)
    grantee = user if isinstance(user, str) else user.quoted
    for line in lines:
        head, _, tail = line.partition(f" TO {grantee}")
        if line.startswith(DEFAULT_ROLE):
            roles.add(line.removeprefix(DEFAULT_ROLE).removesuffix(f" FOR {grantee}"))
        elif head.startswith("GRANT "):
            grants.append(_grant(head.removeprefix("GRANT "), tail))
    return Grants(tuple(grants), frozenset(roles))


def _grant(head: str, tail: str) -> Grant:
    # Roles are quoted, privileges are not.
    what, _, scope = (head, "", None) if head.startswith("`") else head.partition(" ON ")
    privileges = tuple(privilege.strip() for privilege in _PRIVILEGE.findall(what))
    return Grant(privileges, scope, "GRANT OPTION" in tail or "ADMIN OPTION" in tail)


def quote_name(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
