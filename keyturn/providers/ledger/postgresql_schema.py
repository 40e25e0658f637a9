"""The schema of a PostgreSQL ledger, and the server's errors as Keyturn's."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg2
from psycopg2 import errors as pg
from psycopg2.extensions import connection as Connection

from keyturn.core.errors import KeyturnError
from keyturn.ledger.versions import CUT, CUT_INDEX, DONE, INDEX, OF_VERSION, SECRET_KEY
from keyturn.providers.connection_errors import reason_in
from keyturn.providers.ledger.sqlite_file import NotOurs

LOCK: Final = int.from_bytes(b"ktledger")
"""The writers' advisory lock, which is per database."""
SCHEMA: Final = 1
OF_SECRET: Final = f"split_part(split_part(entry, '{SECRET_KEY}', 2), '\"', 1)"
TELLS_VERSION: Final = "(" + " OR ".join(f"position('{done}' in entry) > 0" for done in DONE) + ")"
TELLS_CUT: Final = f"(position('{CUT}' in entry) > 0 AND position('{OF_VERSION}' in entry) = 0)"
INDEXED: Final = ";\n".join(
    f"CREATE INDEX IF NOT EXISTS {index} ON keyturn_ledger.entries (({OF_SECRET}), sequence) WHERE {condition}"
    for index, condition in ((INDEX, TELLS_VERSION), (CUT_INDEX, TELLS_CUT))
)
HAS_INDEX: Final = "SELECT " + " AND ".join(
    f"to_regclass('keyturn_ledger.{index}') IS NOT NULL" for index in (INDEX, CUT_INDEX)
)

TABLES: Final = f"""
CREATE SCHEMA IF NOT EXISTS keyturn_ledger;
CREATE TABLE keyturn_ledger.entries (sequence bigint PRIMARY KEY, entry text NOT NULL);
CREATE TABLE keyturn_ledger.checkpoints (number bigint PRIMARY KEY, size bigint NOT NULL, note text NOT NULL);
CREATE TABLE keyturn_ledger.tiles (
    level integer, number bigint, hashes bytea NOT NULL, PRIMARY KEY (level, number)
);
CREATE TABLE keyturn_ledger.about (schema integer NOT NULL);
INSERT INTO keyturn_ledger.about VALUES (%(schema)s);
{INDEXED};
"""  # noqa: S608  made of constants alone

LOGIN_REFUSED: Final = re.compile(r"password authentication failed|no password supplied|not permitted to log in")
NO_DATABASE: Final = re.compile(r"database .* does not exist")


def prepare_schema(connection: Connection) -> None:
    with connection.cursor() as cursor:
        if not _there(cursor):
            _make(cursor)
        cursor.execute("SELECT max(schema) FROM keyturn_ledger.about")
        ((schema,),) = cursor.fetchall()
    if schema != SCHEMA:
        hint = "Use the newest Keyturn that wrote it"
        raise NotOurs(f"its schema {schema} is not the {SCHEMA} of this version", hint)


def _there(cursor: Any) -> bool:
    # to_regclass() may use a cache without another process's new tables.
    cursor.execute("SELECT count(*) > 0 FROM pg_tables WHERE schemaname = 'keyturn_ledger' AND tablename = 'about'")
    return bool(cursor.fetchall() == [(True,)])


def _make(cursor: Any) -> None:
    cursor.execute("SELECT current_setting('server_encoding')")
    if cursor.fetchall() != [("UTF8",)]:
        raise NotOurs("its database is not encoded in UTF-8", "Give the ledger a database with ENCODING 'UTF8'")
    cursor.execute(f"BEGIN; SELECT pg_advisory_xact_lock({LOCK})")
    if not _there(cursor):
        cursor.execute(TABLES, {"schema": SCHEMA})
    cursor.execute("COMMIT")


def from_psycopg(kind: type[KeyturnError], error: Exception, doing: str, address: str) -> KeyturnError:
    url = urlsplit(address)
    place = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"  # without role and options
    return kind(doing, f"the ledger {place}", *_problem_and_hint(error))


def _problem_and_hint(error: Exception) -> tuple[str, str]:
    match error:
        case NotOurs():
            return str(error), error.hint
        case pg.InsufficientPrivilege():
            hint = "Let the role use the schema keyturn_ledger, and select from and insert into its tables"
            return "the role may not do that", hint
        case pg.ReadOnlySqlTransaction():
            return "the server is read-only", "Point KEYTURN_LEDGER at the primary"
        case pg.QueryCanceled() | pg.LockNotAvailable():
            return "others have kept it locked for too long", "See pg_locks on the server for who holds it"
        case pg.DiskFull():
            return "the server's disk is full", "Make room on it"
        case psycopg2.OperationalError() if LOGIN_REFUSED.search(str(error)):
            return "the login is refused", "Give the role's password in PGPASSFILE or PGPASSWORD"
        case psycopg2.OperationalError() if NO_DATABASE.search(str(error)):
            return "there is no such database", "Make it, or correct KEYTURN_LEDGER"
        case psycopg2.OperationalError() | psycopg2.InterfaceError():
            return f"the server does not answer{reason_in(str(error))}", "Check KEYTURN_LEDGER, and that it runs"
    code = error.pgcode if isinstance(error, psycopg2.Error) else None
    return f"the server refuses it (SQLSTATE {code})", "See the server's log"
