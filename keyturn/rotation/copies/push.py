"""Push CURRENT to every destination: write the copies that differ, and skip the copies that are in sync."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from keyturn.catalogue.checks import copy_metadata as beside
from keyturn.catalogue.destinations import Destination, Drift, Update
from keyturn.catalogue.models import DEFAULT_ID
from keyturn.catalogue.spreading import patterns_of, plain_places
from keyturn.core.errors import (
    Conflict,
    Denied,
    Invalid,
    KeyturnError,
    Missing,
    NotFound,
    NotOwned,
    TerminalError,
    UnsupportedOperation,
)
from keyturn.core.fingerprint import vouches
from keyturn.core.lineage import KnownVersion
from keyturn.core.ports.conductor import outcome_of
from keyturn.core.ports.hub import HubSecret
from keyturn.core.ports.stores import Creates, OwnershipTags, RemoteSecret, Unsupported
from keyturn.core.ports.strategies import TellsRevoked
from keyturn.core.rights.capabilities import capability
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.references import Unfit
from keyturn.rotation.copies.added_fields import Grown, grown, keeps
from keyturn.rotation.copies.labels import asks, describe_copies, details_of, outlived_mark, outlives_copy, wrong_beside
from keyturn.rotation.copies.lineage_check import ahead, copy_version, insist_on_newest, ledger_versions, overtake
from keyturn.rotation.copies.ownership import mark_anew
from keyturn.rotation.copies.previous_version import still_beside, with_previous
from keyturn.rotation.copies.restarts import restart_users, restarting
from keyturn.rotation.repair.missing_current import describe_missing, describe_none, remedies
from keyturn.rotation.repair.suspect_versions import doubt
from keyturn.rotation.state.agreements import REMAINS, Disagreement, agreement_refusal, insist_on_agreement
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.copy_parts import Parts, SeenPart
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.record_store import load_record

GONE: Final = "it is not there"

UNCLAIMED: Final = ("", DEFAULT_ID)
"""The catalogue id in the marks of a copy whose catalogue has no id."""

ROUNDS: Final = 3
"""How often a sync starts again because CURRENT changed during the run."""

PAUSES: Final = (0.2, 1.0)
"""Seconds before each further check of a write: a cloud may show it a moment later."""


class CopyState(StrEnum):
    """What a push did or found."""

    CREATED = "created"
    UPDATED = "updated"
    IN_STEP = "in sync"
    LABELLED = "labelled"
    """The value was in sync, and its tags or description now match the catalogue."""
    KEPT = "kept"
    """It serves an older version, as the catalogue wants."""
    STALE = "stale"
    DRIFTED = "drifted"
    """Another writer changed it, and the catalogue wants drift reported only."""
    FAILED = "failed"
    WITHHELD = "withheld"
    """There is no copy: it would belong to another organisation, and the two organisations have not both signed."""


@dataclass(frozen=True)
class Pushed:
    """One destination after a push, in names only. ``error`` and its class ``kind`` are empty unless it failed."""

    store: str
    name: str
    state: CopyState
    version: int
    fingerprint: str
    error: str = ""
    kind: str = ""

    @property
    def in_step(self) -> bool:
        """Whether the destination serves the version that it should."""
        return self.state not in (CopyState.STALE, CopyState.DRIFTED, CopyState.FAILED)


def sync_destinations(workspace: Workspace, path: str) -> list[Pushed]:
    """Push to all destinations in parallel and restart their workloads; failures are independent."""
    places, unknown = known_places(workspace, path)
    pushed = side_by_side(lambda destination: push_destination(workspace, path, destination), places)
    return [*restart_after_push(workspace, path, pushed, places), *unknown]


def look_at_copies(workspace: Workspace, path: str) -> list[Pushed]:
    """The state of every destination, by one read of CURRENT and without writing; errors are part of the result."""
    places, unknown = known_places(workspace, path)
    if not places:
        return unknown
    wanted = outcome_of(lambda: current(workspace, path))
    return [*side_by_side(lambda place: look_at_copy(workspace, wanted, place), places), *unknown]


def known_places(workspace: Workspace, path: str) -> tuple[tuple[Destination, ...], list[Pushed]]:
    """The places that the secret is pushed to, and a failure for each field pattern that can't be expanded."""
    try:
        return workspace.places(path), []
    except KeyturnError as error:
        patterns = patterns_of(workspace.catalogue, path)
        return plain_places(workspace.catalogue, path), [
            failed(pattern.store, pattern.place.name, error) for pattern in patterns
        ]


def restart_after_push(
    workspace: Workspace, path: str, pushed: Sequence[Pushed], places: Iterable[Destination]
) -> list[Pushed]:
    """The pushed copies after the restart of their workloads; where the restart is refused, the copy has failed."""
    return unless_refused(pushed, restart_users(workspace, restarting(workspace, places), path))


def unless_refused(pushed: Sequence[Pushed], refused: Mapping[str, KeyturnError]) -> list[Pushed]:
    """The pushed copies; a copy has failed where its store refused to restart its workloads."""
    return [unrestarted(p, refused[p.store]) if p.in_step and p.store in refused else p for p in pushed]


def unrestarted(pushed: Pushed, error: KeyturnError) -> Pushed:
    """A copy that is in sync, but whose workloads are not restarted."""
    return replace(
        pushed, state=CopyState.FAILED, error=f"who uses it is not restarted: {error.text}", kind=type(error).__name__
    )


def push_destination(workspace: Workspace, path: str, destination: Destination) -> Pushed:
    """Bring one destination to CURRENT; an error is part of the result, not raised."""
    pushed = outcome_of(lambda: carry(workspace, path, destination))
    return failed(destination.store, destination.name, pushed) if isinstance(pushed, KeyturnError) else pushed


def carry(workspace: Workspace, path: str, destination: Destination) -> Pushed:
    """Bring one destination to CURRENT and record that in the ledger. Raises the errors."""
    with record_action(workspace, "push", path, place=destination.label) as doing:
        pushed = converge(workspace, path, destination, ledger_version=ledger_versions(workspace, [path]).of.get(path))
        doing.version, doing.fingerprint, doing.note = pushed.version, pushed.fingerprint, str(pushed.state)
    return pushed


def look_at_copy(workspace: Workspace, wanted: HubSecret | KeyturnError, destination: Destination) -> Pushed:
    """The state of one destination of CURRENT, or of the error that reading it gave, without writing."""
    if isinstance(wanted, KeyturnError):
        return failed(destination.store, destination.name, wanted)
    looked = outcome_of(lambda: compare(workspace, wanted, destination)[0])
    return failed(destination.store, destination.name, looked) if isinstance(looked, KeyturnError) else looked


def converge(
    workspace: Workspace,
    path: str,
    destination: Destination,
    overtaken: int = 0,
    ledger_version: KnownVersion | None = None,
    *,
    labels: bool = False,
) -> Pushed:
    """Compare the marks and write where they differ. Raises all errors.

    Starts again where CURRENT changes meanwhile, so a slow run leaves no older value. ``overtaken`` is a version that
    this run wrote too late. Writes nothing where ``ledger_version`` or the copy is ahead of the hub. ``labels``: the
    caller found unwanted labels that ``describe`` doesn't show.
    """
    if refusal := agreement_refusal(workspace, path, destination.store, destination.name):
        return withhold(workspace, path, destination, refusal)
    for _ in range(ROUNDS):
        wanted = workspace.hub.read(path)
        if wanted is None:
            take_back(workspace, path, destination, overtaken, whole=True)
            raise nothing_to_push(workspace, path)
        if ledger_version and ledger_version.beyond(wanted.version):
            insist_on_newest(workspace, path, [ledger_version])
        wanted = with_previous(workspace, wanted, [destination])
        text = text_of(wanted, destination)
        marks = marked(workspace, wanted, destination, text)
        stands, copy = compare_by(workspace, marks, destination)
        if copy and copy.marks and newer_than(copy, marks):
            if current_version(workspace, path) != wanted.version:
                continue  # a rotation promoted between the two reads
            overtake(workspace, wanted, copy.marks.version)
        wanting = labels or (copy and (asks(workspace, destination, copy) or outlived_mark(workspace, copy)))
        if copy and stands.state is CopyState.IN_STEP and wanting:
            stands = label(workspace, wanted, destination, text, copy)
            if stands.state is CopyState.LABELLED and current_version(workspace, path) != wanted.version:
                continue
        if stands.state is CopyState.STALE:
            more = grown_copy(workspace, destination, copy, text, marks)
            text, marks = (more.text, more.marks) if more else (text, marks)
            marks = replace(marks, adopted=taken_over(workspace, destination, copy, path))
            stands = replace(write_copy(workspace, wanted, destination, text, marks, copy), version=wanted.version)
            difference = read_back(workspace, destination, marks)
            if current_version(workspace, path) != wanted.version:
                overtaken = wanted.version
                continue  # a late write may leave older marks, even where the value is newer
            if not still_beside(workspace, wanted, [destination]):
                continue  # the grace period of the previous version has ended
            if difference:
                raise not_as_written(destination, difference)
        take_back(workspace, path, destination, overtaken)
        return stands
    raise Conflict("push to", destination.label, "CURRENT keeps changing", "See who else writes the secret")


def withhold(workspace: Workspace, path: str, destination: Destination, refusal: Disagreement) -> Pushed:
    """Delete a copy that another organisation had, now that the two no longer agree. Absent is success."""
    store = workspace.open_copy(path, destination)
    copy = store.describe(destination.name)
    if copy and copy.marks and copy.intact and copy.marks.source == path and ours(workspace, copy.marks):
        with record_action(workspace, "end shared copy", path, place=destination.label, note=refusal.why):
            store.delete(destination.name)
        copy = None
    why = refusal.why + REMAINS if copy else refusal.why
    return Pushed(destination.store, destination.name, CopyState.WITHHELD, 0, "", why)


def take_back(workspace: Workspace, path: str, destination: Destination, version: int, *, whole: bool = False) -> None:
    """Remove what this run wrote of a ``version`` that was revoked meanwhile: everything if ``whole``, else old
    versions.

    The revocation may have checked the destination before this run wrote it.
    """
    if not version or not load_record(workspace, path).dead(version):
        return
    store = workspace.open_copy(path, destination)
    copy = store.describe(destination.name)
    if copy is None or copy.marks is None or copy.marks.source != path:
        return
    if not whole:
        store.purge_old_versions(destination.name)
        return
    try:
        store.purge(destination.name)
    except Denied:
        store.delete(destination.name)  # needs fewer permissions, and at least stops serving it
        raise


def create_copy(workspace: Workspace, wanted: HubSecret, destination: Destination, making: Creates) -> Pushed:
    """Create a copy where none was seen, without a check. Raises Taken where one exists.

    The caller checks afterwards whether ``wanted`` is still CURRENT, once for many copies.
    """
    insist_on_undoubted(workspace, wanted.path)
    wanted = with_previous(workspace, wanted, [destination])
    text = text_of(wanted, destination)
    check_fits(workspace, destination, text, wanted)
    marks = marked(workspace, wanted, destination, text)
    making.create(destination.name, text, marks, details=details_of(workspace, destination, wanted))
    return outcome(destination, CopyState.CREATED, marks)


def current(workspace: Workspace, path: str) -> HubSecret:
    """CURRENT. Raises NotFound when there is none to push."""
    if secret := workspace.hub.read(path):
        return secret
    raise nothing_to_push(workspace, path)


def nothing_to_push(workspace: Workspace, path: str) -> NotFound:
    """The error for a missing CURRENT: it never existed, or it can't be read and its copies stay."""
    info, record = workspace.hub.describe(path), load_record(workspace, path)
    if gone := describe_missing(info, record):
        return Missing("push", path, f"{gone}; its copies are left alone", remedies(path, info))
    return NotFound("push", path, *describe_none(path, record))


def current_version(workspace: Workspace, path: str) -> int:
    """The version number of CURRENT, without reading its value; 0 where it is deleted or destroyed."""
    info = workspace.hub.describe(path)
    return info.version if info and info.served else 0


def compare(workspace: Workspace, wanted: HubSecret, destination: Destination) -> tuple[Pushed, RemoteSecret | None]:
    """The state of the destination by its marks, and the copy found there."""
    wanted = with_previous(workspace, wanted, [destination])
    return compare_by(workspace, marks_of(workspace, wanted, destination), destination)


def compare_by(
    workspace: Workspace, marks: OwnershipTags, destination: Destination
) -> tuple[Pushed, RemoteSecret | None]:
    """The same as :func:`compare`, with the marks that the copy should carry."""
    copy = workspace.open_copy(marks.source, destination).describe(destination.name)
    if copy and copy.marks is None and stripped(workspace, marks.source, destination, marks.fingerprint):
        return outcome(destination, drifted(destination), marks), copy
    check_owned(workspace, destination, copy, marks.source)
    if copy and newer_than(copy, marks):
        insist_on_newest(workspace, marks.source, known_by(workspace, copy, marks.source, destination.label))
    refused = copy is not None and copy.marks is not None and workspace.fingerprint_keys.refuses(copy.marks.fingerprint)
    state = _standing(destination, copy, marks, refused=refused)
    if state is CopyState.STALE:
        insist_on_undoubted(workspace, marks.source)
    return outcome(destination, state, marks), copy


def insist_on_undoubted(workspace: Workspace, path: str) -> None:
    """Raises Ahead where the hub was restored and nothing proves that CURRENT was not revoked since."""
    if doubted := doubt(workspace, path):
        raise ahead(workspace, path, doubted)


def newer_than(copy: RemoteSecret, marks: OwnershipTags) -> bool:
    """Whether a copy's marks name a later version than ``marks``, so that the hub may be behind.

    False for a copy that holds the same secret: it is in sync.
    """
    held = copy.marks
    if held is None or held.source != marks.source or (vouches(held.fingerprint, marks.fingerprint) and not held.shape):
        return False
    later = held.created_at is not None and marks.created_at is not None and held.created_at > marks.created_at
    return later or held.version > marks.version


def known_by(workspace: Workspace, copy: RemoteSecret, path: str, label: str) -> list[KnownVersion]:
    """The version that a copy reports; none where another catalogue made it."""
    version = copy_version(copy, path, label)
    return [version] if version and copy.marks and ours(workspace, copy.marks) else []


def _standing(destination: Destination, copy: RemoteSecret | None, marks: OwnershipTags, *, refused: bool) -> CopyState:
    """The state of a copy, by its marks and the catalogue's policies.

    ``refused``: its marks were made with a key that is not trusted.
    """
    if copy is None or copy.marks is None or copy.marks.source != marks.source:
        return CopyState.STALE
    if copy.marks.catalogue not in (*UNCLAIMED, marks.catalogue):
        return CopyState.STALE
    if not copy.intact or refused:
        return drifted(destination)
    if vouches(copy.marks.fingerprint, marks.fingerprint) and not copy.outdated:
        return CopyState.IN_STEP
    keep = destination.update is Update.CREATE_ONLY or keeps(destination, copy, marks.version, marks.created_at)
    return CopyState.KEPT if keep else CopyState.STALE


def grown_copy(
    workspace: Workspace,
    destination: Destination,
    copy: RemoteSecret | None,
    text: Sensitive,
    marks: OwnershipTags,
    source: str = "",
) -> Grown | None:
    """The copy's text with the fields that it lacks; None where it is written from CURRENT alone.

    None for other update policies, and for a copy that is absent, adopted, drifted or equal to CURRENT. ``source`` is
    the copy's recorded name, during a rename.
    """
    if destination.update is not Update.ADD_FIELDS or copy is None or copy.marks is None or not copy.intact:
        return None
    held = copy.marks
    if held.source != (source or marks.source) or not ours(workspace, held) or theirs(copy):
        return None
    if workspace.fingerprint_keys.refuses(held.fingerprint):
        return None
    if vouches(held.fingerprint, workspace.fingerprint_of(held.source, text)) and not copy.outdated:
        return None
    return grown(workspace, destination, copy, text, marks)


def drifted(destination: Destination) -> CopyState:
    """The state of a copy that another writer has changed."""
    return CopyState.STALE if destination.drift is Drift.REPAIR else CopyState.DRIFTED


def stripped(workspace: Workspace, path: str, destination: Destination, digest: str) -> bool:
    """Whether a copy without marks is ours because it holds this very value; False where it can't be read."""
    store = workspace.open_copy(path, destination)
    if Unsupported.READ in store.unsupported:
        return False
    try:
        return vouches(digest, workspace.fingerprint_of(path, store.read(destination.name)))
    except TerminalError:
        return False


def text_of(wanted: HubSecret, destination: Destination) -> Sensitive:
    """The text of this version's copy. Raises Invalid where the shape can't render it."""
    try:
        return destination.shape.render(wanted.fields, wanted.previous.fields if wanted.previous else None)
    except Unfit as error:
        hint = "Correct the destination in the catalogue, or the secret; nothing was written"
        raise Invalid("make", destination.label, str(error), hint) from None


def marks_of(workspace: Workspace, wanted: HubSecret, destination: Destination) -> OwnershipTags:
    """The marks of this version's copy."""
    return marked(workspace, wanted, destination, text_of(wanted, destination))


def marked(workspace: Workspace, wanted: HubSecret, destination: Destination, text: Sensitive) -> OwnershipTags:
    """The marks of a copy that holds ``text``."""
    return OwnershipTags(
        wanted.path,
        wanted.version,
        workspace.fingerprint_of(wanted.path, text),
        destination.shape.marked(wanted.previous.version if wanted.previous else 0),
        wanted.created_at,
        workspace.catalogue.id,
        tags=beside.details(destination, workspace.catalogue.store(destination.store)).names,
    )


def label(
    workspace: Workspace, wanted: HubSecret, destination: Destination, text: Sensitive, copy: RemoteSecret
) -> Pushed:
    """Set the catalogue's labels on a copy that is in sync; rewrites the value where the store can't set them alone."""
    [shown] = [copy] if destination.merge else describe_copies(workspace, destination.store, [copy])
    store, marks = workspace.open_copy(wanted.path, destination), marked(workspace, wanted, destination, text)
    if shown.marks is None or not wrong_beside(workspace, destination, shown, wanted):
        if not outlived_mark(workspace, shown):
            return outcome(destination, CopyState.IN_STEP, marks)
        mark_anew(workspace, store, shown, text)
        return labelled(workspace, destination, wanted, marks)
    check_fits(workspace, destination, text, wanted)
    details = details_of(workspace, destination, wanted)
    laid = replace(shown.marks, tags=details.names, fingerprint=marks.fingerprint)
    try:
        store.relabel(destination.name, laid, details, shown)
    except UnsupportedOperation:
        store.write(destination.name, text, laid, shown, details=details)
    return labelled(workspace, destination, wanted, marks)


def labelled(workspace: Workspace, destination: Destination, wanted: HubSecret, marks: OwnershipTags) -> Pushed:
    """Check a copy after its labels or fingerprint were set. Raises Conflict where the store shows others.

    Raises nothing where CURRENT changed meanwhile, because another run has written the copy since.
    """

    def difference() -> str:
        copy = workspace.open_copy(wanted.path, destination).describe(destination.name)
        if copy is None or (problem := difference_of(destination, copy, marks)):
            return problem if copy else GONE
        [shown] = [copy] if destination.merge else describe_copies(workspace, destination.store, [copy])
        return wrong_beside(workspace, destination, shown, wanted) or outlived_mark(workspace, shown)

    problem = seen_soon(workspace, difference)
    if problem and current_version(workspace, wanted.path) == wanted.version:
        raise not_as_written(destination, problem)
    return outcome(destination, CopyState.LABELLED, marks)


def ours(workspace: Workspace, marks: OwnershipTags) -> bool:
    """Whether this catalogue made the copy, or one without an id: such a copy is taken over when written."""
    return marks.catalogue in (*UNCLAIMED, workspace.catalogue.id)


def taken_over(workspace: Workspace, destination: Destination, copy: RemoteSecret | None, path: str) -> bool:
    """Whether a copy was, or is now, adopted from another owner: it is never deleted."""
    if copy is None:
        return False
    if copy.marks is None:
        return destination.adopt
    return copy.marks.adopted or copy.marks.source != path or not ours(workspace, copy.marks) or bool(theirs(copy))


def theirs(copy: RemoteSecret | None) -> tuple[str, ...]:
    """The keys of a merged copy that another owner put there."""
    return copy.theirs if isinstance(copy, SeenPart) else ()


def check_owned(workspace: Workspace, destination: Destination, copy: RemoteSecret | None, path: str) -> None:
    """Raises NotOwned rather than overwrite another owner's copy, unless the catalogue adopts it."""
    if copy is None or destination.adopt:
        return
    name = destination.label
    if keys := theirs(copy):
        problem = f"the key {' and the key '.join(keys)} is there, and Keyturn has not put it there"
        raise NotOwned("merge into", name, problem, "Say `adopt: true` to take it over, or name the key otherwise")
    if copy.marks is None:
        hint = "Say `adopt: true` on the destination to take it over, or choose another name"
        raise NotOwned("push to", name, "a secret of that name exists and Keyturn has not made it", hint)
    if copy.marks.source != path:
        source = copy.marks.source
        rename = f"`keyturn repair rename {source} {path}`"
        hint = f"Choose another name, or `adopt: true`; where {source} was renamed: {rename}"
        raise NotOwned("push to", name, f"it is the copy of {source}", hint)
    if not ours(workspace, copy.marks):
        problem, hint = f"the catalogue {copy.marks.catalogue} has made it", "Choose another name, or `adopt: true`"
        raise NotOwned("push to", name, problem, hint)


def write_copy(
    workspace: Workspace,
    wanted: HubSecret,
    destination: Destination,
    value: Sensitive,
    marks: OwnershipTags,
    copy: RemoteSecret | None,
) -> Pushed:
    """Write the new value to the destination."""
    store = workspace.open_copy(wanted.path, destination)
    check_fits(workspace, destination, value, wanted)
    details = details_of(workspace, destination, wanted)
    if marks.grown:
        details = replace(details, expires_at=None)  # the values that it keeps may expire before CURRENT
    store.write(destination.name, value, marks, copy, details=details)
    return outcome(destination, CopyState.UPDATED if copy else CopyState.CREATED, marks)


def take_over_copy(workspace: Workspace, old: str, new: str, destination: Destination) -> Pushed:
    """Change the source of a copy from ``old`` to ``new`` and write CURRENT; an error is part of the result."""
    try:
        insist_on_undoubted(workspace, new)
        wanted = with_previous(workspace, current(workspace, new), [destination])
        text = text_of(wanted, destination)
        marks = marked(workspace, wanted, destination, text)
        copy = workspace.open_copy(new, destination).describe(destination.name)
        if copy and copy.marks and copy.marks.source == old:
            more = grown_copy(workspace, destination, copy, text, marks, old)
            text, marks = (more.text, more.under_a_new_name) if more else (text, marks)
            with record_action(workspace, "push", new, place=destination.label, note=f"it was the copy of {old}"):
                pushed = write_copy(workspace, wanted, destination, text, marks, copy)
                if problem := read_back(workspace, destination, marks):
                    raise not_as_written(destination, problem)
                return pushed
    except KeyturnError as error:
        return failed(destination.store, destination.name, error)
    return push_destination(workspace, new, destination)


def check_fits(workspace: Workspace, destination: Destination, value: Sensitive, wanted: HubSecret) -> None:
    """Check the store's limits, the expiry and the revocation. Raises Invalid, naming the limit.

    Raises Denied where it would go to another organisation and the two have not both signed.
    """
    insist_on_agreement(workspace, wanted.path, destination.store, destination.name)
    if flaw := refusal_of(workspace, destination, value) or refusal_of_whole(
        workspace, wanted.path, destination, value
    ):
        raise Invalid("push to", destination.label, flaw, "Change the name or the value; nothing was written")
    if flaw := outlives_copy(workspace, destination, wanted):
        raise Invalid("push to", destination.label, flaw, "Rotate it, or lengthen expires_after; nothing was written")
    if revoked := revoked_part(workspace, wanted):
        remedy = f"Replace it: keyturn rotate {wanted.path} --compromised; nothing was written"
        raise Invalid("push to", destination.label, f"{revoked} of CURRENT was revoked", remedy)


def revoked_part(workspace: Workspace, wanted: HubSecret) -> str:
    """The part of CURRENT that its target has revoked, where a check needs no login; empty for none."""
    declared = workspace.catalogue.secrets.get(wanted.path)
    if declared is None or not declared.rotation.tells_revoked:
        return ""
    teller = capability(workspace.open_strategy(wanted.path), TellsRevoked)
    return teller.revocation(wanted.fields) if teller else ""


def refusal_of(workspace: Workspace, destination: Destination, value: Sensitive | None) -> str | None:
    """The store limit that the name or value breaks; None where it keeps to all of them."""
    settings = workspace.catalogue.store(destination.store)
    if (flaw := settings.limits.refuses_name(destination.name)) or value is None:
        return flaw
    return settings.limits.refuses_size(len(value.reveal().encode())) or settings.refuses_value(value)


def refusal_of_whole(workspace: Workspace, path: str, destination: Destination, value: Sensitive) -> str | None:
    """Why the shared secret would be too large with the merged value in it; None for a copy that is not merged."""
    store = workspace.open_copy(path, destination)
    if not isinstance(store, Parts):
        return None
    problem = workspace.catalogue.store(destination.store).limits.refuses_size(store.size(destination.name, value))
    return f"{problem}, with the keys of others" if problem else None


def read_back(workspace: Workspace, destination: Destination, marks: OwnershipTags) -> str:
    """How the destination differs from what was written; empty where a plan would find it in sync.

    Where the store gives no value back, its marks and the time of its last change decide.
    """
    store = workspace.open_copy(marks.source, destination)

    def difference() -> str:
        if problem := difference_of(destination, store.describe(destination.name), marks):
            return problem
        if Unsupported.READ in store.unsupported:
            return ""
        read = workspace.fingerprint_of(marks.source, store.read(destination.name))
        return "" if vouches(marks.fingerprint, read) else "it serves another value than was written"

    return seen_soon(workspace, difference)


def seen_soon(workspace: Workspace, difference: Callable[[], str]) -> str:
    """The difference that the first check finds; empty where it, or a later one, finds none."""
    first = problem = difference()
    for pause in PAUSES:
        if not problem:
            break
        workspace.sleep(pause)
        problem = difference()
    return first if problem else ""


def difference_of(destination: Destination, copy: RemoteSecret | None, marks: OwnershipTags) -> str:
    """How a copy differs from what was written, by its marks alone; empty where it does not."""
    if copy is None:
        return GONE
    if _standing(destination, copy, marks, refused=False) is CopyState.IN_STEP:
        return ""
    return "the store shows another version, or other marks, than were written"


def not_as_written(destination: Destination, problem: str) -> Conflict:
    """The error for a copy that was written and is not in sync."""
    return Conflict("read back", destination.label, problem, "Find out what else writes there, and run it again")


def outcome(destination: Destination, state: CopyState, marks: OwnershipTags) -> Pushed:
    """The result for a destination, in names."""
    return Pushed(destination.store, destination.name, state, marks.version, marks.fingerprint)


def failed(store: str, name: str, error: KeyturnError) -> Pushed:
    """The result for a destination that could not be reached or written."""
    return Pushed(store, name, CopyState.FAILED, 0, "", error.text, type(error).__name__)
