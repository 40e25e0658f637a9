"""``keyturn repair recover``: bring the newest value that works back into a hub that has lost it, from a copy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import BEHIND, FAILED, end_command
from keyturn.cli.options import CatalogueOption, JsonOption, OptionalPattern, YesOption, insist_on_terminal
from keyturn.cli.output import note, stamp, when, write_json, write_table
from keyturn.core.error_codes import code_of, code_of_kind
from keyturn.core.errors import Ahead, KeyturnError, NotFound, TransientError

if TYPE_CHECKING:
    from keyturn.core.ports.restored import Restoration
    from keyturn.rotation.repair.recover import Recovery
    from keyturn.rotation.repair.recoverable_values import HeldValues, Value
    from keyturn.rotation.state.context import Workspace

SHOWN: Final = 5
"""The most unsettled secrets to name in one message."""
PATCH: Final = "vault kv patch -mount=secret {} host=... port=..."
"""How a person adds the fields that a recovered credential lacks."""
COLUMNS: Final = ("who holds it", "version", "made (UTC)", "a login says")

DryOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be brought back; nothing is written.")]
UntestedOption = Annotated[bool, typer.Option("--untested", help="Also take the newest value if no login can test it.")]
SnapshotOption = Annotated[
    str | None,
    typer.Option(
        "--snapshot-of",
        metavar="TIME",
        help="The hub came back from its own snapshot, made then: mark it as restored first.",
    ),
]


def recover(
    path: OptionalPattern = None,
    dry_run: DryOption = False,
    yes: YesOption = False,
    untested: UntestedOption = False,
    snapshot_of: SnapshotOption = None,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the newest value that works back into the hub, from a copy that holds it.

    For a hub that was restored from a backup, or a secret that was removed and written again: `plan` and `status` call
    it `ahead`. Without PATH, every such secret. Tries logins from the newest value on; the first that works becomes
    CURRENT, and every copy follows. In a restored hub, name a secret with --untested if no login and no copy can
    confirm it: it may have been revoked since. Safe to run again.
    """
    insist_on_terminal(dry_run or yes, "give --yes, or --dry-run")
    if snapshot_of and (dry_run or path):
        raise typer.BadParameter("--snapshot-of marks the whole hub: give it without PATH and --dry-run")
    with opened_workspace(catalogue) as workspace:
        from keyturn.cli.secrets.moments import parse_moment
        from keyturn.core.ports.restored import look_at_restoration, mark_snapshot

        if snapshot_of:
            now = workspace.hub_now()
            mark_snapshot(workspace.hub, parse_moment(snapshot_of, "--snapshot-of", now), now)
        restoration = look_at_restoration(workspace.hub)
        if restoration.happened:
            note(restoration.happened)
        lost = named_secrets(workspace, path) if path else behind(workspace)
        done = [
            recovered(
                workspace, secret, dry_run=dry_run, yes=yes, untested=untested, quiet=as_json, named=path is not None
            )
            for secret in lost.paths
        ]
        without_copy = [unshown(workspace, secret) for secret in lost.nowhere]
        note_unshown(data["secret"] for data, error in without_copy if data["code"] and not error)
        done += without_copy
        errors = [error for _, error in done if error]
        if not (path or dry_run or errors):
            note_recovered(workspace, restoration, lost)
    if as_json:
        write_json({"secrets": [data for data, _ in done]})
    if not done:
        note("the hub has lost nothing that a copy or the ledger knows of")
    if errors:
        end_unsettled(errors)


def end_unsettled(errors: Sequence[KeyturnError]) -> None:
    first = errors[0]
    if len(errors) > 1:
        problem = f"{len(errors)} secrets are not settled: {', '.join(error.name for error in errors[:SHOWN])}"
        more = f" and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
        first = type(first)("recover", "the hub", problem + more, "Do what is said of each of them, and run it again")
    end_command(first, BEHIND if all(isinstance(error, TransientError) for error in errors) else FAILED)


def named_secrets(workspace: "Workspace", pattern: str) -> "Behind":
    """Return the secret of a path, or those that lag and match a pattern. Raises NotFound for no match."""
    from keyturn.core.text.path_patterns import covers

    if "*" not in pattern:
        return Behind([pattern])
    paths = [path for path in behind(workspace).paths if covers(pattern, path, workspace.catalogue.mounts)]
    if not paths:
        raise NotFound(
            "recover", pattern, "nothing that is to be recovered fits it", "See: keyturn repair recover --dry-run"
        )
    return Behind(paths)


@dataclass(frozen=True)
class Behind:
    """The secrets that lost newer versions in the hub; ``unseen`` names what could not be checked.

    ``nowhere`` are secrets of a restored hub without a copy, which a login should test.
    """

    paths: list[str]
    unseen: tuple[str, ...] = ()
    nowhere: tuple[str, ...] = ()


def behind(workspace: "Workspace") -> Behind:
    """Return the secrets that have a newer version outside the hub."""
    from keyturn.cli.running.numbers import is_unseen
    from keyturn.core.plan import Action
    from keyturn.rotation.copies.lineage_check import ledger_versions
    from keyturn.rotation.repair.suspect_versions import doubt_of
    from keyturn.sync.lag import behind_words, lost_secrets
    from keyturn.sync.plan import plan

    planned, mark = plan(workspace), workspace.open_restore()
    # This command is what those remarks advise.
    to_do = (behind_words(planned.lost or ()), mark.to_do if mark else "")
    for remark in planned.remarks:
        if remark not in to_do:
            note(remark)
    ahead = {item.path for item in planned.items if item.action is Action.AHEAD}
    unseen = {f"the store {item.store} ({item.why})" for item in planned.items if is_unseen(item)}
    if error := ledger_versions(workspace, sorted(workspace.catalogue.secrets)[:1]).error:
        unseen.add(f"the ledger ({error.text})")
    paths = ahead | lost_secrets(workspace).keys()
    listed = planned.listing.secrets if planned.listing else {}
    copied = {item.path for item in planned.items}
    nowhere = tuple(
        path
        for path in sorted(workspace.catalogue.secrets.keys() - copied - paths)
        if mark and path in listed and doubt_of(mark, listed[path])
    )
    return Behind(sorted(paths), tuple(sorted(unseen)), nowhere)


def unshown(workspace: "Workspace", path: str) -> tuple[dict[str, Any], KeyturnError | None]:
    """Test a restored secret without copies by a login. Nothing is pushed.

    If no login can decide, the secret is listed without an error.
    """
    from keyturn.rotation.repair.recover import choose
    from keyturn.rotation.repair.recoverable_values import values

    candidates: HeldValues | None = None
    data: dict[str, Any] = {"secret": path, "values": [], "recovered": None, "error": "", "code": ""}
    try:
        candidates = values(workspace, path)
        data["values"] = [value_data(value) for value in candidates.found]
        choose(candidates)
    except KeyturnError as error:
        answer = {**data, "error": str(error), "code": code_of(error)}
        if isinstance(error, Ahead) and candidates and not candidates.lost_end:
            return answer, None
        note(f"{path}: {error}")
        return answer, error
    return data, None


def note_unshown(paths: Iterable[str]) -> None:
    """List secrets without copies that no login can test for a revocation since the backup."""
    names = sorted(paths)
    more = f", and {len(names) - SHOWN} more: see --json" if len(names) > SHOWN else ""
    if names:
        note(
            f"it could not be proven that these were not revoked since: no login can be tried, and they have no copy:"
            f" {', '.join(names[:SHOWN])}{more}. Nothing of them is pushed; ask who was on call, and where one was:"
            " keyturn rotate PATH --now"
        )


def note_recovered(workspace: "Workspace", restoration: "Restoration", lost: Behind) -> None:
    """Record that a restored hub is recovered, if everything that may know newer versions was checked."""
    from keyturn.core.ports.restored import mark_recovered

    mark = restoration.mark
    if mark is None or not mark.whole or mark.recovered:
        return
    if lost.unseen:
        note(f"the hub keeps this marked as to do, since it could not check {'; '.join(lost.unseen)}")
        return
    mark_recovered(workspace.hub, mark, workspace.hub_now())
    note(f"nothing is left to be recovered of what the hub has lost since {mark.source}")


def recovered(
    workspace: "Workspace", path: str, *, dry_run: bool, yes: bool, untested: bool, quiet: bool, named: bool
) -> tuple[dict[str, Any], KeyturnError | None]:
    """Show and recover one secret. Return the result as data, and the error to end with."""
    from keyturn.rotation.repair.recover import choose, recover
    from keyturn.rotation.repair.recoverable_values import HUB, values

    data: dict[str, Any] = {"secret": path, "values": [], "recovered": None, "error": "", "code": ""}
    try:
        candidates = values(workspace, path)
        data["values"] = [value_data(value) for value in candidates.found]
        if not quiet:
            show_candidates(candidates)
        chosen = choose(candidates, untested=untested, named=named)
        if needless(candidates, chosen):
            note(f"{path}: CURRENT is the newest value that works: nothing is to be recovered")
        elif not dry_run and (yes or asked(candidates, chosen)):
            came = recover(workspace, candidates, chosen)
            data["recovered"] = recovery_data(came)
            origin = f" of version {came.held}" if came.held else ""
            held = f"holds what {came.place} held{origin}"
            counts = "counts: it logs in" if chosen.lives else "counts, as a person stated"
            note(f"{path}: version {came.version} {counts if chosen.place == HUB else held}")
            if chosen.bare:
                note(f"{path}: NOTHING HOLDS ITS OTHER FIELDS, such as host and port. Add them: {PATCH.format(path)}")
            return data, left_behind(came)
    except KeyturnError as error:
        note(f"{path}: {error}")
        return {**data, "error": str(error), "code": code_of(error)}, error
    return data, None


def show_candidates(candidates: "HeldValues") -> None:
    rows = [
        (value.place, str(value.version), when(value.created_at) or "unknown", login_verdict(value))
        for value in candidates.found
    ]
    rows += [(value.place, "-", "-", f"not taken: {value.why}") for value in candidates.useless]
    hub, newest = candidates.hub_version, candidates.newest_known
    note(f"{candidates.path}: the hub is at version {hub}, the newest that is known is {newest}")
    write_table(COLUMNS, rows, whole=("version",))


def login_verdict(value: "Value") -> str:
    if not value.tried:
        return "not tried: a newer one works"
    return {True: "it works", False: "it is refused", None: "unknown"}[value.lives]


def needless(candidates: "HeldValues", chosen: "Value") -> bool:
    """Return whether CURRENT is the chosen value, and no newer one is known."""
    from keyturn.core.ports.hub import overtaken
    from keyturn.rotation.repair.recoverable_values import HUB

    settled = max(candidates.hub_version, overtaken(candidates.current.custom) if candidates.current else 0)
    return chosen.place == HUB and candidates.newest_known <= settled and not candidates.doubt


def asked(candidates: "HeldValues", chosen: "Value") -> bool:
    from keyturn.rotation.repair.recoverable_values import HUB

    works = "which works" if chosen.lives else "which could not be tested"
    what = "Keep CURRENT" if chosen.place == HUB else f"Make what {chosen.place} holds CURRENT"
    return typer.confirm(f"{what}, {works}, and sync every copy of {candidates.path} to it?", abort=True)


def left_behind(came: "Recovery") -> KeyturnError | None:
    late = [f"{copy.store}:{copy.name} ({copy.error or copy.state})" for copy in came.copies if not copy.in_step]
    if not late:
        return None
    problem = f"version {came.version} is in force, but not in sync: {', '.join(late)}"
    return TransientError("settle", came.path, problem, "Fix the cause; the next sync continues by itself")


def value_data(value: "Value") -> dict[str, Any]:
    return {
        "place": value.place,
        "version": value.version,
        "made_at": stamp(value.created_at),
        "fingerprint": value.fingerprint[:12],
        "tried": value.tried,
        "works": value.lives,
    }


def recovery_data(came: "Recovery") -> dict[str, Any]:
    return {
        "from": came.place,
        "held_version": came.held,
        "version": came.version,
        "fingerprint": came.fingerprint[:12],
        "tried": came.tried,
        "copies": [
            {
                "copy": f"{copy.store}:{copy.name}",
                "state": str(copy.state),
                "error": copy.error,
                "code": code_of_kind(copy.kind),
            }
            for copy in came.copies
        ],
    }
