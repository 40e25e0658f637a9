"""Policies about keys of AWS KMS: of a key itself, and of the login that manages it.

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
"""What whoever administers a key may do: nothing that uses it."""
USE: Final = ("Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext")
LOOK: Final = ("DescribeKey", "GetKeyRotationStatus", "ListKeyRotations")


class KeyUse(Protocol):
    """Who may use a key, and by what it is narrowed."""

    @property
    def principals(self) -> Sequence[str]:
        """ARNs of roles."""

    @property
    def via(self) -> Sequence[str]:
        """Services."""

    @property
    def context(self) -> Mapping[str, str]:
        """Of the encryption."""


def key_policy(key_arn: str, administrators: Sequence[str], users: Sequence[KeyUse]) -> dict[str, Any]:
    """The whole policy of a key. The account may let its own logins administer it, and let nobody use it."""
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
    """Whether a policy says the same; AWS writes lists of one as texts, and orders as it likes."""
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
    """The IAM policy of whoever manages a key: what is declared of it, and nothing that uses it."""
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
        # Aliases can be listed for all of the account alone.
        statements.append(_allowed("ListAliases", ["ListAliases"], ["*"]))
    text = json.dumps({"Version": "2012-10-17", "Id": origin, "Statement": statements}, indent=2)
    return Document(f"{file}.json", f"{text}\n")


def _allowed(sid: str, actions: Sequence[str], resources: Sequence[str]) -> Statement:
    named = [f"kms:{action}" for action in sorted(actions)]
    return {"Sid": sid, "Effect": "Allow", "Action": named, "Resource": list(resources)}
