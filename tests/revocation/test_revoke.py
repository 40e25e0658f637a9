"""One secret from the trigger to the proof, against the real hub and database."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Superseded, Unavailable, Unrecorded
from keyturn.core.notifications.notices import SECRET_REVOKED
from keyturn.core.ports.strategies import RevokeResult
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import run
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.incident import Mode, Result, Step
from keyturn.rotation import steps
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.decide import decide
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record
from tests.revocation.site import Site
from tests.support.hooks import Hooked, raising
from tests.support.lab import Declared, Lab

pytestmark = pytest.mark.sampled(10, of="file")

KINDS = ["alternating", "single", "dynamic", "generated"]
UNRECORDED = Unrecorded("write", "the ledger", "the disk is full")
LOST = Unavailable("reach", "memory", "it does not answer", "Try again")


def made(lab: Lab, kind: str, **changes: object) -> Declared:
    secret: Declared = getattr(lab, kind)(**changes)
    return secret


def readable(site: Site) -> list[int]:
    """The versions that the hub still gives."""
    info = site.workspace.hub.describe(site.secret.path)
    return [one.version for one in info.versions if one.readable] if info else []


@pytest.mark.parametrize("kind", KINDS)
def test_the_old_credential_ends_everywhere_and_a_new_one_works(lab: Lab, kind: str) -> None:
    site = Site.of(lab, made(lab, kind))
    stands = site.revoke()
    assert (stands.left, stands.open) == ((), False)
    now = lab.current(site.secret)
    if kind != "generated":
        assert not lab.logs_in(SecretFields(site.secret.first))
        assert lab.logs_in(now)
    assert site.store.read(site.secret.path).reveal() != site.leaked_copy
    assert site.opened.sender.events == [SECRET_REVOKED]
    assert readable(site) == [stands.secrets[0].version]
    assert site.store.old_versions(site.secret.path) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_replacement_nothing_is_left_of_it_anywhere(lab: Lab, kind: str) -> None:
    site = Site.of(lab, made(lab, kind))
    stands = site.revoke(Mode.REVOKE_ONLY)
    assert (stands.left, stands.open) == ((), False)
    if kind != "generated":
        assert not lab.logs_in(SecretFields(site.secret.first))
    assert readable(site) == []
    assert site.store.describe(site.secret.path) is None
    assert site.opened.sender.events == [f"{SECRET_REVOKED} for good"]


def test_what_was_only_revoked_stays_so_until_a_person_rotates_it(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating", interval="1s"))
    site.revoke(Mode.REVOKE_ONLY)
    later = site.at(timedelta(days=90))
    assert rotate(later, site.secret.path).state is RunState.NOT_DUE
    assert decide(later, site.secret.path, Trigger.EVENT).reason is None
    assert rotate(later, site.secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert lab.logs_in(lab.current(site.secret))
    assert lab.current(site.secret)["host"] == site.secret.first["host"]
    assert load_record(later, site.secret.path).frozen == ""


def test_sessions_that_can_not_be_ended_hold_up_no_replacement_and_keep_the_incident_open(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    workspace = replace(site.impatient(), open_strategy=lambda path: HalfCut(site.workspace.open_strategy(path)))
    site.begin(workspace=workspace)
    stands = run.finish(workspace, site.incident)
    assert lab.logs_in(lab.current(site.secret))
    assert not lab.logs_in(SecretFields(site.secret.first))
    assert any("sessions" in said for said in stands.left)
    assert 1 in readable(site), "the old value is needed to try again"
    assert not run.finish(site.workspace, site.incident).open
    assert 1 not in readable(site)


class HalfCut:
    """A strategy whose admin may refuse logins, and may not end sessions."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Refuse logins, and fail at the sessions."""
        self._inner.revoke(credential, sequence)
        raise Denied("end the sessions of", "pg", "the admin may not end sessions", "Grant it pg_signal_backend")


def test_the_schedule_goes_on_after_a_replacement(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    site.revoke()
    assert load_record(site.workspace, site.secret.path).frozen == ""
    assert rotate(site.at(timedelta(days=90)), site.secret.path).state is RunState.ROTATED


def test_the_credential_before_ends_as_well_though_its_grace_is_not_over(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating", grace="1h"))
    before = site.rotated()
    assert lab.logs_in(before)
    site.revoke()
    assert not lab.logs_in(before)
    assert load_record(site.workspace, site.secret.path).rotation is None


@pytest.mark.parametrize("until", ["staged", "installed", "verified"])
@pytest.mark.parametrize("kind", ["alternating", "single", "dynamic"])
def test_a_rotation_at_work_is_cut_off_and_its_candidate_too(lab: Lab, kind: str, until: str) -> None:
    site = Site.of(lab, made(lab, kind))
    worker = site.worker()
    attempt = getattr(worker, until)()
    candidate = attempt.candidate
    site.revoke()
    assert not lab.logs_in(candidate)
    assert lab.logs_in(lab.current(site.secret))
    if kind != "dynamic":  # which has nothing to install
        with pytest.raises(Superseded):
            steps.install(worker.workspace, attempt)
    with pytest.raises(KeyturnError):
        steps.promote(worker.workspace, attempt)
    assert not lab.logs_in(candidate)
    assert not lab.logs_in(SecretFields(site.secret.first))
    assert lab.logs_in(lab.current(site.secret))


def test_an_open_session_ends_with_the_credential(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    with lab.opened(SecretFields(site.secret.first)) as works:
        assert works()
        site.begin()
        assert not works()
    assert site.progress().sessions == 1


def test_the_rest_goes_on_where_one_store_is_down_and_the_incident_says_why_it_stays_open(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    site.store.down = LOST
    site.begin()
    stands = run.finish(site.impatient(), site.incident)
    assert stands.open
    assert not lab.logs_in(SecretFields(site.secret.first))
    assert lab.logs_in(lab.current(site.secret))
    assert any("memory" in said and "does not answer" in said for said in stands.left)
    site.store.down = None
    stands = run.finish(site.workspace, site.incident)
    assert (stands.open, stands.left) == (False, ())
    assert site.store.old_versions(site.secret.path) == {}


def test_a_silent_consumer_keeps_the_incident_open_and_is_told_again(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    site.opened.sender.silent["app"] = Unavailable("tell", "app", "it does not answer")
    site.begin()
    assert run.finish(site.impatient(), site.incident).left == (f"{site.secret.path}: notify: app: it does not answer",)
    site.opened.sender.silent.clear()
    assert not run.finish(site.workspace, site.incident).open


def test_a_store_that_can_not_forget_says_so_and_the_incident_closes(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    site.store.forgets = False
    stands = site.revoke()
    assert not stands.open
    assert stands.secrets[0].remains
    assert any(event.result is Result.REMAINS for event in stands.secrets[0].events)


def test_what_somebody_else_keeps_under_the_name_is_left_alone(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    site.store.strip(site.secret.path)
    site.store.put_by_hand(site.secret.path, "theirs")
    site.begin(Mode.REVOKE_ONLY)
    run.finish(site.impatient(), site.incident)
    assert site.store.read(site.secret.path).reveal() == "theirs"


def test_a_copy_that_nothing_declares_any_more_is_found_and_removed(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    moved = site.declaring([{"store": "memory", "name": f"{site.secret.path}-new"}])
    sync_destinations(moved.workspace, site.secret.path)
    moved.revoke()
    assert site.store.describe(site.secret.path) is None
    assert site.store.describe(f"{site.secret.path}-new") is not None


def test_a_caller_without_the_rights_changes_nothing_and_is_written_down(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    before = site.record()
    with pytest.raises(Denied) as refused:
        site.begin(workspace=site.with_rights_of("keyturn-worker"))
    assert f"secret/destroy/{site.secret.path}" in str(refused.value)
    assert lab.logs_in(SecretFields(site.secret.first))
    assert site.record() == before
    assert [one.id for one in incident_store.list_incidents(site.workspace) if one.id == site.incident] == []
    assert [(one.action, one.outcome) for one in site.entries()][-1] == ("revoke", "denied")


def test_the_same_incident_asked_for_again_goes_on_and_another_of_its_name_is_refused(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    site.begin()
    first = site.progress()
    site.begin()
    assert site.progress().cut_at == first.cut_at
    with pytest.raises(Invalid):
        site.begin(Mode.REVOKE_ONLY)
    run.finish(site.workspace, site.incident)
    with pytest.raises(Invalid):
        site.begin()


def test_finishing_twice_changes_nothing(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    first = site.revoke()
    version = site.store.writes
    assert run.finish(site.workspace, site.incident) == first
    assert site.store.writes == version


def test_every_step_is_in_the_progress_and_in_the_ledger_and_no_value_is(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    stands = site.revoke()
    assert set(stands.secrets[0].done) == set(Step)
    entries = site.entries()
    actions = {one.action for one in entries}
    assert {"open incident", "cut", "revoke: replace", "revoke: push", "revoke: hub", "close incident"} <= actions
    told = "".join(map(repr, entries)) + repr(stands)
    for value in (site.secret.first["password"], lab.current(site.secret)["password"]):
        assert value not in told


def test_times_tell_how_long_it_took(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    one = site.revoke().secrets[0]
    assert one.cut_at is not None
    assert one.refused_at is not None
    assert one.clear_at is not None
    assert one.cut_at <= one.refused_at <= one.clear_at


def test_a_revocation_goes_on_where_the_ledger_can_not_be_written(lab: Lab, tmp_path: Path) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    site.with_a_full_ledger(tmp_path / "spool")
    assert not site.revoke().open
    waiting = (tmp_path / "spool").read_text()
    assert all(f'"action":"{action}"' in waiting for action in ("open incident", "cut", "close incident"))
    assert site.secret.first["password"] not in waiting


def test_a_rotation_stops_before_anything_is_changed_where_the_ledger_can_not_be_written(lab: Lab) -> None:
    secret = made(lab, "alternating")
    site = Site.of(lab, secret)
    before = site.record(), site.lab.current(secret)
    workspace = replace(site.workspace, ledger=Hooked(site.workspace.ledger, append=raising(UNRECORDED)))
    with pytest.raises(Unrecorded):
        rotate(workspace, secret.path, Trigger.FORCE)
    assert (site.record(), site.lab.current(secret)) == before
    assert lab.logs_in(SecretFields(secret.first))


def test_who_has_acknowledged_the_replacement_is_kept_as_after_a_rotation(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating"))
    site.revoke()
    assert site.record().history[-1].acknowledged == ("app",)


def test_a_canary_that_is_not_well_brings_no_revoked_credential_back(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "single").having(rollout={"canary": ("app",)}))
    site.begin()
    site.opened.sender.silent["app"] = Unavailable("notify", "app", "answered 503")
    with pytest.raises(NotFound, match="could be put back"):
        rotate(site.workspace, site.secret.path, Trigger.FORCE)
    assert not lab.logs_in(SecretFields(site.secret.first))
    assert lab.logs_in(lab.current(site.secret))


def test_the_record_tells_what_happened(lab: Lab) -> None:
    site = Site.of(lab, made(lab, "alternating", grace="1h"))
    site.rotated()
    site.revoke()
    stages = [past.stage for past in site.record().history]
    assert stages == [Stage.CUT, Stage.CUT, Stage.RETIRED]
