"""moto's Secrets Manager, held to what AWS documents where a client that relies on it would notice.

Source of every rule: the AWS Secrets Manager API reference, page of the operation that is named.
"""

import json
from types import ModuleType
from typing import Any, Final

from moto.secretsmanager import urls
from moto.secretsmanager.exceptions import (
    InvalidParameterException,
    InvalidRequestException,
    ResourceExistsException,
    SecretNotFoundException,
    SecretsManagerClientError,
    ValidationException,
)
from moto.secretsmanager.models import (
    FakeSecret,
    ReplicaSecret,
    SecretsManagerBackend,
    SecretsStore,
    _matches,
    secretsmanager_backends,
)
from moto.secretsmanager.responses import SecretsManagerResponse

MAX_BYTES: Final = 65_536
PAGE: Final = 100
BATCH: Final = 20


class IndexedSecrets(SecretsStore):
    """moto's secrets, where a name is found, or found missing, without walking through all of them."""

    _replicas = False

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or (self._walks(key) and super().__contains__(str(key)))

    def __getitem__(self, key: str) -> FakeSecret | ReplicaSecret:
        present = dict.__contains__(self, key) or not self._walks(key)
        return dict.__getitem__(self, key) if present else super().__getitem__(key)

    def __setitem__(self, key: str, value: FakeSecret | ReplicaSecret) -> None:
        self._replicas = self._replicas or isinstance(value, ReplicaSecret)
        super().__setitem__(key, value)

    def _walks(self, key: object) -> bool:
        """Whether what has this name, or ARN, may lie under another key: moto has replicas under their ARNs."""
        return self._replicas or str(key).startswith("arn:")


class SecretsManager(SecretsManagerBackend):
    """One region's secrets of one account."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.secrets = IndexedSecrets()

    @property
    def _url_module(self) -> ModuleType:
        # moto finds the addresses beside the class's own module, which here is not moto's.
        return urls

    def create_secret(self, name: str, secret_string: str | None, *args: Any, **kwargs: Any) -> str:
        """CreateSecret: a name that is scheduled for deletion is taken."""
        _refuse_too_large(secret_string)
        self._refuse_deleted(name)
        return super().create_secret(name, secret_string, *args, **kwargs)

    def update_secret(self, secret_id: str, secret_string: str | None = None, *args: Any, **kwargs: Any) -> str:
        """UpdateSecret: the size limit."""
        _refuse_too_large(secret_string)
        return super().update_secret(secret_id, secret_string, *args, **kwargs)

    def put_secret_value(
        self,
        secret_id: str,
        secret_string: str,
        secret_binary: str,
        client_request_token: str,
        version_stages: list[str],
    ) -> str:
        """PutSecretValue: a version that has a value keeps it, whatever its stages are."""
        _refuse_too_large(secret_string)
        self._refuse_deleted(secret_id)
        existing = self._version(secret_id, client_request_token)
        if existing and _value(existing) not in ((None, None), (secret_string, secret_binary)):
            raise ResourceExistsException(
                f"You can't use ClientRequestToken {client_request_token} because that value is already in use "
                f"for a version of secret {self.secrets[secret_id].arn}."
            )
        return super().put_secret_value(secret_id, secret_string, secret_binary, client_request_token, version_stages)

    def tag_resource(self, arn: str, tags: dict[str, str]) -> None:
        """TagResource: not while scheduled for deletion."""
        self._refuse_deleted(arn)
        super().tag_resource(arn, tags)

    def update_secret_version_stage(
        self, secret_id: str, version_stage: str, remove_from_version_id: str, move_to_version_id: str
    ) -> tuple[str, str]:
        """UpdateSecretVersionStage: what carries AWSCURRENT is what GetSecretValue returns; not while deleted."""
        self._refuse_deleted(secret_id)
        answer = super().update_secret_version_stage(
            secret_id, version_stage, remove_from_version_id, move_to_version_id
        )
        secret = self.secrets[secret_id]
        if version_stage == "AWSCURRENT" and isinstance(secret, FakeSecret):
            secret.set_default_version_id(move_to_version_id)
        return answer

    def list_versions(self, secret_id: str, start: int, size: int, *, deprecated: bool) -> dict[str, Any]:
        """ListSecretVersionIds: versions without a staging label are shown to whoever asks for deprecated ones."""
        if secret_id not in self.secrets:
            raise SecretNotFoundException
        secret = self.secrets[secret_id]
        listed = [
            {"VersionId": number, "VersionStages": version["version_stages"], "CreatedDate": version["createdate"]}
            for number, version in secret.versions.items()
            if version["version_stages"] or deprecated
        ]
        more = {"NextToken": str(start + size)} if start + size < len(listed) else {}
        return {"ARN": secret.arn, "Name": secret.name, "Versions": listed[start : start + size], **more}

    def batch_get_secret_value(
        self,
        secret_id_list: list[str] | None = None,
        filters: list[dict[str, Any]] | None = None,
        max_results: int | None = None,
        next_token: str | None = None,
    ) -> tuple[list[dict[str, Any]], list[Any], str | None]:
        """BatchGetSecretValue: at most 20, and whatever hinders one secret is told beside the values of the others."""
        if not secret_id_list or filters or max_results:
            return super().batch_get_secret_value(secret_id_list, filters, max_results, next_token)
        if len(secret_id_list) > BATCH:
            raise ValidationException(
                "1 validation error detected: Value at 'secretIdList' failed to satisfy constraint: "
                f"Member must have length less than or equal to {BATCH}"
            )
        values: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for secret_id in secret_id_list:
            try:
                values.append(self.get_secret_value(secret_id, "", ""))
            except SecretsManagerClientError as error:
                errors.append({"SecretId": secret_id, "ErrorCode": error.error_type, "Message": error.message})
        return values, errors, None

    def replicate_secret_to_regions(
        self, secret_id: str, replica_regions: list[dict[str, str]], force_overwrite: bool
    ) -> tuple[str, list[dict[str, Any]]]:
        """ReplicateSecretToRegions: not to a region that has a replica; a failed one is tried again."""
        secret = self.describe_secret(secret_id)
        regions = {replica["Region"] for replica in replica_regions}
        if isinstance(secret, FakeSecret):
            if taken := regions & {replica.region for replica in secret.replicas if replica.has_replica}:
                raise InvalidParameterException(f"Secret is already replicated to {', '.join(sorted(taken))}.")
            secret.replicas = [replica for replica in secret.replicas if replica.region not in regions]
        return super().replicate_secret_to_regions(secret_id, replica_regions, force_overwrite)

    def list_secrets(
        self,
        filters: list[dict[str, Any]],
        max_results: int = PAGE,
        next_token: str | None = None,
        include_planned_deletion: bool = False,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """ListSecrets: one page costs one page, so that ten thousand secrets are listed in seconds."""
        listed = [
            secret
            for secret in self.secrets.values()
            if (include_planned_deletion or not secret.is_deleted()) and _matches(secret, filters)
        ]
        start = int(next_token or 0)
        end = start + (max_results or PAGE)
        return [secret.to_dict() for secret in listed[start:end]], str(end) if end < len(listed) else None

    def _version(self, secret_id: str, version_id: str | None) -> dict[str, Any] | None:
        if version_id is None or secret_id not in self.secrets:
            return None
        return self.secrets[secret_id].versions.get(version_id)

    def _refuse_deleted(self, secret_id: str) -> None:
        if secret_id in self.secrets and self.secrets[secret_id].is_deleted():
            raise InvalidRequestException(
                "You can't perform this operation on the secret because it was marked for deletion."
            )


def install() -> None:
    """Make this class the one that answers, in every account and region; call it before the first request."""
    secretsmanager_backends.backend = SecretsManager
    # moto's own knows neither IncludeDeprecated nor pages.
    SecretsManagerResponse.list_secret_version_ids = _list_secret_version_ids  # type: ignore[assignment]


def _list_secret_version_ids(request: SecretsManagerResponse) -> str:
    versions = request.backend.list_versions(  # type: ignore[attr-defined]
        request._get_param("SecretId"),
        int(request._get_param("NextToken", if_none="0")),
        request._get_int_param("MaxResults", if_none=PAGE),
        deprecated=request._get_bool_param("IncludeDeprecated", if_none=False),
    )
    return json.dumps(versions)


def _value(version: dict[str, Any]) -> tuple[str | None, str | None]:
    return version.get("secret_string"), version.get("secret_binary")


def _refuse_too_large(secret_string: str | None) -> None:
    if secret_string is not None and len(secret_string.encode()) > MAX_BYTES:
        raise ValidationException(
            "1 validation error detected: Value at 'secretString' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_BYTES}"
        )
