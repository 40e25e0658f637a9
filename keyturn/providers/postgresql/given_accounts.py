"""Login roles that are made for one grant each, with a mark and an expiry.

VALID UNTIL makes the server refuse expired logins even if Keyturn never returns. Roles without our mark are never
touched.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from keyturn.core.errors import Conflict, Denied
from keyturn.core.sensitive import Sensitive
from keyturn.providers.postgresql import accounts
from keyturn.providers.postgresql.scram import verifier
from keyturn.providers.postgresql.target import PostgreSQL

MARK: Final = re.compile(r"\[keyturn grant=([^\]\s]+) of=([^\]\s]+)\]")

MARKED: Final = """
SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_roles
WHERE shobj_description(oid, 'pg_authid') LIKE '%[keyturn grant=%'
"""
MEMBERSHIP: Final = """
SELECT format('GRANT %%I TO %%I', r.rolname, current_user) FROM pg_roles r
 WHERE r.rolname = %s AND NOT pg_has_role(current_user, r.oid, 'MEMBER')
"""
ENDS: Final = "SELECT (clock_timestamp() + %s * interval '1 second')::text"


class GivenAccounts:
    """An :class:`keyturn.core.ports.grants.AccountMaker` on PostgreSQL.

    Each account is a member of ``roles`` only; ``owner`` inherits its objects in the target's database. ``workspace``
    identifies its maker. The server's admin needs CREATEROLE, ADMIN OPTION on the roles, membership in the owner, and
    pg_signal_backend.
    """

    def __init__(self, server: PostgreSQL, roles: Sequence[str], owner: str, workspace: str) -> None:
        self._server = server
        self._roles = roles
        self._owner = owner
        self._workspace = workspace

    def missing_rights(self) -> Sequence[str]:
        lacking = list(self._server.missing_grants(self._roles))
        with self._server.transaction("ask for the rights on", self._owner) as cursor:
            cursor.execute(MEMBERSHIP, (self._owner,))
            lacking += [statement for (statement,) in cursor.fetchall()]
        return lacking

    def make(self, account: str, grant: str, password: Sensitive, life: timedelta) -> None:
        with self._server.transaction("make", account) as cursor:
            if accounts.lock_account(cursor, account) is not None:
                problem = "there is an account of that name already"
                raise Conflict("make", f"{self._server.name}:{account}", problem, "It is tried again by itself")
            cursor.execute(ENDS, (life.total_seconds(),))
            until, role = accounts.first(cursor), sql.Identifier(account)
            made = sql.SQL("CREATE ROLE {} LOGIN NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD %s VALID UNTIL %s")
            cursor.execute(made.format(role), (verifier(cursor.connection, account, password), until))
            mark = f"[keyturn grant={grant} of={self._workspace}]"
            cursor.execute(sql.SQL("COMMENT ON ROLE {} IS %s").format(role), (mark,))
            for group in self._roles:
                cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), role))

    def end(self, account: str, grant: str) -> int:
        """End its sessions, reassign what it owns, and drop it; the number of ended sessions.

        Absent is success. Raises Denied for an account without this grant's mark.
        """
        with self._server.transaction("look at", account) as cursor:
            if not self._locked(cursor, account, grant):
                return 0
        ended = self._server.end_sessions(account, lambda: self._shut(account, grant))
        with self._server.transaction("drop", account) as cursor:
            if self._locked(cursor, account, grant):
                self._drop(cursor, account)
        return ended

    def own(self) -> Mapping[str, str]:
        with self._server.transaction("look for", "accounts of grants") as cursor:
            cursor.execute(MARKED)
            return dict(self._ours(cursor.fetchall()))

    def close(self) -> None:
        self._server.close()

    def _ours(self, rows: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for account, comment in rows:
            mark = MARK.search(comment)
            if mark and mark[2] == self._workspace:
                yield account, mark[1]

    def _locked(self, cursor: Cursor, account: str, grant: str) -> bool:
        """Whether the account exists, locked until the transaction ends. Raises Denied without this grant's mark."""
        comment = accounts.lock_account(cursor, account)
        if comment is None:
            return False
        mark = MARK.search(comment)
        if mark is None or mark.groups() != (grant, self._workspace):
            problem = "an account of that name bears another mark, or none: it was not made for this grant"
            raise Denied("end", f"{self._server.name}:{account}", problem, "See who has made it, and end it by hand")
        return True

    def _shut(self, account: str, grant: str) -> None:
        with self._server.transaction("disable", account) as cursor:
            if self._locked(cursor, account, grant):
                accounts.shut(cursor, account)

    def _drop(self, cursor: Cursor, account: str) -> None:
        names = {"account": sql.Identifier(account), "owner": sql.Identifier(self._owner)}
        cursor.execute(sql.SQL("GRANT {account} TO CURRENT_USER").format(**names))
        cursor.execute(sql.SQL("REASSIGN OWNED BY {account} TO {owner}").format(**names))
        cursor.execute(sql.SQL("DROP OWNED BY {account}").format(**names))
        cursor.execute(sql.SQL("DROP ROLE {account}").format(**names))
