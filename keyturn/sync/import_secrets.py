"""Import a store's contents into the hub once, never over an existing value."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from keyturn.catalogue.freezes import illegal_pattern
from keyturn.core.errors import Conflict, Invalid, KeyturnError, NotFound, NotOwned, UnsupportedOperation
from keyturn.core.fingerprint import payload
from keyturn.core.mounts import join, split
from keyturn.core.ports.merged_keys import notes_in, sharing
from keyturn.core.ports.stores import Store, Unsupported
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.precise_json import changed
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import record_action
from keyturn.sync.fields_of_text import parse_fields
from keyturn.sync.scan import declared_names, undeclared_copies

AT_ONCE: Final = 8


class ImportState(StrEnum):
    """The state of one secret during an import."""

    NEW = "new"
    """The hub has nothing at its path yet."""
    IMPORTED = "imported"
    SAME = "already there"
    """The hub has the same value at its path."""
    FAILED = "failed"


@dataclass(frozen=True)
class Import:
    """One secret of a store on its way to ``path`` in the hub, in names only.

    ``field`` is empty for a JSON object. ``respelled`` means that the next sync rewrites the object with other white
    space or key order. ``error`` and ``kind`` are empty unless it failed.
    """

    store: str
    name: str
    path: str
    state: ImportState
    field: str = ""
    error: str = ""
    kind: str = ""
    respelled: bool = False

    @property
    def label(self) -> str:
        """The secret's name for people."""
        return f"{self.store}:{self.name}"


def insist_on_readable(workspace: Workspace, store: str) -> None:
    """Raise UnsupportedOperation for a write-only store, NotFound for an undeclared one."""
    workspace.catalogue.store(store)
    if Unsupported.READ in workspace.open_store(store).unsupported:
        hint = "Write the values to the hub yourself, and declare each destination with `adopt: true`"
        raise UnsupportedOperation("import from", store, "it never gives a value back", hint)


def importable(workspace: Workspace, store: str) -> list[str]:
    """The undeclared names in a store without marks."""
    return sorted(
        copy.name for copy in undeclared_copies(workspace, store, declared_names(workspace)) if copy.marks is None
    )


def path_for(name: str, prefix: str = "") -> str:
    """The hub path for a store's ``name``, with hyphens for illegal characters.

    ``prefix`` is a folder, optionally in a named mount.
    """
    mount, folder = split(prefix)
    parts = [part for part in f"{folder}/{name}".split("/") if part]
    return join(mount, re.sub(r"[^A-Za-z0-9_./-]", "-", "/".join(parts)))


def look_at_imports(workspace: Workspace, store: str, names: Sequence[str], prefix: str = "") -> list[Import]:
    """What importing these names would do. Nothing is written."""
    unique = list(dict.fromkeys(names))
    taken = Counter(path_for(name, prefix) for name in unique)

    def one(name: str) -> Import:
        path = path_for(name, prefix)
        try:
            check_path(f"{store}:{name}", path, taken[path])
            return found(workspace, store, name, path)
        except KeyturnError as error:
            return failed(Import(store, name, path, ImportState.FAILED), error)

    return side_by_side(one, unique, AT_ONCE)


def check_path(label: str, path: str, claims: int) -> None:
    """Raise Invalid unless the path is legal and claimed once."""
    hint = "Import it by itself, with another --to"
    if flaw := illegal_pattern(path):
        raise Invalid("import", label, f"{path}: {flaw[0]}", hint)
    if claims > 1:
        raise Invalid("import", label, f"{claims} of the names given would all become {path}", hint)


def found(workspace: Workspace, store: str, name: str, path: str) -> Import:
    """Compare a store's secret with the hub. Raises if not importable."""
    text = read_importable(workspace, store, name)
    fields, field = parse_fields(text)
    current = workspace.hub.read(path)
    if current is None and workspace.hub.describe(path) is not None:
        raise Conflict("import", path, "the hub has had a secret there, whose newest version is deleted", ELSEWHERE)
    if current is not None and payload(current.fields) != payload(fields):
        raise Conflict("import", path, "the hub holds another value there, and it is not overwritten", ELSEWHERE)
    state = ImportState.NEW if current is None else ImportState.SAME
    return Import(store, name, path, state, field, respelled=not field and payload(fields) != text)


ELSEWHERE: Final = "Choose another path with --to"


def read_importable(workspace: Workspace, store: str, name: str) -> Sensitive:
    """A store's exact text. Raises if not importable."""
    adapter = workspace.open_store(store)
    copy = adapter.describe(name)
    if copy is None:
        hint = f"See what is there: keyturn scan --store {store}"
        raise NotFound("import", f"{store}:{name}", "the store has none of that name", hint)
    if copy.marks is not None:
        problem = f"it is a copy that Keyturn keeps, of {copy.marks.source}"
        raise NotOwned("import", f"{store}:{name}", problem, "Import what it was made of, or nothing")
    text = adapter.read(name)
    if keys := merged_keys(adapter, name):
        problem = f"its keys {', '.join(keys)} are copies that Keyturn keeps"
        raise NotOwned("import", f"{store}:{name}", problem, "Import the secret before anything is merged into it")
    if why := changed(text.reveal()):
        raise Invalid("import", f"{store}:{name}", why, "Leave it in the store: the hub can't keep it to the byte")
    return text


def merged_keys(adapter: Store, name: str) -> list[str]:
    """The keys that Keyturn has merged into this secret."""
    shares = sharing(adapter)
    try:
        shared = shares.look(name) if shares else None
    except Invalid:
        return []  # it is not an object, so nothing is merged into it
    return sorted(key for note in notes_in(shared.tags).values() for key in note.keys) if shared else []


def import_all(workspace: Workspace, wanted: Sequence[Import]) -> list[Import]:
    """Write the new secrets of :func:`look_at_imports` to the hub."""

    def one(item: Import) -> Import:
        try:
            return brought(workspace, item) if item.state is ImportState.NEW else item
        except KeyturnError as error:
            return failed(item, error)

    return side_by_side(one, wanted, AT_ONCE)


def brought(workspace: Workspace, item: Import) -> Import:
    """Import one secret. Raises Conflict if the hub has another value by now."""
    text = read_importable(workspace, item.store, item.name)
    fields, field = parse_fields(text)
    try:
        with record_action(workspace, "import", item.path, place=f"{item.store}:{item.name}") as doing:
            doing.version, doing.fingerprint = (
                workspace.hub.write(item.path, fields, cas=0),
                workspace.fingerprint(item.path, fields),
            )
            insist_on_kept(workspace, item.path, doing.version, fields)
    except Conflict:
        return found(workspace, item.store, item.name, item.path)
    respelled = not field and payload(fields) != text
    return replace(item, state=ImportState.IMPORTED, field=field, respelled=respelled)


def insist_on_kept(workspace: Workspace, path: str, version: int, fields: SecretFields) -> None:
    """Raise Invalid unless the hub returns what was written."""
    back = workspace.hub.read(path, version)
    if back is None or payload(back.fields) != payload(fields):
        hint = "It is not declared, so nothing is pushed. Leave it in the store, and delete that version"
        raise Invalid("import", path, f"version {version} of the hub is not what the store holds", hint)


def failed(item: Import, error: KeyturnError) -> Import:
    """The same secret, marked as failed."""
    return replace(item, state=ImportState.FAILED, error=str(error), kind=type(error).__name__)
