"""Resource names: read from requests, where a project is an id or a number, and written with its number.

The service answers with project numbers whatever it was asked with; clients that compare whole names fail there,
so they fail here too. A regional secret's name tells its location, and it shares no name with the project's global
secrets or those of another location (source: "projects.locations.secrets" of the API's reference).
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from local.emulators.gcp_secret_manager.errors import invalid

_PROJECT_ID: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_SECRET_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_LOCATION: Final = re.compile(r"[a-z]+(?:-[a-z]+)*-?[0-9]+")
_PARENT: Final = re.compile(r"projects/([^/]+)(?:/locations/([^/]+))?")
_SECRET_NAME: Final = re.compile(rf"({_PARENT.pattern})/secrets/([^/]+)")
_VERSION_NAME: Final = re.compile(rf"({_SECRET_NAME.pattern})/versions/([^/]+)")


@dataclass(frozen=True)
class SecretName:
    """One secret. Its home is the number of its project, followed by ``/locations/*`` where it is a regional one."""

    home: str
    secret: str

    def __str__(self) -> str:
        return f"projects/{self.home}/secrets/{self.secret}"

    @property
    def location(self) -> str:
        """Where a regional secret is kept; empty for a global one."""
        return self.home.partition("/locations/")[2]

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


def read_parent(parent: str) -> str:
    """The home of the secrets in ``projects/*`` or ``projects/*/locations/*``."""
    matched = _PARENT.fullmatch(parent)
    if matched is None:
        invalid(f"Invalid resource name [{parent}]: the format is projects/* or projects/*/locations/*.")
    number, location = project_number(matched[1]), matched[2]
    if location and not _LOCATION.fullmatch(location):
        invalid(f"Invalid location [{location}]: a region such as europe-west3.")
    return f"{number}/locations/{location}" if location else number


def secret_name(home: str, secret_id: str) -> SecretName:
    """The name of a secret, its id checked."""
    if not _SECRET_ID.fullmatch(secret_id):
        invalid(f"Invalid secret ID [{secret_id}]: 1 to 255 letters, digits, hyphens and underscores.")
    return SecretName(home, secret_id)


def read_secret(name: str) -> SecretName:
    """The secret in ``projects/*/secrets/*`` or ``projects/*/locations/*/secrets/*``."""
    matched = _SECRET_NAME.fullmatch(name)
    if matched is None:
        invalid(f"Invalid resource name [{name}]: the format is projects/*[/locations/*]/secrets/*.")
    return secret_name(read_parent(matched[1]), matched[4])


def read_version(name: str) -> tuple[SecretName, str]:
    """The secret in ``projects/*[/locations/*]/secrets/*/versions/*``, and what stands for the version."""
    matched = _VERSION_NAME.fullmatch(name)
    if matched is None:
        invalid(f"Invalid resource name [{name}]: the format is projects/*[/locations/*]/secrets/*/versions/*.")
    return read_secret(matched[1]), matched[6]
