"""A fleet: what is due is rotated, each secret on its own."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from flows.retire import retire
from flows.rotate_due import rotate_due
from keyturn.core.errors import Denied, TerminalError
from keyturn.core.overrides import Waive
from keyturn.core.ports.hub import ROTATED_AT
from keyturn.core.workspaces import WorkspaceNames
from tests.flows.runs import Installed, attempts, completed, ended, error, result
from tests.flows.site import Site
from tests.support.lab import Declared, Lab
from tests.support.prefect_server import PrefectServer

pytestmark = [pytest.mark.slow, pytest.mark.sampled(4, of="file")]

Build = Callable[..., Site]

LONG_AGO = "2020-01-01T00:00:00+00:00"


def due(lab: Lab, secret: Declared) -> Declared:
    """The same secret, as old as can be."""
    lab.hub.patch_metadata(secret.path, {ROTATED_AT: LONG_AGO})
    return secret


def test_one_due_secret_that_fails_stops_no_other(
    installed: Installed, prefect: PrefectServer, build: Build, lab: Lab
) -> None:
    turned = [due(lab, lab.alternating()), due(lab, lab.generated())]
    broken, fresh = due(lab, lab.alternating()), lab.generated()
    # Its next user is one that somebody else made: Keyturn's admin may not alter it.
    lab.sql(f"CREATE ROLE {broken.users[1]} LOGIN")
    site = build(*turned, broken, fresh)
    state = ended(rotate_due)
    failed = error(state)
    assert isinstance(failed, Denied)
    assert str(failed).startswith(f"{broken.path}, install: set the password of pg:{broken.users[1]}: the admin role")
    assert [site.version(s) for s in (*turned, broken, fresh)] == [2, 2, 1, 1]
    assert all(lab.current(s) != s.first for s in turned)

    rows = {row["secret"]: row for row in installed.rows(str(state.state_details.flow_run_id))}
    assert {path: row["state"] for path, row in rows.items()} == {
        **{one.path: "rotated" for one in turned},
        broken.path: "failed",
    }
    assert rows[broken.path]["why"] == str(failed)
    run = {"flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}}
    (everything,) = prefect.all("artifacts", artifacts=run | {"key": {"any_": ["keyturn"]}})
    listed = {row["secret"]: row for row in json.loads(everything["data"])}
    assert listed.keys() == {one.path for one in (*turned, broken, fresh)}
    assert [listed[one.path]["state"].split(",")[0] for one in turned] == ["version 2", "version 2"]
    pages = prefect.all("artifacts", artifacts=run | {"type": {"any_": ["markdown"]}})
    assert {page["key"] for page in pages} == {WorkspaceNames().secret_artifact(one.path) for one in turned}
    assert attempts(prefect, state, f"rotate {broken.path}") == {f"rotate {s.path}": 1 for s in (*turned, broken)}


def test_a_secret_that_cant_be_looked_at_stops_no_other(build: Build, lab: Lab) -> None:
    turned, unreadable = due(lab, lab.generated()), lab.generated()
    lab.hub.write_state(f"rotations/{unreadable.path}", {"rotation": {"stage": "no such stage"}, "history": []}, cas=0)
    site = build(turned, unreadable)
    failed = error(ended(rotate_due))
    assert str(failed).startswith(f"{unreadable.path}, decide: read {unreadable.path}: its record ")
    assert site.version(turned) == 2
    assert str(error(ended(retire))).startswith(f"{unreadable.path}, retire: ")


def test_a_target_without_its_limit_stops_no_other_and_says_how_to_make_it(build: Build, lab: Lab) -> None:
    turned, waiting = due(lab, lab.alternating()), due(lab, lab.alternating())
    rotation = {**waiting.data["rotation"], "target": "new"}
    waiting = dataclasses.replace(waiting, data={**waiting.data, "rotation": rotation})
    site = build(turned, waiting, targets={"new": {}})
    failed = error(ended(rotate_due))
    assert str(failed) == (
        f"{waiting.path}, rotate: take the limit keyturn-target-new: the Prefect server does not give it. "
        "Run `keyturn setup prefect --apply`, which makes one for each target"
    )
    assert [site.version(s) for s in (turned, waiting)] == [2, 1]


def test_several_failures_are_all_named(installed: Installed, build: Build, lab: Lab) -> None:
    broken = [due(lab, lab.alternating()) for _ in range(2)]
    for one in broken:
        lab.sql(f"CREATE ROLE {one.users[1]} LOGIN")
    build(*broken)
    failed = error(ended(rotate_due))
    assert type(failed) is TerminalError
    assert str(failed).startswith("rotate 2 of 2 secrets: ")
    assert all(one.path in str(failed) for one in broken)


def test_nothing_due_is_success_and_leaves_no_table(installed: Installed, build: Build, lab: Lab) -> None:
    build(lab.generated())
    assert completed(rotate_due) == 0


def test_a_look_that_finds_nothing_to_do_leaves_no_task_no_table_and_no_entry(
    installed: Installed, prefect: PrefectServer, build: Build, lab: Lab
) -> None:
    waiting, idle = due(lab, lab.alternating(grace="1h")), lab.generated()
    site = build(waiting, idle)
    assert completed(rotate_due) == 1
    ledger: Any = site.workspace.ledger
    before = len(list(ledger.leaves()))
    looks = [ended(rotate_due), ended(retire, None, Waive.NOTHING, True)]
    assert [result(look) for look in looks] == [0, []]
    assert len(list(ledger.leaves())) == before
    for look in looks:
        run = {"flow_run_id": {"any_": [str(look.state_details.flow_run_id)]}}
        assert prefect.all("artifacts", artifacts=run) == prefect.all("task_runs", task_runs=run) == []
    (kept,) = completed(retire)
    assert "its grace ends" in kept.held_by[0]
