"""Closing incidents without proof, reopening them, and unreadable incidents."""

from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.schedule.due import Trigger
from keyturn.revocation import run
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.announcements import summarise_incident
from keyturn.revocation.incidents.give_up import give_up_incident
from keyturn.revocation.incidents.incident import Mode, News, Step
from keyturn.revocation.incidents.recheck import list_due, recheck_incident
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record
from tests.revocation.scene import Scene
from tests.revocation.test_unreadable import destroy
from tests.support.hooks import Hooked, raising
from tests.support.lab import Lab

pytestmark = pytest.mark.sampled(10, of="file")

MODES = pytest.mark.parametrize("mode", list(Mode))
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def stuck(lab: Lab, mode: Mode = Mode.REVOKE_ONLY) -> Scene:
    """An incident that can't be proven: a value that no target knows was destroyed before."""
    scene = Scene.of(lab, "generated")
    destroy(scene)
    scene.revoke(mode)
    return scene


# --- a way out


@MODES
def test_what_is_left_of_an_incident_that_was_given_up_stays_listed_and_is_never_called_proven(
    lab: Lab, mode: Mode
) -> None:
    scene = stuck(lab, mode)
    left = incident_store.load_status(scene.workspace, scene.site.incident).left
    stands = give_up_incident(scene.workspace, scene.site.incident, "looked by hand, ticket 4711")
    assert (stands.open, stands.left, left != ()) == (False, left, True)
    assert "given up" in summarise_incident(stands)
    assert "not proven" in summarise_incident(stands)
    assert [message.news for message in stands.incident.outbox][-1] is News.GIVEN_UP
    assert stands.incident.id not in [one.id for one in incident_store.list_open(scene.workspace)]
    noted = [entry.note for entry in scene.site.entries() if entry.action == "give up incident"]
    assert all("looked by hand, ticket 4711" in note for note in noted)
    assert noted


@MODES
def test_a_secret_that_an_incident_let_go_can_be_rotated_and_nothing_dead_comes_back(lab: Lab, mode: Mode) -> None:
    scene = stuck(lab, mode)
    give_up_incident(scene.workspace, scene.site.incident, "looked by hand")
    record = load_record(scene.workspace, scene.path)
    assert record.open is None
    assert record.frozen == ("" if mode is Mode.REPLACE else scene.site.incident)
    scene.write(value="a-first-one")
    assert rotate(scene.workspace, scene.path, Trigger.FORCE).state is RunState.ROTATED
    assert load_record(scene.workspace, scene.path).frozen == ""


def test_a_secret_that_could_not_even_be_cut_is_let_go_as_well(lab: Lab) -> None:
    scene = Scene.of(lab, "alternating")
    down = raising(Unavailable("cut", "pg", "the database does not answer"))
    plain = scene.workspace
    failing = replace(
        plain, open_strategy=lambda path: Hooked(plain.open_strategy(path), revoke=down, revoke_found=down)
    )
    scene.site.begin(workspace=failing)
    stands = give_up_incident(failing, scene.site.incident, "the database is gone for good")
    assert any("cut: " in said for said in stands.left)
    assert load_record(scene.workspace, scene.path).open is None
    assert rotate(scene.workspace, scene.path, Trigger.FORCE).state is RunState.ROTATED
    assert lab.logs_in(lab.current(scene.site.secret))


def test_only_an_open_incident_is_given_up_and_only_with_a_reason(lab: Lab) -> None:
    scene = stuck(lab)
    with pytest.raises(Invalid, match="no reason is given"):
        give_up_incident(scene.workspace, scene.site.incident, "  ")
    give_up_incident(scene.workspace, scene.site.incident, "looked by hand")
    with pytest.raises(Invalid, match="it is given up"):
        give_up_incident(scene.workspace, scene.site.incident, "again")
    assert not run.finish(scene.workspace, scene.site.incident).open


# --- another look


def closed(lab: Lab, kind: str, mode: Mode = Mode.REPLACE) -> Scene:
    scene = Scene.of(lab, kind)
    scene.assert_over(scene.revoke(mode))
    return scene


def mine(scene: Scene, later: timedelta) -> bool:
    return scene.site.incident in [one.id for one in list_due(scene.site.at(later))]


def test_a_closed_incident_is_looked_at_after_an_hour_and_after_a_day_and_no_more(lab: Lab) -> None:
    scene = closed(lab, "alternating")
    assert [mine(scene, later) for later in (HOUR / 2, 2 * HOUR)] == [False, True]
    stands = recheck_incident(scene.site.at(2 * HOUR), scene.site.incident)
    assert (stands.open, len(stands.incident.looked_at)) == (False, 1)
    assert [mine(scene, later) for later in (2 * HOUR, DAY + HOUR)] == [False, True]
    stands = recheck_incident(scene.site.at(DAY + HOUR), scene.site.incident)
    assert (stands.open, len(stands.incident.looked_at)) == (False, 2)
    assert not mine(scene, 3 * DAY)


@pytest.mark.parametrize("kind", ["alternating", "generated"])
@MODES
def test_a_late_writer_is_found_opens_the_incident_again_and_is_removed(lab: Lab, kind: str, mode: Mode) -> None:
    scene = closed(lab, kind, mode)
    scene.write(**scene.leaked[0])
    stands = recheck_incident(scene.site.at(2 * HOUR), scene.site.incident)
    assert (stands.open, stands.secrets[0].clear_at) == (True, None)
    assert Step.PROVE not in stands.secrets[0].done
    assert stands.incident.outbox[-1].news is News.REOPENED
    scene.assert_over()
    assert mine(scene, 4 * HOUR)


def test_an_old_value_that_comes_back_to_a_store_is_found(lab: Lab) -> None:
    scene = closed(lab, "generated")
    scene.store.put_by_hand(scene.path, scene.site.leaked_copy)
    assert recheck_incident(scene.site.at(2 * HOUR), scene.site.incident).open
    scene.assert_over()


def test_a_user_that_is_let_in_again_is_found_and_ended(lab: Lab) -> None:
    scene = Scene.of(lab, "alternating", rotated=1, grace="1d")
    scene.assert_over(scene.revoke())
    (other,) = set(scene.site.secret.users) - {lab.current(scene.site.secret)["username"]}
    lab.sql(f"ALTER ROLE {other} LOGIN PASSWORD 'by-hand'")
    stands = recheck_incident(scene.site.at(2 * HOUR), scene.site.incident)
    assert any(f"the target still accepts a login by {other}" in said for said in stands.left)
    scene.assert_over()
    assert not lab.logs_in({"username": other, "password": "by-hand"})
    scene.assert_works()


def test_what_a_later_rotation_has_put_in_force_is_no_finding(lab: Lab) -> None:
    scene = closed(lab, "alternating")
    rotate(scene.workspace, scene.path, Trigger.FORCE)
    assert not recheck_incident(scene.site.at(2 * HOUR), scene.site.incident).open


# --- incidents that nobody can read


def test_an_incident_that_can_not_be_read_is_one_row_and_hides_no_other(lab: Lab) -> None:
    scene = stuck(lab)
    lab.hub.write_state("incidents/INC-damaged/head", {"incident": "{"}, cas=0)
    try:
        found = {one.id: one for one in incident_store.list_incidents(scene.workspace)}
        assert scene.site.incident in found
        assert "incidents/INC-damaged/head" in found["INC-damaged"].unread
        with pytest.raises(Invalid, match="malformed"):
            incident_store.load_incident(scene.workspace, "INC-damaged")
    finally:
        lab.root.secrets.kv.v2.delete_metadata_and_all_versions("incidents/INC-damaged/head", mount_point="keyturn")


def test_a_secret_of_an_incident_that_can_not_be_read_is_told_and_hides_no_other(lab: Lab) -> None:
    scene = stuck(lab)
    entry = f"incidents/{scene.site.incident}/secrets/{scene.path}"
    lab.keep(entry, {"incident": '{"path": 1, "nobody": 2}'})
    stands = incident_store.load_status(scene.workspace, scene.site.incident)
    assert f"the entry {entry} of Keyturn's state is malformed" in stands.left[0]
    assert run.finish(scene.workspace, scene.site.incident).open
