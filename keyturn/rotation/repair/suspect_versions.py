"""What came with a restored hub, and nothing has shown to count yet: it may have been revoked since that backup.

A revocation that makes nothing new leaves no copy and no newer version behind. Where the ledger is of the backup's time
as well, nothing tells of it: then absent copies are not made anew, and what differs is not overwritten, until a login
or a person has said that the value counts (decision 071).
"""

from typing import Final

from keyturn.core.lineage import KnownVersion
from keyturn.core.ports.hub import PROVEN, SecretInfo
from keyturn.core.ports.restored import RestoredMark
from keyturn.rotation.state.context import Workspace

RESTORE: Final = "the restore"


def doubt(workspace: Workspace, path: str) -> KnownVersion | None:
    """What speaks against carrying CURRENT anywhere; None where the hub was not restored, or CURRENT has been shown to
    count. Raises what keeps the hub from being looked at.
    """
    mark = workspace.open_restore()
    info = workspace.hub.describe(path) if mark else None
    return doubt_of(mark, info) if mark and info else None


def doubt_of(mark: RestoredMark, info: SecretInfo) -> KnownVersion | None:
    """The same, of what is known already."""
    newest = info.newest
    if not info.served or newest is None or not mark.doubts(info.custom, info.version, newest.created_at):
        return None
    return KnownVersion(RESTORE, info.version, restored_from=mark.source, as_of=mark.point)


def proof(workspace: Workspace, version: int) -> dict[str, str]:
    """What a secret's metadata is to say of a version that counts; nothing in a hub that nobody doubts."""
    mark = workspace.open_restore()
    return {PROVEN: mark.proof(version)} if mark else {}
