"""The ledger in a PostgreSQL database."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from keyturn.core.errors import Unavailable, Unrecorded
from keyturn.ledger.versions import CUT_INDEX, INDEX
from keyturn.providers.ledger.address import open_ledger
from keyturn.providers.ledger.postgresql import NEWEST_CUTS, NEWEST_VERSIONS, PostgresqlLedger
from keyturn.providers.ledger.postgresql_schema import LOCK
from local.postgres import PostgreSQL
from local.prepare import database
from local.support.ports import free_port
from tests.contracts.ledger import LedgerContract, assert_unrecorded, written
from tests.ledger.entries import entries, entry
from tests.ledger.keys import ORIGIN, Key

pytestmark = pytest.mark.sampled(4, of="file")

Ask = Callable[[str], list[Any]]


@pytest.fixture
def name(postgres: PostgreSQL) -> Iterator[str]:
    """A database of its own."""
    name = f"ledger_{secrets.token_hex(6)}"
    with database(postgres.host, postgres.port, postgres.superuser_password) as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        yield name
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def address(postgres: PostgreSQL, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its address; the password is where libpq looks for it."""
    monkeypatch.setenv("PGPASSWORD", postgres.superuser_password)
    return f"postgresql://postgres@{postgres.host}:{postgres.port}/{name}"


@pytest.fixture
def ask(postgres: PostgreSQL, name: str) -> Iterator[Ask]:
    """Runs a statement behind the ledger's back."""
    with database(postgres.host, postgres.port, postgres.superuser_password, name) as cursor:

        def run(statement: str) -> list[Any]:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

        yield run


@pytest.fixture
def ledger(address: str) -> Iterator[PostgresqlLedger]:
    with closing(PostgresqlLedger(address, ORIGIN, patience=2)) as made:
        yield made


class TestPostgresqlLedger(LedgerContract):
    """The contract."""

    @pytest.fixture
    def address(self, address: str) -> str:
        return address

    @pytest.fixture
    def key(self) -> Key:
        return Key()


def refused(address: str, doing: Callable[[PostgresqlLedger], object] | None = None) -> str:
    """Why an append fails."""
    with closing(PostgresqlLedger(address, ORIGIN, patience=2)) as ledger, pytest.raises(Unrecorded) as caught:
        doing(ledger) if doing else ledger.append([entry()])
    assert_unrecorded(caught.value)
    assert "@" not in str(caught.value)
    return str(caught.value)


def cut_all(ask: Ask) -> None:
    """End every session of the ledger's."""
    ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keyturn-ledger'")


def test_a_connection_that_was_cut_is_made_again(ledger: PostgresqlLedger, ask: Ask) -> None:
    ledger.append([entry(1)])
    cut_all(ask)
    ledger.append([entry(2)])
    cut_all(ask)
    assert ledger.size() == 2
    cut_all(ask)
    ledger.keep("note", 2, {}, after="")
    assert written(ledger) == entries(2)


def test_what_arrived_before_the_connection_broke_is_not_written_twice(ledger: PostgresqlLedger, ask: Ask) -> None:
    ledger.append([entry(1)])
    session = ledger._session
    asked = session._asked

    def answer_is_lost(query: str, values: Any) -> list[Any]:
        session._asked = asked  # type: ignore[method-assign]
        asked(query, values)
        cut_all(ask)
        return asked("SELECT 1", ())

    session._asked = answer_is_lost  # type: ignore[method-assign]
    ledger.append(entries(2, 2))
    ledger.append([entry(4)])
    assert written(ledger) == entries(4)


def test_writers_that_hold_the_lock_too_long_are_not_waited_for(ledger: PostgresqlLedger, ask: Ask) -> None:
    ledger.append([entry(1)])
    ask(f"SELECT pg_advisory_lock({LOCK})")
    with pytest.raises(Unrecorded, match=r"others have kept it locked for too long. See pg_locks") as caught:
        ledger.append([entry(2)])
    assert_unrecorded(caught.value)
    ask(f"SELECT pg_advisory_unlock({LOCK})")
    ledger.append([entry(2)])
    assert written(ledger) == entries(2)


def test_a_stricter_isolation_of_the_servers_own_makes_no_doubles(address: str, name: str, ask: Ask) -> None:
    ask(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    ask(f"ALTER DATABASE {name} SET synchronous_commit = 'off'")
    with closing(open_ledger(address)) as first, closing(open_ledger(address)) as second:
        for number in range(1, 20, 2):
            first.append([entry(number)])
            second.append([entry(number + 1)])
        assert written(first) == entries(20)
        assert first._session._asked("SHOW synchronous_commit", ()) == [("on",)]  # type: ignore[attr-defined]


def test_a_role_that_only_adds_is_enough_to_append(
    ledger: PostgresqlLedger, address: str, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.append([entry(1)])
    role, password = f"writer_{secrets.token_hex(4)}", secrets.token_hex(8)
    ask(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    monkeypatch.setenv("PGPASSWORD", password)
    mine = address.replace("postgres@", f"{role}@")
    assert "the role may not do that. Let the role use the schema keyturn_ledger" in refused(mine)
    ask(f"GRANT USAGE ON SCHEMA keyturn_ledger TO {role}")
    ask(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA keyturn_ledger TO {role}")
    with closing(open_ledger(mine)) as writer:
        writer.append([entry(2)])
        assert written(writer) == entries(2)
    ask(f"DROP OWNED BY {role}")
    ask(f"DROP ROLE {role}")


def test_what_the_server_refuses_is_told(address: str, ask: Ask, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no such database" in refused(f"{address}_absent")
    ask(f"ALTER DATABASE {name} SET default_transaction_read_only = 'on'")
    assert "the server is read-only. Point KEYTURN_LEDGER at the primary" in refused(address)
    monkeypatch.setenv("PGPASSWORD", "wrong")
    assert "the login is refused. Give the role's password in PGPASSFILE or PGPASSWORD" in refused(address)
    monkeypatch.delenv("PGPASSWORD")
    assert "the login is refused" in refused(address)


def test_a_server_that_is_not_there_is_told() -> None:
    address = f"postgresql://postgres@127.0.0.1:{free_port()}/ledger"
    assert "the server does not answer: the connection is refused. Check KEYTURN_LEDGER" in refused(address)
    ledger = open_ledger(address, patience=1)
    for reading in (ledger.size, ledger.newest, lambda: list(ledger.leaves()), lambda: list(ledger.checkpoints())):
        with pytest.raises(Unavailable, match="the server does not answer"):
            reading()


def test_another_schema_and_another_encoding_are_told(
    ledger: PostgresqlLedger, address: str, name: str, ask: Ask
) -> None:
    ledger.append([entry(1)])
    ask("UPDATE keyturn_ledger.about SET schema = 2")
    assert "its schema 2 is not the 1 of this version" in refused(address)
    latin = f"{name}_latin"
    ask(f"CREATE DATABASE {latin} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert "its database is not encoded in UTF-8" in refused(f"{address}_latin")
    ask(f"DROP DATABASE {latin} WITH (FORCE)")


def test_a_rule_that_keeps_entries_out_is_told(ledger: PostgresqlLedger, ask: Ask) -> None:
    ledger.append([entry(1)])
    ask("CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    ask("CREATE TRIGGER t BEFORE INSERT ON keyturn_ledger.entries FOR EACH ROW EXECUTE FUNCTION keep_out()")
    with pytest.raises(Unrecorded, match="a rule or a trigger keeps entries out"):
        ledger.append([entry(2)])


def test_the_newest_versions_are_found_by_an_index_that_the_first_look_makes_in_an_older_ledger(
    ledger: PostgresqlLedger, ask: Ask
) -> None:
    given = [replace(entry(number), secret=f"a/{number % 500}", action="push") for number in range(1, 5_001)]
    ledger.append(given)
    ask(f"DROP INDEX keyturn_ledger.{CUT_INDEX}")
    found = ledger.newest_versions([f"a/{number}" for number in range(600)])
    assert {secret: told.version for secret, told in found.items()} == {
        f"a/{number % 500}": number for number in range(4_501, 5_001)
    }
    assert ask("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'newest%' ORDER BY 1") == [(CUT_INDEX,), (INDEX,)]
    ask("ANALYZE keyturn_ledger.entries")
    for query, index in ((NEWEST_VERSIONS, INDEX), (NEWEST_CUTS, CUT_INDEX)):
        plan = "\n".join(line for (line,) in ask(f"EXPLAIN {query.replace('%s', chr(39) + '{a/1}' + chr(39))}"))
        assert index in plan


def test_a_role_that_may_not_make_the_index_is_told_so(
    ledger: PostgresqlLedger, address: str, ask: Ask, postgres: PostgreSQL
) -> None:
    ledger.append([replace(entry(5), secret="a/b", action="promote")])
    role = f"writer_{secrets.token_hex(6)}"
    ask(f"CREATE ROLE {role} LOGIN PASSWORD '{postgres.superuser_password}'")
    ask(f"GRANT USAGE ON SCHEMA keyturn_ledger TO {role}")
    ask(f"GRANT SELECT ON ALL TABLES IN SCHEMA keyturn_ledger TO {role}")
    with closing(PostgresqlLedger(address.replace("postgres@", f"{role}@"), ORIGIN, patience=2)) as limited:
        assert limited.newest_versions(["a/b"])["a/b"].version == 5
    ask(f"DROP INDEX keyturn_ledger.{INDEX}")
    limited = PostgresqlLedger(address.replace("postgres@", f"{role}@"), ORIGIN, patience=2)
    with closing(limited), pytest.raises(Unavailable, match="the role may not do that"):
        limited.newest_versions(["a/b"])
    ask(f"DROP OWNED BY {role}; DROP ROLE {role}")
