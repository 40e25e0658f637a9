"""The facts that decide a request for access. None means unknown and proves nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.catalogue.choice import About
from keyturn.core.ports.grants import LoginFacts


@dataclass(frozen=True)
class Subject:
    """The requester in the hub: the ids of their entity and groups."""

    entity: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class AccessFacts:
    """One request for access, at the time ``now`` of the hub.

    ``about`` is None for an undeclared secret. ``incident`` is whether one holds the secret, ``alert`` a recent one
    about the requester, or empty. They and ``login`` are None if unknown.
    """

    subject: Subject
    path: str
    about: About | None
    duration: timedelta
    now: datetime
    login: LoginFacts | None = None
    incident: bool | None = None
    alert: str | None = None
