"""Which ledger is written, and what it is called."""

import os
import socket
import sys
from pathlib import Path

import pytest

from keyturn.core.errors import Invalid, Unavailable, Unrecorded
from keyturn.ledger.signed_notes import PublicKey
from keyturn.providers.ledger.address import ledger_address, ledger_origin, open_ledger
from keyturn.providers.ledger.opening import configured_ledger, ledger_to_write
from keyturn.providers.ledger.postgresql import PostgresqlLedger
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.ledger.entries import entry


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({"KEYTURN_LEDGER": "/srv/ledger.db", "HOME": "/home/me"}, "/srv/ledger.db"),
        ({"KEYTURN_LEDGER": "postgresql://me@db/ledger"}, "postgresql://me@db/ledger"),
        ({"KEYTURN_LEDGER": "", "HOME": "/home/me"}, "/home/me/.local/state/keyturn/ledger.db"),
        ({"XDG_STATE_HOME": "/var/state", "HOME": "/home/me"}, "/var/state/keyturn/ledger.db"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/state/keyturn/ledger.db"),
        ({}, str(Path.home() / ".local/state/keyturn/ledger.db")),
    ],
)
def test_the_environment_tells_which(env: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEYTURN_LEDGER", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert ledger_address(os.environ) == address


HOST = socket.gethostname()


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("/var/lib/keyturn/ledger.db", f"keyturn/{HOST}/var/lib/keyturn/ledger.db"),
        ("/a b/c+d/ß.db", f"keyturn/{HOST}/a-b/c-d/-.db"),
        ("postgresql://me@db.example:5432/ledger?sslmode=require", "keyturn/db.example/ledger"),
        ("postgresql://other@db.example:6432/ledger", "keyturn/db.example:6432/ledger"),
        ("postgresql://me@a:5432,b:5433/ledger", "keyturn/a-b:5433/ledger"),
        ("postgresql:///ledger", "keyturn/localhost/ledger"),
        ("postgresql://me@db/%2E%2E//x", "keyturn/db/-/-/x"),
        ("/srv/../var/./ledger.db", f"keyturn/{HOST}/var/ledger.db"),
    ],
)
def test_its_name_is_made_of_where_it_lies(address: str, origin: str) -> None:
    assert ledger_origin(address, {}) == origin
    assert open_ledger(address).origin == origin
    assert PublicKey(origin, bytes(32)).name == origin


@pytest.mark.parametrize(
    ("name", "origin"), [("..", "keyturn/-"), ("/", "keyturn/-"), ("a/.../b.c", "keyturn/a/-/b.c")]
)
def test_a_name_leads_nowhere_else(name: str, origin: str) -> None:
    assert ledger_origin("/srv/ledger.db", {"KEYTURN_LEDGER_NAME": name}) == origin


def test_its_name_may_be_given() -> None:
    assert ledger_origin("/srv/ledger.db", {"KEYTURN_LEDGER_NAME": "production"}) == "keyturn/production"
    assert open_ledger("/srv/ledger.db", origin="keyturn/x").origin == "keyturn/x"


def test_opening_asks_nobody(tmp_path: Path) -> None:
    assert isinstance(open_ledger(str(tmp_path / "a" / "ledger.db")), SqliteLedger)
    assert isinstance(open_ledger("postgresql://nobody@absent.invalid/ledger"), PostgresqlLedger)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3cr3t@db/ledger",
        "postgres://me:s3cr3t@db/ledger",
        "postgresql://me@db/ledger?sslmode=require&password=s3cr3t",
        "postgresql://me@db/ledger?PassWord=s3cr3t",
        "postgresql://me@db/ledger?pass%77ord=s3cr3t",
        "postgresql://me@db/ledger?sslpassword=s3cr3t",
        "postgresql://me:s3cr3t@[db/ledger",
        "postgresql://me:s3cr3t@db:port/ledger",
        "mysql://me:s3cr3t@db/ledger",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_repeated(address: str) -> None:
    for opening in (open_ledger, lambda address: ledger_origin(address, {})):
        with pytest.raises(Invalid) as caught:
            opening(address)
        assert "s3cr3t" not in str(caught.value)
        assert caught.value.hint


def test_where_the_package_of_a_ledger_is_missing_the_first_entry_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "keyturn.providers.ledger.postgresql")
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    env = {"KEYTURN_LEDGER": "postgresql://me@127.0.0.1:1/ledger"}
    with pytest.raises(Unrecorded, match="psycopg2 is missing here"):
        ledger_to_write(env).append([entry(1)])
    with pytest.raises(Unavailable):
        ledger_to_write(env).size()
    with pytest.raises(Unavailable, match=r"Install keyturn\[postgres\]"):
        configured_ledger(env)
    monkeypatch.undo()
    assert isinstance(configured_ledger(env), PostgresqlLedger)
