"""The same rotation by plain calls and by tasks comes to the same, word for word, whatever its outcome is."""

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import pytest
from prefect import State

import keyturn.project.runs.result
from flows.retire import retire as retire_flow
from flows.rotate import rotate_secret
from keyturn.core.errors import KeyturnError
from keyturn.core.overrides import Waive
from keyturn.core.result_parts import RESULT, join_parts
from keyturn.core.rotation_record import Rotation, Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.rotation.outcome import RunState, unsettled
from keyturn.rotation.report import OldCredential, outcome_data
from keyturn.rotation.retire import retire
from keyturn.rotation.rollback import rollback
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record, save
from keyturn.rotation.strategy_verbs import PUSH
from tasks.rotation import STEPS
from tests.flows.gate import Door, Gate
from tests.flows.runs import ended, result
from tests.flows.site import Site, destination
from tests.rotation.helpers import Worker
from tests.support.consumer import Consumer
from tests.support.hooks import Once, raising
from tests.support.lab import Declared, Lab, fresh
from tests.support.prefect_server import PrefectServer, wait_for
from tests.support.world import REGION

pytestmark = [pytest.mark.slow, pytest.mark.sampled(9, of="file")]

FORCE, SCHEDULE, COMPROMISE = Trigger.FORCE, Trigger.SCHEDULE, Trigger.COMPROMISE


@dataclass
class Scene:
    """Two secrets alike, and what there is for them; ``canary`` is an application that may not be well."""

    lab: Lab
    canary: Consumer
    gate: Gate
    site: Site = field(init=False)

    def secret(self, **changes: Any) -> Declared:
        """With a copy, and an application that is told."""
        return self.lab.alternating(**{"destinations": [destination()], "consumers": ["app"], **changes})

    def lasting(self) -> Declared:
        """With a grace that is not over soon."""
        return self.secret(grace="1h")

    def waves(self) -> Declared:
        """With an application that is told first."""
        return self.secret(consumers=["app", "canary"], rollout={"canary": ["canary"], "pause": "0s"}, grace="1h")

    def partly(self) -> Declared:
        """With a copy in a store that does not answer, and an application that does not take our signature."""
        return self.secret(destinations=[destination(), destination("gated")], consumers=["app", "stranger"])

    def worker(self, secret: Declared) -> Worker:
        """A run that stops where the scene wants it."""
        return Worker(self.site.workspace, secret.path)

    # what is there before the run

    def is_promoted(self, secret: Declared) -> None:
        """A run died after the promotion."""
        self.worker(secret).promoted()

    def is_unretired(self, secret: Declared) -> None:
        """The credential before the last rotation lives, and nothing but its grace holds it."""
        assert rotate(self.site.workspace, secret.path, FORCE).state is RunState.ROTATED

    def is_half_taken_back(self, secret: Declared) -> None:
        """A run died while it put the previous value in force again."""
        token = self.worker(secret).promoted().rotation.token
        dying = self.worker(secret).hooking("hub", write=Once(raising(KeyboardInterrupt())))
        with pytest.raises(KeyboardInterrupt):
            rollback(dying.workspace, secret.path, token, "the canary is not well: canary")
        assert load_record(self.site.workspace, secret.path).rotation.stage is Stage.REVERTING  # type: ignore[union-attr]

    def is_held(self, secret: Declared) -> None:
        """A process on another host is at it."""
        record = self.site.record(secret)
        theirs = Rotation("theirs", 1, Stage.PENDING, "alternating-users", "", "elsewhere/1/1", self.now(), 1)
        save(self.site.workspace, secret.path, record, theirs, SecretFields({"value": "theirs"}))

    def is_being_revoked(self, secret: Declared) -> None:
        """A revocation on another host ends its credential."""
        record = replace(self.site.record(secret), frozen="INC-1")
        theirs = Rotation("theirs", 1, Stage.CUTTING, "alternating-users", "", "elsewhere/1/1", self.now(), 1)
        save(self.site.workspace, secret.path, record, theirs, SecretFields({}))

    def is_taken(self, secret: Declared) -> None:
        """Somebody else's copy lies where ours should."""
        store = self.site.workspace.open_store("aws")
        store._client.create_secret(Name=self.site.place(secret, "aws").name, SecretString="x")  # type: ignore[attr-defined]

    def is_not_well(self, secret: Declared) -> None:
        """The canary says that it is not well."""
        self.canary.health = HTTPStatus.SERVICE_UNAVAILABLE

    def now(self) -> Any:
        return self.site.workspace.clock()


@dataclass(frozen=True)
class Case:
    """One outcome: what the secret is, what was before, who asks, and how the run ends (None: it is refused)."""

    state: RunState | None
    trigger: Trigger = FORCE
    secret: Callable[[Scene], Declared] = Scene.secret
    before: Callable[[Scene, Declared], None] = lambda scene, secret: None
    fails: bool = False
    admits: bool = True
    """Whether the target takes the password of its admin."""


CASES = {
    "rotated": Case(RunState.ROTATED),
    "rotated, without a copy": Case(RunState.ROTATED, secret=lambda scene: scene.lab.generated()),
    "rotated, since others may know it": Case(RunState.ROTATED, COMPROMISE),
    "rotated, once the one before is ended": Case(RunState.ROTATED, COMPROMISE, before=Scene.is_unretired),
    "rotated, the canary first": Case(RunState.ROTATED, secret=Scene.waves),
    "settled": Case(RunState.SETTLED, SCHEDULE, before=Scene.is_promoted),
    "reverted": Case(RunState.REVERTED, secret=Scene.waves, before=Scene.is_not_well, fails=True),
    "reverted, what a run died in": Case(
        RunState.REVERTED, SCHEDULE, Scene.waves, Scene.is_half_taken_back, fails=True
    ),
    "held": Case(RunState.HELD, SCHEDULE, before=Scene.is_held),
    "held, since a revocation is at it": Case(RunState.HELD, before=Scene.is_being_revoked),
    "not due": Case(RunState.NOT_DUE, SCHEDULE),
    "not due, since a revocation is at it": Case(RunState.NOT_DUE, SCHEDULE, before=Scene.is_being_revoked),
    "refused by a store": Case(None, before=Scene.is_taken, fails=True),
    "refused by the target": Case(None, admits=False, fails=True),
    "refused, since the one before is needed": Case(None, FORCE, Scene.lasting, Scene.is_unretired, fails=True),
    "partly reached": Case(RunState.ROTATED, COMPROMISE, Scene.partly, fails=True),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_plain_calls_and_tasks_come_to_the_same(
    case: Case,
    lab: Lab,
    build: Callable[..., Site],
    prefect: PrefectServer,
    gate: Callable[[int, Door], Gate],
    aws: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keyturn.project.runs.result, "is_waited_for", lambda: True)
    monkeypatch.setattr(STEPS[PUSH], "retry_delay_seconds", [0, 0, 0, 0])
    key = lab_key(lab, "canary")
    with Consumer(Sensitive(key[1]), key[0]) as canary:
        scene = Scene(lab, canary, gate(int(aws.endpoint_url.rpartition(":")[2]), Door.SHUT))
        here, there = case.secret(scene), case.secret(scene)
        scene.site = build(here, there, stores=stores(scene), consumers=consumers(scene), targets=targets(lab, case))
        for secret in (here, there):
            case.before(scene, secret)
        plain, tasks = by_calls(scene.site, here, case), by_tasks(prefect, there, case)
    assert plain == tasks
    data, error = plain
    assert (data["state"] if data else None) == (case.state and str(case.state))
    assert bool(error) is case.fails


@pytest.mark.parametrize("waive", [Waive.NOTHING, Waive.GRACE])
def test_so_does_a_retirement(
    lab: Lab, build: Callable[..., Site], prefect: PrefectServer, waive: Waive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyturn.project.runs.result, "is_waited_for", lambda: True)
    here, there = (lab.alternating(destinations=[destination()], grace="1h") for _ in range(2))
    site = build(here, there)
    for secret in (here, there):
        assert rotate(site.workspace, secret.path, FORCE).state is RunState.ROTATED
    plain = vars(OldCredential.of(here.path, retire(site.workspace, here.path, waive)))
    left = result_of(prefect, ended(retire_flow, there.path, waive))
    assert left is not None
    assert [alike(json.dumps(plain))] == [alike(json.dumps(one)) for one in left["secrets"]]


def by_calls(site: Site, secret: Declared, case: Case) -> tuple[dict[str, Any] | None, str]:
    """What a plain run comes to: its JSON, and what it fails with."""
    try:
        outcome = rotate(site.workspace, secret.path, case.trigger)
    except KeyturnError as error:
        return None, alike(told(error))
    return json.loads(alike(json.dumps(outcome_data(outcome)))), alike(told(unsettled(outcome)))


def by_tasks(prefect: PrefectServer, secret: Declared, case: Case) -> tuple[dict[str, Any] | None, str]:
    """The same of a run of the flow, whose JSON it leaves for the command line."""
    state = ended(rotate_secret, secret.path, case.trigger)
    failed = result(state) if state.is_failed() else None
    return json.loads(alike(json.dumps(result_of(prefect, state)))), alike(told(failed))


def result_of(prefect: PrefectServer, state: State[Any]) -> dict[str, Any] | None:
    """The JSON that a run has left for the command line, with the number of its steps."""
    own = {"any_": [str(state.state_details.flow_run_id)]}
    parts = [
        json.loads(one["data"])
        for one in prefect.all("artifacts", artifacts={"flow_run_id": own, "type": {"any_": [RESULT]}})
    ]
    for steps in {part["steps"] for part in parts}:
        wait_for(lambda: len(prefect.all("task_runs", flow_runs={"id": own})) == steps or None)  # noqa: B023
    return join_parts(parts)


def told(error: KeyturnError | None) -> str:
    """The class and the words of an error; empty for none."""
    return f"{type(error).__name__}: {error}" if error else ""


def alike(text: str) -> str:
    """The same without what tells one of the two secrets from the other: names, times, tokens, fingerprints."""
    for pattern, word in (
        (r"t[0-9a-f]{12}", "NAME"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "TOKEN"),
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?", "TIME"),
        (r'"fingerprint": "[0-9a-f]{12}"', '"fingerprint": "12 DIGITS"'),
    ):
        text = re.sub(pattern, word, text)
    return text


def lab_key(lab: Lab, consumer: str) -> tuple[str, str]:
    """Where a new key of a consumer lies in the hub, and the key."""
    path, key = f"webhooks/{consumer}/{fresh()}", f"whsec_{secrets.token_hex(24)}"
    lab.keep(path, {"key": key})
    return path, key


def stores(scene: Scene) -> dict[str, dict[str, str]]:
    """The local AWS once more, behind a door that is shut."""
    return {"gated": {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": scene.gate.url}}


def targets(lab: Lab, case: Case) -> dict[str, dict[str, str]]:
    """The database, with the wrong password of its admin where it is not to let it in."""
    admin = f"targets/pg/{fresh()}"
    lab.keep(admin, {**lab.admin().reveal(), **({} if case.admits else {"password": "not-this-one"})})
    return {"pg": {"admin": admin}}


def consumers(scene: Scene) -> dict[str, dict[str, str]]:
    """The canary, and one that is told with a key that it does not know."""
    stranger = lab_key(scene.lab, "stranger")[0]
    return {
        "canary": {"url": scene.canary.url, "signing_key": scene.canary.signing_key, "timeout": "2s"},
        "stranger": {"url": f"{scene.canary.url}/", "signing_key": stranger},
    }
