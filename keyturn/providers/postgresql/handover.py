"""The statements that give a role what an account owns and may do in one database and the role lacks.

Sources are the server's catalogs: ``aclexplode`` for access lists, ``pg_shdepend`` for ownership (PostgreSQL, "System
Catalogs"). Owned objects are reassigned; grants are repeated with the same options. Names are qualified, as
``search_path`` is empty meanwhile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg2 import sql
from psycopg2.extensions import AsIs
from psycopg2.extensions import cursor as Cursor

from keyturn.providers.postgresql.privileges import KINDS, ObjectKind
from keyturn.providers.postgresql.role_settings import list_elements
from keyturn.providers.postgresql.sessions import account_oid

INHERITS_BY_MEMBERSHIP: Final = 160000
"""Since then, memberships have INHERIT and SET options."""
GRANTS_PARAMETERS: Final = 150000
NOBODY: Final = 2**32 - 1
USAGE: Final = "USAGE"
ADMIN: Final = "MEMBER WITH ADMIN OPTION"
CREATEROLE: Final = "CREATEROLE"
SUPERUSER: Final = "SUPERUSER"


@dataclass(frozen=True)
class Lacking:
    """A statement, and the right on ``role`` that it takes."""

    text: str
    right: str
    role: str = ""
    password: str = ""
    last: bool = False


PARAMETERS: Final = ObjectKind("PARAMETER", "pg_parameter_acl", "quote_ident(t.parname)", "paracl", "10::oid")
"""Settings have no owner: the role that made the cluster counts as it."""

GRANTED: Final = """
SELECT format('GRANT %%s ON {kind.word} %%s TO %%I%%s', g.privilege_type, object.name, %(owner)s::text,
              CASE WHEN bool_or(g.is_grantable) THEN ' WITH GRANT OPTION' ELSE '' END),
       pg_get_userbyid(object.owned_by)
  FROM (SELECT {kind.name} AS name, {kind.acl} AS acl, {kind.owner} AS owned_by
          FROM {kind.catalog} t WHERE {kind.only}) object,
       aclexplode(object.acl) g
 WHERE g.grantee = %(account_oid)s AND object.owned_by <> g.grantee
   AND NOT EXISTS (SELECT FROM aclexplode(object.acl) h WHERE h.grantee = %(owner_oid)s
                      AND h.privilege_type = g.privilege_type AND (h.is_grantable OR NOT g.is_grantable))
 GROUP BY g.privilege_type, object.name, object.owned_by ORDER BY object.name, g.privilege_type
"""

COLUMNS: Final = """
SELECT format('GRANT %%s (%%s) ON TABLE %%s TO %%I%%s', g.privilege_type,
              string_agg(DISTINCT quote_ident(t.attname), ', '), t.attrelid::regclass, %(owner)s::text,
              CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END),
       pg_get_userbyid(c.relowner)
  FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid, aclexplode(t.attacl) g
 WHERE g.grantee = %(account_oid)s AND NOT t.attisdropped AND c.relowner <> g.grantee
   AND NOT EXISTS (SELECT FROM aclexplode(t.attacl) h WHERE h.grantee = %(owner_oid)s
                      AND h.privilege_type = g.privilege_type AND (h.is_grantable OR NOT g.is_grantable))
 GROUP BY g.privilege_type, g.is_grantable, t.attrelid, c.relowner ORDER BY 1
"""

POLICIES: Final = """
SELECT format('ALTER POLICY %%I ON %%s TO %%s, %%I', p.polname, p.polrelid::regclass,
              (SELECT string_agg(role::regrole::text, ', ') FROM unnest(p.polroles) role), %(owner)s::text),
       pg_get_userbyid(c.relowner)
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
 WHERE %(account_oid)s = ANY(p.polroles) AND NOT %(owner_oid)s = ANY(p.polroles) ORDER BY 1
"""

DEFAULT_RIGHTS: Final = """
WITH given AS (
  SELECT CASE d.defaclrole WHEN %(account_oid)s THEN %(owner_oid)s ELSE d.defaclrole END AS maker,
         CASE g.grantee WHEN %(account_oid)s THEN %(owner_oid)s ELSE g.grantee END AS grantee,
         d.defaclnamespace AS schema, d.defaclobjtype AS kind, g.privilege_type AS privilege,
         g.is_grantable AS grantable
    FROM pg_default_acl d, aclexplode(d.defaclacl) g
   WHERE %(account_oid)s IN (d.defaclrole, g.grantee) AND d.defaclrole <> g.grantee)
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %%s%%s GRANT %%s ON %%s TO %%s%%s',
              CASE maker WHEN %(owner_oid)s THEN quote_ident(%(owner)s) ELSE maker::regrole::text END,
              ' IN SCHEMA ' || quote_ident((SELECT nspname FROM pg_namespace WHERE oid = schema)), privilege,
              CASE kind WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' WHEN 'T' THEN 'TYPES'
                        WHEN 'L' THEN 'LARGE OBJECTS' ELSE 'SCHEMAS' END,
              CASE grantee WHEN 0 THEN 'PUBLIC' WHEN %(owner_oid)s THEN quote_ident(%(owner)s)
                           ELSE grantee::regrole::text END,
              CASE WHEN grantable THEN ' WITH GRANT OPTION' ELSE '' END),
       CASE maker WHEN %(owner_oid)s THEN %(owner)s::text ELSE pg_get_userbyid(maker) END
  FROM given
 WHERE maker <> grantee AND NOT EXISTS (
       SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) h
        WHERE d.defaclrole = maker AND d.defaclnamespace = schema AND d.defaclobjtype = kind
          AND h.grantee = given.grantee AND h.privilege_type = privilege AND (h.is_grantable OR NOT grantable))
   AND NOT (grantee = 0 AND schema = 0 AND kind IN ('f', 'T') AND NOT EXISTS (
       SELECT FROM pg_default_acl d WHERE d.defaclrole = maker AND d.defaclnamespace = 0 AND d.defaclobjtype = kind))
 ORDER BY 1
"""

TAKEN_FROM_PUBLIC: Final = """
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I REVOKE %%s FROM PUBLIC', %(owner)s::text,
              CASE d.defaclobjtype WHEN 'f' THEN 'EXECUTE ON ROUTINES' ELSE 'USAGE ON TYPES' END),
       %(owner)s::text
  FROM pg_default_acl d
 WHERE d.defaclrole = %(account_oid)s AND d.defaclnamespace = 0 AND d.defaclobjtype IN ('f', 'T')
   AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) WHERE grantee = 0)
   AND NOT EXISTS (SELECT FROM pg_default_acl o WHERE o.defaclrole = %(owner_oid)s AND o.defaclnamespace = 0
                      AND o.defaclobjtype = d.defaclobjtype
                      AND NOT EXISTS (SELECT FROM aclexplode(o.defaclacl) WHERE grantee = 0))
 ORDER BY 1
"""
"""Default rights of PUBLIC on routines and types that the account has revoked for its own."""

OWNS: Final = """
SELECT EXISTS (SELECT FROM pg_shdepend d
  WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = %(account_oid)s AND d.deptype = 'o'
    AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
    AND NOT EXISTS (SELECT FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid
                       AND c.relpersistence = 't'))
"""

MAPPINGS: Final = """
SELECT srvname FROM pg_user_mappings m WHERE m.umuser = %(account_oid)s
   AND NOT EXISTS (SELECT FROM pg_user_mappings o WHERE o.srvid = m.srvid AND o.umuser = %(owner_oid)s) ORDER BY 1
"""

COPY_MAPPING: Final = """\
DO $keyturn$ BEGIN EXECUTE (SELECT format('CREATE USER MAPPING FOR %I SERVER %I OPTIONS (', {owner}, srvname) ||
  coalesce(string_agg(format('%I %L', option_name, option_value), ', '), '') || ')'
  FROM pg_user_mappings LEFT JOIN LATERAL pg_options_to_table(umoptions) ON true
  WHERE usename = {account} AND srvname = {server} GROUP BY srvname); END $keyturn$"""

ALL_OBJECTS: Final = ("TABLES", "SEQUENCES", "ROUTINES", "TYPES", "SCHEMAS")

STANDING_DEFAULTS: Final = """
SELECT count(DISTINCT d.defaclobjtype) FROM pg_default_acl d, aclexplode(d.defaclacl) g
 WHERE d.defaclrole = %(account_oid)s AND d.defaclnamespace = 0 AND g.grantee = %(owner_oid)s
"""

OWN_SCHEMA: Final = """
SELECT substr(said, 13) FROM pg_db_role_setting s, unnest(s.setconfig) said
 WHERE said LIKE 'search_path=%%' AND s.setrole IN (0, %(account_oid)s)
   AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
 ORDER BY s.setrole DESC, s.setdatabase DESC LIMIT 1
"""

CURRENT_USER: Final = """
SELECT format('the row policy %%I on %%s', p.polname, p.polrelid::regclass) FROM pg_policy p
 WHERE coalesce(pg_get_expr(p.polqual, p.polrelid), '') || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '')
       ~ 'CURRENT_USER|CURRENT_ROLE'
UNION ALL
SELECT format('the default of %%s.%%I', a.adrelid::regclass, t.attname)
  FROM pg_attrdef a JOIN pg_attribute t ON t.attrelid = a.adrelid AND t.attnum = a.adnum
 WHERE pg_get_expr(a.adbin, a.adrelid) ~ 'CURRENT_USER|CURRENT_ROLE'
UNION ALL
SELECT format('the constraint %%I on %%s', conname, conrelid::regclass) FROM pg_constraint
 WHERE contype = 'c' AND conrelid <> 0 AND pg_get_constraintdef(oid) ~ 'CURRENT_USER|CURRENT_ROLE'
UNION ALL
SELECT CASE r.rulename WHEN '_RETURN' THEN format('the view %%s', c.oid::regclass)
                       ELSE format('the rule %%I on %%s', r.rulename, c.oid::regclass) END
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
 WHERE c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
   AND pg_get_ruledef(r.oid) ~ 'CURRENT_USER|CURRENT_ROLE'
UNION ALL
SELECT format('the routine %%s', p.oid::regprocedure) FROM pg_proc p
 WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
   AND (NOT p.prosecdef OR p.proowner = %(account_oid)s) AND p.prosrc || {body} ~* '\\m(current_user|current_role)\\M'
   AND NOT EXISTS (
       SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
 ORDER BY 1
"""

PARSED_BODIES: Final = 140000


class AccountReading:
    def __init__(self, cursor: Cursor, account: str, owner: str) -> None:
        self._cursor = cursor
        self.account, self.owner = account, owner
        self._account, self._owner = quote_role(cursor, account), quote_role(cursor, owner)
        self._by_membership = cursor.connection.server_version >= INHERITS_BY_MEMBERSHIP
        self._values = {
            "account": account,
            "owner": owner,
            "account_oid": as_oid(account_oid(cursor, account)),
            "owner_oid": as_oid(account_oid(cursor, owner)),
        }

    def membership(self) -> Iterator[Lacking]:
        """What makes the account a member, which open sessions inherit at once; then attributes and roles."""
        if self._is_new_member():
            options = " WITH INHERIT TRUE, SET TRUE" if self._by_membership else ""
            yield Lacking(f"GRANT {self._owner} TO {self._account}{options}", ADMIN, self.owner)
            if not self._by_membership and not self._attribute(self.account, "rolinherit"):
                yield Lacking(f"ALTER ROLE {self._account} INHERIT", CREATEROLE, self.account)
        for word in ("CREATEDB", "CREATEROLE", "BYPASSRLS"):
            attribute = f"rol{word.lower()}"
            if self._attribute(self.account, attribute) and not self._attribute(self.owner, attribute):
                yield Lacking(f"ALTER ROLE {self._owner} {word}", SUPERUSER)
        yield from self._memberships()

    def here(self) -> Iterator[Lacking]:
        if self._asked(OWNS)[0][0]:
            yield Lacking(f"REASSIGN OWNED BY {self._account} TO {self._owner}", USAGE, self.account)
        settings = [PARAMETERS] if self._cursor.connection.server_version >= GRANTS_PARAMETERS else []
        queries = [GRANTED.format(kind=kind) for kind in (*KINDS, *settings)]
        for query in (*queries, COLUMNS, POLICIES, DEFAULT_RIGHTS, TAKEN_FROM_PUBLIC):
            yield from (Lacking(text, USAGE, role) for text, role in self._asked(query))
        for (server,) in self._asked(MAPPINGS):
            names = {"owner": self.owner, "account": self.account, "server": server}
            literals = {name: sql.Literal(value).as_string(self._cursor) for name, value in names.items()}
            yield Lacking(COPY_MAPPING.format(**literals), SUPERUSER)
        yield from self._new_objects()
        yield from self._search_path()

    def acting(self) -> Iterator[Lacking]:
        if self.acts_as() != self.owner:
            yield Lacking(f"ALTER ROLE {self._account} SET role = {self._owner}", CREATEROLE, self.account, last=True)

    def acts_as(self) -> str:
        query = """
SELECT substr(said, 6) FROM pg_db_role_setting s, unnest(s.setconfig) said
 WHERE s.setrole = %(account_oid)s AND said LIKE 'role=%%' ORDER BY s.setdatabase LIMIT 1"""
        settings = self._asked(query)
        return str(settings[0][0]) if settings else self.account

    def asks(self) -> Iterator[str]:
        if self.acts_as() != self.owner:
            parsed = self._cursor.connection.server_version >= PARSED_BODIES
            body = "coalesce(pg_get_function_sqlbody(p.oid), '')" if parsed else "''"
            for (what,) in self._asked(CURRENT_USER.format(body=body)):
                yield f"{what} asks for the current user, who is {self.owner} then: does it mean {self.account}?"

    def _is_new_member(self) -> bool:
        query = """
SELECT EXISTS (SELECT FROM pg_auth_members m WHERE m.member = %(account_oid)s AND m.roleid = %(owner_oid)s{options})"""
        options = " AND m.inherit_option AND m.set_option" if self._by_membership else ""
        return not self._asked(query.format(options=options))[0][0]

    def _memberships(self) -> Iterator[Lacking]:
        names = ("admin", "inherit", "set") if self._by_membership else ("admin",)
        columns = ", ".join(f"m.{name}_option" for name in names)
        covered = " AND ".join(f"o.{name}_option >= m.{name}_option" for name in names)
        query = f"""
SELECT r.rolname, {columns} FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
 WHERE m.member = %(account_oid)s AND m.roleid <> %(owner_oid)s AND NOT EXISTS (
       SELECT FROM pg_auth_members o WHERE o.member = %(owner_oid)s AND o.roleid = m.roleid AND {covered})
 ORDER BY 1"""  # noqa: S608  constants
        for role, *options in self._asked(query):
            options_text = ", ".join(f"{name} {on}".upper() for name, on in zip(names, options, strict=True))
            how = f" WITH {options_text}" if self._by_membership else " WITH ADMIN OPTION" if options[0] else ""
            yield Lacking(f"GRANT {quote_role(self._cursor, role)} TO {self._owner}{how}", ADMIN, role)

    def _new_objects(self) -> Iterator[Lacking]:
        """Grants the role what open sessions create from now on: the account still owns that."""
        if self.acts_as() == self.owner or self._asked(STANDING_DEFAULTS)[0][0] >= len(ALL_OBJECTS):
            return
        for kind in ALL_OBJECTS:
            text = f"ALTER DEFAULT PRIVILEGES FOR ROLE {self._account} GRANT ALL ON {kind} TO {self._owner}"
            yield Lacking(text, USAGE, self.account)

    def _search_path(self) -> Iterator[Lacking]:
        """Keeps a schema with the account's name in the path: "$user" will be the role's name."""
        query = "SELECT 1 FROM pg_namespace WHERE nspname = %(account)s"
        if self.acts_as() == self.owner or not self._asked(query):
            return
        setting = self._asked(OWN_SCHEMA)
        path = list_elements(str(setting[0][0])) if setting else ["$user", "public"]
        if "$user" not in path or self.account in path:
            return
        path.insert(path.index("$user") + 1, self.account)
        names = ", ".join(sql.Literal(name).as_string(self._cursor) for name in path)
        place = quote_role(self._cursor, str(self._asked("SELECT current_database()")[0][0]))
        text = f"ALTER ROLE {self._account} IN DATABASE {place} SET search_path = {names}"
        yield Lacking(text, CREATEROLE, self.account)

    def _attribute(self, role: str, attribute: str) -> bool:
        query = sql.SQL("SELECT {} FROM pg_roles WHERE rolname = %s").format(sql.Identifier(attribute))
        self._cursor.execute(query, (role,))
        row = self._cursor.fetchone()
        return bool(row and row[0])

    def _asked(self, query: str) -> Sequence[tuple[Any, ...]]:
        self._cursor.execute(query, self._values)
        return self._cursor.fetchall()


def as_oid(number: int | None) -> AsIs:
    return AsIs(f"'{NOBODY if number is None else number}'::oid")


def quote_role(cursor: Cursor, name: str) -> str:
    cursor.execute("SELECT quote_ident(%s)", (name,))
    row = cursor.fetchone()
    return str(row[0]) if row else name
