"""Removing the old value wherever it is still stored, once a new one exists."""

from dataclasses import replace
from typing import Any

from keyturn.catalogue.destinations import Destination, Update
from keyturn.core.errors import KeyturnError, NotFound
from keyturn.core.fingerprint import is_noted, shown, vouches
from keyturn.core.ports.hub import HubSecret
from keyturn.core.ports.stores import RemoteSecret, Store, Unsupported
from keyturn.revocation.copy_fingerprints import version_fingerprints
from keyturn.revocation.end_credentials import end_late
from keyturn.revocation.findings.leaked_versions import (
    UNKNOWN,
    has_leaked,
    holds_leaked,
    incident_places,
    keeps_leaked,
    last_ended,
    last_leaked,
    leaked_digest_served,
    leaked_digests,
    leaked_version,
)
from keyturn.revocation.incidents.incident import Incident, Mode, SecretProgress, Step
from keyturn.revocation.other_fields import fields_beside
from keyturn.revocation.readable_versions import Sight, read_versions
from keyturn.revocation.step_result import StepResult
from keyturn.rotation.copies.previous_version import with_previous
from keyturn.rotation.repair.record_upkeep import remove_leftovers_of
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.record_store import load_record, rewrite


def clear_hub(workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult) -> None:
    """Destroy every leaked version, unless the target accepts it or fails to answer.

    A version it still accepts is ended again, and kept while that fails: only its holder can retry. Clean versions
    after the cut are kept, and those put in force by hand before the replacement until consumers were notified.
    """
    if Step.CUT not in progress.done:
        return result.add_left("", "the old value is kept until its sessions are ended")
    if incident.mode is Mode.REPLACE and Step.REPLACE not in progress.done:
        return result.add_left("", "the hub still serves the old value, since there is no new one")
    bound = last_ended(incident, progress)
    sight = read_versions(workspace, progress.path, bound)
    last = sight.last
    old = [version for version in sight.versions if has_leaked(workspace, incident, progress, version, last)]
    if incident.mode is Mode.REPLACE:
        old = [version for version in old if version.version != last]
    keeping = {version.version for version in old if keeps_leaked(workspace, incident, progress, version)}
    old = [version for version in old if version.version not in keeping]
    accepted = {version.version: still_accepted(workspace, progress, version, result) for version in old}
    doomed = [number for number, taken in accepted.items() if not taken]
    if last in doomed and not keep_rest(workspace, progress.path):
        result.add_left(
            "", f"version {last} is kept until the rotation that is at work is over", "It continues by itself"
        )
        doomed.remove(last)
    doomed += [version for version in keeping if not waits_in_grace(workspace, progress.path, version)]
    doomed += destroyable_unseen(workspace, progress, sight, bound, result)
    workspace.hub.destroy(progress.path, doomed)
    remove_leftovers_of(workspace, progress.path)
    if doomed:
        result.add_done("", f"destroyed version{'s' if len(doomed) > 1 else ''} {', '.join(map(str, sorted(doomed)))}")
    result.changes = seen_since_cut(workspace, progress, sight)
    if False in accepted.values() and not result.left:
        result.changes |= {"refused_at": progress.refused_at or workspace.clock()}
    return None


def seen_since_cut(workspace: Workspace, progress: SecretProgress, sight: Sight) -> dict[str, Any]:
    """New facts about versions that were unreadable at the cut."""
    hidden = {unseen.version for unseen in progress.unseen}
    read = {version.version: version for version in sight.versions if version.version in hidden}
    if not read:
        return {}
    old = (leaked_version(workspace, version, sight.versions) for version in read.values())
    return {
        "old": (*progress.old, *old),
        "unseen": tuple(unseen for unseen in progress.unseen if unseen.version not in read),
    }


def waits_in_grace(workspace: Workspace, path: str, version: int) -> bool:
    """Whether a version's credential is in its grace period."""
    retiring = load_record(workspace, path).retiring
    return retiring is not None and retiring.base_version == version


def destroyable_unseen(
    workspace: Workspace, progress: SecretProgress, sight: Sight, bound: int, result: StepResult
) -> list[int]:
    """The unreadable old versions to destroy; without an end by place, they are kept and reported."""
    hidden = [version for version in sight.unseen if version.version <= bound and not version.destroyed]
    if not progress.placeless:
        return [version.version for version in hidden]
    for version in hidden:
        result.add_left(
            f"version {version.version}", f"could not check it: {version.why}", "Give the login these rights"
        )
    return []


def still_accepted(
    workspace: Workspace, progress: SecretProgress, version: HubSecret, result: StepResult
) -> bool | None:
    """Whether the target still accepts a version, which is reported; None where unknown."""
    strategy = workspace.open_strategy(version.path)
    try:
        taken = strategy.accepts(version.fields)
        if taken and is_in_use(workspace, progress, version):
            hint = "It has not leaked, and ends once they were"
            result.add_left(f"version {version.version}", "its consumers are still to be notified of the new one", hint)
            return True
        if taken and end_late(workspace, version):
            taken = strategy.accepts(version.fields)
    except KeyturnError as error:
        result.add_failure(f"version {version.version}", error)
        return True
    if taken:
        result.add_left(f"version {version.version}", "the target still accepts it", "It is tried again")
    return taken


def is_in_use(workspace: Workspace, progress: SecretProgress, version: HubSecret) -> bool:
    """Whether a version since the cut serves consumers that no run has tried to notify."""
    if version.version <= last_leaked(progress) or holds_leaked(workspace, progress, version):
        return False
    tried = Step.NOTIFY in progress.done or any(words.startswith(f"{Step.NOTIFY}: ") for words in progress.left)
    return not tried and bool(workspace.secret(version.path).consumers)


def keep_rest(workspace: Workspace, path: str) -> bool:
    """Store fields outside the credential, such as a port, where only Keyturn can read them.

    False while a rotation uses the version to destroy.
    """
    current, record = workspace.hub.read(path), load_record(workspace, path)
    rest = fields_beside(workspace, path, [current]) if current else None
    if rest is None:
        return True
    if rest and record.open is None and record.rest is None:
        rewrite(workspace, path, replace(record, rest=rest))
    return record.open is None


def clear_stores(workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult) -> None:
    """Remove old versions, and without a replacement the copies; report what can't be removed."""
    places = incident_places(workspace, progress)
    current = workspace.hub.read(progress.path) if incident.mode is Mode.REPLACE else None
    current = current and with_previous(workspace, current, places)
    fresh = version_fingerprints(workspace, current) if current else {}

    def one(place: Destination) -> None:
        with result.at(place.label):
            clear_place(workspace, incident, progress, place, fresh.get(place.label, ""), result)

    side_by_side(one, places)


def clear_place(
    workspace: Workspace,
    incident: Incident,
    progress: SecretProgress,
    place: Destination,
    fresh: str,
    result: StepResult,
) -> None:
    """Clear one copy, once it has its new value."""
    store = workspace.open_copy(progress.path, place)
    copy = store.describe(place.name)
    if copy is None and incident.mode is Mode.REPLACE and not place.merge:
        return None
    if copy is not None and (copy.marks is None or copy.marks.source != progress.path):
        return result.add_done(place.label, "it is not Keyturn's, and left alone")
    if incident.mode is Mode.REPLACE:
        digest = leaked_digest_served(workspace, progress, store, place, copy)
        if digest and not vouches(digest, fresh):
            advice = f"Its destination says {place.update}: write it there by hand"
            hint = advice if place.update is not Update.REPLACE else ""
            return result.add_left(place.label, f"{describe_served(progress, place, digest)} still", hint)
    remaining = remove_copy(workspace, incident, progress, store, place, copy)
    for words in remaining:
        result.add_remaining(place.label, words)
    return result.add_done(
        place.label, "old versions are removed" if not remaining else "removed what the service can remove"
    )


def remove_copy(
    workspace: Workspace,
    incident: Incident,
    progress: SecretProgress,
    store: Store,
    place: Destination,
    copy: RemoteSecret | None,
) -> tuple[str, ...]:
    """Remove one copy's old versions, or all of it, and return what remains, in words.

    An empty copy is removed, since its value could be restored.
    """
    if incident.mode is Mode.REPLACE:
        return store.purge_old_versions(place.name)
    if copy is None or leaked_digest_served(workspace, progress, store, place, copy) or not serves_any(store, place):
        return store.purge(place.name)
    return store.purge_old_versions(place.name)


def describe_served(progress: SecretProgress, place: Destination, digest: str) -> str:
    """Text about a copy's value: the old one, or one that could not be compared."""
    if digest == UNKNOWN:
        return "it may serve the old value: the store returns none, and something other than Keyturn wrote there"
    if is_noted(leaked_digests(progress, place), digest) or not progress.unseen:
        return f"it serves the old value (fingerprint {shown(digest)})"
    return f"it may serve an old value, which could not be checked in the hub (fingerprint {shown(digest)})"


def serves_any(store: Store, place: Destination) -> bool:
    """Whether a copy serves anything; True if it can't be read."""
    try:
        return Unsupported.READ in store.unsupported or bool(store.read(place.name))
    except NotFound:
        return False
