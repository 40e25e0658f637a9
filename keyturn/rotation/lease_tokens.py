"""End lease tokens of dead runs: otherwise they and their leases would live for weeks.

A token is left over where no version and no record names it, while no rotation is open: a rotation saves that it
begins before it makes one. Where the check fails, no token is ended.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.hub import VersionState
from keyturn.core.ports.strategies import TOKEN_ACCESSOR
from keyturn.core.rotation_record import Record
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.record_store import load_record

ACTION: Final = "end lease token"


def may_be_left(workspace: Workspace, since: datetime) -> bool:
    """Whether a rotation that makes tokens began since then; otherwise none can be left over."""
    for path, secret in workspace.catalogue.secrets.items():
        if secret.rotation.leaves_tokens:
            record = load_record(workspace, path)
            rotations = (*record.history[-1:], *([record.rotation] if record.rotation else []))
            if any(rotation.opened_at >= since for rotation in rotations):
                return True
    return False


def end_left_tokens(workspace: Workspace) -> dict[str, list[str] | KeyturnError]:
    """End the left-over tokens; returns their accessors or the error, by secret.

    Raises Denied for a login that may not list the hub's tokens.
    """
    results: dict[str, list[str] | KeyturnError] = {}
    for path, secret in sorted(workspace.catalogue.secrets.items()):
        if not secret.rotation.leaves_tokens:
            continue
        # Listed before other reads, so that later tokens are excluded.
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
    """The tokens that nothing names; none while unknown. Raises read errors."""
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
    """The tokens in a record, of retiring credentials and of a candidate."""
    for rotation in (*record.history, *([record.rotation] if record.rotation else [])):
        if accessor := rotation.ends.get(TOKEN_ACCESSOR):
            yield accessor
    if record.candidate and TOKEN_ACCESSOR in record.candidate:
        yield record.candidate[TOKEN_ACCESSOR].reveal()


def end_token(workspace: Workspace, path: str, accessor: str) -> None:
    """End a token and all its leases."""
    engine = workspace.hub.database(getattr(workspace.secret(path).rotation, "mount"))  # noqa: B009
    with record_action(workspace, ACTION, path, note=f"token {accessor}, which no version names"):
        engine.end_token(path, accessor)
