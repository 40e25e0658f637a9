"""The adapter for Redis against real servers: the fence, several nodes, TLS, rights, refusals and their remedies."""

import os
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis as Client
from redis.exceptions import ResponseError

from keyturn.core.errors import (
    CandidateRejected,
    Denied,
    Invalid,
    KeyturnError,
    Locked,
    Superseded,
    Unavailable,
    Unproven,
)
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.redis.target import Redis as Target
from keyturn.providers.redis.target import mark_sequence, sequence_mark
from local.programs import find_program
from local.redis import ADMIN_RULES, Redis, digest
from local.support.ports import LOOPBACK, free_port, free_ports
from local.support.process import Process
from tests.support.acl import Acl, kept

NEW = digest("new")
NEWER = digest("newer")


@pytest.fixture
def acl(redis: Redis) -> Acl:
    return Acl(redis)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Acl]:
    """A server for one test, which may break it."""
    with Redis(tmp_path / "redis", free_port()) as server:
        yield Acl(server)


@pytest.fixture
def fields(acl: Acl) -> SecretFields:
    return acl.user()


@pytest.fixture
def user(fields: SecretFields) -> str:
    return fields["username"].reveal()


def add(target: Target, user: str, password: str, sequence: int) -> None:
    target.change_passwords(user, lambda there: there | {password}, sequence=sequence)


def assert_silent(error: KeyturnError, *values: Sensitive) -> None:
    told = "".join(traceback.format_exception(error)) + repr(error.args)
    assert not [value for value in values if value.reveal() in told]
    assert error.__context__ is None or error.__suppress_context__
    assert error.hint


# --- the fence ---------------------------------------------------------------------------------------------


def test_the_sequence_stands_beside_the_passwords_and_lets_nobody_in(acl: Acl, fields: SecretFields, user: str) -> None:
    add(acl.target(), user, NEW, 7)
    (found,) = acl.marks(user)
    assert mark_sequence(found) == 7
    assert acl.passwords(user) == {kept(fields), NEW}
    assert not acl.logs_in(fields.merged({"password": found}))


def test_an_older_sequence_changes_nothing(acl: Acl, user: str) -> None:
    add(acl.target(), user, NEW, 7)
    before = acl.ask("ACL GETUSER", user)
    with pytest.raises(Superseded, match=r"rotation 7 .*, this is 6.*the next run takes a greater number"):
        add(acl.target(), user, NEWER, 6)
    assert acl.ask("ACL GETUSER", user) == before
    add(acl.target(), user, NEWER, 7)
    assert NEWER in acl.passwords(user)


def test_the_next_run_after_a_restored_hub_goes_on_above_the_marks_number(acl: Acl, user: str) -> None:
    add(acl.target(), user, NEW, 7)
    with pytest.raises(Superseded, match="the next run takes a greater number"):
        add(acl.target(), user, NEWER, 2)
    add(acl.target(), user, NEWER, acl.target().last_sequence(user) + 1)
    assert NEWER in acl.passwords(user)


@pytest.mark.parametrize("marked", [True, False])
def test_a_worker_that_slept_between_looking_and_writing_is_refused(acl: Acl, user: str, marked: bool) -> None:
    if marked:
        add(acl.target(), user, NEW, 1)
    asleep = True

    def slowly(there: frozenset[str]) -> frozenset[str]:
        nonlocal asleep
        if asleep:
            asleep = False
            add(acl.target(), user, NEWER, 9)
            # A third one, who found no mark long ago.
            acl.ask("ACL SETUSER", user, f"#{sequence_mark(0)}")
        return there | {digest("late")}

    with pytest.raises(Superseded, match="rotation 9 has written it since, this is 5"):
        acl.target().change_passwords(user, slowly, sequence=5)
    assert digest("late") not in acl.passwords(user)
    assert NEWER in acl.passwords(user)


def test_a_first_mark_that_comes_late_fences_nobody_out_and_nobody_in(acl: Acl, user: str) -> None:
    """Whoever found no mark adds one of number zero; he may have slept since he looked."""
    add(acl.target(), user, NEW, 7)
    acl.ask("ACL SETUSER", user, f"#{sequence_mark(0)}")
    with pytest.raises(Superseded):
        add(acl.target(), user, NEWER, 6)
    add(acl.target(), user, NEWER, 8)
    assert [mark_sequence(one) for one in acl.marks(user)] == [8]


def test_what_somebody_else_does_meanwhile_is_kept(acl: Acl, fields: SecretFields, user: str) -> None:
    def beside(there: frozenset[str]) -> frozenset[str]:
        acl.ask("ACL SETUSER", user, ">by-hand", "+ping")
        return there | {NEW}

    acl.target().change_passwords(user, beside, sequence=5)
    assert acl.passwords(user) == {kept(fields), NEW, digest("by-hand")}
    assert "+ping" in acl.rules(user)["commands"]


def test_a_user_that_never_rests_is_worth_another_try(acl: Acl, user: str) -> None:
    def again(there: frozenset[str]) -> frozenset[str]:
        add(acl.target(), user, NEW, 5)
        return there

    with pytest.raises(Locked):
        acl.target().change_passwords(user, again, sequence=5)


def test_a_user_deleted_between_looking_and_writing_is_not_made_again(acl: Acl, user: str) -> None:
    def without(there: frozenset[str]) -> frozenset[str]:
        acl.ask("ACL DELUSER", user)
        return there | {NEW}

    with pytest.raises(Invalid, match="there is no such user"):
        acl.target().change_passwords(user, without, sequence=5)
    assert acl.ask("ACL GETUSER", user) is None


# --- logging in --------------------------------------------------------------------------------------------


def test_a_password_is_tried_on_a_connection_of_its_own(acl: Acl, fields: SecretFields, user: str) -> None:
    target = acl.target()
    target.check_login(user, fields["password"])
    wrong = Sensitive(f"wr0ng-{secrets.token_hex(8)}")
    with pytest.raises(CandidateRejected, match=f"cache:{user}") as caught:
        target.check_login(user, wrong)
    assert_silent(caught.value, wrong, fields["password"])
    assert target.sessions(user) == []


def test_a_login_that_reaches_no_server_says_nothing_against_the_password(acl: Acl, user: str) -> None:
    nowhere = Target("cache", host=LOOPBACK, port=free_port(), admin=acl.admin, tls=False)
    for call in calls(nowhere, user):
        with pytest.raises(Unavailable, match="does not answer") as caught:
            call()
        assert_silent(caught.value)


def calls(target: Target, user: str) -> list[Callable[[], object]]:
    """One call of every kind."""
    return [
        lambda: target.check_login(user, Sensitive("any")),
        lambda: target.check_user(user),
        lambda: add(target, user, NEW, 1),
        lambda: target.sessions(user),
        lambda: target.revoke(user, NEWER, sequence=1),
    ]


def test_sessions_are_told_with_their_place_and_name(acl: Acl) -> None:
    fields = acl.user("-@all +client|setname")
    user = fields["username"].reveal()
    with acl.session(fields), acl.session(fields) as second:
        second.client_setname("a=b")
        places = sorted(where for where, _ in acl.target().sessions(user))
        assert [place.startswith("127.0.0.1:") for place in places] == [True, True]
        assert [place for place in places if place.endswith(" (a=b)")]
    assert acl.target().sessions(user) == []


# --- rights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [rule for rule in ADMIN_RULES.split() if rule != "-@all"])
def test_every_right_of_the_admin_is_needed_and_named_where_it_is_missing(acl: Acl, user: str, rule: str) -> None:
    target = acl.target(admin=(admin := acl.lesser_admin(rule)))
    said = []
    for call in calls(target, user)[1:]:
        try:
            call()
        except Denied as error:
            said.append(str(error))
            assert_silent(error, admin()["password"])
    name = admin()["username"].reveal()
    assert said
    assert all(f"Run there: ACL SETUSER {name} {rule}" in one for one in said)
    acl.ask("ACL SETUSER", name, rule)
    for call in calls(target, user)[1:]:
        call()


def test_an_admin_that_is_refused_is_denied_with_the_place_to_mend_it(acl: Acl, user: str) -> None:
    wrong = acl.admin().merged({"password": f"wr0ng-{secrets.token_hex(8)}"})
    for call in calls(acl.target(admin=lambda: wrong), user)[1:]:
        with pytest.raises(Denied, match=r"refuses the admin user keyturn.*`admin` path") as caught:
            call()
        assert_silent(caught.value, wrong["password"])


def test_keyturns_own_user_is_not_rotated(acl: Acl) -> None:
    with pytest.raises(Invalid, match="the user that Keyturn itself logs in with"):
        acl.target().check_user(acl.server.admin)


# --- what keeps users over a restart -----------------------------------------------------------------------


def test_an_acl_file_that_can_not_be_written_is_told(own: Acl) -> None:
    user = own.user()["username"].reveal()
    own.server.users.unlink()
    own.server.users.mkdir()
    with pytest.raises(Invalid, match=r"can't write its ACL file.*its log says") as caught:
        add(own.target(), user, NEW, 1)
    assert_silent(caught.value)


@pytest.fixture
def without_file(tmp_path: Path) -> Iterator[Acl]:
    """A server whose users stand in redis.conf."""
    with Redis(tmp_path / "redis", free_port(), settings={"aclfile": '""', "include": "users.acl"}) as server:
        yield Acl(server)


def test_users_in_redis_conf_are_written_there(without_file: Acl) -> None:
    user, acl = without_file.user()["username"].reveal(), without_file
    with pytest.raises(Denied, match=r"ACL SETUSER keyturn \+config\|rewrite"):
        add(acl.target(), user, NEW, 1)
    acl.ask("ACL SETUSER", acl.server.admin, "+config|rewrite")
    add(acl.target(), user, NEW, 1)
    config = acl.server.directory / "redis.conf"
    assert f"user {user}" in config.read_text()
    assert NEW in config.read_text()
    config.unlink()
    config.mkdir()
    with pytest.raises(Invalid, match=r"can't write its redis.conf"):
        add(acl.target(), user, NEW, 1)


def test_a_server_that_keeps_its_users_nowhere_is_refused(tmp_path: Path) -> None:
    found, port, process = find_program("redis-server"), free_port(), Process("redis", tmp_path)
    admin = SecretFields({"username": "default", "password": "any"})
    process.start(
        [str(found.path), "--bind", LOOPBACK, "--port", str(port), "--user", "app", "on", ">first"],
        ready=lambda: process.says("Ready to accept connections"),
        environment={**os.environ, **found.environment},
        cwd=tmp_path,
    )
    try:
        with pytest.raises(Invalid, match=r"keeps its users nowhere.*aclfile"):
            add(Target("cache", host=LOOPBACK, port=port, admin=lambda: admin, tls=False), "app", NEW, 1)
    finally:
        process.stop()


# --- several nodes -----------------------------------------------------------------------------------------


@pytest.fixture
def replica(own: Acl, tmp_path: Path) -> Iterator[Acl]:
    """A server that copies the data of ``own``, with the same admin and with users of its own."""
    other = Redis(tmp_path / "replica", free_port(), primary=own.server)
    other.directory.mkdir()
    (other.directory / "admin.password").write_text(own.server.admin_password)
    with other:
        while own.ask("INFO", "replication")["connected_slaves"] < 1:
            time.sleep(0.02)
        yield Acl(other)


def place(acl: Acl) -> str:
    return f"{acl.server.host}:{acl.server.port}"


def test_users_of_every_node_change_and_are_tried(own: Acl, replica: Acl) -> None:
    fields = own.user()
    user = fields["username"].reveal()
    target = own.target(nodes=[place(replica)])
    with pytest.raises(Invalid, match=f"there is no such user on {place(replica)}"):
        target.check_user(user)
    replica.user(name=user)
    target.check_user(user)
    add(target, user, NEW, 5)
    assert NEW in own.passwords(user) & replica.passwords(user)
    target.check_login(user, Sensitive("new"))
    with pytest.raises(CandidateRejected, match=f"{place(replica)} refuses the login"):
        target.check_login(user, fields["password"])
    with replica.session(fields.merged({"password": "new"})):
        assert len(target.sessions(user)) == 1


def test_a_node_that_is_down_holds_everything_back_and_is_named(own: Acl, replica: Acl) -> None:
    user = own.user()["username"].reveal()
    replica.user(name=user)
    target = own.target(nodes=[place(replica)])
    replica.server.stop()
    for call in calls(target, user)[1:]:
        with pytest.raises(Unavailable, match=f"{place(replica)} does not answer"):
            call()
    assert NEW in own.passwords(user)
    replica.server.start()
    replica.user(name=user)
    add(target, user, NEW, 1)
    assert NEW in replica.passwords(user)


def test_a_replica_that_the_catalogue_does_not_name_is_refused(own: Acl, replica: Acl) -> None:
    fields = own.user()
    replica.user(name=fields["username"].reveal())
    for acl in (own, replica):
        with pytest.raises(Invalid, match=f"{place(acl)} is one of 2 nodes, and the catalogue names 1.*nodes"):
            acl.target().check_user(fields["username"].reveal())


def test_a_cluster_is_refused_until_all_its_nodes_are_named(tmp_path: Path) -> None:
    ports = free_ports(4)
    cluster = [{"cluster-enabled": "yes", "cluster-port": str(port)} for port in ports[2:]]
    with (
        Redis(tmp_path / "one", ports[0], settings=cluster[0]) as first,
        Redis(tmp_path / "two", ports[1], settings=cluster[1]) as second,
    ):
        one, two = Acl(first), Acl(second)
        one.ask("CLUSTER", "MEET", second.host, str(second.port), str(ports[3]))
        while "cluster_known_nodes:2" not in one.ask("CLUSTER", "INFO"):
            time.sleep(0.02)
        fields = one.user()
        user = fields["username"].reveal()
        with pytest.raises(Denied, match=r"ACL SETUSER keyturn \+cluster\|info"):
            one.target().check_user(user)
        one.ask("ACL SETUSER", first.admin, "+cluster|info")
        with pytest.raises(Invalid, match="is one of 2 nodes, and the catalogue names 1"):
            one.target().check_user(user)
        two.ask("ACL SETUSER", first.admin, "+cluster|info", f">{first.admin_password}")
        two.user(name=user)
        one.target(nodes=[place(two)]).check_user(user)


# --- TLS, and servers that are busy ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acl]:
    with Redis(tmp_path_factory.mktemp("secure"), free_port(), tls=True) as server:
        yield Acl(server)


def test_tls_is_spoken_and_the_certificate_checked(secure: Acl, tmp_path: Path) -> None:
    fields = secure.user()
    user = fields["username"].reveal()
    for call in calls(secure.target(), user)[1:]:
        call()
    secure.target().check_login(user, fields["password"])

    def trusting(ca_file: str | None, tls: bool = True) -> Target:
        return Target("cache", host=LOOPBACK, port=secure.server.port, admin=secure.admin, tls=tls, ca_file=ca_file)

    expected: list[tuple[Target, type[KeyturnError], str]] = [
        (trusting(None), Unproven, "certificate is not trusted.*ca_file"),
        (trusting(str(tmp_path / "absent.pem")), Invalid, "absent.pem does not exist"),
        (trusting(None, tls=False), Unavailable, "host, port, tls and ca_file"),
    ]
    for target, error, said in expected:
        with pytest.raises(error, match=said) as caught:
            target.check_login(user, fields["password"])
        assert_silent(caught.value, fields["password"])


def test_a_server_that_is_busy_with_a_script_is_asked_again_later(own: Acl) -> None:
    user = own.user()["username"].reveal()
    own.ask("CONFIG SET", "busy-reply-threshold", "1")
    with ThreadPoolExecutor(1) as pool, own.session(own.user("+@all")) as client:
        script = pool.submit(own.ask, "EVAL", "while true do end", "0")
        while not busy(client):
            time.sleep(0.01)
        with pytest.raises(Unavailable, match="busy with a script"):
            own.target().check_user(user)
        client.execute_command("SCRIPT", "KILL")
        with pytest.raises(ResponseError, match="killed"):
            script.result(timeout=10)


def busy(client: Client) -> bool:
    """Whether the server answers that a script runs."""
    try:
        client.execute_command("PING")
    except ResponseError as error:
        return str(error).startswith("BUSY")
    return False
