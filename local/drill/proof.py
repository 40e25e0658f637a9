"""The drill's own look for the leaked values, whatever the engine says of them."""

from collections.abc import Callable, Iterator, Sequence

from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import KeyturnError, NotFound
from keyturn.core.ports.hub import HubSecret
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.revocation.copy_fingerprints import version_fingerprints
from keyturn.revocation.incidents.incident import SecretProgress
from keyturn.revocation.readable_versions import readable_versions
from keyturn.rotation.state.context import Workspace


def found(
    workspace: Workspace,
    progress: SecretProgress,
    leaked: Sequence[HubSecret],
    tries: Callable[[SecretFields], bool | None],
) -> Iterator[str]:
    """Where a leaked value still is, or is accepted, in words. What the engine has told to remain is not told again."""
    values = {workspace.fingerprint(progress.path, version.fields) for version in leaked}
    yield from (
        f"version {secret.version} is not seen to be refused" for secret in leaked if tries(secret.fields) is not False
    )
    for secret in readable_versions(workspace, progress.path):
        if workspace.fingerprint(secret.path, secret.fields) in values:
            yield f"the hub still gives a leaked value, as version {secret.version}"
    current = workspace.hub.read(progress.path)
    fresh = version_fingerprints(workspace, current) if current else {}
    for place in workspace.places(progress.path):
        leaks = {version_fingerprints(workspace, version).get(place.label, "") for version in leaked}
        try:
            yield from in_place(workspace, progress, place, leaks - {"", fresh.get(place.label, "")})
        except KeyturnError as error:
            yield f"{place.label}: unknown: {error.problem}"


def in_place(workspace: Workspace, progress: SecretProgress, place: Destination, leaks: set[str]) -> Iterator[str]:
    """The versions of one copy that give a leaked value. Raises what keeps it from being looked at."""
    store = workspace.open_copy(progress.path, place)
    for version, value in store.old_versions(place.name).items():
        reported = any(line.startswith(f"{place.label}: version {version} ") for line in progress.remains)
        if not reported and workspace.fingerprint_of(progress.path, value) in leaks:
            yield f"{place.label}: version {version} still gives a leaked value"
    if (served := serves(workspace, progress.path, place)) and workspace.fingerprint_of(progress.path, served) in leaks:
        yield f"{place.label}: still serves a leaked value"


def serves(workspace: Workspace, path: str, place: Destination) -> Sensitive | None:
    """What a copy serves; None where it is gone."""
    try:
        return workspace.open_copy(path, place).read(place.name)
    except NotFound:
        return None
