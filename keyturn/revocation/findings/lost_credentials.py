"""Credentials that the hub lost, and that copies and targets still have."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from keyturn.catalogue.spreading import all_places
from keyturn.core.errors import KeyturnError
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.by_place import Ended
from keyturn.revocation.incidents.incident import Unseen
from keyturn.revocation.lock import HeldRecord
from keyturn.revocation.sight import Sight, hub_set_back
from keyturn.rotation.repair.recoverable_values import Value
from keyturn.rotation.repair.recoverable_values import held_value as held_by
from keyturn.rotation.state.context import Workspace
from keyturn.strategies.vault_dynamic import VaultDynamicSettings

FORGOTTEN: Final = "accounts that the hub's engine gave before it was set back, and has forgotten: nobody can list them"


def end_lost(held: HeldRecord, ended: Ended, sight: Sight) -> tuple[Unseen, ...]:
    """End the credentials that only copies contain; return those that may still work.

    The copy gets the replacement later, so they are tried now.
    """
    strategy, left = held.workspace.open_strategy(held.path), []
    for value in lost_credentials(held.workspace, held.path, sight):
        ended.trying(partial(held.above, value.fields, partial(strategy.revoke, value.fields)))
        if why := why_accepted(held.workspace, held.path, value.fields):
            what = f"the credential that {value.place} held, of version {value.version}, which the hub has lost"
            left.append(Unseen(0, f"{what}: {why}", accepted=True))
    leased = isinstance(held.workspace.secret(held.path).rotation, VaultDynamicSettings)
    if leased and hub_set_back(held.workspace, held.path, held.record, sight):
        left.append(Unseen(0, FORGOTTEN, accepted=True))
    return tuple(left)


def lost_credentials(workspace: Workspace, path: str, sight: Sight) -> Iterator[Value]:
    """Values in copies that no version of the hub has."""
    digests = {workspace.fingerprint(path, version.fields) for version in sight.versions}
    for place in all_places(workspace.catalogue, path, sight.current.fields if sight.current else ()):
        value = held_by(workspace, path, place, sight.current)
        if isinstance(value, Value) and value.fingerprint not in digests:
            yield value


def why_accepted(workspace: Workspace, path: str, credential: SecretFields) -> str:
    """Why the target may accept the credential, else empty."""
    try:
        return "the target accepts it" if workspace.open_strategy(path).accepts(credential) else ""
    except KeyturnError as error:
        return f"nobody could try it: {error.problem}"
