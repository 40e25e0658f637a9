"""The rendered AWS policies allow the whole work and incidents, and nothing more."""

import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from keyturn.catalogue import Catalogue
from keyturn.core.plan import Action
from keyturn.core.rights.aws_rights import BOUNDARY
from keyturn.core.rights.capabilities import capability
from keyturn.core.rights.posture import Safety, TellsPosture
from keyturn.core.rights.rights import Verdict
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.doctor import elsewhere
from keyturn.revocation.incidents.incident import Mode
from keyturn.rights.accounts import target_documents
from keyturn.rights.copies import store_documents
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.cli.command import run_keyturn
from tests.support import local_aws
from tests.support.clock import Clock
from tests.support.lab import Lab, fresh
from tests.wall.rendered import ORIGIN, end_leaked, opened

pytestmark = pytest.mark.sampled(37, of="files")

REGION, ELSEWHERE = "eu-central-1", "eu-west-1"
ACCOUNT = "123456789012"
ABOUT: Final = {"owner": "tests@example.com", "classification": "internal"}
MARK: Final = [{"Key": "keyturn-managed-by", "Value": "keyturn"}]
STORES = ("aws", "ssm")
AWAY: Final = [{"Region": "us-east-1"}]
ADMINISTRATOR: Final = "arn:aws:iam::aws:policy/AdministratorAccess"


@dataclass
class Site:
    """Secrets with copies in both stores, and a user's access key; logins with the rendered policies alone."""

    lab: Lab
    aws: LocalAws
    patch: pytest.MonkeyPatch
    folder: str = field(default_factory=fresh)
    clock: Clock = field(default_factory=Clock)
    calls: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.user = f"app-{self.folder}"
        self.value, self.key, self.shared = (f"tests/{self.folder}-{name}" for name in ("value", "key", "shared"))
        self.gone = f"tests/{self.folder}-gone"

    @property
    def paths(self) -> tuple[str, ...]:
        """What is declared."""
        return tuple(path for path in (self.value, self.key, self.shared, self.gone) if path not in self.without)

    @property
    def catalogue(self) -> Catalogue:
        """With each secret's copies in both stores; the shared one's as a key in a secret of somebody else."""
        place = {"region": REGION, "endpoint_url": self.aws.endpoint_url, "writes_per_second": 100_000}
        deleting = {**place, "deletion": "delete", "delete_after": "0s", "tags": {"team": "ml"}}
        generated = {"strategy": "generated", "interval": "30d", "grace": "0s"}
        rotated = {"strategy": "aws-iam-key", "target": "iam", "user": self.user, "interval": "30d", "grace": "0s"}
        return Catalogue.model_validate(
            {
                "stores": {
                    "aws": {"kind": "aws-secrets-manager", **deleting, "replicas": [ELSEWHERE]},
                    "ssm": {"kind": "aws-parameter-store", **deleting},
                },
                "targets": {"iam": {"kind": "aws-iam", "region": REGION, "endpoint_url": self.aws.endpoint_url}},
                "secrets": {
                    path: {
                        **ABOUT,
                        "path": path,
                        "rotation": rotated if path == self.key else generated,
                        "destinations": [self.destination(path, store) for store in STORES],
                    }
                    for path in self.paths
                },
            }
        )

    def destination(self, path: str, store: str) -> dict[str, Any]:
        """Where a copy is."""
        if path == self.shared:
            return {"store": store, "name": self.theirs, "fields": {"password": "value"}, "merge": True}
        described = {"description": "A copy"} if store == "aws" else {}
        return {"store": store, "name": self.name(path), "adopt": path == self.value, **described}

    @property
    def theirs(self) -> str:
        """The name of a secret that somebody else owns, with a key of ours in it."""
        return f"theirs-{self.folder}"

    @property
    def foreign(self) -> str:
        """The name of what nobody declares."""
        return f"foreign-{self.folder}"

    @property
    def others(self) -> str:
        """The name of what another catalogue has made, with the same mark."""
        return f"others-{self.folder}"

    def name(self, path: str) -> str:
        """What a copy is called."""
        return path.replace("/", "-")

    def client(self, service: str, region: str = REGION, **key: str) -> Any:
        """The SDK's own, with everybody's rights unless a key is given."""
        own = key or self.root
        session: Any = boto3.Session()
        return session.client(service, region_name=region, endpoint_url=self.aws.endpoint_url, **own)

    @property
    def root(self) -> dict[str, str]:
        """The key that may do everything."""
        return self.keys["root"]

    def lay_out(self) -> None:
        """What is there before Keyturn comes: secrets in the hub, a user, and others' secrets."""
        key = local_aws.key_of(self.aws)
        self.keys["root"] = key
        with closing(self.client("iam")) as iam:
            iam.create_user(UserName=self.user, Path="/applications/")
            arn = f"arn:aws:iam::{ACCOUNT}:policy/{BOUNDARY}"
            iam.put_user_permissions_boundary(UserName=self.user, PermissionsBoundary=arn)
            first = iam.create_access_key(UserName=self.user)["AccessKey"]
        held = {"access_key_id": first["AccessKeyId"], "secret_access_key": first["SecretAccessKey"]}
        for path in self.paths:
            fields = held if path == self.key else {"value": secrets.token_urlsafe(24)}
            self.lab.hub.write(path, SecretFields(fields), cas=0)
        with closing(self.client("secretsmanager")) as manager, closing(self.client("ssm")) as parameters:
            for name, text in ((self.theirs, '{"user": "app"}'), (self.name(self.value), "before Keyturn")):
                manager.create_secret(Name=name, SecretString=text)
                parameters.put_parameter(Name=name, Value=text, Type="SecureString")
            manager.create_secret(Name=self.foreign, SecretString="theirs")
            parameters.put_parameter(Name=self.foreign, Value="theirs", Type="SecureString")
        for role in ("worker", "revoker"):
            self.keys[role] = self.login(role)

    def documents(self, role: str) -> list[dict[str, Any]]:
        """The rendered policies that a role has."""
        made = [*store_documents(self.catalogue, ORIGIN), *target_documents(self.catalogue, ORIGIN)]
        return [json.loads(each.text) for each in made if role == "revoker" or "-revoker" not in each.name]

    def login(self, role: str, more: tuple[dict[str, Any], ...] = ()) -> dict[str, str]:
        """The key of a fresh user with the rendered policies, who may ask what it may do."""
        name = f"{role}-{secrets.token_hex(4)}"
        asking = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": f"arn:aws:iam::*:user/{name}"}
        with closing(self.client("iam")) as iam:
            iam.create_user(UserName=name)
            for number, document in enumerate((*self.documents(role), {"Statement": [asking, *more]})):
                text = json.dumps({"Version": "2012-10-17", **document})
                iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=text)
            key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def sign_in(self, role: str) -> None:
        """Let what Keyturn opens from now on be this login."""
        for name, text in self.keys[role].items():
            self.patch.setenv(name.upper(), text)

    def workspace(self, role: str) -> Workspace:
        """What works with that login; every call is noted."""
        self.sign_in(role)
        send, noted = BaseClient._make_api_call, self.calls[role]  # type: ignore[attr-defined]

        def make(client: Any, operation: str, arguments: Any) -> Any:
            noted.add(f"{client.meta.service_model.signing_name}:{operation}")
            return send(client, operation, arguments)

        self.patch.setattr(BaseClient, "_make_api_call", make)
        return opened(self.lab, self.catalogue, self.clock)

    def sync(self, workspace: Workspace) -> set[Action]:
        """Make and carry out a plan; what it had to do."""
        planned = plan(workspace, deep=True)
        results = carry_out(workspace, planned, local_executor(Applier(workspace)))
        assert [result.error for result in results if result.error] == []
        return {item.action for item in planned.items}

    def verdicts(self, role: str, *places: str) -> list[Verdict]:
        """What AWS says of the login in use, at these places or at all."""
        wanted = places or ("store aws", "store ssm", "target iam")
        stores = {name: store for name, store in self.catalogue.stores.items() if f"store {name}" in wanted}
        targets = self.catalogue.targets if "target iam" in wanted else {}
        part = self.catalogue.model_copy(update={"stores": stores, "targets": targets})
        return [answer.verdict for answer in elsewhere.ask_everyone(part, role)]


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        aws = stack.enter_context(LocalAws(tmp_path_factory.mktemp("aws"), free_port()))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        local_aws.use(aws, patch)
        made = Site(lab, aws, patch)
        made.lay_out()
        yield made


@pytest.fixture(scope="module")
def worked(site: Site) -> Site:
    """The same, when a worker has rotated and pushed, healed what others wrote, and deleted what left the catalogue."""
    workspace = site.workspace("worker")
    for _ in range(2):
        for path in site.paths:
            rotated = rotate(workspace, path, Trigger.FORCE)
            assert [copy for copy in rotated.destinations if not copy.in_step] == []
            retire(workspace, path)
    assert site.sync(workspace) == {Action.IN_SYNC}
    with closing(site.client("secretsmanager")) as manager, closing(site.client("ssm")) as parameters:
        manager.put_secret_value(SecretId=site.name(site.key), SecretString="tampered")
        manager.untag_resource(SecretId=site.name(site.key), TagKeys=["team"])
        manager.remove_regions_from_replication(SecretId=site.name(site.gone), RemoveReplicaRegions=[ELSEWHERE])
        parameters.put_parameter(Name=site.name(site.key), Value="tampered", Type="SecureString", Overwrite=True)
    assert len(site.sync(workspace)) > 1
    assert site.sync(workspace) == {Action.IN_SYNC}
    # What the nightly doctor asks.
    tells = capability(workspace.open_store("aws"), TellsPosture)
    assert tells
    assert Safety.UNSEEN not in {found.safety for found in tells.posture([site.name(site.key)])}
    site.without = (site.gone,)
    workspace = site.workspace("worker")
    for _ in range(2):
        site.sync(workspace)
        site.clock.advance(timedelta(minutes=1))
    with closing(site.client("ssm")) as parameters:
        assert parameters.get_parameters(Names=[site.name(site.gone)])["InvalidParameters"]
    return site


@pytest.fixture(scope="module")
def revoked(worked: Site) -> Site:
    """The same, after an incident whose copies are replaced, and one whose copies go."""
    for mode in (Mode.REPLACE, Mode.REVOKE_ONLY):
        end_leaked(worked.workspace("revoker"), worked.paths, mode)
    return worked


def test_with_the_rendered_policies_the_whole_job_is_done_and_an_incident(revoked: Site) -> None:
    assert {call for call in revoked.calls["worker"] if call.startswith("secretsmanager:Delete")}
    with closing(revoked.client("secretsmanager")) as manager:
        there = {secret["Name"] for secret in manager.list_secrets()["SecretList"]}
    assert there >= {revoked.theirs, revoked.foreign}
    assert revoked.name(revoked.key) not in there


@pytest.mark.parametrize("role", ["worker", "revoker"])
def test_a_rendered_policy_allows_no_call_that_nothing_needs(revoked: Site, role: str) -> None:
    others = set() if role == "worker" else {call for made in revoked.documents("worker") for call in actions(made)}
    idle = {call for document in revoked.documents(role) for call in actions(document)} - others - revoked.calls[role]
    assert idle - RARE == set()


RARE: Final = {
    "secretsmanager:RestoreSecret",  # a copy that is scheduled for deletion, and declared again
    "secretsmanager:CreateSecret",  # of a second round
    "secretsmanager:RemoveRegionsFromReplication",
    "secretsmanager:BatchGetSecretValue",
    "ssm:RemoveTagsFromResource",  # tags that are not asked for any more
    "secretsmanager:UntagResource",
    "iam:GetUserPolicy",  # a run that goes on for a dead one
    "tag:GetResources",  # many parameters
}


def actions(document: dict[str, Any]) -> set[str]:
    return {action for statement in document["Statement"] for action in statement["Action"]}


# --- beside it

Attack = Callable[[Site, Any], Any]

OF_A_WORKER: Final[dict[str, tuple[str, Attack]]] = {
    "delete a copy without recovery": (
        "secretsmanager",
        lambda site, aws: aws.delete_secret(SecretId=site.name(site.key), ForceDeleteWithoutRecovery=True),
    ),
    "delete what others own": ("secretsmanager", lambda site, aws: aws.delete_secret(SecretId=site.theirs)),
    "delete another's secret": ("secretsmanager", lambda site, aws: aws.delete_secret(SecretId=site.foreign)),
    "read another's secret": ("secretsmanager", lambda site, aws: aws.get_secret_value(SecretId=site.foreign)),
    "look at another's secret": ("secretsmanager", lambda site, aws: aws.describe_secret(SecretId=site.foreign)),
    "write another's secret": (
        "secretsmanager",
        lambda site, aws: aws.put_secret_value(SecretId=site.foreign, SecretString="mine"),
    ),
    "write what another catalogue has made": (
        "secretsmanager",
        lambda site, aws: aws.put_secret_value(SecretId=site.others, SecretString="mine"),
    ),
    "describe another's secret anew": (
        "secretsmanager",
        lambda site, aws: aws.update_secret(SecretId=site.foreign, Description="mine"),
    ),
    "claim another's secret": ("secretsmanager", lambda site, aws: aws.tag_resource(SecretId=site.foreign, Tags=MARK)),
    "take another's tags": (
        "secretsmanager",
        lambda site, aws: aws.untag_resource(SecretId=site.foreign, TagKeys=["team"]),
    ),
    "serve another's older version": (
        "secretsmanager",
        lambda site, aws: aws.update_secret_version_stage(SecretId=site.foreign, VersionStage="AWSCURRENT"),
    ),
    "restore another's secret": ("secretsmanager", lambda site, aws: aws.restore_secret(SecretId=site.foreign)),
    "copy another's secret away": (
        "secretsmanager",
        lambda site, aws: aws.replicate_secret_to_regions(SecretId=site.foreign, AddReplicaRegions=AWAY),
    ),
    "make a secret that nothing declares": (
        "secretsmanager",
        lambda site, aws: aws.create_secret(Name=f"new-{site.folder}", SecretString="mine", Tags=MARK),
    ),
    "make a copy without the mark": (
        "secretsmanager",
        lambda site, aws: aws.create_secret(Name=site.name(site.key), SecretString="mine"),
    ),
    "open a copy to another account": (
        "secretsmanager",
        lambda site, aws: aws.put_resource_policy(SecretId=site.name(site.key), ResourcePolicy="{}"),
    ),
    "take a copy's own policy": (
        "secretsmanager",
        lambda site, aws: aws.delete_resource_policy(SecretId=site.name(site.key)),
    ),
    "let a function rotate a copy": (
        "secretsmanager",
        lambda site, aws: aws.rotate_secret(SecretId=site.name(site.key)),
    ),
    "list old versions": (
        "secretsmanager",
        lambda site, aws: aws.list_secret_version_ids(SecretId=site.name(site.key)),
    ),
    "read another's parameter": ("ssm", lambda site, aws: aws.get_parameter(Name=site.foreign)),
    "read another's parameters": ("ssm", lambda site, aws: aws.get_parameters(Names=[site.foreign])),
    "read all parameters of a folder": ("ssm", lambda site, aws: aws.get_parameters_by_path(Path="/")),
    "read another's old parameters": ("ssm", lambda site, aws: aws.get_parameter_history(Name=site.foreign)),
    "read old versions of a copy": ("ssm", lambda site, aws: aws.get_parameter_history(Name=site.name(site.key))),
    "write another's parameter": (
        "ssm",
        lambda site, aws: aws.put_parameter(Name=site.foreign, Value="mine", Overwrite=True),
    ),
    "make a parameter that nothing declares": (
        "ssm",
        lambda site, aws: aws.put_parameter(Name=f"new-{site.folder}", Value="mine", Type="String", Tags=MARK),
    ),
    "delete another's parameter": ("ssm", lambda site, aws: aws.delete_parameter(Name=site.foreign)),
    "delete a parameter that others own": ("ssm", lambda site, aws: aws.delete_parameter(Name=site.theirs)),
    "delete many parameters": ("ssm", lambda site, aws: aws.delete_parameters(Names=[site.name(site.key)])),
    "claim another's parameter": (
        "ssm",
        lambda site, aws: aws.add_tags_to_resource(ResourceType="Parameter", ResourceId=site.foreign, Tags=MARK),
    ),
    "label a version": (
        "ssm",
        lambda site, aws: aws.label_parameter_version(Name=site.name(site.key), Labels=["mine"]),
    ),
    "run a command": (
        "ssm",
        lambda site, aws: aws.send_command(InstanceIds=["i-0123456789abcdef0"], DocumentName="AWS-RunShellScript"),
    ),
    "make a key of another user": ("iam", lambda site, aws: aws.create_access_key(UserName="bootstrap")),
    "end a key of another user": (
        "iam",
        lambda site, aws: aws.delete_access_key(UserName="bootstrap", AccessKeyId=site.root["aws_access_key_id"]),
    ),
    "give the user a right": (
        "iam",
        lambda site, aws: aws.put_user_policy(UserName=site.user, PolicyName="p", PolicyDocument="{}"),
    ),
    "attach a policy to the user": (
        "iam",
        lambda site, aws: aws.attach_user_policy(UserName=site.user, PolicyArn=ADMINISTRATOR),
    ),
    "take the user's boundary": (
        "iam",
        lambda site, aws: aws.put_user_permissions_boundary(UserName=site.user, PermissionsBoundary=ADMINISTRATOR),
    ),
    "give the user a password": (
        "iam",
        lambda site, aws: aws.create_login_profile(UserName=site.user, Password="long-enough-1A"),
    ),
    "delete the user": ("iam", lambda site, aws: aws.delete_user(UserName=site.user)),
    "make a user": ("iam", lambda site, aws: aws.create_user(UserName=f"mine-{site.folder}")),
    "list users": ("iam", lambda site, aws: aws.list_users()),
    "ask what another may do": (
        "iam",
        lambda site, aws: aws.simulate_principal_policy(
            PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:user/bootstrap", ActionNames=["iam:CreateUser"]
        ),
    ),
    "make a role": ("iam", lambda site, aws: aws.create_role(RoleName="mine", AssumeRolePolicyDocument="{}")),
    "become a role": (
        "sts",
        lambda site, aws: aws.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/admin", RoleSessionName="mine"),
    ),
    "decrypt with any key": ("kms", lambda site, aws: aws.decrypt(CiphertextBlob=b"x" * 32)),
}
OF_A_REVOKER: Final[dict[str, tuple[str, Attack]]] = {
    "delete another's secret for good": (
        "secretsmanager",
        lambda site, aws: aws.delete_secret(SecretId=site.foreign, ForceDeleteWithoutRecovery=True),
    ),
    "delete for good what others own": (
        "secretsmanager",
        lambda site, aws: aws.delete_secret(SecretId=site.theirs, ForceDeleteWithoutRecovery=True),
    ),
    "delete for good what another catalogue has made": (
        "secretsmanager",
        lambda site, aws: aws.delete_secret(SecretId=site.others, ForceDeleteWithoutRecovery=True),
    ),
    "read another's old versions": (
        "secretsmanager",
        lambda site, aws: aws.list_secret_version_ids(SecretId=site.foreign),
    ),
    "open a copy to another account": OF_A_WORKER["open a copy to another account"],
    "read another's old parameters": OF_A_WORKER["read another's old parameters"],
    "delete a parameter that others own": OF_A_WORKER["delete a parameter that others own"],
    "give a right to a user without the boundary": (
        "iam",
        lambda site, aws: aws.put_user_policy(UserName="bootstrap", PolicyName="p", PolicyDocument="{}"),
    ),
    "make a key of another user": OF_A_WORKER["make a key of another user"],
    "take the user's boundary": OF_A_WORKER["take the user's boundary"],
    "delete the user": OF_A_WORKER["delete the user"],
}


@pytest.fixture(scope="module")
def beset(revoked: Site) -> Site:
    """The same, with a copy that is marked, and one of another catalogue's."""
    with closing(revoked.client("secretsmanager")) as manager, closing(revoked.client("ssm")) as parameters:
        for name in (revoked.name(revoked.key), revoked.others):
            manager.create_secret(Name=name, SecretString="a copy", Tags=MARK)
            parameters.put_parameter(Name=name, Value="a copy", Type="SecureString", Tags=MARK)
    return revoked


@pytest.mark.parametrize(
    ("role", "what"), [*(("worker", what) for what in OF_A_WORKER), *(("revoker", what) for what in OF_A_REVOKER)]
)
def test_a_call_outside_the_rendered_policies_is_refused(beset: Site, role: str, what: str) -> None:
    service, attack = (OF_A_WORKER if role == "worker" else OF_A_REVOKER)[what]
    with closing(beset.client(service, **beset.keys[role])) as client, pytest.raises(ClientError) as refused:
        attack(beset, client)
    assert refused.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")


# --- asked by the login itself


@pytest.mark.parametrize("role", ["worker", "revoker"])
def test_aws_confirms_that_a_login_has_exactly_the_rendered_rights(site: Site, role: str) -> None:
    site.sign_in(role)
    verdicts = site.verdicts(role)
    assert [verdict for verdict in verdicts if verdict.needed != verdict.allowed] == []
    assert len([verdict for verdict in verdicts if not verdict.needed]) > 40


def test_a_worker_does_not_have_the_revokers_rights(site: Site) -> None:
    site.sign_in("worker")
    lacking = {verdict.call for verdict in site.verdicts("revoker") if verdict.needed and not verdict.allowed}
    assert lacking == {
        "secretsmanager:DeleteSecret",
        "secretsmanager:ListSecretVersionIds",
        "secretsmanager:DescribeSecret",
        "secretsmanager:GetSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
        "ssm:GetParameterHistory",
        "iam:GetUserPolicy",
        "iam:PutUserPolicy",
    }


@pytest.mark.parametrize(
    ("effect", "action", "where", "call"),
    [
        ("Allow", "secretsmanager:Put*", "store aws", "secretsmanager:PutResourcePolicy"),
        ("Allow", "ssm:Get*", "store ssm", "ssm:GetParameterHistory"),
        ("Allow", "*", "target iam", "iam:PutRolePolicy"),
        ("Deny", "iam:CreateAccessKey", "target iam", "iam:CreateAccessKey"),
    ],
)
def test_excess_and_denied_rights_of_a_login_are_reported(
    site: Site, effect: str, action: str, where: str, call: str
) -> None:
    site.keys["another"] = site.login("worker", ({"Effect": effect, "Action": action, "Resource": "*"},))
    site.sign_in("another")
    findings = [verdict for verdict in site.verdicts("worker", where) if verdict.needed != verdict.allowed]
    assert {verdict.allowed for verdict in findings} == {effect == "Allow"}
    assert call in {verdict.call for verdict in findings}


def test_policies_with_request_conditions_are_not_reported_as_sufficient(site: Site) -> None:
    at_home = {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
    statement = {"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*", "Condition": at_home}
    site.keys["another"] = site.login("worker", (statement,))
    site.sign_in("another")
    unknown = [verdict for verdict in site.verdicts("worker", "store aws") if verdict.allowed is None]
    assert {verdict.needed for verdict in unknown} == {False}
    assert "aws:SourceIp" in unknown[0].why


def test_a_login_that_may_not_check_its_rights_is_not_reported_as_sufficient(site: Site) -> None:
    statement = {"Effect": "Deny", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}
    site.keys["another"] = site.login("worker", (statement,))
    site.sign_in("another")
    answers = elsewhere.ask_everyone(site.catalogue, "worker")
    assert [(answer.where, answer.finding, answer.is_bad) for answer in answers] == [
        ("store aws", "could not look", True),
        ("store ssm", "could not look", True),
        ("target iam", "could not look", True),
    ]
    assert "Allow iam:SimulatePrincipalPolicy on arn:aws:iam::123456789012:user/" in answers[0].verdict.why


def test_a_role_checks_its_rights_by_the_path_in_the_catalogue(site: Site) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/teams/keyturn"
    store = {"kind": "aws-parameter-store", "region": REGION, "endpoint_url": site.aws.endpoint_url, "role_arn": arn}
    catalogue = Catalogue.model_validate({"stores": {"ssm": store}})
    (document,) = store_documents(catalogue, ORIGIN)
    with closing(site.client("iam")) as iam:
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        text = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam.create_role(Path="/teams/", RoleName="keyturn", AssumeRolePolicyDocument=text)
        iam.put_role_policy(RoleName="keyturn", PolicyName="p", PolicyDocument=document.text)
    assuming = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": arn}
    site.keys["another"] = site.login("worker", (assuming,))
    site.sign_in("another")
    verdicts = [answer.verdict for answer in elsewhere.ask_everyone(catalogue, "worker")]
    assert [verdict for verdict in verdicts if verdict.needed != verdict.allowed] == []
    assert {verdict.call for verdict in verdicts if verdict.needed} == {
        "ssm:DescribeParameters",
        "iam:SimulatePrincipalPolicy",
    }


def test_the_command_exits_with_1_if_unchecked_and_with_0_if_complete(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = {"kind": "aws-parameter-store", "region": REGION, "endpoint_url": site.aws.endpoint_url}
    (tmp_path / "catalogue.yaml").write_text(json.dumps({"stores": {"ssm": store}}))
    monkeypatch.setenv("VAULT_ADDR", site.lab.world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", site.lab.world.hub_token)
    site.sign_in("worker")
    result = run_keyturn("policy", "check", "--catalogue", str(tmp_path), "--json")
    assert (result.returncode, json.loads(result.stdout)["elsewhere"]) == (0, []), result.stderr
    denied = {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}
    site.keys["another"] = site.login("worker", (denied,))
    site.sign_in("another")
    result = run_keyturn("policy", "check", "--catalogue", str(tmp_path))
    assert result.returncode == 1
    assert "could not look" in result.stdout
    assert "lacks 0 rights here" in result.stdout
