"""Runs that are suspended anywhere while a credential is being revoked, and go on when that is over."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from keyturn.core.errors import CandidateRejected, Conflict, Locked, NotFound, Superseded
from keyturn.core.overrides import Waive
from keyturn.core.schedule.due import Trigger
from keyturn.revocation import run
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.incidents.store import find_incident
from keyturn.rotation.retire import retire
from keyturn.rotation.rollback import rollback
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier
from keyturn.sync.batches import bring_in_step
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from tests.revocation.late import Late
from tests.revocation.scene import KINDS, Scene, begun
from tests.support.lab import Lab, fresh
from tests.support.sampling import examples, sample

pytestmark = pytest.mark.sampled(10, of="file")

STATED = (Superseded, Locked, Conflict, CandidateRejected, NotFound)
"""How a run that comes too late may fail."""

ONE_IN, FEWEST = 24, 2
"""Of the calls of a late run one in so many is tried, and so many at least."""

NEVER = 1_000_000
"""The number of a call that no run makes."""


def at_its_calls(
    label: str, prepare: Callable[[], Scene], late: Callable[[Scene, Workspace], object], mode: Mode
) -> int:
    """Let ``late`` be suspended before some of its calls, while a revocation does all of its work.

    What leaked is ended for good each time, and what is in force works. How many calls there are.
    """
    told, tried = calls(prepare(), late), 0
    for at in sample(f"late, {label}, {mode}", range(told), ONE_IN, FEWEST):
        scene = prepare()
        suspended = Late(at, lambda scene=scene: through(scene, mode))  # type: ignore[misc]
        with suppress(*STATED):
            late(scene, suspended.run(scene.workspace))
        if not suspended.suspended:
            continue  # the last calls of one that polls
        tried += 1
        try:
            scene.assert_over()
            if mode is Mode.REPLACE:
                scene.assert_works()
        except AssertionError as error:
            error.add_note(f"suspended before call {at}: {suspended.calls[at]}")
            raise
    assert tried
    return told


def calls(scene: Scene, late: Callable[[Scene, Workspace], object]) -> int:
    """How many calls a run makes that nobody suspends."""
    through_all = Late(NEVER, lambda: None)
    with suppress(*STATED):
        late(scene, through_all.run(scene.workspace))
    return len(through_all.calls)


def through(scene: Scene, mode: Mode, incident: str = "") -> None:
    """The whole revocation, by a process that is not late."""
    named = replace(scene.site, incident=incident or scene.site.incident)
    if find_incident(scene.workspace, named.incident) is None:
        named.begin(mode)
    scene.assert_over(run.finish(scene.workspace, named.incident))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_a_run_of_the_same_incident_that_comes_late_at_any_point_spoils_nothing(
    lab: Lab, kind: str, mode: Mode
) -> None:
    def late(scene: Scene, workspace: Workspace) -> None:
        run.finish(workspace, scene.site.incident)

    assert at_its_calls(f"same incident, {kind}", lambda: begun(lab, kind, mode), late, mode) > 40


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_a_rotation_that_is_overtaken_by_a_revocation_at_any_point_brings_nothing_back(
    lab: Lab, kind: str, mode: Mode
) -> None:
    def late(scene: Scene, workspace: Workspace) -> None:
        rotate(workspace, scene.path, Trigger.FORCE)

    assert at_its_calls(f"rotation, {kind}", lambda: Scene.of(lab, kind), late, mode) > 10


@pytest.mark.parametrize("kind", ["alternating", "dynamic", "generated"])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_retirement_that_is_overtaken_by_a_revocation_at_any_point_ends_nothing_new(
    lab: Lab, kind: str, mode: Mode
) -> None:
    def late(scene: Scene, workspace: Workspace) -> None:
        retire(workspace, scene.path, Waive.EVERYTHING)

    assert at_its_calls(f"retirement, {kind}", lambda: Scene.of(lab, kind, rotated=1), late, mode) > 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_a_rotation_that_is_being_taken_back_when_a_revocation_overtakes_it_brings_nothing_back(
    lab: Lab, kind: str, mode: Mode
) -> None:
    def late(scene: Scene, workspace: Workspace) -> None:
        rotation = scene.site.record().retiring
        assert rotation is not None
        rollback(workspace, scene.path, rotation.token, "the canary is not well")

    prepare = lambda: Scene.of(lab, kind, rotated=1, grace="1h")  # noqa: E731
    assert at_its_calls(f"taken back, {kind}", prepare, late, mode) > 5


def full_plan(scene: Scene, workspace: Workspace) -> None:
    carry_out(workspace, plan(workspace), local_executor(Applier(workspace)))


def quick_plan(scene: Scene, workspace: Workspace) -> None:
    carry_out(workspace, plan(workspace, unseen=True), local_executor(Applier(workspace)))


def followed(scene: Scene, workspace: Workspace) -> None:
    bring_in_step(workspace, [scene.path], frozenset({scene.path}))


SYNCS = (full_plan, quick_plan, followed)


@pytest.mark.parametrize("late", SYNCS, ids=lambda late: late.__name__)
@pytest.mark.parametrize("there", [True, False], ids=["stale", "absent"])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_sync_that_is_overtaken_by_a_revocation_at_any_point_brings_nothing_back(
    lab: Lab, late: Callable[[Scene, Workspace], None], there: bool, mode: Mode
) -> None:
    def prepare() -> Scene:
        scene = Scene.of(lab, "generated")
        if there:
            scene.write(value="newer")
            scene.note()
        else:
            scene.store.delete(scene.path)
        return scene

    assert at_its_calls(f"{late.__name__}, {there}", prepare, late, mode) > 5


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
        full_plan(scene, scene.workspace)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_two_incidents_one_of_which_is_overtaken_by_the_other_at_any_point_both_end_proven(
    lab: Lab, kind: str, mode: Mode
) -> None:
    told = calls(Scene.of(lab, kind), lambda scene, workspace: scene.revoke(mode, workspace))
    assert told > 40
    tried = 0
    for at in sample(f"two incidents, {kind}, {mode}", range(told), ONE_IN, FEWEST):
        scene, other = Scene.of(lab, kind), f"INC-other-{fresh()}"
        suspended = Late(at, lambda scene=scene, other=other: through(scene, Mode.REPLACE, other))  # type: ignore[misc]
        with suppress(*STATED):
            scene.revoke(mode, suspended.run(scene.workspace))
        if not suspended.suspended:
            continue  # the last calls of one that polls
        tried += 1
        try:
            for incident in (scene.site.incident, other):
                scene.assert_over(run.finish(scene.workspace, incident))
            if mode is Mode.REPLACE:
                scene.assert_works()
        except AssertionError as error:
            error.add_note(f"suspended before call {at}: {suspended.calls[at]}")
            raise
    assert tried


def test_an_incident_that_looks_at_what_another_one_has_destroyed_meanwhile_is_proven_by_that_one(lab: Lab) -> None:
    """Where no target could be asked, it would wait for a person for ever."""
    dry, scene = Late(NEVER, lambda: None), Scene.of(lab, "generated")
    scene.revoke(Mode.REPLACE, dry.run(scene.workspace))
    reads = [at for at, name in enumerate(dry.calls) if name == "hub.read"]
    hidden = 0
    for at in reads[:8]:
        scene, other = Scene.of(lab, "generated"), f"INC-other-{fresh()}"
        suspended = Late(at, lambda scene=scene, other=other: through(scene, Mode.REPLACE, other))  # type: ignore[misc]
        with suppress(*STATED):
            scene.revoke(Mode.REPLACE, suspended.run(scene.workspace))
        status = run.finish(scene.workspace, scene.site.incident)
        hidden += len(status.secrets[0].unseen)
        assert (status.left, status.open) == ((), False), f"suspended before call {at}"
    assert hidden, "none of them came too late to look"


# --- two processes at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_two_processes_that_finish_one_incident_at_the_same_time(lab: Lab, kind: str, mode: Mode) -> None:
    for _ in range(examples(1, 3)):
        scene = begun(lab, kind, mode)
        together = threading.Barrier(2)
        runs = [replace(scene.workspace, holder=f"host-{number}/1/1", patience=0.0) for number in (1, 2)]

        def finish(
            workspace: Workspace, scene: Scene = scene, together: threading.Barrier = together
        ) -> IncidentStatus:
            together.wait(30)
            return run.finish(workspace, scene.site.incident)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(finish, runs))
        scene.assert_over()
        if mode is Mode.REPLACE:
            scene.assert_works()
            assert len(scene.in_hub()) == 1
