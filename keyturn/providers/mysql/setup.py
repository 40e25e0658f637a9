"""Hand a MySQL or MariaDB server's accounts over to Keyturn: the role gets their rights, and they get the role.

Nothing is revoked from an account. Each statement stays independent, as rights are not transactional here.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

from keyturn.core.errors import Conflict, Denied, Unprivileged
from keyturn.core.rights.target_setup import NO_PASSWORD, OWN_PASSWORD, Handover, Statement, TargetPlan, Transaction
from keyturn.core.sensitive import SecretFields
from keyturn.providers.mysql import accounts
from keyturn.providers.mysql.accounts import ANYWHERE
from keyturn.providers.mysql.grants import Grants, User
from keyturn.providers.mysql.password_hashes import NATIVE, PLUGINS, SHA2, hashed
from keyturn.providers.mysql.privileges import GRANT_OPTION, AccountGrants, Right, rights
from keyturn.providers.mysql.server import REFUSED_LOGIN, MySQLServer, MySQLSession, ServerError

PROXY: Final = "PROXY"
ADMIN_RIGHTS: Final = (
    Right("CREATE USER", "*.*"),
    Right("PROCESS", "*.*"),
    Right("SELECT", "`mysql`.*"),
    *(Right(privilege, "`keyturn`.*") for privilege in ("CREATE", "SELECT", "INSERT", "UPDATE")),
)
"""What Keyturn's user needs on both servers; docs/strategies/alternating-users.md gives the reasons."""


class MySQLSetup:
    """A :class:`keyturn.core.rights.target_setup.TargetSetup` of MySQL 8.0 or newer, or MariaDB 10.6 or newer."""

    def __init__(self, server: MySQLServer, login: SecretFields, admin: SecretFields) -> None:
        self._server = server
        self._login = login
        self._admin = admin
        self._admin_name = admin["username"].reveal()

    def plan(self, handovers: Sequence[Handover]) -> TargetPlan:
        with self._session() as session:
            groups = [("the roles", tuple(self._roles(session, handovers)))]
            groups += [(f"{name} to {each.owner}", tuple(self._handed(session, name, each.owner)))
                       for each in handovers if each.owner for name in each.accounts]  # fmt: skip
            groups += [(f"{absent} next to {account}", tuple(self._second(session, absent, account, owner)))
                       for absent, account, owner in self._absent(session, handovers)]  # fmt: skip
            groups.append(("Keyturn's own user", tuple(self._own(session, handovers))))
            makes_admin = not accounts.account_entries(session, self._admin_name)
        transactions = tuple(
            Transaction(self._server.database, about, statements) for about, statements in groups if statements
        )
        return TargetPlan(self._server.name, self._login["username"].reveal(), transactions, makes_admin)

    def apply(self, handovers: Sequence[Handover], plan: TargetPlan, progress: Callable[[str], None]) -> None:
        """Run the plan's statements; a role's rights are checked before an account starts with it."""
        with self._session() as session:
            for transaction in plan.transactions:
                for statement in transaction.statements:
                    if statement.last:
                        self._insist_on_rights(session, handovers)
                    session.run(self._filled(session, statement))
                progress(transaction.about)
        if more := self.plan(handovers).transactions:
            problem = f"more is lacking by now: {more[0].statements[0].shown}"
            raise Conflict("set up", self._server.name, problem, "Look at the plan again")

    def _roles(self, session: MySQLSession, handovers: Sequence[Handover]) -> Iterator[Statement]:
        for owner in dict.fromkeys(each.owner for each in handovers if each.owner):
            if not role_exists(session, owner):
                yield Statement(f"CREATE ROLE {accounts.role_name(session, owner)}")

    def _handed(self, session: MySQLSession, account: str, owner: str) -> Iterator[Statement]:
        role = accounts.role_name(session, owner)
        for entry in accounts.account_entries(session, account):
            held = accounts.grants(session, entry.user)
            yield from map(Statement, lacking_of_role(session, held, role, role_exists(session, owner)))
            if not held.acts_as(role):
                yield Statement(f"GRANT {role} TO {entry.user.quoted}")
                roles = role if session.mariadb else ", ".join(sorted(held.default_roles | {role}))
                yield starts_with(session, roles, entry.user)

    def _absent(self, session: MySQLSession, handovers: Sequence[Handover]) -> Iterator[tuple[str, str, str]]:
        for each in handovers:
            present = [name for name in each.accounts if accounts.account_entries(session, name)]
            if each.owner and present:
                yield from ((name, present[0], each.owner) for name in each.accounts if name not in present)

    def _second(self, session: MySQLSession, absent: str, account: str, owner: str) -> Iterator[Statement]:
        """Creates the second account, locked. Created by Keyturn's user, it would need the first one's grants."""
        role = accounts.role_name(session, owner)
        for entry in accounts.account_entries(session, account):
            user, plugin = User(absent, entry.user.host), entry.plugin if entry.plugin in PLUGINS else usual(session)
            how = f"VIA {plugin} USING" if session.mariadb else f"WITH {plugin} AS"
            made, locked = f"CREATE USER {user.quoted} IDENTIFIED {how} ", f" REQUIRE {entry.require} ACCOUNT LOCK"
            yield Statement(made, "", NO_PASSWORD, locked, plugin=plugin)
            yield Statement(f"GRANT {role} TO {user.quoted}")
            yield starts_with(session, role, user)

    def _own(self, session: MySQLSession, handovers: Sequence[Handover]) -> Iterator[Statement]:
        entries = accounts.account_entries(session, self._admin_name)
        user = entries[0].user if entries else User(self._admin_name, ANYWHERE)
        if not entries:
            plugin = f"VIA {NATIVE} USING" if session.mariadb else f"WITH {SHA2} AS"
            over = "" if self._server.tls == "disable" else " REQUIRE SSL"
            yield Statement(f"CREATE USER {user.quoted} IDENTIFIED {plugin} ", "", OWN_PASSWORD, over)
        held = accounts.grants(session, user) if entries else Grants((), frozenset())
        own = AccountGrants(held, lambda role: accounts.role_grants(session, role))
        ends_sessions = Right("CONNECTION ADMIN" if session.mariadb else "CONNECTION_ADMIN", "*.*")
        changes_roles = [Right("UPDATE", "`mysql`.*")] if session.mariadb else []
        for right in own.lacks((*ADMIN_RIGHTS, ends_sessions, *changes_roles)):
            yield Statement(f"GRANT {right.stated} ON {right.scope} TO {user.quoted}")
        for owner in dict.fromkeys(each.owner for each in handovers if each.owner):
            role = accounts.role_name(session, owner)
            if f"the role {role} with admin option" not in held.rights():
                yield Statement(f"GRANT {role} TO {user.quoted} WITH ADMIN OPTION")

    def _insist_on_rights(self, session: MySQLSession, handovers: Sequence[Handover]) -> None:
        for owner, account in ((each.owner, name) for each in handovers if each.owner for name in each.accounts):
            role = accounts.role_name(session, owner)
            for entry in accounts.account_entries(session, account):
                held = accounts.grants(session, entry.user)
                if missing := list(lacking_of_role(session, held, role, exists=True)):
                    hint = f"Run as the database's administrator: {missing[0]}"
                    raise Unprivileged("hand over", f"{self._server.name}:{account}", f"{role} lacks a right", hint)

    def _filled(self, session: MySQLSession, statement: Statement) -> str:
        if not statement.password:
            return statement.text
        own = statement.password == OWN_PASSWORD
        password = self._admin["password"].reveal() if own else secrets.token_urlsafe(32)
        return f"{statement.text}'{hashed(statement.plugin or usual(session), password)}'{statement.rest}"

    @contextmanager
    def _session(self) -> Iterator[MySQLSession]:
        user = self._login["username"].reveal()
        try:
            with closing(self._server.log_in(user, self._login["password"])) as session:
                yield session
        except ServerError as error:
            if error.code in REFUSED_LOGIN:
                hint = "Give a login that may create users: --user, --password-file"
                raise Denied("log in to", self._server.name, f"the login {user} is refused", hint) from None
            raise self._server.translated(error, "set up", self._server.name) from None


def lacking_of_role(session: MySQLSession, held: Grants, role: str, exists: bool) -> Iterator[str]:
    granted = accounts.role_grants(session, role) if exists else Grants((), frozenset())
    present = AccountGrants(Grants(granted.granted, granted.roles), lambda name: accounts.role_grants(session, name))
    for name in sorted(held.roles - present.roles - {role}):
        yield f"GRANT {name} TO {role}"
    for right in present.lacks(rights(grant for grant in held.granted if PROXY not in grant.privileges)):
        if right.privilege == GRANT_OPTION:
            yield f"GRANT USAGE ON {right.scope} TO {role} WITH GRANT OPTION"
        else:
            yield f"GRANT {right.stated} ON {right.scope} TO {role}"


def starts_with(session: MySQLSession, roles: str, user: User) -> Statement:
    return Statement(f"SET DEFAULT ROLE {roles} {'FOR' if session.mariadb else 'TO'} {user.quoted}", last=True)


def usual(session: MySQLSession) -> str:
    return NATIVE if session.mariadb else SHA2


def role_exists(session: MySQLSession, name: str) -> bool:
    if session.mariadb:
        return bool(session.first("SELECT 1 FROM mysql.user WHERE User = %s AND is_role = 'Y'", name))
    return bool(session.first("SELECT 1 FROM mysql.user WHERE User = %s AND Host = %s", name, ANYWHERE))


def open_setup(name: str, login: SecretFields, admin: SecretFields, **server: Any) -> MySQLSetup:
    """A target's setup with an administrator's login; ``server`` are the further fields of :class:`MySQLServer`."""
    return MySQLSetup(MySQLServer(name, **server), login, admin)
