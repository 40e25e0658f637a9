"""Parameter Store of AWS Systems Manager as a store.

Listings contain descriptions and no tags, so the description holds the marks and the expected version number. One call
sets it with the value; another current version was set by another writer. Source: the AWS Systems Manager API
reference.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from keyturn.core.errors import Invalid, Locked
from keyturn.core.ports.stores import (
    MANAGED_BY,
    NO_DETAILS,
    TAG_CATALOGUE,
    TAG_FINGERPRINT,
    TAG_MANAGED_BY,
    TAG_SOURCE,
    TAG_TAGS,
    TAG_VERSION,
    Details,
    OwnershipTags,
    RemoteSecret,
    Unsupported,
)
from keyturn.core.rights.posture import Posture
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import AWS_PARAMETER_STORE, LIMITS
from keyturn.providers.answers import reads_answers
from keyturn.providers.aws.client import (
    SDK_CONFIG,
    AwsSettings,
    as_tags,
    field,
    items_of,
    opening,
    translate_aws_errors,
)
from keyturn.providers.aws.merged_keys import SharedParameters
from keyturn.providers.aws.parameter_tags import ParameterTags, Tagging
from keyturn.providers.aws.posture import parameters_posture
from keyturn.providers.store_refusals import StoreLimits, only_written_whole

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterStringFilterTypeDef, PutParameterRequestTypeDef

Type = Literal["SecureString", "String"]
Tier = Literal["Standard", "Advanced", "Intelligent-Tiering"]

STANDARD_BYTES: Final = 4_096
"""The Standard tier's limit; the others take 8 KB. Source: "Managing parameter tiers"."""
DESCRIPTION_CHARACTERS: Final = 1_024
BATCH: Final = 10
PAGE: Final = 50
ATTEMPTS: Final = 4
OURS: Final = {TAG_MANAGED_BY: MANAGED_BY}

DESCRIPTION: Final = re.compile(
    f"{TAG_MANAGED_BY}={MANAGED_BY} {TAG_VERSION}=([0-9]+) {TAG_FINGERPRINT}=([0-9a-f-]*)"
    f"(?: {TAG_CATALOGUE}=([a-z0-9-]*))? {TAG_SOURCE}=(.+)",
    re.DOTALL,
)


@reads_answers()
class AwsParameterStore:
    """A :class:`keyturn.core.ports.stores.Store` in one account and region.

    ``kms_key_id`` encrypts new SecureString values, by default aws/ssm does. A copy of another ``type`` is written
    again. Keyturn owns the description. Raises Invalid or Denied for unusable settings.
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
        type: Type = "SecureString",
        tier: Tier = "Standard",
    ) -> None:
        self.name = name
        self._kms_key_id = kms_key_id
        self._type = type
        self._tier = tier
        limits = LIMITS[AWS_PARAMETER_STORE]
        if tier == "Standard":
            limits = replace(limits, max_bytes=STANDARD_BYTES)
        self._limits = StoreLimits(limits, name)
        with opening(name, AwsSettings(region, endpoint_url, profile, role_arn)) as session:
            self._client: SSMClient = session.client(
                "ssm", region_name=region, endpoint_url=endpoint_url, config=SDK_CONFIG
            )
        key = {"KeyId": kms_key_id} if kms_key_id and type == "SecureString" else {}
        new = {"Type": type, "Tier": tier, **key}
        self.shared = SharedParameters(name, self._client, self.describe, new, limits)
        # An endpoint of AWS's serves only Parameter Store.
        elsewhere = None if ".amazonaws.com" in (endpoint_url or "") else endpoint_url
        self._tagging = Tagging(name, session, region, elsewhere)
        self._tags = ParameterTags(name, self._client, self._tagging)

    def describe(self, remote: str) -> RemoteSecret | None:
        self._limits.check_name(remote, "find")
        only: list[ParameterStringFilterTypeDef] = [{"Key": "Name", "Option": "Equals", "Values": [remote]}]
        return next(map(self._copy, self._parameters("find", remote, only)), None)

    def list_managed(self) -> Iterator[RemoteSecret]:
        return (copy for copy in self.list_all() if copy.marks)

    def list_all(self) -> Iterator[RemoteSecret]:
        return map(self._copy, self._parameters("list", "*", []))

    def posture(self, remotes: Sequence[str]) -> Iterator[Posture]:
        return parameters_posture(self._parameters("list", "*", []), remotes, self._kms_key_id)

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        """The expiry is not set, because it would delete the parameter."""
        self._check(remote, value, marks)
        if current and current.intact and current.marks and replace(current.marks, tags=marks.tags) == marks:
            return self._labelled(current, marks, details, current)
        with translate_aws_errors("write", self._named(remote)):
            if current is None:
                return self._create(remote, value, marks, details)
            if current.marks is None:
                self._client.add_tags_to_resource(ResourceType="Parameter", ResourceId=remote, Tags=as_tags(OURS))
            written = self._update(remote, value, marks, int(current.version_id) + 1)
        return self._labelled(written, marks, details, current)

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        """Raises UnsupportedOperation for marks other than tags, which only a write can change."""
        self._limits.check_name(remote, "label")
        if current.marks is None or current.marks.fingerprint != marks.fingerprint:
            raise only_written_whole(self._named(remote))
        return self._labelled(current, marks, details, current)

    def with_details(self, copies: Sequence[RemoteSecret]) -> list[RemoteSecret]:
        return self._tags.described(copies)

    def read(self, remote: str) -> Sensitive:
        self._limits.check_name(remote, "read")
        with translate_aws_errors("read", self._named(remote)):
            answer = self._client.get_parameter(Name=remote, WithDecryption=True)
        return self._value(field(answer, "Parameter", "read", self._named(remote)))

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        names = list(dict.fromkeys(remotes))
        for remote in names:
            self._limits.check_name(remote, "read")
        values: dict[str, Sensitive] = {}
        for batch in (names[start : start + BATCH] for start in range(0, len(names), BATCH)):
            with translate_aws_errors("read", self._named("*")):
                answer = self._client.get_parameters(Names=batch, WithDecryption=True)
            parameters = field(answer, "Parameters", "read", self._named("*"))
            values |= {parameter["Name"]: self._value(parameter) for parameter in parameters}
        return values

    def delete(self, remote: str) -> None:
        self._limits.check_name(remote, "delete")
        with translate_aws_errors("delete", self._named(remote)):
            try:
                self._client.delete_parameter(Name=remote)
            except self._client.exceptions.ParameterNotFound:
                return

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        history = self._history(remote, "read old versions of", decrypted=True)
        return {str(parameter["Version"]): self._value(parameter) for parameter in history}

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        """Only report the old versions: deleting the parameter alone removes its history."""
        history = self._history(remote, "forget old versions of", decrypted=False)
        hint = "Parameter Store removes it only with the whole parameter, or after 100 newer ones"
        return tuple(f"version {parameter['Version']} stays in the history: {hint}" for parameter in history)

    def purge(self, remote: str) -> tuple[str, ...]:
        self.delete(remote)
        return ()

    def close(self) -> None:
        self._tagging.close()
        self._client.close()

    def _labelled(
        self, written: RemoteSecret, marks: OwnershipTags, details: Details, current: RemoteSecret
    ) -> RemoteSecret:
        if not details.tags and not (current.marks and current.marks.tags):
            return replace(written, marks=marks)
        return self._tags.lay(replace(written, marks=current.marks, details=current.details), marks, details)

    def _create(self, remote: str, value: Sensitive, marks: OwnershipTags, details: Details) -> RemoteSecret:
        named = {TAG_TAGS: " ".join(marks.tags)} if marks.tags else {}
        try:
            tags = as_tags({**details.tags, **OURS, **named})
            made = self._put({**self._request(remote, value, marks, 1), "Tags": tags})
        except self._client.exceptions.ParameterAlreadyExists:
            there = self.describe(remote)
            if there and there.intact and there.marks and replace(there.marks, tags=marks.tags) == marks:
                return self._labelled(there, marks, details, there)
            raise
        written = RemoteSecret(remote, str(made), marks) if made == 1 else self._update(remote, value, marks, made + 1)
        return replace(written, details=Details(details.tags))

    def _update(self, remote: str, value: Sensitive, marks: OwnershipTags, expected: int) -> RemoteSecret:
        for _ in range(ATTEMPTS):
            made = self._put({**self._request(remote, value, marks, expected), "Overwrite": True})
            if made == expected:
                return RemoteSecret(remote, str(made), marks)
            expected = made + 1
        raise Locked("write", self._named(remote), "others keep writing it", "Find out who else writes the parameter")

    def _request(
        self, remote: str, value: Sensitive, marks: OwnershipTags, version: int
    ) -> "PutParameterRequestTypeDef":
        request: PutParameterRequestTypeDef = {
            "Name": remote,
            "Value": value.reveal(),
            "Description": parameter_description(marks, version),
            "Type": self._type,
            "Tier": self._tier,
        }
        if self._kms_key_id and self._type == "SecureString":
            request["KeyId"] = self._kms_key_id
        return request

    def _put(self, request: "PutParameterRequestTypeDef") -> int:
        return int(field(self._client.put_parameter(**request), "Version", "write", self._named(request["Name"])))

    def _parameters(
        self, doing: str, remote: str, filters: "Sequence[ParameterStringFilterTypeDef]"
    ) -> Iterator[Mapping[str, Any]]:
        pages = self._client.get_paginator("describe_parameters").paginate(
            ParameterFilters=filters, PaginationConfig={"PageSize": PAGE}
        )
        with translate_aws_errors(doing, self._named(remote)):
            yield from items_of(pages, "Parameters", doing, self._named(remote))

    def _copy(self, parameter: Mapping[str, Any]) -> RemoteSecret:
        name = field(parameter, "Name", "find", self._named("*"))
        version = str(field(parameter, "Version", "find", self._named(name)))
        match = DESCRIPTION.fullmatch(parameter.get("Description", ""))
        if not match:
            return RemoteSecret(name, version, None)
        written_as, digest, catalogue, source = match.groups(default="")
        tags = {TAG_FINGERPRINT: digest, TAG_CATALOGUE: catalogue, TAG_SOURCE: source}
        marks = OwnershipTags.from_tags({TAG_MANAGED_BY: MANAGED_BY, **tags})
        as_written = written_as == version and parameter.get("Type") == self._type
        return RemoteSecret(name, version, marks, intact=marks is None or as_written)

    def _history(self, remote: str, doing: str, *, decrypted: bool) -> list[Mapping[str, Any]]:
        """Every version but the newest, which is served."""
        self._limits.check_name(remote, doing)
        name = self._named(remote)
        pages = self._client.get_paginator("get_parameter_history").paginate(Name=remote, WithDecryption=decrypted)
        with translate_aws_errors(doing, name):
            try:
                history = list(items_of(pages, "Parameters", doing, name))
            except self._client.exceptions.ParameterNotFound:
                return []
        newest = max((field(parameter, "Version", doing, name) for parameter in history), default=0)
        return [parameter for parameter in history if parameter["Version"] != newest]

    def _value(self, parameter: Mapping[str, Any]) -> Sensitive:
        return Sensitive(field(parameter, "Value", "read", self._named(parameter.get("Name", "*"))))

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"

    def _check(self, remote: str, value: Sensitive, marks: OwnershipTags) -> None:
        self._limits.check_name(remote, "write")
        if problem := self._limits.limits.refuses_size(len(value.reveal().encode())):
            raise Invalid("write", self._named(remote), problem, "The Advanced tier takes 8,192 bytes")
        # No version number has ten digits.
        if len(parameter_description(marks, 10**9)) > DESCRIPTION_CHARACTERS:
            problem = f"the path {marks.source} does not fit in a parameter's description"
            raise Invalid("write", self._named(remote), problem, "A description takes 1,024 characters")


def parameter_description(marks: OwnershipTags, version: int) -> str:
    # The path comes last, because it may contain anything.
    whose = f" {TAG_CATALOGUE}={marks.catalogue}" if marks.catalogue else ""
    return (
        f"{TAG_MANAGED_BY}={MANAGED_BY} {TAG_VERSION}={version}"
        f" {TAG_FINGERPRINT}={marks.fingerprint}{whose} {TAG_SOURCE}={marks.source_tag}"
    )
