"""What `keyturn status` says of what runs on: by the leases alone, from any machine."""

from dataclasses import replace
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Denied
from keyturn.serving.leases import LeaseState, PartLease
from keyturn.serving.parts import PartHealth
from keyturn.serving.statuses import BEHIND, PartStatus, part_statuses
from keyturn.wiring.registry import open_workspace
from tests.support.lab import Lab, fresh

HELD = LeaseState("holder", "host-1", 3, PartHealth(0.4), version=9, age=2.0)


@pytest.mark.parametrize(
    ("lease", "words"),
    [
        (HELD, ""),
        (LeaseState(), "does not run, and never did: `keyturn serve` runs it"),
        (replace(HELD, age=3720.0), "does not run for 1 h 2 min, last on host-1"),
        (replace(HELD, holder="", age=90.0), "does not run for 1 min 30 s, last on host-1"),
        (replace(HELD, health=PartHealth(BEHIND + 5)), "is 2 min 5 s behind, on host-1"),
        (replace(HELD, health=PartHealth(0.0, "it can't be sealed")), "on host-1: it can't be sealed"),
    ],
)
def test_it_says_what_does_not_run_and_what_is_behind(lease: LeaseState, words: str) -> None:
    assert PartStatus("access/hub", lease).problem == words


def test_a_log_of_every_machine_is_one_part_for_each_that_has_begun_it(lab: Lab) -> None:
    name = fresh()
    posted = {"kind": "posted", "posters": {"app": {}}}
    workspace = open_workspace(Catalogue.model_validate({"access_logs": {name: posted}}), lab.hub)
    for begun in (f"{name}-1f0c33d2", f"{name}-other-log"):
        PartLease(lab.hub, f"access/{begun}", "holder", "host-1").take()
    assert [status.part for status in part_statuses(workspace)] == [f"access/{name}-1f0c33d2"]


def test_each_access_log_of_the_catalogue_ought_to_be_read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    read, unread = fresh(), fresh()
    log = {"kind": "hub-file", "log_file": "/var/log/audit.log"}
    workspace = open_workspace(Catalogue.model_validate({"access_logs": {read: log, unread: log}}), lab.hub)
    PartLease(lab.hub, f"access/{read}", "holder", "host-1").take()
    status, other = part_statuses(workspace)
    assert status.to_data() == {
        "part": f"access/{read}",
        "running": True,
        "host": "host-1",
        "lag_seconds": None,
        "problem": "",
    }
    assert (other.running, other.problem[:13]) == (False, "does not run,")

    def refuse(path: str) -> Any:
        raise Denied("read", path, "the hub denies it")

    monkeypatch.setattr(lab.hub, "read_state", refuse)
    unknown = part_statuses(workspace)
    assert {status.running for status in unknown} == {None}
    assert "unknown whether it runs: read serve/follow: the hub denies it" in [status.problem for status in unknown]
