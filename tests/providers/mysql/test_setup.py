# ruff: noqa: S608  the names are the test's own
"""MySQL: setting up a running application's account and Keyturn's own user."""

import secrets
from contextlib import closing

import pytest

from keyturn.core.errors import Denied
from keyturn.core.rights.target_setup import NO_PASSWORD, OWN_PASSWORD, Handover
from keyturn.core.sensitive import SecretFields
from keyturn.providers.mysql.setup import MySQLSetup, open_setup
from keyturn.providers.mysql.target import MySQL
from local.mariadb import MariaDB
from tests.support.at_work import AtWork
from tests.support.lab import fresh
from tests.support.mariadb_lab import MariaDBLab, run


def setup_of(lab: MariaDBLab, name: str, **login: str) -> MySQLSetup:
    """The server with the superuser's login, or another; Keyturn's own user is called after ``name``."""
    superuser = {"username": lab.server.superuser, "password": lab.server.superuser_password}
    admin = SecretFields({"username": f"{name}_admin", "password": "of-the-admin-of-keyturn"})
    where = {"host": lab.server.host, "port": lab.server.port, "database": name, "tls": "disable"}
    return open_setup("orders-db", SecretFields(superuser | login), admin, **where)  # type: ignore[arg-type]


def test_an_account_is_given_its_role_and_an_application_notices_nothing(mariadb: MariaDB) -> None:
    lab, name = MariaDBLab(mariadb), fresh()
    account, password = f"{name}_a", secrets.token_urlsafe(24)
    for statement in (
        f"CREATE DATABASE {name}",
        f"CREATE DATABASE {name}_other",
        f"CREATE TABLE {name}_other.reference AS SELECT 1 AS n, 2 AS secret",
        f"CREATE TABLE {name}_other.more AS SELECT 1 AS n",
        f"CREATE ROLE {name}_reader",
        f"GRANT SELECT (n) ON {name}_other.reference TO {name}_reader",
        f"CREATE USER {account} IDENTIFIED BY '{password}'",
        f"GRANT {name}_reader TO {account}",
        f"GRANT CREATE, DROP, INSERT, SELECT ON {name}.* TO {account} WITH GRANT OPTION",
        f"GRANT SELECT (n), UPDATE (n) ON {name}_other.more TO {account}",
        f"SET DEFAULT ROLE {name}_reader FOR {account}",
    ):
        lab.sql(statement)
    fields = SecretFields({"username": account, "password": password})
    setup, handovers = setup_of(lab, name), [Handover((account, f"{name}_b"), name)]

    def work(number: int) -> None:
        with lab.session(fields, name) as fresh_session:
            for session in (kept, fresh_session):
                run(session, "CREATE TABLE IF NOT EXISTS mine (n int)")
                run(session, f"INSERT INTO mine VALUES ({number})")
                run(session, f"SELECT n FROM {name}_other.reference")
                run(session, f"UPDATE {name}_other.more SET n = {number}")

    with lab.session(fields, name) as kept, AtWork(work) as application:
        planned = setup.plan(handovers)
        statements = [each for transaction in planned.transactions for each in transaction.statements]
        assert [each.password for each in statements if each.password] == [NO_PASSWORD, OWN_PASSWORD]
        assert "of-the-admin-of-keyturn" not in repr(planned)
        setup.apply(handovers, planned, lambda done: None)
        application.goes_on()
        assert setup.plan(handovers).is_empty
    admin = SecretFields({"username": f"{name}_admin", "password": "of-the-admin-of-keyturn"})
    where = {"host": mariadb.host, "port": mariadb.port, "database": name, "tls": "disable"}
    with closing(MySQL("orders-db", admin=lambda: admin, **where)) as target:  # type: ignore[arg-type]
        second = SecretFields({"username": f"{name}_b", "password": secrets.token_urlsafe(24)})
        target.set_password(f"{name}_b", second["password"], sequence=1, like=account, member_of=name)
        target.check_login(f"{name}_b", second["password"], like=account)
    with lab.session(second, name) as session:
        run(session, f"UPDATE {name}_other.more SET n = 7")


def test_a_login_that_may_make_no_users_is_told_so(mariadb: MariaDB) -> None:
    lab, name = MariaDBLab(mariadb), fresh()
    lab.sql(f"CREATE USER {name}_dba IDENTIFIED BY 'of-a-dba'")
    handovers = [Handover((f"{name}_a",), name)]
    with pytest.raises(Denied):
        setup_of(lab, name, username=f"{name}_dba", password="of-a-dba").plan(handovers)
    with pytest.raises(Denied) as refused:
        setup_of(lab, name, username=f"{name}_dba", password="another").plan(handovers)
    assert "--password-file" in refused.value.hint


@pytest.mark.attack
@pytest.mark.parametrize(
    "words", ["'(its password, hashed)'", "'(of a password that no one has)'", f"({OWN_PASSWORD})"]
)
def test_a_name_that_reads_like_what_keyturn_puts_into_statements_is_a_name(mariadb: MariaDB, words: str) -> None:
    lab, name = MariaDBLab(mariadb), fresh()
    table = f"`{name}`.`{words}`"
    for statement in (
        f"CREATE DATABASE {name}",
        f"CREATE TABLE {table} AS SELECT 1 AS n",
        f"CREATE USER {name}_a IDENTIFIED BY 'of-an-application'",
        f"GRANT SELECT ON {table} TO {name}_a",
    ):
        lab.sql(statement)
    setup, handovers = setup_of(lab, name), [Handover((f"{name}_a",), name)]
    setup.apply(handovers, setup.plan(handovers), lambda done: None)
    assert setup.plan(handovers).is_empty
    with lab.session(SecretFields({"username": f"{name}_a", "password": "of-an-application"}), name) as session:
        run(session, f"SELECT n FROM {table}")
