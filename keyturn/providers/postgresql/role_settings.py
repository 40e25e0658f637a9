"""A role's settings, copied to another role. The account chooses their text, so statements hold it only as literals."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from keyturn.providers.accounts import Missing

LISTS: Final = frozenset({"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"})
ELEMENT: Final = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)')

LACKING: Final = """
WITH settings AS (
  SELECT s.setrole, s.setdatabase, split_part(said, '=', 1) AS name, substr(said, strpos(said, '=') + 1) AS value
    FROM pg_db_role_setting s, unnest(s.setconfig) said)
SELECT d.datname, m.name, m.value, r.rolsuper OR EXISTS (
         SELECT FROM pg_settings g WHERE lower(g.name) = lower(m.name) AND g.context IN ('user', 'backend'))
  FROM settings m JOIN pg_roles model ON model.oid = m.setrole AND model.rolname = %(like)s
       JOIN pg_roles account ON account.rolname = %(account)s
       JOIN pg_roles r ON r.rolname = current_user
       LEFT JOIN pg_database d ON d.oid = m.setdatabase
 WHERE m.name <> 'role' AND NOT EXISTS (
       SELECT FROM settings o WHERE o.setrole = account.oid AND o.setdatabase = m.setdatabase AND o.name = m.name)
 ORDER BY 1 NULLS FIRST, 2
"""


@dataclass(frozen=True)
class RoleSetting:
    """One setting of a role: for one database, or for all if ``database`` is empty."""

    name: str
    value: str
    database: str = ""
    may_set: bool = True

    def statement(self, account: str) -> sql.Composed:
        words = [sql.SQL("ALTER ROLE {}").format(sql.Identifier(account))]
        words += [sql.SQL("IN DATABASE {}").format(sql.Identifier(self.database))] if self.database else []
        name = sql.SQL(".").join(map(sql.Identifier, self.name.split(".")))
        values = list_elements(self.value) if self.name in LISTS else [self.value]
        literals = sql.SQL(", ").join(map(sql.Literal, values or [""]))
        return sql.SQL(" ").join([*words, sql.SQL("SET {} = {}").format(name, literals)])


def list_elements(text: str) -> list[str]:
    elements = (
        match[1].replace('""', '"') if match[1] is not None else match[2].lower() for match in ELEMENT.finditer(text)
    )
    return list(elements)


def lacking_settings(cursor: Cursor, account: str, like: str) -> list[RoleSetting]:
    cursor.execute(LACKING, {"account": account, "like": like})
    return [RoleSetting(name, value, database or "", may) for database, name, value, may in cursor.fetchall()]


def copy_settings(cursor: Cursor, account: str, like: str) -> None:
    for setting in lacking_settings(cursor, account, like):
        if setting.may_set:
            cursor.execute(setting.statement(account))


def missing_settings(cursor: Cursor, account: str, like: str) -> Sequence[Missing]:
    return [
        Missing(
            f"the setting {setting.name}{f' in {setting.database}' if setting.database else ''}",
            setting.statement(account).as_string(cursor),
        )
        for setting in lacking_settings(cursor, account, like)
    ]
