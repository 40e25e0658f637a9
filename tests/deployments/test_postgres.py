"""The database server: passwords always, loopback only, data that survives and data that goes."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from local import postgres
from local.database_server import service_account
from local.postgres import PostgreSQL
from local.support.ports import free_port
from tests.support.debian_postgres import DebianPostgreSQL
from tests.support.programs import command_line


def query(server: PostgreSQL, statement: str, password: str | None = None) -> str:
    with closing(
        psycopg2.connect(
            host=server.host,
            port=server.port,
            user=server.superuser,
            password=server.superuser_password if password is None else password,
            dbname="postgres",
            connect_timeout=5,
        )
    ) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return str(row[0]) if row else ""


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[PostgreSQL]:
    server = PostgreSQL(tmp_path / "pg", free_port())
    with server:
        yield server
    server.remove()


@pytest.fixture(scope="module")
def fleeting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with PostgreSQL(tmp_path_factory.mktemp("pg"), free_port(), durable=False) as server:
        yield server


def test_what_was_written_is_there_after_a_restart(durable: PostgreSQL) -> None:
    query(durable, "CREATE TABLE kept AS SELECT 42 AS n")
    password = durable.superuser_password
    durable.stop()
    durable.start()
    assert query(durable, "SELECT n FROM kept") == "42"
    assert durable.superuser_password == password
    assert query(durable, "SHOW fsync") == "on"


def test_a_wrong_or_missing_password_is_refused(fleeting: PostgreSQL) -> None:
    for wrong in ("wrong", ""):
        with pytest.raises(psycopg2.OperationalError):
            query(fleeting, "SELECT 1", wrong)


def test_it_listens_on_loopback_and_on_no_socket(fleeting: PostgreSQL) -> None:
    assert query(fleeting, "SHOW listen_addresses") == "127.0.0.1"
    assert query(fleeting, "SHOW unix_socket_directories") == ""
    assert query(fleeting, "SHOW password_encryption") == "scram-sha-256"
    assert int(query(fleeting, "SHOW max_connections")) >= 200


def test_the_password_is_in_a_private_file_and_on_no_command_line(fleeting: PostgreSQL) -> None:
    kept = fleeting.directory / "superuser.password"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    listed = command_line(fleeting.process.pid)
    assert b"postgres" in listed
    assert fleeting.superuser_password.encode() not in listed


def test_data_that_need_not_last_is_gone_once_stopped(tmp_path: Path) -> None:
    with PostgreSQL(tmp_path / "pg", free_port(), durable=False) as server:
        place = Path(query(server, "SHOW data_directory"))
        assert query(server, "SHOW fsync") == "off"
    assert not place.exists()
    assert not place.parent.exists() or place.parent == tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another account")
def test_programs_that_the_account_cannot_reach_are_copied_to_where_it_can(tmp_path: Path) -> None:
    tree = postgres.installation()
    closed = tmp_path / "closed"
    unreachable = closed / tree.parent.name / tree.name
    libraries = f"{tree.parent.name}.libs"
    shutil.copytree(tree, unreachable, symlinks=True)
    shutil.copytree(tree.parent.with_name(libraries), closed / libraries, symlinks=True)
    closed.chmod(0o700)
    account = service_account()
    assert account is not None
    programs = postgres.programs_for(account, unreachable)
    try:
        done = subprocess.run([programs / "initdb", "--version"], user=account.uid, group=account.gid, check=True)
        assert done.returncode == 0
        assert not programs.is_relative_to(closed)
        assert postgres.programs_for(account, unreachable) == programs
    finally:
        shutil.rmtree(programs.parents[2])


def test_debians_has_the_extension_that_prefects_database_needs(tmp_path: Path) -> None:
    with DebianPostgreSQL(tmp_path / "debian", free_port(), durable=False) as server:
        assert query(server, "CREATE EXTENSION pg_trgm") == ""
        assert query(server, "SELECT similarity('keyturn', 'keyturn')") == "1.0"
