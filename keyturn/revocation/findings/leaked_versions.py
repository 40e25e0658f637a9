"""Telling what has leaked from what came after it: versions of the hub, and copies."""

from collections.abc import Collection, Sequence
from typing import Final

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.spreading import all_places, has_pattern
from keyturn.core.errors import NotFound
from keyturn.core.fingerprint import is_noted, under_every_key, vouches
from keyturn.core.fingerprint_keys import generation_of
from keyturn.core.ports.hub import HubSecret
from keyturn.core.ports.stores import OwnershipTags, RemoteSecret, Store, Unsupported
from keyturn.core.ports.strategies import NO_CREDENTIAL
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.incidents.incident import Incident, LeakedVersion, Mode, SecretProgress
from keyturn.revocation.other_fields import leaked_fields, secret_digests
from keyturn.revocation.selector import digests_beside, version_fingerprints
from keyturn.rotation.state.context import Workspace

UNKNOWN: Final = "unknown"
"""What stands for the fingerprint of a copy that nobody can read, and whose marks don't tell what it serves."""


def credential_digest(workspace: Workspace, secret: HubSecret) -> str:
    """The fingerprint of what a rotation replaces in a version, whatever stands beside it; empty without any."""
    makes = set(workspace.open_strategy(secret.path).credential_fields) - NO_CREDENTIAL
    held = {name: value for name, value in secret.fields.reveal().items() if name in makes}
    return workspace.fingerprint(secret.path, SecretFields(held)) if held else ""


def leaked_version(workspace: Workspace, secret: HubSecret, older: Sequence[HubSecret] = ()) -> LeakedVersion:
    """What a leaked version is known by afterwards, also in copies that gave one of the ``older`` beside it."""
    digests: dict[str, tuple[str, ...]] = {}
    fingerprints = version_fingerprints(workspace, secret)
    for place, digest in digests_beside(workspace, secret, older):
        digests[place] = (*digests.get(place, ()), *sorted(under_every_key(digest)))
    for place, digest in fingerprints.items():
        digests[place] = (*digests.get(place, ()), *sorted(under_every_key(digest) - {digest}))
    beside = {place: some for place, some in digests.items() if some}
    credential, fields = credential_digest(workspace, secret), secret_digests(workspace, secret)
    return LeakedVersion(secret.version, fingerprints, credential, beside, fields)


def last_leaked(progress: SecretProgress) -> int:
    """The newest of the hub's versions that the cut was about."""
    return progress.cut_version or max((version.version for version in progress.old), default=0)


def holds_leaked(workspace: Workspace, progress: SecretProgress, version: HubSecret) -> bool:
    """Whether a version holds a value that has leaked, or the credential of one among other fields."""
    whole = {leaked.fingerprints.get("", "") for leaked in progress.old}
    credentials = {leaked.credential for leaked in progress.old} - {""}
    made, credential = workspace.fingerprint(version.path, version.fields), credential_digest(workspace, version)
    return is_noted(whole, made) or is_noted(credentials, credential)


def keeps_leaked(workspace: Workspace, incident: Incident, progress: SecretProgress, version: HubSecret) -> bool:
    """Whether a version that came after the cut kept a field that leaked: its credential is a new one."""
    if version.version <= last_ended(incident, progress) or version.version <= last_leaked(progress):
        return False
    credentials = {leaked.credential for leaked in progress.old} - {""}
    fresh = not is_noted(credentials, credential_digest(workspace, version))
    return fresh and bool(leaked_fields(workspace, progress, version.fields))


def last_ended(incident: Incident, progress: SecretProgress) -> int:
    """The newest version that is old by its number: what somebody wrote before the replacement was replaced too."""
    return max(last_leaked(progress), progress.version - 1 if incident.mode is Mode.REPLACE else 0)


def has_leaked(
    workspace: Workspace, incident: Incident, progress: SecretProgress, version: HubSecret, newest: int
) -> bool:
    """Whether a version is one of those that were ended, or holds what one of them held. ``newest`` is the hub's.

    Whatever somebody wrote between the cut and the replacement is old too: it was replaced.
    """
    last = last_ended(incident, progress)
    # What was noted then is known by its value. Of a secret that was removed and made anew the numbers begin again.
    noted = version.version in {leaked.version for leaked in progress.old}
    return holds_leaked(workspace, progress, version) or (not noted and version.version <= last <= newest)


def incident_places(workspace: Workspace, progress: SecretProgress) -> tuple[Destination, ...]:
    """Every place that the secret is pushed to; of a pattern that of each field of CURRENT, and none without CURRENT.

    What fields of a leaked version have left elsewhere are strays. Raises what keeps CURRENT from being read: nothing
    is proven by what could not be looked at.
    """
    catalogue, path = workspace.catalogue, progress.path
    current = workspace.hub.read(path) if has_pattern(catalogue, path) else None
    return all_places(catalogue, path, current.fields if current else ())


def leaked_digests(progress: SecretProgress, place: Destination) -> set[str]:
    """The fingerprints by which a leaked value is known in this place."""
    alone = {leaked.fingerprints.get(place.label, "") for leaked in progress.old} - {""}
    return alone | {digest for leaked in progress.old for digest in leaked.beside.get(place.label, ())}


def marked_before(progress: SecretProgress, marks: OwnershipTags) -> bool:
    """Whether a copy is of a version from before the cut; where the hub's history was removed, any may be."""
    return marks.version <= last_leaked(progress) or any(version.version == 0 for version in progress.unseen)


def leaked_digest_served(
    workspace: Workspace, progress: SecretProgress, store: Store, place: Destination, copy: RemoteSecret | None
) -> str:
    """The fingerprint of the leaked value that a copy serves, or may serve; empty for any other.

    What the hub had forgotten before the cut is known by the marks alone. Where a version could not be looked at, any
    value may be its own that no newer version is known to have.
    """
    marks = copy.marks if copy and copy.marks and copy.marks.source == progress.path else None
    before = marks is not None and marked_before(progress, marks)
    leaks = leaked_digests(progress, place) | ({marks.fingerprint} if marks and before else set())
    if Unsupported.READ in store.unsupported:
        return digest_by_marks(copy, marks, leaks)
    try:
        digest = workspace.fingerprint_of(progress.path, store.read(place.name))
    except NotFound:
        return ""
    newer = marks is not None and not before and vouches(marks.fingerprint, digest)
    return digest if is_noted(leaks, digest) or (progress.unseen and not newer) else ""


def digest_by_marks(copy: RemoteSecret | None, marks: OwnershipTags | None, leaks: set[str]) -> str:
    """The same of a copy that nobody can read: Keyturn's marks tell, unless somebody else has written since."""
    if copy is None:
        return ""
    if marks is not None and marks.fingerprint in leaks:
        return marks.fingerprint or UNKNOWN
    if marks is not None and not comparable(marks.fingerprint, leaks):
        return marks.fingerprint
    return "" if copy.marks is not None and copy.intact else UNKNOWN


def comparable(mark: str, leaks: Collection[str]) -> bool:
    """Whether a mark that is none of ``leaks`` is of no leaked value: nothing is proven by one of another key."""
    return not leaks or generation_of(mark) in map(generation_of, leaks)
