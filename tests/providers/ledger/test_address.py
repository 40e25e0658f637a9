"""Which ledger is written, and what it is called."""

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.core.errors import Invalid, Unavailable, Unrecorded
from keyturn.ledger.naming import LedgerName, LedgerPlace, NamedLedger
from keyturn.ledger.signed_notes import PublicKey
from keyturn.providers.ledger.address import earlier_name, first_name, ledger_address, open_ledger, recorded_place
from keyturn.providers.ledger.postgresql import PostgresqlLedger
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.wiring.ledger import Located, configured_ledger, locate_ledger
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
def test_what_earlier_versions_made_of_an_address_is_known(address: str, origin: str) -> None:
    assert earlier_name(address) == origin
    assert PublicKey(origin, bytes(32)).name == origin


@pytest.mark.parametrize(
    ("env", "origin"),
    [
        ({}, "keyturn/default"),
        ({"KEYTURN_WORKSPACE": "red"}, "keyturn/red"),
        ({"KEYTURN_WORKSPACE": "red", "KEYTURN_LEDGER_NAME": "production"}, "keyturn/production"),
        ({"KEYTURN_LEDGER_NAME": ".."}, "keyturn/-"),
        ({"KEYTURN_LEDGER_NAME": "/"}, "keyturn/-"),
        ({"KEYTURN_LEDGER_NAME": "a/.../b.c"}, "keyturn/a/-/b.c"),
    ],
)
def test_a_first_ledger_has_the_given_name_or_the_workspaces(env: dict[str, str], origin: str) -> None:
    assert first_name(env) == origin


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("/srv/../var/ledger.db", LedgerPlace("/srv/../var/ledger.db", HOST)),
        ("postgresql://me@db/ledger", LedgerPlace("postgresql://me@db/ledger")),
        (
            "postgresql://me@db/ledger?sslmode=verify-full&sslrootcert=/etc/ca.pem&passfile=/etc/pgpass",
            LedgerPlace("postgresql://me@db/ledger?sslmode=verify-full"),
        ),
    ],
)
def test_a_place_is_told_without_what_is_on_one_machine_alone(address: str, place: LedgerPlace) -> None:
    assert recorded_place(address) == place


FILE = LedgerPlace("/nowhere/keyturn/ledger.db", "worker-1")
SHARED = LedgerPlace("postgresql://me@db/ledger")


def located(place: LedgerPlace, **env: str) -> Located:
    return locate_ledger(LedgerName("keyturn/shop", place=place), env)


def test_without_a_word_here_the_ledger_is_where_the_hub_says(tmp_path: Path) -> None:
    assert located(SHARED) == Located(SHARED.address)
    here = LedgerPlace(str(tmp_path / "ledger.db"), HOST)
    (tmp_path / "ledger.db").touch()
    assert located(here) == Located(here.address)


@pytest.mark.parametrize("place", [FILE, replace(FILE, host=HOST), LedgerPlace()])
def test_a_file_of_another_machine_is_not_made_here(place: LedgerPlace) -> None:
    with pytest.raises(Invalid, match=f"can't be reached from {HOST} as this user"):
        located(place)


@pytest.mark.parametrize(
    ("place", "env", "sure"),
    [
        (FILE, {"KEYTURN_LEDGER": "/data/ledger.db"}, False),
        (FILE, {"KEYTURN_LEDGER": "/data/ledger.db", "KEYTURN_LEDGER_NAME": "shop"}, True),
        (replace(FILE, host=HOST), {"KEYTURN_LEDGER": FILE.address}, True),
        (SHARED, {"KEYTURN_LEDGER": "postgresql://other@10.0.0.1/ledger"}, True),
        (LedgerPlace(), {"KEYTURN_LEDGER": "/data/ledger.db"}, True),
    ],
)
def test_the_environment_says_how_this_machine_reaches_it(place: LedgerPlace, env: dict[str, str], sure: bool) -> None:
    assert located(place, **env) == Located(env["KEYTURN_LEDGER"], sure)


@pytest.mark.parametrize(
    ("place", "env", "refusal"),
    [
        (SHARED, {"KEYTURN_LEDGER": "/data/ledger.db"}, "the hub names keyturn/shop at postgresql://me@db/ledger"),
        (SHARED, {"KEYTURN_LEDGER": "postgresql://me@db/other"}, "the hub names keyturn/shop at"),
        (FILE, {"KEYTURN_LEDGER": "postgresql://me@db/ledger"}, "in the file /nowhere/keyturn/ledger.db on worker-1"),
        (SHARED, {"KEYTURN_LEDGER_NAME": "store"}, "the hub names keyturn/shop"),
    ],
)
def test_another_ledger_than_the_hubs_is_refused(place: LedgerPlace, env: dict[str, str], refusal: str) -> None:
    with pytest.raises(Invalid, match=refusal):
        located(place, **env)


def test_a_ledger_that_an_earlier_version_named_is_found_by_that_name(tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path))
        own = str(tmp_path / "keyturn" / "ledger.db")
        assert locate_ledger(LedgerName(earlier_name(own)), env) == Located(own)


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
    for opening in (open_ledger, recorded_place):
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
    ledger = NamedLedger(lambda: configured_ledger(env))
    with pytest.raises(Unrecorded, match="psycopg2 is missing here"):
        ledger.append([entry(1)])
    with pytest.raises(Unavailable):
        ledger.size()
    with pytest.raises(Unavailable, match=r"Install keyturn\[postgres\]"):
        configured_ledger(env)
    monkeypatch.undo()
    assert isinstance(configured_ledger(env), PostgresqlLedger)
