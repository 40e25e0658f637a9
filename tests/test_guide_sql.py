# ruff: noqa: S608  the names are the test's own
"""The documentation's SQL, run against real servers under a running application."""

import re
import secrets
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from keyturn.core.errors import Unprivileged
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from local.mariadb import MariaDB
from tests.support.at_work import AtWork, Day, existing_account, ordinary_day
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh
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


def test_the_guides_statements_move_an_account_that_an_application_is_using_without_its_noticing(lab: Lab) -> None:
    name = fresh()
    secret = existing_account(lab, name)
    admin = {"username": f"{name}_admin", "password": secrets.token_urlsafe(24)}
    lab.keep(f"targets/{name}", admin)
    names = {"ml_trainer": name, "ml_trainer_a": f"{name}_a", "keyturn_admin": admin["username"]}
    (roles,) = (named(block, **names) for block in blocks("own-vault-and-clouds.md", "## 2. The database"))
    moving = named((DOCS / "examples" / "postgresql-handover.sql").read_text(), **names)
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
    """Run them until the application changes nothing meanwhile, as the file says."""
    for _ in range(20):
        try:
            lab.sql(statements)
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.InternalError_):
            continue
        else:
            return
    raise AssertionError("the application changed something every time")


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
