"""How safely AWS stores copies: replicas, public access, encryption keys, and quotas.

Sources: the Secrets Manager guide, and "Parameter Store quotas" in that of Systems Manager.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from keyturn.core.errors import Denied, NotFound
from keyturn.core.rights.posture import MOST_COPIES, Posture, Safety, copies_named, could_not_look, count_against
from keyturn.providers.aws.client import translate_aws_errors

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

SECRETS: Final = 500_000
PARAMETERS: Final[Mapping[str, int]] = {"Standard": 10_000, "Advanced": 100_000}
"""Quotas per account and region."""
PUBLISHED: Final = "AWS's published quota; one that was raised is not looked up"
SEE_POLICY: Final = "secretsmanager:GetResourcePolicy"
IN_SYNC: Final = "InSync"


def secrets_posture(
    client: "SecretsManagerClient", name: str, remotes: Sequence[str], replicas: Sequence[str], count: int
) -> Iterator[Posture]:
    """Raises Unavailable."""
    yield count_against("secrets of the region", count, SECRETS, PUBLISHED)
    looked_at = remotes[:MOST_COPIES]
    if replicas:
        yield _replication(client, name, looked_at, replicas)
    yield _resource_policies(client, name, looked_at)


def _replication(client: "SecretsManagerClient", name: str, remotes: Sequence[str], replicas: Sequence[str]) -> Posture:
    behind: list[str] = []
    count = 0
    for remote in remotes:
        try:
            with translate_aws_errors("find", f"{name}:{remote}"):
                answer = client.describe_secret(SecretId=remote)
        except NotFound:
            continue
        count += 1
        states = {entry.get("Region", ""): entry.get("Status", "") for entry in answer.get("ReplicationStatus", ())}
        behind += [
            f"{remote} in {region} ({states.get(region) or 'no replica'})"
            for region in replicas
            if states.get(region) != IN_SYNC
        ]
    if behind:
        remedy = "Its StatusMessage says why: `aws secretsmanager describe-secret`. The next write replicates again"
        return Posture("replication", Safety.BROKEN, f"not in sync: {copies_named(behind)}", remedy)
    return Posture("replication", Safety.SOUND, f"{count} secrets in sync in {', '.join(replicas)}")


def _resource_policies(client: "SecretsManagerClient", name: str, remotes: Sequence[str]) -> Posture:
    what, public, count = "resource policies", list[str](), 0
    for remote in remotes:
        try:
            with translate_aws_errors("find", f"{name}:{remote}"):
                answer = client.get_resource_policy(SecretId=remote)
        except Denied:
            return could_not_look(what, SEE_POLICY)
        except NotFound:
            continue
        count += 1
        if lets_anybody(answer.get("ResourcePolicy") or "{}"):
            public.append(remote)
    if public:
        remedy = "Remove that statement: `aws secretsmanager delete-resource-policy`, or name principals"
        return Posture(what, Safety.BROKEN, f"open to anyone: {copies_named(public)}", remedy)
    return Posture(what, Safety.SOUND, f"none of {count} secrets is open to anyone")


def lets_anybody(text: str) -> bool:
    """Whether a statement allows every principal something unconditionally; true for an unreadable policy."""
    try:
        statements = json.loads(text).get("Statement", [])
    except (ValueError, AttributeError):
        return True
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal")
        names = principal.get("AWS", ()) if isinstance(principal, Mapping) else principal
        everybody = "*" in ([names] if isinstance(names, str) else list(names or ()))
        if statement.get("Effect") == "Allow" and everybody and not statement.get("Condition"):
            return True
    return False


def parameters_posture(
    parameters: Iterable[Mapping[str, Any]], remotes: Sequence[str], kms_key_id: str | None
) -> Iterator[Posture]:
    ours, tiers, plain, other_keys = frozenset(remotes), Counter[str](), list[str](), list[str]()
    for parameter in parameters:
        tiers[parameter.get("Tier") or "Standard"] += 1
        remote, key = str(parameter.get("Name", "")), str(parameter.get("KeyId") or "")
        if remote not in ours:
            continue
        if parameter.get("Type") != "SecureString":
            plain.append(remote)
        elif kms_key_id and key and not _same_key(key, kms_key_id):
            other_keys.append(remote)
    for tier, limit in PARAMETERS.items():
        if count := tiers[tier]:
            yield count_against(f"{tier} parameters of the region", count, limit, PUBLISHED)
    yield from _encryption(plain, other_keys, kms_key_id)


def _encryption(plain: Sequence[str], other_keys: Sequence[str], kms_key_id: str | None) -> Iterator[Posture]:
    what = "encryption"
    if plain:
        yield Posture(what, Safety.WEAK, f"not encrypted: {copies_named(plain)}", "Say type: SecureString on the store")
    if other_keys:
        words = f"under another key than the catalogue's: {copies_named(other_keys)}"
        yield Posture(what, Safety.WEAK, words, "The next write of each takes the catalogue's key: `keyturn rotate`")
    if not plain and not other_keys:
        key = kms_key_id or "aws/ssm, which everybody in the account may use through Parameter Store"
        yield Posture(what, Safety.SOUND, f"every copy is a SecureString under {key}")


def _same_key(current: str, declared: str) -> bool:
    """An alias and an id can't be compared, and count as the same key."""
    if ("alias/" in current) != ("alias/" in declared):
        return True
    return current.rpartition("/")[2] == declared.rpartition("/")[2]
