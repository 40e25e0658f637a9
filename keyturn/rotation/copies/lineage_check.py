"""Never push backwards: compare the versions of copies and ledger with the hub's before any write.

A restored hub, or a recreated secret, counts from a lower version and may hold revoked values.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.errors import Ahead, KeyturnError
from keyturn.core.fingerprint import is_noted
from keyturn.core.lineage import KnownVersion
from keyturn.core.ports.hub import OVERTAKEN, TOKEN, HubSecret, SecretInfo, overtaken
from keyturn.core.ports.stores import RemoteSecret
from keyturn.rotation.repair.suspect_versions import doubt
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import write_waiting
from keyturn.rotation.state.record_store import load_record, load_whatever, promoted_last

LEDGER: Final = "the ledger"

REVOKE_ONLY: Final = "revoke-only"
"""The mode of a revocation that makes nothing new."""


@dataclass(frozen=True)
class LedgerVersions:
    """The newest version of each secret in the ledger; ``error`` is why it could not be read."""

    of: Mapping[str, KnownVersion] = field(default_factory=dict)
    error: KeyturnError | None = None


def ledger_versions(workspace: Workspace, paths: Collection[str]) -> LedgerVersions:
    """The ledger's newest versions of these secrets. A missing version proves nothing."""
    try:
        entries = workspace.ledger.newest_versions(paths)
    except KeyturnError as error:
        return LedgerVersions(error=error)
    versions = {
        path: KnownVersion(
            LEDGER,
            entry.version,
            fingerprint="" if entry.action == "push" else entry.fingerprint,
            revoked_by=entry.revoked_by,
            revoked_up_to=entry.revoked_up_to,
        )
        for path, entry in entries.items()
    }
    return LedgerVersions(versions)


def copy_version(copy: RemoteSecret, path: str, label: str) -> KnownVersion | None:
    """The version in a copy's marks; None where it is no copy of ``path``."""
    marks = copy.marks
    if marks is None or marks.source != path:
        return None
    return KnownVersion(label, marks.version, marks.created_at, "" if marks.shape else marks.fingerprint)


def newer_version(workspace: Workspace, path: str, versions: Iterable[KnownVersion]) -> KnownVersion | None:
    """The newest of ``versions`` that the hub has lost; None where the hub has that value or a later one.

    Also a revocation of the served value that the record lacks, by ``revoked_by``. Reads the hub, and the ledger after
    pending writes.
    """
    info = workspace.hub.describe(path)
    ahead = [version for version in versions if info and version.speaks_against(info)]
    if info and any(version.where == LEDGER for version in ahead):
        write_waiting()
        told_now = ledger_versions(workspace, [path]).of.get(path)
        ahead = [version for version in ahead if version.where != LEDGER]
        ahead += [told_now] if told_now and told_now.speaks_against(info) else []
    if info is None or not ahead:
        return None
    revoked = next((version for version in ahead if version.ends(info) or _is_back(workspace, info, version)), None)
    if revoked and not load_whatever(workspace, path).tells_of(revoked.revoked_by):
        return revoked
    ahead = [version for version in ahead if version.ahead_of(info)]
    if not ahead:
        return None
    newest = max(ahead, key=lambda version: version.order)
    current = workspace.hub.read(path) if info.served else None
    digests = {version.fingerprint for version in ahead if version.version == newest.version} - {""}
    holds_it = current is not None and is_noted(digests, workspace.fingerprint(path, current.fields))
    return None if holds_it or tested_since(workspace, info, ahead) else newest


def _is_back(workspace: Workspace, info: SecretInfo, revoked: KnownVersion) -> bool:
    """Whether a revoked value was written again under a greater version.

    Compares only the credential, because a value written by hand often lacks other fields.
    """
    current = workspace.hub.read(info.path) if revoked.may_be_back(info) else None
    if current is None:
        return False
    made = workspace.open_strategy(info.path).credential_fields if info.path in workspace.catalogue.secrets else ()
    compared = [name for name in made or current.fields.keys() - {"rotated_at"} if name in current.fields]
    ended = (workspace.hub.read(info.path, number) for number in revoked.ended_in(info))
    return bool(compared) and any(
        version is not None and all(version.fields.get(name) == current.fields[name] for name in compared)
        for version in ended
    )


def tested_since(workspace: Workspace, info: SecretInfo, ahead: Iterable[KnownVersion]) -> bool:
    """Whether a rotation has tested and promoted CURRENT later than all versions known outside."""
    promoted, newest = promoted_last(load_record(workspace, info.path)), info.newest
    if promoted is None or newest is None or promoted.version != info.version:
        return False
    later = all(version.created_at is not None and version.created_at < newest.created_at for version in ahead)
    return later and info.custom.get(TOKEN) == promoted.token


def lost_end(workspace: Workspace, path: str, ledger_version: KnownVersion | None) -> KnownVersion | None:
    """The revocation of the served value that the hub has lost, such as by a restore; None without one."""
    lost = newer_version(workspace, path, [ledger_version]) if ledger_version and ledger_version.revoked_by else None
    return lost if lost and lost.revoked_by else None


def overtake(workspace: Workspace, current: HubSecret, version: int) -> None:
    """Record in the hub that lost versions up to this one no longer count."""
    if version > max(current.version, overtaken(current.custom)):
        workspace.hub.patch_metadata(current.path, {OVERTAKEN: str(version)})


def lost_by_hub(workspace: Workspace, path: str, hub_version: int) -> KnownVersion | None:
    """The ledger's version that the hub has lost; None where there is none.

    ``hub_version`` is in the hub, which is read only where the ledger has a newer version or a revocation.
    """
    newest = ledger_versions(workspace, [path]).of.get(path)
    return newer_version(workspace, path, [newest]) if newest and newest.beyond(hub_version) else None


def lost_or_doubted(workspace: Workspace, path: str, hub_version: int) -> KnownVersion | None:
    """The lost version; or, in a restored hub, an unproven CURRENT that may have been revoked."""
    return lost_by_hub(workspace, path, hub_version) or doubt(workspace, path)


def insist_on_newest(workspace: Workspace, path: str, versions: Iterable[KnownVersion], doing: str = "push") -> None:
    """Raises Ahead where one of ``versions`` is newer than the hub's."""
    if newer := newer_version(workspace, path, versions):
        raise ahead(workspace, path, newer, doing)


def ahead(workspace: Workspace, path: str, newer: KnownVersion, doing: str = "push") -> Ahead:
    """The error for a write of a value that may be dead."""
    info = workspace.hub.describe(path)
    return Ahead(doing, path, describe_ahead(path, info.version if info else 0, newer), remedy(path, newer))


def describe_ahead(path: str, version: int, newer: KnownVersion) -> str:
    """The state in words for people."""
    if newer.restored_from and newer.as_of:
        return (
            f"the hub was restored from {newer.restored_from}, and nothing has shown yet that version {version} of"
            f" {path} was not revoked after {newer.as_of:%Y-%m-%d %H:%M %Z}. Nothing is pushed until then"
        )
    if newer.revoked_by:
        return (
            f"the hub serves version {version} of {path}, which the incident {newer.revoked_by} has ended, as"
            f" {newer.where} says, and has no record of that: it was restored from a backup."
            " Nothing is pushed, since the hub's value has leaked"
        )
    at = f"{newer.version}, made {newer.created_at:%Y-%m-%d %H:%M:%S %Z}" if newer.created_at else str(newer.version)
    knows = f"{newer.where} knows" if newer.where == LEDGER else f"the copy {newer.where} was made of"
    return (
        f"the hub is at version {version} of {path}, and {knows} version {at}: the hub was restored from a "
        "backup, or the secret was removed and written again. Nothing is pushed, since the hub's value may "
        "be dead"
    )


def remedy(path: str, newer: KnownVersion) -> str:
    """The command that fixes it."""
    if newer.restored_from:
        return (
            f"Run `keyturn repair recover {path}`: it tests the value by a login, and asks you if no login can test it"
        )
    if newer.revoked_by:
        again = f"keyturn revoke {path} --reason ..."
        return f"Revoke it again: `{again}`, and with `--mode {REVOKE_ONLY}` where nothing new is to be made"
    return f"Run `keyturn repair recover {path}`: it brings the newest value that works back into the hub"
