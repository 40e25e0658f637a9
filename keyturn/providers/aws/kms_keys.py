"""Managed keys of AWS KMS. Source: AWS KMS's API reference, and "Rotating AWS KMS keys" of its developer guide."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.ports.hub import KeyOpening
from keyturn.core.ports.managed_keys import KeyCondition, KeyFacts
from keyturn.core.rights import kms_policies
from keyturn.core.rights.kms_policies import KeyUse, same_policy
from keyturn.providers.answers import reads_answers
from keyturn.providers.aws.client import AwsSettings, bounded_pages, service_client, translate_aws_errors

OURS: Final = "keyturn-"
CONDITIONS: Final[Mapping[str, KeyCondition]] = {
    "Enabled": KeyCondition.ENABLED,
    "Disabled": KeyCondition.DISABLED,
    "PendingDeletion": KeyCondition.ENDING,
    "PendingReplicaDeletion": KeyCondition.ENDING,
}
KEPT_IN: Final[Mapping[str, str]] = {
    "AWS_KMS": "an HSM of AWS KMS has made and keeps it",
    "AWS_CLOUDHSM": "an HSM of a CloudHSM cluster has made and keeps it",
    "EXTERNAL": "its material was imported, so that it was outside of an HSM",
    "EXTERNAL_KEY_STORE": "it is in a key store outside of AWS, which reports nothing about it",
}
SHORTEST_WINDOW: Final = 7
LONGEST_WINDOW: Final = 30
"""Days that KMS waits before it deletes a key. Source: ScheduleKeyDeletion."""
IN_HSM: Final = frozenset({"AWS_KMS", "AWS_CLOUDHSM"})


class DeclaredPolicy(Protocol):
    @property
    def administrators(self) -> Sequence[str]:
        """ARNs of roles."""

    @property
    def users(self) -> Sequence[KeyUse]:
        """The permitted uses."""


class DeclaredGrant(Protocol):
    @property
    def name(self) -> str:
        """The name without :data:`OURS`."""

    @property
    def principal(self) -> str:
        """The role's ARN."""

    @property
    def operations(self) -> Sequence[str]:
        """The permitted operations."""

    @property
    def context(self) -> Mapping[str, str]:
        """The required part of the encryption context."""


@reads_answers("AWS KMS")
class KmsKey:
    """A ``ManagedKey`` by its ARN. Raises Invalid and Denied for unusable settings."""

    def __init__(
        self,
        opened: KeyOpening,
        *,
        key: str,
        automatic: Any = None,
        aliases: Sequence[str] = (),
        policy: DeclaredPolicy | None = None,
        grants: Sequence[DeclaredGrant] | None = None,
        endpoint_url: str | None = None,
        role_arn: str | None = None,
        profile: str | None = None,
    ) -> None:
        self.name = key
        self._days = automatic.days if automatic else None
        self._aliases = aliases
        self._policy = kms_policies.key_policy(key, policy.administrators, policy.users) if policy else None
        self._grants = None if grants is None else {f"{OURS}{grant.name}": grant for grant in grants}
        self._kms = service_client("kms", key, AwsSettings(key.split(":")[3], endpoint_url, profile, role_arn))

    def describe(self) -> KeyFacts:
        """The key's state; the number of its rotations plus one is its generation."""
        with translate_aws_errors("look at", self.name):
            about = self._kms.describe_key(KeyId=self.name)["KeyMetadata"]
            self._refuse_unmanageable(about)
            state, origin = about["KeyState"], about["Origin"]
            usable = state == "Enabled"
            made = sorted(self._rotations()) if usable else []
            turning = usable and "OnDemandRotationStartDate" in self._kms.get_key_rotation_status(KeyId=self.name)
        if state not in CONDITIONS:
            raise Unavailable("look at", self.name, f"its state is {state}", "See it in the console of KMS")
        return KeyFacts(
            str(1 + len(made)) if usable else "",
            (made or [about["CreationDate"]])[-1],
            origin in IN_HSM,
            KEPT_IN.get(origin, f"its origin is {origin}"),
            CONDITIONS[state],
            about.get("DeletionDate"),
            turning,
        )

    def differences(self) -> Sequence[str]:
        with translate_aws_errors("look at", self.name):
            return [words for words, _ in self._steps()]

    def settle(self) -> Sequence[str]:
        """Make one call per difference, additions before removals."""
        did = []
        with translate_aws_errors("settle", self.name):
            for words, step in self._steps():
                step()
                did.append(f"mended: {words}")
        return did

    def rotate(self) -> None:
        with translate_aws_errors("rotate", self.name):
            self._kms.rotate_key_on_demand(KeyId=self.name)

    def schedule_end(self, window: timedelta) -> datetime:
        """Schedule the deletion; the key is unusable meanwhile. Raises Invalid except for 7 to 30 whole days."""
        if window != timedelta(days=window.days) or not SHORTEST_WINDOW <= window.days <= LONGEST_WINDOW:
            problem = f"KMS waits {SHORTEST_WINDOW} to {LONGEST_WINDOW} whole days before it deletes a key"
            raise Invalid("end", self.name, problem, f"Say --window {LONGEST_WINDOW}d")
        with translate_aws_errors("end", self.name):
            answer = self._kms.schedule_key_deletion(KeyId=self._id, PendingWindowInDays=window.days)
        date: datetime = answer["DeletionDate"]
        return date

    def cancel_end(self) -> None:
        """Cancel the deletion and enable the key, which KMS leaves disabled."""
        with translate_aws_errors("keep", self.name):
            if self._kms.describe_key(KeyId=self.name)["KeyMetadata"]["KeyState"] == "PendingDeletion":
                self._kms.cancel_key_deletion(KeyId=self._id)
            self._kms.enable_key(KeyId=self._id)

    def close(self) -> None:
        self._kms.close()

    @property
    def _id(self) -> str:
        return self.name.rpartition("/")[2]

    def _rotations(self) -> list[datetime]:
        pages = self._kms.get_paginator("list_key_rotations").paginate(KeyId=self.name)
        return [
            rotation["RotationDate"]
            for page in bounded_pages(pages, "look at", self.name)
            for rotation in page["Rotations"]
        ]

    def _refuse_unmanageable(self, about: Mapping[str, Any]) -> None:
        why, hint = "", "Make a symmetric key with material of KMS, and move the alias and the data to that"
        if about.get("KeyManager") == "AWS":
            why, hint = "AWS manages it, and rotates it every year", "Leave it out of the catalogue"
        elif about.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
            why = f"it is of the kind {about['KeySpec']}, and KMS rotates symmetric keys for encryption alone"
        elif about["Origin"] != "AWS_KMS" and about["KeyState"] == "Enabled":
            why = KEPT_IN.get(about["Origin"], f"its origin is {about['Origin']}")
        elif about.get("MultiRegionConfiguration", {}).get("MultiRegionKeyType") == "REPLICA":
            primary = about["MultiRegionConfiguration"]["PrimaryKey"]["Arn"]
            why, hint = "it is a replica", f"Name its primary key, {primary}: that rotates all of them"
        if why:
            raise Invalid("manage", self.name, why, hint)

    def _steps(self) -> list[tuple[str, Any]]:
        return [*self._automatic(), *self._missing_aliases(), *self._another_policy(), *self._other_grants()]

    def _automatic(self) -> list[tuple[str, Any]]:
        if self._days is None:
            return []
        status = self._kms.get_key_rotation_status(KeyId=self.name)
        if status["KeyRotationEnabled"] and status.get("RotationPeriodInDays", self._days) == self._days:
            return []
        words = f"KMS does not rotate it every {self._days} days"
        return [(words, lambda: self._kms.enable_key_rotation(KeyId=self.name, RotationPeriodInDays=self._days))]

    def _missing_aliases(self) -> list[tuple[str, Any]]:
        if not self._aliases:
            return []
        pages = self._kms.get_paginator("list_aliases").paginate(KeyId=self.name)
        there = {a["AliasName"] for page in bounded_pages(pages, "look at", self.name) for a in page["Aliases"]}
        # KMS refuses another key's alias, so a mistake here moves no data to another key.
        return [
            (f"{alias} does not point to it", partial(self._kms.create_alias, AliasName=alias, TargetKeyId=self.name))
            for alias in self._aliases
            if alias not in there
        ]

    def _another_policy(self) -> list[tuple[str, Any]]:
        if self._policy is None:
            return []
        text = self._kms.get_key_policy(KeyId=self.name, PolicyName="default")["Policy"]
        wanted = json.dumps(self._policy)
        put = {"KeyId": self.name, "PolicyName": "default", "Policy": wanted}
        if same_policy(text, self._policy):
            return []
        return [("its policy is another", lambda: self._kms.put_key_policy(**put))]

    def _other_grants(self) -> list[tuple[str, Any]]:
        if self._grants is None:
            return []
        pages = self._kms.get_paginator("list_grants").paginate(KeyId=self.name)
        listed = [grant for page in bounded_pages(pages, "look at", self.name) for grant in page["Grants"]]
        ours = [grant for grant in listed if str(grant.get("Name", "")).startswith(OURS)]
        matching = [
            grant for grant in ours if grant["Name"] in self._grants and _same(grant, self._grants[grant["Name"]])
        ]
        lacking = self._grants.keys() - {grant["Name"] for grant in matching}
        making = [(f"the grant {name} is missing", self._granting(name)) for name in sorted(lacking)]
        others = [
            (
                f"the grant {grant['Name']} is not declared so",
                partial(self._kms.revoke_grant, KeyId=self.name, GrantId=grant["GrantId"]),
            )
            for grant in ours
            if grant not in matching
        ]
        return [*making, *others]

    def _granting(self, name: str) -> Any:
        grant = (self._grants or {})[name]
        constraints = {"Constraints": {"EncryptionContextSubset": dict(grant.context)}} if grant.context else {}
        operations = sorted(grant.operations)
        return lambda: self._kms.create_grant(
            KeyId=self.name, GranteePrincipal=grant.principal, Operations=operations, Name=name, **constraints
        )


def _same(grant: Mapping[str, Any], wanted: DeclaredGrant) -> bool:
    context = (grant.get("Constraints") or {}).get("EncryptionContextSubset", {})
    grant_terms = grant["GranteePrincipal"], sorted(grant["Operations"]), context
    return bool(grant_terms == (wanted.principal, sorted(wanted.operations), dict(wanted.context)))
