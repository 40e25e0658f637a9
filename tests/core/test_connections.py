"""Whose login a connection string is, for each kind of target: nothing is asked of a server."""

import pytest

from keyturn.core.ports.strategies import AccountTarget
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.connections import Connection
from keyturn.core.text.mapping import Escape, Shape
from keyturn.providers.mysql.target import MySQL
from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.providers.redis.target import Redis
from keyturn.strategies.redis_acl import AclTarget

PASSWORD = "p+%41 w;o'r\\d}{\"@:/é"


def nobody() -> SecretFields:
    raise AssertionError("asked for the admin")


PG = PostgreSQL("pg", host="db.example.com", port=6000, database="shop", admin=nobody)
MY = MySQL("my", host="DB.example.com", port=3306, database="shop", admin=nobody)
PLAIN = Redis("cache", host="::1", port=6379, admin=nobody, tls=False, nodes=("cache-2:6380",))
TLS = Redis("cache", host="cache", port=6379, admin=nobody)


def read(target: AccountTarget | AclTarget, template: str, escape: Escape | None) -> Connection | None:
    fields = SecretFields({"u": "app", "p": PASSWORD})
    return target.read_connection(Shape(template=template, escape=escape).render(fields))


@pytest.mark.parametrize(
    ("target", "template", "escape"),
    [
        (PG, "postgresql://{u}:{p}@db.example.com:6000/shop?sslmode=verify-full", None),
        (PG, "postgres://{u}:{p}@one:1,db.example.com:6000,two:2/shop", None),
        (PG, "postgresql+asyncpg://{u}:{p}@db.example.com:6000/shop", None),
        (PG, "host=db.example.com port=6000 dbname=shop user={u} password={p}", Escape.LIBPQ),
        (PG, "jdbc:postgresql://DB.EXAMPLE.COM:6000/shop?user={u}&password={p}&ssl=true", Escape.URL),
        (PG, "Driver=PostgreSQL;Servername=db.example.com;Port=6000;Database=shop;UID={u};PWD={p}", Escape.ODBC),
        (PG, "Host=db.example.com;Port=6000;Database=shop;Username={u};Password={p};Pooling=true", Escape.ADO),
        (PG, "host=db.example.com;port=6000;database=shop;username={u};password={p}", Escape.ADO),
        (MY, "mysql://{u}:{p}@db.example.com/shop", None),
        (MY, "mysql+pymysql://{u}:{p}@db.example.com:3306/shop?charset=utf8mb4", None),
        (MY, "mariadb://{u}:{p}@db.example.com/shop", None),
        (MY, "jdbc:mysql://db.example.com/shop?user={u}&password={p}", Escape.URL),
        (MY, "DRIVER={{MariaDB}};SERVER=db.example.com;DATABASE=shop;UID={u};PWD={p};", Escape.ODBC),
        (MY, "Server=db.example.com;Database=shop;Uid={u};Pwd={p};", Escape.ADO),
        (PLAIN, "redis://{u}:{p}@[::1]:6379/3", None),
        (PLAIN, "redis://{u}:{p}@cache-2:6380", None),
        (TLS, "rediss://{u}:{p}@cache", None),
    ],
)
def test_a_connection_string_of_the_target_is_read_as_its_clients_read_it(
    target: AccountTarget | AclTarget, template: str, escape: Escape | None
) -> None:
    found = read(target, template, escape)
    assert found is not None
    assert (found.account, found.password, found.flaw) == ("app", Sensitive(PASSWORD), "")


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (PG, "postgresql://app:x@pooler:6000/shop"),
        (PG, "postgresql://app:x@db.example.com:5432/shop"),
        (PG, "postgresql://app:x@db.example.com:6000/other"),
        (PG, "postgresql://app:x@db.example.com:6000"),
        (PG, "postgresql://app@db.example.com:6000/shop"),
        (PG, "postgresql:///shop?user=app&password=x"),
        (PG, "mysql://app:x@db.example.com:6000/shop"),
        (PG, "Server=db.example.com;Port=6000;Database=shop;UID=app"),
        (PG, "x"),
        (PG, ""),
        (PG, "A=b=c"),
        (PG, "Server=db.example.com;Port=many;Database=shop;UID=app;PWD=x"),
        (MY, "mysql://app:x@db.example.com:33066/shop"),
        (MY, "mysql://app:x@db.example.com:many/shop"),
        (MY, "mysql://app:x@db.example.com/"),
        (MY, "mysql://"),
        (MY, "mysql://app:a@b@db.example.com/shop"),
        (MY, "mysql://app:a[b@db.example.com/shop"),
        (PLAIN, "redis://app:x@::2"),
        (PLAIN, "redis://app:x@cache-2:6379"),
        (PLAIN, "redis://app:x@cache-2:many"),
        (PLAIN, "unix:///run/redis.sock?password=x"),
    ],
)
def test_what_leads_elsewhere_or_is_no_login_is_none(target: AccountTarget | AclTarget, text: str) -> None:
    assert target.read_connection(Sensitive(text)) is None


@pytest.mark.parametrize(
    ("target", "text", "flaw"),
    [
        (PG, "postgresql://app:x@db.example.com:6000/shop\n", "white space"),
        (MY, "mysql://app:x@db.example.com/shop%20", "white space"),
        (TLS, "redis://app:x@cache", "begins with redis://"),
        (PLAIN, "rediss://app:x@[::1]", "begins with rediss://"),
    ],
)
def test_what_would_fail_whoever_logs_in_is_a_flaw(target: AccountTarget | AclTarget, text: str, flaw: str) -> None:
    found = target.read_connection(Sensitive(text))
    assert found is not None
    assert flaw in found.flaw


def test_a_password_without_braces_is_read_as_postgresqls_odbc_driver_reads_it() -> None:
    text = "Driver=x;Server=db.example.com;Port=6000;Database=shop;Uid=app;Pwd="
    read = {pwd: PG.read_connection(Sensitive(text + pwd)) for pwd in ("a%41+b", "{a%41+b}", "{a}}b;}")}
    assert [found.password.reveal() for found in read.values() if found] == ["aA b", "a%41+b", "a}b;"]
