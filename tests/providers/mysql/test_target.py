"""The adapter against a real MariaDB: fencing, races, privileges, refusals, and what its logs may know."""

import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.core.errors import (
    CandidateRejected,
    Denied,
    Invalid,
    KeyturnError,
    Locked,
    Superseded,
    Unavailable,
    Unprivileged,
    UnsupportedOperation,
)
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.mysql import fence as mysql_fence
from keyturn.providers.mysql.target import MySQL
from local.mariadb import MariaDB
from local.support.ports import free_port
from tests.support.mariadb_lab import ADMIN, Accounts, Gate, MariaDBLab, run

pytestmark = pytest.mark.sampled(4, of="file")

CHECKED = {
    "log-bin": "changes",
    "general-log": "1",
    "log-output": "FILE",
    "slow-query-log": "1",
    "long-query-time": "0",
}


@pytest.fixture(scope="module")
def lab(mariadb: MariaDB) -> MariaDBLab:
    return MariaDBLab(mariadb)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDBLab]:
    """Another server, which writes every log there is and may be set otherwise by a test."""
    with MariaDB(tmp_path_factory.mktemp("strict"), free_port(), durable=False, settings=CHECKED) as server:
        yield MariaDBLab(server)


@pytest.fixture
def accounts(lab: MariaDBLab) -> Accounts:
    return lab.accounts()


@pytest.fixture
def target(lab: MariaDBLab, accounts: Accounts) -> Iterator[MySQL]:
    with closing(lab.target(accounts)) as opened:
        yield opened


def password() -> Sensitive:
    return Sensitive(f"s3cr3t-{secrets.token_hex(12)}")


def works(lab: MariaDBLab, account: str, password: Sensitive) -> bool:
    return lab.logs_in(SecretFields({"username": account, "password": password.reveal()}))


def sequence_of(lab: MariaDBLab, account: str) -> list[tuple[int, int]]:
    return [(n, m) for n, m in lab.sql("SELECT sequence, making FROM keyturn.accounts WHERE account = %s", account)]


def assert_silent(error: KeyturnError, *values: Sensitive) -> None:
    told = "".join(traceback.format_exception(error)) + repr(error.args)
    assert not [value for value in values if value.reveal() in told]
    assert error.__context__ is None or error.__suppress_context__
    assert error.hint


# --- passwords and accounts --------------------------------------------------------------------------------


def test_a_new_password_works_and_the_old_one_does_not(lab: MariaDBLab, target: MySQL, accounts: Accounts) -> None:
    new = password()
    target.set_password(accounts.first, new, sequence=3)
    assert works(lab, accounts.first, new)
    assert not lab.logs_in(accounts.serving)
    target.check_login(accounts.first, new)


def test_an_absent_account_is_made_with_all_that_its_model_may_do(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    lab.sql(f"ALTER USER {accounts.first} REQUIRE SSL")
    own = f"SELECT (n), UPDATE ON {accounts.database}.orders"
    lab.sql(f"CREATE TABLE {accounts.database}.orders (n INT)")
    lab.sql(f"GRANT {own} TO {accounts.first}")
    lab.sql(f"GRANT SELECT, UPDATE ON {accounts.database}.orders TO {ADMIN} WITH GRANT OPTION")
    new = password()
    target.set_password(accounts.second, new, sequence=3, like=accounts.first)
    target.check_login(accounts.second, new, like=accounts.first)
    told = [line for (line,) in lab.sql(f"SHOW GRANTS FOR {accounts.second}")]
    assert f"GRANT {accounts.owner!r} TO {accounts.second!r}@'%'".replace("'", "`") in told
    assert f"GRANT SELECT (`n`), UPDATE ON `{accounts.database}`.`orders` TO `{accounts.second}`@`%`" in told
    assert f"SET DEFAULT ROLE `{accounts.owner}` FOR `{accounts.second}`@`%`" in told
    assert lab.sql("SELECT ssl_type FROM mysql.user WHERE User = %s", accounts.second) == [("ANY",)]


def test_an_account_is_all_its_entries_whatever_their_host(lab: MariaDBLab, target: MySQL, accounts: Accounts) -> None:
    lab.sql(f"CREATE USER {accounts.first}@'10.0.0.0/255.0.0.0' IDENTIFIED BY 'elsewhere'")
    new = password()
    target.set_password(accounts.first, new, sequence=3, member_of=accounts.owner)
    target.set_password(accounts.second, new, sequence=3, like=accounts.first, member_of=accounts.owner)
    stored = lab.sql("SELECT Host, authentication_string FROM mysql.user WHERE User LIKE %s", f"{accounts.database}_%")
    assert len({hashed for host, hashed in stored if host}) == 1
    assert sorted(host for host, _ in stored if host) == ["%", "%", "10.0.0.0/255.0.0.0", "10.0.0.0/255.0.0.0"]
    target.disable(accounts.first, sequence=4)
    locked = [text for host in ("%", "10.0.0.0/255.0.0.0") for text in shown(lab, f"{accounts.first}@'{host}'")]
    assert all("ACCOUNT LOCK" in text for text in locked)


def shown(lab: MariaDBLab, user: str) -> list[str]:
    return [text for (text,) in lab.sql(f"SHOW CREATE USER {user}")]


def test_an_account_whose_making_was_interrupted_is_finished(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    lab.sql(f"REVOKE {accounts.owner} FROM {ADMIN}")
    new = password()
    with pytest.raises(Denied):
        target.set_password(accounts.second, new, sequence=3, like=accounts.first)
    assert sequence_of(lab, accounts.second) == [(3, 1)]
    assert not works(lab, accounts.second, new)
    lab.sql(f"GRANT {accounts.owner} TO {ADMIN} WITH ADMIN OPTION")
    target.set_password(accounts.second, new, sequence=3, like=accounts.first)
    assert sequence_of(lab, accounts.second) == [(3, 0)]
    target.check_login(accounts.second, new, like=accounts.first)


def test_an_account_that_was_there_gets_no_right_but_the_role(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    lab.sql(f"GRANT SHOW DATABASES ON *.* TO {accounts.first}")
    lab.sql(f"CREATE USER {accounts.second}")
    new = password()
    target.set_password(accounts.second, new, sequence=3, like=accounts.first, member_of=accounts.owner)
    with pytest.raises(Unprivileged, match=r"it lacks: SHOW DATABASES on \*\.\*\. ") as refused:
        target.check_login(accounts.second, new, like=accounts.first)
    lab.sql(refused.value.hint.removeprefix("Run as the database's administrator: "))
    target.check_login(accounts.second, new, like=accounts.first)


def test_what_the_role_gives_an_account_need_not_be_granted_to_it_as_well(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    lab.sql(f"GRANT SELECT ON {accounts.database}.* TO {accounts.first}")
    lab.sql(f"CREATE USER {accounts.second}")
    new = password()
    target.set_password(accounts.second, new, sequence=3, like=accounts.first, member_of=accounts.owner)
    target.check_login(accounts.second, new, like=accounts.first)


def test_an_admin_that_may_not_set_default_roles_still_rotates_accounts_that_have_theirs(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    lab.sql(f"REVOKE UPDATE ON mysql.* FROM {ADMIN}")
    lab.sql(f"REVOKE {accounts.owner} FROM {ADMIN}")
    try:
        target.set_password(accounts.first, password(), sequence=3, member_of=accounts.owner)
    finally:
        lab.sql(f"GRANT UPDATE ON mysql.* TO {ADMIN}")


def test_a_disabled_account_can_not_log_in_and_forgets_its_password(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    target.disable(accounts.first, sequence=3)
    assert not lab.logs_in(accounts.serving)
    lab.sql(f"ALTER USER {accounts.first} ACCOUNT UNLOCK")
    assert not lab.logs_in(accounts.serving)


def test_disabling_what_is_absent_is_success_and_counts(lab: MariaDBLab, target: MySQL, accounts: Accounts) -> None:
    target.disable(accounts.second, sequence=7)
    assert sequence_of(lab, accounts.second) == [(7, 0)]
    with pytest.raises(Superseded):
        target.set_password(accounts.second, password(), sequence=6)


def test_sessions_are_counted(lab: MariaDBLab, target: MySQL, accounts: Accounts) -> None:
    assert target.sessions(accounts.first) == 0
    with lab.session(accounts.serving), lab.session(accounts.serving):
        assert target.sessions(accounts.first) == 2


def test_mariadb_keeps_no_second_password_and_has_none_to_discard(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    with pytest.raises(UnsupportedOperation, match=r"MySQL 8\.0\.14 or newer"):
        target.set_password(accounts.first, password(), sequence=3, keep_old=True)
    target.discard_old(accounts.first, sequence=3)
    assert lab.logs_in(accounts.serving)


def test_an_account_of_another_plugin_is_not_converted_behind_its_owners_back(
    strict: MariaDBLab,
) -> None:
    strict.sql("INSTALL SONAME 'auth_parsec'")
    strict.sql("CREATE USER modern IDENTIFIED VIA parsec USING PASSWORD('x')")
    with closing(strict.target(strict.accounts())) as target:
        with pytest.raises(Invalid, match="its authentication plugin is none that Keyturn can use"):
            target.set_password("modern", password(), sequence=3)
        with pytest.raises(Invalid, match="its authentication plugin is none that Keyturn can use"):
            target.check_login("modern", Sensitive("x"))
        assert sequence_of(strict, "modern") == []
        target.disable("modern", sequence=3)
    assert "ACCOUNT LOCK" in shown(strict, "modern")[0]
    assert "VIA parsec" in shown(strict, "modern")[0]


# --- the fence ---------------------------------------------------------------------------------------------


def test_an_older_rotation_is_refused_and_the_same_one_may_repeat(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    new = password()
    for _ in range(2):
        target.set_password(accounts.first, new, sequence=8)
    verbs: list[Callable[[], None]] = [
        lambda: target.set_password(accounts.first, password(), sequence=7),
        lambda: target.disable(accounts.first, sequence=7),
        lambda: target.discard_old(accounts.first, sequence=7),
    ]
    for verb in verbs:
        with pytest.raises(Superseded, match="rotation 8 has written it since, this is 7") as caught:
            verb()
        assert_silent(caught.value, new)
    assert works(lab, accounts.first, new)
    assert sequence_of(lab, accounts.first) == [(8, 0)]


def test_of_many_workers_at_once_the_newest_wins(lab: MariaDBLab, accounts: Accounts) -> None:
    passwords = {sequence: password() for sequence in range(1, 13)}
    targets = [lab.target(accounts) for _ in passwords]

    def rotate(sequence: int) -> bool:
        try:
            targets[sequence - 1].set_password(accounts.first, passwords[sequence], sequence=sequence)
        except Superseded:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        done = dict(zip(passwords, pool.map(rotate, passwords), strict=True))
    for target in targets:
        target.close()
    assert done[12]
    assert works(lab, accounts.first, passwords[12])
    assert sequence_of(lab, accounts.first) == [(12, 0)]


def test_a_worker_suspended_right_before_its_change_can_not_make_it_after_a_newer_one(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    """What the suspended worker says from ALTER USER on is held back: it has passed the check, and has the lock."""
    old, new = password(), password()
    gate = Gate(lab.server.port, b"ALTER USER")
    with closing(gate), closing(lab.target(accounts, port=gate.port, tls="disable")) as suspended:
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(suspended.set_password, accounts.first, old, sequence=3)
            assert gate.held.wait(10)
            began = time.monotonic()
            target.set_password(accounts.first, new, sequence=4)
            assert time.monotonic() - began >= mysql_fence.PATIENCE
            gate.opened.set()
            with pytest.raises(Unavailable):
                late.result(20)
        with pytest.raises(Superseded):
            suspended.set_password(accounts.first, old, sequence=3)
    assert works(lab, accounts.first, new)
    assert not works(lab, accounts.first, old)


def test_an_older_worker_ends_nobodys_connection(lab: MariaDBLab, target: MySQL, accounts: Accounts) -> None:
    new = password()
    gate = Gate(lab.server.port, b"ALTER USER")
    slow = lab.target(accounts, port=gate.port, tls="disable")
    with closing(gate), closing(slow), ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(slow.set_password, accounts.first, new, sequence=4)
        assert gate.held.wait(10)
        with pytest.raises(Superseded):
            target.set_password(accounts.first, password(), sequence=3)
        gate.opened.set()
        going_on.result(20)
    assert works(lab, accounts.first, new)


def test_a_lock_of_another_admin_account_is_waited_for(
    lab: MariaDBLab, target: MySQL, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an admin that may not end sessions of others; one that may ends this one too."""
    monkeypatch.setattr(mysql_fence, "PATIENCE", 0.1)
    lab.sql(f"REVOKE CONNECTION ADMIN ON *.* FROM {ADMIN}")
    root = SecretFields({"username": "root", "password": lab.server.superuser_password})
    with lab.session(root) as other:
        run(other, "SELECT GET_LOCK(%s, 0)", f"keyturn:{accounts.first}")
        with pytest.raises(Locked, match="for 60 s at most"):
            target.set_password(accounts.first, password(), sequence=3)
        assert lab.logs_in(accounts.serving)
        lab.sql(f"GRANT CONNECTION ADMIN ON *.* TO {ADMIN}")
        target.close()
        target.set_password(accounts.first, password(), sequence=3)


def test_a_worker_that_died_after_the_number_was_written_refuses_only_older_ones(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    gate = Gate(lab.server.port, b"ALTER USER")
    with closing(lab.target(accounts, port=gate.port, tls="disable")) as dying, ThreadPoolExecutor(1) as pool:
        late = pool.submit(dying.set_password, accounts.first, password(), sequence=5)
        assert gate.held.wait(10)
        assert sequence_of(lab, accounts.first) == [(5, 0)]
        gate.close()
        with pytest.raises(Unavailable):
            late.result(20)
    assert lab.logs_in(accounts.serving)
    new = password()
    target.set_password(accounts.first, new, sequence=5)
    assert works(lab, accounts.first, new)


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_wrong_password_a_locked_and_an_absent_account_and_an_expired_password_are_rejected(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    wrong, right = password(), Sensitive(accounts.password)

    def rejected(account: str, said: Sensitive) -> None:
        with pytest.raises(CandidateRejected, match="the target refuses the login") as caught:
            target.check_login(account, said)
        assert_silent(caught.value, wrong, right)

    rejected(accounts.first, wrong)
    rejected(accounts.second, wrong)
    lab.sql(f"ALTER USER {accounts.first} PASSWORD EXPIRE")
    rejected(accounts.first, right)
    lab.sql(f"ALTER USER {accounts.first} ACCOUNT LOCK")
    rejected(accounts.first, right)


def test_a_candidate_without_a_way_into_the_database_is_rejected(
    lab: MariaDBLab, target: MySQL, accounts: Accounts
) -> None:
    lab.sql(f"SET DEFAULT ROLE NONE FOR {accounts.first}")
    with pytest.raises(CandidateRejected, match=f"it may not use the database {accounts.database}"):
        target.check_login(accounts.first, Sensitive(accounts.password))


def test_a_lost_default_role_is_named(lab: MariaDBLab, target: MySQL, accounts: Accounts) -> None:
    new = password()
    target.set_password(accounts.second, new, sequence=3, like=accounts.first)
    lab.sql(f"SET DEFAULT ROLE NONE FOR {accounts.second}")
    lab.sql(f"GRANT SELECT ON {accounts.database}.* TO {accounts.second}")
    with pytest.raises(CandidateRejected, match=f"it lacks: the default role `{accounts.owner}`"):
        target.check_login(accounts.second, new, like=accounts.first)


def test_a_database_that_is_not_there_is_invalid(lab: MariaDBLab, accounts: Accounts) -> None:
    lab.sql(f"GRANT SELECT ON *.* TO {accounts.first}")
    nowhere = lab.target(accounts, database="nowhere")
    with pytest.raises(Invalid, match="there is no such database"):
        nowhere.check_login(accounts.first, Sensitive(accounts.password))


def test_a_role_that_does_not_exist_is_invalid(target: MySQL, accounts: Accounts) -> None:
    with pytest.raises(Invalid, match="a role that the catalogue names does not exist"):
        target.set_password(accounts.first, password(), sequence=3, member_of="nobodys_role")


def test_each_right_that_the_admin_lacks_is_named_as_the_statement_that_gives_it(
    strict: MariaDBLab,
) -> None:
    accounts, admin = strict.accounts(), SecretFields({"username": "bare", "password": "bare"})
    strict.sql("CREATE USER bare IDENTIFIED BY 'bare'")
    told: list[str] = []
    new = password()
    with strict.session(accounts.serving), closing(strict.target(accounts, admin=lambda: admin)) as target:

        def rotation() -> None:
            target.set_password(accounts.second, new, sequence=3, like=accounts.first, member_of=accounts.owner)
            target.sessions(accounts.first)
            target.revoke(accounts.first, sequence=4)

        while len(told) < 10:
            try:
                rotation()
                break
            except Denied as denied:
                told.append(denied.hint.removeprefix("Let an administrator run: "))
                strict.sql(told[-1])
    assert told == [
        "GRANT CREATE, SELECT, INSERT, UPDATE ON keyturn.* TO `bare`@`%`",
        "GRANT SELECT ON mysql.* TO `bare`@`%`",
        "GRANT CREATE USER ON *.* TO `bare`@`%`",
        f"GRANT `{accounts.owner}` TO `bare`@`%` WITH ADMIN OPTION",
        "GRANT UPDATE ON mysql.* TO `bare`@`%`",
        "GRANT PROCESS ON *.* TO `bare`@`%`",
        "GRANT CONNECTION ADMIN ON *.* TO `bare`@`%`",
    ]


def test_an_admin_that_is_refused_is_denied_and_asked_for_again(lab: MariaDBLab, accounts: Accounts) -> None:
    given = [SecretFields({"username": ADMIN, "password": "not-it-at-all"}), lab.admin()]
    with closing(lab.target(accounts, admin=lambda: given.pop(0))) as target:
        with pytest.raises(Denied, match=f"the admin account {ADMIN} is refused") as caught:
            target.disable(accounts.first, sequence=1)
        assert_silent(caught.value, Sensitive("not-it-at-all"))
        target.disable(accounts.first, sequence=1)


@pytest.mark.parametrize("verb", ["check_login", "sessions"])
def test_a_server_that_is_not_there_is_unavailable(lab: MariaDBLab, accounts: Accounts, verb: str) -> None:
    given = {"check_login": (accounts.first, password()), "sessions": (accounts.first,)}[verb]
    with closing(lab.target(accounts, port=free_port())) as target, pytest.raises(Unavailable) as caught:
        getattr(target, verb)(*given)
    assert_silent(caught.value, Sensitive(lab.admin_password))


def test_a_host_that_does_not_resolve_is_unavailable(lab: MariaDBLab, accounts: Accounts) -> None:
    with closing(lab.target(accounts, host="no-such-host.invalid")) as target, pytest.raises(Unavailable):
        target.sessions(accounts.first)


def test_a_server_that_was_restarted_is_used_again(strict: MariaDBLab) -> None:
    accounts = strict.accounts()
    with closing(strict.target(accounts)) as target:
        target.set_password(accounts.first, password(), sequence=1)
        for (number,) in strict.sql("SELECT id FROM information_schema.processlist WHERE user = %s", ADMIN):
            strict.sql("KILL %s", number)
        target.set_password(accounts.first, password(), sequence=2)


def test_a_read_only_server_is_unavailable_with_the_way_out(strict: MariaDBLab) -> None:
    accounts = strict.accounts()
    strict.sql("SET GLOBAL read_only = 1")
    try:
        with closing(strict.target(accounts)) as target, pytest.raises(Unavailable, match="Point the target at the"):
            target.set_password(accounts.first, password(), sequence=1)
    finally:
        strict.sql("SET GLOBAL read_only = 0")


def test_a_server_that_insists_on_reading_passwords_is_told_apart_from_a_read_only_one(strict: MariaDBLab) -> None:
    accounts = strict.accounts()
    strict.sql("INSTALL SONAME 'simple_password_check'")
    try:
        with closing(strict.target(accounts)) as target:
            for account, like in ((accounts.first, None), (accounts.second, accounts.first)):
                with pytest.raises(Invalid, match="strict_password_validation=OFF"):
                    target.set_password(account, password(), sequence=1, like=like)
            strict.sql("SET GLOBAL strict_password_validation = OFF")
            target.set_password(accounts.second, password(), sequence=1, like=accounts.first)
    finally:
        strict.sql("UNINSTALL SONAME 'simple_password_check'")


# --- encryption --------------------------------------------------------------------------------------------


def test_an_untrusted_certificate_and_a_file_that_holds_none_are_invalid(
    lab: MariaDBLab, accounts: Accounts, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").write_text("")
    for given, said in (
        ({"ca_file": None}, "the server's certificate is not one to trust"),
        ({"host": "127.1"}, "the server's certificate is not one to trust"),
        ({"ca_file": str(tmp_path / "absent.pem")}, "there is no CA certificate in"),
        ({"ca_file": str(tmp_path / "empty.pem")}, "there is no CA certificate in"),
    ):
        with closing(lab.target(accounts, **given)) as target:
            with pytest.raises(Invalid, match=said):
                target.sessions(accounts.first)
            with pytest.raises(Invalid, match=said):
                target.check_login(accounts.first, password())


def test_encryption_is_used_unless_it_is_disabled(lab: MariaDBLab, accounts: Accounts) -> None:
    lab.sql(f"ALTER USER {accounts.first} REQUIRE SSL")
    for tls, encrypted in (("verify", True), ("require", True), ("disable", False)):
        ca_file = str(lab.server.authority) if tls == "verify" else None
        with closing(lab.target(accounts, tls=tls, ca_file=ca_file)) as target:
            if encrypted:
                target.check_login(accounts.first, Sensitive(accounts.password))
            else:
                with pytest.raises(CandidateRejected):
                    target.check_login(accounts.first, Sensitive(accounts.password))


@pytest.mark.parametrize("tls", ["verify", "require"])
def test_a_server_without_encryption_is_refused_before_the_password_is_sent(
    lab: MariaDBLab, accounts: Accounts, tmp_path: Path, tls: str
) -> None:
    with MariaDB(tmp_path / "plain", free_port(), durable=False, settings={"ssl": "0"}) as plain:
        target = lab.target(accounts, port=plain.port, tls=tls)
        with pytest.raises(Invalid, match="the server offers no TLS"):
            target.sessions(accounts.first)


# --- logs --------------------------------------------------------------------------------------------------


def test_no_password_is_in_any_log_of_the_server(strict: MariaDBLab) -> None:
    accounts = strict.accounts()
    first, second, wrong = password(), password(), password()
    with closing(strict.target(accounts)) as target:
        target.set_password(accounts.second, first, sequence=1, like=accounts.first, member_of=accounts.owner)
        target.check_login(accounts.second, first, like=accounts.first)
        target.set_password(accounts.first, second, sequence=1)
        with pytest.raises(CandidateRejected):
            target.check_login(accounts.first, wrong)
        target.disable(accounts.first, sequence=2)
    ((data,),) = strict.sql("SELECT @@datadir")
    files = [file for file in Path(data).rglob("*") if file.is_file()] + [strict.server.process.log]
    kept = {file.name: file.read_bytes() for file in files}
    assert any(b"ALTER USER" in text for name, text in kept.items() if name.startswith("changes."))
    assert any(b"ALTER USER" in text for name, text in kept.items() if name.endswith(".log"))
    for said in (first, second, wrong):
        assert not [name for name, text in kept.items() if said.reveal().encode() in text]


def test_every_account_is_listed_with_the_roles_that_it_was_granted(target: MySQL, accounts: Accounts) -> None:
    listed = target.list_accounts()
    assert listed[accounts.first] == {accounts.owner}
    assert accounts.owner not in listed
    assert not [name for name in listed if name.startswith(("mysql.", "mariadb."))]
