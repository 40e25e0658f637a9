"""Hand a server's accounts over to Keyturn: read what is missing, show it, and apply all of it or nothing.

Each database is a separate transaction, as ``REASSIGN OWNED`` and grants are per database. It gives up after half a
second where others hold a lock, so as not to block an application.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg2
from psycopg2.extensions import cursor as Cursor

from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError
from keyturn.core.rights.target_setup import OWN_PASSWORD, Handover, Statement, TargetPlan, Transaction
from keyturn.core.sensitive import SecretFields
from keyturn.providers.accounts import Missing, lacking
from keyturn.providers.postgresql.handover import (
    ADMIN,
    CREATEROLE,
    INHERITS_BY_MEMBERSHIP,
    SUPERUSER,
    USAGE,
    AccountReading,
    Lacking,
    quote_role,
)
from keyturn.providers.postgresql.privileges import missing_rights
from keyturn.providers.postgresql.scram import verifier
from keyturn.providers.postgresql.target import PostgreSQL

LIMITS: Final = """
SET LOCAL search_path = ''; SET LOCAL statement_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = '5s'"""

GIVES_WAY: Final = """
SELECT set_config('lock_timeout', greatest(least(500, s.setting::int / 2), 1) || 'ms', true),
       CASE WHEN r.rolsuper THEN set_config('deadlock_timeout', '10ms', true) END
  FROM pg_settings s, pg_roles r WHERE s.name = 'deadlock_timeout' AND r.rolname = current_user"""
"""In a deadlock the session that checks first gives up: that must not be the application."""

BEGINS: Final = ("BEGIN", "SET LOCAL lock_timeout = '500ms'")
ENDS: Final = ("COMMIT",)
TRIES: Final = 5

DATABASES: Final = """
SELECT b.datname, b.datallowconn FROM pg_database b WHERE EXISTS (
  SELECT FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
   WHERE d.dbid = b.oid AND d.refclassid = 'pg_authid'::regclass AND r.rolname = ANY(%s)) ORDER BY 1"""

ROLES: Final = """
SELECT rolname, rolsuper, rolcreaterole, rolcanlogin FROM pg_roles WHERE rolname = ANY(%s)"""

MAY: Final = """
SELECT CASE WHEN %(right)s = 'MEMBER WITH ADMIN OPTION' AND current_setting('server_version_num')::int < 160000
             AND (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user) AND NOT rolsuper THEN true
            ELSE pg_has_role(current_user, oid, %(right)s) END
  FROM pg_roles WHERE rolname = %(role)s"""
"""Whether the login has a right on a role; before 16 CREATEROLE allows granting every role but superusers."""

CIRCLES: Final = """
SELECT x.rolname FROM pg_roles x, pg_roles o, pg_roles a
 WHERE o.rolname = %(owner)s AND a.rolname = %(account)s AND NOT o.rolsuper AND (
       (x.oid = a.oid AND pg_has_role(o.oid, a.oid, 'MEMBER'))
    OR (x.oid NOT IN (a.oid, o.oid) AND pg_has_role(x.oid, o.oid, 'MEMBER')
        AND EXISTS (SELECT FROM pg_auth_members m WHERE m.member = a.oid AND m.roleid = x.oid))) ORDER BY 1"""
"""The roles whose member the owner would have to become but can't: memberships can't be circular."""

Connect = Callable[[str], PostgreSQL]


@dataclass(frozen=True)
class SetupStep:
    database: str
    about: str
    read: Callable[[Cursor], Iterator[Lacking]]
    moved: tuple[tuple[str, str], ...] = ()


class PostgreSQLSetup:
    """A :class:`keyturn.core.rights.target_setup.TargetSetup` of a PostgreSQL server, 12 or newer."""

    def __init__(self, name: str, database: str, connect: Connect, admin: SecretFields) -> None:
        self._name = name
        self._database = database
        self._connect = connect
        self._admin = admin
        self._admin_name = admin["username"].reveal()

    def plan(self, handovers: Sequence[Handover]) -> TargetPlan:
        with self._session(self._database) as cursor:
            login = str(self._login(cursor, "rolname"))
            steps, notes = self._steps(cursor, handovers)
            asks: list[str] = []
            makes_admin = not self._present(cursor, [self._admin_name])
        transactions = []
        for step in steps:
            with self._session(step.database) as cursor:
                asks += [
                    what for account, owner in step.moved for what in AccountReading(cursor, account, owner).asks()
                ]
                if statements := self._statements(cursor, step):
                    transactions.append(Transaction(step.database, step.about, statements, BEGINS, ENDS))
        texts = (tuple(dict.fromkeys(lines)) for lines in (notes, asks))
        return TargetPlan(self._name, login, tuple(transactions), makes_admin, *texts)

    def apply(self, handovers: Sequence[Handover], plan: TargetPlan, progress: Callable[[str], None]) -> None:
        plan.insist_on_rights()
        shown = {each.shown for transaction in plan.transactions for each in transaction.statements}
        with self._session(self._database) as cursor:
            steps, _ = self._steps(cursor, handovers)
        for step in steps:
            if any(each.database == step.database and each.about == step.about for each in plan.transactions):
                self._carry_out(step, shown)
                progress(f"{step.database}: {step.about}")

    def _steps(self, cursor: Cursor, handovers: Sequence[Handover]) -> tuple[list[SetupStep], list[str]]:
        present = self._present(cursor, [*(name for each in handovers for name in (*each.accounts, each.owner))])
        insist_on_ordinary(self._name, present, handovers)
        there = [replace(each, accounts=tuple(a for a in each.accounts if a in present)) for each in handovers]
        notes: list[str] = []
        steps = [SetupStep(self._database, "roles", lambda cursor: self._roles(cursor, there))]
        for handover in there:
            if handover.owner and handover.accounts:
                self._insist_on_free(cursor, handover)
                notes += self._databases(cursor, handover, steps)
        return steps, notes

    def _databases(self, cursor: Cursor, handover: Handover, steps: list[SetupStep]) -> Iterator[str]:
        cursor.execute(DATABASES, (list(handover.accounts),))
        used = dict(cursor.fetchall())
        for name, open_to_logins in used.items():
            if not open_to_logins:
                yield f"{name} allows no login, and something there depends on {' and '.join(handover.accounts)}"
        databases = [*(name for name, may in used.items() if may and name != self._database), self._database]
        moved = tuple((account, handover.owner) for account in handover.accounts)
        about = f"{' and '.join(handover.accounts)} to {handover.owner}"
        for number, database in enumerate(databases):
            first, last = number == 0, database == self._database
            steps.append(SetupStep(database, about, reader(moved, first=first, last=last), moved))

    def _roles(self, cursor: Cursor, handovers: Sequence[Handover]) -> Iterator[Lacking]:
        named = {name for each in handovers for name in (*each.accounts, each.owner) if name}
        present = self._present(cursor, [*named, self._admin_name])
        for owner in dict.fromkeys(each.owner for each in handovers if each.owner and each.owner not in present):
            yield Lacking(f"CREATE ROLE {quote_role(cursor, owner)} NOLOGIN", CREATEROLE)
        name = quote_role(cursor, self._admin_name)
        superuser, creates, logs_in = present.get(self._admin_name, (False, False, False))
        if self._admin_name not in present:
            yield Lacking(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD ", CREATEROLE, password=OWN_PASSWORD)
        elif not superuser and not (creates and logs_in):
            yield Lacking(f"ALTER ROLE {name} LOGIN CREATEROLE", CREATEROLE, self._admin_name)
        if not superuser:
            held = self._administered(cursor)
            if "pg_signal_backend" not in held:
                yield Lacking(f"GRANT pg_signal_backend TO {name}", ADMIN, "pg_signal_backend")
            apart = ", INHERIT FALSE, SET FALSE" if by_membership(cursor) else ""
            for role in sorted(named - held):
                yield Lacking(f"GRANT {quote_role(cursor, role)} TO {name} WITH ADMIN OPTION{apart}", ADMIN, role)

    def _administered(self, cursor: Cursor) -> set[str]:
        cursor.execute(
            """
SELECT r.rolname FROM pg_roles r, pg_roles a WHERE a.rolname = %s
   AND (pg_has_role(a.oid, r.oid, 'MEMBER WITH ADMIN OPTION')
        OR r.rolname = 'pg_signal_backend' AND pg_has_role(a.oid, r.oid, 'USAGE'))""",
            (self._admin_name,),
        )
        return {name for (name,) in cursor.fetchall()}

    def _present(self, cursor: Cursor, roles: Sequence[str]) -> dict[str, tuple[bool, bool, bool]]:
        cursor.execute(ROLES, (list(roles),))
        return {name: tuple(attributes) for name, *attributes in cursor.fetchall()}

    def _insist_on_free(self, cursor: Cursor, handover: Handover) -> None:
        for account in handover.accounts:
            acts_as = AccountReading(cursor, account, handover.owner).acts_as()
            if acts_as not in (account, handover.owner):
                problem = f"its sessions act as {acts_as} already, and what it makes belongs to that"
                raise Invalid("hand over", f"{self._name}:{account}", problem, f"Name {acts_as} as owner_role")
            cursor.execute(CIRCLES, {"owner": handover.owner, "account": account})
            if row := cursor.fetchone():
                problem = f"{handover.owner} can't be made a member of {row[0]}: one of them is the other's already"
                hint = f"Name another owner_role, or take {handover.owner} and {row[0]} from each other"
                raise Invalid("hand over", f"{self._name}:{account}", problem, hint)

    def _statements(self, cursor: Cursor, step: SetupStep) -> tuple[Statement, ...]:
        """The missing statements and what each requires; the login joins roles where needed, and leaves them."""
        needed = list(step.read(cursor))
        if not needed or self._login(cursor, "rolsuper"):
            return tuple(Statement(each.text, "", each.password, last=each.last) for each in needed)
        moved = dict.fromkeys(role for pair in step.moved for role in pair)
        joined = [role for role in moved if self._may(cursor, ADMIN, role) and not self._may(cursor, USAGE, role)]
        options = " WITH INHERIT TRUE, SET TRUE" if by_membership(cursor) else ""
        names = [quote_role(cursor, role) for role in joined]
        return (
            *(Statement(f"GRANT {name} TO CURRENT_USER{options}") for name in names),
            *(
                Statement(each.text, self._lacks(cursor, each, joined), each.password, last=each.last)
                for each in needed
            ),
            *(Statement(f"REVOKE {name} FROM CURRENT_USER", last=True) for name in names),
        )

    def _lacks(self, cursor: Cursor, needed: Lacking, joined: Sequence[str]) -> str:
        if needed.right == SUPERUSER:
            return "a superuser"
        if needed.right == CREATEROLE and not self._login(cursor, "rolsuper OR rolcreaterole"):
            return "CREATEROLE"
        if (
            not needed.role
            or needed.role in joined
            or self._may(cursor, ADMIN if needed.right == CREATEROLE else needed.right, needed.role)
        ):
            return ""
        right = "ADMIN OPTION on" if needed.right != USAGE else "membership in"
        return f"{right} {needed.role}, or a superuser"

    def _may(self, cursor: Cursor, right: str, role: str) -> bool:
        cursor.execute(MAY, {"right": right, "role": role})
        row = cursor.fetchone()
        if row is None:
            # Its creator will administer the role.
            return right == ADMIN and bool(self._login(cursor, "rolsuper OR rolcreaterole"))
        return bool(row[0])

    def _login(self, cursor: Cursor, wanted: str) -> Any:
        cursor.execute(f"SELECT {wanted} FROM pg_roles WHERE rolname = current_user")  # noqa: S608  columns
        row = cursor.fetchone()
        return row[0] if row else None

    def _carry_out(self, step: SetupStep, shown: set[str]) -> None:
        with self._session(step.database) as cursor:
            statements = self._shown(cursor, step, shown)
            for _ in range(TRIES):
                for each in statements:
                    if not each.last:
                        self._run(cursor, each)
                if not (missing := list(self._missing(cursor, step))):
                    break
                # Open sessions have created more since.
                statements = self._shown(cursor, step, shown)
            if missing:
                raise lacking(f"{self._name}:{step.about}", missing)
            for each in statements:
                if each.last:
                    self._run(cursor, each)

    def _shown(self, cursor: Cursor, step: SetupStep, shown: set[str]) -> tuple[Statement, ...]:
        """What is missing now. Raises Conflict for statements that the plan did not show."""
        statements = self._statements(cursor, step)
        if more := next((each.shown for each in statements if each.shown not in shown), None):
            problem = f"more is lacking by now: {more}"
            raise Conflict("set up", self._name, problem, "Nothing of this was changed: look at the plan again")
        return statements

    def _missing(self, cursor: Cursor, step: SetupStep) -> Iterator[Missing]:
        for account, owner in step.moved:
            yield from missing_rights(cursor, account, owner, account)
            if self._login(cursor, "rolsuper"):
                cursor.execute(f"SET LOCAL SESSION AUTHORIZATION {quote_role(cursor, account)}")
                cursor.execute(f"SET LOCAL ROLE {quote_role(cursor, owner)}")
                cursor.execute("RESET ROLE; RESET SESSION AUTHORIZATION")

    def _run(self, cursor: Cursor, statement: Statement) -> None:
        try:
            if statement.password:
                made = verifier(cursor.connection, self._admin_name, self._admin["password"])
                cursor.execute(f"{statement.text.replace('%', '%%')}%s", (made,))
            else:
                cursor.execute(statement.text)
        except psycopg2.errors.InsufficientPrivilege as error:
            problem = f"the login may not run {statement.shown} ({error.diag.message_primary})"
            hint = "Nothing of this was changed: " + (error.diag.message_hint or "let a superuser run it")
            raise Denied("set up", self._name, problem, hint) from None

    @contextmanager
    def _session(self, database: str) -> Iterator[Cursor]:
        with closing(self._connect(database)) as server:
            try:
                with server.transaction("set up", database) as cursor:
                    cursor.execute(LIMITS)
                    cursor.execute(GIVES_WAY)
                    yield cursor
            except Denied as error:
                raise of_login(error) from None


def reader(moved: Sequence[tuple[str, str]], *, first: bool, last: bool) -> Callable[[Cursor], Iterator[Lacking]]:
    def read(cursor: Cursor) -> Iterator[Lacking]:
        readings = [AccountReading(cursor, account, owner) for account, owner in moved]
        for reading in readings:
            yield from reading.membership() if first else ()
        for reading in readings:
            yield from reading.here()
        for reading in readings:
            yield from reading.acting() if last else ()

    return read


def by_membership(cursor: Cursor) -> bool:
    return bool(cursor.connection.server_version >= INHERITS_BY_MEMBERSHIP)


def insist_on_ordinary(target: str, present: dict[str, tuple[bool, bool, bool]], handovers: Sequence[Handover]) -> None:
    for account in (account for each in handovers if each.owner for account in each.accounts):
        if present.get(account, (False, False, False))[0]:
            problem = "it is a superuser, and may do what no other role can be given"
            hint = "Take that from it first, and see what it needs: ALTER ROLE ... NOSUPERUSER"
            raise Invalid("hand over", f"{target}:{account}", problem, hint)


def of_login(error: Denied) -> KeyturnError:
    if error.doing != "log in to":
        return error
    hint = "Give a login that may create roles: --user, --password-file"
    return Denied(error.doing, error.name, error.problem, hint)


def open_setup(name: str, login: SecretFields, admin: SecretFields, *, database: str, **server: Any) -> PostgreSQLSetup:
    """A target's setup with an administrator's login; ``server`` are the further settings of :class:`PostgreSQL`."""

    def connect(to: str) -> PostgreSQL:
        return PostgreSQL(name, database=to, admin=lambda: login, **server)

    return PostgreSQLSetup(name, database, connect, admin)
