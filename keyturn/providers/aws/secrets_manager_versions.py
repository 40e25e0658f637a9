"""Old versions in AWS Secrets Manager: read, unlabel and delete them.

AWS deletes no single version on request. A version without labels stays readable by its id until AWS deletes it in the
background. Source: the API reference, "DeleteSecret" and "UpdateSecretVersionStage".
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from keyturn.core.errors import Locked, NotFound
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive
from keyturn.providers.aws.client import SDK_CONFIG, field, read_tags, translate_aws_errors
from keyturn.providers.pages import PageGuard
from keyturn.providers.side_by_side import read_side_by_side

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import ListSecretVersionIdsRequestTypeDef

CURRENT: Final = "AWSCURRENT"
PAST: Final = "read old versions of"
FORGET: Final = "forget old versions of"
ERASE: Final = "erase"
GIVEN: Final = "can still be read by its id"
READERS: Final = 8

Labels = Mapping[str, Sequence[str]]
"""The staging labels of each version."""


class RegionalClients:
    def __init__(self, store: str, session: "boto3.Session", endpoint_url: str | None) -> None:
        self._store = store
        self._session = session
        self._endpoint_url = endpoint_url
        self._lock = threading.Lock()
        self._clients: dict[str, SecretsManagerClient] = {}

    def __call__(self, region: str) -> "SecretsManagerClient":
        with self._lock, translate_aws_errors("open", self._store):
            if region not in self._clients:
                self._clients[region] = self._session.client(
                    "secretsmanager", region_name=region, endpoint_url=self._endpoint_url, config=SDK_CONFIG
                )
            return self._clients[region]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


class AwsVersions:
    def __init__(
        self,
        store: str,
        client: "SecretsManagerClient",
        region: str,
        replicas: Sequence[str],
        elsewhere: Callable[[str], "SecretsManagerClient"],
    ) -> None:
        self._store = store
        self._client = client
        self._region = region
        self._replicas = tuple(replicas)
        self._elsewhere = elsewhere

    def past(self, remote: str) -> dict[str, Sensitive]:
        """All versions but the current one, and what lagging regions serve."""
        versions = self._versions(self._client, remote, PAST)
        current = served(versions)
        past = self._values(self._client, remote, [version for version in versions if version != current])
        for region, _ in self._straying(remote, current, PAST):
            there = self._kept_in(region, remote, current, PAST)
            values = self._values(self._elsewhere(region), remote, list(there))
            past |= {f"{version} in {region}": value for version, value in values.items()}
        return past

    def forget(self, remote: str) -> tuple[str, ...]:
        """Remove every label from old versions, which stay until AWS deletes them."""
        try:
            description = describe(self._client, remote, FORGET, self._named(remote))
        except NotFound:
            return ()
        versions = self._versions(self._client, remote, FORGET)
        current = served(versions)
        old = [version for version in versions if version != current]
        if "DeletedDate" in description:
            return tuple(f"version {version} comes back where the secret is restored" for version in versions)
        with translate_aws_errors(FORGET, self._named(remote)):
            for version in old:
                self._take_labels(remote, version, versions[version])
        stays = [f"version {version} {GIVEN}, until AWS deletes it" for version in old]
        for region, there in self._straying(remote, current, FORGET):
            self._refuse_unsettled(remote, region, description)
            stays += self._words(region, there, self._kept_in(region, remote, current, FORGET))
        return tuple(stays)

    def erase(self, remote: str) -> tuple[str, ...]:
        """Delete the replicas, then the secret. Returns what other regions still serve."""
        try:
            description = describe(self._client, remote, ERASE, self._named(remote))
        except NotFound:
            return self._left(remote)
        regions = [replica["Region"] for replica in description.get("ReplicationStatus", ())]
        wrong = self._client.exceptions
        with translate_aws_errors(ERASE, self._named(remote)):
            if regions:
                self._client.remove_regions_from_replication(SecretId=remote, RemoveReplicaRegions=regions)
            try:
                self._client.delete_secret(SecretId=remote, ForceDeleteWithoutRecovery=True)
            except (wrong.InvalidParameterException, wrong.InvalidRequestException):
                if not regions:
                    raise
                problem = "its replicas are still being removed"
                raise Locked(ERASE, self._named(remote), problem, "Run it again in a minute") from None
        return self._left(remote)

    def _versions(self, client: "SecretsManagerClient", remote: str, doing: str) -> Labels:
        request: ListSecretVersionIdsRequestTypeDef = {"SecretId": remote, "IncludeDeprecated": True}
        versions: dict[str, Sequence[str]] = {}
        name = self._named(remote)
        guard = PageGuard(doing, name)
        with translate_aws_errors(doing, name):
            while True:
                try:
                    page = client.list_secret_version_ids(**request)
                except client.exceptions.ResourceNotFoundException:
                    return {}
                for entry in field(page, "Versions", doing, name):
                    versions[field(entry, "VersionId", doing, name)] = entry.get("VersionStages", ())
                if not (token := page.get("NextToken")):
                    return versions
                request["NextToken"] = guard.follow(token)

    def _values(self, client: "SecretsManagerClient", remote: str, versions: Sequence[str]) -> dict[str, Sensitive]:
        return read_side_by_side(lambda version: self._value(client, remote, version), versions, READERS)

    def _value(self, client: "SecretsManagerClient", remote: str, version: str) -> Sensitive:
        name = self._named(remote)
        with translate_aws_errors(PAST, name):
            try:
                answer = client.get_secret_value(SecretId=remote, VersionId=version)
            except client.exceptions.InvalidRequestException:
                raise NotFound(PAST, name, "it is scheduled for deletion", "Restore it to read them") from None
        try:
            return Sensitive(answer["SecretString"] if "SecretString" in answer else answer["SecretBinary"].decode())
        except (KeyError, UnicodeDecodeError):
            raise NotFound(PAST, name, "a version holds no text", "Keyturn manages texts only") from None

    def _take_labels(self, remote: str, version: str, labels: Sequence[str]) -> None:
        try:
            for label in labels:
                self._client.update_secret_version_stage(
                    SecretId=remote, VersionStage=label, RemoveFromVersionId=version
                )
        except self._client.exceptions.InvalidParameterException:
            problem = "something else moves its staging labels"
            raise Locked(FORGET, self._named(remote), problem, "It is tried again by itself") from None

    def _straying(self, remote: str, current: str, doing: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Regions that serve another version: replicas, and our former replicas."""
        for region in self._replicas:
            try:
                description = describe(self._elsewhere(region), remote, doing, self._named(remote))
            except NotFound:
                continue
            if _served_by(description) not in ("", current) and (self._is_replica(description) or _marked(description)):
                yield region, description

    def _kept_in(self, region: str, remote: str, current: str, doing: str) -> Labels:
        versions = self._versions(self._elsewhere(region), remote, doing)
        return {version: labels for version, labels in versions.items() if version != current}

    def _refuse_unsettled(self, remote: str, region: str, description: Mapping[str, Any]) -> None:
        statuses = {replica["Region"]: replica.get("Status") for replica in description.get("ReplicationStatus", ())}
        if statuses.get(region) == "InProgress":
            problem = f"AWS has not updated the replica in {region} yet"
            raise Locked(FORGET, self._named(remote), problem, "It is tried again by itself")

    def _words(self, region: str, there: Mapping[str, Any], versions: Labels) -> Iterator[str]:
        why = "its replication failed" if self._is_replica(there) else "it is a separate secret there"
        for version, labels in versions.items():
            yield f"version {version} in {region} {'is served' if CURRENT in labels else GIVEN}: {why}"

    def _left(self, remote: str) -> tuple[str, ...]:
        straying = [stray for stray in self._straying(remote, "", ERASE) if not self._is_replica(stray[1])]
        return tuple(
            f"version {_served_by(description)} in {region} is served there" for region, description in straying
        )

    def _is_replica(self, description: Mapping[str, Any]) -> bool:
        return bool(description.get("PrimaryRegion") == self._region)

    def _named(self, remote: str) -> str:
        return f"{self._store}:{remote}"


def describe(client: "SecretsManagerClient", remote: str, doing: str, name: str) -> Mapping[str, Any]:
    with translate_aws_errors(doing, name):
        answer = client.describe_secret(SecretId=remote)
    field(answer, "Name", doing, name)
    return answer


def served(versions: Labels) -> str:
    return next((version for version, labels in versions.items() if CURRENT in labels), "")


def _served_by(description: Mapping[str, Any]) -> str:
    return served(description.get("VersionIdsToStages") or {})


def _marked(description: Mapping[str, Any]) -> bool:
    return OwnershipTags.from_tags(read_tags(description.get("Tags", ()))) is not None
