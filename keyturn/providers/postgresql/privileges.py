"""The effective rights that one PostgreSQL account has and another lacks: inherited, or of the role that it acts as.

The server's ``has_*_privilege`` functions decide, since an account can get a right in many ways (PostgreSQL, "Access
Privilege Inquiry Functions").
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakSet

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from keyturn.providers.accounts import Missing
from keyturn.providers.postgresql.role_settings import missing_settings

WHO: Final = """
WITH who AS (
    SELECT model.oid AS model, model.rolname AS model_name, coalesce(acts.oid, model.oid) AS model_acts,
           account.oid AS account, account_acts.oid AS account_acts
      FROM pg_roles model
      JOIN pg_roles account ON account.rolname = %(account)s
      JOIN pg_roles account_acts ON account_acts.rolname = %(acts_as)s
      LEFT JOIN LATERAL (
           SELECT substr(said, 6) AS name FROM pg_db_role_setting s, unnest(s.setconfig) said
            WHERE s.setrole = model.oid AND said LIKE 'role=%%'
              AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
            ORDER BY s.setdatabase DESC LIMIT 1) setting ON true
      LEFT JOIN pg_roles acts ON acts.rolname = setting.name AND pg_has_role(model.oid, acts.oid, 'MEMBER')
     WHERE model.rolname = %(like)s)
"""
"""The two accounts and the roles that they act as from login."""

ACTING: Final = """
SELECT coalesce((SELECT substr(said, 6) FROM pg_db_role_setting s, unnest(s.setconfig) said
                  WHERE s.setrole = r.oid AND said LIKE 'role=%%'
                    AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                  ORDER BY s.setdatabase DESC LIMIT 1), r.rolname)
  FROM pg_roles r WHERE r.rolname = %s
"""

LACKS: Final = "(({0} AND NOT {2}) OR ({1} AND NOT {2} AND NOT {3}))"  # active rights must be active, others reachable


def lacking_condition(inquiry: str) -> str:
    return LACKS.format(*(inquiry.format(f"who.{role}") for role in ("model_acts", "model", "account_acts", "account")))


@dataclass(frozen=True)
class ObjectKind:
    """One kind of object with an access list: its catalog ``t``, SQL for its columns, and its inquiry function."""

    word: str
    catalog: str
    name: str
    acl: str
    owner: str
    inquiry: str = ""
    privileges: tuple[str, ...] = ()
    only: str = "true"

    @property
    def query(self) -> str:
        """The rights that the candidate lacks; objects with rights of owner and PUBLIC only distinguish no accounts."""
        privileges = ", ".join(f"'{privilege}'" for privilege in self.privileges)
        place = "" if self.word == "TABLE" else f"{self.word.lower()} "
        return f"""
SELECT 4, p || ' on {place}' || {self.name}, 'GRANT ' || p || ' ON {self.word} ' || {self.name} || ' TO %%s'
  FROM who, {self.catalog} t, unnest(ARRAY[{privileges}]) p
 WHERE {self.only} AND t.{self.acl} IS NOT NULL
   AND EXISTS (SELECT FROM aclexplode(t.{self.acl}) WHERE grantee NOT IN (0, t.{self.owner}))
   AND {lacking_condition(f"has_{self.inquiry}_privilege({{}}, t.oid, p)")}"""  # noqa: S608  constants


TABLE: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
SEQUENCE: Final = ("USAGE", "SELECT", "UPDATE")
DATABASE: Final = ("CONNECT", "CREATE", "TEMPORARY")
CLASS: Final = "t.oid::regclass::text"
KEPT: Final = "t.relpersistence <> 't' AND t.relkind"

KINDS: Final = (
    ObjectKind("TABLE", "pg_class", CLASS, "relacl", "relowner", "table", TABLE, f"{KEPT} <> 'S'"),
    ObjectKind("SEQUENCE", "pg_class", CLASS, "relacl", "relowner", "sequence", SEQUENCE, f"{KEPT} = 'S'"),
    ObjectKind("SCHEMA", "pg_namespace", "quote_ident(t.nspname)", "nspacl", "nspowner", "schema", ("USAGE", "CREATE")),
    ObjectKind("ROUTINE", "pg_proc", "t.oid::regprocedure::text", "proacl", "proowner", "function", ("EXECUTE",)),
    ObjectKind("TYPE", "pg_type", "t.oid::regtype::text", "typacl", "typowner", "type", ("USAGE",)),
    ObjectKind("LANGUAGE", "pg_language", "quote_ident(t.lanname)", "lanacl", "lanowner", "language", ("USAGE",)),
    ObjectKind("FOREIGN DATA WRAPPER", "pg_foreign_data_wrapper", "quote_ident(t.fdwname)", "fdwacl", "fdwowner"),
    ObjectKind(
        "FOREIGN SERVER", "pg_foreign_server", "quote_ident(t.srvname)", "srvacl", "srvowner", "server", ("USAGE",)
    ),
    ObjectKind("LARGE OBJECT", "pg_largeobject_metadata", "t.oid::text", "lomacl", "lomowner"),
    ObjectKind("DATABASE", "pg_database", "quote_ident(t.datname)", "datacl", "datdba", "database", DATABASE),
    ObjectKind("TABLESPACE", "pg_tablespace", "quote_ident(t.spcname)", "spcacl", "spcowner"),
)
"""Those without privileges are handed over, and not compared."""

COLUMNS: Final = f"""
SELECT 4, p || ' on column ' || t.attrelid::regclass || '.' || quote_ident(t.attname),
       'GRANT ' || p || ' (' || quote_ident(t.attname) || ') ON TABLE ' || t.attrelid::regclass || ' TO %%s'
  FROM who, pg_attribute t, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) p
 WHERE t.attacl IS NOT NULL AND NOT t.attisdropped
   AND {lacking_condition("has_column_privilege({}, t.attrelid, t.attnum, p)")}"""  # noqa: S608  constants

ATTRIBUTES: Final = """
SELECT 1, lower(attribute), 'ALTER ROLE %%s ' || attribute
  FROM who JOIN pg_roles model ON model.oid = who.model_acts
       JOIN pg_roles candidate ON candidate.oid = who.account_acts,
       LATERAL (VALUES ('SUPERUSER', model.rolsuper, candidate.rolsuper),
                       ('BYPASSRLS', model.rolbypassrls, candidate.rolbypassrls),
                       ('CREATEDB', model.rolcreatedb, candidate.rolcreatedb),
                       ('CREATEROLE', model.rolcreaterole, candidate.rolcreaterole)) has (attribute, held, given)
 WHERE held AND NOT given AND NOT candidate.rolsuper"""

OWNED: Final = """
SELECT 2, 'ownership of ' || pg_describe_object(d.classid, d.objid, d.objsubid),
       'REASSIGN OWNED BY ' || quote_ident(who.model_name) || ' TO %%s'
  FROM who JOIN pg_shdepend d ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = who.model AND d.deptype = 'o'
 WHERE d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
   AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
   AND NOT EXISTS (SELECT FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid
                      AND c.relpersistence = 't')
   AND NOT pg_has_role(who.account_acts, who.model, 'USAGE')"""

MEMBERSHIPS: Final = """
SELECT 3, 'member of ' || r.oid::regrole, 'GRANT ' || r.oid::regrole || ' TO %%s'
  FROM who, pg_roles r, pg_roles model
 WHERE model.oid = who.model AND NOT model.rolsuper AND r.oid <> who.model AND pg_has_role(who.model, r.oid, 'MEMBER')
   AND NOT pg_has_role(who.account, r.oid, 'MEMBER')"""

POLICIES: Final = """
SELECT 4, 'the row policy ' || quote_ident(p.polname) || ' on ' || p.polrelid::regclass,
       'ALTER POLICY ' || quote_ident(p.polname) || ' ON ' || p.polrelid::regclass || ' TO ' ||
       (SELECT string_agg(one::regrole::text, ', ') FROM unnest(p.polroles) one) || ', %%s'
  FROM who, pg_policy p
 WHERE p.polpermissive AND who.model_acts = ANY(p.polroles) AND NOT EXISTS (
       SELECT FROM unnest(p.polroles) one WHERE one = 0 OR pg_has_role(who.account_acts, one, 'USAGE'))"""

QUERY: Final = (
    WHO
    + "\nUNION ALL ".join(
        [ATTRIBUTES, OWNED, MEMBERSHIPS, COLUMNS, POLICIES, *(kind.query for kind in KINDS if kind.privileges)]
    )
    + "\nORDER BY 1, 2"
)

PREPARE: Final = "SET plan_cache_mode = force_generic_plan; PREPARE keyturn_missing (text, text, text) AS " + (
    QUERY.replace("%(account)s", "$1").replace("%(acts_as)s", "$2").replace("%(like)s", "$3").replace("%%", "%")
)
"""Planned once in a session: planning takes twice as long as running it."""

EXECUTE: Final = "EXECUTE keyturn_missing (%s, %s, %s)"

_prepared: Final[WeakSet[Connection]] = WeakSet()


def acting(cursor: Cursor, account: str) -> str:
    cursor.execute(ACTING, (account,))
    row = cursor.fetchone()
    return str(row[0]) if row else ""


def missing_rights(cursor: Cursor, account: str, acts_as: str, like: str) -> Sequence[Missing]:
    """What ``like`` may do and ``account``, acting as ``acts_as``, may not; causes come first, settings last."""
    if cursor.connection not in _prepared:
        cursor.execute(PREPARE)
        _prepared.add(cursor.connection)
    cursor.execute(EXECUTE, (account, acts_as, like))
    role = sql.Identifier(acts_as).as_string(cursor)
    rights = [Missing(what, remedy.replace("%s", role)) for _, what, remedy in cursor.fetchall()]
    return [*rights, *(missing_settings(cursor, account, like) if account != like else ())]


MISSING_GRANTS: Final = """
SELECT grants FROM (
  SELECT 1 AS place, 'ALTER ROLE ' || quote_ident(current_user) || ' CREATEROLE' AS grants FROM pg_roles
   WHERE rolname = current_user AND NOT rolcreaterole
  UNION ALL
  SELECT 2, 'GRANT pg_signal_backend TO ' || quote_ident(current_user)
   WHERE NOT pg_has_role(current_user, 'pg_signal_backend', 'USAGE')
  UNION ALL
  SELECT 3, 'GRANT ' || quote_ident(rolname) || ' TO ' || quote_ident(current_user) || ' WITH ADMIN OPTION'
    FROM pg_roles WHERE rolname = ANY(%s) AND current_setting('server_version_num')::int >= 160000
     AND NOT pg_has_role(current_user, rolname, 'MEMBER WITH ADMIN OPTION')
) lacking WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) ORDER BY place, grants
"""


def missing_grants(cursor: Cursor, accounts: Collection[str]) -> list[str]:
    cursor.execute(MISSING_GRANTS, (sorted(accounts),))
    return [grants for (grants,) in cursor.fetchall()]
