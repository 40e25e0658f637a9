"""A look at many secrets reads the records that were written since the last look, and misses nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keyturn.core.errors import Denied
from keyturn.core.overrides import Waive
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.candidates import ROTATIONS
from keyturn.rotation.decide import Sighting, sight
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state import quiet_period as quiet
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.quiet_period import QUIET, list_secrets, listed_records
from tests.rotation.helpers import worker
from tests.support.hooks import Hooked, Replaced, raising
from tests.support.lab import INTERVAL, Declared, Lab

pytestmark = pytest.mark.sampled(9, of="file")


class Looking:
    """Looks at many secrets, and what each of them read."""

    def __init__(self, lab: Lab, *secrets: Declared) -> None:
        self.lab, self.secrets = lab, secrets
        self.opened = lab.open(*secrets)
        self.read: list[str] = []
        hub = Hooked(self.opened.workspace.hub, read_state=lambda path: self.read.append(path))
        self.workspace: Workspace = replace(self.opened.workspace, hub=hub)

    def look(self) -> dict[str, Sighting]:
        """One look of rotate-due."""
        self.read.clear()
        with list_secrets(self.workspace, quiet.FEW + 1) as listing:
            assert listing is not None
            return {one.path: sight(self.workspace, one.path, listing) for one in self.secrets}

    def unretired(self) -> list[str]:
        """One look of retire."""
        self.read.clear()
        with listed_records(self.workspace, quiet.FEW + 1) as record:
            return [one.path for one in self.secrets if record(one.path).retiring]

    @property
    def records(self) -> set[str]:
        """The secrets whose records the last look read."""
        return {path.removeprefix(f"{ROTATIONS}/") for path in self.read if path.startswith(f"{ROTATIONS}/")}


@pytest.fixture
def looking(lab: Lab) -> Looking:
    """Three secrets, each rotated once and settled; one look has seen them."""
    looks = Looking(lab, *(lab.generated() for _ in range(3)))
    for one in looks.secrets:
        rotate(looks.opened.workspace, one.path, Trigger.FORCE)
        retire(looks.opened.workspace, one.path, Waive.EVERYTHING)
    assert not [one for one in looks.look().values() if one.work]
    assert looks.records == {one.path for one in looks.secrets}
    return looks


def test_what_was_quiet_is_not_read_again_and_is_due_all_the_same(looking: Looking) -> None:
    assert not [one for one in looking.look().values() if one.work]
    assert looking.records == set()
    looking.lab.hub.patch_metadata(looking.secrets[1].path, {"keyturn-rotated-at": "2020-01-01T00:00:00+00:00"})
    found = looking.look()
    assert [found[one.path].work for one in looking.secrets] == [False, True, False]
    assert looking.records == set()


def test_a_rotation_that_another_run_left_open_or_promoted_is_found_by_the_next_look(looking: Looking) -> None:
    first, second, third = looking.secrets
    worker(looking.lab, first).staged()
    worker(looking.lab, second).promoted()
    found = looking.look()
    assert (found[first.path].work, found[third.path].work) == (True, False)
    assert looking.records == {first.path, second.path}
    assert looking.unretired() == [second.path]
    assert looking.unretired() == [second.path]
    assert looking.records == {first.path, second.path}
    retire(looking.opened.workspace, second.path, Waive.EVERYTHING)
    assert looking.unretired() == []


def test_a_record_that_was_removed_and_written_anew_under_the_same_number_is_read(looking: Looking) -> None:
    path = looking.secrets[0].path
    before = worker(looking.lab, looking.secrets[0]).record()
    left = worker(looking.lab, looking.secrets[0]).promoted().record
    looking.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(f"{ROTATIONS}/{path}", mount_point="keyturn")
    for version in range(before.version):
        looking.lab.hub.write_state(f"{ROTATIONS}/{path}", left.to_data(), cas=version)
    assert looking.unretired() == [path]


def test_a_record_that_was_prepared_and_never_written_is_none(lab: Lab) -> None:
    looks = Looking(lab, lab.generated())
    path = looks.secrets[0].path
    lab.root.secrets.kv.v2.update_metadata(f"{ROTATIONS}/{path}", max_versions=1, mount_point="keyturn")
    assert looks.unretired() == []
    assert looks.records == set()


def test_a_secret_that_serves_nothing_has_its_whole_record_read(looking: Looking) -> None:
    path = looking.secrets[2].path
    looking.lab.root.secrets.kv.v2.delete_latest_version_of_secret(path, mount_point="secret")
    looking.look()
    assert looking.records == {path}


@pytest.mark.parametrize("spoil", [lambda data: {}, lambda data: {**data, "quiet": "nonsense"}, lambda data: {"of": 1}])
def test_what_is_remembered_may_be_lost_or_nonsense(looking: Looking, spoil: Callable[[dict[str, Any]], Any]) -> None:
    for part in range(quiet.PARTS):
        state = looking.lab.hub.read_state(f"{QUIET}/{part}")
        if state:
            looking.lab.hub.write_state(f"{QUIET}/{part}", spoil(state.data), cas=state.version)
    assert not [one for one in looking.look().values() if one.work]
    assert looking.records == {one.path for one in looking.secrets}
    looking.look()
    assert looking.records == set()


def test_each_record_is_read_once_a_day(looking: Looking) -> None:
    seen = set[str]()
    for _ in range(24):
        looking.opened.clock.advance(timedelta(hours=1))
        looking.look()
        assert not seen & looking.records
        seen |= looking.records
    assert seen == {one.path for one in looking.secrets}


def test_a_hub_whose_listings_tell_names_alone_has_each_record_read(looking: Looking) -> None:
    hub = Replaced(looking.workspace.hub, newest_states=lambda prefix: None)
    looking.workspace = replace(looking.workspace, hub=hub)
    assert not [one for one in looking.look().values() if one.work]
    assert looking.records == {one.path for one in looking.secrets}


def test_whoever_may_not_remember_looks_all_the_same(looking: Looking) -> None:
    looking.opened.clock.advance(timedelta(days=1))
    refusing = Hooked(looking.workspace.hub, write_state=raising(Denied("write", "keyturn/quiet", "the hub denies it")))
    looking.workspace = replace(looking.workspace, hub=refusing)
    for _ in range(2):
        assert looking.unretired() == []
        assert looking.records == {one.path for one in looking.secrets}


def test_what_is_frozen_or_refused_is_not_quiet_and_who_acknowledged_is_remembered(lab: Lab) -> None:
    secret = lab.generated(consumers=("app",))
    looks = Looking(lab, secret)
    app = {"app": {"url": "http://localhost/app", "signing_key": "webhooks/app"}}
    looks.opened = lab.open(secret, consumers=app)
    rotate(looks.opened.workspace, secret.path, Trigger.FORCE)
    record = worker(lab, secret, consumers=app).record()
    assert not quiet.is_quiet(record)
    retire(looks.opened.workspace, secret.path, Waive.EVERYTHING)
    settled = worker(lab, secret, consumers=app).record()
    assert quiet.is_quiet(settled)
    assert not quiet.is_quiet(replace(settled, frozen="INC-1"))
    past = replace(settled.history[-1], stage=Stage.ABANDONED, refused=True)
    assert not quiet.is_quiet(replace(settled, history=(past,)))
    hub = looks.workspace.hub
    looks.workspace = replace(looks.opened.workspace, hub=hub)
    for _ in range(2):
        with list_secrets(looks.workspace, quiet.FEW + 1) as listing:
            assert listing is not None
            assert listing.acknowledged(secret.path, listing.load(secret.path)) == quiet.Acknowledged(2, ("app",))
    kept = [lab.hub.read_state(f"{QUIET}/{part}") for part in range(quiet.PARTS)]
    assert any(secret.path in one.data.get("quiet", "") for one in kept if one)
    looks.opened.clock.advance(INTERVAL)
    assert looks.look()[secret.path].work
