"""Copies that are no longer declared, and their deletion."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.models import DEFAULT_ID
from keyturn.core.errors import KeyturnError
from keyturn.core.plan import SLOT, Action, Item
from keyturn.core.ports.merged_keys import Note, sharing
from keyturn.core.ports.stores import OwnershipTags, RemoteSecret
from keyturn.rotation.copies.store_status import tombstones
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.copy_parts import parts_in
from keyturn.settings.stores import Deletion
from keyturn.sync.observe import Holdings
from keyturn.sync.wanted import Wanted, item_of, unknown_item


def left_over(workspace: Workspace, store: str, holdings: Holdings, wanted: Sequence[Wanted]) -> list[Item]:
    """The deletions of this catalogue's undeclared copies, where the settings allow deletion.

    Stores that are one system all have to allow it, and the first does it.
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
    """The undeclared copies of declared secrets that are kept, as pairs of path and name."""
    if store != min(one_system(workspace, store)) or deletes(workspace, store):
        return []
    copies = ((copy.marks, copy.name) for copy in copies_left(workspace, store, holdings, wanted))
    return [(marks.source, name) for marks, name in copies if marks and marks.source in workspace.catalogue.secrets]


def copies_left(workspace: Workspace, store: str, holdings: Holdings, wanted: Sequence[Wanted]) -> list[RemoteSecret]:
    """This catalogue's undeclared whole copies in this system."""
    twins = one_system(workspace, store)
    mine = {holdings.limits.same(want.place.name) for want in wanted if want.place.store in twins}
    marked_copies = ((name, copy, copy.marks) for name, copy in holdings.copies.items() if copy.marks and copy.intact)
    return [copy for name, copy, marks in marked_copies if name not in mine and deletable(workspace, marks)]


def one_system(workspace: Workspace, store: str) -> list[str]:
    """The catalogue's stores that are the same system."""
    system = workspace.catalogue.store(store).system
    return [name for name, other in workspace.catalogue.stores.items() if other.system == system]


def deletes(workspace: Workspace, store: str) -> bool:
    """Whether undeclared copies in this system are deleted, and by this store."""
    twins = one_system(workspace, store)
    settings = [workspace.catalogue.store(name).deletion for name in twins]
    return store == min(twins) and all(deletion is Deletion.DELETE for deletion in settings)


def left_over_parts(workspace: Workspace, store: str, holdings: Holdings, wanted: Sequence[Wanted]) -> list[Item]:
    """The deletions of undeclared keys in secrets of other owners.

    Looked for where some are declared, or a deletion is pending.
    """
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
    """The destination that a note describes."""
    return Destination(store=store, name=name, merge=True, fields=note.keys)


def made_here(workspace: Workspace, marks: OwnershipTags) -> bool:
    """Whether this catalogue, perhaps the one without an id, made the copy."""
    return (marks.catalogue or DEFAULT_ID) == workspace.catalogue.id


def deletable(workspace: Workspace, marks: OwnershipTags) -> bool:
    """Whether a copy may be deleted here. An adopted copy belongs to another owner.

    A copy is also kept if only the operator's file excludes its secret from a sync.
    """
    return made_here(workspace, marks) and not marks.adopted and not workspace.catalogue.is_unlisted(marks.source)


def deletion(workspace: Workspace, want: Wanted, copy: RemoteSecret, since: Mapping[str, datetime], why: str) -> Item:
    """A deletion, with its due time."""
    settings = workspace.catalogue.store(want.place.store)
    item = item_of(want, Action.DELETE, 0, copy, why)
    due = since.get(item.slot, workspace.clock()) + settings.delete_after
    return replace(item, due=due.isoformat())


def deletion_due(item: Item, now: datetime) -> bool:
    """Whether a deletion's delay is over."""
    return not item.due or datetime.fromisoformat(item.due) <= now
