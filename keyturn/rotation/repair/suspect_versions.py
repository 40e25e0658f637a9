"""Values in a restored hub that may have been revoked since its backup, until proven otherwise.

A revocation without a replacement leaves no trace in the copies or an equally old ledger. So absent copies are not
recreated, and different ones not overwritten, until a login or a person confirms the value (decision 071).
"""

from typing import Final

from keyturn.core.lineage import KnownVersion
from keyturn.core.ports.hub import PROVEN, SecretInfo
from keyturn.core.ports.restored import RestoredMark
from keyturn.rotation.state.context import Workspace

RESTORE: Final = "the restore"


def doubt(workspace: Workspace, path: str) -> KnownVersion | None:
    """The doubt about CURRENT in a restored hub; None for other hubs, and once it is confirmed.

    Raises the errors of reading the hub.
    """
    mark = workspace.open_restore()
    info = workspace.hub.describe(path) if mark else None
    return doubt_of(mark, info) if mark and info else None


def doubt_of(mark: RestoredMark, info: SecretInfo) -> KnownVersion | None:
    """The doubt by known data."""
    newest = info.newest
    if not info.served or newest is None or not mark.doubts(info.custom, info.version, newest.created_at):
        return None
    return KnownVersion(RESTORE, info.version, restored_from=mark.source, as_of=mark.point)


def proof(workspace: Workspace, version: int) -> dict[str, str]:
    """The metadata that confirms a version; empty in a hub without doubt."""
    mark = workspace.open_restore()
    return {PROVEN: mark.proof(version)} if mark else {}
