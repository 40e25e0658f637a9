"""What a MySQL or MariaDB user may do, as ``SHOW GRANTS`` tells it, and the statements that give it to another one."""

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
    """One entry among the server's users: an account has one for each host that it may come from."""

    name: str
    host: str

    @property
    def quoted(self) -> str:
        """As statements name it, and as ``SHOW GRANTS`` prints it."""
        return f"{quote_name(self.name)}@{quote_name(self.host)}"


@dataclass(frozen=True)
class Grant:
    """Privileges on something, or (``scope`` is None) roles; ``passed_on`` where the user may grant them further."""

    privileges: tuple[str, ...]
    scope: str | None
    passed_on: bool = False

    def rights(self) -> set[str]:
        """Each right on its own, in words for people that can be compared."""
        if self.scope is None:
            rights = {f"the role {role}" for role in self.privileges}
            return rights | {f"{right} with admin option" for right in rights if self.passed_on}
        rights = {f"{privilege} on {self.scope}" for privilege in self.privileges if privilege != NOTHING}
        return rights | ({f"GRANT OPTION on {self.scope}"} if self.passed_on else set())

    def statement(self, user: User) -> str:
        """What gives the same to ``user``."""
        what = ", ".join(self.privileges)
        if self.scope is None:
            return f"GRANT {what} TO {user.quoted}{' WITH ADMIN OPTION' if self.passed_on else ''}"
        return f"GRANT {what} ON {self.scope} TO {user.quoted}{' WITH GRANT OPTION' if self.passed_on else ''}"


@dataclass(frozen=True)
class Grants:
    """All that one user was granted; ``default_roles`` are those in force from login on."""

    granted: tuple[Grant, ...]
    default_roles: frozenset[str]

    def rights(self) -> set[str]:
        """Each right on its own."""
        roles = {f"the default role {role}" for role in self.default_roles}
        return roles.union(*(grant.rights() for grant in self.granted))

    def acts_as(self, role: str) -> bool:
        """Whether it has the role, from login on."""
        return {f"the role {role}", f"the default role {role}"} <= self.rights()

    @property
    def roles(self) -> frozenset[str]:
        """The roles that were granted, as ``SHOW GRANTS`` names them."""
        return frozenset(role for grant in self.granted if grant.scope is None for role in grant.privileges)


def parse_grants(lines: Iterable[str], user: User | str, default_roles: Iterable[str] = ()) -> Grants:
    """The answer to ``SHOW GRANTS`` for a user, or for a role in quotes.

    MariaDB's names default roles, and passwords, which are left out.
    """
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
    """A name as an identifier."""
    return f"`{name.replace('`', '``')}`"
