"""IAM policies for AWS stores, limited to the copies' names and Keyturn's tag.

Sources: "Actions, resources, and condition keys" of AWS Secrets Manager and of AWS Systems Manager, in the Service
Authorization Reference; "IAM and AWS STS quotas" (6,144 characters a policy, without white space).
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from keyturn.core.ports.stores import MANAGED_BY, TAG_MANAGED_BY
from keyturn.core.rights.rights import ANYTHING, AccountRights, CopyRights, Document

Statement = dict[str, Any]

LONGEST: Final = 6_144
"""Maximum characters of one policy, without white space."""
BOUNDARY: Final = "keyturn-applications"
"""Permissions boundary of users with revocable sessions: a login that may put a policy on a user can grant any right
within it.
"""
OURS: Final = {"StringEquals": {f"aws:ResourceTag/{TAG_MANAGED_BY}": MANAGED_BY}}
MARKED: Final = {"StringEquals": {f"aws:RequestTag/{TAG_MANAGED_BY}": MANAGED_BY}}
RECOVERABLE: Final = {"BoolIfExists": {"secretsmanager:ForceDeleteWithoutRecovery": "false"}}


@dataclass(frozen=True)
class Place:
    """A region of an account; ``*`` if unknown."""

    region: str
    account: str
    role: str | None = None
    """ARN of the role used there, if known."""

    @classmethod
    def of(cls, region: str | None, role_arn: str | None) -> "Place":
        """The place in a store's or target's settings."""
        return cls(region or ANYTHING, role_arn.split(":")[4] if role_arn else ANYTHING, role_arn)

    @property
    def partition(self) -> str:
        """The AWS partition."""
        return next((f"aws-{part}" for part in ("cn", "us-gov") if self.region.startswith(f"{part}-")), "aws")

    def secret(self, name: str) -> str:
        """Return a secret's ARN; AWS appends six characters to the name."""
        return self._arn("secretsmanager", f"secret:{name}" + ("" if name.endswith(ANYTHING) else "-??????"))

    def parameter(self, name: str) -> str:
        """Return a parameter's ARN."""
        return self._arn("ssm", f"parameter/{name.removeprefix('/')}")

    def user(self, name: str) -> list[str]:
        """An IAM user's ARNs; a bare name matches any path, since names are unique per account."""
        paths = [name] if "/" in name else [name, f"*/{name}"]
        return [f"arn:{self.partition}:iam::{self.account}:user/{path}" for path in paths]

    def key(self, name: str) -> str:
        """The ARN of a KMS key."""
        return self._arn("kms", f"key/{name}")

    def _arn(self, service: str, what: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{what}"


@dataclass(frozen=True)
class Keys:
    """The KMS keys of a store: ids, aliases or ARNs; in any region for replicated copies."""

    names: tuple[str, ...]
    replicated: bool = False

    def statements(self, place: Place, service: str) -> Iterator[Statement]:
        """Rights to use the keys only through the service."""
        for number, name in enumerate(dict.fromkeys(self.names), 1):
            called = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": name}} if name.startswith("alias/") else {}
            condition = {"StringLike": {"kms:ViaService": f"{service}.*"}, **called}
            actions = ["Decrypt", "Encrypt", "GenerateDataKey"]
            yield from _allow(f"Encrypt{number}", "kms", actions, [self._arn(place, name)], condition)

    def _arn(self, place: Place, name: str) -> str:
        if name.startswith("arn:"):
            return name
        key = ANYTHING if name.startswith("alias/") else name
        return (replace(place, region=ANYTHING) if self.replicated else place).key(key)


class Replica(Protocol):
    """A replica region and its KMS key."""

    @property
    def region(self) -> str:
        """The region code."""

    @property
    def kms_key_id(self) -> str | None:
        """The ARN; None for the store's own key, if it has the same name in all regions."""


def of_secrets_manager(
    copies: CopyRights,
    *,
    region: str | None,
    role_arn: str | None = None,
    kms_key_id: str | None = None,
    replicas: Sequence[Replica] = (),
) -> Iterator[Document]:
    """Yield the policies of a store with these settings."""
    keys = Keys(
        tuple(key for key in (kms_key_id, *(replica.kms_key_id for replica in replicas)) if key), bool(replicas)
    )
    return secrets_manager(Place.of(region, role_arn), copies, [replica.region for replica in replicas], keys)


def of_parameter_store(
    copies: CopyRights, *, region: str | None, role_arn: str | None = None, kms_key_id: str | None = None
) -> Iterator[Document]:
    """Yield the policies of a store with these settings."""
    return parameter_store(Place.of(region, role_arn), copies, Keys((kms_key_id,) if kms_key_id else ()))


def of_iam(accounts: AccountRights, *, region: str, role_arn: str | None = None) -> Iterator[Document]:
    """Yield the policies of a target with these settings."""
    return iam_users(Place.of(region, role_arn), accounts) if accounts.names else iter(())


def secrets_manager(place: Place, copies: CopyRights, replicas: Sequence[str], keys: Keys) -> Iterator[Document]:
    """Yield the everyday policy and the emergency policy."""
    regions = ["RemoveRegionsFromReplication"] if replicas else []
    marked, everywhere = [place.secret(ANYTHING)], [place, *(replace(place, region=region) for region in replicas)]

    def daily(some: CopyRights) -> list[Statement]:
        named, foreign = list(map(place.secret, some.names)), list(map(place.secret, some.foreign))
        write = ["PutSecretValue", "RestoreSecret", "TagResource", "UpdateSecretVersionStage"]
        write += ["UntagResource"] if some.tags or some.merges else []
        write += ["UpdateSecret"] if some.describes else []
        adopt = [*write, "CreateSecret"] if some.merges else write
        leave = ["DescribeSecret", "GetSecretValue", *regions] if some.deletes else []
        delete = ["DeleteSecret"] if some.deletes else []
        return [
            *_allow("FindByListing", "secretsmanager", ["BatchGetSecretValue", "ListSecrets"], [ANYTHING]),
            *_allow("Look", "secretsmanager", ["DescribeSecret", "GetResourcePolicy", "GetSecretValue"], named),
            *_allow("MakeWithTheMark", "secretsmanager", ["CreateSecret", "TagResource"], named, MARKED),
            *_allow("WriteWhatIsMarked", "secretsmanager", write, named, OURS),
            *_allow("WriteWhatIsAdopted", "secretsmanager", adopt, foreign),
            *_allow("Replicate", "secretsmanager", ["ReplicateSecretToRegions"] if replicas else [], named),
            # A copy that has left the catalogue is found by its mark, not its name, and read once more.
            *_allow("LookAtWhatIsLeft", "secretsmanager", leave, marked, OURS),
            *_allow("DeleteWithRecovery", "secretsmanager", delete, marked, OURS | RECOVERABLE),
            *keys.statements(place, "secretsmanager"),
            *_allow("AskWhatItMayDo", "iam", ["SimulatePrincipalPolicy"], [place.role] if place.role else []),
        ]

    def emergency(some: CopyRights) -> list[Statement]:
        named = list(map(place.secret, some.names))
        copied = sorted({there.secret(name) for there in everywhere for name in some.names})
        look = ["DescribeSecret", "GetSecretValue", "ListSecretVersionIds"]
        return [
            *_allow("OldVersions", "secretsmanager", look, copied),
            *_allow("ForgetOldVersions", "secretsmanager", ["UpdateSecretVersionStage"], named),
            *_allow("RemoveReplicas", "secretsmanager", regions, named, OURS),
            *_allow("DeleteForGood", "secretsmanager", ["DeleteSecret"], named, OURS),
        ]

    yield from _documents(copies, copies.file, daily)
    yield from _documents(copies, f"{copies.file}-revoker", emergency)


def parameter_store(place: Place, copies: CopyRights, keys: Keys) -> Iterator[Document]:
    """Yield the policies for parameters, whose marks are in their descriptions and one tag."""

    def daily(some: CopyRights) -> list[Statement]:
        named, foreign = list(map(place.parameter, some.names)), list(map(place.parameter, some.foreign))
        tagging = ["AddTagsToResource", "ListTagsForResource", "RemoveTagsFromResource"]
        write = ["PutParameter", *(tagging if some.tags or some.merges else ["AddTagsToResource"])]
        tagged = ["GetResources"] if some.tags or some.merges else []
        delete = ["DeleteParameter", "GetParameter"] if some.deletes else []
        return [
            *_allow("FindByListing", "ssm", ["DescribeParameters"], [ANYTHING]),
            *_allow("FindTags", "tag", tagged, [ANYTHING]),
            *_allow("Look", "ssm", ["GetParameter", "GetParameters"], named),
            *_allow("MakeWithTheMark", "ssm", ["AddTagsToResource", "PutParameter"], named, MARKED),
            *_allow("WriteWhatIsMarked", "ssm", write, named, OURS),
            *_allow("WriteWhatIsAdopted", "ssm", write, foreign),
            *_allow("Delete", "ssm", delete, [place.parameter(ANYTHING)], OURS),
            *keys.statements(place, "ssm"),
            *_allow("AskWhatItMayDo", "iam", ["SimulatePrincipalPolicy"], [place.role] if place.role else []),
        ]

    def emergency(some: CopyRights) -> list[Statement]:
        named = list(map(place.parameter, some.names))
        return [
            *_allow("OldVersions", "ssm", ["GetParameterHistory"], named),
            *_allow("DeleteForGood", "ssm", ["DeleteParameter"], named, OURS),
        ]

    yield from _documents(copies, copies.file, daily)
    yield from _documents(copies, f"{copies.file}-revoker", emergency)


def iam_users(place: Place, accounts: AccountRights) -> Iterator[Document]:
    """Yield the policies for users' access keys and, for emergencies, for ending sessions."""
    named = [arn for name in accounts.names for arn in place.user(name)]
    keys = [f"{verb}AccessKey" for verb in ("Create", "Delete", "Update")]
    look = ["GetAccessKeyLastUsed", "GetUser", "ListAccessKeys"]
    bound = {"StringLike": {"iam:PermissionsBoundary": f"arn:{place.partition}:iam::{place.account}:policy/{BOUNDARY}"}}
    daily = [
        *_allow("RotateAccessKeysOfTheseUsers", "iam", [*keys, *look], named),
        *_allow("AskWhatItMayDo", "iam", ["SimulatePrincipalPolicy"], [place.role] if place.role else []),
    ]
    emergency = [
        *_allow("SeeWhetherSessionsAreRevoked", "iam", ["GetUserPolicy"], named),
        *_allow("RevokeSessionsOfThoseWithinTheBoundary", "iam", ["PutUserPolicy"], named, bound),
    ]
    yield Document(f"{accounts.file}.json", _text(daily, accounts.origin))
    yield Document(f"{accounts.file}-revoker.json", _text(emergency, accounts.origin))


def of_notices(call: str, arn: str, file: str, origin: str) -> Iterator[Document]:
    """The policy to send notices to one queue or topic through ``call``."""
    service, _, action = call.partition(":")
    yield Document(f"{file}.json", _text(list(_allow("TellAConsumer", service, [action], [arn])), origin))


def of_log_bucket(bucket: str, prefix: str, region: str, file: str, origin: str) -> Iterator[Document]:
    """The policy to read a trail's files with its encryption key."""
    place = Place(region, ANYTHING)
    arn = f"arn:{place.partition}:s3:::{bucket}"
    listing = {"StringLike": {"s3:prefix": f"{prefix}{ANYTHING}"}}
    through = {"StringLike": {"kms:ViaService": "s3.*", "kms:EncryptionContext:aws:s3:arn": f"{arn}{ANYTHING}"}}
    statements = [
        *_allow("ListTheTrail", "s3", ["ListBucket"], [arn], listing),
        *_allow("ReadTheTrail", "s3", ["GetObject"], [f"{arn}/{prefix}{ANYTHING}"]),
        *_allow("DecryptTheTrail", "kms", ["Decrypt"], [place.key(ANYTHING)], through),
    ]
    yield Document(f"{file}.json", _text(statements, origin))


def _allow(
    sid: str, service: str, actions: Sequence[str], resources: Sequence[str], condition: Statement | None = None
) -> Iterator[Statement]:
    """Yield a statement, unless actions or resources are empty."""
    if actions and resources:
        named = [f"{service}:{action}" for action in sorted(actions)]
        made = {"Sid": sid, "Effect": "Allow", "Action": named, "Resource": sorted(resources)}
        yield {**made, **({"Condition": condition} if condition else {})}


def _documents(copies: CopyRights, file: str, make: Callable[[CopyRights], list[Statement]]) -> Iterator[Document]:
    """Yield one policy, or several to keep each below the size limit."""
    parts = list(_parts(copies, make))
    for number, statements in enumerate(parts, 1):
        name = f"{file}-{number}.json" if len(parts) > 1 else f"{file}.json"
        if statements:
            yield Document(name, _text(statements, copies.origin))


def _parts(copies: CopyRights, make: Callable[[CopyRights], list[Statement]]) -> Iterator[list[Statement]]:
    statements, names = make(copies), copies.names
    if len(names) < 2 or len(re.sub(r"\s", "", _text(statements, copies.origin))) <= LONGEST:
        yield statements
    else:
        middle = len(names) // 2
        for some in (names[:middle], names[middle:]):
            yield from _parts(copies.of(some, copies.file), make)


def _text(statements: list[Statement], origin: str) -> str:
    """The policy text; the first statement's name states the origin, since comments are impossible."""
    first, *others = statements
    named = [{**first, "Sid": f"{first['Sid']}{_told_in_a_name(origin)}"}, *others]
    return json.dumps({"Version": "2012-10-17", "Statement": named}, indent=2) + "\n"


def _told_in_a_name(origin: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", origin)


def statements_of(document: Document, origin: str) -> list[Statement]:
    """The statements of a document without its origin."""
    statements = json.loads(document.text)["Statement"]
    return [{**statement, "Sid": statement["Sid"].removesuffix(_told_in_a_name(origin))} for statement in statements]
