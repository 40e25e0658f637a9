"""``keyturn catalogue``: check the files that declare every secret, sign them, and print their schema."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import catalogue_directory, insist_on_hub, stack_in_use
from keyturn.cli.failures import EXIT_CODES, FAILED
from keyturn.cli.options import JsonOption
from keyturn.cli.output import write_json, write_text
from keyturn.core.workspaces import CATALOGUE_VARIABLE

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue
    from keyturn.catalogue.files.load import Unresolved

UNANSWERED: Final = "have no health endpoint: a delivered notice counts, and they read the new value within the grace"
"""The message about consumers that give no acknowledgement."""

commands = typer.Typer(help="Check the catalogue, sign it, or print its schema.", no_args_is_help=True)

KeyFileOption = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="A private key of Ed25519, in PEM."),
]
HubKeyOption = Annotated[
    str, typer.Option("--hub-key", metavar="NAME", help="A key of Ed25519 in the hub's transit engine, by its name.")
]
NameOption = Annotated[
    str,
    typer.Option("--name", help="What the signature calls the key; its own name, or its file's, by default."),
]
DirectoryArgument = Annotated[
    Path | None,
    typer.Argument(metavar="DIR", envvar=CATALOGUE_VARIABLE, help="The directory; deployments/catalogue by default."),
]


NoEnvironmentOption = Annotated[
    bool,
    typer.Option("--no-environment", help="Fill in no variable; what depends on one is reported as not checked."),
]
AgainstHubOption = Annotated[
    bool,
    typer.Option("--against-hub", help="Also read the secrets in the hub, and report declared fields that they lack."),
]


@commands.command(epilog=EXIT_CODES)
def validate(
    directory: DirectoryArgument = None,
    as_json: JsonOption = False,
    no_environment: NoEnvironmentOption = False,
    against_hub: AgainstHubOption = False,
) -> None:
    """Show every problem of the catalogue, with file, line and remedy.

    References such as ${NAME} are filled in from the environment, as on a worker. With --no-environment they are not,
    and everything that depends on one is reported as not checked: for a pull request, on a machine that is no worker.
    """
    if no_environment and against_hub:
        raise typer.BadParameter("give --no-environment or --against-hub, not both")
    if no_environment:
        validate_unresolved(catalogue_directory(directory), as_json)
        return
    from keyturn.catalogue import CatalogueInvalid, load_catalogue
    from keyturn.catalogue.files.parse import SECTIONS

    stack_in_use()
    chosen = catalogue_directory(directory)
    try:
        catalogue = load_catalogue(chosen, os.environ)
    except CatalogueInvalid as invalid:
        tell_problems(chosen, invalid, as_json)
        raise typer.Exit(FAILED) from None
    counts = {section: len(getattr(catalogue, section)) for section in SECTIONS}
    unanswered = sorted(name for name, consumer in catalogue.consumers.items() if not consumer.answers)
    lacking, unread = compare_with_hub(catalogue) if against_hub else ({}, {})
    if as_json:
        comparison = {"missing_fields": lacking, "unread": unread} if against_hub else {}
        answer = {"catalogue": str(chosen), "valid": True, "problems": [], **counts, "unanswered": unanswered}
        write_json({**answer, **comparison})
    else:
        summary = ", ".join(f"{count} {section}" for section, count in counts.items())
        write_text(f"{chosen} is valid: {summary}")
        if unanswered:
            write_text(f"{UNANSWERED}: {', '.join(unanswered)}")
        for path, words in lacking.items():
            write_text(f"{path}: {words}\n    Correct the entry, or write the field: a rotation is refused until then")
        for path, problem in unread.items():
            write_text(f"not compared with the hub: {path}: {problem}")
    if lacking or unread:
        raise typer.Exit(FAILED)


def compare_with_hub(catalogue: "Catalogue") -> tuple[dict[str, str], dict[str, str]]:
    """Return secrets without their declared fields in the hub, and secrets that could not be read, each with the
    reason.

    Raises Unavailable, Denied.
    """
    from keyturn.cli.environment import connected_hub
    from keyturn.rotation.declared import find_missing_fields
    from keyturn.settings.hub import HubSettings
    from keyturn.wiring.registry import open_workspace

    insist_on_hub()
    with connected_hub(HubSettings.from_environment()) as hub:
        unread: dict[str, str] = {}
        return find_missing_fields(open_workspace(catalogue, hub), sorted(catalogue.secrets), unread), unread


def validate_unresolved(directory: Path, as_json: bool) -> None:
    """Check what needs no variable, and list the rest. Unchecked values rule out the answer "valid"."""
    from keyturn.catalogue import CatalogueInvalid, examine_unresolved

    examined = examine_unresolved(directory, os.environ)
    if as_json:
        valid = False if examined.problems else None if examined.unchecked else True
        problems, unchecked = (
            [problem.to_data() for problem in these] for these in (examined.problems, examined.unchecked)
        )
        counts = {"count": len(examined.problems), **examined.counts}
        write_json(
            {"catalogue": str(directory), "valid": valid, **counts, "problems": problems, "unchecked": unchecked}
        )
    else:
        if examined.problems:
            tell_problems(directory, CatalogueInvalid(str(directory), examined.problems), as_json=False)
        tell_unchecked(directory, examined)
    if examined.problems:
        raise typer.Exit(FAILED)


def tell_unchecked(directory: Path, examined: "Unresolved") -> None:
    for value in examined.unchecked:
        place = f"{value.file}:{value.line}" if value.line else value.file
        write_text(": ".join(part for part in ("not checked", place, value.where, value.message) if part))
    if examined.entries:
        write_text(f"not checked: how other entries go with {', '.join(examined.entries)}")
    if examined.unchecked and not examined.problems:
        write_text(f"{directory} has no problem that shows without its environment; the above may be right or wrong")
    elif not examined.problems:
        write_text(f"{directory} is valid: nothing in it depends on the environment")


def tell_problems(directory: Path, invalid: Any, as_json: bool) -> None:
    if as_json:
        problems = [problem.to_data() for problem in invalid.shown]
        counted = {"count": len(invalid.problems), "problems": problems}
        return write_json({"catalogue": str(directory), "valid": False, **counted})
    for problem in invalid.shown:
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        write_text(": ".join(part for part in (place, problem.where, problem.message) if part))
        write_text(f"    {problem.remedy}")
    if invalid.others:
        write_text(invalid.others)
    return write_text(f"{invalid.count} in {directory}")


@commands.command(epilog=EXIT_CODES)
def sign(
    directory: DirectoryArgument = None,
    key_file: KeyFileOption = None,
    hub_key: HubKeyOption = "",
    name: NameOption = "",
    as_json: JsonOption = False,
) -> None:
    """Sign the catalogue's files as they are now: their names and contents.

    The signature goes to catalogue.sig next to them. Other people's signatures of the same files stay in it.
    """
    if bool(key_file) == bool(hub_key):
        raise typer.BadParameter("give --key-file FILE, or --hub-key NAME: one of the two")
    chosen = catalogue_directory(directory)
    with signer_of(key_file, hub_key) as signer:
        signed = write_signature(chosen, name or hub_key or (key_file.stem if key_file else ""), signer)
    if as_json:
        return write_json({"catalogue": str(chosen), **signed})
    return write_text(f"{chosen} is signed: {signed['files']} files, {signed['digest']}\nby {signed['key']}")


@contextmanager
def signer_of(key_file: Path | None, hub_key: str) -> Iterator[Any]:
    """The signing key: a file's, or one in the hub's transit engine, which never leaves it."""
    if key_file:
        from keyturn.providers.keys.note_signer import FileSigner

        yield FileSigner(key_file)
        return
    insist_on_hub()
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.settings.hub import HubSettings

    hub = VaultHub(HubSettings.from_environment())
    try:
        yield hub.signer(hub_key)
    finally:
        hub.close()


def write_signature(directory: Path, name: str, signer: Any) -> dict[str, Any]:
    """Sign the directory's files. Returns what was signed, and the public key. Raises Invalid."""
    from keyturn.catalogue import CatalogueInvalid
    from keyturn.catalogue.files.append import write_file
    from keyturn.catalogue.files.parse import gather, parse_files
    from keyturn.catalogue.files.signature import FILE, add_signature, digest_of, with_other_files
    from keyturn.ledger.signed_notes import PublicKey

    gathered = gather(directory)
    if gathered.problems or not gathered.content:
        raise CatalogueInvalid(str(directory), gathered.problems or parse_files(gathered).problems)
    file = directory / FILE
    before = file.read_text(errors="replace") if file.is_file() else ""
    digests = with_other_files(directory, gathered.digests)
    write_file(file, add_signature(before, digests, name, signer, datetime.now(UTC)), 0o644)
    key = str(PublicKey(name, signer.public_key()))
    return {"files": len(digests), "digest": digest_of(gathered.digests), "key": key}


@commands.command()
def schema() -> None:
    """Print the JSON Schema of the catalogue's files, for editors."""
    from keyturn.catalogue import schema as made

    write_text(json.dumps(made(), indent=2, ensure_ascii=False))
