"""Single keys in secrets and parameters of AWS that others own.

Secrets Manager refuses to move AWSCURRENT from a version without it. So a new version first gets Keyturn's label, then
replaces the version that was read. Parameter Store numbers its versions: a gap reveals a concurrent one, and the change
is merged into that. Source: "UpdateSecretVersionStage" and "PutParameter" in the API references.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from keyturn.core.errors import Conflict, Invalid, Locked
from keyturn.core.ports.merged_keys import NOTE, Change, Shared
from keyturn.core.ports.stores import MANAGED_BY, OwnershipTags, RemoteSecret
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import AWS_SECRETS_MANAGER, LIMITS, Limits, too_large
from keyturn.providers.answers import reads_answers
from keyturn.providers.aws.client import as_tags, field, items_of, read_tags, translate_aws_errors
from keyturn.providers.aws.secrets_manager_versions import CURRENT, served
from keyturn.providers.sharing import MERGE, checked_text, shared_text
from keyturn.providers.store_refusals import StoreLimits

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import PutParameterRequestTypeDef

ASIDE: Final = "keyturn-merging"
PAGE: Final = 50
ATTEMPTS: Final = 4
PARTS: Final = "keyturn-parts"
"""Listings filter only by complete tag keys, and the notes' vary."""


@reads_answers()
class SharedSecrets:
    """``Shares`` in one region; ``settings`` apply to new secrets."""

    atomic = False

    def __init__(self, name: str, client: "SecretsManagerClient", region: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        self._client = client
        self._region = region
        self._settings: Any = settings
        self._limits = StoreLimits(LIMITS[AWS_SECRETS_MANAGER], name)

    def look(self, remote: str) -> Shared | None:
        self._limits.check_name(remote, MERGE)
        wrong = self._client.exceptions
        with translate_aws_errors(MERGE, self._named(remote)):
            try:
                description: Mapping[str, Any] = self._client.describe_secret(SecretId=remote)
            except wrong.ResourceNotFoundException:
                return None
            if "DeletedDate" in description:
                hint = "Let its owner restore it, or choose another name; nothing was written"
                raise Invalid(MERGE, self._named(remote), "it is scheduled for deletion", hint)
            tags = read_tags(description.get("Tags", ()))
            current = served(description.get("VersionIdsToStages") or {})
            answer: Mapping[str, Any] = (
                self._client.get_secret_value(SecretId=remote, VersionId=current) if current else {}
            )
        if "SecretBinary" in answer:
            raise Invalid(MERGE, self._named(remote), "it holds binary data, no object", "Nothing was written")
        text = Sensitive(field(answer, "SecretString", MERGE, self._named(remote))) if current else None
        return shared_text(self._named(remote), remote, current, text, tags, OwnershipTags.from_tags(tags))

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        """Set tags, add the version, then move AWSCURRENT from the version that was read."""
        text = checked_text(self._named(remote), partial(too_large, AWS_SECRETS_MANAGER), change, current)
        with translate_aws_errors(MERGE, self._named(remote)):
            if current is None:
                self._client.create_secret(
                    Name=remote,
                    ClientRequestToken=str(uuid.uuid4()),
                    SecretString=text.reveal(),
                    Tags=as_tags(change.laid),
                    **self._settings,
                )
                return
            if change.laid:
                self._client.tag_resource(SecretId=remote, Tags=as_tags(change.laid))
            if change:
                self._serve(remote, text, current.version_id)
            if change.removed:
                self._client.untag_resource(SecretId=remote, TagKeys=change.removed)

    def listed(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        pages = self._client.get_paginator("list_secrets").paginate(
            Filters=[{"Key": "tag-key", "Values": [NOTE]}], IncludePlannedDeletion=False
        )
        with translate_aws_errors("list", self._named("*")):
            for entry in items_of(pages, "SecretList", "list", self._named("*")):
                tags, primary = read_tags(entry.get("Tags", ())), entry.get("PrimaryRegion", self._region)
                if primary == self._region and any(key.startswith(NOTE) for key in tags):
                    yield entry["Name"], tags

    def tidy(self, remote: str) -> None:
        wrong = self._client.exceptions
        with translate_aws_errors("forget old versions of", self._named(remote)):
            try:
                stages: Mapping[str, Any] = self._client.describe_secret(SecretId=remote).get("VersionIdsToStages", {})
            except wrong.ResourceNotFoundException:
                return
            for version in [version for version, labels in stages.items() if ASIDE in labels]:
                self._unlabel(remote, version)

    def _serve(self, remote: str, text: Sensitive, current: str) -> None:
        token, value = str(uuid.uuid4()), text.reveal()
        if not current:
            self._client.put_secret_value(SecretId=remote, ClientRequestToken=token, SecretString=value)
            return
        self._client.put_secret_value(
            SecretId=remote, ClientRequestToken=token, SecretString=value, VersionStages=[ASIDE]
        )
        wrong = self._client.exceptions
        try:
            self._client.update_secret_version_stage(
                SecretId=remote, VersionStage=CURRENT, MoveToVersionId=token, RemoveFromVersionId=current
            )
        except (wrong.InvalidParameterException, wrong.InvalidRequestException):
            problem = "it received another version in the meantime"
            raise Conflict(MERGE, self._named(remote), problem, "Run it again") from None
        finally:
            self._unlabel(remote, token)

    def _unlabel(self, remote: str, version: str) -> None:
        try:
            self._client.update_secret_version_stage(SecretId=remote, VersionStage=ASIDE, RemoveFromVersionId=version)
        except self._client.exceptions.InvalidParameterException:
            return  # another write of Keyturn's has moved it

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"


@reads_answers()
class SharedParameters:
    """``Shares`` in Parameter Store; ``new`` are the settings of new parameters."""

    atomic = False

    def __init__(
        self,
        name: str,
        client: "SSMClient",
        find: Callable[[str], RemoteSecret | None],
        new: Mapping[str, str],
        limits: Limits,
    ) -> None:
        self.name = name
        self._client = client
        self._find = find
        self._new: Any = new
        self._limits = limits

    def look(self, remote: str) -> Shared | None:
        copy = self._find(remote)
        if copy is None:
            return None
        name = self._named(remote)
        with translate_aws_errors(MERGE, name):
            description = self._described(remote)
            try:
                answer = self._client.get_parameter(Name=remote, WithDecryption=True)
            except self._client.exceptions.ParameterNotFound:
                return None
            tags = self._tags(remote)
        parameter: Mapping[str, Any] = field(answer, "Parameter", MERGE, name)
        if parameter.get("Type") == "StringList":
            raise Invalid(MERGE, name, "it is a list of texts, no object", "Nothing was written")
        version, text = str(field(parameter, "Version", MERGE, name)), Sensitive(field(parameter, "Value", MERGE, name))
        return shared_text(name, remote, version, text, tags, copy.marks, snapshot=description)

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        text = checked_text(self._named(remote), self._limits.refuses_size, change, current)
        with translate_aws_errors(MERGE, self._named(remote)):
            if current is None:
                new: dict[str, Any] = {**self._new, "Name": remote, "Value": text.reveal(), "Tags": _noted(change)}
                self._client.put_parameter(**new)
                return
            if change.laid:
                self._client.add_tags_to_resource(ResourceType="Parameter", ResourceId=remote, Tags=_noted(change))
            if change:
                self._update(remote, change, current)
            if change.removed:
                self._client.remove_tags_from_resource(
                    ResourceType="Parameter", ResourceId=remote, TagKeys=change.removed
                )

    def listed(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        only: Any = [{"Key": f"tag:{PARTS}", "Values": [MANAGED_BY]}]
        pages = self._client.get_paginator("describe_parameters").paginate(
            ParameterFilters=only, PaginationConfig={"PageSize": PAGE}
        )
        with translate_aws_errors("list", self._named("*")):
            for name in [parameter["Name"] for parameter in items_of(pages, "Parameters", "list", self._named("*"))]:
                tags = self._tags(name)
                if any(key.startswith(NOTE) for key in tags):
                    yield name, tags

    def tidy(self, remote: str) -> None:
        """A write is one call, so nothing remains."""

    def _update(self, remote: str, change: Change, current: Shared) -> None:
        before, expected = current, int(current.version_id) + 1
        for _ in range(ATTEMPTS):
            text = checked_text(self._named(remote), self._limits.refuses_size, change, before)
            made = self._put(remote, text, current.seen)
            if made == expected:
                return
            if made < expected:
                problem = "it was deleted in the meantime, and was made again with what it held before"
                raise Conflict(MERGE, self._named(remote), problem, "Delete it again if it is not needed")
            before, expected = self._version(remote, made - 1, current), made + 1
        raise Locked(MERGE, self._named(remote), "others keep writing it", "Find out who else writes the parameter")

    def _put(self, remote: str, text: Sensitive, description: Mapping[str, Any]) -> int:
        """Keep all of its owner's settings, because omitted ones might be lost."""
        settings = {
            key: description[key]
            for key in ("Description", "KeyId", "AllowedPattern", "DataType", "Tier")
            if description.get(key)
        }
        if policies := [
            policy["PolicyText"] for policy in description.get("Policies") or () if policy.get("PolicyText")
        ]:
            settings["Policies"] = f"[{','.join(policies)}]"
        request: PutParameterRequestTypeDef = {
            **settings,  # type: ignore[typeddict-item]
            "Name": remote,
            "Value": text.reveal(),
            "Type": description["Type"],
            "Overwrite": True,
        }
        return int(field(self._client.put_parameter(**request), "Version", MERGE, self._named(remote)))

    def _version(self, remote: str, number: int, current: Shared) -> Shared:
        answer = self._client.get_parameter(Name=f"{remote}:{number}", WithDecryption=True)
        text = Sensitive(field(field(answer, "Parameter", MERGE, self._named(remote)), "Value", MERGE, remote))
        return shared_text(self._named(remote), remote, str(number), text, current.tags, None, snapshot=current.seen)

    def _described(self, remote: str) -> Mapping[str, Any]:
        only = [{"Key": "Name", "Option": "Equals", "Values": [remote]}]
        answer = self._client.describe_parameters(ParameterFilters=only)  # type: ignore[arg-type]
        return next(iter(field(answer, "Parameters", MERGE, self._named(remote))), {})

    def _tags(self, remote: str) -> dict[str, str]:
        answer = self._client.list_tags_for_resource(ResourceType="Parameter", ResourceId=remote)
        return read_tags(answer.get("TagList", ()))

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"


def _noted(change: Change) -> list[Any]:
    return as_tags({**change.laid, PARTS: MANAGED_BY})
