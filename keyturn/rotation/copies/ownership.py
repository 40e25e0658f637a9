"""Copies by their marks, and giving one a mark by the key of fingerprints that is in use."""

from collections.abc import Iterator
from dataclasses import replace

from keyturn.core.errors import UnsupportedOperation
from keyturn.core.ports.shared import sharing
from keyturn.core.ports.stores import ANNOTATION, NO_DETAILS, Details, RemoteSecret, Store
from keyturn.core.sensitive import Sensitive
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.copy_parts import parts_in


def marked_copies(workspace: Workspace, store: str, opened: Store) -> Iterator[tuple[Store, RemoteSecret, bool]]:
    """Every copy that carries marks, whole ones and those that are keys of others' secrets, with which of the two."""
    yield from ((opened, copy, False) for copy in opened.list_managed())
    if shares := sharing(opened):
        for name, note in parts_in(shares):
            yield workspace.open_part(note.marks.source, store), RemoteSecret(name, "", note.marks), True


def mark_anew(workspace: Workspace, store: Store, copy: RemoteSecret, text: Sensitive) -> None:
    """Let a copy, which holds ``text``, bear the fingerprint by the key in use; all else beside it stays as it stands.

    No version is made, but in a store that can change marks only together with the value. Raises what hinders it.
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
    """The tags and annotations beside a copy that Keyturn has set, as they stand there."""
    there, ours = copy.details or NO_DETAILS, copy.marks.tags if copy.marks else ()
    names = {name for name in ours if not name.startswith(ANNOTATION)}
    annotations = {name.removeprefix(ANNOTATION) for name in ours if name.startswith(ANNOTATION)}
    return Details(
        {name: text for name, text in there.tags.items() if name in names},
        {name: text for name, text in there.annotations.items() if name in annotations},
    )
