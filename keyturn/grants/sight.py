"""Looking at what a request for access is judged by. What can't be looked at is unknown."""

from datetime import timedelta

from keyturn.core.errors import Denied, KeyturnError
from keyturn.core.grants import LoginFacts
from keyturn.grants.facts import AccessFacts, Subject
from keyturn.rotation.context import Workspace
from keyturn.rotation.records import load_record


def look_as(
    workspace: Workspace, subject: Subject, login: LoginFacts | None, path: str, duration: timedelta
) -> AccessFacts:
    """What a request of this subject for this secret is judged by now."""
    secret = workspace.catalogue.secrets.get(path)
    about = secret.about if secret else None
    return AccessFacts(subject, path, about, duration, workspace.hub_now(), login, incident_of(workspace, path))


def look_as_self(workspace: Workspace, path: str, duration: timedelta) -> AccessFacts:
    """The same for whoever is logged in. Raises Denied for a login that belongs to nobody, and what keeps the hub."""
    grants = workspace.hub.grants()
    login = grants.own_login()
    if not login.entity:
        problem = "the hub knows no entity for this login, so nobody can be told from it"
        raise Denied("ask for", path, problem, "Log in as yourself, such as by OIDC or userpass")
    subject = Subject(login.entity, grants.groups_of(login.entity))
    return look_as(workspace, subject, login, path, duration)


def incident_of(workspace: Workspace, path: str) -> bool | None:
    """Whether an incident holds the secret; None where that can't be looked at."""
    try:
        return bool(load_record(workspace, path).frozen)
    except KeyturnError:
        return None
