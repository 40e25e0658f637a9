"""Ending every credential of a secret at its target, which stops an intruder."""

from collections.abc import Hashable, Iterable, Iterator
from functools import partial
from typing import Final

from keyturn.catalogue.spreading import all_places
from keyturn.core.errors import KeyturnError, Superseded, TransientError
from keyturn.core.ports.hub import HubSecret
from keyturn.core.ports.strategies import RemovesOrphans, RevokeResult, Strategy
from keyturn.core.rights.capabilities import capability
from keyturn.core.rotation_record import INCIDENT_NOTE, Record
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.by_place import Ended, end_by_place, end_by_place_again
from keyturn.revocation.elsewhere import OTHER_CATALOGUE, contradiction
from keyturn.revocation.findings.leaked_versions import last_leaked, leaked_version
from keyturn.revocation.incidents.incident import Incident, LeakedVersion, SecretProgress, Step, Unseen
from keyturn.revocation.incidents.store import load_incident, load_progress, update_progress
from keyturn.revocation.lock import (
    HeldRecord,
    at_same_target,
    closed_cut,
    cut_token,
    insist_unchanged,
    interrupted_rotation,
    release_record,
    rewrite_current,
    seize_record,
)
from keyturn.revocation.other_fields import fields_beside
from keyturn.revocation.readable_versions import (
    EVERY,
    Sight,
    hub_set_back,
    read_versions,
    remembered_versions,
    unseen_versions,
)
from keyturn.revocation.step_result import StepResult
from keyturn.rotation.repair.recoverable_values import Value
from keyturn.rotation.repair.recoverable_values import held_value as held_by
from keyturn.rotation.state import record_store
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.strategies.database_users import username
from keyturn.strategies.vault_dynamic import VaultDynamicSettings

FORGOTTEN: Final = (
    "accounts that the hub's engine created before it was restored, and no longer knows: they can't be listed"
)


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
        return f"it could not be tested: {error.problem}"


def cut_credentials(workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult) -> None:
    """End every credential of the secret's versions and candidate, CURRENT first, then the rest by place.

    No other rotation continues. Raises the first error while the target accepts CURRENT, and keeps the secret. If only
    sessions remain, the secret is released, and they are retried.
    """
    path, place = progress.path, target_name(workspace, progress.path)
    record = seize_record(workspace, incident, progress)
    held = record.rotation is not None and record.rotation.token == cut_token(incident.id, path)
    if not held and progress.cut_at is None:
        return finish_other_cut(workspace, incident, progress, record, result)
    last = record.rotation.base_version if held and record.rotation else progress.cut_version
    with record_action(workspace, "cut", path, place=place, note=incident.id, version=last) as doing:
        ended = end_all_credentials(workspace, path, record) if held else end_again(workspace, progress)
        if held:
            record_cut(workspace, incident, progress, ended.record or record, ended)
        doing.note = "; ".join((incident.id, *(error.problem for error in ended.errors)))
    for error in ended.errors:
        result.add_failure(place, error)
    for words in ended.overtaken:
        result.add_remaining(
            place, f"sessions of the old credential can't be distinguished from those of the new one: {words}"
        )
    if contradicting := contradiction(workspace, progress):
        return result.add_left(place, f"another credential may work: {contradicting}", OTHER_CATALOGUE)
    outlives = (words for ending in ended.cuts for words in ending.outlives)
    result.changes = {
        "sessions": progress.sessions + ended.sessions,
        "outlives": _unique(*progress.outlives, *outlives),
    }
    return result.add_done(
        place, f"every credential of it is ended{f', {ended.sessions} sessions too' if ended.sessions else ''}"
    )


def record_cut(
    workspace: Workspace, incident: Incident, progress: SecretProgress, record: Record, ended: "Ended"
) -> None:
    """Store what was ended, and release the secret.

    Raises the first error while the target still accepts CURRENT, or where no later run could retry.
    """
    path, cut_at, refused = progress.path, workspace.clock(), refuses_current(workspace, progress.path)
    if ended.errors and (not refused or ended.lost):
        raise ended.errors[0]
    sight = read_versions(workspace, path, EVERY)
    last, unseen = sight.last, unseen_versions(workspace, path, record, sight)
    if any(hidden.version == 0 for hidden in unseen):
        held = HeldRecord(workspace, path, record)
        unseen, record = (*unseen, *end_lost(held, ended, sight)), held.record
    facts = {
        "token": cut_token(incident.id, path),
        "sequence": record.rotation.sequence if record.rotation else 0,
        "old": (*leaked_values(workspace, path, record, sight), *remembered_versions(record, unseen)),
        "unseen": unseen,
        "placed": ended.placed,
        "leftover": tuple(ended.leftover),
        "placeless": ended.placeless,
        "cut_at": cut_at,
        "cut_version": last,
        "refused_at": workspace.clock() if refused else None,
    }
    # Later steps search for the values by these facts, so they are stored before the secret is released. Facts of an
    # earlier run stay: since then newer versions may exist, and older ones may be gone.
    update_progress(workspace, incident, path, lambda current: current if current.cut_at else current.having(**facts))
    release_record(
        workspace, path, record, last, None if sight.served else fields_beside(workspace, path, sight.versions)
    )


def finish_other_cut(
    workspace: Workspace, incident: Incident, progress: SecretProgress, record: Record, result: StepResult
) -> None:
    """Finish the cut of another incident that took the secret first."""
    path, place = progress.path, target_name(workspace, progress.path)
    mine = closed_cut(record, cut_token(incident.id, path))
    other = load_incident(workspace, mine.note.removeprefix(INCIDENT_NOTE) if mine else record.frozen)
    theirs, doing = load_progress(workspace, other, path), StepResult(workspace, Step.CUT)
    if Step.CUT not in theirs.done:
        cut_credentials(workspace, other, theirs, doing)
        theirs = update_progress(workspace, other, path, doing.onto)
    if Step.CUT not in theirs.done:
        result.add_left(
            place, f"incident {other.id}, which took it over, is not done with it", "It continues with that one"
        )
    noted = ("sequence", "old", "cut_at", "cut_version", "refused_at", "unseen", "placed", "leftover", "placeless")
    names = (*noted, "sessions", "outlives")
    result.changes = {"token": cut_token(incident.id, path), **{name: getattr(theirs, name) for name in names}}
    result.add_done(place, f"every credential of it is ended by incident {other.id}, which took it over")


def _unique(*words: str) -> tuple[str, ...]:
    """The distinct words, in order."""
    return tuple(dict.fromkeys(words))


def refuses_current(workspace: Workspace, path: str) -> bool:
    """Whether the target is seen to refuse CURRENT; asked again before a destruction."""
    current = workspace.hub.read(path)
    try:
        return current is not None and workspace.open_strategy(path).accepts(current.fields) is False
    except KeyturnError:
        return False


def target_name(workspace: Workspace, path: str) -> str:
    """The target's name in the catalogue, else empty."""
    return str(getattr(workspace.secret(path).rotation, "target", ""))


# --- at the target -----------------------------------------------------------------------------------------


def end_all_credentials(workspace: Workspace, path: str, record: Record) -> Ended:
    """End every credential known to the hub or the interrupted rotation."""
    ended, strategy, held = Ended(), workspace.open_strategy(path), HeldRecord(workspace, path, record)
    if record.rotation is None:
        return ended

    def end(fields: SecretFields) -> RevokeResult:
        return held.above(fields, lambda sequence: strategy.revoke(fields, sequence))

    for fields in distinct_credentials(strategy, fields_to_end(workspace, path, record, ended)):
        ended.trying(partial(end, fields))
    failed = len(ended.errors)
    ended.trying(lambda: end_interrupted(workspace, path, held))
    ended.lost = len(ended.errors) > failed or (failed > 0 and may_accept(strategy, record.candidate))
    if interrupted_rotation(record, path):
        rewrite_current(workspace, path)
    end_by_place(held, ended)
    ended.record = held.record
    return ended


def may_accept(strategy: Strategy, candidate: SecretFields | None) -> bool:
    """Whether the target may still accept a candidate; True if unknown."""
    try:
        return candidate is not None and strategy.accepts(candidate) is not False
    except KeyturnError:
        return True


def end_again(workspace: Workspace, progress: SecretProgress) -> Ended:
    """Retry what was not completely ended, such as sessions, for the versions of the cut only.

    The replacement's account is skipped: not every target can distinguish old numbers.
    """
    ended, strategy, last = Ended(), workspace.open_strategy(progress.path), last_leaked(progress)
    sight = read_versions(workspace, progress.path, last)
    current = sight.current
    fresh = credential_name(strategy, current.fields) if current and current.version > last else ()
    old = [version.fields for version in sight.versions if version.version <= last]
    end_by_place_again(workspace, progress, ended)
    if not old and ended.placeless:
        ended.overtaken.append("the hub keeps no old version by which they could be looked for")
    for fields in distinct_credentials(strategy, old):
        if fresh and credential_name(strategy, fields) == fresh:
            ended.overtaken.append("its account has a new credential")
        else:
            ended.trying(lambda fields=fields: strategy.revoke(fields, progress.sequence))  # type: ignore[misc]
    ended.overtaken += [error.problem for error in ended.errors if isinstance(error, Superseded)]
    ended.errors = [error for error in ended.errors if not isinstance(error, Superseded)]
    return ended


def end_late(workspace: Workspace, version: HubSecret) -> bool:
    """End an old version that the target accepts again, and return whether that was done.

    An account that CURRENT also uses is skipped.
    """
    path, strategy = version.path, workspace.open_strategy(version.path)
    record, current = record_store.load_record(workspace, path), workspace.hub.read(path)
    fresh = credential_name(strategy, current.fields) if current and current.version != version.version else ()
    if credential_name(strategy, version.fields) in ((), fresh):
        return False
    # Not the number of a running rotation: the target must distinguish what that one installed from what ends here.
    over = (*record.history, *([record.retiring] if record.retiring else []))
    with record_action(workspace, "cut", path, place=target_name(workspace, path), note=f"version {version.version}"):
        try:
            strategy.revoke(version.fields, max((past.sequence for past in over), default=0))
        except Superseded:
            if record.open:
                raise
            # Written under another record, such as one from before a restore: no rotation is running on it now.
            strategy.revoke(version.fields, strategy.last_sequence([version.fields]))
    return True


def end_interrupted(workspace: Workspace, path: str, held: HeldRecord) -> RevokeResult:
    """End what only the interrupted rotation knew: its previous and its unsaved credential."""
    record, strategy = held.record, workspace.open_strategy(path)
    rotation, ends = interrupted_rotation(record, path), record.rotation.ends if record.rotation else {}
    if ends:
        held.above(SecretFields(ends), lambda sequence: strategy.retire(ends, sequence))
    if rotation and not at_same_target(workspace, path, rotation):
        place = rotation.target or "its target"
        return RevokeResult(
            outlives=(f"what rotation {rotation.token} has made at {place}, where the catalogue leads no more",)
        )
    orphans = capability(strategy, RemovesOrphans) if strategy.mints_at_target else None
    if orphans and rotation and rotation.version is None and record.candidate is None:
        orphans.remove_orphans(rotation.before, ())
    return RevokeResult()


def fields_to_end(workspace: Workspace, path: str, record: Record, ended: Ended) -> Iterator[SecretFields]:
    """Yield every version's fields, CURRENT first, and the candidate that was never in force.

    Raises Locked if a later run changed the record. Without the hub's versions, the rest is still ended.
    """
    try:
        versions = read_versions(workspace, path, EVERY).versions
    except TransientError as error:
        ended.errors.append(error)
        versions = ()
    insist_unchanged(workspace, path, record)
    yield from (version.fields for version in versions)
    if record.candidate:
        yield record.candidate


def distinct_credentials(strategy: Strategy, candidates: Iterable[SecretFields]) -> Iterator[SecretFields]:
    """Yield each credential once, by the target's name, else the newest of each account."""
    names: set[Hashable] = set()
    for fields in candidates:
        name = credential_name(strategy, fields) or len(names)
        if name not in names:
            names.add(name)
            yield fields


def credential_name(strategy: Strategy, fields: SecretFields) -> Hashable:
    """The target's name for the credential in these fields, else empty."""
    return tuple(sorted(strategy.credential_id(fields).items())) or username(fields) or ()


def leaked_values(workspace: Workspace, path: str, record: Record, sight: Sight) -> tuple[LeakedVersion, ...]:
    """The fingerprints of all that was ended, to search for it later."""
    leaked = [leaked_version(workspace, version, sight.versions) for version in sight.versions]
    if record.candidate:
        whole = (sight.current.fields if sight.current else SecretFields({})).merged(record.candidate)
        leaked.append(leaked_version(workspace, HubSecret(path, 0, whole)))
    return tuple(leaked)
