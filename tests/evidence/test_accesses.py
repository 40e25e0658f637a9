"""Who read what: the same from the trail as from the events themselves, and who is named for it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyturn.access_log.trail.merging import merge_trail
from keyturn.catalogue import Catalogue
from keyturn.core.errors import Unavailable
from keyturn.core.ports.access import READ, Access, Coverage
from keyturn.core.ports.hub import Identity
from keyturn.evidence.accesses import HourlyTrail, able_by_policy, extract_accesses
from keyturn.evidence.facts import AccessExtract, Period
from tests.access_log.trail.events import NOON, write
from tests.access_log.trail.test_investigation import DAY

PERIOD = Period(NOON - timedelta(days=1), NOON + timedelta(minutes=11))
"""Without what happened at its end."""

SECRET = {
    "owner": "ml@example.com",
    "rotation": {"strategy": "generated", "interval": "30d", "grace": "1h"},
    "consumers": ["trainer"],
}
DECLARED = {
    "secrets": {
        "ml/db": {**SECRET, "path": "ml/db", "classification": "confidential"},
        "ml/key": {**SECRET, "path": "ml/key", "classification": "restricted", "consumers": []},
    },
    "monitors": {"ana": {"paths": ["ml/key"], "readers": ["userpass-a*"]}},
}


class Events:
    """A log that tells each event."""

    name = "events"
    coverage = Coverage()

    def accesses(self, since: datetime, until: datetime) -> Iterator[Access]:
        return (event for event in DAY if since <= event.at <= until and event.action == READ)


class Broken:
    """A log that breaks off."""

    name = "broken"
    coverage = Coverage()

    def accesses(self, since: datetime, until: datetime) -> Iterator[Access]:
        yield from Events().accesses(since, until)
        raise Unavailable("read", "broken", "it is away", "Wait")


def extracted(*logs: Any) -> AccessExtract:
    """What these logs tell of the two secrets."""
    catalogue = Catalogue.model_validate(DECLARED)
    hub = SimpleNamespace(identity=lambda: Identity("approle", "", "1f2e", "auth/approle/login", "keyturn-worker"))
    workspace = cast("Any", SimpleNamespace(catalogue=catalogue, hub=hub))
    return extract_accesses(workspace, PERIOD, catalogue.secrets, logs, {"ml/db": ("policy ops",)})


@pytest.mark.parametrize("merged", [False, True])
def test_the_trail_tells_what_its_events_tell(tmp_path: Path, merged: bool) -> None:
    for number, events in enumerate((DAY, [], [], [])):
        write(tmp_path, number, events)
    if merged:
        assert merge_trail(tmp_path, datetime.fromisoformat("2099-01-01T00:00:00Z"))
    trail, events_alone = extracted(HourlyTrail(tmp_path)), extracted(Events())
    assert trail.readers == events_alone.readers
    assert trail.hours == events_alone.hours
    assert sum(trail.hours.values()) == sum(reader.reads for reader in trail.readers) > 0
    assert {hour for hour, _ in trail.hours} == {12}
    assert trail.logs[0].name == f"access trail {tmp_path}"


def test_who_reads_is_named_by_the_catalogue_or_by_a_monitor() -> None:
    readers = {(reader.secret, reader.principal): reader for reader in extracted(Events()).readers}
    assert readers["ml/key", "userpass-ana"].expected
    assert not readers["ml/db", "userpass-ana"].expected
    assert {principal for (_, principal), reader in readers.items() if reader.own} <= {"approle keyturn-worker"}
    assert all(
        reader.expected for (path, _), reader in readers.items() if path == "ml/db" and "trainer" in reader.principal
    )


def test_who_may_read_is_told_by_the_catalogue_and_by_the_policies_that_could_be_read() -> None:
    able = extracted().able
    assert able["ml/db"] == ("keyturn-revoker", "keyturn-worker", "policy ops", "trainer")
    assert able["ml/key"] == ("keyturn-revoker", "keyturn-worker")


def test_a_policy_lets_read_what_its_rules_say_and_one_that_nobody_understands_may_let_read_anything() -> None:
    texts = {"ops": 'path "secret/data/ml/d*" { capabilities = ["read"] }', "odd": "path {", "none": ""}
    hub = SimpleNamespace(acl_policies=lambda: texts, address=lambda kind, path: f"secret/{kind}/{path}")
    able = able_by_policy(cast("Any", SimpleNamespace(hub=hub)), ["ml/db", "ml/key"])
    odd = "policy odd, which can't be understood"
    assert able == {"ml/db": ("policy ops", odd), "ml/key": (odd,)}


def test_a_log_that_breaks_off_is_said_to(tmp_path: Path) -> None:
    broken, nowhere = extracted(Broken(), HourlyTrail(tmp_path / "nowhere")).logs
    assert "it is away" in broken.failed
    assert "there is no such directory" in nowhere.failed
