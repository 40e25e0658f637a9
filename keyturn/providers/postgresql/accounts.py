"""The statements that create, mark and compare PostgreSQL's roles, each in its cursor's transaction."""

import re
from collections.abc import Collection
from typing import Final

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from keyturn.providers.postgresql.role_settings import copy_settings

FENCE: Final = re.compile(r" ?\[keyturn sequence=(\d+)\]")

LOCK: Final = """
SELECT pg_advisory_xact_lock(hashtextextended('keyturn:' || %s, 0));
SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s
"""
"""Two statements in one round trip: the second sees what was committed before the first got the lock."""

COMMENTS: Final = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = ANY(%s)"

MEMBERSHIPS: Final = """
SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
WHERE r.rolname = %s AND NOT EXISTS (
      SELECT FROM pg_roles o WHERE o.rolname = %s AND pg_has_role(o.oid, g.oid, 'MEMBER'))
ORDER BY 1
"""


LOGINS: Final = r"""
SELECT r.rolname, array(
  SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
  WHERE m.member = r.oid AND NOT g.rolcanlogin AND g.rolname NOT LIKE 'pg\_%' ORDER BY 1)::text[]
FROM pg_roles r WHERE r.rolcanlogin AND r.rolname NOT LIKE 'pg\_%' ORDER BY 1
"""


def login_roles(cursor: Cursor) -> dict[str, frozenset[str]]:
    cursor.execute(LOGINS)
    return {str(name): frozenset(groups) for name, groups in cursor.fetchall()}


def lock_account(cursor: Cursor, account: str) -> str | None:
    """Lock the account until the transaction ends; the role's comment, None if there is no role."""
    cursor.execute(LOCK, (account, account))
    return first(cursor)


def role_exists(cursor: Cursor, account: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (account,))
    return cursor.fetchone() is not None


def marked_sequence(comment: str | None) -> int | None:
    stands = FENCE.search(comment or "")
    return int(stands[1]) if stands else None


def highest(cursor: Cursor, accounts: Collection[str]) -> int:
    cursor.execute(COMMENTS, (list(accounts),))
    return max((marked_sequence(comment) or 0 for (comment,) in cursor.fetchall()), default=0)


def mark(cursor: Cursor, account: str, comment: str, sequence: int) -> None:
    text = FENCE.sub("", comment) + f" [keyturn sequence={sequence}]"
    cursor.execute(sql.SQL("COMMENT ON ROLE {} IS %s").format(sql.Identifier(account)), (text.strip(),))


def create_role(cursor: Cursor, account: str, like: str | None, owner: str | None) -> None:
    """Create the account without login, with the settings of ``like`` and its memberships beyond ``owner``'s."""
    cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(account)))
    cursor.execute(MEMBERSHIPS, (like, owner))
    for (group,) in cursor.fetchall():
        cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(account)))
    if like:
        copy_settings(cursor, account, like)


def act_as(cursor: Cursor, account: str, owner: str) -> None:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s AND %s = ANY(rolconfig)", (account, f"role={owner}"))
    if cursor.fetchone():
        return
    names = {"owner": sql.Identifier(owner), "account": sql.Identifier(account)}
    cursor.execute(sql.SQL("GRANT {owner} TO {account}").format(**names))
    cursor.execute(sql.SQL("ALTER ROLE {account} SET role = {owner}").format(**names))


def let_in(cursor: Cursor, account: str, verifier: str) -> None:
    cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD %s").format(sql.Identifier(account)), (verifier,))


def shut(cursor: Cursor, account: str) -> None:
    cursor.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(account)))


def first(cursor: Cursor) -> str | None:
    row = cursor.fetchone()
    return str(row[0]) if row else None
