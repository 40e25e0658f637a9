"""Which names and sizes each kind of store allows, checked before anything is written.

Sources: AWS Secrets Manager "CreateSecret" (512 characters of letters, digits and /_+=.@-; 65,536 bytes);
Azure Key Vault "About keys, secrets and certificates" (127 characters, letters, digits and hyphens; 25 KB);
GCP Secret Manager "Create a secret" (255 characters, letters, digits, hyphens and underscores; 64 KiB).
"""

import re
from dataclasses import dataclass
from typing import Final

AWS_SECRETS_MANAGER: Final = "aws-secrets-manager"
AZURE_KEY_VAULT: Final = "azure-key-vault"
GCP_SECRET_MANAGER: Final = "gcp-secret-manager"


@dataclass(frozen=True)
class Limits:
    """A store's rule for names, in words and as a pattern, and its largest value in bytes."""

    pattern: re.Pattern[str]
    rule: str
    max_bytes: int
    folds_case: bool = False


LIMITS: Final[dict[str, Limits]] = {
    AWS_SECRETS_MANAGER: Limits(
        re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}"), "1 to 512 letters, digits and /_+=.@-", 65_536
    ),
    AZURE_KEY_VAULT: Limits(
        re.compile(r"[A-Za-z0-9-]{1,127}"), "1 to 127 letters, digits and hyphens", 25_600, folds_case=True
    ),
    GCP_SECRET_MANAGER: Limits(
        re.compile(r"[A-Za-z0-9_-]{1,255}"), "1 to 255 letters, digits, hyphens and underscores", 65_536
    ),
}


def illegal_name(kind: str, name: str) -> str | None:
    """Why ``name`` can't be used in a store of this kind; None when it can."""
    limits = LIMITS[kind]
    return None if limits.pattern.fullmatch(name) else f"{kind} allows {limits.rule}"


def too_large(kind: str, size: int) -> str | None:
    """Why a value of ``size`` bytes can't be stored; None when it can. Empty values are refused everywhere."""
    limits = LIMITS[kind]
    if size == 0:
        return f"{kind} refuses an empty value"
    return f"{kind} allows {limits.max_bytes} bytes, this has {size}" if size > limits.max_bytes else None
