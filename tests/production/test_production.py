"""Everything in the topology dies once while a fleet is rotated, and every secret of it is rotated once.

`KEYTURN_FLEET` says how many secrets: 500 by `make production-test`. What became of it is printed, a line a fault.
"""

import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from keyturn.providers.vault.hub import VaultHub
from tests.production.applications import Applications, Failure
from tests.production.faults import FAULTS, Fault
from tests.production.topology import Topology
from tests.support.sampling import deep

FLEET = int(os.environ.get("KEYTURN_FLEET", "0"))
LONG = 900
"""Seconds in which what a fault has left is healed, on a busy machine: a run that its worker has taken and not begun is
crashed after five minutes."""
EVENTS = 3

pytestmark = pytest.mark.skipif(not (FLEET or deep()), reason="make production-test")


@dataclass(frozen=True)
class Struck:
    """One fault: when it began and was mended (time.time()), and the seconds from then until a secret went through."""

    fault: Fault
    began: float
    mended: float
    went_on: float


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    with ExitStack() as stack:
        made = Topology(tmp_path_factory.mktemp("production"), FLEET or 8)
        made.start(stack)
        yield made


def test_a_fleet_is_rotated_once_while_everything_dies_once(topology: Topology) -> None:
    faults = FAULTS if FLEET else ()
    with Applications(topology) as applications:
        struck = [strike(topology, fault, wave) for fault, wave in waves(topology.paths, faults)]
        topology.make_due(topology.paths[sum(len(wave) for _, wave in waves(topology.paths, faults)) :])
        wait(topology, lambda: rotated(topology) == topology.fleet, every=5)
        wait(topology, lambda: settled(topology), every=20)
    report(topology, struck, applications)
    assert versions(topology) == {2: topology.fleet}
    assert sequences(topology) == {"[keyturn sequence=1]": topology.fleet}
    # What ended while the ledger took nothing is told by the entry before it, which the hub's version names.
    assert announced(topology) == set(topology.paths)
    assert set().union(*promotions(topology).values()) == {2}
    assert topology.keyturn_json("plan", "--deep")["counts"] == {"in sync": topology.fleet}
    verified = topology.keyturn_json("ledger", "verify", "--against-hub")
    assert verified["whole"], verified
    assert doubled(topology) == []
    assert applications.errors == []
    assert applications.queries > 0
    assert [failure for failure in applications.failures if counts(failure, struck)] == []


def test_an_automation_answers_each_event_once(topology: Topology) -> None:
    before = len(runs_by_event(topology))
    for number in range(EVENTS):
        topology.emit("keyturn.rotation.requested", "keyturn.secret.asked-for/by-event", f"{number}")
    wait(topology, lambda: len(runs_by_event(topology)) >= before + EVENTS)
    # One more round of every service: what would be doubled is by then.
    time.sleep(15)
    assert len(runs_by_event(topology)) == before + EVENTS


def waves(paths: Sequence[str], faults: Sequence[Fault]) -> list[tuple[Fault, Sequence[str]]]:
    """A share of the fleet for each fault, so that each meets rotations at work."""
    share = len(paths) // (len(faults) + 1)
    return [(fault, paths[number * share : (number + 1) * share]) for number, fault in enumerate(faults)]


def strike(topology: Topology, fault: Fault, wave: Sequence[str]) -> Struck:
    """Let these secrets be due, wait until the first of them is at work, strike, and wait until the next one is."""
    before = topology.installed()
    topology.make_due(list(wave))
    wait(topology, lambda: topology.installed() > before)
    began, done = time.time(), topology.installed()
    fault.strike(topology)
    mended = time.time()
    if done < before + len(wave):
        wait(topology, lambda: topology.installed() > done)
    return told(Struck(fault, began, mended, time.time() - mended), topology.installed())


def told(one: Struck, installed: int) -> Struck:
    """The same, and a line of it."""
    words = f"{one.mended - one.began:.0f} s until mended, {one.went_on:.0f} s until it went on"
    show(f"{time.strftime('%X')} {one.fault.name}: {words}; {installed} secrets are or were at work")
    return one


def show(text: str) -> None:
    """On the terminal, as it happens."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def wait(topology: Topology, found: Callable[[], bool], every: float = 1) -> None:
    """Until this is so; what ends meanwhile is started again, as a supervisor does."""
    deadline = time.monotonic() + LONG
    while not found():
        assert time.monotonic() < deadline, f"nothing came within {LONG} s"
        time.sleep(every)
        topology.begin()


def rotated(topology: Topology) -> int:
    """How many secrets are past their first version."""
    return topology.fleet - versions(topology).get(1, 0)


def versions(topology: Topology) -> dict[int, int]:
    """How many secrets are at which version in the hub."""
    with closing(VaultHub(topology.operators_hub())) as hub:
        return dict(Counter(current.version for path in topology.paths if (current := hub.read(path))))


def sequences(topology: Topology) -> dict[str, int]:
    """What the target says of the accounts that the round has made, and how many say so."""
    rows = topology.sql(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname LIKE 'app%%\\_b' AND rolcanlogin"
    )
    return dict(Counter(str(comment) for (comment,) in rows))


def entries(topology: Topology) -> list[dict[str, Any]]:
    """All of the ledger, from its database."""
    database = topology.ledger_database
    connecting = psycopg2.connect(
        host=database.host,
        port=database.port,
        user=database.superuser,
        password=database.superuser_password,
        dbname="ledger",
    )
    with closing(connecting) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT entry FROM keyturn_ledger.entries ORDER BY sequence")
        return [json.loads(f"{{{text}") for (text,) in cursor.fetchall()]


def announced(topology: Topology) -> set[str]:
    """The secrets whose rotation the ledger tells to have begun."""
    begun = {
        entry["secret"] for entry in entries(topology) if (entry["action"], entry["outcome"]) == ("rotate", "begun")
    }
    return begun & set(topology.paths)


def promotions(topology: Topology) -> dict[str, set[int]]:
    """Which versions of each secret the ledger tells to have been promoted."""
    told: dict[str, set[int]] = defaultdict(set)
    for entry in entries(topology):
        if entry["action"] == "promote" and entry["outcome"] == "done" and entry["secret"] in topology.paths:
            told[entry["secret"]].add(entry["version"])
    return dict(told)


def settled(topology: Topology) -> bool:
    """Whether every copy is in sync, and the ledger is signed to its end."""
    if topology.keyturn_json("plan")["counts"] != {"in sync": topology.fleet}:
        return False
    return topology.keyturn_json("ledger", "verify").get("whole") is True


def sizes(topology: Topology) -> dict[str, str]:
    """Memory and file descriptors of each process."""
    pids = {name: part.process.pid for name, part in topology.parts.items()}
    return {name: f"{rss(pid):.0f} MB, {len(os.listdir(f'/proc/{pid}/fd'))} files" for name, pid in pids.items() if pid}


def rss(pid: int) -> float:
    """Resident memory in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def doubled(topology: Topology) -> list[object]:
    """Moments of a schedule for which there are two runs."""
    runs = [run for run in topology.all("flow_runs") if run["auto_scheduled"]]
    moments = Counter((run["deployment_id"], run["expected_start_time"], json.dumps(run["parameters"])) for run in runs)
    return [moment for moment, count in moments.items() if count > 1]


def runs_by_event(topology: Topology) -> list[str]:
    """The runs that were asked for by events."""
    named = {"flows": {"name": {"any_": ["rotate-secret"]}}}
    return [run["id"] for run in topology.all("flow_runs", **named) if run["parameters"].get("trigger") == "event"]


def counts(failure: Failure, struck: Sequence[Struck]) -> bool:
    """Whether it is Keyturn's: a login was refused, or none was answered although the database had been left alone."""
    away = [(one.began - 1, one.mended + 15) for one in struck if one.fault.target]
    return failure.refused or not any(begin <= failure.at <= end for begin, end in away)


def report(topology: Topology, struck: Sequence[Struck], applications: Applications) -> None:
    """What there is to know, also where it fails; a file where KEYTURN_PRODUCTION_REPORT names one."""
    refused = sum(failure.refused for failure in applications.failures)
    mine = [failure for failure in applications.failures if counts(failure, struck)]
    lines = [
        f"{len(struck)} faults, {topology.fleet} secrets, {applications.queries} queries, {refused} refused, "
        f"{len(applications.failures) - refused} unanswered, of which {len(mine)} not while the database was away",
        *(
            f"{one.fault.name}: {one.mended - one.began:.0f} s until mended, {one.went_on:.0f} s until it went on, "
            f"{sum(one.began <= failure.at <= one.mended + 15 for failure in applications.failures)} queries unanswered"
            for one in struck
        ),
        *(f"{time.strftime('%X', time.localtime(failure.at))} {failure}" for failure in mine[:20]),
        *(f"{name}: {size}" for name, size in sizes(topology).items()),
    ]
    show("\n".join(lines))
    if place := os.environ.get("KEYTURN_PRODUCTION_REPORT"):
        Path(place).write_text("\n".join(lines) + "\n")
