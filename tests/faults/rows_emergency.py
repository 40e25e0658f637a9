"""What people break before they revoke: the catalogue, the database, the hub. No revocation is refused for it."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import pytest

from keyturn.catalogue import load_catalogue
from keyturn.core.errors import Missing
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.revocation import run
from keyturn.revocation.incidents.incident import IncidentStatus
from keyturn.rotation.repair.recover import choose, recover
from keyturn.rotation.repair.recoverable_values import RECORD, values
from keyturn.rotation.run import rotate
from keyturn.wiring.registry import open_workspace
from tests.crash.site import Site
from tests.faults.by_hand import disable_by_hand, opened
from tests.faults.doings import doing, situation
from tests.faults.operators import STORE, Case
from tests.rotation.helpers import worker
from tests.support.lab import catalogue_data

OTHER: Final[dict[str, Any]] = {
    "owner": "other@example.com",
    "classification": "internal",
    "rotation": {"strategy": "generated", "interval": "30d", "grace": "1h"},
}
FAR: Final = {"kind": "postgresql", "host": "${KEYTURN_FAR_HOST}", "database": "far", "admin": "targets/far"}


def catalogue_of(case: Case) -> dict[str, Any]:
    """The case's catalogue as its files have it."""
    data = catalogue_data(case.site.lab.world, (case.secret,), case.site.store, {})
    for entry in data["secrets"].values():
        del entry["path"]
    return data


def open_files(case: Case, data: dict[str, Any], **others: str) -> None:
    """Work with what a revocation loads of these files."""
    directory = Path(mkdtemp(dir=Path(case.site.lab.world.log).parent))
    for name, text in {"all": json.dumps(data), **others}.items():
        (directory / f"{name}.yaml").write_text(text)
    catalogue = load_catalogue(directory, {}, despite_policy=True, lenient=True)
    case.workspace = replace(open_workspace(catalogue, case.site.lab.hub), clock=case.clock)


def finish(case: Case, status: IncidentStatus) -> IncidentStatus:
    return run.finish(replace(case.workspace, sleep=lambda seconds: None), status.incident.id)


def assert_ended(case: Case, status: IncidentStatus) -> None:
    """The leaked credential is over, whatever is left to prove."""
    assert not case.kind.refuses or not case.lives(case.known[0]), status.left
    case.assert_serving()


@doing("break another secret's entry, then revoke")
def another_entry_broken(case: Case) -> None:
    data = catalogue_of(case)
    data["secrets"]["other/broken"] = {**OTHER, "rotation": {"strategy": "generated", "interval": "30d"}}
    open_files(case, data)
    status = case.revoke()
    assert not status.open, status.left
    assert "other/broken" in status.incident.left_out[0]


@doing("leave a variable of another target unset, then revoke")
def another_variable_unset(case: Case) -> None:
    data = catalogue_of(case)
    data["targets"]["far"] = FAR
    open_files(case, data)
    status = case.revoke()
    assert not status.open, status.left
    assert "KEYTURN_FAR_HOST is not set" in status.incident.left_out[0]


@doing("write broken YAML into another file, then revoke")
def another_file_broken(case: Case) -> None:
    open_files(case, catalogue_of(case), broken="syncs:\n  all: [\n")
    status = case.revoke()
    assert status.open, "a file that could not be parsed may declare another copy"
    assert any("broken.yaml" in left for left in status.left)
    assert_ended(case, status)
    open_files(case, catalogue_of(case))
    assert not finish(case, status).open


@doing("break the settings of its store, then revoke")
def own_store_broken(case: Case) -> None:
    data = catalogue_of(case)
    served = case.copy()
    data["stores"][STORE] = {**data["stores"][STORE], "region": "${KEYTURN_FAR_HOST}"}
    open_files(case, data)
    status = case.revoke()
    assert status.open, "the copy still serves what has leaked"
    assert any("destinations[0]" in left for left in status.left)
    assert case.copy() == served
    assert not case.kind.refuses or not case.lives(case.known[0]), status.left
    open_files(case, catalogue_of(case))
    assert not finish(case, status).open
    case.assert_right()


@doing(
    "disable its accounts with the commands that Keyturn shows, revoke later",
    without=("vault-dynamic, PostgreSQL", "aws-iam-key", "generated"),
)
def disabled_by_hand(case: Case) -> None:
    with opened(case) as works:
        disable_by_hand(case)
        assert not works()
    assert not case.lives(case.known[0])
    assert not case.revoke().open
    case.assert_right()


@situation("destroy CURRENT while a single user's new password is pending")
def current_destroyed_while_pending(site: Site) -> None:
    lab = site.lab
    secret = lab.single()
    run = worker(lab, secret)
    run.verified()
    assert not lab.logs_in(secret.first), "one password, and the target has the new one"
    lab.root.secrets.kv.v2.destroy_secret_versions(path=secret.path, versions=[1])
    for trigger in (Trigger.SCHEDULE, Trigger.FORCE):
        with pytest.raises(Missing, match=f"keyturn repair recover {secret.path}"):
            rotate(run.workspace, secret.path, trigger)
    held = values(run.workspace, secret.path)
    chosen = choose(held)
    assert (chosen.place, chosen.lives, chosen.bare) == (RECORD, True, True)
    assert recover(run.workspace, held, chosen).tried
    assert lab.logs_in(lab.current(secret))
    rotation = run.record().rotation
    assert rotation is not None
    assert rotation.stage is Stage.PROMOTED
    rotate(run.workspace, secret.path, Trigger.FORCE)
    assert lab.logs_in(lab.current(secret))
