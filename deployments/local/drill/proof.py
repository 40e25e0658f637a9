"""The drill's own look for the leaked values, whatever the engine says of them."""

from collections.abc import Callable, Iterator, Sequence

from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import KeyturnError, NotFound
from keyturn.core.hub import HubSecret
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.revocation.incident import Progress
from keyturn.revocation.selector import readable_versions, version_fingerprints
from keyturn.rotation.context import Keyturn


def found(
    keyturn: Keyturn, known: Progress, leaked: Sequence[HubSecret], tries: Callable[[SecretFields], bool | None]
) -> Iterator[str]:
    """Where a leaked value still is, or is accepted, in words. What the engine has told to remain is not told again."""
    values = {keyturn.fingerprint(version.fields) for version in leaked}
    yield from (f"version {one.version} is not seen to be refused" for one in leaked if tries(one.fields) is not False)
    for one in readable_versions(keyturn, known.path):
        if keyturn.fingerprint(one.fields) in values:
            yield f"the hub still gives a leaked value, as version {one.version}"
    current = keyturn.hub.read(known.path)
    fresh = version_fingerprints(keyturn, current) if current else {}
    for place in keyturn.catalogue.destinations(known.path):
        leaks = {version_fingerprints(keyturn, version).get(place.label, "") for version in leaked}
        try:
            yield from in_place(keyturn, known, place, leaks - {"", fresh.get(place.label, "")})
        except KeyturnError as error:
            yield f"{place.label}: nobody can tell: {error.problem}"


def in_place(keyturn: Keyturn, known: Progress, place: Destination, leaks: set[str]) -> Iterator[str]:
    """The versions of one copy that give a leaked value. Raises what keeps it from being looked at."""
    store = keyturn.open_copy(known.path, place)
    for version, value in store.past(place.name).items():
        told = any(said.startswith(f"{place.label}: version {version} ") for said in known.remains)
        if not told and keyturn.fingerprint_of(value) in leaks:
            yield f"{place.label}: version {version} still gives a leaked value"
    if (served := serves(keyturn, known.path, place)) and keyturn.fingerprint_of(served) in leaks:
        yield f"{place.label}: still serves a leaked value"


def serves(keyturn: Keyturn, path: str, place: Destination) -> Sensitive | None:
    """What a copy serves; None where it is gone."""
    try:
        return keyturn.open_copy(path, place).read(place.name)
    except NotFound:
        return None
