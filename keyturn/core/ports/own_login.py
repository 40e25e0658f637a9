"""Keyturn's own AppRole login at the hub, and its secret id's replacement."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from keyturn.core.rights.rights import HubPlaces
from keyturn.core.workspaces import WorkspaceNames

ROLES: Final = ("keyturn-worker", "keyturn-revoker", "keyturn-notary")
"""The AppRoles of Keyturn's logins in a workspace without a name."""


def own_roles(env: Mapping[str, str]) -> tuple[str, ...]:
    """The AppRoles of the workspace in KEYTURN_WORKSPACE. Raises Invalid for an invalid name.

    Excludes the catalogue's roles, whose editors could otherwise hide reads from reports.
    """
    places = HubPlaces(house=WorkspaceNames.from_environment(env).own)
    return tuple(places.named(role) for role in ROLES)


def role_principals(env: Mapping[str, str]) -> frozenset[str]:
    """The audit log's names for these logins, with or without the workspace's. Raises the same."""
    return frozenset(f"approle {role}" for role in (*ROLES, *own_roles(env)))


@dataclass(frozen=True)
class SecretId:
    """A secret id as reported by the hub; ``accessor`` is not secret.

    ``place`` is its only user, which may end it: host and file, or a person's label. ``replaces`` is its predecessor's
    accessor.
    """

    accessor: str
    made_at: datetime
    ends_at: datetime | None = None
    place: str = ""
    replaces: str = ""

    def due_at(self, oldest: timedelta) -> datetime:
        """Return when to replace it: at that age, or after two thirds of its life if it expires."""
        by_age = self.made_at + oldest
        return by_age if self.ends_at is None else min(by_age, self.made_at + (self.ends_at - self.made_at) * 2 / 3)


class OwnLogin(Protocol):
    """The AppRole that this process logs in with, and the file with its secret id."""

    role: str
    file: str

    def rights(self) -> Sequence[tuple[str, str]]:
        """The capabilities and paths that its replacement requires."""

    def alone(self) -> AbstractContextManager[None]:
        """Block other local processes from replacing it. Raises NotFound, Unavailable without the file."""

    def in_use(self) -> SecretId:
        """The secret id in the file. Raises NotFound if the hub forgot it, or the read error."""

    def of_role(self, role: str) -> list[SecretId]:
        """A role's secret ids, newest first; of very many, the first listed. Raises Denied."""

    def hindrance(self) -> str:
        """Return why it can't be replaced, with the remedy: an unbound role or unwritable file."""

    def replace(self, current: SecretId) -> None:
        """Create a secret id, log in with it and save it. Raises KeyturnError, with the file unchanged."""

    def end(self, accessor: str) -> None:
        """End one of the role's secret ids. Absent is success."""
