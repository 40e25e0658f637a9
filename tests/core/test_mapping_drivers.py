"""A rendered copy gives the password back to the real client libraries: each logs in with it at a real server."""

import string
from collections.abc import Callable, Iterator
from contextlib import closing
from random import Random
from typing import Any

import psycopg2
import pymysql
import pytest
import redis as redis_client
import sqlalchemy
from psycopg2.extensions import connection as Connection

from keyturn.core.sensitive import SecretFields
from keyturn.core.text.mapping import Escape, Shape
from keyturn.core.text.passwords import CLASSES, PasswordPolicy, generate
from keyturn.core.text.references import Unfit
from local.mariadb import MariaDB
from local.postgres import PostgreSQL
from local.redis import Redis
from tests.support.lab import fresh
from tests.support.odbc import MARIADB, POSTGRESQL, Odbc, odbc

pytestmark = pytest.mark.sampled(4, of="file")

PRINTABLE = "".join(map(chr, range(32, 127)))
SYMBOLS = PasswordPolicy(classes=("lower", "upper", "digit", "symbol"))

EACH = tuple(f"a{character}b" for character in PRINTABLE)
HARD = (
    *("a%41b", "a+b%2Bc", "a%%b", "100%", "%", "%zz", "}", "{", "}}", "{a}", "}a{", "a};Uid=other;Pwd={b", "a;Uid=x"),
    *("it's", "''", "\\'", "a\\", "\\\\", '"a"', "'a'", "a=b", "a b  c", "::1", "[::1]", "a@b:c/d?e#f", "${x}", "{{a"),
    *("é€ü", "日本語", "😀", "a\tb", "a\nb", "a\x01b\x7fc", "x" * 120, f"a{PRINTABLE}b", string.punctuation),
)
ENDS = (" hunter2", "hunter2 ", " ", "\thunter2", "hunter2\n")
"""White space first or last, which some drivers take off."""


def drawn() -> list[str]:
    """Passwords of our own symbol class, and of all that an alphabet may hold."""
    dice = Random(20)  # noqa: S311
    ours = [generate(SYMBOLS, dice.choice).reveal() for _ in range(12)]
    return ours + ["".join(dice.choices(PRINTABLE[1:], k=24)) for _ in range(12)]


PASSWORDS = (*HARD, *EACH, *drawn())


@pytest.fixture(scope="module")
def drivers() -> Iterator[Odbc]:
    with odbc() as found:
        yield found


class Account:
    """A role at PostgreSQL that gets one password after the other, cheaply hashed: its login is what is tried."""

    def __init__(self, connection: Connection, postgres: PostgreSQL) -> None:
        self.name = fresh()
        self._connection = connection
        self.place = {"host": postgres.host, "port": postgres.port, "user": self.name, "database": "postgres"}
        self.sql("SET password_encryption = 'scram-sha-256'; SET scram_iterations = 1")
        self.sql(f"CREATE ROLE {self.name} LOGIN")

    def sql(self, statement: str, *values: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)

    def refused(
        self, passwords: tuple[str, ...], template: str, escape: Escape, log_in: Callable[[str], str]
    ) -> list[str]:
        """Which of these, rendered, the client library does not log in with."""
        shape, wrong = Shape(template=template, escape=escape), []
        for password in passwords:
            self.sql(f"ALTER ROLE {self.name} PASSWORD %s", password)
            text = shape.render(SecretFields({**self.place, "password": password})).reveal()
            if log_in(text):
                wrong.append(password)
        return wrong


@pytest.fixture(scope="module")
def account(postgres: PostgreSQL) -> Iterator[Account]:
    superuser: dict[str, Any] = {
        "user": postgres.superuser,
        "password": postgres.superuser_password,
        "dbname": "postgres",
    }
    with closing(psycopg2.connect(host=postgres.host, port=postgres.port, **superuser)) as connection:
        connection.autocommit = True
        yield Account(connection, postgres)


@pytest.fixture(scope="module")
def user(mariadb: MariaDB) -> Iterator[Callable[[str], dict[str, str]]]:
    """Gives a user at MariaDB this password; what its copies are made of."""
    name = fresh()
    superuser: dict[str, Any] = {"user": mariadb.superuser, "password": mariadb.superuser_password}
    with closing(pymysql.connect(host=mariadb.host, port=mariadb.port, autocommit=True, **superuser)) as connection:

        def given(password: str) -> dict[str, str]:
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE OR REPLACE USER {name} IDENTIFIED BY %s", (password,))
            return {"host": mariadb.host, "port": str(mariadb.port), "user": name, "password": password}

        yield given


def by_psycopg(text: str) -> str:
    try:
        psycopg2.connect(text).close()
    except psycopg2.Error as error:
        return str(error)
    return ""


def by_sqlalchemy(text: str) -> str:
    try:
        sqlalchemy.create_engine(text, poolclass=sqlalchemy.NullPool).connect().close()
    except sqlalchemy.exc.SQLAlchemyError as error:
        return str(error)
    return ""


URL = "postgresql://{user}:{password}@{host}:{port}/{database}?sslmode=disable"
LIBPQ = "host={host} port={port} user={user} password={password} dbname={database} sslmode=disable"
ODBC = "Server={host};Port={port};Database={database};Uid={user};Pwd={password};SSLmode=disable;"


def test_psycopg_and_sqlalchemy_log_in_with_every_password_from_a_url(account: Account) -> None:
    assert account.refused((*PASSWORDS, *ENDS), URL, Escape.URL, by_psycopg) == []
    assert account.refused((*HARD, *ENDS), URL.replace("sql:", "sql+psycopg2:"), Escape.URL, by_sqlalchemy) == []


def test_psycopg_logs_in_with_every_password_from_a_keyword_string(account: Account) -> None:
    assert account.refused((*PASSWORDS, *ENDS), LIBPQ, Escape.LIBPQ, by_psycopg) == []
    assert account.refused(HARD, LIBPQ.replace("{password}", "'{password}'"), Escape.LIBPQ, by_psycopg) == []


def test_postgresqls_odbc_driver_logs_in_with_every_password(account: Account, drivers: Odbc) -> None:
    template = f"Driver={drivers.drivers[POSTGRESQL]};{ODBC}"
    assert account.refused(PASSWORDS, template, Escape.ODBC, drivers.refuses) == []
    braced = template.replace("{password}", "{{{password}}}")
    assert account.refused(HARD, braced, Escape.ODBC, drivers.refuses) == []
    account.sql(f'ALTER ROLE {account.name} RENAME TO "{account.name}+%41@x y"')
    account.name, account.place["user"] = f'"{account.name}+%%41@x y"', f"{account.name}+%41@x y"
    assert account.refused(HARD[:3], template, Escape.ODBC, drivers.refuses) == []


def test_without_braces_postgresqls_odbc_driver_reads_other_passwords(account: Account, drivers: Odbc) -> None:
    template = f"Driver={drivers.drivers[POSTGRESQL]};{ODBC}"
    bare = ("a+b", "a%41b", "100%", "a;b", "plain")
    assert account.refused(bare, template, Escape.NONE, drivers.refuses) == list(bare[:4])


def test_mariadbs_odbc_driver_logs_in_with_every_password(user: Callable[[str], dict[str, str]], drivers: Odbc) -> None:
    template = (
        f"Driver={drivers.drivers[MARIADB]};" + "Server={host};Port={port};Uid={user};Pwd={password};SSLVERIFY=0;"
    )
    shape, wrong = Shape(template=template, escape=Escape.ODBC), []
    for password in PASSWORDS:
        fields = SecretFields(user(password))
        if drivers.refuses(shape.render(fields).reveal()):
            wrong.append(password)
    assert wrong == []


def test_what_mariadbs_odbc_driver_would_cut_is_refused_before_it_is_written(
    user: Callable[[str], dict[str, str]], drivers: Odbc
) -> None:
    shape = Shape(template="Pwd={password};", escape=Escape.ODBC)
    for password in ENDS:
        with pytest.raises(Unfit, match="white space") as caught:
            shape.render(SecretFields({"password": password}))
        assert "hunter2" not in str(caught.value)
    given = user(" a")
    start = f"Driver={drivers.drivers[MARIADB]};Server={given['host']};Port={given['port']};SSLVERIFY=0;"
    assert "Access denied" in drivers.refuses(f"{start}Uid={given['user']};Pwd={{ a}};")


def test_sqlalchemy_and_pymysql_log_in_with_every_password_from_a_url(user: Callable[[str], dict[str, str]]) -> None:
    shape = Shape(template="mysql+pymysql://{user}:{password}@{host}:{port}/")
    # PyMySQL itself sends a password in Latin-1, whatever it comes from.
    ascii_only = [one for one in (*PASSWORDS, *ENDS) if one.isascii()]
    wrong = [one for one in ascii_only if by_sqlalchemy(shape.render(SecretFields(user(one))).reveal())]
    assert wrong == []


def test_redis_logs_in_with_every_password_from_a_url(redis: Redis) -> None:
    place = {"host": redis.host, "port": redis.port, "user": fresh()}
    shape = Shape(template="redis://{user}:{password}@{host}:{port}/0")
    operator = redis_client.Redis(
        host=redis.host, port=redis.port, username=redis.superuser, password=redis.superuser_password
    )
    with closing(operator):
        for password in (*PASSWORDS, *ENDS):
            operator.execute_command("ACL", "SETUSER", place["user"], "on", "resetpass", f">{password}", "+ping")
            text = shape.render(SecretFields({**place, "password": password})).reveal()
            with closing(redis_client.from_url(text, protocol=2)) as client:
                assert client.ping(), "refused"
        operator.execute_command("ACL", "DELUSER", place["user"])


def test_our_own_symbols_are_among_what_is_tried() -> None:
    assert set(CLASSES["symbol"]) <= {character for password in drawn() for character in password}
