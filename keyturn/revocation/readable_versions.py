"""The readable and unreadable versions of a secret: unreadable is not absent."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from keyturn.core.errors import TerminalError
from keyturn.core.fingerprint import is_noted
from keyturn.core.ports.hub import HubSecret, Right, SecretInfo, VersionInfo, VersionState
from keyturn.core.rotation_record import INCIDENT_NOTE, Record, Rotation, Stage
from keyturn.revocation.incidents.incident import LeakedVersion, Unseen
from keyturn.revocation.lock import cut_token
from keyturn.rotation.copies.lineage_check import ledger_versions, lost_by_hub
from keyturn.rotation.repair.missing_current import last_known
from keyturn.rotation.state.context import Workspace

EVERY: Final = 1 << 62
"""Greater than every version's number."""


@dataclass(frozen=True)
class Sight:
    """The readable versions, newest first, and the unreadable ones.

    ``last`` is the newest number in any state, or 0; ``served`` is whether consumers can read that version.
    """

    versions: tuple[HubSecret, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    last: int = 0
    served: bool = False

    @property
    def current(self) -> HubSecret | None:
        """The newest version, served or not; None if unreadable."""
        return next((version for version in self.versions if version.version == self.last), None)


def read_versions(workspace: Workspace, path: str, lasting: int = 0) -> Sight:
    """Read every version; undelete deleted ones, and delete those above ``lasting`` again.

    Raises TransientError where the hub does not answer; denied versions are unseen.
    """
    info = workspace.hub.describe(path)
    if info is None:
        return Sight()
    deleted = [version.version for version in info.versions if version.state is VersionState.DELETED]
    with undeleted(workspace, path, deleted, lasting) as refusal:
        versions = [read_version(workspace, path, version, refusal) for version in reversed(info.versions)]
    return Sight(
        tuple(version for version in versions if isinstance(version, HubSecret)),
        tuple(version for version in versions if isinstance(version, Unseen)),
        info.version,
        info.served,
    )


@contextmanager
def undeleted(workspace: Workspace, path: str, deleted: Collection[int], lasting: int) -> Iterator[str]:
    """Undelete versions, those above ``lasting`` only temporarily; yield why where that is denied."""
    again = [version for version in deleted if version > lasting]
    verbs = ("undelete", "delete") if again else ("undelete",) if deleted else ()
    lacks = workspace.hub.missing_capabilities([Right("update", workspace.hub.address(verb, path)) for verb in verbs])
    if lacks:
        yield f"this login lacks {', '.join(f'{right.capability} on {right.path}' for right in lacks)}"
        return
    workspace.hub.undelete(path, deleted)
    try:
        yield ""
    finally:
        workspace.hub.delete(path, again)


def read_version(workspace: Workspace, path: str, info: VersionInfo, refusal: str) -> HubSecret | Unseen:
    """One version, or why it could not be read."""
    if info.state is VersionState.DESTROYED:
        return Unseen(info.version, "it is destroyed", destroyed=True)
    if info.state is VersionState.DELETED and refusal:
        return Unseen(info.version, f"it is deleted, and {refusal}")
    try:
        secret = workspace.hub.read(path, info.version)
    except TerminalError as error:
        return Unseen(info.version, f"{error.problem} to this login")
    return secret or Unseen(info.version, "it was deleted while it was looked at")


def unseen_versions(workspace: Workspace, path: str, record: Record, sight: Sight) -> tuple[Unseen, ...]:
    """The unreadable versions that no earlier revocation has ended, newest first."""
    ended = max((past.base_version for past in record.history if is_finished_cut(past, path)), default=0)
    unseen = tuple(version for version in sight.unseen if version.version > ended)
    lost = history_lost(workspace, record, sight) or hub_set_back(workspace, path, record, sight)
    return (*unseen, Unseen(0, lost)) if lost else unseen


def history_lost(workspace: Workspace, record: Record, sight: Sight) -> str:
    """Why the hub's versions are not those of the record, else empty.

    After ``vault kv metadata delete``, the next version is number 1 again.
    """
    promoted = [past for past in (*record.history, record.rotation) if past and past.version]
    newest = max((past.version or 0 for past in promoted), default=0)
    if newest > sight.last:
        what = "its history was removed" if sight.last else "all of it was removed"
        return f"{what}: rotations had put versions up to {newest} in force, and the hub has {sight.last or 'none'}"
    digests = {version.version: workspace.fingerprint(version.path, version.fields) for version in sight.versions}
    for past in promoted:
        made = digests.get(past.version or 0)
        if made and past.fingerprint and not is_noted([past.fingerprint], made):
            return f"its history was removed: version {past.version} is another than a rotation had put in force"
    return ""


def hub_set_back(workspace: Workspace, path: str, record: Record, sight: Sight) -> str:
    """What the ledger outside the hub knows and a restored hub has lost, else empty.

    Losses that `keyturn repair recover` settled do not count.
    """
    known_version = ledger_versions(workspace, [path]).of.get(path)
    if known_version is None or known_version.version <= max(sight.last, last_known(record)):
        return ""
    if sight.last and not lost_by_hub(workspace, path, sight.last):
        return ""
    difference = f"{known_version.where} knows version {known_version.version}, and the hub has {sight.last or 'none'}"
    return f"the hub was set back: {difference}"


def is_finished_cut(past: Rotation, path: str) -> bool:
    """Whether it is a finished cut that no other cut took over."""
    return past.stage is Stage.CUT and past.token == cut_token(past.note.removeprefix(INCIDENT_NOTE), path)


def remembered_versions(record: Record, unseen: Collection[Unseen]) -> Iterator[LeakedVersion]:
    """The known fingerprints of unreadable versions that a rotation made."""
    versions = {version.version for version in unseen}
    for past in (*record.history, record.rotation):
        if past and past.version in versions and past.fingerprint:
            yield LeakedVersion(past.version or 0, {"": past.fingerprint})


def describe_unreadable(info: SecretInfo | None) -> tuple[str, ...]:
    """The deleted or destroyed versions in words, as ranges; nothing is undeleted."""
    lines: list[str] = []
    for state, run in groupby(info.versions if info else (), key=lambda version: version.state):
        versions = sorted(version.version for version in run if not version.readable)
        if len(versions) == 1:
            lines.append(f"version {versions[0]} is {state}")
        elif versions:
            lines.append(f"versions {versions[0]} to {versions[-1]} are {state}")
    return tuple(lines)


def readable_versions(workspace: Workspace, path: str) -> Iterator[HubSecret]:
    """Yield every version that the hub still gives, newest first, reading each when requested."""
    info = workspace.hub.describe(path)
    for version in reversed(info.versions if info else ()):
        if version.readable and (secret := workspace.hub.read(path, version.version)):
            yield secret
