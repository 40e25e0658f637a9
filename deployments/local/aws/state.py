"""The secrets between restarts: one JSON file, readable by its owner alone.

The values lie in it in clear, as nothing protects an emulator's data but the machine's own user accounts.
Users, roles and keys of IAM are not kept, and neither are replicas of a secret.
"""

import json
from pathlib import Path
from typing import Any

from moto.secretsmanager.models import FakeSecret, secretsmanager_backends

from deployments.local.files import write_private


def save(path: Path) -> None:
    """Write every secret of every account and region, whole or not at all."""
    write_private(path, json.dumps({"secrets": [_kept(secret) for secret in _secrets()]}))


def restore(path: Path) -> int:
    """Put back what :func:`save` wrote and tell how many secrets that were; 0 where there is no file."""
    if not path.exists():
        return 0
    kept = json.loads(path.read_text())["secrets"]
    for fields in kept:
        secret = FakeSecret(fields["account_id"], fields["region"], fields["name"], {}, "")
        vars(secret).update(fields)
        secretsmanager_backends[secret.account_id][secret.region].secrets[secret.name] = secret
    return len(kept)


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
