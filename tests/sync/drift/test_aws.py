"""Drift in AWS: Secrets Manager and Parameter Store."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

import boto3
import pytest

from keyturn.core.errors import Unavailable
from keyturn.core.plan import Action
from keyturn.core.ports.stores import TAG_FINGERPRINT, TAG_MANAGED_BY
from keyturn.rotation.copies.labels import describe_copies
from keyturn.rotation.copies.push import CopyState
from local.emulators.aws import LocalAws
from tests.support.hooks import raising
from tests.sync.drift.site import STORE, Look, RealSite
from tests.sync.drift.suite import (
    CHANGED,
    ERASED,
    OLD,
    OURS,
    STRIPPED,
    TAKEN,
    Act,
    DriftContract,
    assert_in_step,
    many,
    said_of,
)

pytestmark = pytest.mark.sampled(9, of="file")

REGION = "eu-central-1"


@dataclass
class SecretsConsole:
    """Somebody with the console of Secrets Manager."""

    client: Any

    def put(self, name: str, fields: dict[str, str]) -> None:
        """A secret, or another value for it."""
        try:
            self.client.put_secret_value(SecretId=name, SecretString=json.dumps(fields))
        except self.client.exceptions.ResourceNotFoundException:
            self.client.create_secret(Name=name, SecretString=json.dumps(fields))

    def strip(self, name: str) -> None:
        """Remove one tag, as somebody who tidies up."""
        self.client.untag_resource(SecretId=name, TagKeys=[TAG_MANAGED_BY])

    def strip_fingerprint(self, name: str) -> None:
        """Remove another one."""
        self.client.untag_resource(SecretId=name, TagKeys=[TAG_FINGERPRINT])

    def erase(self, name: str) -> None:
        """Delete without a recovery window."""
        self.client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    def schedule(self, name: str) -> None:
        """Delete it as the console does."""
        self.client.delete_secret(SecretId=name)

    def strip_and_schedule(self, name: str) -> None:
        """Both."""
        self.strip(name)
        self.schedule(name)

    def roll_back(self, name: str) -> None:
        """Make the version before the current one current again, where there is one."""
        told = self.client.describe_secret(SecretId=name)["VersionIdsToStages"]
        staged = {stage: version for version, stages in told.items() for stage in stages}
        if old := staged.get("AWSPREVIOUS"):
            self.client.update_secret_version_stage(
                SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=old, RemoveFromVersionId=staged["AWSCURRENT"]
            )

    def schedule_and_restore(self, name: str) -> None:
        """Delete it, and think better of it."""
        self.schedule(name)
        self.client.restore_secret(SecretId=name)

    def served(self, name: str) -> Any:
        """What GetSecretValue gives; None where there is none, or it is scheduled for deletion."""
        refused = self.client.exceptions
        try:
            return json.loads(self.client.get_secret_value(SecretId=name)["SecretString"])
        except (refused.InvalidRequestException, refused.ResourceNotFoundException):
            return None

    def leaves(self, name: str) -> bool:
        """Whether it is scheduled for deletion."""
        return "DeletedDate" in self.client.describe_secret(SecretId=name)


class TestAwsSecretsManager(DriftContract):
    acts = (
        CHANGED,
        STRIPPED,
        TAKEN,
        ERASED,
        Act("fingerprint-removed", SecretsConsole.strip_fingerprint),
        Act("scheduled-for-deletion", SecretsConsole.schedule),
        Act("stripped-and-scheduled-for-deletion", SecretsConsole.strip_and_schedule, Action.CONFLICT),
    )
    restores = (SecretsConsole.roll_back, SecretsConsole.schedule_and_restore)

    @pytest.fixture
    def settings(self, aws: LocalAws) -> dict[str, Any]:
        return {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": aws.endpoint_url}

    @pytest.fixture
    def hands(self, aws: LocalAws) -> Iterator[SecretsConsole]:
        client = boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=aws.endpoint_url)
        with closing(client):
            yield SecretsConsole(client)

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("step", ["untag_resource", "tag_resource", "update_secret"])
    def test_a_change_of_labels_that_ended_between_its_calls_is_finished(
        self, site: RealSite, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        assert_labels_are_finished(site, monkeypatch, step, description="One")

    def test_a_copy_that_was_rolled_back_to_its_last_version_has_drifted(
        self, site: RealSite, hands: SecretsConsole
    ) -> None:
        path = site.write("a", **OLD)
        site.run()
        site.write("a", **OURS)
        site.run()
        hands.roll_back(site.remote(path))
        assert hands.served(site.remote(path)) == OLD
        assert said_of(site, path) == dict.fromkeys(Look, Action.DRIFTED)
        site.run()
        assert_in_step(site, hands, path)

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("drift", ["repair", "report"])
    def test_many_that_are_scheduled_for_deletion_are_absent_in_listings_and_restored_unless_only_reported(
        self, site: RealSite, hands: SecretsConsole, drift: str
    ) -> None:
        site.sync["drift"] = drift
        paths, everything = many(site), f"{site.folder}/**"
        site.run()
        for path in paths:
            hands.schedule(site.remote(path))
        site.store.asked.clear()
        assert {item.path: item.action for item in site.plan(everything).items} == dict.fromkeys(paths, Action.CREATE)
        assert not site.store.asked
        states = {one.state for one in site.run(everything)}
        assert states == {CopyState.UPDATED if drift == "repair" else CopyState.DRIFTED}
        for path in paths:
            assert hands.leaves(site.remote(path)) is (drift == "report")
            assert hands.served(site.remote(path)) == (OURS if drift == "repair" else None)


@dataclass
class ParametersConsole:
    """Somebody with the console of Parameter Store."""

    client: Any

    def put(self, name: str, fields: dict[str, str], **more: str) -> None:
        """A parameter, or another value for it; what is not said stays as it is."""
        there = self.served(name) is not None
        kind = {} if there else {"Type": "SecureString"}
        self.client.put_parameter(Name=name, Value=json.dumps(fields), Overwrite=there, **{**kind, **more})

    def strip(self, name: str) -> None:
        """The same value under a description of their own."""
        value = self.client.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        self.client.put_parameter(Name=name, Value=value, Description="the database", Overwrite=True)

    def retype(self, name: str) -> None:
        """The same value, without encryption."""
        self.put(name, OURS, Type="String")

    def roll_back(self, name: str) -> None:
        """Write the oldest version again, with its description, as a tool does that keeps whole parameters."""
        oldest = self.client.get_parameter_history(Name=name, WithDecryption=True)["Parameters"][0]
        more = {"Description": oldest["Description"]} if oldest.get("Description") else {}
        self.client.put_parameter(Name=name, Value=oldest["Value"], Overwrite=True, **more)

    def erase(self, name: str) -> None:
        """Delete it; there is nothing to recover."""
        self.client.delete_parameter(Name=name)

    def served(self, name: str) -> Any:
        """What GetParameter gives."""
        try:
            return json.loads(self.client.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
        except self.client.exceptions.ParameterNotFound:
            return None


def assert_labels_are_finished(site: RealSite, monkeypatch: pytest.MonkeyPatch, step: str, **said: str) -> None:
    """A change of what stands beside a copy that ended before this call is finished by the next run."""
    site.sync |= {"tags": {"team": "web", "cost": "1"}, **said}
    path = site.write("a", **OURS)
    site.run()
    before = site.store.describe(site.remote(path))
    site.sync |= {"tags": {"team": "shop"}, **{key: f"{text}, changed" for key, text in said.items()}}
    with monkeypatch.context() as ends:
        ends.setattr(site.store._client, step, raising(Unavailable("label", "it", "the process is gone")))
        assert [one.kind for one in site.run()] == ["Unavailable"]
    assert said_of(site, path) == dict.fromkeys(Look, Action.UPDATE)
    assert [one.state for one in site.run()] == [CopyState.LABELLED]
    assert said_of(site, path) == dict.fromkeys(Look, Action.IN_SYNC)
    [found] = describe_copies(site.workspace, STORE, [site.store.describe(site.remote(path))])
    assert found.details is not None
    assert (found.version_id, found.details.tags) == (before.version_id, {"team": "shop"})


class TestAwsParameterStore(DriftContract):
    acts = (CHANGED, STRIPPED, TAKEN, ERASED, Act("another-type", ParametersConsole.retype))
    restores = (ParametersConsole.roll_back,)
    sync: ClassVar = {"name": "/{path}"}
    written_to_mark = 1

    @pytest.fixture
    def settings(self, aws: LocalAws) -> dict[str, Any]:
        return {"kind": "aws-parameter-store", "region": REGION, "endpoint_url": aws.endpoint_url}

    @pytest.fixture
    def hands(self, aws: LocalAws) -> Iterator[ParametersConsole]:
        client = boto3.Session().client("ssm", region_name=REGION, endpoint_url=aws.endpoint_url)
        with closing(client):
            yield ParametersConsole(client)

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("step", ["remove_tags_from_resource", "add_tags_to_resource"])
    def test_a_change_of_tags_that_ended_between_its_calls_is_finished(
        self, site: RealSite, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        assert_labels_are_finished(site, monkeypatch, step)
