"""Ending tokens by which a run that is no more has asked for a lease: they, and their leases, would live for weeks.

Such a token tells its secret and its workspace. One is nobody's where no version of the secret names it, nor its
record, while nothing is open there: a rotation says that it begins before it makes one, so what a living worker has
made is named by an open record, or by a version. What can't be looked at is nobody's reason to end anything.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.hub import VersionState
from keyturn.core.ports.strategies import TOKEN_ACCESSOR
from keyturn.core.record import Record
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.records import load_record

ACTION: Final = "end lease token"


def may_be_left(workspace: Workspace, since: datetime) -> bool:
    """Whether a rotation that asks for tokens was begun since then; without one none can have been left."""
    for path, secret in workspace.catalogue.secrets.items():
        if secret.rotation.leaves_tokens:
            record = load_record(workspace, path)
            rotations = (*record.history[-1:], *([record.rotation] if record.rotation else []))
            if any(rotation.opened_at >= since for rotation in rotations):
                return True
    return False


def end_left_tokens(workspace: Workspace) -> dict[str, list[str] | KeyturnError]:
    """The accessors of what was ended, by secret, or why it could not be told; secrets without any are left out.

    Raises Denied for a login that may not list the hub's tokens.
    """
    results: dict[str, list[str] | KeyturnError] = {}
    for path, secret in sorted(workspace.catalogue.secrets.items()):
        if not secret.rotation.leaves_tokens:
            continue
        # They are listed before anything else is read: what is made from then on is not among them.
        tokens = workspace.hub.database(getattr(secret.rotation, "mount")).tokens(path)  # noqa: B009  of some alone
        try:
            left = list(nobodys(workspace, path, tokens)) if tokens else []
            for accessor in left:
                end_token(workspace, path, accessor)
        except KeyturnError as error:
            results[path] = error
        else:
            results |= {path: left} if left else {}
    return results


def nobodys(workspace: Workspace, path: str, tokens: Iterable[str]) -> Iterator[str]:
    """Those of these that nothing names; none while that can't be told. Raises what hinders a look."""
    record = load_record(workspace, path)
    if record.open or record.frozen:
        return
    info = workspace.hub.describe(path)
    versions = info.versions if info else ()
    if any(version.state is VersionState.DELETED for version in versions):
        return
    named = set(of_record(record))
    for version in versions:
        secret = workspace.hub.read(path, version.version) if version.readable else None
        if secret and TOKEN_ACCESSOR in secret.fields:
            named.add(secret.fields[TOKEN_ACCESSOR].reveal())
    yield from (accessor for accessor in tokens if accessor not in named)


def of_record(record: Record) -> Iterator[str]:
    """The tokens that a record names: of credentials that wait for their end, and of a candidate."""
    for rotation in (*record.history, *([record.rotation] if record.rotation else [])):
        if accessor := rotation.ends.get(TOKEN_ACCESSOR):
            yield accessor
    if record.candidate and TOKEN_ACCESSOR in record.candidate:
        yield record.candidate[TOKEN_ACCESSOR].reveal()


def end_token(workspace: Workspace, path: str, accessor: str) -> None:
    """End one, and every lease that it has."""
    engine = workspace.hub.database(getattr(workspace.secret(path).rotation, "mount"))  # noqa: B009
    with record_action(workspace, ACTION, path, note=f"token {accessor}, which no version names"):
        engine.end_token(path, accessor)
