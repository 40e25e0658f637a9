"""AWS Parameter Store: the contract against the local server, and against an account where one is given.

``KEYTURN_TEST_AWS_REGION`` names the region to use with the credentials of the environment.
"""

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import boto3
import pytest
from pytest_httpserver import HTTPServer

from keyturn.catalogue.stores.aws import AwsParameterStoreSettings
from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, Locked, NotFound, Throttled, Unavailable
from keyturn.core.ports.stores import Details, OwnershipTags, RemoteSecret
from keyturn.core.rights.rights import CopyRights
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import AWS_PARAMETER_STORE
from keyturn.providers.aws.parameter_store import AwsParameterStore
from keyturn.providers.aws.parameter_tags import FEW
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.contracts.merging import MergingCases
from tests.contracts.store import Raw, StoreContract, assert_silent, fresh_value, marks_for, put
from tests.support import local_aws

pytestmark = pytest.mark.sampled(9, of="file")

REGION = "eu-central-1"
CLOUD_REGION = os.environ.get("KEYTURN_TEST_AWS_REGION", "")
# Takes what the largest values need, and no more.
TIER: Final = "Intelligent-Tiering"

Opened = Callable[..., AwsParameterStore]


class AwsContract(StoreContract):
    """What is the same against either server; ``raw`` is an SDK client that knows nothing of Keyturn."""

    kind = AWS_PARAMETER_STORE
    page_size = 50

    @pytest.fixture
    def foreign(self, raw: Any) -> Raw:
        return lambda name, value: raw.put_parameter(Name=name, Value=value, Type="SecureString", Tier=TIER)

    @pytest.fixture
    def tampered(self, raw: Any) -> Raw:
        return lambda name, value: raw.put_parameter(Name=name, Value=value, Overwrite=True)


@pytest.mark.skipif(not CLOUD_REGION, reason="KEYTURN_TEST_AWS_REGION is not set")
class TestAwsParameterStoreInTheCloud(AwsContract):
    listing_lag: ClassVar[float] = 300

    @pytest.fixture
    def raw(self) -> Iterator[Any]:
        client = boto3.Session().client("ssm", region_name=CLOUD_REGION)
        yield client
        client.close()

    @pytest.fixture
    def store(self) -> Iterator[AwsParameterStore]:
        store = AwsParameterStore("aws", region=CLOUD_REGION, tier=TIER)
        yield store
        store.close()

    @pytest.fixture
    def remote(self, raw: Any) -> Iterator[str]:
        remote = f"keyturn-test-{secrets.token_hex(6)}"
        yield remote
        only = [{"Key": "Name", "Option": "BeginsWith", "Values": [remote]}]
        for page in raw.get_paginator("describe_parameters").paginate(ParameterFilters=only):
            for told in page["Parameters"]:
                raw.delete_parameter(Name=told["Name"])


class TestAwsParameterStore(MergingCases, AwsContract):
    """The contract, and what only Parameter Store has."""

    @pytest.fixture
    def raw(self, aws: LocalAws) -> Iterator[Any]:
        client = boto3.Session().client("ssm", region_name=REGION, endpoint_url=aws.endpoint_url)
        yield client
        client.close()

    @pytest.fixture
    def opened(self, aws: LocalAws) -> Iterator[Opened]:
        """Opens stores with settings of the test's own."""
        stores = []

        def another(**settings: Any) -> AwsParameterStore:
            stores.append(AwsParameterStore("aws", **{"region": REGION, "endpoint_url": aws.endpoint_url, **settings}))
            return stores[-1]

        yield another
        for store in stores:
            store.close()

    @property
    def settings(self) -> AwsParameterStoreSettings:
        return AwsParameterStoreSettings(kind=AWS_PARAMETER_STORE, region=REGION, tier=TIER)

    @pytest.fixture
    def store(self, opened: Opened) -> AwsParameterStore:
        return opened(tier=TIER)

    # marks

    def test_the_marks_stand_in_the_description_and_people_see_a_tag(
        self, store: AwsParameterStore, raw: Any, remote: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        assert described(raw, remote)["Description"] == (
            "keyturn-managed-by=keyturn keyturn-version=1"
            f" keyturn-fingerprint={marks_for(value).fingerprint} keyturn-source=apps/payments/db@1"
        )
        assert tags(raw, remote) == {"keyturn-managed-by": "keyturn"}

    def test_an_adopted_parameter_keeps_its_tags_and_gets_ours(
        self, store: AwsParameterStore, raw: Any, remote: str
    ) -> None:
        team = [{"Key": "team", "Value": "payments"}]
        raw.put_parameter(Name=remote, Value="theirs", Type="SecureString", Description="of payments", Tags=team)
        put(store, remote, fresh_value())
        put(store, remote, fresh_value(), version=2)
        assert tags(raw, remote) == {"team": "payments", "keyturn-managed-by": "keyturn"}

    def test_tags_are_told_by_one_listing_for_many_and_asked_for_only_where_they_are_wanted(
        self, store: AwsParameterStore, remote: str
    ) -> None:
        made: list[str] = []
        for client in (store._client, store._tagging()):
            client.meta.events.register("before-call", lambda model, **_: made.append(model.name))
        value, asked = fresh_value(), Details({"team": "payments"})
        names = [f"{begin}{remote}-{number}" for number in range(FEW) for begin in ("", "/way/")]
        for name in names:
            put(store, name, value, details=asked)
        assert set(made) == {"DescribeParameters", "PutParameter"}
        made.clear()
        found = [copy for copy in store.list_managed() if copy.name in names]
        assert [copy.details for copy in found] == [None] * len(names)
        assert not set(made) - {"DescribeParameters"}
        made.clear()
        marks = replace(marks_for(value), tags=asked.names)
        assert [(copy.marks, copy.details) for copy in store.with_details(found)] == [(marks, asked)] * len(names)
        assert set(made) == {"GetResources"}
        made.clear()
        put(store, names[0], fresh_value(), 2)
        assert "ListTagsForResource" not in made

    def test_a_path_with_line_breaks_and_spaces_is_found_again(self, store: AwsParameterStore, remote: str) -> None:
        value = fresh_value()
        marks = marks_for(value, source="apps/a b\nkeyturn-version=9 \u2028/c")
        store.write(remote, value, marks, None)
        assert store.describe(remote) == RemoteSecret(remote, "1", marks)

    def test_a_path_that_no_description_can_hold_is_refused_before_anything_is_written(
        self, store: AwsParameterStore, remote: str
    ) -> None:
        value = fresh_value()
        with pytest.raises(Invalid, match="description"):
            store.write(remote, value, marks_for(value, source="a" * 1000), None)
        assert store.describe(remote) is None

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "of payments",
            "keyturn-managed-by=keyturn",
            "keyturn-managed-by=keyturn keyturn-version=1 keyturn-fingerprint= keyturn-source=apps",
        ],
    )
    def test_a_description_that_holds_no_marks_makes_it_nobodys(
        self, store: AwsParameterStore, raw: Any, remote: str, text: str
    ) -> None:
        raw.put_parameter(Name=remote, Value="theirs", Type="SecureString", Description=text)
        assert store.describe(remote) == RemoteSecret(remote, "1", None)
        assert remote not in [copy.name for copy in store.list_managed()]

    # drift

    def test_our_description_written_again_with_another_value_shows(
        self, store: AwsParameterStore, raw: Any, remote: str
    ) -> None:
        written = put(store, remote, fresh_value())
        same = described(raw, remote)["Description"]
        raw.put_parameter(Name=remote, Value="theirs", Overwrite=True, Description=same)
        assert store.describe(remote) == RemoteSecret(remote, "2", written.marks, intact=False)

    def test_a_removed_description_makes_it_nobodys_and_a_write_puts_it_back(
        self, store: AwsParameterStore, raw: Any, remote: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        raw.put_parameter(Name=remote, Value=value.reveal(), Overwrite=True, Description="")
        assert store.describe(remote) == RemoteSecret(remote, "2", None)
        assert put(store, remote, value) == store.describe(remote) == RemoteSecret(remote, "3", marks_for(value))

    def test_a_removed_tag_changes_nothing(self, store: AwsParameterStore, raw: Any, remote: str) -> None:
        written = put(store, remote, fresh_value())
        raw.remove_tags_from_resource(ResourceType="Parameter", ResourceId=remote, TagKeys=["keyturn-managed-by"])
        assert store.describe(remote) == written

    def test_deleted_and_made_again_by_somebody_else_it_is_nobodys(
        self, store: AwsParameterStore, raw: Any, remote: str, foreign: Raw
    ) -> None:
        put(store, remote, fresh_value())
        raw.delete_parameter(Name=remote)
        assert store.describe(remote) is None
        foreign(remote, fresh_value().reveal())
        assert store.describe(remote) == RemoteSecret(remote, "1", None)

    def test_a_copy_of_another_type_than_the_stores_is_written_again(
        self, store: AwsParameterStore, opened: Opened, raw: Any, remote: str
    ) -> None:
        value = fresh_value()
        put(opened(type="String"), remote, value)
        assert described(raw, remote)["Type"] == "String"
        found = store.describe(remote)
        assert found is not None
        assert not found.intact
        assert put(store, remote, value).intact
        assert described(raw, remote)["Type"] == "SecureString"
        assert store.read(remote) == value

    # races

    def test_a_write_that_another_writer_outran_is_corrected(
        self, store: AwsParameterStore, remote: str, tampered: Raw
    ) -> None:
        found = put(store, remote, fresh_value())
        tampered(remote, fresh_value().reveal())
        value = fresh_value()
        written = store.write(remote, value, marks_for(value, 2), found)
        assert written == store.describe(remote) == RemoteSecret(remote, "4", marks_for(value, 2))
        assert store.read(remote) == value

    def test_a_write_that_another_writers_delete_outran_is_corrected(
        self, store: AwsParameterStore, raw: Any, remote: str
    ) -> None:
        put(store, remote, fresh_value())
        found = put(store, remote, fresh_value(), version=2)
        raw.delete_parameter(Name=remote)
        value = fresh_value()
        written = store.write(remote, value, marks_for(value, 3), found)
        assert written == store.describe(remote) == RemoteSecret(remote, "2", marks_for(value, 3))
        assert store.read(remote) == value

    def test_a_write_whose_correction_was_cut_short_shows_and_is_finished(
        self, store: AwsParameterStore, raw: Any, remote: str, tampered: Raw
    ) -> None:
        put(store, remote, fresh_value())
        value = fresh_value()
        put(store, remote, value, version=2)
        ours = described(raw, remote)["Description"]
        tampered(remote, fresh_value().reveal())
        raw.put_parameter(Name=remote, Value=value.reveal(), Overwrite=True, Description=ours)
        cut_short = store.describe(remote)
        assert cut_short is not None
        assert not cut_short.intact
        assert (
            put(store, remote, value, version=2)
            == store.describe(remote)
            == RemoteSecret(remote, "5", marks_for(value, 2))
        )

    def test_two_runs_that_create_the_same_copy_agree(self, store: AwsParameterStore, remote: str) -> None:
        value = fresh_value()
        marks = marks_for(value)
        assert store.write(remote, value, marks, None) == store.write(remote, value, marks, None)
        assert store.describe(remote) == RemoteSecret(remote, "1", marks)

    def test_creating_over_somebody_elses_parameter_is_a_conflict(
        self, store: AwsParameterStore, raw: Any, remote: str, foreign: Raw
    ) -> None:
        foreign(remote, fresh_value().reveal())
        value = fresh_value()
        with pytest.raises(Conflict) as caught:
            store.write(remote, value, marks_for(value), None)
        assert_silent(caught.value, value, store, remote)
        assert described(raw, remote)["Version"] == 1

    def test_a_parameter_that_others_keep_writing_is_left_to_a_later_run(
        self, opened: Opened, httpserver: HTTPServer, remote: str
    ) -> None:
        httpserver.expect_request("/").respond_with_json({"Version": 7})
        store, value = opened(endpoint_url=httpserver.url_for("").rstrip("/")), fresh_value()
        with pytest.raises(Locked) as caught:
            store.write(remote, value, marks_for(value), RemoteSecret(remote, "1", marks_for(value, 2)))
        assert_silent(caught.value, value, store, remote)

    # settings

    def test_the_standard_tier_takes_4096_bytes(self, opened: Opened, raw: Any, remote: str) -> None:
        store, value = opened(), Sensitive("é" * 2_048)
        put(store, remote, value)
        assert described(raw, remote)["Tier"] == "Standard"
        assert store.read(remote) == value
        with pytest.raises(Invalid, match="4096 bytes"):
            put(store, remote, Sensitive("é" * 2_049), version=2)
        assert store.read(remote) == value

    def test_the_tier_is_as_the_settings_say(self, opened: Opened, raw: Any, remote: str) -> None:
        put(opened(tier="Advanced"), remote, fresh_value())
        assert described(raw, remote)["Tier"] == "Advanced"

    def test_a_tier_below_the_parameters_is_refused_with_a_hint(self, opened: Opened, remote: str) -> None:
        put(opened(tier="Advanced"), remote, fresh_value())
        store, value = opened(), fresh_value()
        with pytest.raises(Invalid) as caught:
            put(store, remote, value, version=2)
        assert "tier" in caught.value.hint
        assert_silent(caught.value, value, store, remote)

    def test_a_value_that_refers_to_another_parameter_is_refused_with_a_hint(
        self, store: AwsParameterStore, remote: str
    ) -> None:
        with pytest.raises(Invalid) as caught:
            put(store, remote, Sensitive("{{ssm:other}}"))
        assert "{{ }}" in caught.value.hint

    def test_the_given_kms_key_encrypts_what_is_written(self, opened: Opened, raw: Any, remote: str) -> None:
        put(opened(), remote, fresh_value())
        assert described(raw, remote)["KeyId"] == "alias/aws/ssm"
        put(opened(kms_key_id="alias/keyturn"), remote, fresh_value(), version=2)
        assert described(raw, remote)["KeyId"] == "alias/keyturn"

    def test_a_plain_string_has_no_key(self, opened: Opened, raw: Any, remote: str) -> None:
        put(opened(type="String", kms_key_id="alias/keyturn"), remote, fresh_value())
        assert "KeyId" not in described(raw, remote)

    def test_names_may_be_paths(self, store: AwsParameterStore, remote: str) -> None:
        name, value = f"/{remote}/payments/db", fresh_value()
        written = put(store, name, value)
        assert store.describe(name) == written
        assert store.describe(f"/{remote}/payments") is None
        assert store.read_many([name]) == {name: value}
        assert written in list(store.list_managed())

    def test_a_name_that_begins_as_another_is_not_found_for_it(self, store: AwsParameterStore, remote: str) -> None:
        put(store, f"{remote}-longer", fresh_value())
        assert store.describe(remote) is None

    def test_an_end_deletes_nothing(self, store: AwsParameterStore, raw: Any, remote: str) -> None:
        value = fresh_value()
        store.write(remote, value, marks_for(value), None, details=Details(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
        assert not described(raw, remote).get("Policies")

    def test_more_versions_than_aws_keeps_are_written(self, store: AwsParameterStore, remote: str) -> None:
        for version in range(1, 104):
            put(store, remote, fresh_value(), version=version)
        found = store.describe(remote)
        assert found is not None
        assert (found.version_id, found.intact) == ("103", True)

    def test_the_history_is_told_whole_and_every_version_of_it_stays(
        self, store: AwsParameterStore, raw: Any, remote: str
    ) -> None:
        values = [fresh_value() for _ in range(60)]
        raw.put_parameter(Name=remote, Value=values[0].reveal(), Type="SecureString")
        for value in values[1:]:
            raw.put_parameter(Name=remote, Value=value.reveal(), Overwrite=True)
        assert store.old_versions(remote) == {str(number): value for number, value in enumerate(values[:-1], 1)}
        stays = store.purge_old_versions(remote)
        assert len(stays) == 59
        assert stays[0].startswith("version 1 stays in the history: ")
        assert store.read(remote) == values[-1]

    def test_reading_none_asks_nothing_and_a_name_asked_twice_is_read_once(
        self, store: AwsParameterStore, remote: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        assert store.read_many([]) == {}
        assert store.read_many([remote, remote]) == {remote: value}

    # permissions and silence

    def test_the_rendered_policies_allow_what_a_store_does_and_nothing_with_others(
        self, opened: Opened, aws: LocalAws, remote: str, foreign: Raw, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adopted, theirs = f"{remote}-adopted", f"{remote}-theirs"
        for name in (adopted, theirs):
            foreign(name, fresh_value().reveal())
        settings = AwsParameterStoreSettings(kind=AWS_PARAMETER_STORE, region=REGION)
        copies = CopyRights("store-aws", "tests", (adopted, remote), (adopted,), deletes=True, tags=True)
        daily, emergency = (document.text for document in settings.rights(copies))
        local_aws.become(aws, [daily], monkeypatch)
        store, value = opened(), fresh_value()
        put(store, adopted, value)
        put(store, remote, value)
        assert store.read(remote) == store.read_many([remote])[remote] == value
        assert remote in [copy.name for copy in store.list_managed()]
        store.delete(remote)
        written = put(store, remote, value, 2, Details({"team": "a"}))
        store.relabel(remote, marks_for(value, 2), Details({}), written)
        assert len(store.with_details([written] * (FEW + 1))) > FEW
        for refused in (
            lambda: store.read(theirs),
            lambda: store.write(theirs, value, marks_for(value), None),
            lambda: store.delete(theirs),
        ):
            with pytest.raises(Denied):
                refused()
        local_aws.become(aws, [daily, emergency], monkeypatch)
        revoker = opened()
        assert revoker.old_versions(adopted) is not None
        revoker.purge_old_versions(remote)
        assert revoker.purge(remote) == ()

    def test_a_user_without_permission_is_told_which_one_is_missing(
        self, opened: Opened, aws: LocalAws, remote: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local_aws.become(aws, local_aws.POLICIES / "aws-secrets-manager.json", monkeypatch)
        store = opened()
        for call, action in (
            (lambda: store.describe(remote), "ssm:DescribeParameters"),
            (lambda: store.write(remote, fresh_value(), marks_for(fresh_value()), None), "ssm:PutParameter"),
            (lambda: store.read(remote), "ssm:GetParameter"),
            (lambda: store.delete(remote), "ssm:DeleteParameter"),
            (lambda: store.old_versions(remote), "ssm:GetParameterHistory"),
            (lambda: store.purge_old_versions(remote), "ssm:GetParameterHistory"),
            (lambda: store.purge(remote), "ssm:DeleteParameter"),
        ):
            with pytest.raises(Denied) as caught:
                call()
            assert action in caught.value.hint

    def test_debug_logs_hold_no_value(
        self, store: AwsParameterStore, remote: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        logging.getLogger("botocore").setLevel(logging.DEBUG)
        try:
            value = fresh_value()
            put(store, remote, value)
            store.read(remote)
            store.read_many([remote])
        finally:
            logging.getLogger("botocore").setLevel(logging.NOTSET)
        assert "ssm.GetParameters" in caplog.text
        assert value.reveal() not in caplog.text


def described(raw: Any, remote: str) -> dict[str, Any]:
    only = [{"Key": "Name", "Values": [remote]}]
    told: dict[str, Any] = raw.describe_parameters(ParameterFilters=only)["Parameters"][0]
    return told


def tags(raw: Any, remote: str) -> dict[str, str]:
    told = raw.list_tags_for_resource(ResourceType="Parameter", ResourceId=remote)["TagList"]
    return {tag["Key"]: tag["Value"] for tag in told}


# answers that the local server does not give


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDeniedException", 400, Denied),
        ("HierarchyTypeMismatchException", 400, Invalid),
        ("InternalServerError", 500, Unavailable),
        ("InvalidKeyId", 400, Invalid),
        ("ParameterLimitExceeded", 400, Invalid),
        ("ParameterMaxVersionLimitExceeded", 400, Invalid),
        ("ParameterNotFound", 400, NotFound),
        ("ParameterPatternMismatchException", 400, Invalid),
        ("ThrottlingException", 400, Throttled),
        ("TooManyUpdates", 400, Locked),
        ("ValidationException", 400, Invalid),
    ],
)
def test_an_answer_becomes_the_error_that_says_whether_to_retry(
    aws: LocalAws, httpserver: HTTPServer, code: str, status: int, expected: type[KeyturnError]
) -> None:
    value = fresh_value()
    body = {"__type": code, "message": f"about {value.reveal()}"}
    httpserver.expect_request("/").respond_with_json(body, status=status)
    store = AwsParameterStore("aws", region=REGION, endpoint_url=httpserver.url_for("").rstrip("/"))
    with pytest.raises(expected) as caught:
        store.write("a", value, marks_for(value), RemoteSecret("a", "1", marks_for(value, 2)))
    store.close()
    assert type(caught.value) is expected
    assert code in caught.value.problem
    assert caught.value.hint or expected in (Locked, NotFound)
    assert_silent(caught.value, value, store, "a")


@pytest.mark.parametrize("answer", ["<html>gateway</html>", '{"Parameters": [{"Name": "a"}]}'])
def test_an_answer_that_is_not_from_aws_is_unavailable(aws: LocalAws, httpserver: HTTPServer, answer: str) -> None:
    httpserver.expect_request("/").respond_with_data(answer, status=200)
    store, value = (
        AwsParameterStore("aws", region=REGION, endpoint_url=httpserver.url_for("").rstrip("/")),
        fresh_value(),
    )
    marks = OwnershipTags("apps", 1, "")
    for call in (
        lambda: store.describe("a"),
        lambda: store.read("a"),
        lambda: store.read_many(["a"]),
        lambda: list(store.list_managed()),
        lambda: store.write("a", value, marks, None),
        lambda: store.write("a", value, marks, RemoteSecret("a", "1", marks, intact=False)),
    ):
        with pytest.raises(Unavailable):
            call()
    store.close()


def test_an_endpoint_that_nobody_listens_on_is_unavailable(aws: LocalAws) -> None:
    store = AwsParameterStore("aws", region=REGION, endpoint_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable):
        list(store.list_managed())
    store.close()


@pytest.mark.parametrize("settings", [{"endpoint_url": "no url"}, {"region": "no region"}])
def test_malformed_settings_are_invalid(settings: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="malformed"):
        AwsParameterStore("aws", **{"region": REGION, **settings})  # type: ignore[arg-type]
