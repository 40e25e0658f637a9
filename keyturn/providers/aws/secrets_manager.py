"""AWS Secrets Manager as a store.

Version ids derive from the marks. So the store shows whether it serves Keyturn's last write, and a repeated write adds
no version. The tag ``keyturn-version`` contains the version last updated or relabelled. Source: the API reference,
"PutSecretValue" and "UpdateSecretVersionStage".
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from keyturn.core.errors import Invalid, NotFound, Taken
from keyturn.core.ports.stores import (
    NO_DETAILS,
    TAG_FINGERPRINT,
    TAG_MANAGED_BY,
    TAG_TAGS,
    TAG_VERSION,
    Details,
    OwnershipTags,
    RemoteSecret,
    Unsupported,
    others,
    tag_changes,
)
from keyturn.core.rights.aws_rights import Replica
from keyturn.core.rights.posture import Posture
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import AWS_SECRETS_MANAGER, LIMITS, too_large
from keyturn.providers.answers import reads_answers
from keyturn.providers.aws.client import (
    SDK_CONFIG,
    AwsSettings,
    as_tags,
    field,
    from_code,
    items_of,
    opening,
    read_tags,
    translate_aws_errors,
)
from keyturn.providers.aws.merged_keys import SharedSecrets
from keyturn.providers.aws.posture import secrets_posture
from keyturn.providers.aws.secrets_manager_versions import (
    CURRENT,
    ERASE,
    FORGET,
    PAST,
    AwsVersions,
    RegionalClients,
    describe,
    served,
)
from keyturn.providers.pages import PageGuard
from keyturn.providers.store_refusals import StoreLimits, insist_on_value

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import (
        BatchGetSecretValueRequestTypeDef,
        CreateSecretRequestTypeDef,
        FilterTypeDef,
        ReplicaRegionTypeTypeDef,
    )

BATCH: Final = 20
NOT_SERVED: Final = frozenset({"InvalidRequestException", "ResourceNotFoundException"})
"""GetSecretValue's codes for a secret scheduled for deletion, and for an absent one."""
VERSIONS: Final = uuid.UUID("5b0a3d0e-6f6b-4a52-9d3c-0f1f6f1c7a11")
"""Namespace of version ids (RFC 9562, version 5); changing it makes every copy look tampered with."""
TAG_VALUE: Final = re.compile(r"[\w .:/=+@-]{1,256}")
"""Source: "Tag" in the Secrets Manager API reference."""


def version_id(marks: OwnershipTags) -> str:
    """Also used as ClientRequestToken."""
    return str(uuid.uuid5(VERSIONS, "\n".join((marks.source_tag, marks.fingerprint))))


@reads_answers()
class AwsSecretsManager:
    """A :class:`keyturn.core.ports.stores.Store` in one account and region.

    ``kms_key_id`` encrypts new secrets. A replica uses its region's own key, or an alias or multi-Region key id that
    exists there, else aws/secretsmanager. ``recovery_window`` is in whole days. Raises Invalid or Denied for unusable
    settings.
    """

    unsupported: frozenset[Unsupported] = frozenset()

    def __init__(
        self,
        name: str,
        *,
        region: str,
        endpoint_url: str | None = None,
        profile: str | None = None,
        role_arn: str | None = None,
        kms_key_id: str | None = None,
        replicas: Sequence[str | Replica] = (),
        recovery_window: timedelta = timedelta(days=30),
    ) -> None:
        self.name = name
        self._limits = StoreLimits(LIMITS[AWS_SECRETS_MANAGER], name)
        self._region = region
        self._kms_key_id = kms_key_id
        self._keys = {
            replica.region: replica.kms_key_id
            for replica in replicas
            if not isinstance(replica, str) and replica.kms_key_id
        }
        self._replicas = tuple(replica if isinstance(replica, str) else replica.region for replica in replicas)
        self._recovery_days = recovery_window.days
        with opening(name, AwsSettings(region, endpoint_url, profile, role_arn)) as session:
            self._client: SecretsManagerClient = session.client(
                "secretsmanager", region_name=region, endpoint_url=endpoint_url, config=SDK_CONFIG
            )
        self._elsewhere = RegionalClients(name, session, endpoint_url)
        self._versions = AwsVersions(name, self._client, region, self._replicas, self._elsewhere)
        self.shared = SharedSecrets(name, self._client, region, self._settings())

    def describe(self, remote: str) -> RemoteSecret | None:
        self._limits.check_name(remote, "find")
        try:
            return _copy(self._describe(remote, "find"))
        except NotFound:
            return None

    def list_managed(self) -> Iterator[RemoteSecret]:
        ours = self._listed([{"Key": "tag-key", "Values": [TAG_MANAGED_BY]}])
        return (copy for copy in ours if copy.marks)

    def list_all(self) -> Iterator[RemoteSecret]:
        return self._listed([])

    def posture(self, remotes: Sequence[str]) -> Iterator[Posture]:
        count = sum(1 for _ in self._listed([]))
        return secrets_posture(self._client, self.name, remotes, self._replicas, count)

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        """Set the tags last. After a crash before them, the next run writes again, and AWS adds no second version."""
        self._check(remote, value, marks)
        written = RemoteSecret(remote, version_id(marks), marks)
        if current == written:
            return self.relabel(remote, marks, details, current)
        with translate_aws_errors("write", self._named(remote)):
            if current is None:
                answer = self._client.create_secret(**self._new(written, value, marks, details))
                field(answer, "VersionId", "write", self._named(remote))
            else:
                self._update(written, value, marks, current)
                own = marks.to_tags() if current.marks != marks else {}
                self._lay(remote, own | {TAG_VERSION: written.version_id}, marks, details, current)
        return _with(details, written, current)

    def create(
        self, remote: str, value: Sensitive, marks: OwnershipTags, *, details: Details = NO_DETAILS
    ) -> RemoteSecret:
        """Raises Taken. The returned version id identifies this value and these marks."""
        self._check(remote, value, marks)
        written, wrong = RemoteSecret(remote, version_id(marks), marks), self._client.exceptions
        with translate_aws_errors("write", self._named(remote)):
            try:
                answer = self._client.create_secret(**self._new(written, value, marks, details))
            except (wrong.ResourceExistsException, wrong.InvalidRequestException):
                answer = None  # the second is for a name scheduled for deletion
        # AWS omits the id of a version that existed before.
        if answer is None or answer.get("VersionId") != written.version_id:
            raise Taken("write", self._named(remote), "a secret of that name is there", "Look at it before writing")
        return _with(details, written, None)

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        """Marks with another fingerprint imply another version id, so a tag contains the actual one."""
        self._limits.check_name(remote, "label")
        insist_on_value(self._named(remote), current, marks)
        renamed = current.marks is None or current.marks.tags != marks.tags
        own = {TAG_TAGS: " ".join(marks.tags)} if renamed and marks.tags else {}
        if current.marks and current.marks.fingerprint != marks.fingerprint:
            own |= {TAG_FINGERPRINT: marks.fingerprint, TAG_VERSION: current.version_id}
        with translate_aws_errors("label", self._named(remote)):
            self._lay(remote, own, marks, details, current)
        return _with(details, replace(current, marks=marks), current)

    def read(self, remote: str) -> Sensitive:
        """Raises NotFound, also if the secret is scheduled for deletion."""
        self._limits.check_name(remote, "read")
        name = self._named(remote)
        with translate_aws_errors("read", name):
            try:
                answer = self._client.get_secret_value(SecretId=remote)
            except self._client.exceptions.InvalidRequestException:
                raise NotFound("read", name, "it is scheduled for deletion", "Restore it, or write it again") from None
        return self._text(remote, answer)

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        names = list(dict.fromkeys(remotes))
        for remote in names:
            self._limits.check_name(remote, "read")
        batches = (names[start : start + BATCH] for start in range(0, len(names), BATCH))
        return {
            secret["Name"]: self._text(secret["Name"], secret) for batch in batches for secret in self._batch(batch)
        }

    def delete(self, remote: str) -> None:
        """Schedule the deletion after the recovery window, and remove replicas at once."""
        self._limits.check_name(remote, "delete")
        wrong = self._client.exceptions
        with translate_aws_errors("delete", self._named(remote)):
            try:
                self._schedule_deletion(remote)
            except wrong.ResourceNotFoundException:
                return
            except (wrong.InvalidParameterException, wrong.InvalidRequestException):
                description = self._describe(remote, "delete")
                if "DeletedDate" in description:
                    return
                if not (regions := [replica["Region"] for replica in description.get("ReplicationStatus", ())]):
                    raise
                self._client.remove_regions_from_replication(SecretId=remote, RemoveReplicaRegions=regions)
                self._schedule_deletion(remote)

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        self._limits.check_name(remote, PAST)
        return self._versions.past(remote)

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        self._limits.check_name(remote, FORGET)
        return self._versions.forget(remote)

    def purge(self, remote: str) -> tuple[str, ...]:
        """AWS frees the name in the background: a write just after may be refused."""
        self._limits.check_name(remote, ERASE)
        return self._versions.erase(remote)

    def close(self) -> None:
        self._elsewhere.close()
        self._client.close()

    def _new(
        self, written: RemoteSecret, value: Sensitive, marks: OwnershipTags, details: Details
    ) -> "CreateSecretRequestTypeDef":
        request: CreateSecretRequestTypeDef = {
            "Name": written.name,
            "ClientRequestToken": written.version_id,
            "SecretString": value.reveal(),
            "Tags": as_tags({**details.tags, **marks.to_tags()}),
        }
        if details.description:
            request["Description"] = details.description
        return {**request, **self._settings()}  # type: ignore[typeddict-item]

    def _settings(self) -> dict[str, Any]:
        key = {"KmsKeyId": self._kms_key_id} if self._kms_key_id else {}
        return {**key, **({"AddReplicaRegions": self._in_regions(self._replicas)} if self._replicas else {})}

    def _update(self, written: RemoteSecret, value: Sensitive, marks: OwnershipTags, current: RemoteSecret) -> None:
        remote = written.name
        if not current.intact and "DeletedDate" in self._describe(remote, "write"):
            self._client.restore_secret(SecretId=remote)
        answer = self._client.put_secret_value(
            SecretId=remote, ClientRequestToken=written.version_id, SecretString=value.reveal()
        )
        field(answer, "VersionId", "write", self._named(remote))
        # AWS does nothing if the version exists, even if it is not the current one.
        if not current.intact or CURRENT not in answer.get("VersionStages", ()):
            self._make_current(written)
        if lacking := self._regions_without(remote):
            self._replicate(remote, lacking)

    def _lay(
        self, remote: str, own: Mapping[str, str], marks: OwnershipTags, details: Details, current: RemoteSecret
    ) -> None:
        shown, before = current.details or NO_DETAILS, current.marks.tags if current.marks else ()
        changes = tag_changes(shown.tags, details.tags, before)
        gone = [name for name, text in changes.items() if text is None]
        if gone or (before and not marks.tags):
            self._client.untag_resource(SecretId=remote, TagKeys=[*gone, *([] if marks.tags else [TAG_TAGS])])
        laid = {**{name: text for name, text in changes.items() if text is not None}, **own}
        if laid:
            self._client.tag_resource(SecretId=remote, Tags=as_tags(laid))
        if details.description not in ("", shown.description):
            self._client.update_secret(SecretId=remote, Description=details.description)

    def _regions_without(self, remote: str) -> list[str]:
        if not self._replicas:
            return []
        statuses = self._describe(remote, "write").get("ReplicationStatus", ())
        there = {replica["Region"] for replica in statuses if replica.get("Status") != "Failed"}
        return [region for region in self._replicas if region not in there]

    def _replicate(self, remote: str, regions: Sequence[str]) -> None:
        wrong = self._client.exceptions
        try:
            self._client.replicate_secret_to_regions(SecretId=remote, AddReplicaRegions=self._in_regions(regions))
        except (wrong.InvalidParameterException, wrong.InvalidRequestException):
            # AWS refuses a region with a replica, which another run may have added.
            if self._regions_without(remote):
                raise

    def _in_regions(self, regions: Sequence[str]) -> "list[ReplicaRegionTypeTypeDef]":
        everywhere = self._kms_key_id if (self._kms_key_id or "").startswith(("alias/", "mrk-")) else None
        keys = {region: self._keys.get(region, everywhere) for region in regions}
        return [{"Region": region, "KmsKeyId": key} if key else {"Region": region} for region, key in keys.items()]

    def _schedule_deletion(self, remote: str) -> None:
        self._client.delete_secret(SecretId=remote, RecoveryWindowInDays=self._recovery_days)

    def _listed(self, filters: "Sequence[FilterTypeDef]") -> Iterator[RemoteSecret]:
        pages = self._client.get_paginator("list_secrets").paginate(
            Filters=filters, IncludePlannedDeletion=False, PaginationConfig={"PageSize": 100}
        )
        with translate_aws_errors("list", self._named("*")):
            for entry in items_of(pages, "SecretList", "list", self._named("*")):
                if entry.get("PrimaryRegion", self._region) == self._region:
                    yield _copy(entry)

    def _batch(self, remotes: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Raises the first error that is not absence."""
        request: BatchGetSecretValueRequestTypeDef = {"SecretIdList": remotes}
        guard = PageGuard("read", self._named("*"))
        while True:
            with translate_aws_errors("read", self._named("*")):
                answer = self._client.batch_get_secret_value(**request)
            for error in answer.get("Errors", ()):
                if (code := error.get("ErrorCode", "")) not in NOT_SERVED:
                    raise from_code(code, "GetSecretValue", "read", self._named(error.get("SecretId", "*")))
            yield from field(answer, "SecretValues", "read", self._named("*"))
            if not (token := answer.get("NextToken")):
                return
            request["NextToken"] = guard.follow(token)

    def _text(self, remote: str, answer: Mapping[str, Any]) -> Sensitive:
        name = self._named(remote)
        if "SecretBinary" in answer:
            raise Invalid("read", name, "it holds binary data, no text", "Keyturn manages texts only")
        return Sensitive(field(answer, "SecretString", "read", name))

    def _make_current(self, written: RemoteSecret) -> None:
        current = _current(self._describe(written.name, "write"))
        if current == written.version_id:
            return
        moved_from = {"RemoveFromVersionId": current} if current else {}
        self._client.update_secret_version_stage(
            SecretId=written.name, VersionStage=CURRENT, MoveToVersionId=written.version_id, **moved_from
        )

    def _describe(self, remote: str, doing: str) -> Mapping[str, Any]:
        return describe(self._client, remote, doing, self._named(remote))

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"

    def _check(self, remote: str, value: Sensitive, marks: OwnershipTags) -> None:
        self._limits.check_name(remote, "write")
        if problem := too_large(AWS_SECRETS_MANAGER, len(value.reveal().encode())):
            raise Invalid("write", self._named(remote), problem)
        if not all(TAG_VALUE.fullmatch(tag) for tag in marks.to_tags().values()):
            problem = f"the path {marks.source}, or what its tags are called, does not fit in an AWS tag"
            raise Invalid("write", self._named(remote), problem, "Tags take 256 letters, digits, spaces and _.:/=+-@")


def _copy(secret: Mapping[str, Any]) -> RemoteSecret:
    tags = read_tags(secret.get("Tags", ()))
    marks, theirs, description = OwnershipTags.from_tags(tags), others(tags), secret.get("Description", "")
    details = Details(theirs, description=description) if theirs or description else NO_DETAILS
    current = _current(secret)
    served = bool(current) and "DeletedDate" not in secret
    intact = served and (marks is None or _is_of(current, marks, tags.get(TAG_VERSION)))
    return RemoteSecret(secret["Name"], current, marks, intact, details=details)


def _is_of(version: str, marks: OwnershipTags, named: str | None) -> bool:
    """Whether the marks imply this version, or a tag contains its id; an earlier release's tag may be old."""
    return bool(marks.fingerprint) and version in (named, version_id(marks))


def _with(details: Details, copy: RemoteSecret, current: RemoteSecret | None) -> RemoteSecret:
    there = (current.details if current else None) or NO_DETAILS
    return replace(copy, details=details.laid_over(there, current.marks if current else None))


def _current(description: Mapping[str, Any]) -> str:
    return served(description.get("VersionIdsToStages") or description.get("SecretVersionsToStages") or {})
