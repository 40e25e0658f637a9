"""Distinguishes leaked versions and copies from newer ones."""

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
from keyturn.revocation.copy_fingerprints import digests_beside, version_fingerprints
from keyturn.revocation.incidents.incident import Incident, LeakedVersion, Mode, SecretProgress
from keyturn.revocation.other_fields import leaked_fields, secret_digests
from keyturn.rotation.state.context import Workspace

UNKNOWN: Final = "unknown"
"""The fingerprint of an unreadable copy whose marks do not show its value."""


def credential_digest(workspace: Workspace, secret: HubSecret) -> str:
    """The fingerprint of the fields that a rotation replaces, else empty."""
    makes = set(workspace.open_strategy(secret.path).credential_fields) - NO_CREDENTIAL
    held = {name: value for name, value in secret.fields.reveal().items() if name in makes}
    return workspace.fingerprint(secret.path, SecretFields(held)) if held else ""


def leaked_version(workspace: Workspace, secret: HubSecret, older: Sequence[HubSecret] = ()) -> LeakedVersion:
    """The fingerprints of a leaked version, also of copies that gave an ``older`` one too."""
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
    """The newest hub version that the cut covers."""
    return progress.cut_version or max((version.version for version in progress.old), default=0)


def holds_leaked(workspace: Workspace, progress: SecretProgress, version: HubSecret) -> bool:
    """Whether a version contains a leaked value, or its credential with other fields."""
    whole = {leaked.fingerprints.get("", "") for leaked in progress.old}
    credentials = {leaked.credential for leaked in progress.old} - {""}
    made, credential = workspace.fingerprint(version.path, version.fields), credential_digest(workspace, version)
    return is_noted(whole, made) or is_noted(credentials, credential)


def keeps_leaked(workspace: Workspace, incident: Incident, progress: SecretProgress, version: HubSecret) -> bool:
    """Whether a version after the cut has a new credential, and a leaked field."""
    if version.version <= last_ended(incident, progress) or version.version <= last_leaked(progress):
        return False
    credentials = {leaked.credential for leaked in progress.old} - {""}
    fresh = not is_noted(credentials, credential_digest(workspace, version))
    return fresh and bool(leaked_fields(workspace, progress, version.fields))


def last_ended(incident: Incident, progress: SecretProgress) -> int:
    """The newest version that is old by its number, up to the replacement."""
    return max(last_leaked(progress), progress.version - 1 if incident.mode is Mode.REPLACE else 0)


def has_leaked(
    workspace: Workspace, incident: Incident, progress: SecretProgress, version: HubSecret, newest: int
) -> bool:
    """Whether a version was ended, or contains an ended value; ``newest`` is the hub's number.

    Versions between the cut and the replacement count too.
    """
    last = last_ended(incident, progress)
    # Noted versions are known by their value. After a secret was removed and created again, numbers restart.
    noted = version.version in {leaked.version for leaked in progress.old}
    return holds_leaked(workspace, progress, version) or (not noted and version.version <= last <= newest)


def incident_places(workspace: Workspace, progress: SecretProgress) -> tuple[Destination, ...]:
    """Every destination of the secret; a pattern has one for each field of CURRENT.

    Copies of other leaked fields are strays. Raises if CURRENT can't be read: nothing is proven without it.
    """
    catalogue, path = workspace.catalogue, progress.path
    current = workspace.hub.read(path) if has_pattern(catalogue, path) else None
    return all_places(catalogue, path, current.fields if current else ())


def leaked_digests(progress: SecretProgress, place: Destination) -> set[str]:
    """The fingerprints of leaked values in this place."""
    alone = {leaked.fingerprints.get(place.label, "") for leaked in progress.old} - {""}
    return alone | {digest for leaked in progress.old for digest in leaked.beside.get(place.label, ())}


def marked_before(progress: SecretProgress, marks: OwnershipTags) -> bool:
    """Whether a copy is from before the cut; any may be after a loss of the hub's history."""
    return marks.version <= last_leaked(progress) or any(version.version == 0 for version in progress.unseen)


def leaked_digest_served(
    workspace: Workspace, progress: SecretProgress, store: Store, place: Destination, copy: RemoteSecret | None
) -> str:
    """The fingerprint of the leaked value that a copy serves or may serve, else empty.

    Values that the hub lost before the cut are known only by marks. If any version was unreadable, only a newer
    version's value is safe.
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
    """The same for an unreadable copy, by Keyturn's marks."""
    if copy is None:
        return ""
    if marks is not None and marks.fingerprint in leaks:
        return marks.fingerprint or UNKNOWN
    if marks is not None and not comparable(marks.fingerprint, leaks):
        return marks.fingerprint
    return "" if copy.marks is not None and copy.intact else UNKNOWN


def comparable(mark: str, leaks: Collection[str]) -> bool:
    """Whether a mark outside ``leaks`` excludes a leak; a mark of another key does not."""
    return not leaks or generation_of(mark) in map(generation_of, leaks)
