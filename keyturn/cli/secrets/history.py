"""``keyturn history``: the recorded rotations of one secret, and its versions in the hub."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from keyturn.cli.environment import opened_workspace
from keyturn.cli.options import CatalogueOption, JsonOption, Layout, OutputOption, PathArgument, layout_of
from keyturn.cli.output import note, stamp, when, write_json, write_names, write_table
from keyturn.core.errors import NotFound

if TYPE_CHECKING:
    from keyturn.core.ports.hub import SecretInfo, VersionInfo
    from keyturn.core.rotation_record import Rotation
    from keyturn.rotation.state.context import Workspace

COLUMNS: Final = ("version", "state", "when (UTC)", "rotation")


def history(
    path: PathArgument,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Layout.TABLE,
) -> None:
    """Show one secret's rotations, the newest first.

    And the versions in the hub that none of them made. The names of --output name are the versions' numbers.
    """
    layout = layout_of(output, as_json)
    with opened_workspace(catalogue, looking=True) as workspace:
        rotations, info = remembered(workspace, path)
    versions = info.versions if info else ()
    if layout is Layout.JSON:
        return write_json(as_data(path, info, rotations))
    made, reverted = {rotation.version for rotation in rotations}, reverted_by(rotations)
    others = [version for version in versions if version.version not in made]
    rows = [(r.promoted_at or r.opened_at, rotation_row(r, info.version if info else 0)) for r in rotations]
    rows += [(version.created_at, version_row(version, reverted, rotations)) for version in others]
    newest_first = sorted(rows, key=lambda row: row[0], reverse=True)
    if layout is Layout.NAME:
        return write_names(row[0] for _, row in newest_first if row[0] != "-")
    write_table(COLUMNS, (row for _, row in newest_first), whole=("version", "when (UTC)"))
    return note(f"{path} is at version {info.version}" if info else f"{path} has no version in the hub")


def remembered(workspace: "Workspace", path: str) -> "tuple[list[Rotation], SecretInfo | None]":
    """Return the recorded rotations, newest first, and the hub's versions. Raises NotFound if there is neither."""
    from keyturn.rotation.state.record_store import load_record

    record, info = load_record(workspace, path), workspace.hub.describe(path)
    rotations = [*([record.rotation] if record.rotation else []), *reversed(record.history)]
    if not rotations and info is None:
        workspace.secret(path)
        problem = "the hub has no version and no rotation of it"
        raise NotFound("show the history of", path, problem, f"Make its first with `keyturn rotate {path}`")
    return rotations, info


def rotation_row(rotation: "Rotation", current: int) -> tuple[str, ...]:
    from keyturn.core.fingerprint import shown

    moments = (("opened", rotation.opened_at), ("promoted", rotation.promoted_at), ("closed", rotation.closed_at))
    lines = [f"{rotation.sequence}: {rotation.reason}, {rotation.strategy}"]
    lines += [f"fingerprint {shown(rotation.fingerprint)}"] if rotation.fingerprint else []
    lines += [f"notified {', '.join(rotation.acknowledged)}"] if rotation.acknowledged else []
    return (
        str(rotation.version or "-"),
        rotation_state(rotation, current),
        "\n".join(f"{name:<8} {when(at)}" for name, at in moments if at),
        "\n".join([*lines, rotation.note]).rstrip(),
    )


def rotation_state(rotation: "Rotation", current: int) -> str:
    """The state of the rotation's version, for people."""
    closed = {
        "retired": "in force" if rotation.version == current else "replaced",
        "cut": "revoked" if rotation.version else "revocation",
    }
    return closed.get(str(rotation.stage), str(rotation.stage))


def reverted_by(rotations: "list[Rotation]") -> "dict[int, Rotation]":
    return {r.reverted_version: r for r in rotations if r.reverted_version and r.reverted_version != r.version}


def version_row(
    version: "VersionInfo", reverted: "dict[int, Rotation]", rotations: "Iterable[Rotation]"
) -> tuple[str, ...]:
    """A version that no rotation made. A revocation may write the current one again, which stops a delayed write."""
    back, cut = reverted.get(version.version), revocation_during(version.created_at, rotations)
    state = ("taken back" if back else "written") if version.readable else str(version.state)
    rotation = f"{back.sequence}: {back.reason}, {back.strategy}" if back else "not by a rotation"
    if cut and not back:
        rotation = f"written during the revocation {cut.sequence}"
    return str(version.version), state, f"written  {when(version.created_at)}", rotation


def revocation_during(moment: datetime, rotations: "Iterable[Rotation]") -> "Rotation | None":
    """The revocation that was under way at this moment."""
    cuts = (rotation for rotation in rotations if rotation.stage == "cut" and rotation.closed_at)
    return next((cut for cut in cuts if cut.opened_at <= moment <= (cut.closed_at or moment)), None)


def as_data(path: str, info: "SecretInfo | None", rotations: "list[Rotation]") -> dict[str, Any]:
    from keyturn.cli.secrets.secret_status import rotation_data

    reverted = {version: rotation.sequence for version, rotation in reverted_by(rotations).items()}
    made = reverted | {rotation.version: rotation.sequence for rotation in rotations if rotation.version}
    versions = [
        {
            "version": version.version,
            "created_at": stamp(version.created_at),
            "readable": version.readable,
            "state": str(version.state),
            "sequence": made.get(version.version),
        }
        for version in reversed(info.versions if info else ())
    ]
    return {
        "path": path,
        "version": info.version if info else None,
        "rotations": [rotation_data(rotation) for rotation in rotations],
        "versions": versions,
    }
