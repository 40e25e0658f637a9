"""The statements that create, alter and compare accounts on MySQL and MariaDB, each safe to repeat."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from keyturn.core.sensitive import Sensitive
from keyturn.providers.accounts import Missing
from keyturn.providers.mysql import privileges
from keyturn.providers.mysql.grants import Grant, Grants, User, parse_grants, quote_name
from keyturn.providers.mysql.password_hashes import NATIVE, PLUGINS, SHA2, hashed, matches
from keyturn.providers.mysql.privileges import AccountGrants
from keyturn.providers.mysql.server import UNKNOWN_PLUGIN, MySQLSession, ServerError

ANYWHERE: Final = "%"
REQUIRE: Final = {"": "NONE", "ANY": "SSL", "X509": "X509", "SPECIFIED": "X509"}
"""By ``mysql.user.ssl_type``, what REQUIRE demands; a certificate's issuer and subject are not copied."""
NEEDS_ALTER: Final = "GRANT CREATE USER ON *.* TO {admin}"
NEEDS_READ: Final = "GRANT SELECT ON mysql.* TO {admin}"
NEEDS_DEFAULT_ROLE: Final = "GRANT UPDATE ON mysql.* TO {admin}"
NEEDS_ROLE: Final = "GRANT %s TO {admin} WITH ADMIN OPTION"


@dataclass(frozen=True)
class AccountEntry:
    user: User
    plugin: str
    stored: Sensitive
    require: str


def account_entries(session: MySQLSession, account: str) -> list[AccountEntry]:
    # MariaDB stores roles in the same table, without a host.
    statement = "SELECT Host, plugin, authentication_string, ssl_type FROM mysql.user WHERE User = %s AND Host <> ''"
    return [
        AccountEntry(
            User(account, as_text(host)), as_text(plugin) or NATIVE, Sensitive(as_text(stored)), REQUIRE[as_text(ssl)]
        )
        for host, plugin, stored, ssl in session.run(statement, account, needs=NEEDS_READ)
    ]


ACCOUNTS: Final = "SELECT DISTINCT User FROM mysql.user WHERE Host <> '' AND User <> ''"
MEMBERS: Final = "SELECT TO_USER, FROM_USER FROM mysql.role_edges"
MEMBERS_OF_MARIADB: Final = "SELECT User, Role FROM mysql.roles_mapping WHERE Host <> ''"
OWN_ACCOUNTS: Final = ("mysql.", "mariadb.")


def list_accounts(session: MySQLSession) -> dict[str, frozenset[str]]:
    members = MEMBERS_OF_MARIADB if session.mariadb else MEMBERS
    pairs = [(as_text(user), as_text(role)) for user, role in session.run(members, needs=NEEDS_READ)]
    names = {as_text(name) for (name,) in session.run(ACCOUNTS, needs=NEEDS_READ)} - {role for _, role in pairs}
    return {
        name: frozenset(role for user, role in pairs if user == name)
        for name in sorted(names)
        if not name.startswith(OWN_ACCOUNTS)
    }


def insist_on_plugins(account: Iterable[AccountEntry]) -> None:
    if any(entry.plugin not in PLUGINS for entry in account):
        raise ServerError(UNKNOWN_PLUGIN, "")


def grants(session: MySQLSession, user: User) -> Grants:
    lines = [as_text(line) for (line,) in session.run(f"SHOW GRANTS FOR {user.quoted}", needs=NEEDS_READ)]
    if session.mariadb:
        return parse_grants(lines, user)
    statement = "SELECT DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles WHERE USER = %s AND HOST = %s"
    roles = session.run(statement, user.name, user.host, needs=NEEDS_READ)
    return parse_grants(lines, user, [User(as_text(name), as_text(host)).quoted for name, host in roles])


def missing_rights(session: MySQLSession, account: str, like: str) -> list[Missing]:
    look = lru_cache(maxsize=None)(lambda role: role_grants(session, role))
    models = [
        (entry.user, AccountGrants(grants(session, entry.user), look)) for entry in account_entries(session, like)
    ]
    lacks: dict[Missing, None] = {}
    for entry in account_entries(session, account):
        same = [model for user, model in models if user.host == entry.user.host] or [model for _, model in models]
        held = AccountGrants(grants(session, entry.user), look)
        grantee = min(held.grants.default_roles, default=entry.user.quoted)
        for model in same:
            lacks |= dict.fromkeys(privileges.missing_grants(held, model, grantee))
    return list(lacks)


def role_grants(session: MySQLSession, role: str) -> Grants:
    return parse_grants([as_text(line) for (line,) in session.run(f"SHOW GRANTS FOR {role}", needs=NEEDS_READ)], role)


def make(session: MySQLSession, account: str, like: str | None) -> None:
    models = account_entries(session, like) if like else []
    for model in models:
        user = User(account, model.user.host)
        _create(session, user, model.plugin, model.require)
        held = grants(session, model.user)
        for grant in held.granted:
            _give(session, grant, user)
        _start_with(session, held.default_roles, user)
    if not models:
        _create(session, User(account, ANYWHERE), "", "NONE")


def act_as(session: MySQLSession, account: str, role: str) -> None:
    for entry in account_entries(session, account):
        held, named = grants(session, entry.user), role_name(session, role)
        if not held.acts_as(named):
            _give(session, Grant((named,), None), entry.user)
            _start_with(session, held.default_roles | {named}, entry.user, named)


def identify(session: MySQLSession, account: str, password: Sensitive, *, keep_old: bool = False) -> None:
    identified = []
    for entry in account_entries(session, account):
        # Setting the same password again would discard the retained one.
        has_it = keep_old and matches(entry.stored.reveal(), password.reveal())
        by = "" if has_it else _by(session, entry.plugin, password, keep_old)
        identified.append(f"{entry.user.quoted} {by}")
    session.run(f"ALTER USER {', '.join(identified)} ACCOUNT UNLOCK", needs=NEEDS_ALTER)


def shut(session: MySQLSession, account: str) -> None:
    shutting = []
    for entry in account_entries(session, account):
        by = _by(session, entry.plugin, _nobodys()) if entry.plugin in PLUGINS else ""
        shutting.append(f"{entry.user.quoted} {by}")
    if shutting:
        session.run(f"ALTER USER {', '.join(shutting)} ACCOUNT LOCK", needs=NEEDS_ALTER)


def is_locked(session: MySQLSession, user: User) -> bool:
    ((line,),) = session.run(f"SHOW CREATE USER {user.quoted}", needs=NEEDS_READ)
    return re.search(r"\bACCOUNT LOCK\b", re.sub(r"'(?:[^'\\]|\\.|'')*'", "", as_text(line))) is not None


def discard_old(session: MySQLSession, account: str) -> None:
    users = [f"{entry.user.quoted} DISCARD OLD PASSWORD" for entry in account_entries(session, account)]
    if users:
        session.run(f"ALTER USER {', '.join(users)}", needs=NEEDS_ALTER)


def role_name(session: MySQLSession, role: str) -> str:
    return quote_name(role) if session.mariadb else User(role, ANYWHERE).quoted


def _create(session: MySQLSession, user: User, plugin: str, require: str) -> None:
    usual = NATIVE if session.mariadb else SHA2
    plugin = plugin if plugin in PLUGINS else usual
    by = _by(session, plugin, _nobodys())
    session.run(f"CREATE USER IF NOT EXISTS {user.quoted} {by} REQUIRE {require} ACCOUNT LOCK", needs=NEEDS_ALTER)


def _give(session: MySQLSession, grant: Grant, user: User) -> None:
    what = ", ".join(grant.privileges)
    needs = (
        NEEDS_ROLE % what if grant.scope is None else f"GRANT {what} ON {grant.scope} TO {{admin}} WITH GRANT OPTION"
    )
    if grant.rights():
        session.run(grant.statement(user), needs=needs)


def _start_with(session: MySQLSession, roles: frozenset[str], user: User, role: str | None = None) -> None:
    if session.mariadb:
        for name in [role] if role else roles:
            session.run(f"SET DEFAULT ROLE {name} FOR {user.quoted}", needs=NEEDS_DEFAULT_ROLE)
    elif roles:
        session.run(f"SET DEFAULT ROLE {', '.join(sorted(roles))} TO {user.quoted}", needs=NEEDS_ALTER)


def _by(session: MySQLSession, plugin: str, password: Sensitive, keep_old: bool = False) -> str:
    # Stored forms contain no quotes or backslashes.
    stored = hashed(plugin, password.reveal())
    if session.mariadb:
        return f"IDENTIFIED VIA {plugin} USING '{stored}'"
    return f"IDENTIFIED WITH {plugin} AS '{stored}'{' RETAIN CURRENT PASSWORD' if keep_old else ''}"


def _nobodys() -> Sensitive:
    return Sensitive(secrets.token_urlsafe(32))


def as_text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
