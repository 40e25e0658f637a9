"""The statements that make, mark and compare PostgreSQL's roles, each within the transaction of its cursor."""

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
"""Two statements in one round trip: the second sees what was committed until the first had the lock."""

COMMENTS: Final = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = ANY(%s)"

MEMBERSHIPS: Final = """
SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
WHERE r.rolname = %s AND NOT EXISTS (
      SELECT FROM pg_roles o WHERE o.rolname = %s AND pg_has_role(o.oid, g.oid, 'MEMBER'))
ORDER BY 1
"""
"""The roles that an account was granted, and that another role does not bring with it."""


LOGINS: Final = r"""
SELECT r.rolname, array(
  SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
  WHERE m.member = r.oid AND NOT g.rolcanlogin AND g.rolname NOT LIKE 'pg\_%' ORDER BY 1)::text[]
FROM pg_roles r WHERE r.rolcanlogin AND r.rolname NOT LIKE 'pg\_%' ORDER BY 1
"""
"""The login roles, and the roles without login that each was granted; not those that the server has by itself."""


def login_roles(cursor: Cursor) -> dict[str, frozenset[str]]:
    """Every role that may log in, and the roles without login that it is a member of."""
    cursor.execute(LOGINS)
    return {str(name): frozenset(groups) for name, groups in cursor.fetchall()}


def lock_account(cursor: Cursor, account: str) -> str | None:
    """Take the account's lock until the transaction ends; the role's comment, None when there is no role."""
    cursor.execute(LOCK, (account, account))
    return first(cursor)


def role_exists(cursor: Cursor, account: str) -> bool:
    """Whether there is such a role."""
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (account,))
    return cursor.fetchone() is not None


def marked_sequence(comment: str | None) -> int | None:
    """The sequence number in a role's comment; None where none has been written."""
    stands = FENCE.search(comment or "")
    return int(stands[1]) if stands else None


def highest(cursor: Cursor, accounts: Collection[str]) -> int:
    """The highest sequence number in the comments of these roles; 0 where none has one."""
    cursor.execute(COMMENTS, (list(accounts),))
    return max((marked_sequence(comment) or 0 for (comment,) in cursor.fetchall()), default=0)


def mark(cursor: Cursor, account: str, comment: str, sequence: int) -> None:
    """Write the sequence number into the role's comment; the rest of the comment stays."""
    text = FENCE.sub("", comment) + f" [keyturn sequence={sequence}]"
    cursor.execute(sql.SQL("COMMENT ON ROLE {} IS %s").format(sql.Identifier(account)), (text.strip(),))


def create_role(cursor: Cursor, account: str, like: str | None, owner: str | None) -> None:
    """Make the account with the memberships and settings of ``like``; it can't log in before it has a password.

    What comes with the role ``owner``, which it is given next, is not granted once more.
    """
    cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(account)))
    cursor.execute(MEMBERSHIPS, (like, owner))
    for (group,) in cursor.fetchall():
        cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(account)))
    if like:
        copy_settings(cursor, account, like)


def act_as(cursor: Cursor, account: str, owner: str) -> None:
    """Let all that the account makes belong to ``owner``: it is a member, and acts as it from login on."""
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s AND %s = ANY(rolconfig)", (account, f"role={owner}"))
    if cursor.fetchone():
        return
    names = {"owner": sql.Identifier(owner), "account": sql.Identifier(account)}
    cursor.execute(sql.SQL("GRANT {owner} TO {account}").format(**names))
    cursor.execute(sql.SQL("ALTER ROLE {account} SET role = {owner}").format(**names))


def let_in(cursor: Cursor, account: str, verifier: str) -> None:
    """Let the account log in with the password of this SCRAM verifier."""
    cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD %s").format(sql.Identifier(account)), (verifier,))


def shut(cursor: Cursor, account: str) -> None:
    """Refuse every login of the account, and forget its password."""
    cursor.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(account)))


def first(cursor: Cursor) -> str | None:
    """The only column of the only row, None without a row."""
    row = cursor.fetchone()
    return str(row[0]) if row else None
