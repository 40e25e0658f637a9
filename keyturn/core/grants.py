"""The port of what access for a while needs of the hub: what it tells of a login, and of whom it takes it for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class LoginFacts:
    """What the hub tells of a login. ``networks`` are those that it is bound to; none where it is bound to none.

    ``path`` is where it was made, such as ``auth/oidc/oidc/callback``. ``made_at`` is None, and ``metadata`` empty,
    where whoever made the login chose them: a token that another token has made.
    """

    path: str
    entity: str
    made_at: datetime | None
    networks: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


class GrantsPort(Protocol):
    """What the hub tells about whoever asks for access. Serves many threads."""

    def own_login(self) -> LoginFacts:
        """Of the login in use. Raises Denied where it may not ask."""

    def groups_of(self, entity: str) -> frozenset[str]:
        """The ids of all groups that an entity is in, also by way of other groups; none for an entity that is gone.

        Raises Denied where this login may not see it.
        """
