"""Copies of leaked values that the catalogue does not declare any more."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import NotFound
from keyturn.core.fingerprint import is_noted
from keyturn.core.ports.stores import RemoteSecret, Store, Unsupported
from keyturn.revocation.findings.leaked_versions import comparable, incident_places, marked_before
from keyturn.revocation.incidents.incident import IncidentStatus, SecretProgress
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.step_result import StepResult
from keyturn.rotation.copies.ownership import marked_copies
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action

UNCLEAR = "a copy that nothing declares may give an old value, which could not be checked in the hub"


def clear_strays(workspace: Workspace, status: IncidentStatus, store: str, result: StepResult) -> None:
    """Remove undeclared copies of leaked values from one store."""
    secrets = {secret.path: secret for secret in status.secrets}
    if not secrets:
        return
    with result.checking(CheckSubject.ELSEWHERE, store):
        opened, is_clear = workspace.open_store(store), True
        for view, copy, leaked in list(find_strays(workspace, secrets, store, opened)):
            place = f"{store}:{copy.name}"
            if not leaked:
                is_clear = False
                hint = "Remove it there by hand, or let Keyturn's login read it"
                result.check(CheckSubject.ELSEWHERE, place, CheckAnswer.UNKNOWN, UNCLEAR, hint)
                continue
            with record_action(workspace, "erase", copy.marks.source if copy.marks else "", place=place):
                words = view.purge(copy.name)
            result.add_done(place, "; ".join(("a copy that is no longer declared is removed", *words)))
        if is_clear:
            result.check(CheckSubject.ELSEWHERE, store, CheckAnswer.CLEAR)


def find_strays(
    workspace: Workspace, secrets: Mapping[str, SecretProgress], store: str, opened: Store
) -> Iterator[tuple[Store, RemoteSecret, bool]]:
    """Yield the undeclared leaked copies with Keyturn's marks of these secrets.

    Marks can be copied, so only a fingerprint by this hub's key makes a copy removable. False means that a leak is only
    possible; the store may be a view.
    """
    declared = cache(lambda path: incident_places(workspace, secrets[path]))
    for view, copy, merged in marked_copies(workspace, store, opened):
        secret = secrets.get(copy.marks.source) if copy.marks else None
        if secret is None or copy.marks is None:
            continue
        if is_declared(workspace, declared(secret.path), store, copy.name, merged=merged):
            continue
        leaked = {digest for old in secret.old for digest in old.digests}
        # A copy with added fields equals no single version: it contains what its marks' version did.
        unclear = (secret.unseen or copy.marks.grown) and marked_before(secret, copy.marks)
        unclear = unclear or (Unsupported.READ in view.unsupported and not comparable(copy.marks.fingerprint, leaked))
        unseen = {copy.marks.fingerprint} if unclear else set()
        if copy.marks.fingerprint in leaked or serves_leaked(workspace, secret.path, view, copy, leaked | unseen):
            yield view, copy, True
        elif unseen:
            yield view, copy, False


def is_declared(workspace: Workspace, declared: Iterable[Destination], store: str, name: str, *, merged: bool) -> bool:
    """Whether a declared place is this one, whole or merged."""
    limits, system = workspace.catalogue.store(store).limits, workspace.catalogue.store(store).system
    places = [place for place in declared if place.merge is merged]
    mine = {limits.same(place.name) for place in places if workspace.catalogue.store(place.store).system == system}
    return limits.same(name) in mine


def serves_leaked(workspace: Workspace, path: str, store: Store, copy: RemoteSecret, leaked: set[str]) -> bool:
    """Whether a copy gives a leaked value."""
    try:
        if Unsupported.READ in store.unsupported:
            return False
        return is_noted(leaked, workspace.fingerprint_of(path, store.read(copy.name)))
    except NotFound:
        return False  # it is disabled, or deleted
