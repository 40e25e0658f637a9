"""Check copies that are connection strings of the target before the promotion.

Copies for another host, such as a replica, are not checked, and in an emergency none is.
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
"""A password without special characters: with it, a template shows its host."""

REMEDY: Final = "Correct the copy's template; CURRENT stays as it is"
ANOTHER: Final = (
    "CURRENT stays as it is. Say which escape its kind of string needs, or leave that sign out of passwords"
)


def guard_rendered(workspace: Workspace, attempt: Attempt) -> None:
    """Refuse to install a candidate that a copy's clients would read as another login. Raises CandidateRejected.

    Raises Misrendered where more than the password is misread, so that no other candidate would do.
    """
    for destination, connection in connections(workspace, attempt):
        if connection and (flaw := misread(connection, attempt.candidate)):
            raise Misrendered("push to", attempt.path, f"{destination.label}: {flaw}", REMEDY)
        if connection is None or connection.password != attempt.candidate["password"]:
            problem = f"{destination.label}: its text reads back as another login, since a sign means something there"
            raise CandidateRejected("push to", attempt.path, problem, ANOTHER)


def check_rendered(workspace: Workspace, attempt: Attempt) -> str:
    """Log in with these copies' texts and return which, for the ledger. Raises Misrendered, naming one."""
    reader, tried = capability(workspace.open_strategy(attempt.path), ReadsConnections), []
    for destination, connection in connections(workspace, attempt):
        if reader and connection:
            _log_in(reader, attempt.path, destination, connection)
            tried.append(destination.label)
    return f"logged in with the text of {', '.join(dict.fromkeys(tried))}" if tried else ""


def connections(workspace: Workspace, attempt: Attempt) -> Iterator[tuple[Destination, Connection | None]]:
    """The copies that are a login at the target with the candidate's password, and their parsed connection.

    None where a template with a plain password is such a login, but with this password is not.
    """
    reader = capability(workspace.open_strategy(attempt.path), ReadsConnections)
    if reader is None or attempt.rotation.urgent or not set(attempt.candidate) >= LOGIN:
        return
    whole = (attempt.ground or SecretFields({})).merged(attempt.candidate)
    for destination in plain_places(workspace.catalogue, attempt.path):  # a single field is no login
        for shape, previous in strings(destination, attempt.serving):
            probe, text = _written(shape, whole.merged({"password": PROBE}), previous), _written(shape, whole, previous)
            if probe and text and reader.read_connection(probe):
                yield destination, reader.read_connection(text)


def strings(destination: Destination, serving: SecretFields | None) -> Iterator[tuple[Shape, SecretFields | None]]:
    """A copy's templates with the password, and the fields of the previous version for each.

    A copy with the previous version has another text during its grace period than afterwards.
    """
    for shape in destination.shape.strings("password"):
        yield shape, None
        if shape.tells_previous and serving:
            yield shape, serving


def _written(shape: Shape, fields: SecretFields, previous: SecretFields | None) -> Sensitive | None:
    """The template's text before the copy is encoded; None where it can't be rendered."""
    try:
        return shape.render(fields, previous)
    except Unfit:
        return None


def misread(connection: Connection, candidate: SecretFields) -> str:
    """A flaw that no other password would fix; empty for none."""
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
