"""Proving the end: no place gives the old value, and the target refuses it."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace

from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import NotFound, UnsupportedOperation
from keyturn.core.fingerprint import is_noted, under_every_key, vouches
from keyturn.core.ports.hub import HubSecret
from keyturn.core.ports.stores import RemoteSecret, Store, Unsupported
from keyturn.core.rotation_record import INCIDENT_NOTE, Rotation
from keyturn.pages.words import ranges
from keyturn.revocation.by_place import find_reopened
from keyturn.revocation.copy_fingerprints import version_fingerprints
from keyturn.revocation.elsewhere import prove_stores
from keyturn.revocation.end_credentials import target_name
from keyturn.revocation.findings.leaked_versions import (
    has_leaked,
    holds_leaked,
    incident_places,
    keeps_leaked,
    last_ended,
    leaked_digest_served,
    leaked_digests,
    leaked_version,
)
from keyturn.revocation.incidents.incident import STEPS, Incident, Mode, SecretProgress, Step, Unseen
from keyturn.revocation.incidents.store import find_incident, load_progress
from keyturn.revocation.left_out import prove_complete
from keyturn.revocation.other_fields import prove_kept_fields
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.purge import describe_served
from keyturn.revocation.readable_versions import Sight, is_finished_cut, read_versions
from keyturn.revocation.step_result import StepResult
from keyturn.rotation.copies.previous_version import with_previous
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.record_store import load_whatever


def prove_secret(workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult) -> None:
    """Check that the hub gives no leaked version, and no store the value of one.

    The steps that remove a returned value start again.
    """
    prove_target(workspace, progress, result)
    prove_complete(workspace, progress.path, result)
    prove_stores(workspace, progress, result)
    places = incident_places(workspace, progress)
    current = prove_hub(workspace, incident, progress, result)
    prove_kept_fields(workspace, incident.mode, progress, current, result)
    current = current and with_previous(workspace, current, places)
    fresh = version_fingerprints(workspace, current) if current else {}
    side_by_side(lambda place: prove_copy(workspace, progress, place, fresh.get(place.label, ""), result), places)
    if not result.left:
        result.changes |= {"clear_at": workspace.clock()}
        for hidden in progress.unseen:
            result.add_done("", f"could not check {hidden.words}: all was ended by its place at the target")
        result.add_done("", "the old value is refused, and found nowhere that it could be removed from")


def prove_copy(
    workspace: Workspace, progress: SecretProgress, place: Destination, fresh: str, result: StepResult
) -> None:
    """Check whether one copy gives a leaked value; ``fresh`` is the expected fingerprint."""
    with result.checking(CheckSubject.COPY, place.label):
        faults = list(copy_faults(workspace, progress, place, fresh))
        for fault in faults:
            result.check(CheckSubject.COPY, place.label, CheckAnswer.REMAINING, fault, "It is tried again")
            result.again |= {Step.PUSH, Step.FORGET}
        if not faults:
            check_irrevocable(progress, CheckSubject.COPY, place.label, result)


def check_irrevocable(progress: SecretProgress, subject: CheckSubject, place: str, result: StepResult) -> None:
    """Record a clear place, or one where only something irrevocable remains."""
    words = "; ".join(line.removeprefix(f"{place}: ") for line in progress.remains if line.startswith(f"{place}: "))
    remaining = CheckAnswer.CLEAR
    if words:
        remaining = CheckAnswer.REFUSED if progress.refused_at else CheckAnswer.IRREVOCABLE
    if remaining is CheckAnswer.REFUSED:
        words = f"the target refuses its value; {words}"
    result.check(subject, place, remaining, words)


def prove_hub(
    workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult
) -> HubSecret | None:
    """Check the hub, and return the version in force; None without one, or if it leaked."""
    sight = read_versions(workspace, progress.path, last_ended(incident, progress))
    last, versions, faults = sight.last, sight.versions, len(result.left)
    prove_sight(incident, progress, sight, result)
    old = [version for version in versions if has_leaked(workspace, incident, progress, version, last)]
    if old:
        numbers = ", ".join(str(version.version) for version in old)
        words = f"the hub still gives version {numbers}"
        result.check(CheckSubject.HUB, "", CheckAnswer.REMAINING, words, "It is tried again")
        result.again.add(Step.HUB)
    prove_replaced(workspace, incident, progress, sight, result)
    current = next((version for version in versions if version.version == last and version not in old), None)
    if incident.mode is Mode.REPLACE and any(
        version.version == last and holds_leaked(workspace, progress, version) for version in old
    ):
        words = f"the old value was written to the hub again, as version {last}"
        result.check(CheckSubject.HUB, "", CheckAnswer.REMAINING, words)
        result.again |= {step for step in STEPS[incident.mode] if step is not Step.CUT}
    elif incident.mode is Mode.REPLACE and refuses(workspace, progress.path, current):
        hint = f"Run `keyturn rotate {progress.path} --now`, unless a rotation is at work"
        words = f"the target refuses version {last}, which is in force"
        result.check(CheckSubject.HUB, "", CheckAnswer.REMAINING, words, hint)
    if len(result.left) == faults:
        gone = ranges([old.version for old in progress.old if old.version])
        result.check(CheckSubject.HUB, "", CheckAnswer.CLEAR, f"it gives none of the versions {gone}" if gone else "")
    return current


def prove_replaced(
    workspace: Workspace, incident: Incident, progress: SecretProgress, sight: Sight, result: StepResult
) -> None:
    """Check the hub for older replacements that kept a leaked field; they count as leaked."""
    numbered = {leaked.version for leaked in progress.old}
    keeping = [
        version
        for version in sight.versions
        if version.version not in {*numbered, sight.last} and keeps_leaked(workspace, incident, progress, version)
    ]
    if not keeping:
        return
    numbers = ", ".join(str(version.version) for version in keeping)
    words = f"the hub still gives version {numbers}, which kept a field that leaked"
    result.check(CheckSubject.HUB, "", CheckAnswer.REMAINING, words, "It is tried again")
    leaked = (
        replace(leaked_version(workspace, version, sight.versions), credential="", fields={}) for version in keeping
    )
    result.changes |= {"old": (*progress.old, *leaked)}
    result.again |= {Step.HUB}


def refuses(workspace: Workspace, path: str, current: HubSecret | None) -> bool:
    """Whether the target refuses the version in force."""
    return current is not None and workspace.open_strategy(path).accepts(current.fields) is False


def prove_target(workspace: Workspace, progress: SecretProgress, result: StepResult) -> None:
    """Check that the target refuses what leaked, and ended unreadable versions by their place."""
    place, faults = target_name(workspace, progress.path), len(result.left)

    def unproven(answer: CheckAnswer, words: str, hint: str) -> None:
        result.check(CheckSubject.TARGET, place, answer, words, hint)

    by_hand = "End it there by hand, then give the incident up, with that as the reason"
    if Step.HUB not in progress.done:
        unproven(CheckAnswer.UNKNOWN, "it is not proven that the target refuses the old value", "")
    if progress.placeless and (unseen := still_unseen(workspace, progress)):
        words = "; ".join(version.words for version in unseen)
        hint = "See by hand that nothing takes it any more, then give the incident up, with that as the reason"
        unproven(CheckAnswer.UNKNOWN, f"not proven: could not look at {words}, and {progress.placeless}", hint)
    for version in (version for version in progress.unseen if version.accepted):
        unproven(CheckAnswer.UNKNOWN, f"not proven: {version.words}", by_hand)
    with result.checking(CheckSubject.TARGET, place):
        for name in find_reopened(workspace, progress):
            words = f"the target still accepts a login by {name}, though all was ended"
            unproven(CheckAnswer.REMAINING, words, "It is ended again")
            result.again |= {Step.CUT, Step.HUB}
    if len(result.left) == faults:
        result.check(CheckSubject.TARGET, place, *target_answer(workspace, progress))


def target_answer(workspace: Workspace, progress: SecretProgress) -> tuple[CheckAnswer, str]:
    """The answer for a target at which nothing is left to end."""
    if progress.outlives:
        return CheckAnswer.IRREVOCABLE, "; ".join(progress.outlives)
    if progress.refused_at:
        return CheckAnswer.CLEAR, f"refused at {progress.refused_at:%Y-%m-%d %H:%M:%S} UTC"
    if progress.placed:
        return CheckAnswer.CLEAR, "all was ended by its place"
    if not workspace.target(progress.path):
        return CheckAnswer.NONE, "there is no target that could be asked"
    return CheckAnswer.IRREVOCABLE, "ended there, and not seen to be refused: no version could be tried"


def still_unseen(workspace: Workspace, progress: SecretProgress) -> Sequence[Unseen]:
    """The unseen versions that no other incident has read and ended."""
    if not progress.unseen:
        return ()
    cuts = (past for past in load_whatever(workspace, progress.path).history if is_finished_cut(past, progress.path))
    others = (past for past in cuts if past.token != progress.token)
    ended = max((past.base_version for past in others if saw_all(workspace, past, progress.path)), default=-1)
    return [version for version in progress.unseen if version.version > ended]


def saw_all(workspace: Workspace, cut: Rotation, path: str) -> bool:
    """Whether the incident of this cut could read every version; False if unknown."""
    incident = find_incident(workspace, cut.note.removeprefix(INCIDENT_NOTE))
    return incident is not None and not load_progress(workspace, incident, path).unseen


def prove_sight(incident: Incident, progress: SecretProgress, sight: Sight, result: StepResult) -> None:
    """Check whether every version could be read, and a required one is in force."""
    for version in sight.unseen:
        if not version.destroyed:
            words = f"not proven: could not look at {version.words}"
            result.check(CheckSubject.HUB, "", CheckAnswer.UNKNOWN, words, "Give this login the rights that it lacks")
            result.again |= {Step.HUB} if version.version <= last_ended(incident, progress) else set()
    if incident.mode is Mode.REPLACE and progress.version and not sight.served:
        what = f"version {sight.last} is deleted" if sight.last else "the secret was removed"
        words = f"nothing is in force in the hub: {what}"
        result.check(CheckSubject.HUB, "", CheckAnswer.REMAINING, words, f"See `keyturn rotate {progress.path}`")


def copy_faults(workspace: Workspace, progress: SecretProgress, place: Destination, fresh: str) -> Iterator[str]:
    """Yield the faults of one copy: it serves a leaked value, or an old version gives one.

    ``fresh`` is the expected fingerprint; an equal old value, such as a host name, is no leak.
    """
    store = workspace.open_copy(progress.path, place)
    copy = store.describe(place.name)
    digest = leaked_digest_served(workspace, progress, store, place, copy)
    if digest and not vouches(digest, fresh):
        ours = copy is None or copy.marks is not None
        whose = "" if ours else ", and Keyturn has not made it: remove it there by hand"
        yield f"{describe_served(progress, place, digest)}{whose}"
    elif (
        copy
        and fresh
        and place.shape.tells_previous
        and not serves_fresh(digest_served(workspace, progress.path, store, place, copy), fresh)
    ):
        yield "it may serve the old value next to the new one: its text is not as expected"
    for version in leaking_versions(
        workspace, progress.path, store, place, leaked_digests(progress, place) - under_every_key(fresh)
    ):
        # Reported already as something that the service can't remove.
        if not any(words.startswith(f"{place.label}: version {version} ") for words in progress.remains):
            yield f"version {version} still gives the old value"


def serves_fresh(digest: str, fresh: str) -> bool:
    """Whether the copy's digest is the expected one, or empty."""
    return not digest or vouches(digest, fresh)


def digest_served(workspace: Workspace, path: str, store: Store, place: Destination, copy: RemoteSecret) -> str:
    """The fingerprint that a copy serves, by its marks if the store can't be read."""
    if Unsupported.READ in store.unsupported:
        return copy.marks.fingerprint if copy.marks and copy.intact else ""
    try:
        return workspace.fingerprint_of(path, store.read(place.name))
    except NotFound:
        return ""


def leaking_versions(
    workspace: Workspace, path: str, store: Store, place: Destination, leaks: Set[str]
) -> Iterator[str]:
    """The copy's old versions that give a leaked value, by the store's names."""
    try:
        past = store.old_versions(place.name)
    except UnsupportedOperation:
        return
    yield from (version for version, value in past.items() if is_noted(leaks, workspace.fingerprint_of(path, value)))
