"""Access keys of IAM users, against the local AWS."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from keyturn.core.errors import CandidateRejected, Denied, Invalid, NotFound, Unavailable
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.providers.aws import iam as aws_iam
from keyturn.providers.aws.iam import AwsIam
from keyturn.revocation.incidents.incident import Mode
from keyturn.strategies.aws_iam_key import AwsIamKey
from keyturn.strategies.cloud_keys import STEPS
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.revoking import assert_ended_though_unreadable
from tests.support import local_aws
from tests.support.lab import Lab

pytestmark = pytest.mark.sampled(9, of="file")

REGION = "eu-central-1"
POLICIES = Path(__file__).parents[2] / "deployments" / "policies"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """The local AWS, with its key in the environment instead of whatever the machine has."""
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server, pytest.MonkeyPatch.context() as patch:
        local_aws.use(server, patch)
        yield server


@pytest.fixture(scope="module")
def iam(aws: LocalAws) -> Iterator[Any]:
    client = boto3.Session().client("iam", region_name="us-east-1", endpoint_url=aws.endpoint_url)
    yield client
    client.close()


@pytest.fixture
def target(aws: LocalAws) -> Iterator[AwsIam]:
    opened = AwsIam("aws", region=REGION, endpoint_url=aws.endpoint_url)
    yield opened
    opened.close()


@pytest.fixture
def user(iam: Any) -> str:
    return new_user(iam)


@pytest.fixture
def strategy(target: AwsIam, user: str) -> AwsIamKey:
    return AwsIamKey(target, user)


@pytest.fixture
def case(aws: LocalAws, iam: Any, strategy: AwsIamKey) -> Case:
    def works(fields: SecretFields) -> bool:
        return signs_in(aws, fields)

    def session(fields: SecretFields) -> AbstractContextManager[object]:
        return nullcontext(works(fields))

    current, stranger = new_key(iam, strategy.account), new_key(iam, new_user(iam))
    return Case(strategy, current, works, other_secret, session, stranger)


def new_user(iam: Any) -> str:
    name = f"app-{secrets.token_hex(4)}"
    iam.create_user(UserName=name, Path="/applications/")
    return name


def new_key(iam: Any, user: str) -> SecretFields:
    """A key that somebody made at AWS, with another field next to it."""
    key = iam.create_access_key(UserName=user)["AccessKey"]
    fields = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
    return SecretFields({**fields, "bucket": "models"})


def other_secret(candidate: SecretFields) -> SecretFields:
    return candidate.merged({"secret_access_key": "n0t-the-secret-that-was-made"})


def signs_in(aws: LocalAws, fields: SecretFields) -> bool:
    """Whether an application can use the key."""
    plain = fields.reveal()
    sts = boto3.Session().client(
        "sts",
        region_name=REGION,
        endpoint_url=aws.endpoint_url,
        aws_access_key_id=plain["access_key_id"],
        aws_secret_access_key=plain["secret_access_key"],
    )
    with closing(sts):
        try:
            sts.get_caller_identity()
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("InvalidClientTokenId", "SignatureDoesNotMatch"):
                raise
            return False
    return True


def ids(iam: Any, user: str) -> dict[str, str]:
    """The user's keys and their states, by AWS's own word."""
    return {key["AccessKeyId"]: key["Status"] for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]}


def not_yet(_: float) -> None:
    """Wait for nothing: for keys that will not come."""


class TestAwsIamKey(StrategyContract):
    changes = frozenset({"access_key_id", "secret_access_key"})

    @pytest.fixture
    def case(self, case: Case) -> Case:
        return case

    def test_a_candidate_holds_only_what_changes_and_each_is_new(self, case: Case) -> None:
        """One after the other: AWS allows a user two keys."""
        first = case.strategy.mint(case.current)
        case.strategy.abandon(Change("apps/contract", 5, first, case.current))
        second = case.strategy.mint(case.current)
        assert set(first) == set(second) == self.changes
        for field in self.changes:
            assert len({first[field], second[field], case.current[field]}) == 3


# room for another key


def test_a_full_user_is_told_with_the_other_keys_and_nothing_changes(
    case: Case, strategy: AwsIamKey, iam: Any, user: str
) -> None:
    foreign = new_key(iam, user)
    assert case.works(foreign)
    iam.update_access_key(UserName=user, AccessKeyId=foreign["access_key_id"].reveal(), Status="Inactive")
    before = ids(iam, user)
    with pytest.raises(Invalid) as caught:
        strategy.preflight(case.current, None)
    assert f"{foreign['access_key_id'].reveal()} (switched off" in caught.value.problem
    assert f"last used on {datetime.now(UTC):%Y-%m-%d}" in caught.value.problem
    assert case.current["access_key_id"].reveal() not in caught.value.problem
    assert "Delete" in caught.value.hint
    assert (ids(iam, user), case.works(case.current)) == (before, True)


def test_a_secret_without_a_key_yet_names_both_that_are_in_the_way(strategy: AwsIamKey, iam: Any, user: str) -> None:
    keys = [new_key(iam, user)["access_key_id"].reveal() for _ in range(2)]
    with pytest.raises(Invalid) as caught:
        strategy.preflight(None, None)
    assert all(f"{key} (active" in caught.value.problem for key in keys)
    assert caught.value.problem.count("no use known") == 2


def test_a_key_that_came_between_guard_and_mint_is_refused_too(
    case: Case, strategy: AwsIamKey, iam: Any, user: str
) -> None:
    strategy.preflight(case.current, None)
    new_key(iam, user)
    before = ids(iam, user)
    with pytest.raises(Invalid, match="two access keys"):
        strategy.mint(case.current)
    assert ids(iam, user) == before


def test_a_full_user_is_no_obstacle_to_a_candidate_that_is_there(case: Case, strategy: AwsIamKey) -> None:
    strategy.preflight(case.current, strategy.mint(case.current))


def test_a_user_that_is_not_there_is_named(target: AwsIam) -> None:
    with pytest.raises(NotFound, match="aws:nobody") as caught:
        AwsIamKey(target, "nobody").preflight(None, None)
    assert caught.value.hint


def test_a_secret_that_holds_no_key_yet_can_begin(strategy: AwsIamKey) -> None:
    strategy.preflight(SecretFields({"bucket": "models"}), None)
    assert strategy.credential_id(SecretFields({"bucket": "models"})) == {}


# a new key


def test_a_candidate_of_another_user_is_rejected(case: Case, strategy: AwsIamKey) -> None:
    assert case.stranger is not None
    with pytest.raises(CandidateRejected, match="another identity"):
        strategy.verify(Change("apps/contract", 5, case.stranger, case.current))


def test_a_new_key_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalAws(tmp_path, free_port(), key_settle=1.2) as slow:
        local_aws.use(slow, monkeypatch)
        iam = boto3.Session().client("iam", region_name="us-east-1", endpoint_url=slow.endpoint_url)
        target = AwsIam("aws", region=REGION, endpoint_url=slow.endpoint_url)
        strategy, began = AwsIamKey(target, new_user(iam)), time.monotonic()
        change = Change("apps/slow", 5, strategy.mint(None), None)
        assert not signs_in(slow, change.candidate)
        strategy.verify(change)
        assert time.monotonic() - began > 1
        target.close()
        iam.close()


def test_a_key_that_is_listed_but_never_taken_is_kept_for_a_later_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    with LocalAws(tmp_path, free_port(), key_settle=3600) as slow:
        local_aws.use(slow, monkeypatch)
        iam = boto3.Session().client("iam", region_name="us-east-1", endpoint_url=slow.endpoint_url)
        target = AwsIam("aws", region=REGION, endpoint_url=slow.endpoint_url)
        strategy = AwsIamKey(target, new_user(iam), waits.append)
        with pytest.raises(Unavailable, match="40 s") as caught:
            strategy.verify(Change("apps/slow", 5, strategy.mint(None), None))
        assert caught.value.hint
        target.close()
        iam.close()
    assert tuple(waits) == STEPS


@pytest.mark.parametrize(("spoil", "said"), [("delete", "is not there"), ("deactivate", "switched off")])
def test_a_candidate_that_somebody_ended_is_rejected(
    case: Case, target: AwsIam, user: str, iam: Any, spoil: str, said: str
) -> None:
    strategy = AwsIamKey(target, user, not_yet)
    candidate = strategy.mint(case.current)
    key_id = candidate["access_key_id"].reveal()
    if spoil == "delete":
        iam.delete_access_key(UserName=user, AccessKeyId=key_id)
    else:
        iam.update_access_key(UserName=user, AccessKeyId=key_id, Status="Inactive")
    with pytest.raises(CandidateRejected, match=said):
        strategy.verify(Change("apps/contract", 5, candidate, case.current))


# the old key


def test_the_old_key_is_in_use_while_it_was_used_after_the_promotion(case: Case, strategy: AwsIamKey) -> None:
    ends, now = strategy.credential_id(case.current), datetime.now(UTC)
    assert strategy.in_use(ends, now - timedelta(days=1)) == ()
    assert case.works(case.current)
    (told,) = strategy.in_use(ends, now - timedelta(days=1))
    assert case.current["access_key_id"].reveal() in told
    assert f"sts in {REGION}" in told
    assert f"{now:%Y-%m-%d}" in told
    assert strategy.in_use(ends, now + timedelta(minutes=1)) == ()


def test_a_key_or_user_that_is_gone_is_not_in_use(case: Case, strategy: AwsIamKey, iam: Any, user: str) -> None:
    ends = strategy.credential_id(case.current)
    assert case.works(case.current)
    strategy.retire(ends, 5)
    assert strategy.in_use(ends, datetime.now(UTC) - timedelta(days=1)) == ()
    iam.delete_user(UserName=user)
    assert strategy.in_use(ends, datetime.now(UTC) - timedelta(days=1)) == ()
    strategy.retire(ends, 5)


def test_ending_a_key_switches_it_off_before_it_is_deleted(
    case: Case, aws: LocalAws, iam: Any, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen with an admin who may deactivate and not delete: the key is off although the deletion failed."""
    sign_in_as(iam, monkeypatch, policy_without("iam:DeleteAccessKey"))
    restricted = AwsIam("aws", region=REGION, endpoint_url=aws.endpoint_url)
    with closing(restricted), pytest.raises(Denied, match=f"aws:{user}") as caught:
        AwsIamKey(restricted, user).retire(case.strategy.credential_id(case.current), 5)
    assert "iam:DeleteAccessKey" in caught.value.hint
    assert ids(iam, user) == {case.current["access_key_id"].reveal(): "Inactive"}
    assert not case.works(case.current)


def test_an_abandonment_spares_the_key_that_current_has_come_to_name(case: Case, strategy: AwsIamKey) -> None:
    change = case.installed()
    strategy.abandon(Change(change.path, 6, change.candidate, case.current.merged(change.candidate)))
    assert case.works(case.current.merged(change.candidate))


def test_the_old_key_is_ended_of_the_user_that_it_was_named_with(case: Case, target: AwsIam, iam: Any) -> None:
    """The catalogue may name another user by then."""
    ends = case.strategy.credential_id(case.current)
    AwsIamKey(target, new_user(iam)).retire(ends, 5)
    assert not case.works(case.current)


# an emergency


def opened_session(aws: LocalAws, fields: SecretFields) -> Callable[[], bool]:
    """A session that somebody has got with the key, and whether it may read secrets still."""
    plain = fields.reveal()
    signing: dict[str, Any] = {
        "aws_access_key_id": plain["access_key_id"],
        "aws_secret_access_key": plain["secret_access_key"],
    }
    at: dict[str, Any] = {"region_name": REGION, "endpoint_url": aws.endpoint_url}
    with closing(boto3.Session().client("sts", **at, **signing)) as sts:
        got = sts.get_session_token()["Credentials"]
    token: dict[str, Any] = {"aws_access_key_id": got["AccessKeyId"], "aws_secret_access_key": got["SecretAccessKey"]}

    def works() -> bool:
        client = boto3.Session().client("secretsmanager", **at, **token, aws_session_token=got["SessionToken"])
        with closing(client):
            try:
                client.list_secrets()
            except ClientError as error:
                if error.response["Error"]["Code"] != "AccessDeniedException":
                    raise
                return False
        return True

    return works


@pytest.fixture
def reader(iam: Any, user: str) -> str:
    """The user, who may read secrets."""
    allowed = {"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName=user, PolicyName="reads", PolicyDocument=document)
    return user


def revoked(iam: Any, user: str) -> dict[str, Any] | None:
    """The policy that refuses older sessions, as AWS tells it."""
    if aws_iam.REVOKED not in iam.list_user_policies(UserName=user)["PolicyNames"]:
        return None
    found: dict[str, Any] = iam.get_user_policy(UserName=user, PolicyName=aws_iam.REVOKED)["PolicyDocument"]
    return found


@pytest.mark.usefixtures("reader")
def test_a_cut_ends_the_sessions_that_the_key_was_traded_for_and_no_later_ones(
    case: Case, aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_iam, "ARRIVAL", timedelta(seconds=1))
    old = opened_session(aws, case.current)
    case.strategy.retire(case.strategy.credential_id(case.current), 5)
    assert old()
    kept = case.strategy.mint(None)
    (told,) = case.strategy.revoke(kept, 6).outlives
    assert "roles" in told
    assert not old()
    fresh = case.strategy.mint(None)
    time.sleep(2.1)
    assert opened_session(aws, fresh)()


def test_a_new_key_is_not_touched_by_the_policy_against_older_sessions(
    case: Case, aws: LocalAws, iam: Any, reader: str
) -> None:
    case.strategy.revoke(case.current, 6)
    plain = case.strategy.mint(None).reveal()
    signing: dict[str, Any] = {
        "aws_access_key_id": plain["access_key_id"],
        "aws_secret_access_key": plain["secret_access_key"],
    }
    client = boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=aws.endpoint_url, **signing)
    with closing(client):
        assert client.list_secrets()["SecretList"] == []
    assert revoked(iam, reader) is not None


def test_sessions_are_refused_from_half_a_minute_after_the_cut_backwards(case: Case, iam: Any, user: str) -> None:
    case.strategy.revoke(case.current, 6)
    policy = revoked(iam, user)
    assert policy is not None
    (statement,) = policy["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", "*", "*")
    until = datetime.fromisoformat(statement["Condition"]["DateLessThan"]["aws:TokenIssueTime"])
    assert timedelta(seconds=10) < until - datetime.now(UTC) <= timedelta(seconds=30)


def test_the_same_cut_of_a_key_that_is_gone_leaves_newer_sessions_alone(case: Case, iam: Any, user: str) -> None:
    """A run that goes on where another died must not end what consumers have opened since with the new key."""
    first = case.strategy.revoke(case.current, 6)
    aged = aws_iam.revoking(datetime.now(UTC) - timedelta(hours=1), 6)
    iam.put_user_policy(UserName=user, PolicyName=aws_iam.REVOKED, PolicyDocument=json.dumps(aged))
    assert case.strategy.revoke(case.current, 6) == first
    assert case.strategy.revoke(case.current, 5) == first
    assert revoked(iam, user) == aged
    case.strategy.revoke(case.current, 7)
    assert revoked(iam, user) != aged


def test_sessions_of_a_key_that_somebody_deleted_by_hand_are_ended_all_the_same(
    case: Case, iam: Any, user: str
) -> None:
    iam.delete_access_key(UserName=user, AccessKeyId=case.current["access_key_id"].reveal())
    case.strategy.revoke(case.current, 6)
    assert revoked(iam, user) is not None


def test_a_user_who_is_gone_has_no_sessions(case: Case, strategy: AwsIamKey, iam: Any, user: str) -> None:
    strategy.retire(strategy.credential_id(case.current), 5)
    iam.delete_user(UserName=user)
    (told,) = strategy.revoke(case.current, 6).outlives
    assert "roles" in told


@pytest.mark.parametrize("key_id", ["", "TODO", "not an id"])
def test_an_id_that_no_key_can_have_is_cut_quietly(case: Case, strategy: AwsIamKey, key_id: str) -> None:
    assert strategy.revoke(case.current.merged({"access_key_id": key_id}), 6).sessions == 0
    assert strategy.revoke(case.current.merged({"access_key_id": ""}), 6) == RevokeResult()
    assert case.works(case.current)


def test_without_the_right_to_revoke_sessions_the_key_ends_and_the_sessions_are_told(
    case: Case, aws: LocalAws, iam: Any, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = opened_session(aws, case.current)
    sign_in_as(iam, monkeypatch, policy_without())
    with closing(AwsIam("aws", region=REGION, endpoint_url=aws.endpoint_url)) as restricted:
        first = AwsIamKey(restricted, reader).revoke(case.current, 6)
        again = AwsIamKey(restricted, reader).revoke(case.current, 6)
    assert ids(iam, reader) == {}
    assert old()
    for told in (first, again):
        assert "36 hours" in told.outlives[0]
        assert "iam:PutUserPolicy" in told.outlives[0] or "iam:GetUserPolicy" in told.outlives[0]
        assert len(told.outlives) == 2


def test_the_policy_lets_sessions_be_revoked_of_users_within_the_boundary(
    case: Case, aws: LocalAws, iam: Any, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, policy = opened_session(aws, case.current), policy_without()
    boundary = "arn:aws:iam::123456789012:policy/keyturn-applications"
    iam.put_user_permissions_boundary(UserName=reader, PermissionsBoundary=boundary)
    sign_in_as(iam, monkeypatch, policy)
    with closing(AwsIam("aws", region=REGION, endpoint_url=aws.endpoint_url)) as restricted:
        told = AwsIamKey(restricted, reader).revoke(case.current, 6)
        assert AwsIamKey(restricted, reader).revoke(case.current, 6) == told
    assert len(told.outlives) == 1
    assert not old()


def test_a_key_that_can_not_be_deleted_is_off_and_its_sessions_too(
    case: Case, aws: LocalAws, iam: Any, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = opened_session(aws, case.current)
    everything_but = {"Effect": "Allow", "NotAction": "iam:DeleteAccessKey", "Resource": "*"}
    sign_in_as(iam, monkeypatch, {"Version": "2012-10-17", "Statement": [everything_but]})
    restricted = AwsIam("aws", region=REGION, endpoint_url=aws.endpoint_url)
    with closing(restricted), pytest.raises(Denied, match="iam:DeleteAccessKey"):
        AwsIamKey(restricted, reader).revoke(case.current, 6)
    assert ids(iam, reader) == {case.current["access_key_id"].reveal(): "Inactive"}
    assert not case.works(case.current)
    assert not old()


def test_a_user_with_a_foreign_key_has_room_for_the_replacement(case: Case, iam: Any, user: str) -> None:
    foreign = new_key(iam, user)
    case.strategy.revoke(case.current, 6)
    case.strategy.preflight(None, None)
    change = Change("apps/contract", 7, case.strategy.mint(case.current), case.current)
    case.strategy.preflight(None, change.candidate)
    case.strategy.verify(change)
    assert case.works(change.candidate)
    assert case.works(foreign)


def test_a_key_is_honoured_whoever_s_it_is(case: Case, strategy: AwsIamKey, iam: Any, user: str) -> None:
    assert case.stranger is not None
    assert strategy.accepts(case.stranger) is True
    assert strategy.accepts(other_secret(case.current)) is False
    iam.update_access_key(UserName=user, AccessKeyId=case.current["access_key_id"].reveal(), Status="Inactive")
    assert strategy.accepts(case.current) is False


@pytest.mark.parametrize("field", ["access_key_id", "secret_access_key"])
def test_half_a_key_can_not_be_tried(case: Case, strategy: AwsIamKey, field: str) -> None:
    assert strategy.accepts(case.current.merged({field: ""})) is None
    kept = {name: value for name, value in case.current.items() if name != field}
    assert strategy.accepts(SecretFields(kept)) is None


def test_a_refusal_proves_nothing_where_keyturn_itself_is_refused(
    case: Case, aws: LocalAws, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is where this machine's clock is off, or the region is not switched on."""
    case.strategy.revoke(case.current, 6)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "n0t-a-secret")
    with closing(AwsIam("aws", region=REGION, endpoint_url=aws.endpoint_url)) as stranger, pytest.raises(Denied):
        AwsIamKey(stranger, user).accepts(case.current)


# after a crash


def test_a_worker_that_sweeps_too_late_spares_what_a_newer_rotation_put_in_force(case: Case) -> None:
    before = case.existing_ids()
    newer = case.installed()
    case.strategy.verify(newer)
    case.remove_orphans(before, [case.current])
    assert case.works(case.current.merged(newer.candidate))


# permissions


def policy_without(action: str = "") -> dict[str, Any]:
    """What whoever revokes has: both policies, but for one action."""
    texts = [(POLICIES / f"aws-iam{role}.json").read_text() for role in ("", "-revoker")]
    statements = [statement for text in texts for statement in json.loads(text)["Statement"]]
    for statement in statements:
        statement["Action"] = [listed for listed in statement["Action"] if listed != action]
    return {"Version": "2012-10-17", "Statement": [statement for statement in statements if statement["Action"]]}


def sign_in_as(iam: Any, monkeypatch: pytest.MonkeyPatch, policy: dict[str, Any]) -> str:
    """Be a fresh user, who may do what the policy says."""
    admin = f"admin-{secrets.token_hex(4)}"
    iam.create_user(UserName=admin)
    iam.put_user_policy(UserName=admin, PolicyName="may", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=admin)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    return admin


def test_the_policy_allows_a_whole_rotation_and_no_other_users_keys(
    case: Case, aws: LocalAws, iam: Any, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = sign_in_as(iam, monkeypatch, policy_without())
    target = AwsIam("aws", region=REGION, endpoint_url=aws.endpoint_url)
    strategy = AwsIamKey(target, user)
    strategy.preflight(case.current, None)
    before = strategy.existing_ids()
    change = Change("apps/policy", 5, strategy.mint(case.current), case.current)
    strategy.remove_orphans(before, [case.current, change.candidate])
    strategy.verify(change)
    ends = strategy.credential_id(case.current)
    strategy.in_use(ends, datetime.now(UTC))
    strategy.retire(ends, 5)
    assert list(ids(iam, user)) == [change.candidate["access_key_id"].reveal()]
    with pytest.raises(Denied) as caught:
        AwsIamKey(target, admin).mint(None)
    assert "iam:CreateAccessKey" in caught.value.hint
    target.close()


def test_no_error_holds_a_secret_access_key(case: Case, strategy: AwsIamKey, iam: Any, user: str) -> None:
    new_key(iam, user)
    for verb in (lambda: strategy.preflight(case.current, None), lambda: strategy.mint(case.current)):
        with pytest.raises(Invalid) as caught:
            verb()
        assert case.current["secret_access_key"].reveal() not in repr(caught.value.args)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("how", ["delete", "destroy"])
def test_a_key_of_a_version_that_nobody_can_read_is_ended_and_proven(
    lab: Lab, case: Case, mode: Mode, how: str
) -> None:
    assert_ended_though_unreadable(lab, case, mode, how)
