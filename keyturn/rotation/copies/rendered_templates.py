"""Copies that are connection strings of the target: what they will say is tried before it is promoted.

A copy that leads elsewhere, to a replica or a pooler, is not tried. Neither is any in an emergency: a credential that
others may know is replaced whatever a template says.
"""

from collections.abc import Iterator
from typing import Final

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.spreading import plain_places
from keyturn.core.errors import CandidateRejected, Misrendered
from keyturn.core.ports.strategies import ReadsConnections
from keyturn.core.rights.capabilities import capability
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.connections import Connection
from keyturn.core.text.mapping import Shape
from keyturn.core.text.references import Unfit
from keyturn.rotation.attempt import Attempt
from keyturn.rotation.state.context import Workspace

LOGIN: Final = frozenset({"username", "password"})
PROBE: Final = Sensitive("Plain0")
"""A password that means nothing to any reader: with it a template shows where it leads."""

REMEDY: Final = "Correct the copy's template; CURRENT stays as it is"
ANOTHER: Final = (
    "CURRENT stays as it is. Say which escape its kind of string needs, or leave that sign out of passwords"
)


def guard_rendered(workspace: Workspace, attempt: Attempt) -> None:
    """Refuse to install what the target's clients would read as another login in a copy. Raises CandidateRejected.

    Another candidate may do where the password alone is read otherwise; where anything else is, none does: Misrendered.
    """
    for destination, connection in connections(workspace, attempt):
        if connection and (flaw := misread(connection, attempt.candidate)):
            raise Misrendered("push to", attempt.path, f"{destination.label}: {flaw}", REMEDY)
        if connection is None or connection.password != attempt.candidate["password"]:
            problem = f"{destination.label}: its text reads back as another login, since a sign means something there"
            raise CandidateRejected("push to", attempt.path, problem, ANOTHER)


def check_rendered(workspace: Workspace, attempt: Attempt) -> str:
    """Log in with what these copies will say; which ones, in words for the ledger. Raises Misrendered, naming one."""
    reader, tried = capability(workspace.open_strategy(attempt.path), ReadsConnections), []
    for destination, connection in connections(workspace, attempt):
        if reader and connection:
            _log_in(reader, attempt.path, destination, connection)
            tried.append(destination.label)
    return f"logged in with the text of {', '.join(dict.fromkeys(tried))}" if tried else ""


def connections(workspace: Workspace, attempt: Attempt) -> Iterator[tuple[Destination, Connection | None]]:
    """The copies that are a login at the target with the candidate's password, and as which one their text is read.

    None for one that leads there with any other password, and with this one is no login or leads elsewhere.
    """
    reader = capability(workspace.open_strategy(attempt.path), ReadsConnections)
    if reader is None or attempt.rotation.urgent or not set(attempt.candidate) >= LOGIN:
        return
    whole = (attempt.ground or SecretFields({})).merged(attempt.candidate)
    for destination in plain_places(workspace.catalogue, attempt.path):  # a field by itself is no login
        for shape, previous in strings(destination, attempt.serving):
            probe, text = _written(shape, whole.merged({"password": PROBE}), previous), _written(shape, whole, previous)
            if probe and text and reader.read_connection(probe):
                yield destination, reader.read_connection(text)


def strings(destination: Destination, serving: SecretFields | None) -> Iterator[tuple[Shape, SecretFields | None]]:
    """The templates of a copy that hold the password, and what they are filled with of the version before.

    One that gives the version before is another text while its grace lasts than it is afterwards.
    """
    for shape in destination.shape.strings("password"):
        yield shape, None
        if shape.tells_previous and serving:
            yield shape, serving


def _written(shape: Shape, fields: SecretFields, previous: SecretFields | None) -> Sensitive | None:
    """The text of such a template, before the copy is encoded; None where none can be made."""
    try:
        return shape.render(fields, previous)
    except Unfit:
        return None


def misread(connection: Connection, candidate: SecretFields) -> str:
    """What no other password would mend; empty where nothing is."""
    if connection.flaw:
        return connection.flaw
    wanted = candidate["username"].reveal()
    return "" if connection.account == wanted else f"its text logs in as another user than {wanted}"


def _log_in(reader: ReadsConnections, path: str, destination: Destination, connection: Connection) -> None:
    try:
        reader.check_connection(connection)
    except CandidateRejected as rejected:
        problem = f"{destination.label}: the target refuses the login that its text is ({rejected.problem})"
        raise Misrendered("push to", path, problem, REMEDY) from None
