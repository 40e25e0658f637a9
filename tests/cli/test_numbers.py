"""Metrics of `keyturn serve` from a real hub, and their cost with thousands of secrets."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.cli.running import numbers
from keyturn.cli.running.numbers import OTHERS, grouped, looks_of
from keyturn.cli.secrets.copies import CopyStatus
from keyturn.cli.secrets.secret_status import SecretStatus
from keyturn.client.metrics import Samples
from keyturn.core.errors import Denied, Unavailable
from keyturn.core.plan import Action, Item
from keyturn.core.ports.backups import RESTORED
from keyturn.core.ports.restored import RestoredMark, mark_recovered
from keyturn.rotation.repair.recover import choose, recover
from keyturn.rotation.repair.recoverable_values import values
from keyturn.rotation.run import rotate
from keyturn.serving.numbers.board import Numbers
from keyturn.serving.numbers.displayed import SHOWN, Area
from tests.rotation.helpers import with_copy
from tests.support.lab import Lab, Opened

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def opened(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Opened:
    """One secret that was rotated today and pushed, another that is a day older than it may be; an unsigned ledger."""
    monkeypatch.setenv("KEYTURN_LEDGER", str(tmp_path / "ledger.db"))
    young = with_copy(lab.generated()).having(owner="ana", classification="internal", maximum_age="60d")
    old = lab.generated().having(owner="bea", classification="restricted", interval="20d", maximum_age="30d")
    opened = lab.open(young, old)
    opened.clock.advance(31 * DAY)
    rotate(opened.workspace, young.path)
    return opened


def owned(opened: Opened, owner: str) -> str:
    return next(path for path, secret in opened.workspace.catalogue.secrets.items() if secret.owner == owner)


def every(opened: Opened, *, per_secret: bool = False) -> Mapping[Area, Numbers]:
    looks = looks_of(lambda: opened.workspace, per_secret=per_secret)
    return {area: look() for area, look in looks.items()}


def test_each_area_tells_numbers_that_are_declared_for_it(opened: Opened) -> None:
    seen = every(opened, per_secret=True)
    assert set(seen) == set(Area)
    declared = {(number.area, number.name): len(number.labels) for number in SHOWN}
    for area, told in seen.items():
        for name, samples in {**told.samples, **told.distributions}.items():
            assert {len(labels) for labels in samples} <= {declared[area, name]}, name


def test_a_secret_that_is_too_old_is_late_in_its_group_and_by_its_path(opened: Opened) -> None:
    told = every(opened, per_secret=True)[Area.SECRETS].samples
    late, fresh = ("bea", "restricted"), ("ana", "internal")
    assert told["secrets"] == {late: 1, fresh: 1}
    assert told["secrets_late"] == {late: 1, fresh: 0}
    assert told["secrets_due"] == {late: 1, fresh: 0}
    assert told["secrets_unknown"] == {late: 0, fresh: 0}
    assert told["secret_age_ratio"][late] == pytest.approx(31 / 30, abs=0.01)
    assert told["secret_age_ratio"][fresh] < 0.01
    assert told["secret_max_age_seconds"][owned(opened, "bea"),] == 30 * DAY.total_seconds()
    assert told["secret_age_seconds"][owned(opened, "bea"),] == pytest.approx(31 * DAY.total_seconds(), abs=60)
    assert told["secret_late"] == {(owned(opened, "bea"),): 1.0, (owned(opened, "ana"),): 0.0}


@pytest.mark.attack
def test_paths_are_in_metrics_only_on_request(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    by_path = {number.name for number in SHOWN if "path" in number.labels}
    look = looks_of(lambda: opened.workspace)[Area.SECRETS]
    assert not by_path & look().samples.keys()
    monkeypatch.setattr(numbers, "MOST_PATHS", 1)
    assert not by_path & looks_of(lambda: opened.workspace, per_secret=True)[Area.SECRETS]().samples.keys()


def test_copies_and_rotations_and_what_nobody_has_signed_are_told(opened: Opened) -> None:
    before = every(opened)[Area.LEDGER].samples
    rotate(opened.workspace, owned(opened, "bea"))
    seen = every(opened)
    assert seen[Area.COPIES].samples["copies"] == {("memory", "in sync"): 1}
    after = seen[Area.LEDGER].samples

    def more(name: str, *labels: str) -> float:
        return after[name][labels] - before[name].get(labels, 0)

    assert more("rotations", "promoted") == 1
    assert more("rotations", "failed") == 0
    assert seen[Area.LEDGER].distributions["rotation_duration_seconds"][()].count >= 1
    unsigned = seen[Area.SIGNATURES].samples
    assert unsigned["ledger_unsigned_entries"][()] == after["ledger_entries"][()] > 0
    assert "ledger_checkpoint_age_seconds" not in unsigned
    assert seen[Area.INCIDENTS].samples["incidents_open"][()] >= 0
    assert seen[Area.KEYS].samples["fingerprint_key_age_seconds"][()] > 0


def test_a_hub_that_is_behind_is_told_by_how_many_secrets_and_by_nothing_where_nobody_could_look(
    opened: Opened, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, path = looks_of(lambda: opened.workspace)[Area.COPIES], owned(opened, "ana")
    assert look().samples["secrets_behind"] == {(): 0}
    lab.root.secrets.kv.v2.delete_metadata_and_all_versions(path)
    lab.root.secrets.kv.v2.create_or_update_secret(path, {"password": "of before"})
    assert look().samples["secrets_behind"] == {(): 1}

    def down(*_: Any) -> Any:
        raise Unavailable("read", "the ledger", "it does not answer", "Wait")

    with monkeypatch.context() as patch:
        patch.setattr(type(opened.workspace.ledger), "newest_versions", down)
        assert look().samples["secrets_behind"] == {(): 1}, "the copy tells of it"
        found = values(opened.workspace, path)
        recover(opened.workspace, found, choose(found, untested=True))
        assert "secrets_behind" not in look().samples, "the ledger may know of others"
    assert look().samples["secrets_behind"] == {(): 0}


def test_a_restored_hub_is_told_until_it_was_recovered(opened: Opened, lab: Lab) -> None:
    look = looks_of(lambda: opened.workspace)[Area.HUB]
    assert look().samples["hub_to_recover"] == {(): 0}
    mark = RestoredMark("20260301T120000Z-0a1b2c3d", 0, lab.hub.now(), lab.hub.now(), whole=True)
    try:
        lab.keep(RESTORED, mark.to_data())
        assert look().samples["hub_to_recover"] == {(): 1}
        mark_recovered(lab.hub, mark, lab.hub.now())
        assert look().samples["hub_to_recover"] == {(): 0}
    finally:
        lab.hub.delete_state(RESTORED)


def test_a_hub_that_tells_of_no_secret_hides_the_area(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> Any:
        raise Unavailable("read", "the hub", "it does not answer", "Wait")

    monkeypatch.setattr("keyturn.cli.secrets.secret_status.secret_status", down)
    with pytest.raises(Unavailable):
        looks_of(lambda: opened.workspace)[Area.SECRETS]()


@pytest.mark.parametrize(
    ("action", "kind", "state"),
    [
        (Action.IN_SYNC, "", "in sync"),
        (Action.UPDATE, "", "behind"),
        (Action.DRIFTED, "", "drifted"),
        (Action.AHEAD, "", "conflict"),
        (Action.BLOCKED, "Invalid", "blocked"),
        (Action.BLOCKED, Unavailable.__name__, "unknown"),
        (Action.BLOCKED, Denied.__name__, "unknown"),
    ],
)
def test_a_copy_that_nobody_could_look_at_is_unknown(action: Action, kind: str, state: str) -> None:
    assert numbers.copy_state(CopyStatus(Item(action, "a", "store", "name", kind=kind))) == state


def test_of_many_owners_the_largest_are_told_apart_and_no_secret_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "MOST_GROUPS", 2)
    owners = ["many", "many", "few", "few", "one", "other"]

    class Declared:
        def secret(self, path: str) -> Any:
            return type("Secret", (), {"owner": owners[int(path)], "classification": "internal"})

    workspace: Any = type("Workspace", (), {"catalogue": Declared()})
    statuses = [SecretStatus(str(at), NOW) for at in range(len(owners))]
    told: Samples = numbers.count_in(grouped(workspace, statuses), lambda status: True)
    assert told == {("many", "internal"): 2, ("few", "internal"): 2, (OTHERS, OTHERS): 2}
