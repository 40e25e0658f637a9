"""Policies of AWS KMS keys, and of the login that manages them.

Sources: "Key policies in AWS KMS" and "Condition keys for AWS KMS" of its developer guide; "Actions, resources, and
condition keys for AWS Key Management Service" of the Service Authorization Reference.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from keyturn.core.rights.rights import Document

Statement = dict[str, Any]

ADMINISTER: Final = (
    "CancelKeyDeletion",
    "CreateAlias",
    "CreateGrant",
    "DeleteAlias",
    "DescribeKey",
    "DisableKey",
    "DisableKeyRotation",
    "EnableKey",
    "EnableKeyRotation",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "ListGrants",
    "ListKeyPolicies",
    "ListKeyRotations",
    "ListResourceTags",
    "PutKeyPolicy",
    "RevokeGrant",
    "RotateKeyOnDemand",
    "ScheduleKeyDeletion",
    "TagResource",
    "UntagResource",
    "UpdateAlias",
    "UpdateKeyDescription",
)
"""Actions of key administrators; none uses the key."""
USE: Final = ("Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext")
LOOK: Final = ("DescribeKey", "GetKeyRotationStatus", "ListKeyRotations")


class KeyUse(Protocol):
    """The users of a key, and the restrictions on them."""

    @property
    def principals(self) -> Sequence[str]:
        """ARNs of roles."""

    @property
    def via(self) -> Sequence[str]:
        """Services."""

    @property
    def context(self) -> Mapping[str, str]:
        """Encryption context."""


def key_policy(key_arn: str, administrators: Sequence[str], users: Sequence[KeyUse]) -> dict[str, Any]:
    """A complete key policy: the account may grant administration, but not use."""
    _, partition, _, region, account, _ = key_arn.split(":")
    root = f"arn:{partition}:iam::{account}:root"
    statements = [_statement("Administer", [root, *administrators], ADMINISTER)]
    for number, user in enumerate(users, 1):
        via = [f"{service}.{region}.amazonaws.com" for service in user.via]
        narrowed: dict[str, Any] = {"kms:ViaService": via} if via else {}
        narrowed |= {f"kms:EncryptionContext:{key}": [value] for key, value in user.context.items()}
        statements.append(_statement(f"Look{number}", user.principals, ["DescribeKey"]))
        statements.append({**_statement(f"Use{number}", user.principals, USE), "Condition": {"StringEquals": narrowed}})
    return {"Version": "2012-10-17", "Id": "keyturn", "Statement": statements}


def _statement(sid: str, principals: Sequence[str], actions: Sequence[str]) -> Statement:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": sorted(set(principals))},
        "Action": [f"kms:{action}" for action in sorted(actions)],
        "Resource": "*",
    }


def same_policy(text: str, wanted: Mapping[str, Any]) -> bool:
    """Whether a policy is equivalent; AWS writes one-item lists as strings and changes the order."""
    try:
        return bool(_canonical(json.loads(text)) == _canonical(wanted))
    except (ValueError, RecursionError):
        return False


def _canonical(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {key: _canonical(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        parts = sorted((_canonical(item) for item in part), key=lambda item: json.dumps(item, sort_keys=True))
        return parts[0] if len(parts) == 1 else parts
    return part


def managing(
    key_arn: str,
    file: str,
    origin: str,
    *,
    automatic: bool,
    aliases: Sequence[str],
    policy: bool,
    grants: bool,
    on_demand: bool,
) -> Document:
    """The IAM policy that manages a key as declared, without using it."""
    _, partition, _, region, account, _ = key_arn.split(":")
    actions = [*LOOK, *(["RotateKeyOnDemand"] if on_demand else [])]
    actions += ["EnableKeyRotation"] if automatic else []
    actions += ["GetKeyPolicy", "PutKeyPolicy"] if policy else []
    actions += ["CreateGrant", "ListGrants", "RevokeGrant"] if grants else []
    actions += ["CreateAlias", "ListAliases"] if aliases else []
    named = [f"arn:{partition}:kms:{region}:{account}:{alias}" for alias in sorted(aliases)]
    statements: list[Statement] = [_allowed("Manage", [a for a in actions if a != "ListAliases"], [key_arn])]
    if named:
        statements.append(_allowed("NameTheKey", ["CreateAlias"], named))
        # ListAliases can only be allowed for the whole account.
        statements.append(_allowed("ListAliases", ["ListAliases"], ["*"]))
    text = json.dumps({"Version": "2012-10-17", "Id": origin, "Statement": statements}, indent=2)
    return Document(f"{file}.json", f"{text}\n")


def _allowed(sid: str, actions: Sequence[str], resources: Sequence[str]) -> Statement:
    named = [f"kms:{action}" for action in sorted(actions)]
    return {"Sid": sid, "Effect": "Allow", "Action": named, "Resource": list(resources)}
