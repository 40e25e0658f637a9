# ruff: noqa: S608  the names are the test's own
"""PostgreSQL: setting up accounts of running applications."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg2
import pytest

from keyturn.core.errors import Conflict, Denied, Invalid, Unavailable, Unprivileged
from keyturn.core.rights.target_setup import OWN_PASSWORD, Handover, TargetPlan
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.postgresql.setup import PostgreSQLSetup
from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from local.prepare import DATABASE
from tests.support.at_work import AtWork, Day, existing_account, ordinary_day
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh


def setup_of(lab: Lab, name: str, login: dict[str, str] | None = None) -> PostgreSQLSetup:
    """The lab's server with this login, else the superuser's; Keyturn's own account is called after ``name``."""
    given = SecretFields(login or {"username": "postgres", "password": lab.world.superuser_password})
    admin = SecretFields({"username": f"{name}_admin", "password": "of-the-admin-of-keyturn"})

    def connect(database: str) -> PostgreSQL:
        return PostgreSQL(
            "pg", host=lab.world.host, port=lab.world.port, database=database, admin=lambda: given, sslmode="disable"
        )

    return PostgreSQLSetup("pg", DATABASE, connect, admin)


def apply(setup: PostgreSQLSetup, handovers: list[Handover]) -> TargetPlan:
    """Apply what is lacking, again and again until the locks are to be had; what was planned at first."""
    planned = setup.plan(handovers)
    for _ in range(20):
        try:
            setup.apply(handovers, setup.plan(handovers), lambda done: None)
        except Unavailable:
            continue
        return planned
    raise AssertionError("it never got its locks")


def texts(plan: TargetPlan) -> list[str]:
    return [each.text for transaction in plan.transactions for each in transaction.statements]


def other_database(lab: Lab, name: str) -> Callable[..., list[tuple[Any, ...]]]:
    """A second database, in which the account owns a table of its own; what runs statements there."""
    lab.sql(f"CREATE DATABASE {name}_other")

    def run(statement: str) -> list[tuple[Any, ...]]:
        where = f"host={lab.world.host} port={lab.world.port} dbname={name}_other user=postgres sslmode=disable"
        connection = psycopg2.connect(where, password=lab.world.superuser_password)
        with closing(connection), connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    run(f"CREATE TABLE public.there (n int); ALTER TABLE public.there OWNER TO {name}_a")
    return run


def test_an_account_is_handed_over_under_an_application_that_does_not_notice(lab: Lab) -> None:
    name = fresh()
    secret = existing_account(lab, name)
    lab.keep(f"targets/{name}", {"username": f"{name}_admin", "password": "of-the-admin-of-keyturn"})
    elsewhere = other_database(lab, name)
    for statement in (
        f"GRANT SELECT ON {name}_rows TO {name}_a WITH GRANT OPTION",
        f"GRANT {name}_readers TO {name}_a WITH ADMIN OPTION",
        f"ALTER ROLE {name}_a CREATEDB",
        f"ALTER ROLE {name}_a SET work_mem = '5MB'",
        f"ALTER ROLE {name}_a IN DATABASE {DATABASE} SET DateStyle = 'ISO, DMY'",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {name}_a REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        f"SELECT lo_create(0) FROM (SELECT 1) one; CREATE SCHEMA {name}_a AUTHORIZATION {name}_a",
    ):
        lab.sql(statement)
    setup, handovers = setup_of(lab, name), [Handover((f"{name}_a", f"{name}_b"), name)]
    day = Day(name, f"{name}_kept")
    with AtWork(ordinary_day(lab, secret.path, day)) as application:
        planned = apply(setup, handovers)
        application.goes_on()
        assert [each.database for each in planned.transactions] == [DATABASE, f"{name}_other", DATABASE]
        assert texts(planned)[-1] == f"ALTER ROLE {name}_a SET role = {name}"
        assert "of-the-admin-of-keyturn" not in repr(planned)
        assert [each.password for each in planned.transactions[0].statements if each.password] == [OWN_PASSWORD]
        assert setup.plan(handovers).is_empty
        lab.sql(f"CREATE TABLE {name}_s.later (n int)")
        day.makes = f"{name}_late"  # in the session that was open before, and acts as itself still
        application.goes_on()
        workspace = lab.open(secret).workspace
        with pytest.raises(Unprivileged, match=f"it lacks: ownership of table .*{name}_late"):
            rotate(workspace, secret.path, Trigger.FORCE)
        day.version = 0
        application.goes_on()
        assert texts(apply(setup, handovers)) == [f"REASSIGN OWNED BY {name}_a TO {name}"]
        assert rotate(workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
        assert lab.current(secret)["username"] == f"{name}_b"
        application.goes_on()
        assert setup.plan(handovers).is_empty
    assert elsewhere("SELECT tableowner FROM pg_tables WHERE tablename = 'there'") == [(name,)]
    with closing(lab.connect(lab.current(secret))) as session, session.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {name}_s.later")
        cursor.execute(f"GRANT SELECT ON {name}_rows TO {name}_readers")
        cursor.execute("SHOW search_path")
        assert cursor.fetchone() == (f'"$user", {name}_a, public',)
        cursor.execute("SELECT current_setting('work_mem'), current_setting('DateStyle')")
        assert cursor.fetchone() == ("5MB", "ISO, DMY")
    assert lab.sql("SELECT count(*) FROM pg_db_role_setting WHERE setrole = 0") == [(0,)]
    lab.sql(f"ALTER ROLE {name}_b SET temp_tablespaces = pg_default, 'other;--'")
    with pytest.raises(Unprivileged, match="the setting temp_tablespaces") as lacks:
        rotate(workspace, secret.path, Trigger.FORCE)
    assert f"""ALTER ROLE "{name}_a" SET "temp_tablespaces" = 'pg_default', 'other;--'""" in lacks.value.hint


@pytest.mark.attack
def test_nothing_that_the_account_has_set_for_itself_is_run_by_the_administrator(lab: Lab) -> None:
    name = fresh()
    lab.sql(f"CREATE ROLE {name}_a LOGIN; CREATE SCHEMA {name}_a AUTHORIZATION {name}_a")
    path = f'"$user",public;ALTER/**/ROLE/**/{name}_a/**/SUPERUSER;COMMIT;--'
    lab.sql(f"BEGIN; SET LOCAL SESSION AUTHORIZATION {name}_a; SELECT set_config('search_path', '{path}', true)")
    lab.sql(f"ALTER ROLE {name}_a SET search_path FROM CURRENT; COMMIT")
    setup, handovers = setup_of(lab, name), [Handover((f"{name}_a",), name)]
    apply(setup, handovers)
    assert setup.plan(handovers).is_empty
    assert lab.sql(f"SELECT rolsuper FROM pg_roles WHERE rolname = '{name}_a'") == [(False,)]


@pytest.mark.attack
@pytest.mark.parametrize("words", ["'(its SCRAM verifier)'", f"({OWN_PASSWORD})", "%s", "a SET role = b"])
def test_a_name_that_reads_like_what_keyturn_puts_into_statements_is_a_name(lab: Lab, words: str) -> None:
    name = fresh()
    table = f'"{name} {words}"'
    lab.sql(f"CREATE ROLE {name}_a LOGIN; CREATE TABLE {table} (n int)")
    lab.sql(f"GRANT SELECT ON {table} TO {name}_a")
    setup, handovers = setup_of(lab, name), [Handover((f"{name}_a",), name)]
    assert f"GRANT SELECT ON TABLE public.{table} TO {name}" in texts(apply(setup, handovers))
    assert setup.plan(handovers).is_empty
    assert lab.logs_in({"username": f"{name}_admin", "password": "of-the-admin-of-keyturn"})


@pytest.mark.attack
def test_database_objects_that_depend_on_the_user_name_are_reported_in_advance(lab: Lab) -> None:
    name = fresh()
    existing_account(lab, name)
    for statement in (
        f"CREATE VIEW {name}_own AS SELECT * FROM {name}_rows WHERE current_user = 'x'",
        f"CREATE FUNCTION {name}_s.who() RETURNS text LANGUAGE sql AS 'SELECT Current_User'",
        f"CREATE FUNCTION {name}_s.parsed() RETURNS text RETURN current_role",
        f"CREATE FUNCTION {name}_s.owners() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user'",
        f"ALTER TABLE {name}_rows ADD COLUMN who text DEFAULT current_user CHECK (who = current_user)",
        f"CREATE POLICY named ON {name}_rows USING (who = current_user)",
    ):
        lab.sql(statement)
    planned = setup_of(lab, name).plan([Handover((f"{name}_a",), name)])
    mine = [what.partition(" asks ")[0] for what in planned.asks if name in what.partition(" asks ")[0]]
    assert sorted(mine) == sorted(
        (
            f"the constraint {name}_rows_who_check on public.{name}_rows",
            f"the default of public.{name}_rows.who",
            f"the routine {name}_s.who()",
            f"the routine {name}_s.parsed()",
            f"the row policy named on public.{name}_rows",
            f"the view public.{name}_own",
        )
    )
    lab.sql(f"DROP SCHEMA {name}_s CASCADE; DROP TABLE {name}_rows CASCADE")


@pytest.mark.attack
def test_in_a_deadlock_the_application_continues(lab: Lab) -> None:
    name = fresh()
    lab.sql(f"CREATE TABLE {name}_x (n int); CREATE TABLE {name}_y (n int)")
    lab.sql(f"BEGIN; LOCK TABLE {name}_y")
    with ThreadPoolExecutor() as threads, setup_of(lab, name)._session(DATABASE) as cursor:
        cursor.execute(f"LOCK TABLE public.{name}_x")
        waits = threads.submit(lab.sql, f"LOCK TABLE {name}_x")
        cursor.execute("SELECT oid FROM pg_class WHERE relname = %s", (f"{name}_x",))
        table = cursor.fetchone()
        assert eventually(lambda: queue(cursor, table))
        with pytest.raises(psycopg2.errors.DeadlockDetected):
            cursor.execute(f"LOCK TABLE public.{name}_y")
        cursor.connection.rollback()
        assert waits.result() == []
    lab.sql("COMMIT")


def queue(cursor: Any, table: Any) -> bool:
    """Whether somebody waits for this table."""
    cursor.execute("SELECT 1 FROM pg_locks WHERE relation = %s AND NOT granted", table)
    return bool(cursor.fetchone())


def test_locks_are_waited_for_more_briefly_where_the_server_looks_for_deadlocks_earlier(lab: Lab) -> None:
    name = fresh()
    lab.sql(f"CREATE DATABASE {name}_hasty")
    lab.sql(f"ALTER DATABASE {name}_hasty SET deadlock_timeout = '100ms'")
    query = "SELECT current_setting('lock_timeout'), current_setting('deadlock_timeout')"
    told = []
    for database in (DATABASE, f"{name}_hasty"):
        with setup_of(lab, name)._session(database) as cursor:
            cursor.execute(query)
            told.append(cursor.fetchone())
    assert told == [("500ms", "10ms"), ("50ms", "10ms")]


def test_roles_that_would_be_each_others_members_are_refused_before_anything_is_done(lab: Lab) -> None:
    name = fresh()
    existing_account(lab, name)
    lab.sql(f"CREATE ROLE {name} NOLOGIN; GRANT {name} TO {name}_readers")
    with pytest.raises(Invalid, match=f"can't be made a member of {name}_readers"):
        setup_of(lab, name).plan([Handover((f"{name}_a",), name)])


@pytest.mark.attack
def test_rights_that_can_not_be_granted_are_found_before_the_switch(lab: Lab) -> None:
    name = fresh()
    existing_account(lab, name)
    lab.sql(f"CREATE ROLE {name} NOLOGIN NOINHERIT; GRANT {name}_readers TO {name}_a WITH INHERIT TRUE")
    setup, handovers = setup_of(lab, name), [Handover((f"{name}_a",), name)]
    planned = setup.plan(handovers)
    given = [text for text in texts(planned) if text.startswith(f"GRANT {name}_readers TO {name}")]
    without = [
        replace(each, statements=tuple(one for one in each.statements if one.text not in given))
        for each in planned.transactions
    ]
    with pytest.raises(Conflict, match="more is lacking by now"):
        setup.apply(handovers, replace(planned, transactions=tuple(without)), lambda done: None)
    assert lab.sql(f"SELECT count(*) FROM pg_db_role_setting WHERE setrole = '{name}_a'::regrole") == [(0,)]


def test_a_login_that_is_no_superuser_is_told_which_statements_it_may_not_run(lab: Lab) -> None:
    name = fresh()
    existing_account(lab, name)
    login = {"username": f"{name}_master", "password": secrets.token_urlsafe(24)}
    lab.sql(f"CREATE ROLE {name}_master LOGIN CREATEROLE CREATEDB PASSWORD '{login['password']}'")
    setup, handovers = setup_of(lab, name, login), [Handover((f"{name}_a",), name)]
    planned = setup.plan(handovers)
    refused = {each.text: each.lacks for each in planned.refused}
    assert refused[f"REASSIGN OWNED BY {name}_a TO {name}"] == f"membership in {name}_a, or a superuser"
    assert refused["GRANT pg_signal_backend TO " + f"{name}_admin"].startswith("ADMIN OPTION on pg_signal_backend")
    with pytest.raises(Denied, match="may not run"):
        setup.apply(handovers, planned, lambda done: None)
    assert lab.sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'") == []


def test_what_only_a_superuser_may_own_is_named_with_the_servers_own_hint(lab: Lab) -> None:
    name = fresh()
    existing_account(lab, name)
    lab.sql(f"ALTER ROLE {name}_a SUPERUSER; CREATE FOREIGN DATA WRAPPER {name}_w")
    lab.sql(f"ALTER FOREIGN DATA WRAPPER {name}_w OWNER TO {name}_a; ALTER ROLE {name}_a NOSUPERUSER")
    setup, handovers = setup_of(lab, name), [Handover((f"{name}_a",), name)]
    with pytest.raises(Denied, match=f'"{name}_w"') as refused:
        setup.apply(handovers, setup.plan(handovers), lambda done: None)
    assert "must be a superuser" in refused.value.hint
    lab.sql(f"DROP FOREIGN DATA WRAPPER {name}_w")


def test_a_managed_servers_administrator_hands_over_what_its_own_roles_own(lab: Lab) -> None:
    name = fresh()
    login = {"username": f"{name}_master", "password": secrets.token_urlsafe(24)}
    lab.sql(f"CREATE ROLE {name}_master LOGIN CREATEROLE CREATEDB PASSWORD '{login['password']}'")
    lab.sql(
        f"GRANT pg_signal_backend TO {name}_master WITH ADMIN OPTION;"
        f"GRANT CREATE ON DATABASE {DATABASE} TO {name}_master"
    )
    with closing(lab.connect(login)) as session, session, session.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name}_a LOGIN PASSWORD 'of-the-application-itself'")
    lab.sql(f"CREATE SCHEMA {name}_s AUTHORIZATION {name}_a; CREATE TABLE {name}_s.t (n int)")
    lab.sql(f"ALTER TABLE {name}_s.t OWNER TO {name}_a")
    setup, handovers = setup_of(lab, name, login), [Handover((f"{name}_a",), name)]
    assert not setup.plan(handovers).refused
    apply(setup, handovers)
    assert setup.plan(handovers).is_empty
    assert lab.sql(f"SELECT tableowner FROM pg_tables WHERE schemaname = '{name}_s'") == [(name,)]
    assert lab.sql(f"SELECT pg_has_role('{name}_master', '{name}_a', 'USAGE')") == [(False,)]


def test_an_application_that_is_a_superuser_is_refused(lab: Lab) -> None:
    name = fresh()
    lab.sql(f"CREATE ROLE {name}_a LOGIN SUPERUSER")
    with pytest.raises(Invalid, match="superuser"):
        setup_of(lab, name).plan([Handover((f"{name}_a",), name)])
    lab.sql(f"ALTER ROLE {name}_a NOSUPERUSER")


def test_a_login_that_the_server_refuses_is_told_as_the_one_that_was_given(lab: Lab) -> None:
    with pytest.raises(Denied) as refused:
        setup_of(lab, fresh(), {"username": "nobody", "password": "nothing"}).plan([])
    assert "--password-file" in refused.value.hint


@pytest.mark.attack
def test_others_who_hold_a_lock_are_not_waited_for(lab: Lab) -> None:
    name = fresh()
    secret = existing_account(lab, name)
    setup, handovers = setup_of(lab, name), [Handover((f"{name}_a",), name)]
    with closing(lab.connect(secret.first)) as session, session.cursor() as cursor:
        cursor.execute(f"INSERT INTO {name}_mine VALUES (1)")
        with pytest.raises(Unavailable, match="locks"):
            setup.apply(handovers, setup.plan(handovers), lambda done: None)
    assert eventually(lambda: apply(setup, handovers) and setup.plan(handovers).is_empty)
