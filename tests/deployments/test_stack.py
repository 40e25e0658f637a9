"""The whole stack: one command starts what is missing, and a failure leaves nothing behind."""

import dataclasses
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.cli.environment import home_directory
from keyturn.core.errors import Invalid, NotFound, Unavailable
from local.home import Stack, locked
from local.services import Service
from local.stack import down, opened, status, up
from local.support import issuing
from local.support.process import Process
from tests.deployments.stand_ins import FAILING, WAITING, serving, small

SMALL = (small("one"), small("two"), small("three", late=True))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "home"
    yield where
    down(where, services=SMALL)


class Prepare:
    """Counts how often the stack was prepared, and what ran then."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def __call__(self, stack: Stack) -> None:
        self.seen.append([s.name for s in SMALL if s.process(stack).pid])


def running(home: Path, services: tuple[Service, ...] = SMALL) -> dict[str, int]:
    return {each.name: each.pid for each in status(home, services) if each.pid is not None}


def test_services_that_need_no_preparation_come_first(home: Path) -> None:
    prepare, lines = Prepare(), list[str]()
    stack = up(home, prepare, lines.append, SMALL)
    assert prepare.seen == [["one", "two"]]
    assert set(running(home)) == {"one", "two", "three"}
    assert [line.split()[0] for line in lines][-1] == "three"
    assert stack == opened(home)


def test_a_second_up_does_nothing_and_says_so(home: Path) -> None:
    prepare, lines = Prepare(), list[str]()
    up(home, prepare, services=SMALL)
    before = running(home)
    up(home, prepare, lines.append, SMALL)
    assert lines == ["everything is up"]
    assert running(home) == before
    assert len(prepare.seen) == 1


def test_only_the_service_that_died_is_started_again(home: Path) -> None:
    up(home, Prepare(), services=SMALL)
    before = running(home)
    SMALL[1].process(opened(home)).stop()
    assert not next(each for each in status(home, SMALL) if each.name == "two").running
    up(home, Prepare(), services=SMALL)
    after = running(home)
    assert after["two"] != before["two"]
    assert {**after, "two": 0} == {**before, "two": 0}


def test_a_stack_whose_certificates_run_out_starts_anew_with_new_ones(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, lines = up(home, Prepare(), services=SMALL), list[str]()
    before, trusted = running(home), stack.authority.certificate.read_bytes()
    stack.certificate("two").certificate.unlink()
    with monkeypatch.context() as short:
        short.setattr(issuing, "LIFE", timedelta(days=20))
        assert stack.issue_certificate("two")
    old = {name: stack.certificate(name).certificate.read_bytes() for name in before}
    up(home, Prepare(), lines.append, SMALL)
    assert lines[0] == "certificates are renewed: everything restarts"
    assert not set(running(home).values()) & set(before.values())
    renewed = {name for name, pem in old.items() if stack.certificate(name).certificate.read_bytes() != pem}
    assert renewed == {"two"}
    assert stack.authority.certificate.read_bytes() == trusted
    # And one that was stopped meanwhile.
    down(home, services=SMALL)
    stack.certificate("two").certificate.unlink()
    up(home, Prepare(), services=SMALL)
    assert set(running(home)) == {"one", "two", "three"}


def test_of_a_service_with_parts_what_is_left_is_stopped_before_it_starts_again(home: Path) -> None:
    name = "one"
    whole = dataclasses.replace(SMALL[0], parts=("half",), start=lambda stack: both(stack, name))
    stack = up(home, Prepare(), services=(whole,))
    half, main = Process("half", stack.directory(name)), whole.process(stack)
    left = half.pid
    main.stop()
    assert not whole.runs(stack)
    up(home, Prepare(), services=(whole,))
    assert whole.runs(stack)
    assert half.pid != left
    down(home, services=(whole,))
    assert half.pid is None


def both(stack: Stack, name: str) -> None:
    serving(name)(stack)
    half = Process("half", stack.directory(name))
    half.start([sys.executable, "-c", WAITING], ready=lambda: half.says("^ready"))


def test_addresses_stay_the_same_after_a_restart_and_a_new_service_gets_its_own(home: Path) -> None:
    first = up(home, Prepare(), services=SMALL[:2])
    down(home, services=SMALL[:2])
    second = up(home, Prepare(), services=SMALL)
    assert {name: second.ports[name] for name in first.ports} == first.ports
    assert (second.tenant_id, second.client_id) == (first.tenant_id, first.client_id)
    assert len(set(second.ports.values())) == 3


def test_a_port_taken_by_somebody_else_is_one_clear_error_and_nothing_is_started(home: Path) -> None:
    ports = up(home, Prepare(), services=SMALL).ports
    down(home, services=SMALL)
    with (
        socket.create_server(("127.0.0.1", ports["two"])),
        pytest.raises(Unavailable, match=rf"start two: port {ports['two']} is in use.*stack\.json"),
    ):
        up(home, Prepare(), services=SMALL)
    assert running(home) == {}


def test_a_failure_names_the_service_shows_its_log_and_stops_what_this_up_started(home: Path) -> None:
    up(home, Prepare(), services=SMALL[:1])
    services = (*SMALL[:2], small("broken", FAILING), small("slow", "import time; time.sleep(60)"))
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"start broken: .*\n.*the disk is full"):
        up(home, Prepare(), services=services)
    assert set(running(home, services)) == {"one"}
    assert time.monotonic() - began < 20


def test_a_preparation_that_fails_stops_what_this_up_started(home: Path) -> None:
    def prepare(stack: Stack) -> None:
        raise Invalid("prepare", "the hub", "no such policy")

    with pytest.raises(Invalid, match="no such policy"):
        up(home, prepare, services=SMALL)
    assert running(home) == {}


def test_a_missing_package_is_told_before_anything_is_started(home: Path) -> None:
    services = (*SMALL[:2], small("four", package="no_such_package"))
    with pytest.raises(NotFound, match=r"start four: .*no_such_package.*Install keyturn\[local\]"):
        up(home, Prepare(), services=services)
    assert running(home, services) == {}


def test_two_ups_at_once_start_everything_once(home: Path) -> None:
    lines = list[str]()
    threads = [threading.Thread(target=up, args=(home, Prepare(), lines.append, SMALL)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("is ready" in line for line in lines) == 3
    assert lines[-1] == "everything is up"


def test_who_has_to_wait_is_told(home: Path) -> None:
    lines, entered = list[str](), threading.Event()

    def wait_for_it() -> None:
        with locked(home, lines.append):
            entered.set()

    with locked(home, print):
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        assert not entered.wait(0.2)
    thread.join()
    assert entered.is_set()
    assert lines == [f"waiting for another command that starts or stops {home}"]


def test_down_where_nothing_runs_or_ever_was_is_quiet(home: Path) -> None:
    down(home, print)
    assert not home.exists()
    up(home, Prepare(), services=SMALL)
    down(home, services=SMALL)
    down(home, pytest.fail, SMALL)


def test_status_without_a_stack_says_how_to_start_one(home: Path) -> None:
    with pytest.raises(NotFound, match="keyturn up"):
        status(home)


def test_a_damaged_record_is_told(home: Path) -> None:
    up(home, Prepare(), services=SMALL[:1])
    record = home / "stack.json"
    whole = record.read_text()
    record.write_text("{")
    with pytest.raises(Invalid, match=r"stack\.json: it is damaged"):
        status(home)
    record.write_text(whole)


def test_a_directory_that_holds_other_things_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    mode = tmp_path.stat().st_mode
    with pytest.raises(Invalid, match="it holds other things"):
        up(tmp_path, Prepare(), services=SMALL)
    assert tmp_path.stat().st_mode == mode


def test_the_home_and_its_record_are_private(home: Path) -> None:
    up(home, Prepare(), services=SMALL)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "stack.json").stat().st_mode) == 0o600


def test_the_home_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "here"))
    assert home_directory() == tmp_path / "here"
    monkeypatch.delenv("KEYTURN_HOME")
    monkeypatch.chdir(tmp_path)
    assert home_directory() == tmp_path / ".keyturn"
