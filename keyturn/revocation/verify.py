"""Proving that it is over: nobody gives the old value, and the target takes it no more."""

from collections.abc import Iterator

from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import NotFound, UnsupportedOperation
from keyturn.core.hub import HubSecret
from keyturn.core.stores import Copy, Lack, Store
from keyturn.revocation.by_place import find_reopened
from keyturn.revocation.incident import STEPS, Incident, Mode, Progress, Step
from keyturn.revocation.leaked_versions import (
    has_leaked,
    holds_leaked,
    last_ended,
    leaked_digest_served,
    leaked_digests,
)
from keyturn.revocation.purge import describe_served
from keyturn.revocation.selector import version_fingerprints
from keyturn.revocation.sight import Sight, read_versions
from keyturn.revocation.step_result import StepResult
from keyturn.rotation.beside import with_previous
from keyturn.rotation.context import Keyturn, side_by_side


def prove_secret(keyturn: Keyturn, incident: Incident, known: Progress, done: StepResult) -> None:
    """Look everywhere once more: the hub gives no leaked version, and no store the value of one.

    What somebody has brought back since is removed anew: the steps that do so begin again.
    """
    if Step.HUB not in known.done:
        done.misses("", "it is not proven that the target refuses the old value")
    prove_target(keyturn, known, done)
    places = keyturn.catalogue.destinations(known.path)
    current = prove_hub(keyturn, incident, known, done)
    current = current and with_previous(keyturn, current, places)
    fresh = version_fingerprints(keyturn, current) if current else {}

    def one(place: Destination) -> None:
        with done.at(place.label):
            for fault in copy_faults(keyturn, known, place, fresh.get(place.label, "")):
                done.misses(place.label, fault, "It is tried again")
                done.again |= {Step.PUSH, Step.FORGET}

    side_by_side(one, places)
    if not done.left:
        done.changes = {"clear_at": keyturn.clock()}
        for hidden in known.unseen:
            done.did("", f"nobody could look at {hidden.words}: all was ended by its place at the target")
        done.did("", "the old value is refused, and found nowhere that it could be removed from")


def prove_hub(keyturn: Keyturn, incident: Incident, known: Progress, done: StepResult) -> HubSecret | None:
    """What is in force; None where nothing is, or what has leaked."""
    sight = read_versions(keyturn, known.path, last_ended(incident, known))
    last, found = sight.last, sight.versions
    prove_sight(incident, known, sight, done)
    old = [one for one in found if has_leaked(keyturn, incident, known, one, last)]
    if old:
        numbers = ", ".join(str(one.version) for one in old)
        done.misses("", f"the hub still gives version {numbers}", "It is tried again")
        done.again.add(Step.HUB)
    current = next((one for one in found if one.version == last and one not in old), None)
    if incident.mode is not Mode.REPLACE:
        return current
    if any(one.version == last and holds_leaked(keyturn, known, one) for one in old):
        done.misses("", f"somebody has written the old value to the hub again, as version {last}")
        done.again |= {step for step in STEPS[incident.mode] if step is not Step.CUT}
    elif current and keyturn.open_strategy(known.path).honours(current.fields) is False:
        hint = f"Run `keyturn rotate {known.path} --now`, unless a rotation is at work"
        done.misses("", f"the target refuses version {last}, which is in force", hint)
    return current


def prove_target(keyturn: Keyturn, known: Progress, done: StepResult) -> None:
    """Whether all that nobody could look at has ended by its place, and stays so."""
    if known.unseen and known.placeless:
        said = "; ".join(one.words for one in known.unseen)
        hint = "See by hand that nothing takes it any more, then give the incident up, with that as the reason"
        done.misses("", f"not proven: could not look at {said}, and {known.placeless}", hint)
    for one in (one for one in known.unseen if one.accepted):
        hint = "End it there by hand, then give the incident up, with that as the reason"
        done.misses("", f"not proven: {one.words}", hint)
    with done.at(""):
        for name in find_reopened(keyturn, known):
            done.misses("", f"the target lets somebody in by {name}, though all was ended", "It is ended again")
            done.again |= {Step.CUT, Step.HUB}


def prove_sight(incident: Incident, known: Progress, sight: Sight, done: StepResult) -> None:
    """Whether all that the hub has could be looked at, and something is in force where something is to be."""
    for one in sight.unseen:
        if not one.destroyed:
            done.misses("", f"not proven: could not look at {one.words}", "Give this login the rights that it lacks")
            done.again |= {Step.HUB} if one.version <= last_ended(incident, known) else set()
    if incident.mode is Mode.REPLACE and known.version and not sight.served:
        what = f"version {sight.last} is deleted" if sight.last else "somebody has removed the secret"
        done.misses("", f"nothing is in force in the hub: {what}", f"See `keyturn rotate {known.path}`")


def copy_faults(keyturn: Keyturn, known: Progress, place: Destination, fresh: str) -> Iterator[str]:
    """What is wrong with one copy: it serves a leaked value, or an old version of it that was not told to stay is one.

    ``fresh`` is the fingerprint it should have. A copy of what no rotation changes, such as a host's name, is the same
    before and after, and no leak.
    """
    store = keyturn.open_copy(known.path, place)
    found = store.find(place.name)
    digest = leaked_digest_served(keyturn, known, store, place, found)
    if digest and digest != fresh:
        ours = found is None or found.marks is not None
        whose = "" if ours else ", and Keyturn has not made it: remove it there by hand"
        yield f"{describe_served(known, place, digest)}{whose}"
    elif (
        found
        and fresh
        and place.shape.tells_previous
        and digest_served(keyturn, store, place, found) not in ("", fresh)
    ):
        yield "it may give the old value beside the new one: it serves another text than it should"
    for version in leaking_versions(keyturn, store, place, leaked_digests(known, place) - {fresh}):
        # What the service can't remove was told.
        if not any(said.startswith(f"{place.label}: version {version} ") for said in known.remains):
            yield f"version {version} still gives the old value"


def digest_served(keyturn: Keyturn, store: Store, place: Destination, found: Copy) -> str:
    """The fingerprint of what a copy serves; by its marks where the store gives nothing back."""
    if Lack.READ in store.lacks:
        return found.marks.fingerprint if found.marks and found.intact else ""
    try:
        return keyturn.fingerprint_of(store.read(place.name))
    except NotFound:
        return ""


def leaking_versions(keyturn: Keyturn, store: Store, place: Destination, leaks: set[str]) -> Iterator[str]:
    """The old versions of a copy that give a leaked value, by the store's own names of them."""
    try:
        past = store.past(place.name)
    except UnsupportedOperation:
        return
    yield from (version for version, value in past.items() if keyturn.fingerprint_of(value) in leaks)
