"""Many secrets in one run: what is shown, how many are at work at once, and when it stops."""

import asyncio
import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prefect import State

from deployments.bootstrap import make_limits
from flows.rotate_due import LATE, rotate_due
from keyturn.core.errors import TransientError
from keyturn.core.ports.hub import ROTATED_AT
from tests.flows.runs import TERMINAL, Installed, ended, error
from tests.flows.site import Site
from tests.support.lab import Declared, Lab
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(9, of="file")]

Build = Callable[..., Site]

LONG_AGO = "2020-01-01T00:00:00+00:00"


def due(lab: Lab, secret: Declared) -> Declared:
    """The same secret, as old as can be."""
    lab.hub.patch_metadata(secret.path, {ROTATED_AT: LONG_AGO})
    return secret


def broken(lab: Lab) -> Declared:
    """One that fails at once and always: nobody can read its record."""
    secret = due(lab, lab.generated())
    lab.hub.write_state(f"rotations/{secret.path}", {"rotation": {"stage": "no such stage"}, "history": []}, cas=0)
    return secret


def run_due(stop_at: float = 0.2, side_by_side: int = 4) -> State[Any]:
    """The state that a run ends in."""
    return ended(functools.partial(rotate_due, stop_at=stop_at, side_by_side=side_by_side))


def turned(prefect: PrefectServer, state: State[Any], secrets: int) -> list[dict[str, Any]]:
    """The tasks that rotated one secret each, once the server knows how all of them ended."""
    asked = {"flow_run_id": {"any_": [run_of(state)]}, "name": {"like_": "rotate "}}

    def told() -> list[dict[str, Any]] | None:
        tasks = prefect.all("task_runs", task_runs=asked)
        return tasks if len(tasks) >= secrets and all(t["state_type"] in TERMINAL for t in tasks) else None

    return wait_for(told)


def rows(prefect: PrefectServer, state: State[Any]) -> dict[str, dict[str, Any]]:
    """The table's rows, by secret."""
    return {row["secret"]: row for row in Installed(prefect, {}).rows(run_of(state))}


def run_of(state: State[Any]) -> str:
    return str(state.state_details.flow_run_id)


def test_every_due_secret_is_one_task_and_one_row_and_the_progress_ends_at_100(
    prefect: PrefectServer, build: Build, lab: Lab
) -> None:
    fleet, fresh = [due(lab, lab.generated()) for _ in range(6)], lab.generated()
    site = build(*fleet, fresh)
    state = run_due()
    assert state.is_completed()
    assert len(turned(prefect, state, 6)) == 6
    expected = {one.path: ("rotated", 2) for one in fleet}
    assert {path: (row["state"], row["version"]) for path, row in rows(prefect, state).items()} == expected
    assert site.version(fresh) == 1

    asked = {"flow_run_id": {"any_": [run_of(state)]}, "type": {"any_": ["progress"]}}
    (progress,) = prefect.all("artifacts", artifacts=asked)
    assert (float(progress["data"]), progress["description"]) == (100.0, "6 due secrets, done")


def test_no_more_than_asked_for_are_at_work_at_a_target_at_once(prefect: PrefectServer, build: Build, lab: Lab) -> None:
    fleet = [due(lab, lab.alternating()) for _ in range(7)]
    site = build(*fleet)
    asyncio.run(make_limits(site.workspace.catalogue))
    with held(lab, [one.users[1] for one in fleet], 3) as seen:
        state = run_due(side_by_side=3)
    assert state.is_completed()
    assert max(seen) == 3
    assert [site.version(one) for one in fleet] == [2] * 7


@contextmanager
def held(lab: Lab, accounts: list[str], expected: int) -> Iterator[list[int]]:
    """Keep the target from changing any of these, until ``expected`` sessions have waited for it for a second.

    What it gives is how many waited at each look.
    """
    for account in accounts:
        lab.sql("SELECT pg_advisory_lock(hashtextextended('keyturn:' || %s, 0))", account)
    seen: list[int] = []

    def look() -> None:
        deadline, since = time.monotonic() + 8, None
        while time.monotonic() < deadline and (since is None or time.monotonic() < since + 1):
            seen.append(lab.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")[0][0])
            since = since or (time.monotonic() if seen[-1] >= expected else None)
            time.sleep(0.02)
        lab.sql("SELECT pg_advisory_unlock_all()")

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        watcher.join()


def test_a_few_that_fail_stop_no_other_and_are_counted(prefect: PrefectServer, build: Build, lab: Lab) -> None:
    failing, fine = [broken(lab) for _ in range(5)], [due(lab, lab.generated()) for _ in range(3)]
    site = build(*failing, *fine)
    state = run_due(stop_at=0.0)
    assert str(error(state)).startswith("rotate 5 of 8 secrets: ")
    assert all(one.path in str(error(state)) for one in failing)
    assert [site.version(one) for one in fine] == [2, 2, 2]
    states = Counter(row["state"] for row in rows(prefect, state).values())
    assert states == {"failed": 5, "rotated": 3}


def test_once_too_many_have_failed_nothing_further_is_begun_and_the_table_says_so(
    prefect: PrefectServer, build: Build, lab: Lab
) -> None:
    fleet = [broken(lab) for _ in range(9)]
    build(*fleet)
    state = run_due(side_by_side=1)
    assert str(error(state)).startswith("rotate 9 of 9 secrets: ")
    assert len(turned(prefect, state, 6)) == 6
    left = [row for row in rows(prefect, state).values() if row["state"] == "not begun"]
    assert len(left) == 3
    assert all("not begun: 6 of 9 secrets have failed, more than 5" in row["why"] for row in left)


def test_a_secret_that_is_later_than_allowed_is_told_of_once_a_run(
    prefect: PrefectServer, build: Build, lab: Lab
) -> None:
    late, merely_due = due(lab, lab.generated(maximum_age="60d")), due(lab, lab.generated())
    build(late, merely_due)
    assert run_due().is_completed()
    (event,) = wait_for(lambda: alarms(prefect, late))
    assert event["payload"]["path"] == late.path
    assert event["payload"]["why"]

    # It is as it should be now, and the next run has nothing to tell.
    due(lab, merely_due)
    assert run_due().is_completed()
    due(lab, late)
    assert run_due().is_completed()
    assert len(wait_for(lambda: found if len(found := alarms(prefect, late)) > 1 else None)) == 2
    assert alarms(prefect, merely_due) == []


def alarms(prefect: PrefectServer, secret: Declared) -> list[dict[str, Any]]:
    """What the server was told of this secret's being late."""
    asked = {"event": {"name": [LATE]}, "resource": {"id": [f"keyturn.secret.{secret.path}"]}}
    return list(prefect.post("events/filter", filter=asked, limit=50)["events"])


def test_leases_are_renewed_and_one_that_has_ended_is_shown(prefect: PrefectServer, build: Build, lab: Lab) -> None:
    kept, lost = (lab.dynamic(ttl="2h", interval="20m", grace="0s") for _ in range(2))
    build(kept, lost)
    lab.root.sys.renew_lease(kept.first["lease_id"], increment=600)
    assert left(lab, kept) <= 600
    lab.root.sys.revoke_lease(lost.first["lease_id"])
    state = run_due()
    failed = error(state)
    assert isinstance(failed, TransientError)
    assert str(failed).startswith(f"renew {lost.path}: ")
    assert left(lab, kept) > 600
    assert {path: row["state"] for path, row in rows(prefect, state).items()} == {lost.path: "failed"}
    assert "the lease has ended" in rows(prefect, state)[lost.path]["why"]


def left(lab: Lab, secret: Declared) -> int:
    """Seconds that the lease lasts still."""
    return int(lab.root.sys.read_lease(secret.first["lease_id"])["data"]["ttl"])
