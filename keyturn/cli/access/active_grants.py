"""Active just-in-time access: one line per grant in ``keyturn status``."""

from dataclasses import dataclass
from typing import Any

from keyturn.cli.output import note
from keyturn.core.errors import KeyturnError
from keyturn.rotation.state.context import Workspace


@dataclass(frozen=True)
class ActiveGrant:
    """One active grant, by names. ``until`` is a time of the hub's clock."""

    id: str
    path: str
    policy: str
    principal: str
    until: str
    opened: bool

    @property
    def words(self) -> str:
        opened = "" if self.opened else ", and has not opened it yet"
        return f"{self.id}: {self.principal} has {self.path} until {self.until} by the policy {self.policy}{opened}"

    def to_data(self) -> dict[str, Any]:
        return dict(self.__dict__)


def active_grants(workspace: Workspace) -> list[ActiveGrant]:
    """List the active grants, the first to end first. Notes what cannot be read."""
    if not workspace.catalogue.access_policies:
        return []
    from keyturn.rotation.state.grant_store import GrantStage, list_grants

    try:
        grants, malformed = list_grants(workspace)
    except KeyturnError as error:
        note(f"NOT CHECKED temporary access: {error.problem}. {error.hint}")
        return []
    for wrong in malformed:
        note(f"NOT READ {wrong}")
    now, stages = workspace.hub_now(), (GrantStage.ACTIVE, GrantStage.ENDING)
    active = [grant for grant in grants if grant.stage in stages and not grant.is_over(now)]
    return [
        ActiveGrant(
            grant.request,
            grant.path,
            grant.policy,
            grant.principal or grant.entity,
            grant.ends_at,
            bool(grant.opened_at),
        )
        for grant in sorted(active, key=lambda grant: grant.ends_at)
    ]
