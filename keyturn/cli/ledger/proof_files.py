"""Options and files that the commands about proofs share."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli.failures import naming_file
from keyturn.cli.ledger import sources
from keyturn.cli.output import when, write_text
from keyturn.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keyturn.ledger.checkpoints import Checkpoint
    from keyturn.ledger.ports import LedgerSource

FileOption = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="A ledger's SQLite file, or a copy of one.")
]


ExportOption = Annotated[
    Path | None, typer.Option("--export", metavar="FILE", help="Entries that `keyturn ledger export` has written.")
]


CheckpointsOption = Annotated[
    Path | None, typer.Option("--checkpoints", metavar="FILE", help="The checkpoints of an export.")
]


KnownOption = Annotated[
    list[Path] | None,
    typer.Option("--known", metavar="FILE", help="A checkpoint that you hold from elsewhere; several are allowed."),
]


KeyOption = Annotated[
    list[str] | None,
    typer.Option("--public-key", metavar="KEY", help="Believe this key and nothing else; several are allowed."),
]


KeyFileOption = Annotated[Path | None, typer.Option("--public-key-file", metavar="FILE", help="The same, from a file.")]


OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write there (mode 0600), not to standard output.")
]


def insist_on_one(file: Path | None, export: Path | None, checkpoints: Path | None) -> None:
    """Reports wrong usage if the source to verify is ambiguous."""
    if file and export:
        raise typer.BadParameter("give --file or --export, not both")
    if (export is None) != (checkpoints is None):
        raise typer.BadParameter("an export is two files: give --export and --checkpoints")


@contextmanager
def opened_source(file: Path | None, export: Path | None, checkpoints: Path | None) -> "Iterator[LedgerSource]":
    """The chosen source, or the environment's ledger."""
    if export is None:
        with sources.read_only(file) as source:
            yield source
    else:
        from keyturn.ledger.export_file import Exported

        yield Exported(export, checkpoints)


def checkpoint_in(file: Path) -> str:
    """A signed checkpoint in a file. Raises Invalid, OSError."""
    try:
        return file.read_text()
    except UnicodeDecodeError:
        raise Invalid("read", str(file), "it is no checkpoint", "Give the signed note as it was made") from None


def put(text: str, out: Path | None) -> None:
    """Write to a file of mode 0600, or to standard output."""
    if out is None:
        return write_text(text)

    from keyturn.catalogue.files.append import write_file as written

    with naming_file(out):
        return written(out, f"{text}\n", mode=0o600)


def signed_at(checkpoint: "Checkpoint") -> str:
    made = f" of {when(checkpoint.time)} UTC" if checkpoint.time else ""
    return f"the signed checkpoint{made} over {checkpoint.size} entries"
