"""The database's adapter against a real PostgreSQL: fencing, privileges, refusals, and what its log may know."""

import re
import secrets
import threading
import traceback
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from keyturn.core.errors import (
    CandidateRejected,
    Denied,
    Invalid,
    KeyturnError,
    Superseded,
    Unavailable,
    Unprivileged,
    UnsupportedOperation,
)
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.postgresql.scram import derived
from keyturn.providers.postgresql.target import PostgreSQL
from local.prepare import ADMIN, DATABASE
from local.support.ports import free_port
from tests.support.lab import Declared, Lab, fresh


@pytest.fixture
def target(lab: Lab) -> Iterator[PostgreSQL]:
    with closing(lab.target()) as opened:
        yield opened


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.alternating()


@pytest.fixture
def user(secret: Declared) -> str:
    """The user that serves."""
    return secret.users[0]


@pytest.fixture
def other(secret: Declared) -> str:
    """The other one, which does not exist yet."""
    return secret.users[1]


Call = Callable[[], None]


def login_and_write(target: PostgreSQL, user: str, new: Sensitive) -> list[Call]:
    return [lambda: target.check_login(user, new), lambda: target.set_password(user, new, sequence=1)]


def password() -> Sensitive:
    return Sensitive(f"s3cr3t-{secrets.token_hex(12)}")


def works(lab: Lab, account: str, password: Sensitive) -> bool:
    return lab.logs_in({"username": account, "password": password.reveal()})


def comment(lab: Lab, account: str) -> str:
    ((text,),) = lab.sql("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", account)
    return str(text)


def exists(lab: Lab, account: str) -> bool:
    return bool(lab.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", account))


def assert_silent(error: KeyturnError, *values: Sensitive) -> None:
    told = "".join(traceback.format_exception(error)) + repr(error.args)
    assert not [value for value in values if value.reveal() in told]
    assert error.__context__ is None or error.__suppress_context__
    assert error.hint


# --- passwords and the fence -------------------------------------------------------------------------------


def test_a_new_password_works_and_the_old_one_does_not(lab: Lab, target: PostgreSQL, secret: Declared) -> None:
    new = password()
    target.set_password(secret.users[0], new, sequence=1)
    assert works(lab, secret.users[0], new)
    assert not lab.logs_in(secret.first)


def test_a_role_has_one_password_and_keeps_none_beside_it(lab: Lab, target: PostgreSQL, user: str) -> None:
    new = password()
    target.set_password(user, new, sequence=1)
    with pytest.raises(UnsupportedOperation, match="a role has one password") as caught:
        target.set_password(user, password(), sequence=2, keep_old=True)
    assert_silent(caught.value, new)
    target.discard_old(user, sequence=2)
    assert works(lab, user, new)


def test_an_absent_account_is_made_with_the_memberships_of_its_twin(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str, other: str
) -> None:
    group = f"{secret.owner}_group"
    lab.sql(f"CREATE ROLE {group} NOLOGIN")
    lab.sql(f"GRANT {group} TO {user}")
    lab.sql(f"GRANT {group} TO {ADMIN} WITH ADMIN OPTION")
    new = password()
    target.set_password(other, new, sequence=1, like=user, member_of=secret.owner)
    assert works(lab, other, new)
    target.check_login(other, new, like=user)
    groups = lab.sql("SELECT roleid::regrole::text FROM pg_auth_members WHERE member = %s::regrole", other)
    assert sorted(groups) == sorted([(group,), (secret.owner,)])


def test_an_older_sequence_is_superseded_and_changes_nothing(lab: Lab, target: PostgreSQL, user: str) -> None:
    new = password()
    target.set_password(user, new, sequence=7)
    late = password()
    writes: list[Call] = [
        lambda: target.set_password(user, late, sequence=6),
        lambda: target.disable(user, sequence=6),
    ]
    for write in writes:
        with pytest.raises(Superseded, match="rotation 7 has written it since, this is 6") as caught:
            write()
        assert_silent(caught.value, late)
    assert works(lab, user, new)


def test_the_same_sequence_may_write_again(lab: Lab, target: PostgreSQL, user: str) -> None:
    first, second = password(), password()
    target.set_password(user, first, sequence=7)
    target.set_password(user, second, sequence=7)
    assert works(lab, user, second)


def test_the_sequence_stands_in_the_comment_and_what_people_wrote_stays(
    lab: Lab, target: PostgreSQL, user: str
) -> None:
    lab.sql(f"COMMENT ON ROLE {user} IS 'trains models [nightly]'")
    target.set_password(user, password(), sequence=7)
    target.set_password(user, password(), sequence=12)
    assert comment(lab, user) == "trains models [nightly] [keyturn sequence=12]"


def test_of_many_writers_at_once_the_highest_sequence_is_what_stays(lab: Lab, target: PostgreSQL, user: str) -> None:
    candidates = {sequence: password() for sequence in range(1, 9)}
    together = threading.Barrier(len(candidates))

    def write(sequence: int) -> bool:
        together.wait(10)
        try:
            target.set_password(user, candidates[sequence], sequence=sequence)
        except Superseded:
            return False
        return True

    with ThreadPoolExecutor(len(candidates)) as pool:
        wrote = list(pool.map(write, candidates))
    assert wrote[-1]
    assert works(lab, user, candidates[8])
    assert comment(lab, user) == "[keyturn sequence=8]"


def test_the_password_and_its_sequence_are_written_together_or_not_at_all(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str
) -> None:
    with pytest.raises(Invalid, match="does not exist"):
        target.set_password(user, password(), sequence=7, member_of="no_such_owner")
    with pytest.raises(Invalid):
        target.set_password(f"{user}_new", password(), sequence=7, member_of="no_such_owner")
    assert comment(lab, user) == "None"
    assert lab.logs_in(secret.first)
    assert not exists(lab, f"{user}_new")


def test_a_disabled_account_is_refused_and_can_be_opened_again(lab: Lab, target: PostgreSQL, user: str) -> None:
    new = password()
    target.set_password(user, new, sequence=1)
    target.disable(user, sequence=2)
    target.disable(user, sequence=2)
    assert not works(lab, user, new)
    with pytest.raises(CandidateRejected):
        target.check_login(user, new)
    target.set_password(user, new, sequence=3)
    assert works(lab, user, new)


def test_disabling_what_is_absent_is_quiet_and_makes_nothing(lab: Lab, target: PostgreSQL, other: str) -> None:
    target.disable(other, sequence=1)
    assert not exists(lab, other)


def test_names_that_need_quotes_are_only_names(lab: Lab, target: PostgreSQL) -> None:
    name = f'Odd "{fresh()}"; DROP ROLE x; --'
    new = password()
    target.set_password(name, new, sequence=1)
    assert works(lab, name, new)
    target.disable(name, sequence=2)
    assert not works(lab, name, new)


# --- what the second user may do ---------------------------------------------------------------------------


def grant_table(secret: Declared) -> str:
    return f"CREATE TABLE {secret.owner}_t (n int); GRANT SELECT ON {secret.owner}_t TO {secret.users[0]}"


def grant_schema(secret: Declared) -> str:
    return f"CREATE SCHEMA {secret.owner}_s; GRANT USAGE ON SCHEMA {secret.owner}_s TO {secret.users[0]}"


def grant_database(secret: Declared) -> str:
    return f"GRANT CREATE ON DATABASE {DATABASE} TO {secret.users[0]}"


def grant_membership(secret: Declared) -> str:
    return f"CREATE ROLE {secret.owner}_g; GRANT {secret.owner}_g TO {secret.users[0]}"


@pytest.mark.parametrize(
    ("grant", "lacks"),
    [
        (grant_table, "SELECT on {owner}_t"),
        (grant_schema, "USAGE on schema {owner}_s"),
        (grant_database, "CREATE on database ml"),
        (grant_membership, "member of {owner}_g"),
    ],
    ids=["table", "schema", "database", "membership"],
)
def test_a_candidate_that_lacks_a_privilege_is_rejected_and_it_is_named(
    lab: Lab, target: PostgreSQL, secret: Declared, grant: Callable[[Declared], str], lacks: str
) -> None:
    user, other = secret.users
    new = password()
    target.set_password(other, new, sequence=1, like=user, member_of=secret.owner)
    target.check_login(other, new, like=user)
    lab.sql(grant(secret))
    with pytest.raises(CandidateRejected, match=f"it lacks: {lacks.format(owner=secret.owner)}") as caught:
        target.check_login(other, new, like=user)
    assert_silent(caught.value, new)
    lab.sql(grant(secret).rpartition("; ")[2].replace(f" TO {user}", f" TO {other}"))
    target.check_login(other, new, like=user)


def inherited(secret: Declared) -> str:
    role = f"{secret.owner}_readers"
    return (
        f"CREATE ROLE {role}; GRANT {role} TO {secret.owner};"
        f" CREATE TABLE {secret.owner}_t (n int, m int); CREATE SEQUENCE {secret.owner}_q;"
        f" GRANT SELECT ON {secret.owner}_t TO {role}, {secret.users[0]};"
        f" GRANT UPDATE (n) ON {secret.owner}_t TO {role}, {secret.users[0]};"
        f" GRANT USAGE ON SEQUENCE {secret.owner}_q TO {role}, {secret.users[0]}"
    )


def test_a_right_that_the_candidate_inherits_counts_like_one_of_its_own(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str, other: str
) -> None:
    new = password()
    target.set_password(other, new, sequence=1, like=user, member_of=secret.owner)
    lab.sql(inherited(secret))
    target.check_login(other, new, like=user)


def test_a_right_that_is_out_of_force_in_the_candidates_sessions_is_missed(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str, other: str
) -> None:
    new = password()
    target.set_password(other, new, sequence=1, like=user, member_of=secret.owner)
    lab.sql(f"CREATE TABLE {secret.owner}_t (n int); GRANT SELECT ON {secret.owner}_t TO {other}, {user}")
    lab.sql(f"ALTER ROLE {user} RESET role")  # from here on it acts as itself, and what it was granted is in force
    with pytest.raises(Unprivileged, match=f"it lacks: SELECT on {secret.owner}_t") as refused:
        target.check_login(other, new, like=user)
    grant = refused.value.hint.removeprefix("Run as the database's administrator: ")
    assert grant == f'GRANT SELECT ON TABLE {secret.owner}_t TO "{secret.owner}"'
    lab.sql(grant)
    target.check_login(other, new, like=user)


def function(secret: Declared) -> tuple[str, str]:
    name = f"{secret.owner}_f"
    made = f"CREATE FUNCTION {name}() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION {name}()"
    return f"{made} FROM PUBLIC; GRANT EXECUTE ON FUNCTION {name}() TO {{user}}", rf"EXECUTE on routine {name}\(\)"


def column(secret: Declared) -> tuple[str, str]:
    name = f"{secret.owner}_t"
    return f"CREATE TABLE {name} (n int); GRANT UPDATE (n) ON {name} TO {{user}}", rf"UPDATE on column {name}\.n"


def table_of_its_own(secret: Declared) -> tuple[str, str]:
    name = f"{secret.owner}_t"
    return f"CREATE TABLE {name} (n int); ALTER TABLE {name} OWNER TO {{user}}", f"ownership of table {name}"


def row_policy(secret: Declared) -> tuple[str, str]:
    name = f"{secret.owner}_t"
    made = (
        f"CREATE TABLE {name} (n int); GRANT SELECT ON {name} TO PUBLIC; ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"
    )
    return f"{made}; CREATE POLICY own ON {name} TO {{user}} USING (true)", f"the row policy own on {name}"


def attribute(secret: Declared) -> tuple[str, str]:
    return "ALTER ROLE {user} BYPASSRLS", "bypassrls"


@pytest.mark.parametrize("made", [function, column, table_of_its_own, row_policy, attribute])
def test_what_only_the_account_that_serves_may_do_is_named_with_the_statement_that_mends_it(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str, other: str, made: Callable[[Declared], tuple[str, str]]
) -> None:
    new = password()
    target.set_password(other, new, sequence=1, like=user, member_of=secret.owner)
    statements, lacks = made(secret)
    lab.sql(f"ALTER ROLE {user} RESET role")
    lab.sql(statements.format(user=user))
    with pytest.raises(Unprivileged, match=f"it lacks: {lacks}") as refused:
        target.check_login(other, new, like=user)
    lab.sql(refused.value.hint.removeprefix("Run as the database's administrator: "))
    target.check_login(other, new, like=user)


def test_a_candidate_may_do_more_than_the_old_one(
    lab: Lab, target: PostgreSQL, secret: Declared, user: str, other: str
) -> None:
    new = password()
    target.set_password(other, new, sequence=1, like=user, member_of=secret.owner)
    lab.sql(f"GRANT CREATE ON DATABASE {DATABASE} TO {other}")
    target.check_login(other, new, like=user)


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_wrong_password_is_rejected(target: PostgreSQL, user: str) -> None:
    wrong = password()
    with pytest.raises(CandidateRejected, match="refuses the login") as caught:
        target.check_login(user, wrong)
    assert_silent(caught.value, wrong)


def test_an_account_that_is_not_there_is_rejected(target: PostgreSQL, other: str) -> None:
    with pytest.raises(CandidateRejected):
        target.check_login(other, password())


def test_an_expired_account_is_rejected(lab: Lab, target: PostgreSQL, user: str) -> None:
    new = password()
    target.set_password(user, new, sequence=1)
    lab.sql(f"ALTER ROLE {user} VALID UNTIL '2020-01-01'")
    with pytest.raises(CandidateRejected):
        target.check_login(user, new)


def elsewhere(lab: Lab, **changes: object) -> PostgreSQL:
    where: dict[str, object] = {
        "host": lab.world.host,
        "port": lab.world.port,
        "database": DATABASE,
        "admin": lab.admin,
    }
    return PostgreSQL("pg", **{**where, **changes})  # type: ignore[arg-type]


def test_a_server_that_does_not_answer_is_unavailable_and_no_candidate_is_blamed(lab: Lab, user: str) -> None:
    target, new = elsewhere(lab, port=free_port()), password()
    for call in login_and_write(target, user, new):
        with pytest.raises(Unavailable, match="host and port") as caught:
            call()
        assert_silent(caught.value, new)


def test_a_database_that_is_not_there_is_no_fault_of_the_candidate(lab: Lab, secret: Declared, user: str) -> None:
    target, new = elsewhere(lab, database="nowhere"), Sensitive(secret.first["password"])
    for call in login_and_write(target, user, new):
        with pytest.raises(Invalid, match="database nowhere") as caught:
            call()
        assert_silent(caught.value, new)


def test_an_account_that_may_not_connect_to_the_database_is_rejected(lab: Lab, target: PostgreSQL) -> None:
    name, account, new = fresh(), fresh(), password()
    lab.sql(f"CREATE DATABASE {name}")
    lab.sql(f"REVOKE CONNECT ON DATABASE {name} FROM public")
    target.set_password(account, new, sequence=1)
    with pytest.raises(CandidateRejected, match="refuses the login"):
        elsewhere(lab, database=name).check_login(account, new)
    lab.sql(f"DROP DATABASE {name}")


def test_an_account_that_is_at_its_connection_limit_is_tried_again(lab: Lab, target: PostgreSQL, user: str) -> None:
    new = password()
    target.set_password(user, new, sequence=1)
    lab.sql(f"ALTER ROLE {user} CONNECTION LIMIT 0")
    with pytest.raises(Unavailable):
        target.check_login(user, new)


def test_an_admin_that_is_refused_is_named_with_the_place_to_mend_it(lab: Lab, user: str) -> None:
    wrong, new = password(), password()
    target = elsewhere(lab, admin=lambda: SecretFields({"username": ADMIN, "password": wrong}))
    with pytest.raises(Denied, match=f"admin account {ADMIN} is refused.*`admin` path in the hub") as caught:
        target.set_password(user, new, sequence=1)
    assert_silent(caught.value, wrong, new)


def test_an_admin_that_may_not_alter_the_account_is_told_what_to_grant(lab: Lab, target: PostgreSQL) -> None:
    account, new = fresh(), password()
    lab.sql(f"CREATE ROLE {account} LOGIN")
    with pytest.raises(Denied, match=f"GRANT {account} TO <admin> WITH ADMIN OPTION") as caught:
        target.set_password(account, new, sequence=1)
    assert_silent(caught.value, new)


def test_connections_that_the_server_closed_are_opened_again(lab: Lab, target: PostgreSQL, user: str) -> None:
    target.set_password(user, password(), sequence=1)
    lab.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND pid <> pg_backend_pid()", ADMIN
    )
    new = password()
    target.set_password(user, new, sequence=2)
    assert works(lab, user, new)


def test_a_refusal_does_not_spoil_the_connection_for_the_next_call(lab: Lab, target: PostgreSQL, user: str) -> None:
    with pytest.raises(Invalid):
        target.set_password(user, password(), sequence=1, member_of="no_such_owner")
    new = password()
    target.set_password(user, new, sequence=1)
    assert works(lab, user, new)


# --- the server's log --------------------------------------------------------------------------------------


@contextmanager
def everything_logged(lab: Lab) -> Iterator[Callable[[], str]]:
    """Let the server log every statement of every new session; gives what it has written since."""
    before = Path(lab.world.log).stat().st_size
    lab.sql("ALTER SYSTEM SET log_statement = 'all'")
    lab.sql("SELECT pg_reload_conf()")
    try:
        yield lambda: Path(lab.world.log).read_bytes()[before:].decode()
    finally:
        lab.sql("ALTER SYSTEM RESET log_statement")
        lab.sql("SELECT pg_reload_conf()")


def test_a_log_of_every_statement_holds_no_password(lab: Lab, secret: Declared, user: str, other: str) -> None:
    passwords = [password(), password()]
    with everything_logged(lab) as logged, closing(lab.target()) as target:
        for sequence, (account, new) in enumerate(zip((other, user), passwords, strict=True)):
            target.set_password(account, new, sequence=sequence, like=user, member_of=secret.owner)
            target.check_login(account, new, like=user)
        target.disable(user, sequence=9)
        text = logged()
    assert len(re.findall(r"ALTER ROLE \"\w+\" LOGIN PASSWORD 'SCRAM-SHA-256\$4096:", text)) == 2
    assert "NOLOGIN PASSWORD NULL" in text
    assert not [new for new in passwords if new.reveal() in text]


def test_a_verifier_is_the_one_that_the_standard_s_example_gives() -> None:
    # The password and salt of RFC 7677, part 3; the keys are those that PostgreSQL makes of them.
    made = derived(b"pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    keys = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    assert made == f"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${keys}"


@pytest.mark.parametrize("text", ["every printable ~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./ sign", "pâssword ª with ½ and ﬁ"])
def test_a_password_of_any_characters_logs_in_with_the_verifier_made_of_it(
    target: PostgreSQL, user: str, text: str
) -> None:
    target.set_password(user, Sensitive(text), sequence=1)
    target.check_login(user, Sensitive(text))


def test_the_server_keeps_only_a_verifier(lab: Lab, target: PostgreSQL, user: str) -> None:
    new = password()
    target.set_password(user, new, sequence=1)
    ((kept,),) = lab.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", user)
    assert kept.startswith("SCRAM-SHA-256$4096:")


def test_every_account_is_listed_with_the_roles_that_it_is_a_member_of(
    target: PostgreSQL, secret: Declared, user: str
) -> None:
    accounts = target.list_accounts()
    assert accounts[user] == {secret.owner}
    assert secret.owner not in accounts
    assert not [name for name in accounts if name.startswith("pg_")]
