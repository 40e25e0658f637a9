"""Copies by their marks, and updating a mark to the present fingerprint key."""

from collections.abc import Iterator
from dataclasses import replace

from keyturn.core.errors import UnsupportedOperation
from keyturn.core.ports.merged_keys import sharing
from keyturn.core.ports.stores import ANNOTATION, NO_DETAILS, Details, RemoteSecret, Store
from keyturn.core.sensitive import Sensitive
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.copy_parts import parts_in


def marked_copies(workspace: Workspace, store: str, opened: Store) -> Iterator[tuple[Store, RemoteSecret, bool]]:
    """Every marked copy, and whether it is a set of keys in a secret that others own."""
    yield from ((opened, copy, False) for copy in opened.list_managed())
    if shares := sharing(opened):
        for name, note in parts_in(shares):
            yield workspace.open_part(note.marks.source, store), RemoteSecret(name, "", note.marks), True


def mark_anew(workspace: Workspace, store: Store, copy: RemoteSecret, text: Sensitive) -> None:
    """Update the fingerprint of a copy, which holds ``text``, to the present key; its labels stay.

    Makes no new version, except in a store that can't change marks alone. Raises all errors.
    """
    if copy.marks is None:
        return
    marks = replace(copy.marks, fingerprint=workspace.fingerprint_of(copy.marks.source, text))
    details = set_before(copy)
    try:
        store.relabel(copy.name, marks, details, copy)
    except UnsupportedOperation:
        store.write(copy.name, text, marks, copy, details=details)


def set_before(copy: RemoteSecret) -> Details:
    """The tags and annotations on a copy that Keyturn has set."""
    there, ours = copy.details or NO_DETAILS, copy.marks.tags if copy.marks else ()
    names = {name for name in ours if not name.startswith(ANNOTATION)}
    annotations = {name.removeprefix(ANNOTATION) for name in ours if name.startswith(ANNOTATION)}
    return Details(
        {name: text for name, text in there.tags.items() if name in names},
        {name: text for name, text in there.annotations.items() if name in annotations},
    )
