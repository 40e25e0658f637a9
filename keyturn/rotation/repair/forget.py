"""Give up the hub's record of a secret, and report what it leaves behind."""

from dataclasses import dataclass

from keyturn.core.errors import NotFound
from keyturn.core.ports.strategies import Strategy
from keyturn.core.rotation_record import Record, Rotation
from keyturn.rotation.previous_targets import credential_names
from keyturn.rotation.repair.removed_entries import leaves
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.owners import claimed
from keyturn.rotation.state.record_store import claim, load_record, rewrite


@dataclass(frozen=True)
class Forgotten:
    """The result: ``left`` stays at the target, ``ended`` was ended there."""

    path: str
    left: str = ""
    ended: str = ""
    why: str = ""
    """Why the old credential was not ended, though requested."""


def remains(workspace: Workspace, path: str) -> str:
    """What giving up the record would leave at its target. Raises NotFound where there is no record."""
    record = load_record(workspace, path)
    if not record.version or record == Record(version=record.version, age=record.age):
        raise NotFound("forget", path, "the hub has no record of it", "`keyturn status` shows what is open")
    return leaves(record.rotation) if record.rotation else "nothing of it is open"


def forget(workspace: Workspace, path: str, *, end_previous: bool = False) -> Forgotten:
    """Give up the record of ``path``; with ``end_previous``, first end the old credential if possible.

    The hub's secret and its copies stay. Raises NotFound, and Locked while another process works on it.
    """
    left = remains(workspace, path)
    with record_action(workspace, "forget", path, note=left) as doing:
        record = claim(workspace, path, load_record(workspace, path))
        rotation, why, ended = record.rotation, "", ""
        if end_previous and rotation:
            why = end_forgotten(workspace, path, rotation)
            ended = "" if why else f"the credential {credential_names(workspace, path, rotation.ends)}"
        rewrite(workspace, path, record.emptied)
        doing.note = f"{left}; ended: {ended or why or 'nothing'}"
    return Forgotten(path, "" if ended else left, ended, why)


def end_forgotten(workspace: Workspace, path: str, rotation: Rotation) -> str:
    """End the credential that a rotation was to retire; why it was spared, empty where it was ended."""
    if not rotation.ends or rotation.version is None:
        return "no old credential waits for its end"
    if owner := rightful_owner(workspace, path, rotation):
        return f"the catalogue gives it to {owner} now"
    strategy = of_its_kind(workspace, path, rotation)
    if strategy is None:
        return f"no secret of the catalogue works as {rotation.strategy} at {rotation.target}: end it there by hand"
    strategy.retire(rotation.ends, rotation.sequence)
    return ""


def rightful_owner(workspace: Workspace, path: str, rotation: Rotation) -> str:
    """Another declared secret that names the same account at the same target."""
    accounts = set(rotation.ends.values())
    others = (
        other for other in workspace.catalogue.secrets if other != path and workspace.target(other) == rotation.target
    )
    return next((other for other in others if accounts & (claimed(workspace, other) or set())), "")


def of_its_kind(workspace: Workspace, path: str, rotation: Rotation) -> Strategy | None:
    """A strategy that can end it: the secret's, or that of another secret at the same target."""
    declared = workspace.catalogue.secrets
    for secret in ([path] if path in declared else []) + [other for other in declared if other != path]:
        settings = declared[secret].rotation
        if settings.strategy == rotation.strategy and workspace.target(secret) == rotation.target:
            return workspace.open_strategy(secret)
    return None
