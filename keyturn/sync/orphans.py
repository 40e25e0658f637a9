"""Copies that nothing declares any more: whose they are, whether they are deleted, and when."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.models import DEFAULT_ID
from keyturn.core.errors import KeyturnError
from keyturn.core.plan import SLOT, Action, Item
from keyturn.core.ports.shared import Note, sharing
from keyturn.core.ports.stores import OwnershipTags, RemoteSecret
from keyturn.rotation.copies.store_status import tombstones
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.copy_parts import parts_in
from keyturn.settings.stores import Deletion
from keyturn.sync.observe import Holdings
from keyturn.sync.wanted import Wanted, item_of, unknown_item


def left_over(workspace: Workspace, store: str, holdings: Holdings, wanted: Sequence[Wanted]) -> list[Item]:
    """Copies that this catalogue has made and that nothing declares any more, where the settings delete such ones.

    Of several stores that are one system all have to say so, and the first of them does it.
    """
    if not deletes(workspace, store):
        return []
    copies = copies_left(workspace, store, holdings, wanted)
    since = tombstones(workspace, store) if copies else {}
    places = [(copy, Destination(store=store, name=copy.name)) for copy in copies]
    return left_over_parts(workspace, store, holdings, wanted) + [
        deletion(workspace, Wanted(copy.marks.source, place), copy, since, "nothing declares it any more")
        for copy, place in places
        if copy.marks
    ]


def kept(workspace: Workspace, store: str, holdings: Holdings, wanted: Sequence[Wanted]) -> list[tuple[str, str]]:
    """Copies of declared secrets that nothing declares any more and nobody deletes: the secret's path, the copy's name.

    No new version reaches them, so whoever reads one is cut off when the credential in it ends.
    """
    if store != min(one_system(workspace, store)) or deletes(workspace, store):
        return []
    copies = ((copy.marks, copy.name) for copy in copies_left(workspace, store, holdings, wanted))
    return [(marks.source, name) for marks, name in copies if marks and marks.source in workspace.catalogue.secrets]


def copies_left(workspace: Workspace, store: str, holdings: Holdings, wanted: Sequence[Wanted]) -> list[RemoteSecret]:
    """Whole copies in this store's system that this catalogue has made and that nothing declares any more."""
    twins = one_system(workspace, store)
    mine = {holdings.limits.same(want.place.name) for want in wanted if want.place.store in twins}
    marked_copies = ((name, copy, copy.marks) for name, copy in holdings.copies.items() if copy.marks and copy.intact)
    return [copy for name, copy, marks in marked_copies if name not in mine and deletable(workspace, marks)]


def one_system(workspace: Workspace, store: str) -> list[str]:
    """The names under which the catalogue has this store's system."""
    system = workspace.catalogue.store(store).system
    return [name for name, other in workspace.catalogue.stores.items() if other.system == system]


def deletes(workspace: Workspace, store: str) -> bool:
    """Whether what nothing declares any more is deleted in this store's system, and this is the one that does it."""
    twins = one_system(workspace, store)
    settings = [workspace.catalogue.store(name).deletion for name in twins]
    return store == min(twins) and all(deletion is Deletion.DELETE for deletion in settings)


def left_over_parts(workspace: Workspace, store: str, holdings: Holdings, wanted: Sequence[Wanted]) -> list[Item]:
    """The same of keys in secrets that others own. They are looked for where some are declared, or wait to go."""
    system = workspace.catalogue.store(store).system
    there = [
        want for want in wanted if want.place.merge and workspace.catalogue.store(want.place.store).system == system
    ]
    since = tombstones(workspace, store)
    shares = sharing(workspace.open_store(store))
    if shares is None or not (there or any(SLOT in name for name in since)):
        return []
    mine = {(want.path, holdings.limits.same(want.place.name)) for want in there}
    items = []
    for name, note in parts_in(shares):
        path = note.marks.source
        if (path, holdings.limits.same(name)) in mine or not deletable(workspace, note.marks):
            continue
        try:
            copy = workspace.open_part(path, store).describe(name)
        except KeyturnError as error:
            items.append(unknown_item(Wanted(path, part_place(store, name, note)), 0, error))
            continue
        if copy and copy.marks and copy.intact:
            want = Wanted(path, part_place(store, name, note))
            items.append(deletion(workspace, want, copy, since, "nothing declares its keys any more"))
    return items


def part_place(store: str, name: str, note: Note) -> Destination:
    """The place that a note tells of."""
    return Destination(store=store, name=name, merge=True, fields=note.keys)


def made_here(workspace: Workspace, marks: OwnershipTags) -> bool:
    """Whether this very catalogue has made the copy; what has no id is that of the catalogue without one."""
    return (marks.catalogue or DEFAULT_ID) == workspace.catalogue.id


def deletable(workspace: Workspace, marks: OwnershipTags) -> bool:
    """Whether a copy may be deleted here: what was adopted is somebody else's, and is let go.

    A copy stays, too, while a sync's pattern names its secret and only the operator's file does not list it.
    """
    path, catalogue = marks.source, workspace.catalogue
    unlisted = path not in catalogue.secrets and not catalogue.destinations(path) and catalogue.matches_a_sync(path)
    return made_here(workspace, marks) and not marks.adopted and not unlisted


def deletion(workspace: Workspace, want: Wanted, copy: RemoteSecret, since: Mapping[str, datetime], why: str) -> Item:
    """A deletion, with the moment before which it is not done."""
    settings = workspace.catalogue.store(want.place.store)
    item = item_of(want, Action.DELETE, 0, copy, why)
    due = since.get(item.slot, workspace.clock()) + settings.delete_after
    return replace(item, due=due.isoformat())


def deletion_due(item: Item, now: datetime) -> bool:
    """Whether a deletion's delay is over."""
    return not item.due or datetime.fromisoformat(item.due) <= now
