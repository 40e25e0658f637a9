# ruff: noqa: S608  the names are the test's own
"""An application whose account in PostgreSQL has grown over the years, and that is at work while others change it."""

import secrets
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

from keyturn.core.sensitive import SecretFields
from local.prepare import DATABASE
from tests.support.hooks import eventually
from tests.support.lab import Declared, Lab


class AtWork:
    """An application that does all it ever does again and again, in an open session and in new ones."""

    def __init__(self, work: Callable[[int], None]) -> None:
        self.rounds = 0
        self.errors: list[Any] = []
        self._work, self._stop = work, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self.goes_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def goes_on(self) -> None:
        """Wait for two more whole rounds, none of which failed."""
        before = self.rounds
        assert eventually(lambda: self.errors or self.rounds > before + 1)
        assert self.errors == []

    def _run(self) -> None:
        while not (self._stop.is_set() or self.errors):
            try:
                self._work(self.rounds)
            except Exception as error:  # noqa: BLE001  whatever it is, the application was cut off
                self.errors.append(str(error))
            self.rounds += 1


def existing_account(lab: Lab, name: str) -> Declared:
    """An application's account as they grow: it owns tables, and was granted this and that."""
    account, password = f"{name}_a", secrets.token_urlsafe(24)
    for statement in (
        f"CREATE ROLE {account} LOGIN PASSWORD '{password}'",
        f"GRANT CREATE ON SCHEMA public TO {account}",
        f"CREATE ROLE {name}_readers",
        f"GRANT {name}_readers TO {account}",
        f"CREATE TABLE {name}_reference AS SELECT 1 AS n",
        f"GRANT SELECT ON {name}_reference TO {name}_readers",
        f"CREATE TABLE {name}_inbox (id serial, n int, secret int)",
        f"GRANT INSERT (n), SELECT (n) ON {name}_inbox TO {account}",
        f"GRANT USAGE ON SEQUENCE {name}_inbox_id_seq TO {account}",
        f"CREATE SCHEMA {name}_s",
        f"GRANT USAGE ON SCHEMA {name}_s TO {account}",
        f"CREATE FUNCTION {name}_s.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        f"REVOKE EXECUTE ON FUNCTION {name}_s.one() FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION {name}_s.one() TO {account}",
        f"CREATE TABLE {name}_rows AS SELECT 1 AS n",
        f"ALTER TABLE {name}_rows ENABLE ROW LEVEL SECURITY",
        f"GRANT SELECT ON {name}_rows TO {account}",
        f"CREATE POLICY own ON {name}_rows FOR SELECT TO {account} USING (true)",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {name}_s GRANT SELECT ON TABLES TO {account}",
        f"CREATE TABLE {name}_mine (n int)",
        f"ALTER TABLE {name}_mine OWNER TO {account}",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {account} GRANT SELECT ON TABLES TO {name}_readers",
    ):
        lab.sql(statement)
    fields = {"username": account, "password": password, "host": lab.world.host, "port": lab.world.port}
    lab.hub.write(f"tests/{name}", SecretFields(fields), cas=0)
    target = {"kind": "postgresql", "host": lab.world.host, "port": lab.world.port, "database": DATABASE}
    pg = {**target, "admin": f"targets/{name}", "sslmode": "disable"}
    rotation = {"strategy": "alternating-users", "users": (account, f"{name}_b"), "owner_role": name, "target": "pg"}
    timing = {"interval": "30d", "grace": "0s"}
    data = {"owner": "tests@example.com", "classification": "internal", "rotation": {**timing, **rotation}}
    return Declared(f"tests/{name}", data, fields, (account, f"{name}_b"), name, targets={"pg": pg})


@dataclass
class Day:
    """What the application keeps from one round to the next: its open session, and the table that this one makes."""

    name: str
    makes: str
    version: int = 0
    session: Any = None


def ordinary_day(lab: Lab, path: str, day: "Day") -> Callable[[int], None]:
    """What the application does: in a session that stays, and in a new one with what the hub says."""
    name = day.name

    def work(number: int) -> None:
        current = lab.hub.read(path)
        assert current is not None
        if current.version != day.version:
            day.version, day.session = current.version, lab.connect(current.fields.reveal())
            day.session.autocommit = True
        makes = day.makes
        query(day.session, name, number, makes)
        with closing(lab.connect(current.fields.reveal())) as session:
            session.autocommit = True
            query(session, name, number, f"{name}_made")
            with session.cursor() as cursor:
                cursor.execute(f"INSERT INTO {makes} VALUES ({number})")
                cursor.execute(f"DROP TABLE {name}_made")

    return work


def query(session: Any, name: str, number: int, makes: str) -> None:
    """One round of it."""
    with session.cursor() as cursor:
        cursor.execute(f"INSERT INTO {name}_mine VALUES ({number})")
        cursor.execute(f"ALTER TABLE {name}_mine SET (fillfactor = {50 + number % 50})")
        cursor.execute(f"SELECT n FROM {name}_reference")
        cursor.execute(f"INSERT INTO {name}_inbox (n) VALUES ({number})")
        cursor.execute(f"SELECT {name}_s.one()")
        cursor.execute(f"SELECT count(*) FROM {name}_rows")
        assert cursor.fetchone() == (1,), "the rows have vanished"
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {makes} (n int)")
        cursor.execute("SELECT has_table_privilege(%s, %s, 'SELECT')", (f"{name}_readers", makes))
        assert cursor.fetchone() == (True,), "what it makes can't be read by whom it shall be read"
