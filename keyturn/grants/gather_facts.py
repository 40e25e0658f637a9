"""Collect the facts that decide a request for access."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from threading import Lock
from typing import Final, TypeVar

from keyturn.core.errors import Denied, KeyturnError
from keyturn.core.ports.grants import LoginFacts
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.facts import AccessFacts, Subject
from keyturn.grants.policies import PolicyIndex
from keyturn.revocation.incidents.incident import Incident
from keyturn.revocation.incidents.store import list_incidents
from keyturn.rotation.state.context import Workspace

T = TypeVar("T")

FindAlert = Callable[[str, datetime], str | None]
"""The alert about a principal since a time, empty without one, None if unknown."""

LATELY: Final = timedelta(days=1)
"""How long an alert counts against a person's requests."""


def look_as(
    workspace: Workspace, subject: Subject, login: LoginFacts | None, path: str, duration: timedelta
) -> AccessFacts:
    """The facts for this subject and secret."""
    secret = workspace.catalogue.secrets.get(path)
    about = secret.about if secret else None
    incident = AccessSight(workspace).incident_of(path)
    return AccessFacts(subject, path, about, duration, workspace.hub_now(), login, incident)


def look_as_self(workspace: Workspace, path: str, duration: timedelta) -> AccessFacts:
    """The facts for the current login. Raises Denied without an entity."""
    grants = workspace.hub.grants()
    login = grants.own_login()
    groups = grants.groups_of(login.entity) if login.entity else None
    if groups is None:
        problem = "the hub knows no entity for this login, so it names no person"
        raise Denied("ask for", path, problem, "Log in as yourself, such as by OIDC or userpass")
    return look_as(workspace, Subject(login.entity, groups), login, path, duration)


class AccessSight:
    """Facts shared by checks of many requests, each read once."""

    def __init__(self, workspace: Workspace, alerts: FindAlert | None = None) -> None:
        self._workspace = workspace
        self._alerts = alerts
        self._lock = Lock()
        self._groups: dict[str, frozenset[str] | None] = {}
        self._grants = workspace.hub.grants()

    @cached_property
    def policies(self) -> PolicyIndex:
        """The catalogue's policies."""
        return PolicyIndex.of(self._workspace.catalogue)

    @cached_property
    def incidents(self) -> list[Incident] | None:
        """Every incident, or None if any could not be read."""
        try:
            listed = list_incidents(self._workspace)
        except KeyturnError:
            return None
        return None if any(incident.unread for incident in listed) else listed

    def about(self, path: str) -> tuple[str, ...] | None:
        """The incidents about a secret, also closed ones, or None if unknown."""
        incidents = self._once(lambda: self.incidents)
        return None if incidents is None else tuple(each.id for each in incidents if path in each.paths)

    def incident_of(self, path: str) -> bool | None:
        """Whether an open incident is about the secret, if known."""
        incidents = self._once(lambda: self.incidents)
        return None if incidents is None else any(path in each.paths and not each.closed_at for each in incidents)

    def facts_of(self, request: AccessRequest) -> AccessFacts | None:
        """The facts for a request, or None if the hub doesn't know the requester."""
        groups = self._groups_of(request.entity)
        if groups is None:
            return None
        workspace, path = self._workspace, request.path
        secret, login = workspace.catalogue.secrets.get(path), self.login_of(request)
        return AccessFacts(
            Subject(request.entity, groups),
            path,
            secret.about if secret else None,
            timedelta(seconds=request.seconds),
            workspace.hub_now(),
            login,
            self.incident_of(path),
            self.alert_about(login),
        )

    def alert_about(self, login: LoginFacts | None) -> str | None:
        """A recent alert about the login's owner, or None if unknown."""
        if self._alerts is None or login is None or not login.principal:
            return None
        return self._alerts(login.principal, self._workspace.hub_now() - LATELY)

    def login_of(self, request: AccessRequest) -> LoginFacts | None:
        """The request's login, unless it has ended or belongs to another entity."""
        login = self._grants.login_of(request.login) if request.login else None
        return login if login and login.entity == request.entity else None

    def _groups_of(self, entity: str) -> frozenset[str] | None:
        if entity not in self._groups:
            self._groups[entity] = self._grants.groups_of(entity)
        return self._groups[entity]

    def _once(self, look: Callable[[], T]) -> T:
        with self._lock:
            return look()
