"""What a request for access is judged by. What nobody could look at is None, and nothing is proven by it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.catalogue.choice import About
from keyturn.core.ports.grants import LoginFacts


@dataclass(frozen=True)
class Subject:
    """Who asks, as the hub knows them: the ids of their entity and of all groups that it is in."""

    entity: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class AccessFacts:
    """One request for access to a secret for so long, at the moment ``now`` by the hub's clock.

    ``about`` is None for a secret that the catalogue does not declare. ``login`` and ``incident`` (whether one holds
    the secret) are None where they could not be looked at, and so is ``alert``: what an alert has told lately of who
    asks, empty where none has.
    """

    subject: Subject
    path: str
    about: About | None
    duration: timedelta
    now: datetime
    login: LoginFacts | None = None
    incident: bool | None = None
    alert: str | None = None
