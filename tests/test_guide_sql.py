# ruff: noqa: S608  the names are the test's own
"""The SQL of the documents, run as it stands there against real servers, under an application that is at work."""

import re
import secrets
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg2
import pytest

from deployments.local.mariadb import MariaDB
from deployments.local.prepare import DATABASE
from keyturn.core.errors import Unprivileged
from keyturn.core.policy import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from tests.support.hooks import eventually
from tests.support.lab import Declared, Lab, fresh
from tests.support.mariadb_lab import MariaDBLab, run

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str, heading: str) -> list[str]:
    """The SQL below a heading of a page."""
    section = (DOCS / page).read_text().partition(f"\n{heading}\n")[2]
    section = re.split(r"(?m)^#+ ", section)[0]
    found = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    assert found, heading
    return found


def named(statements: str, **names: str) -> str:
    """The statements with names of the test's own; longer ones first, since one begins another."""
    for old, new in sorted(names.items(), key=lambda pair: -len(pair[0])):
        statements = re.sub(rf"\b{old}\b", new, statements)
    return statements


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


def test_the_guides_statements_move_an_account_that_an_application_is_using_without_its_noticing(lab: Lab) -> None:
    name = fresh()
    secret = existing_account(lab, name)
    admin = {"username": f"{name}_admin", "password": secrets.token_urlsafe(24)}
    lab.keep(f"targets/{name}", admin)
    names = {"ml_trainer": name, "ml_trainer_a": f"{name}_a", "keyturn_admin": admin["username"]}
    roles, moving = (named(block, **names) for block in blocks("own-vault-and-clouds.md", "## 2. The database"))
    day = Day(name, f"{name}_kept")
    with AtWork(ordinary_day(lab, secret.path, day)) as application:
        lab.sql(roles.replace("'...'", f"'{admin['password']}'"))
        application.goes_on()
        move(lab, moving)
        application.goes_on()
        lab.sql(f"CREATE TABLE {name}_s.later (n int)")
        day.makes = f"{name}_late"  # in the session that was open before, and acts as itself still
        application.goes_on()
        workspace = lab.open(secret).workspace
        with pytest.raises(Unprivileged, match=f"it lacks: ownership of table {name}_late") as refused:
            rotate(workspace, secret.path, Trigger.FORCE)
        assert f"REASSIGN OWNED BY {name}_a TO " in refused.value.hint
        day.version = 0
        application.goes_on()
        lab.sql(next(one for one in moving.splitlines() if one.startswith("REASSIGN OWNED")))
        assert rotate(workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
        assert lab.current(secret)["username"] == f"{name}_b"
        application.goes_on()
    with closing(lab.connect(lab.current(secret))) as session, session.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {name}_s.later")
        assert lab.sql(f"SELECT tableowner FROM pg_tables WHERE tablename = '{name}_late'") == [(name,)]
    assert eventually(lambda: retire(workspace, secret.path).retired)


def move(lab: Lab, statements: str) -> None:
    """Run them until the locks are to be had, as the guide says."""
    for _ in range(20):
        try:
            lab.sql(statements)
        except psycopg2.errors.LockNotAvailable:
            lab.sql("ROLLBACK")
        else:
            return
    raise AssertionError("it never got its locks")


def test_mariadbs_statements_give_an_account_its_role_and_take_nothing_from_an_application(
    mariadb: MariaDB,
) -> None:
    lab, name = MariaDBLab(mariadb), fresh()
    account, password = f"{name}_a", secrets.token_urlsafe(24)
    names = {"orders": name, "orders_a": account, "orders_reader": f"{name}_reader", "keyturn": f"{name}_admin"}
    roles, moving = (named(one, **names) for one in blocks("strategies/alternating-users.md", "### MySQL and MariaDB"))
    for statement in (
        f"CREATE DATABASE {name}",
        f"CREATE DATABASE {name}_other",
        f"CREATE TABLE {name}_other.reference AS SELECT 1 AS n",
        f"CREATE ROLE {name}_reader",
        f"GRANT SELECT ON {name}_other.* TO {name}_reader",
        f"CREATE USER {account} IDENTIFIED BY '{password}'",
        f"GRANT {name}_reader TO {account}",
        f"GRANT CREATE, DROP, INSERT, SELECT ON {name}.* TO {account}",
        f"SET DEFAULT ROLE {name}_reader FOR {account}",
    ):
        lab.sql(statement)
    fields = SecretFields({"username": account, "password": password})

    def work(number: int) -> None:
        with lab.session(fields, name) as fresh_session:
            for session in (kept, fresh_session):
                run(session, "CREATE TABLE IF NOT EXISTS mine (n int)")
                run(session, f"INSERT INTO mine VALUES ({number})")
                run(session, f"SELECT * FROM {name}_other.reference")

    with lab.session(fields, name) as kept, AtWork(work) as application:
        for statement in statements_of(roles):
            if account not in statement:  # those of the account come from the second block
                lab.sql(statement.replace("'...'", f"'{password}'"))
                application.goes_on()
        for statement in statements_of(moving):
            lab.sql(statement)
            application.goes_on()


def statements_of(block: str) -> list[str]:
    """One by one, without their comments."""
    return [one.strip() for one in re.sub(r"--.*", "", block).split(";") if one.strip()]
