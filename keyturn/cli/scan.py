"""``keyturn scan`` and ``import``: what lies in the stores that nobody manages, and taking it under management."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.failures import FAILED, about, end
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, table, write_json
from keyturn.cli.surroundings import catalogue_directory, opened_keyturn
from keyturn.core.errors import TerminalError, TransientError

if TYPE_CHECKING:
    from keyturn.rotation.context import Keyturn
    from keyturn.sync.import_secrets import Import
    from keyturn.sync.scan import HubScan, Scan, StoreScan

SCAN_COLUMNS: Final = ("store", "secret", "what it is")
SHOWN: Final = 200
"""So many paths of the hub are shown to people; all of them stand in the JSON."""

IMPORT_COLUMNS: Final = ("state", "in the store", "in the hub")
IMPORTED: Final = Path("imported.yaml")

RESPELLED: Final = "the next apply writes the same JSON object anew, with its keys sorted and without white space"

CLASSIFICATIONS: Final = ("public", "internal", "confidential", "restricted")

StoreOption = Annotated[
    list[str] | None, typer.Option("--store", metavar="NAME", help="Only this store; may be given several times.")
]
StoreArgument = Annotated[str, typer.Argument(help="The store's name in the catalogue.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="The secrets' names in the store.")]
EveryOption = Annotated[bool, typer.Option("--all", help="Everything in the store that nobody manages.")]
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
    """Find secrets in the stores and in the hub that nobody manages, and copies that nothing declares.

    No value is read, and nothing is written. With --store the hub is left out. Ends with 1 where something can't be
    read.
    """
    from keyturn.sync.scan import scan as library

    with opened_keyturn(catalogue) as keyturn:
        found = library(keyturn, store or [])
    rows = [*hub_rows(found.hub), *(row for one in found.stores for row in scan_rows(one))]
    if as_json:
        write_json({"stores": [scan_data(one) for one in found.stores], "hub": hub_data(found.hub)})
    elif rows:
        table(SCAN_COLUMNS, rows)
    note(scan_summary(found))
    if broken := unread(found):
        name, error = next(iter(broken.items()))
        name = name if len(broken) == 1 else f"{len(broken)} of {len(found.stores) + bool(found.hub)} places"
        end(TransientError("scan", name, error, "The others are shown"), FAILED)


def unread(found: "Scan") -> dict[str, str]:
    """What could not be read, by its name, and why."""
    hub = {"the hub": found.hub.error} if found.hub and found.hub.error else {}
    return hub | {one.store: one.error for one in found.stores if one.error}


def hub_rows(found: "HubScan | None") -> Iterator[tuple[str, ...]]:
    """The hub for people."""
    if found is None:
        return
    if found.error:
        yield "hub", "-", f"can't be listed: {found.error}"
    yield from (("hub", path, "no entry declares it, and no pattern covers it") for path in found.unmanaged[:SHOWN])
    if len(found.unmanaged) > SHOWN:
        yield "hub", "...", f"{len(found.unmanaged) - SHOWN} more, all of them with --json"


def hub_data(found: "HubScan | None") -> dict[str, Any] | None:
    """The hub for scripts; None where it was not asked for."""
    return {"unmanaged": list(found.unmanaged), "error": found.error, "kind": found.kind} if found else None


def scan_rows(found: "StoreScan") -> Iterator[tuple[str, ...]]:
    """One store for people."""
    if found.error:
        yield found.store, "-", f"can't be read: {found.error}"
    yield from ((found.store, name, "nobody manages it") for name in found.unmanaged)
    for copy in found.undeclared:
        yield found.store, copy.name, f"a copy of {copy.source}, version {copy.version}, that nothing declares"


def scan_data(found: "StoreScan") -> dict[str, Any]:
    """One store for scripts."""
    undeclared = [{"name": copy.name, "secret": copy.source, "version": copy.version} for copy in found.undeclared]
    return {
        "store": found.store,
        "unmanaged": list(found.unmanaged),
        "undeclared": undeclared,
        "error": found.error,
        "kind": found.kind,
    }


def scan_summary(found: "Scan") -> str:
    """How much was found, and what can be done about it."""
    unmanaged = sum(len(one.unmanaged) for one in found.stores)
    left = sum(len(one.undeclared) for one in found.stores)
    paths = f", {len(found.hub.unmanaged)} paths of the hub that the catalogue does not name" if found.hub else ""
    said = f"{unmanaged} that nobody manages, {left} that nothing declares any more{paths}"
    return f"{said}; take one over with: keyturn import STORE NAME" if unmanaged else said


# --- import


def bring(
    store: StoreArgument,
    names: Names = None,
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
    with opened_keyturn(catalogue) as keyturn:
        from keyturn.sync import import_secrets as importing

        importing.insist_on_readable(keyturn, store)
        chosen = importing.importable(keyturn, store) if everything else names or []
        seen = importing.look(keyturn, store, chosen, to)
        declared = Declaring(keyturn, catalogue, file, owner or "nobody yet", classification)
        declared.check(seen)
        done = seen if dry_run else importing.bring(keyturn, seen)
        notes = declared.notes(done, "would declare") if dry_run else declared.write(done)
    show_imports(done, notes, as_json)


def insist_on_usage(names: list[str], everything: bool, owner: str | None, classification: str, dry_run: bool) -> None:
    """Wrong usage where it is not clear what is meant, or who answers for it."""
    if bool(names) == everything:
        raise typer.BadParameter("give the NAMEs, or --all")
    if classification not in CLASSIFICATIONS:
        raise typer.BadParameter(f"--classification is one of {', '.join(CLASSIFICATIONS)}")
    if not (owner and owner.strip()) and not dry_run:
        raise typer.BadParameter("give --owner: who answers for these secrets, as an address that reaches them")


class Declaring:
    """The catalogue's side of an import: which secrets get an entry, in which file."""

    def __init__(self, keyturn: "Keyturn", catalogue: Path | None, file: Path, owner: str, classification: str) -> None:
        from keyturn.catalogue.append import file_in

        self._catalogue = keyturn.catalogue
        self._directory = catalogue_directory(catalogue)
        self._file = file_in(self._directory, file)
        self._said = (owner, classification)

    def check(self, wanted: Sequence["Import"]) -> None:
        """The catalogue would be valid with all of them. Raises Invalid, before anything is written."""
        self._text(wanted)

    def write(self, done: Sequence["Import"]) -> list[str]:
        """Declare those that are in the hub now; what there is to say about it."""
        from keyturn.catalogue import append as declaring

        if text := self._text(done):
            with about(self._file):
                declaring.write(self._file, text)
        return self.notes(done)

    def notes(self, done: Sequence["Import"], verb: str = "declares") -> list[str]:
        """Where they are declared, and what is left to a person."""
        new = [one for one in done if self._missing(one)]
        said = [f"{self._file}: {verb} {', '.join(one.path for one in new)}"] if new else []
        if respelled := [one.path for one in done if one.respelled and not one.error]:
            said.append(f"{', '.join(respelled)}: {RESPELLED}")
        return said + [line for one in done if (line := self._left(one))]

    def _text(self, wanted: Sequence["Import"]) -> str:
        from keyturn.catalogue import append as declaring

        owner, classification = self._said
        new = [
            declaring.Declaration(one.path, owner, classification, one.store, one.name, one.field)
            for one in wanted
            if self._missing(one)
        ]
        if not new:
            return ""
        text = declaring.added(self._file, new)
        declaring.insist_on_sound(self._directory, self._file, text, os.environ)
        return text

    def _missing(self, one: "Import") -> bool:
        """Whether the catalogue knows neither the secret nor this copy of it."""
        return not one.error and one.path not in self._catalogue.secrets and not self._pushed(one)

    def _pushed(self, one: "Import") -> bool:
        places = self._catalogue.destinations(one.path)
        return any((place.store, place.name) == (one.store, one.name) for place in places)

    def _left(self, one: "Import") -> str:
        """What a person has to add to what is declared already."""
        if one.error or self._missing(one):
            return ""
        adopted = [place for place in self._catalogue.destinations(one.path) if place.adopt]
        if any((place.store, place.name) == (one.store, one.name) for place in adopted):
            return ""
        what = "say `adopt: true` where it is pushed to" if self._pushed(one) else "add the destination"
        return f"{one.path} is declared already: {what} {one.label} yourself"


def show_imports(done: Sequence["Import"], notes: Sequence[str], as_json: bool) -> None:
    """What came of it, and the exit code that belongs to it."""
    if as_json:
        write_json({"imports": [import_data(one) for one in done], "notes": list(notes)})
    elif done:
        table(IMPORT_COLUMNS, ((str(one.state), one.label, one.path) for one in done))
    else:
        note("there is nothing that nobody manages")
    broken = [one for one in done if one.error]
    for line in [*notes, *(one.error for one in broken if len(broken) > 1)]:
        note(line)
    if broken:
        name = broken[0].label if len(broken) == 1 else f"{len(broken)} of {len(done)} secrets"
        end(TerminalError("import", name, broken[0].error, "The others are not affected"), FAILED)


def import_data(one: "Import") -> dict[str, Any]:
    """One secret for scripts."""
    return {**vars(one), "state": str(one.state)}
