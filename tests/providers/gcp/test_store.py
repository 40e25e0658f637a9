"""The GCP store: the contract on the emulator (and on a real project, if given), and what only GCP has.

``KEYTURN_TEST_GCP_PROJECT`` names a project to run the contract on, with application default credentials.
"""

import base64
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud.secretmanager_v1 import SecretManagerServiceClient, SecretVersion
from google.cloud.secretmanager_v1.types import Secret

from keyturn.core import errors
from keyturn.core.ports.stores import (
    TAG_FINGERPRINT,
    TAG_MANAGED_BY,
    TAG_SOURCE,
    TAG_TAGS,
    TAG_VERSION,
    Details,
    OwnershipTags,
    RemoteSecret,
    Store,
)
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import GCP_SECRET_MANAGER
from keyturn.providers.gcp.errors import from_gcp
from keyturn.providers.gcp.store import MOST_RETIRED, GcpSecretManager
from local.support.ports import free_port
from tests.contracts.merging import MergingCases
from tests.contracts.store import Raw, StoreContract, assert_silent, fresh_value, marks_for, put
from tests.deployments.emulators.test_gcp_secret_manager import connected, running

pytestmark = pytest.mark.sampled(10, of="file")

PROJECT = "keyturn-stores"
CLOUD_PROJECT = os.environ.get("KEYTURN_TEST_GCP_PROJECT", "")
AUTOMATIC: dict[str, Any] = {"replication": {"automatic": {}}}


def open_store(port: int, **settings: Any) -> GcpSecretManager:
    return GcpSecretManager("gcp", project=PROJECT, endpoint=f"127.0.0.1:{port}", **settings)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    number = free_port()
    with running(number, tmp_path_factory.mktemp("gcp"), "--largest-page", "25"):
        yield number


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[SecretManagerServiceClient]:
    """The official client, for what somebody else does."""
    with connected(port) as connection:
        yield connection


@pytest.fixture
def store(port: int) -> Iterator[GcpSecretManager]:
    with closing(open_store(port)) as opened:
        yield opened


Open = Callable[..., GcpSecretManager]


@pytest.fixture
def opened(port: int) -> Iterator[Open]:
    """Opens stores with other settings, and closes them."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(closing(open_store(port, **settings)))


@pytest.fixture
def remote() -> str:
    return f"keyturn-test-{secrets.token_hex(6)}"


def path(remote: str, project: str = PROJECT) -> str:
    return f"projects/{project}/secrets/{remote}"


def create_by_hand(client: SecretManagerServiceClient, remote: str, value: str, project: str = PROJECT) -> None:
    client.create_secret(request={"parent": f"projects/{project}", "secret_id": remote, "secret": AUTOMATIC})
    add_by_hand(client, remote, value, project)


def add_by_hand(client: SecretManagerServiceClient, remote: str, value: str, project: str = PROJECT) -> None:
    client.add_secret_version(request={"parent": path(remote, project), "payload": {"data": value.encode()}})


def versions(client: SecretManagerServiceClient, remote: str) -> int:
    return len(list(client.list_secret_versions(parent=path(remote))))


def states(client: SecretManagerServiceClient, remote: str) -> list[str]:
    """The versions' states, newest first."""
    return [version.state.name for version in client.list_secret_versions(parent=path(remote))]


def update_by_hand(client: SecretManagerServiceClient, remote: str, **fields: Any) -> None:
    wanted = {"name": path(remote), **fields}
    client.update_secret(request={"secret": wanted, "update_mask": {"paths": list(fields)}})


def raw(client: SecretManagerServiceClient, remote: str) -> Secret:
    return client.get_secret(name=path(remote))


def listed(store: Store, remote: str) -> RemoteSecret | None:
    return next((copy for copy in store.list_managed() if copy.name == remote), None)


class TestTheContractOnTheEmulator(MergingCases, StoreContract):
    kind = GCP_SECRET_MANAGER
    past_versions = 1  # the second write disables what is older
    creates = True

    @pytest.fixture
    def store(self, port: int) -> Iterator[Store]:
        with closing(open_store(port)) as opened:
            yield opened

    @pytest.fixture
    def foreign(self, client: SecretManagerServiceClient) -> Raw:
        return lambda remote, value: create_by_hand(client, remote, value)

    @pytest.fixture
    def tampered(self, client: SecretManagerServiceClient) -> Raw:
        return lambda remote, value: add_by_hand(client, remote, value)


REGION = "europe-west3"
REGIONAL = f"projects/{PROJECT}/locations/{REGION}"


class TestARegionalStore:
    """Those cases of the contract in which names and places matter: the rest is the same code."""

    joint, listing_lag, erase_lag = StoreContract.joint, 0, 0
    ours, theirs, past = StoreContract.ours, StoreContract.theirs, StoreContract.past
    hides_past, erase = StoreContract.hides_past, StoreContract.erase

    @pytest.fixture
    def store(self, opened: Open) -> GcpSecretManager:
        return opened(location=REGION)

    @pytest.fixture
    def foreign(self, client: SecretManagerServiceClient) -> Raw:
        def create(remote: str, value: str) -> None:
            made = client.create_secret(request={"parent": REGIONAL, "secret_id": remote, "secret": {}})
            client.add_secret_version(request={"parent": made.name, "payload": {"data": value.encode()}})

        return create

    test_found = StoreContract.test_a_created_secret_is_found_with_its_marks_and_intact
    test_adopted = StoreContract.test_an_adopted_secret_gets_the_value_and_the_marks
    test_listed = StoreContract.test_everything_lists_what_is_ours_and_what_is_not
    test_written_again = StoreContract.test_a_deleted_secret_can_be_written_again
    test_erased = StoreContract.test_what_is_erased_is_gone_with_its_past_and_its_name_is_free

    def test_old_versions_are_read_disabled_and_forgotten(self, opened: Open, remote: str) -> None:
        store, values = opened(location=REGION, old_versions="keep"), [fresh_value() for _ in range(3)]
        for version, value in enumerate(values, 1):
            put(store, remote, value, version)
        assert store.old_versions(remote) == {"1": values[0], "2": values[1]}
        assert store.purge_old_versions(remote) == ()
        assert store.old_versions(remote) == {}
        assert store.read(remote) == values[2]

    def test_a_global_secret_and_one_of_another_location_share_its_name_and_nothing_else(
        self, store: GcpSecretManager, opened: Open, remote: str
    ) -> None:
        others, values = [opened(), opened(location="us-central1")], [fresh_value() for _ in range(3)]
        for each, value in zip((store, *others), values, strict=True):
            put(each, remote, value)
        assert [each.read(remote) for each in (store, *others)] == values
        store.purge(remote)
        assert store.describe(remote) is None
        assert [each.read(remote) for each in others] == values[1:]

    def test_a_new_copy_is_encrypted_with_the_stores_key(
        self, opened: Open, client: SecretManagerServiceClient, remote: str
    ) -> None:
        key = f"projects/keys/locations/{REGION}/keyRings/ring/cryptoKeys/key"
        value = fresh_value()
        opened(location=REGION, kms_key_name=key).create(remote, value, marks_for(value))
        made = client.get_secret(name=f"{REGIONAL}/secrets/{remote}")
        assert made.customer_managed_encryption.kms_key_name == key


@pytest.mark.parametrize(
    ("location", "endpoint"),
    [(REGION, "secretmanager.europe-west3.rep.googleapis.com"), (None, "secretmanager.googleapis.com")],
)
def test_without_an_emulator_the_endpoint_is_the_locations_own(
    location: str | None, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.auth.default", lambda **_: (AnonymousCredentials(), PROJECT))  # type: ignore[no-untyped-call]
    with closing(GcpSecretManager("gcp", project=PROJECT, location=location)) as store:
        assert store._client.api_endpoint == endpoint


@pytest.mark.skipif(not CLOUD_PROJECT, reason="KEYTURN_TEST_GCP_PROJECT is not set")
class TestTheContractOnGoogleCloud(StoreContract):
    kind = GCP_SECRET_MANAGER
    past_versions = 1
    creates = True
    listing_lag = 30

    @pytest.fixture(scope="class")
    def cloud(self) -> Iterator[SecretManagerServiceClient]:
        with SecretManagerServiceClient() as client:
            yield client

    @pytest.fixture
    def store(self, cloud: SecretManagerServiceClient, remote: str) -> Iterator[Store]:
        with closing(GcpSecretManager("gcp", project=CLOUD_PROJECT)) as opened:
            yield opened
        request = {"parent": f"projects/{CLOUD_PROJECT}", "filter": f"name:{remote}"}
        for secret in list(cloud.list_secrets(request=request)):
            cloud.delete_secret(name=secret.name)

    @pytest.fixture
    def foreign(self, cloud: SecretManagerServiceClient) -> Raw:
        return lambda remote, value: create_by_hand(cloud, remote, value, CLOUD_PROJECT)

    @pytest.fixture
    def tampered(self, cloud: SecretManagerServiceClient) -> Raw:
        return lambda remote, value: add_by_hand(cloud, remote, value, CLOUD_PROJECT)


# Marks


def test_the_marks_are_one_label_and_three_annotations(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    marks = marks_for(value, 7)
    store.write(remote, value, marks, None)
    secret = raw(client, remote)
    assert dict(secret.labels) == {TAG_MANAGED_BY: "keyturn"}
    assert dict(secret.annotations) == {
        TAG_SOURCE: "apps/payments/db@7",
        TAG_FINGERPRINT: marks.fingerprint,
        TAG_VERSION: "1",
    }


def test_other_peoples_labels_annotations_and_aliases_are_kept(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    theirs = {"labels": {"team": "payments"}, "annotations": {"owner": "Zoë"}}
    client.create_secret(
        request={"parent": f"projects/{PROJECT}", "secret_id": remote, "secret": {**AUTOMATIC, **theirs}}
    )
    put(store, remote, fresh_value())
    update_by_hand(client, remote, version_aliases={"live": 1})
    put(store, remote, fresh_value(), version=2)
    secret = raw(client, remote)
    assert secret.labels["team"] == "payments"
    assert secret.annotations["owner"] == "Zoë"
    assert dict(secret.version_aliases) == {"live": 1}


def test_the_same_value_under_newer_marks_adds_no_version(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    put(store, remote, value)
    put(store, remote, value, version=2)
    assert versions(client, remote) == 1
    assert raw(client, remote).annotations[TAG_SOURCE] == "apps/payments/db@2"


def test_an_adopted_secret_that_holds_the_value_already_gets_only_marks(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    create_by_hand(client, remote, value.reveal())
    assert put(store, remote, value).intact
    assert versions(client, remote) == 1


def test_a_label_alone_makes_nothing_ours(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    labelled = {**AUTOMATIC, "labels": {TAG_MANAGED_BY: "keyturn"}}
    client.create_secret(request={"parent": f"projects/{PROJECT}", "secret_id": remote, "secret": labelled})
    found = store.describe(remote)
    assert found is not None
    assert found.marks is None
    assert listed(store, remote) is None


def test_a_copy_from_the_listing_can_be_written(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    put(store, remote, fresh_value())
    value = fresh_value()
    written = store.write(remote, value, marks_for(value, 2), listed(store, remote))
    assert written == store.describe(remote) == listed(store, remote)
    assert versions(client, remote) == 2


# Settings


def test_new_secrets_are_kept_in_the_given_locations(
    opened: Open, client: SecretManagerServiceClient, remote: str
) -> None:
    put(opened(replication=("europe-west3", "europe-west4")), remote, fresh_value())
    replicas = raw(client, remote).replication.user_managed.replicas
    assert [replica.location for replica in replicas] == ["europe-west3", "europe-west4"]


def test_the_stores_annotations_stand_beside_ours_and_others(
    opened: Open, client: SecretManagerServiceClient, remote: str
) -> None:
    put(opened(annotations={"owner": "platform"}), remote, fresh_value())
    assert raw(client, remote).annotations["owner"] == "platform"
    update_by_hand(client, remote, annotations={**raw(client, remote).annotations, "theirs": "kept"})
    value = fresh_value()
    put(opened(annotations={"owner": "payments"}), remote, value, version=2)
    annotations = dict(raw(client, remote).annotations)
    assert (annotations["owner"], annotations["theirs"]) == ("payments", "kept")
    assert annotations[TAG_FINGERPRINT] == marks_for(value, 2).fingerprint


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"annotations": {"keyturn-source": "x"}}, id="our own annotation"),
        pytest.param({"annotations": {"-x": "x"}}, id="a key that begins with a dash"),
        pytest.param({"annotations": {"k" * 64: "x"}}, id="a long key"),
        pytest.param({"annotations": {"key": "x" * 16_000}}, id="no room for ours"),
        pytest.param({"ttl": timedelta(seconds=59)}, id="a short ttl"),
        pytest.param({"ttl": timedelta(days=36_501)}, id="a long ttl"),
    ],
)
def test_settings_out_of_bounds_are_invalid(opened: Open, settings: dict[str, Any]) -> None:
    with pytest.raises(errors.Invalid):
        opened(**settings)


def test_annotations_of_others_that_leave_no_room_are_told_before_a_version_is_added(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    create_by_hand(client, remote, "theirs")
    update_by_hand(client, remote, annotations={"key": "x" * 16_350})
    value = fresh_value()
    with pytest.raises(errors.Invalid, match="annotations") as caught:
        put(store, remote, value)
    assert_silent(caught.value, value, store, remote)
    assert versions(client, remote) == 1


def test_a_ttl_runs_from_the_last_write(opened: Open, client: SecretManagerServiceClient, remote: str) -> None:
    store = opened(ttl=timedelta(days=2))
    put(store, remote, fresh_value())
    first = raw(client, remote)
    assert first.expire_time - first.create_time >= timedelta(days=2)
    update_by_hand(client, remote, ttl=timedelta(days=1))
    put(store, remote, fresh_value(), version=2)
    assert raw(client, remote).expire_time >= first.expire_time


def test_without_a_ttl_the_expiry_of_others_stays(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    put(store, remote, fresh_value())
    assert "expire_time" not in raw(client, remote)
    update_by_hand(client, remote, ttl=timedelta(days=1))
    theirs = raw(client, remote).expire_time
    put(store, remote, fresh_value(), version=2)
    assert raw(client, remote).expire_time == theirs


def test_when_the_value_ends_is_not_shown(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    store.write(
        remote, value, marks_for(value), None, details=Details(expires_at=datetime.now(UTC) + timedelta(days=1))
    )
    assert "expire_time" not in raw(client, remote)


# Details


def test_labels_and_annotations_change_without_a_version_and_those_of_others_stay(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    create_by_hand(client, remote, "theirs")
    update_by_hand(client, remote, labels={"theirs": "1", "team": "theirs"}, annotations={"team": "Theirs", "x": "y"})
    value = fresh_value()
    put(store, remote, value, details=Details({"team": "pay", "cost": "7"}, {"note": "A b", "owner": "Zoë"}))
    before = store.describe(remote)
    assert before is not None
    second = Details({"cost": "8"}, {"owner": "Ann"})
    marks = replace(marks_for(value), tags=second.names)
    labelled = store.relabel(remote, marks, second, before)
    shown = Details({"theirs": "1", "cost": "8"}, {"team": "Theirs", "x": "y", "owner": "Ann"})
    assert labelled == store.describe(remote) == listed(store, remote) == RemoteSecret(remote, "2", marks)
    for told in (labelled, store.describe(remote), listed(store, remote)):
        assert told is not None
        assert told.details == shown
    assert versions(client, remote) == 2
    store.relabel(remote, marks_for(value), Details(), labelled)
    assert dict(raw(client, remote).labels) == {"theirs": "1", TAG_MANAGED_BY: "keyturn"}
    assert TAG_TAGS not in raw(client, remote).annotations


def test_a_new_copy_has_its_labels_and_annotations(store: GcpSecretManager, remote: str) -> None:
    value, details = fresh_value(), Details({"team": "pay"}, {"note": "A b"})
    made = store.create(remote, value, replace(marks_for(value), tags=details.names), details=details)
    assert made == store.describe(remote)
    assert made.details == details


def test_what_has_changed_since_it_was_found_is_not_relabelled(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    before = put(store, remote, value)
    marks, details = replace(marks_for(value), tags=("team",)), Details({"team": "pay"})
    update_by_hand(client, remote, labels={**raw(client, remote).labels, "theirs": "1"})
    with pytest.raises(errors.Conflict):
        store.relabel(remote, marks, details, before)
    fresh = store.describe(remote)
    assert fresh is not None
    add_by_hand(client, remote, "theirs")
    store.relabel(remote, marks, details, fresh)
    found = store.describe(remote)
    assert found is not None
    assert (found.version_id, found.intact) == ("2", False)
    for copy, error in ((found, errors.UnsupportedOperation), (replace(fresh, version_id="1"), errors.Conflict)):
        with pytest.raises(error):
            store.relabel(remote, marks, details, RemoteSecret(copy.name, copy.version_id, copy.marks, copy.intact))


def test_too_many_labels_of_others_are_told_before_anything_is_changed(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    written = put(store, remote, value)
    update_by_hand(client, remote, labels={**raw(client, remote).labels, **{f"l{n}": "" for n in range(63)}})
    details = Details({"team": "pay"})
    with pytest.raises(errors.Invalid, match="65 labels"):
        store.relabel(remote, replace(marks_for(value), tags=("team",)), details, store.describe(remote) or written)
    with pytest.raises(errors.Invalid, match="65 labels"):
        put(store, remote, fresh_value(), 2, details=details)
    assert versions(client, remote) == 1


# Versions that are no longer served

ON, OFF, GONE = "ENABLED", "DISABLED", "DESTROYED"


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({}, [ON, ON, OFF, OFF, OFF]),
        ({"old_versions": "keep"}, [ON, ON, ON, ON, ON]),
        ({"old_versions": "disable", "destroy_after": timedelta(0)}, [ON, ON, OFF, OFF, OFF]),
        ({"old_versions": "destroy", "destroy_after": timedelta(0)}, [ON, ON, OFF, GONE, GONE]),
        ({"old_versions": "destroy"}, [ON, ON, OFF, OFF, OFF]),
    ],
)
def test_old_versions_are_treated_as_the_store_says(
    opened: Open, client: SecretManagerServiceClient, remote: str, settings: dict[str, Any], left: list[str]
) -> None:
    store = opened(**settings)
    for version in range(1, 6):
        value = fresh_value()
        put(store, remote, value, version)
    assert states(client, remote) == left
    assert store.read(remote) == value


def test_an_adopted_secrets_old_versions_are_treated_alike(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    create_by_hand(client, remote, "theirs")
    put(store, remote, fresh_value())
    assert states(client, remote) == [ON, ON]
    put(store, remote, fresh_value(), version=2)
    assert states(client, remote) == [ON, ON, OFF]


def test_a_reader_who_is_still_given_the_version_before_the_latest_reads_it(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    values = [fresh_value() for _ in range(3)]
    for version, value in enumerate(values, 1):
        put(store, remote, value, version)
    before = client.access_secret_version(name=f"{path(remote)}/versions/2").payload.data
    assert before.decode() == values[1].reveal()
    assert states(client, remote) == [ON, ON, OFF]


def test_a_version_that_an_alias_stands_for_is_left_alone(
    opened: Open, client: SecretManagerServiceClient, remote: str
) -> None:
    store = opened(old_versions="destroy", destroy_after=timedelta(0))
    put(store, remote, fresh_value())
    update_by_hand(client, remote, version_aliases={"live": 1})
    for version in (2, 3, 4, 5):
        put(store, remote, fresh_value(), version)
    assert states(client, remote) == [ON, ON, OFF, GONE, ON]


def test_what_is_forgotten_is_destroyed_whatever_its_state_and_whether_an_alias_stands_for_it(
    opened: Open, client: SecretManagerServiceClient, remote: str
) -> None:
    store, values = opened(old_versions="keep"), [fresh_value() for _ in range(30)]
    for version, value in enumerate(values, 1):
        put(store, remote, value, version)
    update_by_hand(client, remote, version_aliases={"live": 2})
    client.disable_secret_version(name=f"{path(remote)}/versions/1")
    assert store.old_versions(remote) == {str(number): value for number, value in enumerate(values[1:-1], 2)}
    assert store.purge_old_versions(remote) == ()
    assert states(client, remote) == [ON] + [GONE] * 29
    assert store.read(remote) == values[-1]


def test_where_the_newest_version_is_disabled_it_is_forgotten_too(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    put(store, remote, value)
    add_by_hand(client, remote, "disabled")
    client.disable_secret_version(name=f"{path(remote)}/versions/2")
    assert store.old_versions(remote) == {"1": value}
    assert store.purge_old_versions(remote) == ()
    assert states(client, remote) == [GONE, GONE]
    assert store.old_versions(remote) == {}


def test_a_destruction_that_the_secret_delays_is_told_and_not_asked_for_twice(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    put(store, remote, fresh_value())
    update_by_hand(client, remote, version_destroy_ttl=timedelta(days=2))
    put(store, remote, fresh_value(), 2)
    (words,) = store.purge_old_versions(remote)
    at = client.get_secret_version(name=f"{path(remote)}/versions/1").scheduled_destroy_time
    assert words == (
        f"version 1 is disabled, and destroyed at {at:%Y-%m-%d %H:%M} UTC:"
        " until then anyone who may enable versions can restore it"
    )
    assert store.old_versions(remote) == {}
    assert store.purge_old_versions(remote) == (words,)
    assert client.get_secret_version(name=f"{path(remote)}/versions/1").scheduled_destroy_time == at
    assert store.purge(remote) == ()
    assert store.describe(remote) is None


def test_a_version_that_somebody_brings_back_while_it_is_destroyed_is_locked(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    put(store, remote, value)
    update_by_hand(client, remote, version_destroy_ttl=timedelta(days=2))
    put(store, remote, fresh_value(), 2)
    destroy = store._client.destroy_secret_version

    def destroyed_and_enabled_again(**asked: Any) -> object:
        destroy(**asked)
        return client.enable_secret_version(name=asked["request"]["name"])

    store._client.destroy_secret_version = destroyed_and_enabled_again  # type: ignore[method-assign,assignment]
    with pytest.raises(errors.Locked, match="version 1 could not be destroyed") as caught:
        store.purge_old_versions(remote)
    assert_silent(caught.value, value, store, remote)


def test_an_old_version_that_is_no_text_is_left_out_and_forgotten(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    client.create_secret(request={"parent": f"projects/{PROJECT}", "secret_id": remote, "secret": AUTOMATIC})
    for data in (b"\xff\xfe", b"text"):
        client.add_secret_version(request={"parent": path(remote), "payload": {"data": data}})
    assert store.old_versions(remote) == {}
    assert store.purge_old_versions(remote) == ()
    assert states(client, remote) == [ON, GONE]


def test_marks_alone_change_no_version(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    for version in (1, 2):
        put(store, remote, fresh_value(), version)
    put(store, remote, value, version=3)
    client.enable_secret_version(name=f"{path(remote)}/versions/1")
    put(store, remote, value, version=4)
    assert states(client, remote) == [ON, ON, ON]


def test_many_old_versions_are_treated_by_several_writes(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    create_by_hand(client, remote, "theirs")
    for _ in range(MOST_RETIRED + 1):
        add_by_hand(client, remote, "theirs")
    put(store, remote, fresh_value())
    assert states(client, remote) == [ON, ON, *([OFF] * MOST_RETIRED), ON]
    put(store, remote, fresh_value(), version=2)
    assert states(client, remote) == [ON, ON, *([OFF] * (MOST_RETIRED + 2))]


def test_writers_at_once_never_disable_what_is_served(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    put(store, remote, fresh_value())

    def push(version: int) -> None:
        with suppress(errors.Conflict):
            put(store, remote, fresh_value(), version)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(push, range(2, 10)))
    assert states(client, remote)[0] == ON
    value = fresh_value()
    put(store, remote, value, 10)
    assert store.read(remote) == value
    newest, before, *older = states(client, remote)
    assert (newest, before, set(older)) == (ON, ON, {OFF})


# Behind Keyturn's back


def test_a_version_added_by_somebody_else_is_not_intact(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    written = put(store, remote, fresh_value())
    add_by_hand(client, remote, "theirs")
    assert store.describe(remote) == RemoteSecret(remote, "2", written.marks, intact=False)


@pytest.mark.parametrize("verb", ["disable_secret_version", "destroy_secret_version"])
def test_a_version_that_is_not_enabled_is_not_intact_not_read_and_replaced(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str, verb: str
) -> None:
    value = fresh_value()
    written = put(store, remote, value)
    getattr(client, verb)(name=f"{path(remote)}/versions/1")
    assert store.describe(remote) == RemoteSecret(remote, "1", written.marks, intact=False)
    with pytest.raises(errors.NotFound) as caught:
        store.read(remote)
    assert_silent(caught.value, value, store, remote)
    assert put(store, remote, value) == RemoteSecret(remote, "2", written.marks)
    assert store.read(remote) == value


def test_a_secret_without_versions_is_there_and_not_intact(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    client.create_secret(request={"parent": f"projects/{PROJECT}", "secret_id": remote, "secret": AUTOMATIC})
    assert store.describe(remote) == RemoteSecret(remote, "", None, intact=False)
    with pytest.raises(errors.NotFound):
        store.read(remote)


def test_a_value_that_is_no_text_is_invalid(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    create_by_hand(client, remote, "x")
    client.add_secret_version(request={"parent": path(remote), "payload": {"data": b"\xff\xfe"}})
    with pytest.raises(errors.Invalid, match="UTF-8"):
        store.read(remote)


# Crashes: the quota lets a write get so far and no further, and what it left is mended without it


class Interrupted:
    """An emulator that refuses everything after so many calls, until it is started again without that."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def after(self, calls: int, act: Callable[[GcpSecretManager], object]) -> None:
        """Do it, and have it stopped by the quota after so many calls."""
        number = free_port()
        options = ("--requests-per-minute", str(calls))
        emulator = running(number, self.data, *options)
        with emulator, closing(open_store(number)) as store, pytest.raises(errors.Throttled):
            act(store)

    def then(self, stack: ExitStack) -> tuple[GcpSecretManager, SecretManagerServiceClient]:
        """A store and a client on what is left."""
        number = free_port()
        stack.enter_context(running(number, self.data))
        return stack.enter_context(closing(open_store(number))), stack.enter_context(connected(number))


@pytest.fixture
def interrupted(tmp_path: Path) -> Interrupted:
    return Interrupted(tmp_path)


@pytest.mark.parametrize("same", [True, False])
def test_a_version_whose_checksum_google_did_not_compare_is_read_back(
    store: GcpSecretManager, remote: str, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = fresh_value()
    kept = value if same else fresh_value()

    def add(name: str, _: Sensitive) -> SecretVersion:
        payload = {"data": kept.reveal().encode()}
        return store._client.add_secret_version(request={"parent": path(name), "payload": payload})

    monkeypatch.setattr(store, "_add", add)
    if same:
        assert store.create(remote, value, marks_for(value)) == store.describe(remote)
        return
    with pytest.raises(errors.Conflict, match="another value") as caught:
        store.create(remote, value, marks_for(value))
    assert_silent(caught.value, value, store, remote)
    found = store.describe(remote)
    assert found is not None
    assert not found.intact


Make = Callable[[GcpSecretManager, str, Sensitive, OwnershipTags], RemoteSecret]
WAYS: tuple[Make, ...] = (
    lambda store, remote, value, marks: store.write(remote, value, marks, None),
    lambda store, remote, value, marks: store.create(remote, value, marks),
)
both_ways = pytest.mark.parametrize("make", WAYS, ids=["write", "create"])


@both_ways
def test_a_creation_killed_before_its_version_is_ours_and_stale_everywhere(
    interrupted: Interrupted, remote: str, make: Make
) -> None:
    value = fresh_value()
    marks = marks_for(value)
    interrupted.after(1, lambda store: make(store, remote, value, marks))
    with ExitStack() as stack:
        store, client = interrupted.then(stack)
        left = RemoteSecret(remote, "", OwnershipTags(marks.source, marks.version, ""), intact=False)
        assert store.describe(remote) == listed(store, remote) == left
        with pytest.raises(errors.Taken):
            store.create(remote, value, marks)
        assert put(store, remote, value) == RemoteSecret(remote, "1", marks) == store.describe(remote)
        assert versions(client, remote) == 1


@both_ways
@pytest.mark.parametrize("look", [lambda store, remote: store.describe(remote), listed], ids=["find", "listing"])
def test_a_creation_killed_before_its_marks_adds_no_second_version(
    interrupted: Interrupted, remote: str, make: Make, look: Callable[[Store, str], RemoteSecret | None]
) -> None:
    value = fresh_value()
    marks = marks_for(value)
    interrupted.after(2, lambda store: make(store, remote, value, marks))
    with ExitStack() as stack:
        store, client = interrupted.then(stack)
        found = look(store, remote)
        assert found is not None
        assert not found.intact
        assert store.write(remote, value, marks, found) == RemoteSecret(remote, "1", marks) == store.describe(remote)
        assert versions(client, remote) == 1


def test_an_update_killed_before_its_marks_adds_no_second_version(interrupted: Interrupted, remote: str) -> None:
    old, value = fresh_value(), fresh_value()

    def update(store: GcpSecretManager) -> None:
        put(store, remote, old)
        put(store, remote, value, version=2)

    # Creating takes find's one call and three; updating find's two, the version, and the marks that are refused.
    interrupted.after(7, update)
    with ExitStack() as stack:
        store, client = interrupted.then(stack)
        found, seen = store.describe(remote), listed(store, remote)
        assert found == RemoteSecret(remote, "2", marks_for(old), intact=False)
        assert seen is not None
        assert seen.marks == marks_for(old), "the listing must not call it up to date"
        assert store.write(remote, value, marks_for(value, 2), seen) == RemoteSecret(remote, "2", marks_for(value, 2))
        assert versions(client, remote) == 2
        assert store.read(remote) == value


def test_old_versions_that_a_crash_left_enabled_are_disabled_by_the_next(interrupted: Interrupted, remote: str) -> None:
    def update(store: GcpSecretManager) -> None:
        for version in (1, 2, 3):
            put(store, remote, fresh_value(), version)

    # As above: four, then four and two that look for older versions, then four; looking once more is refused.
    interrupted.after(14, update)
    with ExitStack() as stack:
        store, client = interrupted.then(stack)
        found = store.describe(remote)
        assert found is not None
        assert found.intact
        assert states(client, remote) == [ON, ON, ON]
        put(store, remote, fresh_value(), version=4)
        assert states(client, remote) == [ON, ON, OFF, OFF]


def test_a_creation_whose_answer_was_lost_is_taken_up_again(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    first = store.write(remote, value, marks_for(value), None)
    assert store.write(remote, value, marks_for(value), None) == first
    assert versions(client, remote) == 1


def test_a_secret_that_somebody_else_created_meanwhile_is_a_conflict(
    store: GcpSecretManager, client: SecretManagerServiceClient, remote: str
) -> None:
    value = fresh_value()
    create_by_hand(client, remote, "theirs")
    with pytest.raises(errors.Conflict) as caught:
        store.write(remote, value, marks_for(value), None)
    assert_silent(caught.value, value, store, remote)
    assert store.read(remote).reveal() == "theirs"


def test_a_writer_that_was_overtaken_is_refused_and_its_copy_is_stale_in_the_listing(
    store: GcpSecretManager, remote: str
) -> None:
    put(store, remote, fresh_value())
    before = store.describe(remote)
    newer, older = fresh_value(), fresh_value()
    store.write(remote, newer, marks_for(newer, 3), before)
    with pytest.raises(errors.Conflict) as caught:
        store.write(remote, older, marks_for(older, 2), before)
    assert_silent(caught.value, older, store, remote)
    seen = listed(store, remote)
    assert seen is not None
    assert not seen.intact
    assert put(store, remote, newer, version=3) == store.describe(remote) == listed(store, remote)
    assert store.read(remote) == newer


# Refusals


def test_above_the_quota_is_throttled_with_the_time_to_wait(tmp_path: Path, remote: str) -> None:
    number = free_port()
    with running(number, tmp_path, "--requests-per-minute", "1"), closing(open_store(number)) as store:
        store.describe(remote)
        with pytest.raises(errors.Throttled) as caught:
            store.describe(remote)
    assert caught.value.retry_after is not None
    assert 50 <= caught.value.retry_after <= 60


def test_without_permission_is_denied_and_names_the_role(tmp_path: Path, remote: str) -> None:
    number, value = free_port(), fresh_value()
    options = ("--require-token-env", "KEYTURN_TEST_TOKEN")
    with running(number, tmp_path, *options, KEYTURN_TEST_TOKEN="t"), closing(open_store(number)) as store:
        acts: list[Callable[[], object]] = [
            lambda: store.describe(remote),
            lambda: store.write(remote, value, marks_for(value), None),
            lambda: store.read(remote),
            lambda: store.delete(remote),
            lambda: store.old_versions(remote),
            lambda: store.purge_old_versions(remote),
            lambda: store.purge(remote),
        ]
        for act in acts:
            with pytest.raises(errors.Denied, match=r"roles/secretmanager\.admin") as caught:
                act()
            assert_silent(caught.value, value, store, remote)
        with pytest.raises(errors.Denied) as caught:
            list(store.list_managed())
        assert caught.value.name == store.name


def test_nobody_listening_is_unavailable_at_once(remote: str) -> None:
    value = fresh_value()
    with closing(open_store(free_port())) as store:
        began = time.monotonic()
        with pytest.raises(errors.Unavailable) as caught:
            store.write(remote, value, marks_for(value), None)
        with pytest.raises(errors.Unavailable):
            store.read_many([remote, f"{remote}-other"])
        assert time.monotonic() - began < 5
        assert_silent(caught.value, value, store, remote)


def test_a_store_finds_its_server_again(tmp_path: Path, remote: str) -> None:
    number, value = free_port(), fresh_value()
    with closing(open_store(number)) as store:
        with running(number, tmp_path):
            put(store, remote, value)
        with pytest.raises(errors.Unavailable):
            store.read(remote)
        with running(number, tmp_path):
            assert value == read_when_it_answers(store, remote)


def read_when_it_answers(store: Store, remote: str) -> Sensitive:
    end = time.monotonic() + 20
    while True:
        try:
            return store.read(remote)
        except errors.Unavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def test_a_proxy_of_the_environment_never_sees_what_goes_to_an_endpoint(
    port: int, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    with closing(open_store(port)) as store:
        assert put(store, remote, fresh_value()).intact


def test_a_value_that_does_not_match_its_checksum_is_not_given_out(tmp_path: Path, remote: str) -> None:
    number, value = free_port(), fresh_value()
    with closing(open_store(number)) as store, running(number, tmp_path):
        put(store, remote, value)
    with closing(sqlite3.connect(tmp_path / "secrets.sqlite")) as damaged, damaged:
        damaged.execute("UPDATE versions SET checksum = checksum + 1")
    with closing(open_store(number)) as store, running(number, tmp_path):
        with pytest.raises(errors.Unavailable, match="checksum") as caught:
            store.read(remote)
        assert_silent(caught.value, value, store, remote)


@pytest.mark.parametrize("endpoint", ["10.0.0.1:80", "example.com:443", "127.0.0.1", "127.0.0.1:x", ":80", ""])
def test_an_endpoint_that_is_not_loopback_is_invalid(endpoint: str) -> None:
    with pytest.raises(errors.Invalid):
        GcpSecretManager("gcp", project=PROJECT, endpoint=endpoint)


def test_without_credentials_is_denied_and_says_how_to_sign_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(errors.Denied, match="gcloud auth application-default login"):
        GcpSecretManager("gcp", project=PROJECT)


@pytest.mark.parametrize("act", [Store.describe, Store.read, Store.delete], ids=lambda act: act.__name__)
def test_an_illegal_name_is_invalid_everywhere(store: GcpSecretManager, act: Callable[..., object]) -> None:
    with pytest.raises(errors.Invalid):
        getattr(store, act.__name__)("a/versions/1")


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (api.PermissionDenied, errors.Denied),
        (api.Unauthenticated, errors.Denied),
        (api.NotFound, errors.NotFound),
        (api.Conflict, errors.Conflict),
        (api.AlreadyExists, errors.Conflict),
        (api.Aborted, errors.Conflict),
        (api.FailedPrecondition, errors.Conflict),
        (api.InvalidArgument, errors.Invalid),
        (api.BadRequest, errors.Invalid),
        (api.ResourceExhausted, errors.Throttled),
        (api.TooManyRequests, errors.Throttled),
        (api.ServiceUnavailable, errors.Unavailable),
        (api.DeadlineExceeded, errors.Unavailable),
        (api.InternalServerError, errors.Unavailable),
        (api.Unknown, errors.Unavailable),
        (api.Cancelled, errors.Unavailable),
        (api.RetryError, errors.Unavailable),
        (api.MethodNotImplemented, errors.UnsupportedOperation),
        (auth.DefaultCredentialsError, errors.Denied),
        (auth.RefreshError, errors.Denied),
        (auth.TransportError, errors.Unavailable),
    ],
)
def test_every_error_has_one_meaning(error: Any, meaning: type[errors.KeyturnError]) -> None:
    ours = from_gcp(error("its own words", *([None] if error is api.RetryError else [])), "read", "gcp:name")
    assert type(ours) is meaning
    assert (ours.doing, ours.name) == ("read", "gcp:name")
    assert "its own words" not in str(ours)


# Leaks


def test_the_sdks_debug_logging_shows_no_payload(
    store: GcpSecretManager, remote: str, caplog: pytest.LogCaptureFixture
) -> None:
    value = fresh_value()
    google = logging.getLogger("google")
    google.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "google"):
            put(store, remote, value)
            store.read(remote)
    finally:
        google.removeHandler(caplog.handler)
    told = "".join(str(vars(record)) for record in caplog.records)
    assert value.reveal() not in told
    assert base64.b64encode(value.reveal().encode()).decode() not in told


def test_a_copy_shows_no_value(store: GcpSecretManager, remote: str) -> None:
    value = fresh_value()
    assert value.reveal() not in repr(put(store, remote, value))
