"""A credential of a process's own: renewed, replaced, ended and given back, by a clock that the test moves."""

import asyncio
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from keyturn.client import credentials, open_leases
from keyturn.client.asynchronous import AsyncSecretClient
from keyturn.client.client import SecretClient
from keyturn.client.credentials import Credential
from keyturn.core.errors import Denied, Invalid, KeyturnError, Missing, NotFound, Unavailable
from tests.support.hooks import eventually, raising
from tests.support.lessor import AWAY, MemoryLessor, Ticking
from tests.support.served import MemorySource

PATH = "database/creds/ml-reader"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    monkeypatch.setattr(credentials, "LONGEST_SLEEP", 0.01)
    return Ticking()


@pytest.fixture
def lessor(clock: Ticking) -> MemoryLessor:
    return MemoryLessor(clock)


@pytest.fixture
def take(clock: Ticking, lessor: MemoryLessor) -> Iterator[Callable[..., Credential]]:
    """Takes credentials that are given back behind the test."""
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(Credential(lessor, PATH, how.pop("ttl", 600), clock=clock, **how))
        lessor.error = None


def renewed(lessor: MemoryLessor, times: int) -> Callable[[], bool]:
    return lambda: lessor.calls.count("renew") == times


def test_it_is_renewed_before_two_thirds_of_its_time_are_over(
    take: Callable[..., Credential], clock: Ticking, lessor: MemoryLessor
) -> None:
    credential = take()
    until = credential.expires_at
    clock.pass_by(299)
    assert not eventually(renewed(lessor, 1), 0.05)
    clock.pass_by(101)
    assert eventually(renewed(lessor, 1))
    assert eventually(lambda: credential.expires_at > until)
    assert (credential.renewable, credential.expired, credential.ended) == (True, False, "")
    assert credential["username"].reveal() == "u1"


def test_a_lease_that_would_outlive_a_killed_process_for_long_is_shortened_at_once(
    clock: Ticking, lessor: MemoryLessor
) -> None:
    lessor.default = 86_400
    lessor.longest = 86_400
    with Credential(lessor, PATH, 900, clock=clock) as credential:
        assert eventually(lambda: lessor.living[credential.lease_id] == clock() + 900)
    with Credential(lessor, PATH, None, clock=clock) as credential:
        assert lessor.living[credential.lease_id] == clock() + 86_400


def test_so_is_one_that_takes_anothers_place(
    take: Callable[..., Credential], clock: Ticking, lessor: MemoryLessor
) -> None:
    lessor.default, lessor.longest = 86_400, 1000
    credential = take()
    assert eventually(renewed(lessor, 1))
    for _ in range(2):
        clock.pass_by(400)
        assert eventually(lambda: credential._term.began == clock())
    assert eventually(lambda: len(lessor.issued) == 2)
    assert eventually(lambda: lessor.living[credential.lease_id] == clock() + 600)
    assert lessor.calls.count("renew") == 4


def test_what_can_be_renewed_no_longer_is_replaced_before_it_ends_and_who_watches_is_told(
    take: Callable[..., Credential], clock: Ticking, lessor: MemoryLessor
) -> None:
    lessor.longest = 1000
    seen: list[str] = []
    credential = take(on_change=lambda changed: seen.append(changed["username"].reveal()))
    clock.pass_by(400)
    assert eventually(renewed(lessor, 1))
    clock.pass_by(400)
    assert eventually(lambda: seen == ["u2"])
    first, second = lessor.living
    assert credential.lease_id == second
    assert lessor.living[first] == 2000, "who is connected with it stays so until its own end"
    credential.close()
    assert lessor.living == {}


def test_what_is_not_renewable_is_replaced_as_well(
    take: Callable[..., Credential], clock: Ticking, lessor: MemoryLessor
) -> None:
    lessor.renewable = False
    credential = take()
    assert not credential.renewable
    clock.pass_by(400)
    assert eventually(lambda: credential["username"].reveal() == "u2")
    assert lessor.calls == ["issue", "issue"]


def test_what_is_not_to_be_replaced_ends_in_its_time(
    take: Callable[..., Credential], clock: Ticking, lessor: MemoryLessor
) -> None:
    lessor.longest = 1000
    seen: list[str] = []
    credential = take(replaced=False, on_change=lambda changed: seen.append(changed.ended))
    for _ in range(2):
        clock.pass_by(400)
        assert eventually(lambda: clock() - credential._term.began == 0)
    clock.pass_by(201)
    assert credential.expired
    assert eventually(lambda: seen == ["its time is over"])
    with pytest.raises(Missing, match=r"its time is over.*max_ttl"):
        _ = credential.fields
    assert len(lessor.issued) == 1


def test_another_that_would_end_as_soon_is_given_back(
    take: Callable[..., Credential], clock: Ticking, lessor: MemoryLessor
) -> None:
    credential = take()
    clock.pass_by(400)
    assert eventually(renewed(lessor, 1))
    # As of a token that ends, and every lease with it.
    ends = clock() + 300
    lessor.issued[credential.lease_id] = ends - lessor.longest
    lessor.default = 60
    clock.pass_by(250)
    credential.renew()
    assert (credential["username"].reveal(), [*lessor.living]) == ("u1", [credential.lease_id])
    clock.pass_by(51)
    assert credential.expired


def test_a_revoked_one_has_ended_and_no_other_is_taken(
    take: Callable[..., Credential], clock: Ticking, lessor: MemoryLessor, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    credential = take(on_change=lambda changed: seen.append(changed.ended))
    lessor.living.clear()
    clock.pass_by(400)
    assert eventually(lambda: len(seen) == 1)
    assert "the hub does not renew it (the hub has nothing there): it was revoked" in seen[0]
    assert credential.expired
    assert len(lessor.issued) == 1
    assert seen[0] in caplog.text
    for use in (lambda: credential.fields, lambda: credential["password"], credential.renew):
        with pytest.raises(Missing, match=rf"{PATH}/1: the hub does not renew it.*Find out who has ended it"):
            use()


def test_who_asks_hears_of_a_revocation_at_once(take: Callable[..., Credential], lessor: MemoryLessor) -> None:
    seen: list[bool] = []
    credential = take(on_change=lambda changed: seen.append(changed.expired))
    credential.renew()
    assert (credential.expired, seen) == (False, [])
    lessor.living.clear()
    with pytest.raises(Missing):
        credential.renew()
    assert seen == [True]


def test_an_outage_is_lived_through_until_the_lease_is_over(
    take: Callable[..., Credential], clock: Ticking, lessor: MemoryLessor
) -> None:
    seen: list[str] = []
    credential = take(on_change=lambda changed: seen.append(changed.ended))
    lessor.error = AWAY
    clock.pass_by(400)
    assert eventually(renewed(lessor, 1))
    with pytest.raises(Unavailable):
        credential.renew()
    clock.pass_by(100)
    assert eventually(renewed(lessor, 3))
    assert not credential.expired
    lessor.error = None
    clock.pass_by(50)
    assert eventually(lambda: clock() < credential._term.renewal)
    lessor.error = AWAY
    clock.pass_by(600)
    assert credential.expired
    assert eventually(lambda: seen == ["its time was over before the hub renewed it"])
    lessor.error = None
    with pytest.raises(Missing, match="its time was over"):
        credential.renew()


def test_what_nobody_foresaw_is_tried_again_and_not_repeated(
    take: Callable[..., Credential],
    clock: Ticking,
    lessor: MemoryLessor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    credential = take()
    renew = lessor.renew_lease
    monkeypatch.setattr(lessor, "renew_lease", raising(RuntimeError("p1")))
    clock.pass_by(400)
    assert eventually(lambda: "could not be renewed: RuntimeError" in caplog.text)
    monkeypatch.setattr(lessor, "renew_lease", renew)
    clock.pass_by(60)
    assert eventually(renewed(lessor, 1))
    assert not credential.expired
    assert "p1" not in caplog.text


def test_a_time_that_is_none_is_refused_before_anybody_is_asked(lessor: MemoryLessor) -> None:
    for ttl in (0, -1, 0.5, float("nan")):
        with pytest.raises(Invalid, match="Give it a second or more"):
            Credential(lessor, PATH, ttl)
    assert lessor.calls == []


def test_where_no_other_may_be_had_the_one_there_is_lives_to_its_end(
    take: Callable[..., Credential], clock: Ticking, lessor: MemoryLessor
) -> None:
    lessor.renewable = False
    credential = take()
    lessor.error = Denied("take a lease of", PATH, "the hub denies it", "Ask for it")
    clock.pass_by(400)
    assert eventually(lambda: credential._spent)
    assert credential["username"].reveal() == "u1"
    clock.pass_by(200)
    assert credential.expired


def test_it_is_given_back_on_an_exception_and_where_the_hub_is_away_that_is_said(
    clock: Ticking, lessor: MemoryLessor, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError), Credential(lessor, PATH, clock=clock):
        _ = 1 / 0
    assert lessor.living == {}
    with Credential(lessor, PATH, clock=clock) as credential:
        lessor.error = AWAY
    assert "it ends by itself at" in caplog.text
    assert credential.ended == "it was given back"
    with pytest.raises(Missing, match="it was given back"):
        _ = credential.fields
    calls = len(lessor.calls)
    credential.close()
    assert len(lessor.calls) == calls


def test_a_function_that_watches_may_raise_and_may_give_it_back(
    take: Callable[..., Credential], clock: Ticking, lessor: MemoryLessor, caplog: pytest.LogCaptureFixture
) -> None:
    lessor.renewable = False

    def change(changed: Credential) -> None:
        changed.close()
        raise ValueError(changed._term.lease.fields["password"].reveal())

    credential = take(on_change=change)
    credential.renew()
    assert not credential.expired
    clock.pass_by(400)
    assert eventually(lambda: "the function that watches it raised ValueError" in caplog.text)
    assert credential.ended == "it was given back"
    assert lessor.living == {}
    assert "p2" not in caplog.text


def test_nothing_shows_its_value(take: Callable[..., Credential], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    credential = take()
    assert repr(credential).startswith(f"Credential({PATH}/1, until 20")
    assert "p1" not in repr(credential) + str(vars(credential)) + repr(credential._term) + caplog.text
    with pytest.raises(TypeError):
        pickle.dumps(credential)
    with pytest.raises(KeyError):
        _ = credential["nothing"]


class Leasing(MemorySource):
    """A source that gives leases as well."""

    def __init__(self, lessor: MemoryLessor) -> None:
        super().__init__()
        self.lessor = lessor


def test_the_first_source_that_answers_gives_it(clock: Ticking, lessor: MemoryLessor) -> None:
    away = MemoryLessor(clock)
    away.error = AWAY
    with (
        SecretClient([MemorySource(), Leasing(away), Leasing(lessor)], poll=0) as client,
        client.lease(PATH) as credential,
    ):
        assert credential["username"].reveal() == "u1"
        assert [*lessor.living] == [credential.lease_id]
    assert lessor.living == {}
    lessor.error = NotFound("take a lease of", PATH, "there is no such role", "Check it")
    with SecretClient([Leasing(away), Leasing(lessor)], poll=0) as client, pytest.raises(NotFound):
        client.lease(PATH)
    with SecretClient([Leasing(away)], poll=0) as client, pytest.raises(Unavailable):
        client.lease(PATH)
    with SecretClient([MemorySource()], poll=0) as client, pytest.raises(Invalid, match="Give SecretClient the hub"):
        client.lease(PATH)


async def test_it_is_the_same_for_asyncio(lessor: MemoryLessor) -> None:
    with SecretClient([Leasing(lessor)], poll=0) as client:
        async with AsyncSecretClient(client).lease(PATH) as credential:
            assert credential["username"].reveal() == "u1"
        assert lessor.living == {}


async def test_what_comes_once_nobody_waits_any_more_is_given_back(
    lessor: MemoryLessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    issue = lessor.issue_lease

    def slow(path: str) -> object:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(30)
        return issue(path)

    monkeypatch.setattr(lessor, "issue_lease", slow)
    with SecretClient([Leasing(lessor)], poll=0) as client:

        async def job() -> None:
            async with AsyncSecretClient(client).lease(PATH):
                pytest.fail("nobody waits for it")

        running = asyncio.create_task(job())
        await asked.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        gate.set()
        assert await asyncio.to_thread(eventually, lambda: lessor.calls == ["issue", "revoke"])


def test_a_handler_of_the_programs_own_is_left_alone(take: Callable[..., Credential]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    own = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        handler = signal.getsignal(signal.SIGTERM)
        take()
        assert signal.getsignal(signal.SIGTERM) is handler
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        credential = take()
        assert signal.getsignal(signal.SIGTERM) is open_leases._on_sigterm
        credential.close()
    finally:
        signal.signal(signal.SIGTERM, own)
    assert signal.getsignal(signal.SIGTERM) is before


CHILD = """
import os, signal, sys, threading, time
from keyturn.client.credentials import Credential
from tests.support.lessor import MemoryLessor, Ticking

class Loud(MemoryLessor):
    def _ask(self, call):
        super()._ask(call)
        os.write(1, f"{call} in {'child' if os.getpid() != PID else 'parent'}\\n".encode())

PID = os.getpid()
clock = Ticking()
credential = Credential(Loud(clock), "database/creds/ml-reader", clock=clock)
"""

ENDS = {
    "exit": ("sys.exit(3)", 3, "issue in parent\nrevoke in parent\n"),
    "raise": ("raise SystemExit(4)", 4, "issue in parent\nrevoke in parent\n"),
    "terminate": ("os.kill(PID, signal.SIGTERM); time.sleep(60)", -15, "issue in parent\nrevoke in parent\n"),
    "terminate while another thread has it": (
        "threading.Thread(target=time.sleep, args=[60]).start(); os.kill(PID, signal.SIGTERM); time.sleep(60)",
        -15,
        "issue in parent\nrevoke in parent\n",
    ),
    "fork": (
        """
pid = os.fork()
if pid == 0:
    assert credential["username"].reveal() == "u1"
    clock.pass_by(900)
    assert credential.ended == "it was not renewed in this process, which was forked"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    try:
        credential.renew()
    except Exception as error:
        assert "Take another one" in str(error)
    with credential:
        pass
    sys.exit(5)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
os.write(1, b"the child has ended\\n")
""",
        0,
        "issue in parent\nthe child has ended\nrevoke in parent\n",
    ),
    "kill": ("os.kill(PID, signal.SIGKILL)", -9, "issue in parent\n"),
}


def test_a_process_gives_back_what_is_its_own_however_it_ends_but_by_a_kill() -> None:
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    running = {
        name: subprocess.Popen(
            [sys.executable, "-c", CHILD + end], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        for name, (end, _, _) in ENDS.items()
    }
    for name, process in running.items():
        printed, errors = process.communicate(timeout=60)
        assert (process.returncode, printed.decode()) == ENDS[name][1:], f"{name}: {errors.decode()}"


def test_errors_name_the_lease_and_the_remedy(take: Callable[..., Credential], clock: Ticking) -> None:
    credential = take()
    clock.pass_by(600)
    with pytest.raises(KeyturnError) as caught:
        _ = credential.fields
    assert caught.value.name == f"{PATH}/1"
    assert caught.value.hint
