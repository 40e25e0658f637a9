"""The MariaDB server: passwords always, loopback only, TLS for who wants it, data that survives and data that goes."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pymysql
import pytest

from local.mariadb import MariaDB
from local.support.ports import free_port
from tests.support.programs import command_line


def query(server: MariaDB, statement: str, password: str | None = None, user: str = "root", tls: bool = False) -> str:
    secure = {"ssl_ca": str(server.authority), "ssl_verify_identity": True} if tls else {"ssl_disabled": True}
    with (
        closing(
            pymysql.connect(
                host=server.host,
                port=server.port,
                user=user,
                password=server.superuser_password if password is None else password,
                connect_timeout=5,
                autocommit=True,
                **secure,
            )
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        row = cursor.fetchone()
        return str(row[-1]) if row else ""


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[MariaDB]:
    server = MariaDB(tmp_path / "mariadb", free_port())
    with server:
        yield server
    server.remove()


def test_what_was_written_is_there_after_a_restart(durable: MariaDB) -> None:
    query(durable, "CREATE DATABASE kept")
    password = durable.superuser_password
    durable.stop()
    durable.start()
    assert query(durable, "SHOW DATABASES LIKE 'kept'") == "kept"
    assert durable.superuser_password == password
    assert query(durable, "SELECT @@innodb_flush_log_at_trx_commit") == "1"


def test_a_wrong_or_missing_password_is_refused(mariadb: MariaDB) -> None:
    for wrong in ("wrong", ""):
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            query(mariadb, "SELECT 1", wrong)


def test_nobody_logs_in_without_a_name(mariadb: MariaDB) -> None:
    for anonymous in ("", "anybody"):
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            query(mariadb, "SELECT 1", "", anonymous)
    assert query(mariadb, "SELECT group_concat(user) FROM mysql.user WHERE user IN ('', 'root')") == "root"


def test_it_listens_on_loopback_and_on_no_socket(mariadb: MariaDB) -> None:
    assert query(mariadb, "SELECT @@bind_address") == "127.0.0.1"
    assert query(mariadb, "SELECT @@socket") == ""
    assert int(query(mariadb, "SELECT @@max_connections")) >= 200


def test_tls_is_offered_with_a_certificate_that_its_authority_vouches_for(mariadb: MariaDB) -> None:
    assert query(mariadb, "SHOW STATUS LIKE 'ssl_version'", tls=True).startswith("TLS")
    assert query(mariadb, "SHOW STATUS LIKE 'ssl_version'", tls=False) == ""


def test_the_password_is_in_a_private_file_and_on_no_command_line(mariadb: MariaDB) -> None:
    kept = mariadb.directory / "superuser.password"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    listed = command_line(mariadb.process.pid)
    assert b"mariadbd" in listed
    assert mariadb.superuser_password.encode() not in listed
    assert mariadb.superuser_password not in mariadb.process.log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run it as another account")
def test_it_never_runs_as_root(mariadb: MariaDB) -> None:
    assert Path(f"/proc/{mariadb.process.pid}").stat().st_uid != 0


def test_data_that_need_not_last_is_gone_once_stopped(tmp_path: Path) -> None:
    with MariaDB(tmp_path / "mariadb", free_port(), durable=False) as server:
        place = Path(query(server, "SELECT @@datadir"))
        assert query(server, "SELECT @@innodb_flush_log_at_trx_commit") == "0"
        assert place.exists()
    assert not place.exists()
    assert not place.parent.exists() or place.parent == tmp_path


def test_it_takes_settings_of_its_own(tmp_path: Path) -> None:
    settings = {"plugin-load-add": "simple_password_check"}
    with MariaDB(tmp_path / "mariadb", free_port(), durable=False, settings=settings) as server:
        found = query(server, "SELECT plugin_status FROM information_schema.plugins WHERE plugin_name LIKE 'simple%'")
    assert found == "ACTIVE"
