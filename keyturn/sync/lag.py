"""Secrets of which the hub has lost newer versions or the end."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Final

from keyturn.core.lineage import KnownVersion
from keyturn.core.ports.hub import SecretInfo
from keyturn.core.ports.stores import OwnershipTags
from keyturn.rotation.copies.lineage_check import copy_version, ledger_versions, newer_version
from keyturn.rotation.copies.push import ours
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.sync import observe
from keyturn.sync.observe import Holdings

AT_ONCE: Final = 16


SHOWN: Final = 5
"""Secrets with lost versions that one remark names."""


def lost_secrets(workspace: Workspace) -> dict[str, KnownVersion]:
    """Every secret of the catalogue of which the hub has lost a newer version or the end.

    Unreachable stores and ledgers are ignored. Raises the hub's errors.
    """
    with observe.begun_listings(workspace, workspace.catalogue.stores) as listings:
        secrets = observe.hub_secrets(workspace, None)
        nothing: dict[str, observe.Placements] = {store: [] for store in listings}
        holdings = observe.stores(workspace, nothing, listings, listed=True, deep=False)
    paths = workspace.catalogue.secrets.keys() & secrets.keys()
    return lost_versions(workspace, paths, secrets, holdings, ledger_versions(workspace, paths).of)


def behind_words(paths: Collection[str]) -> str:
    """The first warning about a hub that has lost versions."""
    named = ", ".join(sorted(paths)[:SHOWN])
    more = f", and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return (
        f"THE HUB IS BEHIND: it has lost newer versions of {named}{more}, or their end, as after a restore, and"
        " may give applications what is dead. Run `keyturn repair recover` before anything else"
    )


def lost_versions(
    workspace: Workspace,
    paths: Collection[str],
    secrets: Mapping[str, SecretInfo],
    holdings: Mapping[str, Holdings],
    ledger: Mapping[str, KnownVersion],
) -> dict[str, KnownVersion]:
    """The secrets for which a copy or the ledger knows a newer version or its end, with that version."""
    wanted = {path: secrets[path] for path in paths if path in secrets}
    suspected: dict[str, list[KnownVersion]] = defaultdict(list)
    for path, version in chain(ledger.items(), newer_copies(workspace, wanted, holdings)):
        if path in wanted and version.speaks_against(wanted[path]):
            suspected[path].append(version)
    newest = side_by_side(lambda path: newer_version(workspace, path, suspected[path]), suspected, AT_ONCE)
    return {path: newer for path, newer in zip(suspected, newest, strict=True) if newer}


def newer_copies(
    workspace: Workspace, secrets: Mapping[str, SecretInfo], holdings: Mapping[str, Holdings]
) -> Iterator[tuple[str, KnownVersion]]:
    """The copies whose marks name a later version than the hub's listing."""
    for store, held in holdings.items():
        for copy in (*held.copies.values(), *held.parts.values()):
            marks = copy.marks
            info = secrets.get(marks.source) if marks else None
            if marks is None or info is None or not later(marks, info) or not ours(workspace, marks):
                continue
            if version := copy_version(copy, info.path, f"{store}:{copy.name}"):
                yield info.path, version


def later(marks: OwnershipTags, info: SecretInfo) -> bool:
    """Whether marks name a later version, by number or creation time."""
    if marks.version > info.version:
        return True
    return marks.created_at is not None and info.newest is not None and marks.created_at > info.newest.created_at
