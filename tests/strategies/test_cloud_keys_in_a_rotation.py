"""Keys of cloud accounts through the whole protocol, over the real hub and the local clouds."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Invalid
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.aws.iam import AwsIam
from keyturn.providers.gcp.iam import GcpIam
from keyturn.revocation.incidents.incident import Mode
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from local.emulators.aws import LocalAws
from local.emulators.gcp_iam import LocalGcpIam
from local.support.ports import free_port
from tests.strategies.revoking import revoked
from tests.support import local_aws
from tests.support.lab import Lab, fresh
from tests.support.sender import RecordingSender

pytestmark = pytest.mark.sampled(10, of="file")

PROJECT = "ml-project"


class Killed(BaseException):
    """The process dies here: nothing of ours catches it."""


@dataclass
class Place:
    """One cloud: how the secret is declared, its first version, and who signs in by the cloud's own word."""

    target: dict[str, Any]
    rotation: dict[str, Any]
    first: SecretFields
    ids: Callable[[], set[str]]
    key_of: Callable[[dict[str, Any]], str]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server, pytest.MonkeyPatch.context() as patch:
        local_aws.use(server, patch)
        yield server


@pytest.fixture(scope="module")
def gcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGcpIam]:
    account = f"--service-account=app@{PROJECT}.iam.gserviceaccount.com"
    with LocalGcpIam(tmp_path_factory.mktemp("gcp"), free_port(), account) as server:
        yield server


@pytest.fixture
def at_aws(aws: LocalAws) -> Iterator[Place]:
    user = fresh()
    with closing(boto3.Session().client("iam", region_name="us-east-1", endpoint_url=aws.endpoint_url)) as iam:
        iam.create_user(UserName=user)
        with closing(AwsIam("cloud", endpoint_url=aws.endpoint_url)) as target:
            yield Place(
                {"kind": "aws-iam", "endpoint_url": aws.endpoint_url},
                {"strategy": "aws-iam-key", "user": user},
                target.create(user),
                lambda: {key.key_id for key in target.keys(user)},
                lambda fields: str(fields["access_key_id"]),
            )


@pytest.fixture
def at_gcp(gcp: LocalGcpIam) -> Iterator[Place]:
    account = f"app@{PROJECT}.iam.gserviceaccount.com"
    with closing(GcpIam("cloud", project=PROJECT, endpoint=gcp.endpoint)) as target:
        for key in target.keys(account):
            target.end(account, key.key_id)
        yield Place(
            {"kind": "gcp-iam", "project": PROJECT, "endpoint": gcp.endpoint},
            {"strategy": "gcp-service-account-key", "service_account": account},
            target.create(account),
            lambda: {key.key_id for key in target.keys(account)},
            lambda fields: str(json.loads(fields["credentials_json"])["private_key_id"]),
        )


@pytest.fixture(params=["at_aws", "at_gcp"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def path() -> str:
    return f"tests/{fresh()}"


@pytest.fixture
def workspace(lab: Lab, place: Place, path: str) -> Workspace:
    return opened(lab, place, path)


def opened(lab: Lab, place: Place, path: str) -> Workspace:
    """Keyturn over one secret, which holds a key beside another field."""
    lab.hub.write(path, place.first.merged({"bucket": "models"}), cas=0)
    rotation = {"target": "cloud", "interval": "30d", "grace": "0s", **place.rotation}
    secret = {"path": path, "owner": "tests@example.com", "classification": "internal", "rotation": rotation}
    catalogue = Catalogue.model_validate(
        {"stores": {}, "targets": {"cloud": place.target}, "consumers": {}, "secrets": {path: secret}}
    )
    return dataclasses.replace(open_workspace(catalogue, lab.hub), sender=RecordingSender())


def held(lab: Lab, path: str) -> dict[str, Any]:
    found = lab.hub.read(path)
    assert found is not None
    return found.fields.reveal()


def test_keys_follow_one_another_and_the_old_one_is_gone_each_time(
    workspace: Workspace, lab: Lab, place: Place, path: str
) -> None:
    seen = place.ids()
    for _ in range(3):
        before = place.key_of(held(lab, path))
        assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
        after = place.key_of(held(lab, path))
        assert place.ids() == {before, after}
        assert after not in seen
        assert held(lab, path)["bucket"] == "models"
        assert retire(workspace, path).retired
        assert place.ids() == {after}
        seen.add(after)


def test_a_key_that_a_dead_run_made_is_ended_by_the_next(
    workspace: Workspace, lab: Lab, place: Place, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = workspace.open_strategy(path).target  # type: ignore[attr-defined]
    create = target.create

    def die_after_making(account: str) -> SecretFields:
        create(account)
        raise Killed

    monkeypatch.setattr(target, "create", die_after_making)
    with pytest.raises(Killed):
        rotate(workspace, path, Trigger.FORCE)
    monkeypatch.undo()
    (orphan,) = place.ids() - {place.key_of(held(lab, path))}
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
    assert orphan not in place.ids()
    assert retire(workspace, path).retired
    assert place.ids() == {place.key_of(held(lab, path))}


def test_a_key_that_has_leaked_is_ended_and_replaced_with_the_one_that_waits_for_its_end(
    workspace: Workspace, lab: Lab, place: Place, path: str
) -> None:
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED
    leaked = place.ids()
    assert len(leaked) == 2
    stands = revoked(workspace, path)
    assert (stands.left, stands.open) == ((), False)
    assert place.ids() == {place.key_of(held(lab, path))}
    assert place.ids() & leaked == set()
    assert held(lab, path)["bucket"] == "models"
    assert any("12 hours" in said for said in stands.secrets[0].outlives)
    assert rotate(workspace, path, Trigger.FORCE).state is RunState.ROTATED


def test_a_key_that_a_dead_run_made_ends_with_those_that_have_leaked(
    workspace: Workspace, lab: Lab, place: Place, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = workspace.open_strategy(path).target  # type: ignore[attr-defined]
    create = target.create

    def die_after_making(account: str) -> SecretFields:
        create(account)
        raise Killed

    monkeypatch.setattr(target, "create", die_after_making)
    with pytest.raises(Killed):
        rotate(workspace, path, Trigger.FORCE)
    monkeypatch.undo()
    before = place.ids()
    assert len(before) == 2
    stands = revoked(workspace, path)
    assert (stands.left, stands.open) == ((), False)
    assert place.ids() == {place.key_of(held(lab, path))}
    assert not place.ids() & before


def test_without_a_replacement_no_key_is_left(workspace: Workspace, place: Place, path: str) -> None:
    stands = revoked(workspace, path, Mode.REVOKE_ONLY)
    assert (stands.left, stands.open) == ((), False)
    assert place.ids() == set()


def test_a_user_without_room_is_refused_before_anything_is_begun(lab: Lab, at_aws: Place, path: str) -> None:
    workspace = opened(lab, at_aws, path)
    with closing(AwsIam("cloud", endpoint_url=at_aws.target["endpoint_url"])) as target:
        target.create(at_aws.rotation["user"])
    before, kept = at_aws.ids(), held(lab, path)
    with pytest.raises(Invalid, match="no room"):
        rotate(workspace, path, Trigger.FORCE)
    assert (at_aws.ids(), held(lab, path)) == (before, kept)
    assert lab.hub.read_state(f"rotations/{path}") is None
