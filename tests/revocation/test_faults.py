"""What is lost on the way, and what people do meanwhile, while a credential is being revoked."""

from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from keyturn.core.errors import CandidateRejected, KeyturnError, TransientError, Unavailable
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import protocol, run
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import STEPS, IncidentStatus, Mode, Step
from keyturn.revocation.incidents.resume import claim_reminder
from keyturn.revocation.incidents.store import load_incident as load_incident
from keyturn.revocation.selector import Selection
from keyturn.revocation.steps import take_step
from keyturn.rotation.candidates import CANDIDATES
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.state.context import Workspace
from tests.revocation.scene import KINDS, Scene
from tests.revocation.site import Site
from tests.support.fault_proxy import FaultProxy, Faults
from tests.support.hooks import Hooked, Once, raising
from tests.support.lab import Lab, fresh
from tests.support.sampling import sample

pytestmark = pytest.mark.sampled(10, of="file")

# --- answers that are lost ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "mode"), [("alternating", Mode.REPLACE), ("generated", Mode.REVOKE_ONLY)])
def test_the_hubs_answers_may_be_lost_after_any_of_its_writes(lab: Lab, kind: str, mode: Mode) -> None:
    port, faults = int(lab.world.hub_in_clear.rpartition(":")[2]), Faults()
    with FaultProxy("hub", port, faults) as proxy:
        hub = replace(lab.world, hub_address=f"http://127.0.0.1:{proxy.port}").hub()

        def revoked(lost: int | None) -> tuple[Scene, IncidentStatus, list[str]]:
            scene = Scene.of(lab, kind)
            workspace = replace(scene.workspace, hub=hub)
            hub.describe(scene.path)
            faults.begin(lost)
            stands = in_spite_of_it(scene, workspace, mode)
            return scene, stands, faults.end()

        places, tried = len(revoked(None)[2]), 0
        for lost in sample(f"lost answers, {kind}", range(places), 16, at_least=3):
            scene, stands, answers = revoked(lost)
            if not faults.lost:
                continue  # it had to ask less often
            tried += 1
            try:
                scene.assert_over(stands)
                if mode is Mode.REPLACE:
                    scene.assert_works()
            except AssertionError as error:
                error.add_note(f"the answer lost was {answers[lost]}")
                raise
        hub.close()
    assert places > 30
    assert tried > 1


def in_spite_of_it(scene: Scene, workspace: Workspace, mode: Mode) -> IncidentStatus:
    """As a person does it: where the command failed, the same command again."""
    try:
        return scene.revoke(mode, workspace)
    except TransientError:
        return scene.revoke(mode, workspace)


def test_a_hub_that_fails_for_one_secret_keeps_no_other_from_being_ended(lab: Lab) -> None:
    """More secrets than are cut at once: those that wait for their turn must have it."""
    secrets = [lab.generated() for _ in range(protocol.AT_ONCE[protocol.ENDING] + 8)]
    opened, incident = lab.open(*secrets), f"INC-{fresh()}"
    down = Unavailable("write", "it", "the hub does not answer")

    def fails(path: str, *_: Any, **__: Any) -> None:
        if path.endswith((secrets[0].path, secrets[1].path)) and path.startswith("incidents/"):
            raise down

    workspace = replace(opened.workspace, hub=Hooked(lab.hub, write_state=fails), sleep=lambda seconds: None)
    run.begin(
        workspace,
        Selection(tuple(sorted(one.path for one in secrets))),
        incident=incident,
        reason="leaked",
        mode=Mode.REPLACE,
        selector="all",
        triggered_at=workspace.clock(),
        consent=Consent(len(secrets)),
    )
    cut = {one.path for one in incident_store.load_status(workspace, incident).secrets if one.cut_at}
    assert cut == {one.path for one in secrets[2:]}
    run.finish(workspace, incident)
    stands = run.finish(replace(workspace, hub=lab.hub), incident)
    assert (stands.left, stands.open) == ((), False)


# --- what people do meanwhile ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("refusing", [False, True], ids=["taken", "refused-once"])
def test_fields_that_somebody_writes_to_the_hub_after_the_cut_keep_no_old_credential_alive(
    lab: Lab, kind: str, mode: Mode, refusing: bool
) -> None:
    scene = Scene.of(lab, kind)
    scene.site.begin(mode)
    scene.write(endpoint="https://elsewhere.example.com")
    workspace = refusing_once(scene) if refusing else scene.workspace
    scene.assert_over(run.finish(workspace, scene.site.incident))
    if mode is Mode.REPLACE:
        scene.assert_works()
        assert lab.current(scene.site.secret)["endpoint"] == "https://elsewhere.example.com"
    else:
        assert scene.in_hub() == []


def refusing_once(scene: Scene) -> Workspace:
    """A target that refuses the first candidate: it is given up, and CURRENT is to work as before."""
    rejected = CandidateRejected("verify", "pg", "it is too like the last one", "Choose other rules")
    once = Once(raising(rejected))
    return replace(scene.workspace, open_strategy=lambda path: Hooked(scene.workspace.open_strategy(path), verify=once))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [Step.CUT, Step.REPLACE, Step.PUSH, Step.HUB, Step.FORGET])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_leaked_value_that_somebody_writes_to_the_hub_again_after_any_step_is_ended_again(
    lab: Lab, kind: str, step: Step, mode: Mode
) -> None:
    scene = Scene.of(lab, kind)
    incident = scene.site.begin(mode)
    for done in STEPS[mode]:
        take_step(scene.workspace, incident, scene.path, done)
        if done is step:
            scene.write(**scene.leaked[0])
    stands = run.finish(scene.workspace, scene.site.incident)
    scene.assert_over(stands)
    if mode is Mode.REPLACE:
        scene.assert_works()
        assert stands.secrets[0].version == lab.hub.read(scene.path).version  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("step", [Step.CUT, Step.PUSH, Step.FORGET])
def test_a_leaked_value_that_somebody_restores_in_a_store_before_the_proof_is_removed_again(
    lab: Lab, mode: Mode, step: Step
) -> None:
    scene = Scene.of(lab, "generated")
    incident, copy = scene.site.begin(mode), scene.store.read(scene.path).reveal()
    for done in STEPS[mode]:
        if done is Step.PROVE:
            break
        take_step(scene.workspace, incident, scene.path, done)
        if done is step:
            scene.store.put_by_hand(scene.path, copy)
    if mode is Mode.REVOKE_ONLY and step is Step.FORGET:
        # Where the copy was erased, what somebody makes of that name is theirs, whatever it holds.
        stands = run.finish(scene.workspace, scene.site.incident)
        assert any("Keyturn has not made it: remove it there by hand" in said for said in stands.left)
        scene.store.delete(scene.path)
    scene.assert_over()


def test_a_credential_of_somebodys_own_that_is_in_force_at_last_is_neither_ended_nor_destroyed(lab: Lab) -> None:
    """A person was quicker: the new password was set by hand, at the database and in the hub."""
    for mode in Mode:
        scene = Scene.of(lab, "alternating")
        scene.store.down = Unavailable("reach", "memory", "it does not answer")
        scene.revoke(mode)
        password = f"by-hand-{fresh()}"
        user = scene.site.secret.users[1]
        lab.sql(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}') THEN "
            f"CREATE ROLE {user} LOGIN IN ROLE {scene.site.secret.owner}; END IF; END $$"
        )
        lab.sql(f"ALTER ROLE {user} LOGIN PASSWORD '{password}'")
        scene.write(username=user, password=password)
        scene.store.down = None
        scene.assert_over()
        assert lab.current(scene.site.secret)["password"] == password
        assert lab.logs_in(lab.current(scene.site.secret))


def test_what_somebody_has_put_in_force_since_the_cut_works_until_its_consumers_were_told_of_the_replacement(
    lab: Lab,
) -> None:
    scene = Scene.of(lab, "alternating", rotated=1)
    incident = scene.site.begin()
    (other,) = set(scene.site.secret.users) - {scene.leaked[-1]["username"]}
    by_hand = {**scene.leaked[-1], "username": other, "password": f"by-hand-{fresh()}"}
    lab.sql(f"ALTER ROLE {other} LOGIN PASSWORD '{by_hand['password']}'")
    version = scene.write(**by_hand)
    for step in (Step.REPLACE, Step.PUSH, Step.HUB):
        stands = take_step(scene.workspace, incident, scene.path, step)
    assert [said.partition(".")[0] for said in stands.left] == [
        f"hub: version {version}: its consumers are still to be notified of the new one"
    ]
    assert lab.logs_in(by_hand)
    scene.assert_over()
    assert not lab.logs_in(by_hand)
    scene.assert_works()


@pytest.mark.parametrize("mode", list(Mode))
def test_a_secret_that_was_removed_and_made_anew_meanwhile_is_not_taken_for_the_old_one_by_its_numbers(
    lab: Lab, mode: Mode
) -> None:
    scene = Scene.of(lab, "generated", rotated=1)
    incident = scene.site.begin(mode)
    for step in (Step.REPLACE, Step.PUSH) if mode is Mode.REPLACE else ():
        take_step(scene.workspace, incident, scene.path, step)
    lab.root.secrets.kv.v2.delete_metadata_and_all_versions(scene.path)
    values = ["one", "two"]
    for cas, value in enumerate(values):
        lab.hub.write(scene.path, SecretFields({"value": value}), cas=cas)
    scene.assert_over()
    assert [fields["value"] for _, fields in scene.in_hub()] == values


def test_nothing_that_is_not_keyturns_own_is_removed(lab: Lab) -> None:
    scene = Scene.of(lab, "generated", rotated=1)
    others = {f"{scene.path}-theirs": "theirs", f"{scene.path}-2": scene.store.read(scene.path).reveal()}
    for name, value in others.items():
        scene.store.put_by_hand(name, value)
    beside = Site.of(lab, lab.generated())
    scene.assert_over(scene.revoke(Mode.REVOKE_ONLY))
    assert {name: scene.store.read(name).reveal() for name in others} == others
    assert beside.store.read(beside.secret.path).reveal() == beside.leaked_copy


def test_old_versions_that_the_hub_drops_by_itself_meanwhile_are_looked_for_all_the_same(lab: Lab) -> None:
    scene = Scene.of(lab, "alternating", rotated=2)
    lab.root.secrets.kv.v2.update_metadata(scene.path, max_versions=2)
    incident = scene.site.begin()
    for number in range(3):
        scene.write(note=str(number))
    workspace = scene.workspace
    for step in (Step.REPLACE, Step.HUB):
        take_step(workspace, incident, scene.path, step)
    # The store was not pushed to yet, and still serves what the hub has long forgotten.
    assert scene.secret_of(scene.leaked[-1]) in scene.store.read(scene.path).reveal()
    assert any("serves the old value" in said for said in take_step(workspace, incident, scene.path, Step.PROVE).left)
    scene.assert_over()
    scene.assert_works()


@pytest.mark.parametrize("mode", list(Mode))
def test_a_clock_that_jumps_back_changes_no_order(lab: Lab, mode: Mode) -> None:
    scene = Scene.of(lab, "alternating", rotated=1)
    now, jumps = scene.site.opened.clock(), count()
    jumping = replace(scene.workspace, clock=lambda: now - timedelta(minutes=next(jumps)))
    scene.assert_over(scene.revoke(mode, jumping))
    if mode is Mode.REPLACE:
        scene.assert_works()


def test_people_are_reminded_though_the_clock_was_far_ahead_when_they_were_last(lab: Lab) -> None:
    scene = Scene.of(lab, "generated")
    scene.store.down = Unavailable("reach", "memory", "it does not answer")
    scene.revoke()
    ahead = scene.site.at(timedelta(days=3))
    assert claim_reminder(ahead, scene.site.incident)
    assert claim_reminder(scene.site.at(timedelta(hours=2)), scene.site.incident)
    assert not claim_reminder(scene.site.at(timedelta(hours=2)), scene.site.incident)
    assert load_incident(scene.workspace, scene.site.incident).closed_at is None


# --- what the target is left with --------------------------------------------------------------------------


def test_an_error_that_nobody_foresaw_at_one_store_names_it_and_stops_nothing_else(lab: Lab) -> None:
    scene = Scene.of(lab, "generated")
    surprised = replace(
        scene.workspace, open_store=lambda name: Hooked(scene.store, describe=raising(RuntimeError("s3cr3t text")))
    )
    stands = scene.revoke(Mode.REPLACE, surprised)
    assert stands.open
    assert "s3cr3t" not in repr(stands)
    assert any(
        said.startswith(f"{scene.path}: forget: memory:{scene.path}: unexpected Runtime") for said in stands.left
    )
    assert {Step.CUT, Step.REPLACE, Step.NOTIFY, Step.HUB} <= set(stands.secrets[0].done)
    scene.assert_over()


def test_a_hub_that_does_not_answer_at_all_is_an_error_and_the_incident_goes_on_later(lab: Lab) -> None:
    scene = Scene.of(lab, "generated")
    scene.site.begin()
    down = raising(Unavailable("read", "it", "the hub does not answer"))
    with pytest.raises(KeyturnError):
        run.finish(replace(scene.workspace, hub=Hooked(scene.workspace.hub, read_state=down)), scene.site.incident)
    scene.assert_over()


def test_a_candidate_that_can_not_be_ended_keeps_the_secret_in_the_revocations_hands_until_it_is(lab: Lab) -> None:
    """Nobody but the record knows it: once that is let go it could not be tried again."""
    scene = Scene.of(lab, "dynamic")
    candidate = scene.site.worker().staged().candidate
    down = Unavailable("revoke", "database", "the engine does not answer")

    def not_that_one(credential: SecretFields, sequence: int) -> None:
        if credential == candidate:
            raise down

    def failing_at_it(path: str) -> Any:
        return Hooked(scene.workspace.open_strategy(path), revoke=not_that_one, revoke_found=raising(down))

    failing = replace(scene.workspace, open_strategy=failing_at_it)
    scene.site.begin(workspace=failing)
    assert not lab.logs_in(scene.leaked[0])
    assert lab.logs_in(candidate)
    assert run.finish(failing, scene.site.incident).left[0].endswith("cut: the engine does not answer")
    scene.assert_over()
    scene.assert_works()
    assert not lab.logs_in(candidate)


@pytest.mark.parametrize("kind", ["dynamic", "alternating"])
def test_a_candidate_that_was_lost_is_ended_by_its_place(lab: Lab, kind: str) -> None:
    scene = Scene.of(lab, kind)
    attempt = scene.site.worker().installed()
    (place,) = lab.hub.list_state(f"{CANDIDATES}/{scene.path}")
    lab.hub.delete_state(place)
    scene.revoke()
    scene.assert_over()
    scene.assert_works()
    assert not lab.logs_in(attempt.ground.merged(attempt.candidate))  # type: ignore[union-attr]


def test_a_copy_that_the_catalogue_wants_left_as_it_is_keeps_the_incident_open_and_says_why(lab: Lab) -> None:
    scene = Scene.of(lab, "generated")
    places = [{"store": "memory", "name": scene.path, "update": "create-only"}]
    scene.site = scene.site.declaring(places)
    stands = scene.revoke()
    assert any("Its destination says create-only: write it there by hand" in said for said in stands.left)
    scene.store.delete(scene.path)
    scene.assert_over()


@pytest.mark.parametrize("mode", [Mode.REPLACE, Mode.REVOKE_ONLY])
@pytest.mark.parametrize("declared", [True, False])
def test_a_leaked_value_in_a_copy_that_fields_were_added_to_is_found_there(
    lab: Lab, mode: Mode, declared: bool
) -> None:
    """Its text is that of no version: what it keeps is told from the version in its marks."""
    scene = Scene.of(lab, "generated")
    places = [{"store": "memory", "name": scene.path, "update": "add-fields"}]
    scene.site = scene.site.declaring(places)
    scene.write(value="another", note="a field more")
    sync_destinations(scene.workspace, scene.path)
    assert scene.leaked[0]["value"] in scene.store.read(scene.path).reveal()
    assert "a field more" in scene.store.read(scene.path).reveal()
    if not declared:
        scene.site = scene.site.declaring([])
    stands = scene.revoke(mode)
    if mode is Mode.REPLACE and declared:
        assert any("Its destination says add-fields: write it there by hand" in said for said in stands.left)
        scene.store.delete(scene.path)
        stands = run.finish(scene.workspace, scene.site.incident)
    assert not [text for text in scene.in_store() if scene.leaked[0]["value"] in text or "another" in text]
    if mode is Mode.REPLACE:
        scene.assert_over(stands)
