"""A CURRENT that existed and can't be read: it waits for a person, and no run replaces it.

Secrets without a first version, and revoked ones, don't count.
"""

from dataclasses import replace
from typing import Final

from keyturn.core.errors import Invalid, Missing, NotFound
from keyturn.core.ports.hub import HubSecret, SecretInfo, VersionInfo, VersionState
from keyturn.core.rotation_record import Record
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.attempt import still_named
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.record_store import claim, load_record, rewrite

GONE: Final = "gone"


def describe_missing(info: SecretInfo | None, record: Record) -> str:
    """Why a CURRENT that existed can't be read, in words; else empty."""
    if record.frozen or record.rest is not None or (info is not None and info.served):
        return ""
    newest = info.newest if info else None
    if newest is None:
        last = last_known(record)
        return f"CURRENT is {GONE}: the hub has no version of it, and its record knows version {last}" if last else ""
    if record.dead(newest.version):
        return ""
    return f"version {newest.version}, which is CURRENT, is {newest.state}"


def describe_none(path: str, record: Record) -> tuple[str, str]:
    """Why a secret that was not lost has no version, and what to do."""
    if record.frozen:
        return f"the incident {record.frozen} has ended it", f"Make a new one: `keyturn rotate {path} --now`"
    return "the hub has no version of it", "Rotate it once, or write its first version"


def last_known(record: Record) -> int:
    """The greatest version in the record; 0 for none."""
    rotations = [*record.history, *([record.rotation] if record.rotation else [])]
    return max((max(rotation.version or 0, rotation.base_version) for rotation in rotations), default=0)


def insist_on_current(path: str, info: SecretInfo | None, record: Record) -> None:
    """Raises Missing, with the remedies, rather than replace a missing CURRENT."""
    if why := describe_missing(info, record):
        raise Missing("rotate", path, why, remedies(path, info, staged=record.candidate is not None))


def remedies(path: str, info: SecretInfo | None, *, staged: bool = False) -> str:
    """How a person recovers CURRENT, the best way first. ``staged``: an open rotation has a candidate.

    The target may have accepted that candidate, so that no older value logs in.
    """
    newest = info.newest if info else None
    if info is None or newest is None:
        back = "Restore it from a snapshot of the hub, or write its fields there again (`vault kv put`)"
        return f"Nothing was changed. {back}; `keyturn repair recover {path}` looks for a living copy"
    ways = [f"`vault kv undelete -versions={newest.version} ...`"] if newest.state is VersionState.DELETED else []
    if staged:
        ways += [f"`keyturn repair recover {path}`, which tries the candidate of the open rotation and the copies"]
        return f"Nothing was changed, and its copies are left alone. Bring it back: {', or '.join(ways)}"
    numbers = [version.version for version in reversed(info.versions) if usable(version)]
    ways += [f"`keyturn rotate {path} --from {number}`" for number in numbers[:2]]
    ways += [f"`keyturn repair recover {path}`, which looks for a living copy"]
    ways += [] if numbers else ["write its fields there again (`vault kv put`)"]
    return f"Nothing was changed, and its copies are left alone. Bring it back: {', or '.join(ways)}"


def usable(version: VersionInfo) -> bool:
    """Whether its fields are available or can be undeleted."""
    return version.state is not VersionState.DESTROYED


def read_current(workspace: Workspace, path: str, record: Record) -> HubSecret | None:
    """CURRENT; None before a first version and after a revocation. Raises Missing where it is lost."""
    current = workspace.hub.read(path)
    if current is None:
        insist_on_current(path, workspace.hub.describe(path), record)
    return current


# --- a person's answer


def lay_ground(workspace: Workspace, path: str, version: int, *, end_previous: bool = False) -> None:
    """Use the fields of ``version``, which a person chose, as the base of the next candidate.

    The newest version is undeleted and CURRENT again; another's fields are kept in the record.
    """
    info, record = workspace.hub.describe(path), load_record(workspace, path)
    chosen = insist_on_choice(path, info, record, version)
    with record_action(workspace, "undelete", path, note=f"version {version} was chosen as the ground") as doing:
        doing.version = version
        if chosen.state is VersionState.DELETED:
            workspace.hub.undelete(path, [version])
        if info is not None and version == info.version:
            return
        secret = workspace.hub.read(path, version)
        if secret is None:
            raise NotFound("rotate", path, f"version {version} can't be read", "Choose another one")
        if not end_previous:
            insist_on_free(workspace, path, record, secret)
        keep_ground(workspace, path, record, secret.fields)


def insist_on_choice(path: str, info: SecretInfo | None, record: Record, version: int) -> VersionInfo:
    """The chosen version. Raises Invalid where CURRENT is not missing, NotFound where the version is gone."""
    if not describe_missing(info, record):
        raise Invalid("rotate", path, "its CURRENT is not missing", "Leave --from out: that is for one that is")
    versions = info.versions if info else ()
    chosen = next((candidate for candidate in versions if candidate.version == version), None)
    if chosen is None or not usable(chosen) or record.dead(version):
        alive = (other.version for other in versions if usable(other) and not record.dead(other.version))
        left = ", ".join(map(str, alive))
        why = (
            "was ended by a revocation" if chosen and record.dead(version) else "is destroyed" if chosen else "is gone"
        )
        raise NotFound("rotate", path, f"version {version} {why}", f"There is: {left or 'none'}")
    return chosen


def insist_on_free(workspace: Workspace, path: str, record: Record, chosen: HubSecret) -> None:
    """Raises Invalid for a base whose successor is the missing one: a rotation would change the account that copies
    use.
    """
    rotations = [*record.history, *([record.rotation] if record.rotation else [])]
    last = next((rotation for rotation in reversed(rotations) if rotation.version is not None and rotation.ends), None)
    if last and still_named(last.ends, workspace.open_strategy(path).credential_id(chosen.fields)):
        problem = f"version {chosen.version} names the credential that version {last.version} replaced"
        problem += ": who serves now would get a new password under its copies"
        hint = "Choose another version, or add --end-previous, which cuts off everything that uses it"
        raise Invalid("rotate", path, problem, hint)


def keep_ground(workspace: Workspace, path: str, record: Record, fields: SecretFields) -> Record:
    """Save the fields in the record for the next candidate. Raises Conflict, Locked."""
    return rewrite(workspace, path, replace(claim(workspace, path, record), rest=fields))
