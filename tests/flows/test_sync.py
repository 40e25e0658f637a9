"""Many copies in one run: what is shown, what fails, and that each store is on its own."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.support.common import BATCH
from flows.sync import sync
from keyturn.core.errors import TransientError
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.copies import store_status
from keyturn.rotation.state.notice_store import keep_look
from local.support.ports import free_port
from tests.flows.runs import TERMINAL, Installed, completed, ended, error
from tests.flows.site import Site
from tests.support.consumer import Consumer
from tests.support.lab import Declared, Lab, fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(4, of="file")]

Build = Callable[..., Site]


def copied(lab: Lab, *stores: str) -> Declared:
    """A secret with a copy in each of these stores."""
    return lab.generated(destinations=[{"store": store, "name": fresh()} for store in stores])


def files(tmp_path: Path, *names: str) -> dict[str, Any]:
    """Stores that are directories."""
    return {name: {"kind": "file", "directory": str(tmp_path / name)} for name in names}


def pushes(prefect: PrefectServer, run: str, expected: int) -> list[dict[str, Any]]:
    """The tasks that pushed, once the server knows how all of them ended."""
    asked = {"flow_run_id": {"any_": [run]}, "name": {"like_": "push "}}

    def told() -> list[dict[str, Any]] | None:
        tasks = prefect.all("task_runs", task_runs=asked)
        return tasks if len(tasks) >= expected and all(t["state_type"] in TERMINAL for t in tasks) else None

    return wait_for(told)


def test_many_copies_are_a_few_tasks_and_the_progress_ends_at_100(
    prefect: PrefectServer, build: Build, lab: Lab, tmp_path: Path
) -> None:
    secrets = [copied(lab, "one") for _ in range(BATCH + 5)]
    site = build(*secrets, stores=files(tmp_path, "one"))
    state = ended(sync)
    assert state.is_completed()
    run = str(state.state_details.flow_run_id)
    assert len(pushes(prefect, run, 2)) == 2
    rows = Installed(prefect, {}).rows(run)
    assert Counter(row["state"] for row in rows) == {"created": len(secrets)}
    assert all(site.served(secret, "one") == secret.first for secret in secrets[:3])

    asked = {"flow_run_id": {"any_": [run]}, "type": {"any_": ["progress"]}}
    (progress,) = prefect.all("artifacts", artifacts=asked)
    assert (float(progress["data"]), progress["description"]) == (100.0, f"{len(secrets)} copies to write, done")
    assert completed(sync) == {"in sync": len(secrets)}


def test_more_copies_than_one_process_is_for_are_pushed_by_several(
    prefect: PrefectServer, build: Build, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.sync_processes.executor.ENOUGH", 5)
    secrets = [copied(lab, "one", "two") for _ in range(10)]
    site = build(*secrets, stores=files(tmp_path, "one", "two"))
    assert completed(sync) == {"created": 20}
    assert all(site.served(secret, store) == secret.first for secret in secrets for store in ("one", "two"))


def test_a_store_that_fails_stops_no_other_and_what_is_wrong_is_named_and_remembered(
    prefect: PrefectServer, build: Build, lab: Lab, tmp_path: Path
) -> None:
    secret = copied(lab, "one", "two")
    (tmp_path / "one").write_text("a file where the directory should be")
    site = build(secret, stores=files(tmp_path, "one", "two"))
    failed = error(ended(sync))
    assert isinstance(failed, TransientError)
    assert str(failed).startswith(f"sync 1 of 2 copies: one:{site.place(secret, 'one').name} of {secret.path} (")
    assert site.served(secret, "two") == secret.first
    kept = store_status.load_store_status(site.workspace, "one")[0].failing
    assert [one.path for one in kept.values()] == [secret.path]
    (tmp_path / "one").unlink()
    assert completed(sync) == {"created": 1, "in sync": 1}
    assert not store_status.load_store_status(site.workspace, "one")[0].failing


def test_one_secret_alone_is_pushed_when_asked_for(build: Build, lab: Lab, tmp_path: Path) -> None:
    asked, other = copied(lab, "one"), copied(lab, "one")
    site = build(asked, other, stores=files(tmp_path, "one"))
    assert completed(sync, asked.path) == {"created": 1}
    assert site.workspace.open_store("one").describe(site.place(other, "one").name) is None


def test_a_newer_value_is_written_and_the_rest_left_alone(build: Build, lab: Lab, tmp_path: Path) -> None:
    changed, same = copied(lab, "one"), copied(lab, "one")
    site = build(changed, same, stores=files(tmp_path, "one"))
    completed(sync)
    lab.hub.write(changed.path, SecretFields({**changed.first, "value": "newer"}), cas=1)
    assert completed(sync) == {"in sync": 1, "updated": 1}
    assert site.served(changed, "one")["value"] == "newer"


def test_what_somebody_writes_is_told_by_the_run_which_names_who_does_not_take_it(
    prefect: PrefectServer, build: Build, lab: Lab, tmp_path: Path, consumer: Consumer
) -> None:
    place = {"store": "one", "name": fresh()}
    secret = lab.generated(consumers=["app", "gone"], destinations=[place])
    lab.keep("webhooks/gone", {"key": f"whsec_{fresh()}"})
    gone = {"url": f"http://127.0.0.1:{free_port()}", "signing_key": "webhooks/gone", "timeout": "1s"}
    site = build(secret, stores=files(tmp_path, "one"), consumers={"gone": gone})
    keep_look(site.workspace, site.workspace.hub.now() + timedelta(seconds=1))
    completed(sync)
    written = lab.hub.write(secret.path, SecretFields({**secret.first, "value": "by hand"}), cas=1)
    state = ended(sync)
    failed = error(state)
    assert isinstance(failed, TransientError)
    assert str(failed).startswith(f"notify 1 consumers: gone of {secret.path} (notify gone: ")
    assert consumer.versions(secret.path) == [written]
    rows = Installed(prefect, {}).rows(str(state.state_details.flow_run_id))
    assert {row["copy"]: row["state"] for row in rows if row["copy"] == "app"} == {"app": "acknowledged"}
    assert site.served(secret, "one")["value"] == "by hand"
