"""Resource names: read from requests, where a project is an id or a number, and written with its number.

The service answers with project numbers whatever it was asked with; clients that compare whole names fail there,
so they fail here too.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from deployments.local.gcp_secret_manager.errors import invalid

_PROJECT_ID: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_SECRET_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_SECRET_NAME: Final = re.compile(r"projects/([^/]+)/secrets/([^/]+)")
_VERSION_NAME: Final = re.compile(r"(projects/[^/]+/secrets/[^/]+)/versions/([^/]+)")


@dataclass(frozen=True)
class SecretName:
    """One secret of one project, which is given by number."""

    project: str
    secret: str

    def __str__(self) -> str:
        return f"projects/{self.project}/secrets/{self.secret}"

    def version(self, number: int) -> str:
        """The full name of one version."""
        return f"{self}/versions/{number}"


def project_number(project: str) -> str:
    """The number of a project; an id always maps to the same twelve digits."""
    if project.isascii() and project.isdigit():
        return project
    if not _PROJECT_ID.fullmatch(project):
        invalid(f"Invalid project [{project}]: 6 to 30 lowercase letters, digits and hyphens.")
    digest = hashlib.sha256(project.encode()).digest()
    return str(10**11 + int.from_bytes(digest[:8]) % (9 * 10**11))


def read_project(parent: str) -> str:
    """The project's number in ``projects/*``."""
    kind, _, project = parent.partition("/")
    if kind != "projects" or not project or "/" in project:
        invalid(f"Invalid resource name [{parent}]: the format is projects/*.")
    return project_number(project)


def secret_name(project: str, secret_id: str) -> SecretName:
    """The name of a secret, its id checked."""
    if not _SECRET_ID.fullmatch(secret_id):
        invalid(f"Invalid secret ID [{secret_id}]: 1 to 255 letters, digits, hyphens and underscores.")
    return SecretName(project, secret_id)


def read_secret(name: str) -> SecretName:
    """The secret in ``projects/*/secrets/*``."""
    matched = _SECRET_NAME.fullmatch(name)
    if matched is None:
        invalid(f"Invalid resource name [{name}]: the format is projects/*/secrets/*.")
    return secret_name(project_number(matched[1]), matched[2])


def read_version(name: str) -> tuple[SecretName, str]:
    """The secret in ``projects/*/secrets/*/versions/*``, and what stands for the version."""
    matched = _VERSION_NAME.fullmatch(name)
    if matched is None:
        invalid(f"Invalid resource name [{name}]: the format is projects/*/secrets/*/versions/*.")
    return read_secret(matched[1]), matched[2]
