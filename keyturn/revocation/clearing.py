"""Removing the old value wherever it is still kept, and proving that nobody gives it or takes it any more."""

from collections.abc import Iterator
from dataclasses import replace

from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import KeyturnError, NotFound, UnsupportedOperation
from keyturn.core.fingerprint import shown
from keyturn.core.sensitive import SecretFields
from keyturn.core.stores import Copy, Lack, Store
from keyturn.revocation.doing import Done
from keyturn.revocation.incident import Incident, Mode, Old, Progress, Step
from keyturn.revocation.selecting import fingerprints, versions
from keyturn.rotation.context import Keyturn, side_by_side
from keyturn.rotation.records import load, rewrite
from keyturn.strategies.manual import ManualSettings


def clear_hub(keyturn: Keyturn, incident: Incident, known: Progress, done: Done) -> None:
    """Destroy every version that has leaked, each once the target is seen to refuse it.

    What the target still takes is kept, since only its holder can try it again.
    """
    if Step.CUT not in known.done:
        return done.misses("", "the old value is kept until its sessions are ended")
    if incident.mode is Mode.REPLACE and Step.REPLACE not in known.done:
        return done.misses("", "the hub still serves the old value, since there is no new one")
    strategy, doomed, refused = keyturn.open_strategy(known.path), [], False
    for version in versions(keyturn, known.path):
        if incident.mode is Mode.REPLACE and version.version >= known.version:
            continue
        try:
            taken = strategy.honours(version.fields)
        except KeyturnError as error:
            done.failed(f"version {version.version}", error)
            continue
        refused = refused or taken is False
        if taken:
            done.misses(f"version {version.version}", "the target still accepts it", "It is tried again")
        else:
            doomed.append(version.version)
    if incident.mode is Mode.REVOKE_ONLY and doomed:
        keep_rest(keyturn, known.path)
    keyturn.hub.destroy(known.path, doomed)
    if doomed:
        done.did("", f"destroyed version{'s' if len(doomed) > 1 else ''} {', '.join(map(str, sorted(doomed)))}")
    if refused and not done.left:
        done.changes = {"refused_at": known.refused_at or keyturn.clock()}
    return None


def keep_rest(keyturn: Keyturn, path: str) -> None:
    """Keep, where Keyturn alone can read it, what is no part of the credential: an address, a port.

    Nothing is kept of what a person replaces, since nobody knows which of its fields are secret.
    """
    secret, current = keyturn.secret(path), keyturn.hub.read(path)
    if current is None or isinstance(secret.rotation, ManualSettings):
        return
    made = {*keyturn.open_strategy(path).makes, "rotated_at"}
    rest = SecretFields({name: value for name, value in current.fields.reveal().items() if name not in made})
    record = load(keyturn, path)
    if rest and record.rotation is None and record.rest is None:
        rewrite(keyturn, path, replace(record, rest=rest))


def clear_stores(keyturn: Keyturn, incident: Incident, known: Progress, done: Done) -> None:
    """Remove old versions in every store; without a replacement, the copies too. What can't be removed is told."""

    def one(place: Destination) -> None:
        store = keyturn.open_store(place.store)
        try:
            found = store.find(place.name)
            if found is None and incident.mode is Mode.REPLACE:
                return None
            said = removed(keyturn, incident, known, store, place, found)
        except KeyturnError as error:
            return done.failed(place.label, error)
        for words in said:
            done.stays(place.label, words)
        return done.did(place.label, "old versions are removed" if not said else "removed what the service can remove")

    side_by_side(one, keyturn.catalogue.destinations(known.path))


def removed(
    keyturn: Keyturn, incident: Incident, known: Progress, store: Store, place: Destination, found: Copy | None
) -> tuple[str, ...]:
    """What stays of one copy, in words. Somebody else's secret of that name is left alone."""
    if found is not None and (found.marks is None or found.marks.source != known.path):
        return ()
    if incident.mode is Mode.REVOKE_ONLY and (found is None or leaked(keyturn, known.old, store, place)):
        return store.erase(place.name)
    return store.forget(place.name)


def leaked(keyturn: Keyturn, old: tuple[Old, ...], store: Store, place: Destination) -> bool:
    """Whether a copy serves a value that has leaked; one that can't be read is taken to."""
    if Lack.READ in store.lacks:
        return True
    try:
        return keyturn.fingerprint_of(store.read(place.name)) in digests(old, place)
    except NotFound:
        return True  # nothing is served, and what was may be restored


def digests(old: tuple[Old, ...], place: Destination) -> set[str]:
    """The fingerprints by which a leaked value is known in this place."""
    return {digest for one in old for digest in (one.fingerprints.get(place.label, ""),) if digest}


def prove(keyturn: Keyturn, incident: Incident, known: Progress, done: Done) -> None:
    """Look everywhere once more: the hub gives no leaked version, and no store the value of one."""
    if Step.HUB not in known.done:
        done.misses("", "it is not proven that the target refuses the old value")
    still = [one.version for one in gives(keyturn, incident, known)]
    if still:
        done.misses("", f"the hub still gives version {', '.join(map(str, still))}")
    current = keyturn.hub.read(known.path) if known.version else None
    fresh = fingerprints(keyturn, current) if current else {}
    side_by_side(
        lambda place: prove_place(keyturn, known, place, fresh.get(place.label, ""), done),
        keyturn.catalogue.destinations(known.path),
    )
    if not done.left:
        done.changes = {"clear_at": keyturn.clock()}
        done.did("", "the old value is refused, and found nowhere that it could be removed from")


def gives(keyturn: Keyturn, incident: Incident, known: Progress) -> list[Old]:
    """The leaked versions that the hub still gives."""
    info = keyturn.hub.describe(known.path)
    readable = {one.version for one in info.versions if one.readable} if info else set()
    kept = known.version if incident.mode is Mode.REPLACE else 0
    return [one for one in known.old if one.version in readable and one.version != kept]


def prove_place(keyturn: Keyturn, known: Progress, place: Destination, fresh: str, done: Done) -> None:
    """One copy: neither what it serves nor an old version of it is a leaked value, but for what was told to stay.

    ``fresh`` is the fingerprint it should have. A copy of what no rotation changes, such as a host's name, is the same
    before and after, and no leak.
    """
    store, leaks = keyturn.open_store(place.store), digests(known.old, place) - {fresh}
    try:
        if fault := serves(keyturn, known, store, place, leaks, fresh):
            done.misses(place.label, fault, "It is tried again")
        for version in holds(keyturn, store, place, leaks):
            if any(said.startswith(f"{place.label}: version {version} ") for said in known.remains):
                continue  # the service can't remove it, as was told
            done.misses(place.label, f"version {version} still gives the old value", "It is tried again")
    except KeyturnError as error:
        done.failed(place.label, error)


def serves(keyturn: Keyturn, known: Progress, store: Store, place: Destination, leaks: set[str], fresh: str) -> str:
    """Why what a copy serves is not right; empty where it is. Where values can't be read, marks have to tell."""
    if Lack.READ in store.lacks:
        found = store.find(place.name)
        if found is None or found.marks is None or found.marks.source != known.path:
            return ""
        old = found.marks.fingerprint != fresh
        return f"by its marks it serves version {found.marks.version}" if old else ""
    try:
        digest = keyturn.fingerprint_of(store.read(place.name))
    except NotFound:
        return ""
    return f"it serves the old value (fingerprint {shown(digest)})" if digest in leaks else ""


def holds(keyturn: Keyturn, store: Store, place: Destination, leaks: set[str]) -> Iterator[str]:
    """The old versions of a copy that give a leaked value, by the store's own names of them."""
    try:
        past = store.past(place.name)
    except UnsupportedOperation:
        return
    yield from (version for version, value in past.items() if keyturn.fingerprint_of(value) in leaks)
