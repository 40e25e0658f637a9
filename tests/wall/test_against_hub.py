"""Comparing the ledger with the hub reveals changes that have no ledger entry."""

import dataclasses
from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.core.errors import Denied
from keyturn.core.issued_tokens import IssuedToken
from keyturn.core.ports.hub import ENTRIES, HubSecret, entries_by_version, with_entry
from keyturn.core.ports.ledger import Outcome
from keyturn.core.schedule.facts import Trigger
from keyturn.ledger.against_hub import HubComparison, HubToCompare, compare_with_hub
from keyturn.ledger.naming import read_name
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.rotation.run import rotate
from keyturn.wiring.ledger import configured_ledger, named_ledger
from tests.ledger.entries import entries, entry
from tests.support.lab import Lab, Opened, fresh


@dataclasses.dataclass
class Rotated:
    """A secret that was rotated, so that its version 2 is told by a ledger of its own."""

    lab: Lab
    opened: Opened
    path: str
    env: dict[str, str]

    def compare(
        self, *, ledgers: Collection[str] | None = None, later: timedelta = timedelta(minutes=5)
    ) -> HubComparison:
        """As it is found some minutes later, when nothing can be under way any more."""
        name, _ = read_name(self.lab.hub)
        assert name
        known = [name.origin] if ledgers is None else ledgers
        now = datetime.now(UTC) + later
        there = HubToCompare(self.lab.hub, [self.path], self.opened.workspace.fingerprint, known, now)
        with closing(configured_ledger(self.env)) as ledger:
            return compare_with_hub(ledger, there)

    def problems(self) -> str:
        return "; ".join(map(str, self.compare().problems))

    def write(self, **fields: str) -> int:
        """What somebody writes who has a login to the hub, and does not say so."""
        current = self.lab.hub.read(self.path)
        assert current
        return self.lab.hub.write(self.path, current.fields.merged(fields), cas=current.version)


@pytest.fixture
def rotated(lab: Lab, tmp_path: Path) -> Rotated:
    env = {"KEYTURN_LEDGER": str(tmp_path / "ledger.db"), "KEYTURN_LEDGER_NAME": fresh()}
    ledger = named_ledger(env, lab.hub)
    ledger.append(entries(1))
    secret = lab.generated()
    opened = lab.open(secret)
    opened.workspace = dataclasses.replace(opened.workspace, ledger=ledger, clock=lambda: datetime.now(UTC))
    made = Rotated(lab, opened, secret.path, env)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    return made


def test_a_version_that_keyturn_wrote_names_its_ledger_and_entry(rotated: Rotated) -> None:
    info = rotated.lab.hub.describe(rotated.path)
    assert info
    ledger, number = entries_by_version(info.custom)[2]
    assert ledger == f"keyturn/{rotated.env['KEYTURN_LEDGER_NAME']}"
    with closing(configured_ledger(rotated.env)) as stored:
        assert f'"secret":"{rotated.path}"'.encode() in next(leaf for _, leaf in stored.leaves(number, number))
    comparison = rotated.compare()
    assert [str(problem) for problem in comparison.problems if "version 1" not in str(problem)] == []
    assert comparison.unseen == ()


def test_an_incident_without_an_opening_entry_is_reported(rotated: Rotated) -> None:
    workspace = rotated.opened.workspace
    now = datetime.now(UTC)
    note = "INC-1: leaked (a/b, replace)"
    workspace.ledger.append(
        [dataclasses.replace(entry(9), time=now, action="open incident", outcome=Outcome.BEGUN, note=note)]
    )
    opened = {"INC-1": now, "INC-2": now, "INC-0": now - timedelta(days=9000), "INC-3": now + timedelta(hours=1)}
    there = HubToCompare(
        rotated.lab.hub, [rotated.path], workspace.fingerprint, [], now + timedelta(minutes=5), opened=opened
    )
    with closing(configured_ledger(rotated.env)) as ledger:
        problems = [problem.what for problem in compare_with_hub(ledger, there).problems]
    assert [what for what in problems if "INC" in what] == [
        f"the incident INC-2 of {now:%Y-%m-%d %H:%M:%S} UTC is in the hub, and in no entry"
    ]


def test_a_version_without_a_ledger_entry_is_reported(rotated: Rotated) -> None:
    assert rotated.write(value="by hand") == 3
    assert f"version 3 of {rotated.path}" in rotated.problems()
    assert "is in the hub, and no entry records it" in rotated.problems()


def test_a_version_that_is_being_written_is_no_finding(rotated: Rotated) -> None:
    rotated.write(value="by hand")
    now = [str(problem) for problem in rotated.compare(later=timedelta(0)).problems]
    assert not [problem for problem in now if "version 3" in problem]


def test_a_version_that_names_a_missing_entry_is_reported(rotated: Rotated) -> None:
    rotated.write(value="by hand")
    ledger = f"keyturn/{rotated.env['KEYTURN_LEDGER_NAME']}"
    for place in (f"{ledger} 9999", f"{ledger} 1", "nonsense"):
        rotated.lab.hub.patch_metadata(rotated.path, {ENTRIES: f"3 {place}"})
        assert "version 3" in rotated.problems()
    rotated.lab.hub.patch_metadata(rotated.path, {ENTRIES: "3 keyturn/elsewhere 2"})
    assert "was done under another ledger, keyturn/elsewhere" in rotated.problems()


def test_a_process_that_died_before_its_final_entry_is_found_by_its_intent(
    rotated: Rotated,
) -> None:
    rotated.write(value="half done")
    with closing(SqliteLedger(Path(rotated.env["KEYTURN_LEDGER"]), "", patience=5)) as ledger:
        rows = [
            sequence
            for sequence, leaf in ledger.leaves()
            if b'"outcome":"begun"' in leaf and rotated.path.encode() in leaf
        ]
    rotated.lab.hub.patch_metadata(rotated.path, {ENTRIES: f"3 keyturn/{rotated.env['KEYTURN_LEDGER_NAME']} {rows[0]}"})
    assert "version 3" not in rotated.problems()


def test_a_hub_restored_from_a_snapshot_lacks_recorded_versions(rotated: Rotated) -> None:
    rotate(rotated.opened.workspace, rotated.path, Trigger.FORCE, end_previous=True)
    root = rotated.lab.root.secrets.kv.v2
    first = rotated.lab.hub.read(rotated.path, 1)
    assert first
    root.delete_metadata_and_all_versions(rotated.path)
    rotated.lab.hub.write(rotated.path, first.fields, cas=0)
    assert f"records version 3 of {rotated.path}, and the hub's newest is 1" in rotated.problems()


def test_a_removed_secret_is_reported(rotated: Rotated) -> None:
    rotated.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(rotated.path)
    assert "the hub has none of it" in rotated.problems()


@pytest.mark.parametrize("how", ["deleted", "destroyed"])
def test_a_removed_version_is_reported(rotated: Rotated, how: str) -> None:
    (rotated.lab.hub.delete if how == "deleted" else rotated.lab.hub.destroy)(rotated.path, [2])
    assert f"version 2 of {rotated.path} is {how} in the hub, and no entry records that" in rotated.problems()


def test_a_changed_value_of_the_promoted_version_is_reported(rotated: Rotated) -> None:
    """As after a snapshot, and one more write by hand that makes up for the number."""
    root = rotated.lab.root.secrets.kv.v2
    first = rotated.lab.hub.read(rotated.path, 1)
    assert first
    root.delete_metadata_and_all_versions(rotated.path)
    for cas in (0, 1):
        rotated.lab.hub.write(rotated.path, first.fields.merged({"value": f"other {cas}"}), cas=cas)
    assert f"version 2 of {rotated.path} holds another value than entry" in rotated.problems()


def test_what_can_not_be_read_is_reported_and_never_as_correct(
    rotated: Rotated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str, version: int | None = None) -> HubSecret | None:
        raise Denied("read", path, "the hub denies it")

    monkeypatch.setattr(rotated.lab.hub, "read", refused)
    assert rotated.compare().unseen == (f"{rotated.path}: the hub denies it",)


def test_the_metadata_keeps_as_many_entries_as_fit() -> None:
    custom: dict[str, str] = {}
    for version in range(1, 200):
        custom = {ENTRIES: with_entry(custom, version, f"keyturn/db.example.com/keyturn_ledger {version * 1000}")}
        assert len(custom[ENTRIES].encode()) <= 512
    named = entries_by_version(custom)
    assert max(named) == 199
    assert len(named) > 5
    assert named[199] == ("keyturn/db.example.com/keyturn_ledger", 199_000)
    assert entries_by_version({ENTRIES: ";;x; 1; 2 a; 3 a b; 4 keyturn/x 5"}) == {4: ("keyturn/x", 5)}


def test_an_unrecorded_token_is_reported_and_a_brand_new_one_is_not(rotated: Rotated) -> None:
    now, named = datetime.now(UTC), "AbC123"
    note = f"AR-1: database/creds/reports until later; policy reports, token {named}"
    given = dataclasses.replace(entry(9), time=now, action="give access", outcome=Outcome.DONE, note=note)
    claimed = dataclasses.replace(entry(10), time=now, action="ask for access", note="AR-2: reports, token forged")
    rotated.opened.workspace.ledger.append([given, claimed])
    tokens = [
        IssuedToken("auth/token/create/keyturn-grant/recorded", now, named),
        IssuedToken("auth/token/create/keyturn-grant/forged", now, "forged"),
        IssuedToken("auth/token/create/keyturn-lease/minted", now),
        IssuedToken("auth/token/create/keyturn-lease/new", now + timedelta(minutes=5)),
        IssuedToken("auth/token/create/keyturn-lease/before", now - timedelta(days=9000)),
    ]
    there = HubToCompare(
        rotated.lab.hub, [], rotated.opened.workspace.fingerprint, [], now + timedelta(minutes=5), tokens=tokens
    )
    with closing(configured_ledger(rotated.env)) as ledger:
        problems = [problem.what for problem in compare_with_hub(ledger, there).problems if "token" in problem.what]
    assert [problem.split(",")[0].rpartition("/")[2] for problem in problems] == ["forged", "minted"]
