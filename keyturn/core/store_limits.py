"""Names and sizes allowed by each kind of store, checked before any write.

Sources: AWS Secrets Manager "CreateSecret" (512 characters of letters, digits and /_+=.@-; 65,536 bytes); Azure Key
Vault "About keys, secrets and certificates" (127 characters, letters, digits and hyphens; 25 KB); GCP Secret Manager
"Create a secret" (255 characters, letters, digits, hyphens and underscores; 64 KiB); AWS Systems Manager "PutParameter"
(1,011 characters, 15 levels, 8 KB in the Advanced tier); Kubernetes "Secrets" and "Object Names" (a DNS subdomain, 1
MiB); Vault "KV v2" and "Integrated storage" (1 MiB an entry); GitHub "Using secrets in GitHub Actions" (letters, digits
and _, 48 KB).
"""

import re
from dataclasses import dataclass
from typing import Final

AWS_SECRETS_MANAGER: Final = "aws-secrets-manager"
AZURE_KEY_VAULT: Final = "azure-key-vault"
GCP_SECRET_MANAGER: Final = "gcp-secret-manager"
AWS_PARAMETER_STORE: Final = "aws-parameter-store"
KUBERNETES: Final = "kubernetes"
VAULT: Final = "vault"
GITHUB_ACTIONS: Final = "github-actions"
FILE: Final = "file"


@dataclass(frozen=True)
class Limits:
    """A store's name rule, as text and pattern, and its maximum value size in bytes."""

    kind: str
    pattern: re.Pattern[str]
    rule: str
    max_bytes: int
    folds_case: bool = False

    def refuses_name(self, name: str) -> str | None:
        """Return why ``name`` can't be used; None if it can."""
        return None if self.pattern.fullmatch(name) else f"{self.kind} allows {self.rule}"

    def refuses_size(self, size: int) -> str | None:
        """Return why a value of ``size`` bytes can't be stored; None if it can. Empty values are refused."""
        if size == 0:
            return f"{self.kind} refuses an empty value"
        return f"{self.kind} allows {self.max_bytes} bytes, this has {size}" if size > self.max_bytes else None

    def same(self, name: str) -> str:
        """The common form of names that identify the same secret."""
        return name.casefold() if self.folds_case else name


_LIMITS: Final = (
    Limits(
        AWS_SECRETS_MANAGER, re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}"), "1 to 512 letters, digits and /_+=.@-", 65_536
    ),
    Limits(
        AZURE_KEY_VAULT,
        re.compile(r"[A-Za-z0-9-]{1,127}"),
        "1 to 127 letters, digits and hyphens",
        25_600,
        folds_case=True,
    ),
    Limits(
        GCP_SECRET_MANAGER,
        re.compile(r"[A-Za-z0-9_-]{1,255}"),
        "1 to 255 letters, digits, hyphens and underscores",
        65_536,
    ),
    Limits(
        AWS_PARAMETER_STORE,
        re.compile(r"(?!/?(?i:aws|ssm))(?=.{1,1011}\Z)([A-Za-z0-9_.-]+|(/[A-Za-z0-9_.-]+){1,15})"),
        "/a/b/c of at most 15 parts of letters, digits and _.-, or one such part, not beginning with aws or ssm",
        8_192,
    ),
    Limits(
        KUBERNETES,
        re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"),
        "1 to 253 small letters, digits, hyphens and dots, a letter or digit first and last",
        1_048_576,
    ),
    Limits(
        VAULT,
        re.compile(r"(?=.{1,400}\Z)(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]+(/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]+)*"),
        "a path of letters, digits and _.- with / between its parts",
        1_000_000,
    ),
    Limits(
        GITHUB_ACTIONS,
        re.compile(r"(?!(?i:GITHUB_))[A-Za-z_][A-Za-z0-9_]{0,200}"),
        "letters, digits and _, no digit first, not beginning with GITHUB_",
        48_000,
        folds_case=True,
    ),
    Limits(
        FILE, re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,200}"), "1 to 200 letters, digits and _.-, no dot first", 1_048_576
    ),
)
LIMITS: Final = {limits.kind: limits for limits in _LIMITS}


def illegal_name(kind: str, name: str) -> str | None:
    """Return why ``name`` can't be used in a store of this kind; None if it can."""
    return LIMITS[kind].refuses_name(name)


def too_large(kind: str, size: int) -> str | None:
    """Return why a value of ``size`` bytes can't be stored; None if it can."""
    return LIMITS[kind].refuses_size(size)
