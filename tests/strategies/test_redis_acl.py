"""Passwords of Redis users, against a real Redis."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.core.errors import CandidateRejected, Invalid, Locked, Superseded
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.passwords import PasswordPolicy
from keyturn.revocation.incidents.incident import Mode
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record
from keyturn.strategies.redis_acl import RedisAcl
from keyturn.wiring.registry import open_workspace
from local.redis import ADMIN_RULES, Redis
from local.support.ports import free_port
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.revoking import assert_ended_though_unreadable
from tests.support.acl import Acl, kept
from tests.support.lab import Lab, fresh
from tests.support.memory_store import MemoryStore
from tests.support.sender import RecordingSender

pytestmark = pytest.mark.sampled(3, of="file")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def acl(redis: Redis) -> Acl:
    return Acl(redis)


def strategy(acl: Acl, fields: SecretFields) -> RedisAcl:
    return RedisAcl(acl.target(), PasswordPolicy(), fields["username"].reveal(), now)


def other_password(candidate: SecretFields) -> SecretFields:
    return candidate.merged({"password": "n0t-the-password-that-was-installed"})


def case_of(acl: Acl) -> Case:
    """A strategy over a user that nobody has rotated before."""
    first = acl.user()
    stranger = first.merged({"username": "stranger"})
    return Case(strategy(acl, first), first, acl.logs_in, other_password, acl.session, stranger, acl.opened)


class TestRedisAcl(StrategyContract):
    changes = frozenset({"username", "password"})
    fenced = True
    ends_sessions = True

    @pytest.fixture
    def case(self, acl: Acl) -> Case:
        return case_of(acl)

    @pytest.fixture
    def user(self, case: Case) -> str:
        return case.current["username"].reveal()

    @pytest.fixture
    def named(self, acl: Acl, user: str) -> None:
        """The user may say which application it is."""
        acl.ask("ACL SETUSER", user, "+client|setname")

    @pytest.mark.usefixtures("named")
    def test_use_of_the_old_credential_is_seen_while_it_lasts(self, case: Case) -> None:
        """Redis does not tell which password a session came with: those from before the promotion count."""
        ends = case.strategy.credential_id(case.current)
        change = case.installed()
        with acl_session(case, case.current) as old:
            old.client_setname("trainer")
            # Ages are told in whole seconds.
            time.sleep(2.1)
            promotion = now()
            with acl_session(case, case.current.merged(change.candidate)):
                (seen,) = case.strategy.in_use(ends, promotion)
                assert "1 sessions" in seen
                assert "(trainer)" in seen
                assert case.strategy.in_use({}, promotion) == ()
                assert case.strategy.in_use(ends, promotion - timedelta(minutes=1)) == ()
        assert case.strategy.in_use(ends, promotion) == ()

    def test_a_connection_that_is_open_outlives_its_password(self, case: Case) -> None:
        with acl_session(case, case.current) as application:
            change = case.installed()
            case.strategy.retire(case.strategy.credential_id(case.current), change.sequence)
            assert application.set("app:1", "written")
            assert application.get("app:1") == "written"
        assert not case.works(case.current)

    def test_a_cut_of_one_version_spares_the_password_of_another_and_ends_every_session(
        self, case: Case, acl: Acl
    ) -> None:
        newer = case.current.merged(case.installed().candidate)
        with acl.opened(case.current), acl.opened(newer):
            assert case.strategy.revoke(case.current, 6).sessions == 2
        assert (case.works(case.current), case.works(newer)) == (False, True)

    def test_a_credential_of_another_user_is_left_alone_and_told_where_it_works(self, case: Case, acl: Acl) -> None:
        theirs = acl.user()
        with pytest.raises(Invalid, match="and the catalogue"):
            case.strategy.revoke(theirs, 6)
        assert case.strategy.revoke(theirs.merged({"password": "long-gone"}), 6) == RevokeResult()
        assert acl.logs_in(theirs)

    def test_a_version_that_names_no_user_is_the_users(self, case: Case) -> None:
        alone = SecretFields({"password": case.current["password"]})
        assert case.strategy.accepts(alone) is True
        case.strategy.revoke(alone, 6)
        assert case.strategy.accepts(alone) is False

    def test_nothing_but_the_passwords_changes(self, case: Case, acl: Acl, user: str) -> None:
        acl.ask("ACL SETUSER", user, "(~other:* +get)", "&news:*")
        before = acl.rules(user)
        change = case.installed()
        case.strategy.retire(case.strategy.credential_id(case.current), change.sequence)
        assert acl.rules(user) == before

    def test_candidates_of_dead_rotations_do_not_pile_up(self, case: Case, acl: Acl, user: str) -> None:
        for sequence in range(5, 10):
            change = case.installed(sequence)
        assert acl.passwords(user) == {kept(case.current), kept(change.candidate)}
        assert len(acl.marks(user)) == 1

    def test_a_first_version_ends_no_password_and_the_next_one_does(self, case: Case, acl: Acl, user: str) -> None:
        first = Change("apps/contract", 5, case.strategy.mint(None), None)
        case.strategy.install(first)
        assert acl.passwords(user) == {kept(case.current), kept(first.candidate)}
        second = Change("apps/contract", 6, case.strategy.mint(first.candidate), first.candidate)
        case.strategy.install(second)
        assert acl.passwords(user) == {kept(first.candidate), kept(second.candidate)}

    def test_a_current_that_redis_does_not_know_is_not_made_valid_and_ends_nothing(
        self, case: Case, acl: Acl, user: str
    ) -> None:
        leaked = other_password(case.current)
        change = Change("apps/contract", 5, case.strategy.mint(leaked), leaked)
        case.strategy.install(change)
        assert acl.passwords(user) == {kept(case.current), kept(change.candidate)}

    def test_an_abandonment_spares_the_password_that_current_has_come_to_hold(self, case: Case) -> None:
        change = case.installed()
        serving = case.current.merged(change.candidate)
        case.strategy.abandon(replace(change, sequence=6, current=serving))
        assert case.works(serving)

    def test_a_worker_that_wakes_up_late_can_neither_end_nor_revive_a_password(self, case: Case) -> None:
        first, ends = case.installed(5), case.strategy.credential_id(case.current)
        case.strategy.retire(ends, 5)
        serving = case.current.merged(first.candidate)
        second = Change("apps/contract", 9, case.strategy.mint(serving), serving)
        case.strategy.install(second)
        for late in (
            lambda: case.strategy.retire(case.strategy.credential_id(serving), 5),
            lambda: case.strategy.install(first),
        ):
            with pytest.raises(Superseded, match="rotation 9 has written it since, this is 5"):
                late()
        assert case.works(serving)
        assert not case.works(case.current)

    def test_of_many_at_once_the_newest_wins(self, case: Case, acl: Acl, user: str) -> None:
        changes = [case.change(sequence) for sequence in range(1, 9)]

        def installed(change: Change) -> bool:
            try:
                case.strategy.install(change)
            except Superseded:
                return False
            except Locked:
                return installed(change)
            return True

        with ThreadPoolExecutor(len(changes)) as pool:
            assert list(pool.map(installed, changes))[-1]
        assert acl.passwords(user) == {kept(case.current), kept(changes[-1].candidate)}

    def test_what_ends_a_password_is_its_sha_256(self, case: Case, user: str) -> None:
        assert case.strategy.credential_id(case.current) == {"username": user, "password_sha256": kept(case.current)}
        assert case.strategy.credential_id(SecretFields({"username": user})) == {}

    def test_a_user_that_is_gone_has_no_password_to_end_and_is_not_made_again(
        self, case: Case, acl: Acl, user: str
    ) -> None:
        change = case.installed()
        acl.ask("ACL DELUSER", user)
        case.strategy.retire(case.strategy.credential_id(case.current), 5)
        case.strategy.abandon(change)
        with pytest.raises(Invalid, match=f"there is no such user.*ACL SETUSER {user} on"):
            case.strategy.install(change)
        assert acl.ask("ACL GETUSER", user) is None

    @pytest.mark.parametrize(("state", "said"), [("off", "it is off"), ("nopass", "takes any password")])
    def test_the_guard_refuses_a_user_that_no_password_lets_in(
        self, case: Case, acl: Acl, user: str, state: str, said: str
    ) -> None:
        acl.ask("ACL SETUSER", user, state)
        with pytest.raises(Invalid, match=f"{said}.*ACL SETUSER {user}"):
            case.strategy.preflight(case.current, None)

    def test_the_guard_refuses_a_user_that_is_not_there(self, case: Case, acl: Acl, user: str) -> None:
        acl.ask("ACL DELUSER", user)
        with pytest.raises(Invalid, match="there is no such user"):
            case.strategy.preflight(case.current, None)
        assert acl.ask("ACL GETUSER", user) is None

    def test_a_user_that_takes_any_password_keeps_doing_so(self, case: Case, acl: Acl, user: str) -> None:
        """Adding a password would lock out whoever logs in with another."""
        acl.ask("ACL SETUSER", user, "nopass")
        change = case.change()
        ends = case.strategy.credential_id(case.current)
        for verb in (lambda: case.strategy.install(change), lambda: case.strategy.retire(ends, 5)):
            with pytest.raises(Invalid, match="takes any password"):
                verb()
        assert "nopass" in acl.rules(user)["flags"]


def acl_session(case: Case, fields: SecretFields) -> Any:
    assert case.session is not None
    return case.session(fields)


# --- over a restart ----------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Acl]:
    """A server that may be stopped."""
    with Redis(tmp_path / "redis", free_port()) as server:
        yield Acl(server)


def restart(acl: Acl) -> None:
    acl.server.stop()
    acl.server.start()


def test_a_restart_brings_neither_a_new_password_down_nor_an_old_one_back(own: Acl) -> None:
    case = case_of(own)
    change = case.installed()
    restart(own)
    assert case.works(case.current)
    assert case.works(case.current.merged(change.candidate))
    ends = case.strategy.credential_id(case.current)
    case.strategy.retire(ends, change.sequence)
    restart(own)
    assert not case.works(case.current)
    assert case.works(case.current.merged(change.candidate))
    with pytest.raises(Superseded):
        case.strategy.install(replace(change, sequence=4))


@pytest.mark.parametrize("verb", ["install", "retire", "abandon"])
def test_what_a_run_did_before_it_died_is_kept_by_the_next(own: Acl, verb: str) -> None:
    """The process dies between the change and its saving: the change is there, and the file knows nothing of it."""
    case = case_of(own)
    change, ends = case.installed(), case.strategy.credential_id(case.current)
    does: dict[str, Callable[[], object]] = {
        "install": lambda: case.strategy.install(change),
        "retire": lambda: case.strategy.retire(ends, 5),
        "abandon": lambda: case.strategy.abandon(change),
    }
    before = own.server.users.read_bytes()
    does[verb]()
    there = own.passwords(case.current["username"].reveal())
    own.server.users.write_bytes(before)
    does[verb]()
    restart(own)
    assert own.passwords(case.current["username"].reveal()) == there


# --- what may be known of a value --------------------------------------------------------------------------


def test_no_value_reaches_the_servers_monitor_its_logs_or_its_file(own: Acl) -> None:
    own.ask("CONFIG SET", "slowlog-log-slower-than", "0")
    own.ask("CONFIG SET", "loglevel", "debug")
    case = Case(strategy(own, first := own.user("-@all +get")), first, own.logs_in, other_password)
    watcher = own.client(own.server.superuser, own.server.superuser_password).monitor()
    with watcher as monitor:
        change = case.installed()
        case.strategy.verify(change)
        case.strategy.retire(case.strategy.credential_id(case.current), 5)
        # Only a refused login may stand in Redis's log of refusals: nothing was asked that the user may not do.
        assert own.ask("ACL LOG") == []
        with pytest.raises(CandidateRejected):
            case.strategy.verify(replace(change, candidate=other_password(change.candidate)))
        own.ask("PING")
        heard = list(until(monitor.listen(), "PING"))
    told = [*heard, repr(own.ask("SLOWLOG", "GET", "-1")), repr(own.ask("ACL LOG"))]
    told += [own.server.process.log.read_text(), own.server.users.read_text()]
    for fields in (case.current, change.candidate, other_password(change.candidate)):
        assert fields["password"].reveal() not in "".join(told)
    assert kept(change.candidate) not in "".join(told[:-1])
    assert kept(change.candidate) in told[-1]
    assert "SETUSER" in repr(own.ask("SLOWLOG", "GET", "-1"))


def until(commands: Iterator[dict[str, Any]], last: str) -> Iterator[str]:
    """What a monitor hears, up to this command."""
    for heard in commands:
        yield repr(heard)
        if heard["command"] == last:
            return


# --- the whole protocol ------------------------------------------------------------------------------------


def test_a_secret_of_the_catalogue_is_rotated_and_retired(lab: Lab, acl: Acl) -> None:
    first, path = acl.user(), f"tests/{fresh()}"
    lab.hub.write(path, first, cas=0)
    lab.hub.write_state(f"targets/{path}", acl.admin().reveal(), cas=0)
    user = first["username"].reveal()
    target = {"kind": "redis", "host": acl.server.host, "port": acl.server.port, "tls": False}
    rotation = {"strategy": "redis-acl", "target": "cache", "user": user, "interval": "30d", "grace": "0s"}
    secret = {"path": path, "owner": "tests@example.com", "classification": "internal", "rotation": rotation}
    catalogue = Catalogue.model_validate(
        {"targets": {"cache": {**target, "admin": f"targets/{path}"}}, "secrets": {path: secret}}
    )
    opened = replace(
        open_workspace(catalogue, lab.hub), open_store=lambda name: MemoryStore(name), sender=RecordingSender()
    )
    assert rotate(opened, path, Trigger.FORCE).state is RunState.ROTATED
    found = lab.hub.read(path)
    assert found is not None
    assert acl.logs_in(found.fields)
    assert acl.logs_in(first)
    assert found.fields["host"] == first["host"]
    assert retire(opened, path).retired
    assert acl.passwords(user) == {kept(found.fields)}
    assert [past.stage for past in load_record(opened, path).history] == [Stage.RETIRED]


# --- its page ----------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "strategies" / "redis-acl.md"


def test_the_page_shows_an_example_that_loads_and_the_rights_that_it_takes(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    (tmp_path / "page.yaml").write_text(example)
    assert load_catalogue(tmp_path, {}).secret("shop/cache").rotation.strategy == "redis-acl"
    assert f" resetkeys resetchannels {ADMIN_RULES}\n" in PAGE.read_text()


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("how", ["delete", "destroy"])
def test_a_password_of_a_version_that_nobody_can_read_is_ended_and_proven(
    lab: Lab, acl: Acl, mode: Mode, how: str
) -> None:
    assert_ended_though_unreadable(lab, case_of(acl), mode, how)
