"""Account ownership: an account that the catalogue gives to another secret is that secret's to end."""

from collections.abc import Iterable, Iterator, Mapping

from keyturn.core.errors import KeyturnError
from keyturn.rotation.state.context import Workspace, side_by_side

AT_ONCE = 8


def another_owner(workspace: Workspace, path: str, ends: Mapping[str, str]) -> str:
    """Why the account in ``ends`` is not this secret's to end; empty where it is.

    Checks the target's other secrets, declared and by CURRENT, unless the catalogue names the account for this one,
    which excludes others.
    """
    named, mine = set(ends.values()), claimed(workspace, path)
    if not named or mine is None or named & mine:
        return ""
    for other in credentials_beside(workspace, path):
        if accounts := named & (claimed(workspace, other) or set()):
            return f"the catalogue gives {', '.join(sorted(accounts))} to {other} now"
    serving = side_by_side(lambda other: _serves(workspace, other, ends), credentials_beside(workspace, path), AT_ONCE)
    return next((f"CURRENT of {other} names it now" for other in serving if other), "")


def claimed(workspace: Workspace, path: str) -> set[str] | None:
    """The accounts that the catalogue names for a secret; None where its strategy claims none."""
    rotation = workspace.secret(path).rotation
    if not rotation.claims:
        return None
    return set(texts(getattr(rotation, key) for key in rotation.claims))


def texts(values: Iterable[object]) -> Iterator[str]:
    """Each name in settings that hold one or several."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from texts(value)


def credentials_beside(workspace: Workspace, path: str) -> list[str]:
    """The other secrets at the same target."""
    target = workspace.target(path)
    return [other for other in workspace.catalogue.secrets if other != path and workspace.target(other) == target]


def _serves(workspace: Workspace, path: str, ends: Mapping[str, str]) -> str:
    """The path of a secret whose CURRENT names the same account; empty where it doesn't or can't be read."""
    try:
        current = workspace.hub.read(path)
        named = workspace.open_strategy(path).credential_id(current.fields) if current else {}
    except KeyturnError:
        return ""
    return path if named and set(named.values()) & set(ends.values()) else ""
