"""The login that Keyturn itself has at the hub by an AppRole: its secret id, and how it gets another one."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from keyturn.core.rights.rights import HubPlaces
from keyturn.core.workspaces import WorkspaceNames

ROLES: Final = ("keyturn-worker", "keyturn-revoker", "keyturn-notary")
"""The AppRoles of Keyturn's logins, as the guide calls them, where the workspace has no name of its own."""


def own_roles(env: Mapping[str, str]) -> tuple[str, ...]:
    """The same in the workspace that KEYTURN_WORKSPACE names, which they bear. Raises Invalid for what is no name.

    Not those that a catalogue gives such a login: whoever may merge into it would say whose reads nobody is told of.
    """
    places = HubPlaces(house=WorkspaceNames.from_environment(env).own)
    return tuple(places.named(role) for role in ROLES)


def role_principals(env: Mapping[str, str]) -> frozenset[str]:
    """What the hub's audit log calls whoever logs in by one of them, by the workspace's name or without. As above."""
    return frozenset(f"approle {role}" for role in (*ROLES, *own_roles(env)))


@dataclass(frozen=True)
class SecretId:
    """One secret id, as the hub tells of it; ``accessor`` names it, and is no secret.

    ``place`` says whose it is alone, so that they may end it: a host and a file, or what a person has called it; empty
    where nobody has said so. ``replaces`` is the accessor of the one whose place it has taken.
    """

    accessor: str
    made_at: datetime
    ends_at: datetime | None = None
    place: str = ""
    replaces: str = ""

    def due_at(self, oldest: timedelta) -> datetime:
        """When it should be replaced: at that age, and where it ends by itself once two thirds of its life are over."""
        by_age = self.made_at + oldest
        return by_age if self.ends_at is None else min(by_age, self.made_at + (self.ends_at - self.made_at) * 2 / 3)


class OwnLogin(Protocol):
    """The AppRole that this process logs in with, and where its secret id lies."""

    role: str
    file: str

    def rights(self) -> Sequence[tuple[str, str]]:
        """What it takes to replace it: capabilities, and the paths that they are on."""

    def alone(self) -> AbstractContextManager[None]:
        """While no other process of this machine replaces it. Raises NotFound, Unavailable for a file that is not."""

    def in_use(self) -> SecretId:
        """The one in the file. Raises NotFound where the hub knows it no more, and why it can't be read."""

    def of_role(self, role: str) -> list[SecretId]:
        """All of a role, the newest first; of very many the first that the hub lists. Raises Denied."""

    def hindrance(self) -> str:
        """Why it can't be replaced, with the remedy: the role is bound to nothing, the file can't be; mostly empty."""

    def replace(self, current: SecretId) -> None:
        """Make a new one, log in with it, and put it into the file. Raises KeyturnError, and the file is as it was."""

    def end(self, accessor: str) -> None:
        """End one of the role's. Absent is success."""
