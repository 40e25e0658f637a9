"""``keyturn scan`` and ``import``: find unmanaged secrets in the stores, and manage them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.completion import complete_store
from keyturn.cli.environment import catalogue_directory, opened_workspace
from keyturn.cli.failures import FAILED, end_command, naming_file
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, write_json, write_table
from keyturn.core.errors import TerminalError, TransientError

if TYPE_CHECKING:
    from keyturn.catalogue.destinations import Destination
    from keyturn.rotation.state.context import Workspace
    from keyturn.sync.import_secrets import Import
    from keyturn.sync.scan import HubScan, Scan, StoreScan

SCAN_COLUMNS: Final = ("store", "secret", "what it is")
SHOWN: Final = 200
"""Paths of the hub in the table; the JSON has all."""

IMPORT_COLUMNS: Final = ("state", "in the store", "in the hub")
IMPORTED: Final = Path("imported.yaml")

RESPELLED: Final = "the next apply rewrites the same JSON object with sorted keys and no white space"

CLASSIFICATIONS: Final = ("public", "internal", "confidential", "restricted")

StoreOption = Annotated[
    list[str] | None,
    typer.Option(
        "--store", metavar="NAME", help="Only this store; may be given several times.", autocompletion=complete_store
    ),
]
StoreArgument = Annotated[str, typer.Argument(help="The store's name in the catalogue.", autocompletion=complete_store)]
NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="The secrets' names in the store.")]
EveryOption = Annotated[bool, typer.Option("--all", help="Everything in the store that is unmanaged.")]
ToOption = Annotated[str, typer.Option("--to", metavar="PREFIX", help="The folder of the hub that they go to.")]
OwnerOption = Annotated[
    str | None, typer.Option("--owner", metavar="ADDRESS", help="Who answers for them; needed unless --dry-run.")
]
ClassificationOption = Annotated[
    str, typer.Option("--classification", metavar="CLASS", help="public, internal, confidential or restricted.")
]
FileOption = Annotated[
    Path, typer.Option("--catalogue-file", metavar="FILE", help="The catalogue's file that declares them.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]


# --- scan


def scan(store: StoreOption = None, catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Find unmanaged secrets in the stores and the hub, and copies that the catalogue does not declare.

    Reads no values, and writes nothing. In the hub it reads the names of fields if a pattern selects copies by them.
    With --store the hub is left out. Ends with 1 if something can't be read.
    """
    from keyturn.sync.scan import scan_stores as library

    with opened_workspace(catalogue) as workspace:
        result = library(workspace, store or [])
    rows = [*hub_rows(result.hub), *(row for store_scan in result.stores for row in scan_rows(store_scan))]
    if as_json:
        write_json({"stores": [scan_data(store_scan) for store_scan in result.stores], "hub": hub_data(result.hub)})
    elif rows:
        write_table(SCAN_COLUMNS, rows)
    note(scan_summary(result))
    if broken := unread_places(result):
        name, error = next(iter(broken.items()))
        name = name if len(broken) == 1 else f"{len(broken)} of {len(result.stores) + bool(result.hub)} places"
        end_command(TransientError("scan", name, error, "The others are shown"), FAILED)


def unread_places(result: "Scan") -> dict[str, str]:
    hub = {"the hub": result.hub.error} if result.hub and result.hub.error else {}
    return hub | {store_scan.store: store_scan.error for store_scan in result.stores if store_scan.error}


def hub_rows(hub: "HubScan | None") -> Iterator[tuple[str, ...]]:
    if hub is None:
        return
    if hub.error:
        yield "hub", "-", f"can't be listed: {hub.error}"
    yield from (("hub", path, "no entry declares it, and no pattern covers it") for path in hub.unmanaged[:SHOWN])
    if len(hub.unmanaged) > SHOWN:
        yield "hub", "...", f"{len(hub.unmanaged) - SHOWN} more, all of them with --json"


def hub_data(hub: "HubScan | None") -> dict[str, Any] | None:
    """The hub as JSON data; None if it was not scanned."""
    return {"unmanaged": list(hub.unmanaged), "error": hub.error, "kind": hub.kind} if hub else None


def scan_rows(store_scan: "StoreScan") -> Iterator[tuple[str, ...]]:
    if store_scan.error:
        yield store_scan.store, "-", f"can't be read: {store_scan.error}"
    yield from ((store_scan.store, name, "unmanaged") for name in store_scan.unmanaged)
    for copy in store_scan.undeclared:
        yield store_scan.store, copy.name, f"a copy of {copy.source}, version {copy.version}, that nothing declares"


def scan_data(store_scan: "StoreScan") -> dict[str, Any]:
    undeclared = [{"name": copy.name, "secret": copy.source, "version": copy.version} for copy in store_scan.undeclared]
    return {
        "store": store_scan.store,
        "unmanaged": list(store_scan.unmanaged),
        "undeclared": undeclared,
        "error": store_scan.error,
        "kind": store_scan.kind,
    }


def scan_summary(result: "Scan") -> str:
    unmanaged = sum(len(store_scan.unmanaged) for store_scan in result.stores)
    left = sum(len(store_scan.undeclared) for store_scan in result.stores)
    paths = f", {len(result.hub.unmanaged)} paths of the hub that the catalogue does not name" if result.hub else ""
    summary = f"{unmanaged} unmanaged, {left} no longer declared{paths}"
    return f"{summary}; take one over with: keyturn import STORE NAME" if unmanaged else summary


# --- import


def import_from_store(
    store: StoreArgument,
    names: NamesArgument = None,
    everything: EveryOption = False,
    to: ToOption = "",
    owner: OwnerOption = None,
    classification: ClassificationOption = "confidential",
    file: FileOption = IMPORTED,
    dry_run: DryRunOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring secrets of a store into the hub and the catalogue.

    What the hub has already is never overwritten. The next `keyturn plan` takes the copies over.
    """
    insist_on_usage(names or [], everything, owner, classification, dry_run)
    with opened_workspace(catalogue) as workspace:
        from keyturn.sync import import_secrets as importing

        importing.insist_on_readable(workspace, store)
        chosen = importing.importable(workspace, store) if everything else names or []
        imports = importing.look_at_imports(workspace, store, chosen, to)
        declared = Declaring(workspace, catalogue, file, owner or "nobody yet", classification)
        declared.check(imports)
        done = imports if dry_run else importing.import_all(workspace, imports)
        notes = declared.notes(done, "would declare") if dry_run else declared.write(done)
    show_imports(done, notes, as_json)


def insist_on_usage(names: list[str], everything: bool, owner: str | None, classification: str, dry_run: bool) -> None:
    """Reports wrong usage if the secrets are ambiguous, or without an owner."""
    if bool(names) == everything:
        raise typer.BadParameter("give the NAMEs, or --all")
    if classification not in CLASSIFICATIONS:
        raise typer.BadParameter(f"--classification is one of {', '.join(CLASSIFICATIONS)}")
    if not (owner and owner.strip()) and not dry_run:
        raise typer.BadParameter("give --owner: who answers for these secrets, as an address that reaches them")


class Declaring:
    """The catalogue's part of an import: which secrets get an entry, in which file."""

    def __init__(
        self, workspace: "Workspace", catalogue: Path | None, file: Path, owner: str, classification: str
    ) -> None:
        from keyturn.catalogue.files.append import file_in

        self._catalogue = workspace.catalogue
        self._directory = catalogue_directory(catalogue)
        self._file = file_in(self._directory, file)
        self._owned = (owner, classification)

    def check(self, wanted: Sequence["Import"]) -> None:
        """Raises Invalid if the catalogue would be invalid with all of them. Writes nothing."""
        self._text(wanted)

    def write(self, done: Sequence["Import"]) -> list[str]:
        from keyturn.catalogue.files import append as declaring

        if text := self._text(done):
            with naming_file(self._file):
                declaring.write_file(self._file, text)
        return self.notes(done)

    def notes(self, done: Sequence["Import"], verb: str = "declares") -> list[str]:
        """Where they are declared, and what a person must still do."""
        new = [imported for imported in done if self._missing(imported)]
        lines = [f"{self._file}: {verb} {', '.join(imported.path for imported in new)}"] if new else []
        if respelled := [imported.path for imported in done if imported.respelled and not imported.error]:
            lines.append(f"{', '.join(respelled)}: {RESPELLED}")
        return lines + [line for imported in done if (line := self._left(imported))]

    def _text(self, wanted: Sequence["Import"]) -> str:
        from keyturn.catalogue.files import append as declaring

        owner, classification = self._owned
        new = [
            declaring.Declaration(imported.path, owner, classification, imported.store, imported.name, imported.field)
            for imported in wanted
            if self._missing(imported)
        ]
        if not new:
            return ""
        text = declaring.added(self._file, new)
        declaring.insist_on_sound(self._directory, self._file, text, os.environ)
        return text

    def _missing(self, imported: "Import") -> bool:
        """Whether the catalogue has neither the secret nor this copy."""
        return not imported.error and imported.path not in self._catalogue.secrets and not self._places(imported)

    def _places(self, imported: "Import") -> "list[Destination]":
        """The destinations of the secret that are this very copy."""
        from keyturn.catalogue.spreading import plain_places

        places = plain_places(self._catalogue, imported.path)
        return [place for place in places if (place.store, place.name) == (imported.store, imported.name)]

    def _left(self, imported: "Import") -> str:
        """What a person must add to an existing entry."""
        if imported.error or self._missing(imported):
            return ""
        places = self._places(imported)
        if any(place.adopt for place in places):
            return ""
        what = "say `adopt: true` where it is pushed to" if places else "add the destination"
        return f"{imported.path} is declared already: {what} {imported.label} yourself"


def show_imports(done: Sequence["Import"], notes: Sequence[str], as_json: bool) -> None:
    """Show the result, then exit with the matching code."""
    if as_json:
        write_json(
            {"imports": [{**vars(imported), "state": str(imported.state)} for imported in done], "notes": list(notes)}
        )
    elif done:
        write_table(IMPORT_COLUMNS, ((str(imported.state), imported.label, imported.path) for imported in done))
    else:
        note("there is nothing unmanaged")
    broken = [imported for imported in done if imported.error]
    for line in [*notes, *(imported.error for imported in broken if len(broken) > 1)]:
        note(line)
    if broken:
        name = broken[0].label if len(broken) == 1 else f"{len(broken)} of {len(done)} secrets"
        end_command(TerminalError("import", name, broken[0].error, "The others are not affected"), FAILED)
