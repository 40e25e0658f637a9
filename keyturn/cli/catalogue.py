"""``keyturn catalogue``: check the files that declare every secret, and print their schema."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from keyturn.cli.environment import catalogue_directory, stack_in_use
from keyturn.cli.failures import EXIT_CODES, FAILED
from keyturn.cli.options import CATALOGUE_VARIABLE, JsonOption
from keyturn.cli.output import write_json, write_text

commands = typer.Typer(help="Check the catalogue, or print its schema.", no_args_is_help=True)

DirectoryArgument = Annotated[
    Path | None,
    typer.Argument(metavar="DIR", envvar=CATALOGUE_VARIABLE, help="The directory; deployments/catalogue by default."),
]


@commands.command(epilog=EXIT_CODES)
def validate(directory: DirectoryArgument = None, as_json: JsonOption = False) -> None:
    """Show every problem of the catalogue, with file, line and remedy.

    References such as ${NAME} are filled in from the environment, as on a worker.
    """
    from keyturn.catalogue import CatalogueInvalid, load_catalogue
    from keyturn.catalogue.source import SECTIONS

    stack_in_use()
    chosen = catalogue_directory(directory)
    try:
        catalogue = load_catalogue(chosen, os.environ)
    except CatalogueInvalid as invalid:
        tell_problems(chosen, invalid, as_json)
        raise typer.Exit(FAILED) from None
    counts = {section: len(getattr(catalogue, section)) for section in SECTIONS}
    if as_json:
        return write_json({"catalogue": str(chosen), "valid": True, "problems": [], **counts})
    summary = ", ".join(f"{count} {section}" for section, count in counts.items())
    return write_text(f"{chosen} is valid: {summary}")


def tell_problems(directory: Path, invalid: Any, as_json: bool) -> None:
    """Each problem at its place, the remedy below it."""
    if as_json:
        problems = [vars(problem) for problem in invalid.shown]
        counted = {"count": len(invalid.problems), "problems": problems}
        return write_json({"catalogue": str(directory), "valid": False, **counted})
    for problem in invalid.shown:
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        write_text(": ".join(part for part in (place, problem.where, problem.message) if part))
        write_text(f"    {problem.remedy}")
    if invalid.others:
        write_text(invalid.others)
    return write_text(f"{invalid.count} in {directory}")


@commands.command()
def schema() -> None:
    """Print the JSON Schema of the catalogue's files, for editors."""
    from keyturn.catalogue import schema as made

    write_text(json.dumps(made(), indent=2, ensure_ascii=False))
