"""The secrets and parameters between restarts: one JSON file, readable by its owner alone.

The values lie in it in clear, as nothing protects an emulator's data but the machine's own user accounts.
Users, roles and keys of IAM are not kept, and neither are replicas of a secret.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.secretsmanager.models import FakeSecret, secretsmanager_backends
from moto.ssm.models import Parameter, SimpleSystemManagerBackend, ssm_backends

from local.support.files import write_private


def save(path: Path) -> None:
    """Write every secret and parameter of every account and region, whole or not at all."""
    state = {
        "secrets": [_kept(secret) for secret in _secrets()],
        "parameters": [_region(backend) for account in ssm_backends.values() for backend in account.values()],
    }
    write_private(path, json.dumps(state))


def restore(path: Path) -> int:
    """Put back what :func:`save` wrote and tell how many secrets that were; 0 where there is no file."""
    if not path.exists():
        return 0
    state = json.loads(path.read_text())
    for fields in state["secrets"]:
        secret = FakeSecret(fields["account_id"], fields["region"], fields["name"], {}, "")
        vars(secret).update(fields)
        secretsmanager_backends[secret.account_id][secret.region].secrets[secret.name] = secret
    for region in state.get("parameters", ()):
        _restore_region(region)
    return len(state["secrets"])


def _secrets() -> list[FakeSecret]:
    return [
        secret
        for account in secretsmanager_backends.values()
        for backend in account.values()
        for secret in backend.secrets.values()
        if isinstance(secret, FakeSecret)
    ]


def _kept(secret: FakeSecret) -> dict[str, Any]:
    return {name: value for name, value in vars(secret).items() if name != "replicas"}


def _region(backend: SimpleSystemManagerBackend) -> dict[str, Any]:
    versions = (version for parameter in dict.values(backend._parameters) for version in parameter)
    return {
        "account_id": backend.account_id,
        "region": backend.region_name,
        "versions": [
            {**vars(version), "last_modified_date": version.last_modified_date.isoformat()} for version in versions
        ],
        "tags": backend._resource_tags["Parameter"],
    }


def _restore_region(region_state: dict[str, Any]) -> None:
    backend = ssm_backends[region_state["account_id"]][region_state["region"]]
    for fields in region_state["versions"]:
        modified = datetime.fromisoformat(fields["last_modified_date"])
        version = Parameter(**{**fields, "last_modified_date": modified})  # type: ignore[abstract]
        # The value lies as moto encrypted it.
        version.value = fields["value"]
        backend._parameters[version.name].append(version)
    backend._resource_tags["Parameter"].update(region_state["tags"])
