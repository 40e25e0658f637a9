"""Runs that are suspended anywhere while a credential is being revoked, and go on when that is over."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest

from keyturn.core.errors import CandidateRejected, Conflict, Locked, NotFound, Superseded
from keyturn.core.policy import Trigger
from keyturn.revocation import run
from keyturn.revocation.incident import IncidentStatus, Mode
from keyturn.revocation.incident_store import find_incident
from keyturn.rotation.context import Keyturn
from keyturn.rotation.retire import Waive, retire
from keyturn.rotation.rollback import rollback
from keyturn.rotation.run import rotate
from keyturn.sync.apply import Applier
from keyturn.sync.batches import bring
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, here
from tests.revocation.late import Late
from tests.revocation.scene import KINDS, Scene, begun
from tests.support.lab import Lab, fresh

STATED = (Superseded, Locked, Conflict, CandidateRejected, NotFound)
"""How a run that comes too late may fail."""


STRIDE = len(KINDS) * int(os.environ.get("KEYTURN_LATE_EVERY", "3"))
"""Of so many neighbouring calls one is tried with each kind of secret, and another one with the next kind.

With KEYTURN_LATE_EVERY=1 every call is tried with one kind.
"""


def at_its_calls(
    prepare: Callable[[], Scene], late: Callable[[Scene, Keyturn], object], mode: Mode, first: int = 0
) -> int:
    """Let ``late`` be suspended before its calls, from ``first`` on, while a revocation does all of its work.

    What leaked is ended for good each time, and what is in force works. How many calls there are.
    """
    for at in count(first % STRIDE, STRIDE):
        scene = prepare()
        suspended = Late(at, lambda scene=scene: through(scene, mode))  # type: ignore[misc]
        with suppress(*STATED):
            late(scene, suspended.run(scene.keyturn))
        if not suspended.suspended:
            return len(suspended.calls)
        try:
            scene.assert_over()
            if mode is Mode.REPLACE:
                scene.assert_works()
        except AssertionError as error:
            error.add_note(f"suspended before call {at}: {suspended.calls[at]}")
            raise
    raise AssertionError("unreachable")


def through(scene: Scene, mode: Mode, incident: str = "") -> None:
    """The whole revocation, by a process that is not late."""
    named = replace(scene.site, incident=incident or scene.site.incident)
    if find_incident(scene.keyturn, named.incident) is None:
        named.begin(mode)
    scene.assert_over(run.finish(scene.keyturn, named.incident))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_a_run_of_the_same_incident_that_comes_late_at_any_point_spoils_nothing(
    lab: Lab, kind: str, mode: Mode
) -> None:
    def late(scene: Scene, keyturn: Keyturn) -> None:
        run.finish(keyturn, scene.site.incident)

    assert at_its_calls(lambda: begun(lab, kind, mode), late, mode, KINDS.index(kind)) > 40


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_a_rotation_that_is_overtaken_by_a_revocation_at_any_point_brings_nothing_back(
    lab: Lab, kind: str, mode: Mode
) -> None:
    def late(scene: Scene, keyturn: Keyturn) -> None:
        rotate(keyturn, scene.path, Trigger.FORCE)

    assert at_its_calls(lambda: Scene.of(lab, kind), late, mode, KINDS.index(kind)) > 10


@pytest.mark.parametrize("kind", ["alternating", "dynamic", "generated"])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_retirement_that_is_overtaken_by_a_revocation_at_any_point_ends_nothing_new(
    lab: Lab, kind: str, mode: Mode
) -> None:
    def late(scene: Scene, keyturn: Keyturn) -> None:
        retire(keyturn, scene.path, Waive.EVERYTHING)

    assert at_its_calls(lambda: Scene.of(lab, kind, rotated=1), late, mode, KINDS.index(kind)) > 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_a_rotation_that_is_being_taken_back_when_a_revocation_overtakes_it_brings_nothing_back(
    lab: Lab, kind: str, mode: Mode
) -> None:
    def late(scene: Scene, keyturn: Keyturn) -> None:
        rotation = scene.site.record().retiring
        assert rotation is not None
        rollback(keyturn, scene.path, rotation.token, "the canary is not well")

    prepare = lambda: Scene.of(lab, kind, rotated=1, grace="1h")  # noqa: E731
    assert at_its_calls(prepare, late, mode, KINDS.index(kind)) > 5


def full_plan(scene: Scene, keyturn: Keyturn) -> None:
    carry_out(keyturn, plan(keyturn), here(Applier(keyturn)))


def quick_plan(scene: Scene, keyturn: Keyturn) -> None:
    carry_out(keyturn, plan(keyturn, unseen=True), here(Applier(keyturn)))


def followed(scene: Scene, keyturn: Keyturn) -> None:
    bring(keyturn, [scene.path], frozenset({scene.path}))


SYNCS = (full_plan, quick_plan, followed)


@pytest.mark.parametrize("late", SYNCS, ids=lambda late: late.__name__)
@pytest.mark.parametrize("there", [True, False], ids=["stale", "absent"])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_sync_that_is_overtaken_by_a_revocation_at_any_point_brings_nothing_back(
    lab: Lab, late: Callable[[Scene, Keyturn], None], there: bool, mode: Mode
) -> None:
    def prepare() -> Scene:
        scene = Scene.of(lab, "generated")
        if there:
            scene.write(value="newer")
            scene.note()
        else:
            scene.store.delete(scene.path)
        return scene

    for first in range(STRIDE):
        assert at_its_calls(prepare, late, mode, first) > 5


@pytest.mark.parametrize("mode", list(Mode))
def test_syncs_without_end_bring_nothing_back_and_keep_no_incident_open(lab: Lab, mode: Mode) -> None:
    for _ in range(3):
        scene, over = Scene.of(lab, "generated", rotated=1), threading.Event()
        with ThreadPoolExecutor(2) as pool:
            syncs = [pool.submit(without_end, scene, over) for _ in range(2)]
            try:
                stands = scene.revoke(mode)
            finally:
                over.set()
            assert [one.result(30) for one in syncs] == [None, None]
        scene.assert_over(stands)


def without_end(scene: Scene, over: threading.Event) -> None:
    """Syncs of everything, one after the other."""
    while not over.is_set():
        full_plan(scene, scene.keyturn)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_two_incidents_one_of_which_is_overtaken_by_the_other_at_any_point_both_end_proven(
    lab: Lab, kind: str, mode: Mode
) -> None:
    for at in count(KINDS.index(kind), 2 * STRIDE):
        scene, other = Scene.of(lab, kind), f"INC-other-{fresh()}"
        suspended = Late(at, lambda scene=scene, other=other: through(scene, Mode.REPLACE, other))  # type: ignore[misc]
        with suppress(*STATED):
            scene.revoke(mode, suspended.run(scene.keyturn))
        if not suspended.suspended:
            assert len(suspended.calls) > 40
            return
        try:
            for incident in (scene.site.incident, other):
                scene.assert_over(run.finish(scene.keyturn, incident))
            if mode is Mode.REPLACE:
                scene.assert_works()
        except AssertionError as error:
            error.add_note(f"suspended before call {at}: {suspended.calls[at]}")
            raise


# --- two processes at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_two_processes_that_finish_one_incident_at_the_same_time(lab: Lab, kind: str, mode: Mode) -> None:
    for _ in range(3):
        scene = begun(lab, kind, mode)
        together = threading.Barrier(2)
        runs = [replace(scene.keyturn, holder=f"host-{number}/1/1", patience=0.0) for number in (1, 2)]

        def finish(keyturn: Keyturn, scene: Scene = scene, together: threading.Barrier = together) -> IncidentStatus:
            together.wait(30)
            return run.finish(keyturn, scene.site.incident)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(finish, runs))
        scene.assert_over()
        if mode is Mode.REPLACE:
            scene.assert_works()
            assert len(scene.in_hub()) == 1
