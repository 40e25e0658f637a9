"""Rotating one secret through its Prefect deployment and worker, with retries and failures."""

import re
import secrets
from collections.abc import Callable, Collection
from typing import Any

import boto3
import pytest
from prefect.assets import Asset

from flows.retire import retire
from flows.rotate import rotate_secret
from flows.support.lineage import asset
from flows.sync import sync
from keyturn.core.errors import TransientError
from keyturn.core.rotation_record import Record, Rotation, Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.core.workspaces import WorkspaceNames
from keyturn.rotation.outcome import RunState
from keyturn.rotation.state.record_store import save
from tests.flows.gate import Door, Gate
from tests.flows.runs import Installed, attempts, completed, ended, error, logged, messages, once_retrying, result
from tests.flows.site import Architect, Site, destination
from tests.support.consumer import Consumer
from tests.support.lab import Lab, fresh
from tests.support.prefect_server import PrefectServer, wait_for
from tests.support.world import REGION

pytestmark = [pytest.mark.slow, pytest.mark.sampled(9, of="file")]

Build = Callable[..., Site]

Put = Callable[[int, Door], Gate]


def test_the_deployment_rotates_pushes_and_tells_once(
    installed: Installed, prefect: PrefectServer, architect: Architect, lab: Lab, consumer: Consumer
) -> None:
    secret = lab.alternating(destinations=[destination()], consumers=["app"])
    site = architect.build(secret)
    told = installed.run("rotate-secret", site, path=secret.path, trigger="force")
    assert (told["state_type"], told["name"]) == ("COMPLETED", f"rotate-{secret.path}")
    assert site.version(secret) == 2
    assert site.served(secret) == lab.current(secret)
    assert lab.logs_in(lab.current(secret))
    assert consumer.versions(secret.path) == [2]
    rows = [(row["what"], row["name"], row["state"]) for row in installed.rows(told["id"])]
    place = f"aws:{site.place(secret, 'aws').name}"
    works = rows[-1][-1]
    assert works.startswith(f"the credential before it (username {secret.users[0]}) still works; it ends ")
    assert rows == [
        ("secret", secret.path, "rotated"),
        ("destination", place, "created"),
        ("consumer", "app", "acknowledged"),
        ("credential before", secret.path, works),
    ]
    assert told["state"]["message"] == f"rotated: version 2 is in force; {works}"
    other = secret.users[1]
    story = {
        f"decide {secret.path}": f"{secret.path} is replaced: asked for by an operator",
        f"guard {secret.path}": "no destination blocks it",
        f"stage {secret.path}": f"a candidate for {other} is saved as PENDING, sequence 1",
        f"install {other} at pg": f"{other} has a new password at pg, sequence 1",
        f"verify {other} at pg": f"{other} logs in at pg",
        f"promote {secret.path}": "version 2 is in force",
        f"push {place}": f"version 2 is at {place}",
        "notify app": "app acknowledged version 2",
        f"conclude {secret.path}": "written down: app acknowledged and all copies are in sync",
    }
    assert messages(prefect, told["id"], len(story)) == story
    lines = logged(prefect, told["id"], told["state"]["message"])
    assert sorted(lines) == sorted([*story.values(), told["state"]["message"]])
    (page,) = prefect.all("artifacts", artifacts={"key": {"any_": [WorkspaceNames().secret_artifact(secret.path)]}})
    assert f'hub --> c0["{place}<br/>version 2, in sync"]:::well' in page["data"]
    assert 'hub -.-> a0["app<br/>notified"]:::well' in page["data"]
    assert page["description"].startswith(f"{secret.path}: version 2, ")
    made = {"secret": f"keyturn://secret/{secret.path}", "copy": f"keyturn://copy/{place.replace(':', '/', 1)}"}
    events = wait_for(lambda: materialized(prefect, made.values()))
    assert upstream(events[made["secret"]]) == ["keyturn://target/pg"]
    assert upstream(events[made["copy"]]) == [made["secret"]]
    assert [event["payload"] for event in events.values()] == [{"version": 2}] * 2


def materialized(prefect: PrefectServer, assets: Collection[str]) -> dict[str, Any] | None:
    """The event of each of these assets, once there is one of each."""
    wanted = {"resource": {"id": list(assets)}, "event": {"name": ["prefect.asset.materialization.succeeded"]}}
    events = prefect.post("events/filter", filter=wanted)["events"]
    found = {event["resource"]["prefect.resource.id"]: event for event in events}
    return found if found.keys() == set(assets) else None


def upstream(event: dict[str, Any]) -> list[str]:
    """What an asset was made from."""
    return [one["prefect.resource.id"] for one in event["related"] if one["prefect.resource.role"] == "asset"]


@pytest.mark.attack
def test_no_two_secrets_have_the_same_page() -> None:
    paths = ["a/b", "a-b", "a--b", "A/b", "a/b/", "a b", "a_b", "a/-b", "a-/b"]
    keys = [WorkspaceNames().secret_artifact(path) for path in paths]
    assert len(set(keys)) == len(paths)
    assert keys[:2] == ["secret-a--b", "secret-a-b"]
    assets = {asset("secret", path) for path in (*paths, "a~20~b", "p" * 600)}
    assert len(assets) == len(paths) + 2
    assert all(Asset(key=key) for key in assets)
    assert [key for key in keys if not re.fullmatch("[a-z0-9-]+", key)] == []


def test_a_secret_that_is_not_due_stays_by_schedule_and_is_replaced_for_whoever_just_starts_it(
    build: Build, lab: Lab
) -> None:
    secret = lab.generated()
    site = build(secret)
    waiting = completed(rotate_secret, secret.path, Trigger.SCHEDULE)
    assert waiting.state is RunState.NOT_DUE
    assert re.fullmatch(r"not due: next on \d{4}-\d\d-\d\d \d\d:\d\d UTC", waiting.headline)
    assert site.version(secret) == 1
    assert completed(rotate_secret, secret.path).state is RunState.ROTATED, "who says nothing wants it now"
    assert site.version(secret) == 2


def test_a_lease_of_the_hubs_engine_is_rotated_with_the_workers_own_policy(build: Build, lab: Lab) -> None:
    secret = lab.dynamic(interval="20m", grace="0s")
    build(secret)
    assert completed(rotate_secret, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert lab.logs_in(lab.current(secret))
    (retired,) = completed(retire, secret.path)
    assert retired.retired
    assert not lab.logs_in(secret.first)


def test_a_store_that_comes_back_is_tried_again_and_the_run_completes(
    build: Build, prefect: PrefectServer, lab: Lab, architect: Architect, gate: Put
) -> None:
    secret = lab.alternating(destinations=[destination("gated")])
    door = gate(port_of(architect.stores["aws"]["endpoint_url"]), Door.SHUT)
    site = build(secret, stores=gated(door))
    once_retrying(prefect, f"rotate-{secret.path}", lambda: door.move(Door.OPEN))
    state = ended(rotate_secret, secret.path, Trigger.FORCE)
    assert state.is_completed()
    assert site.served(secret, "gated") == lab.current(secret)
    tried = attempts(prefect, state, f"guard {secret.path}")
    assert tried.pop(f"guard {secret.path}") > 1
    assert set(tried.values()) == {1}


def test_what_no_retry_mends_fails_at_once_and_says_secret_step_and_remedy(
    build: Build, prefect: PrefectServer, lab: Lab
) -> None:
    admin = f"targets/pg/{fresh()}"
    right = lab.admin().reveal()
    lab.hub.write_state(admin, {**right, "password": "CANARY-not-the-password"}, cas=0)
    secret = lab.alternating()
    site = build(secret, targets={"pg": {"admin": admin}})
    state = ended(rotate_secret, secret.path, Trigger.FORCE)
    failed = error(state)
    install = f"install {secret.users[1]} at pg"
    assert attempts(prefect, state, install) == {f"decide {secret.path}": 1, f"stage {secret.path}": 1, install: 1}
    message = prefect.get(f"flow_runs/{state.state_details.flow_run_id}")["state"]["message"]
    assert message == str(failed)
    assert str(failed) == (
        f"{secret.path}, install: log in to pg: the admin account keyturn_admin is refused. "
        "Put a working username and password at the target's `admin` path in the hub (target pg)"
    )

    # The candidate waits; with the right password the next run goes on with it, due or not.
    pending = site.record(secret)
    assert pending.open
    lab.hub.write_state(admin, right, cas=1)
    site = build(secret, targets={"pg": {"admin": admin}})
    assert completed(rotate_secret, secret.path).state is RunState.ROTATED
    assert site.record(secret).rotation.token == pending.open.token  # type: ignore[union-attr]


def test_one_destination_that_fails_stops_no_other_and_keeps_the_old_credential(
    build: Build, lab: Lab, architect: Architect, gate: Put
) -> None:
    secret = lab.alternating(destinations=[destination(), destination("gated")])
    door = gate(port_of(architect.stores["aws"]["endpoint_url"]), Door.SHUT)
    site = build(secret, stores=gated(door))
    away = site.place(secret, "gated").name
    # Only a credential that others may know does not wait for a destination.
    failed = error(ended(rotate_secret, secret.path, Trigger.COMPROMISE))
    assert isinstance(failed, TransientError)
    assert f"settle {secret.path}: version 2 is in force, but not in sync: gated:{away} (" in str(failed)
    assert site.served(secret) == lab.current(secret)

    (kept,) = completed(retire, secret.path)
    assert not kept.retired
    assert kept.held_by[0].startswith(f"gated:{away} is not in sync: find gated:{away}: ")
    assert lab.logs_in(secret.first)

    door.move(Door.OPEN)
    assert completed(sync, secret.path) == {"in sync": 1, "created": 1}
    (over,) = completed(retire, secret.path)
    assert over.retired
    assert not lab.logs_in(secret.first)
    assert completed(sync, secret.path) == {"in sync": 2}


def test_a_destination_that_somebody_else_owns_stops_it_before_anything_changes(
    build: Build, lab: Lab, architect: Architect
) -> None:
    secret = lab.alternating(destinations=[destination()])
    site = build(secret)
    taken = site.place(secret, "aws").name
    url = architect.stores["aws"]["endpoint_url"]
    sdk = boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=url)
    sdk.create_secret(Name=taken, SecretString="somebody else's")
    failed = error(ended(rotate_secret, secret.path, Trigger.FORCE))
    assert str(failed).startswith(f"{secret.path}, guard: push to aws:{taken}: a secret of that name exists")
    assert "Say `adopt: true`" in str(failed)
    assert (site.version(secret), site.record(secret)) == (1, Record())


def test_a_silent_consumer_delays_the_retirement_until_it_has_acknowledged(
    build: Build, lab: Lab, consumer: Consumer
) -> None:
    path = f"webhooks/silent/{fresh()}"
    lab.hub.write_state(path, {"key": f"whsec_{secrets.token_hex(24)}"}, cas=0)
    secret = lab.alternating(consumers=["app", "silent"])
    build(secret, consumers={"silent": {"url": f"{consumer.url}/", "signing_key": path}})
    failed = error(ended(rotate_secret, secret.path, Trigger.FORCE))
    assert "not acknowledged by: silent (notify silent: answered 401. Check that it holds the webhook key" in str(
        failed
    )
    assert "app (" not in str(failed)

    (kept,) = completed(retire, secret.path)
    assert kept.held_by == ("silent has not acknowledged version 2",)
    assert lab.logs_in(secret.first)

    right = lab.hub.read_state("webhooks/app/flows")
    assert right is not None
    lab.hub.write_state(path, right.data, cas=1)
    (over,) = completed(retire, secret.path)
    assert over.retired
    assert not lab.logs_in(secret.first)
    assert consumer.versions(secret.path) == [2]


def test_a_rotation_that_another_process_holds_is_left_to_it_without_a_retry(
    build: Build, prefect: PrefectServer, lab: Lab
) -> None:
    secret = lab.generated()
    site = build(secret)
    record = site.record(secret)
    theirs = Rotation("theirs", 1, Stage.PENDING, "generated", "", "elsewhere/1/1", site.workspace.clock(), 1)
    save(site.workspace, secret.path, record, theirs, SecretFields({"value": "theirs"}))
    state = ended(rotate_secret, secret.path)
    held = result(state)
    assert held.state is RunState.HELD
    assert "is held by process 1 on elsewhere" in held.message
    assert attempts(prefect, state, f"stage {secret.path}") == {f"decide {secret.path}": 1, f"stage {secret.path}": 1}


def test_a_hub_that_does_not_answer_is_waited_for(build: Build, prefect: PrefectServer, lab: Lab, gate: Put) -> None:
    secret = lab.generated()
    door = gate(port_of(lab.world.hub_in_clear), Door.SHUT)
    build(secret, hub=door.url)
    once_retrying(prefect, f"rotate-{secret.path}", lambda: door.move(Door.OPEN))
    state = ended(rotate_secret, secret.path, Trigger.FORCE)
    assert state.is_completed()
    assert attempts(prefect, state, f"promote {secret.path}")["hub"] > 1


def gated(door: Gate) -> dict[str, dict[str, str]]:
    """The local AWS once more, behind a door."""
    return {"gated": {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": door.url}}


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
