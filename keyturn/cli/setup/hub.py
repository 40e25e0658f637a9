"""``keyturn setup hub``: what the catalogue needs in the hub, and the login files of Keyturn's own processes."""

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.environment import load_catalogue
from keyturn.cli.failures import DIFFERS, FAILED
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, write_json, write_text
from keyturn.cli.setup.hub_commands import (
    OverwriteOption,
    RemoveOption,
    SecretsOption,
    TakeOverOption,
    carried_out,
    carry_out_plan,
    closed_to_auditors,
    insist_on_own_hub,
    keep_look,
    opened_hub,
    tell,
)
from keyturn.cli.setup.hub_tables import plan_data, summarize
from keyturn.cli.setup.target import ApplyOption
from keyturn.core.errors import Invalid, NotFound
from keyturn.core.sensitive import Sensitive

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue
    from keyturn.core.rights.hub_setup import Item
    from keyturn.providers.vault.setup import VaultSetup

ROLE_ID: Final = "role-id"
SECRET_ID: Final = "secret-id"
READ_BY_OWNER: Final = 0o400
PLAN_EXIT_CODES: Final = """\b
Exit codes:
  0    nothing is missing
  1    failed, not valid, or something could not be checked
  2    wrong usage
  3    something is missing or differs, and --apply was not given"""

ALWAYS: Final = ("worker", "revoker", "notary")
"""Whose logins every installation needs."""
GRANTER: Final = "granter"
"""Whose login is needed where the catalogue says who may ask for access."""


@dataclass(frozen=True)
class LoginFiles:
    """Where one AppRole's two ids are kept, and whether what is there is what the hub knows."""

    role: str
    directory: Path
    valid: bool


def setup_hub(
    logins: Annotated[
        Path | None,
        typer.Option("--logins", metavar="DIR", help="Where each login's role-id and secret-id go: DIR/ROLE/."),
    ] = None,
    place: Annotated[
        str | None, typer.Option("--place", metavar="NAME", help="Whose secret ids they are; this host by default.")
    ] = None,
    overwrite: OverwriteOption = None,
    write_secrets: SecretsOption = None,
    remove: RemoveOption = None,
    take_over: TakeOverOption = False,
    apply: ApplyOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --apply in a terminal: don't ask.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show what is in place too; else it is counted.")] = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the hub lacks of what the catalogue needs there, and what was changed by hand; with --apply, make it.

    The plan needs the policy keyturn-planner alone, and changes nothing but the record of the last check. --apply
    takes an administrator's login. What Keyturn has not made stays as it is, unless --overwrite names it; nothing is
    removed unless --remove names it. With --logins, also makes role-id and secret-id files for each AppRole that the
    catalogue declares for Keyturn's own processes, readable by their owner alone (0400). Safe to run again.

    Ends with 3 if the plan has differences, and with 1 if --apply left something to do.
    """
    declared = load_catalogue(catalogue)
    roles = list(own_roles(declared))
    done: list[Item] = []
    with opened_hub(catalogue) as setting:
        planned = setting.plan(overwrite, write_secrets)
        tell(planned, everything, as_json=as_json and not apply, quiet=as_json and apply)
        for line in undeclared(declared):
            note(line)
        doing = carried_out(planned, remove) if apply else []
        insist_on_own_hub(setting, doing, take_over=take_over)
        if doing and not yes and sys.stdin.isatty():
            typer.confirm(f"Do {len(doing)} of this?", abort=True, err=True)
        try:
            if doing:
                done = carry_out_plan(setting, closed_to_auditors(setting, planned), remove or [])
        finally:
            lacking = logins is not None and write_logins(setting.port, roles, logins, place, apply)
        left = setting.plan() if doing else planned
        if (apply or not overwrite) and not left.unknown and not setting.other:
            keep_look(setting, left)
    if setting.other:
        note(f"{setting.other}: setup hub --apply refuses to change what that one needs")
    if apply and as_json:
        write_json({"done": [item.resource.key for item in done], **plan_data(left, everything=False)})
    elif apply:
        write_text(f"{len(done)} done; {summarize(left)}")
    if left.unknown or (apply and (left.differs or lacking)):
        raise typer.Exit(FAILED)
    if left.differs or lacking:
        raise typer.Exit(DIFFERS)


def own_roles(declared: "Catalogue") -> Iterator[str]:
    """The AppRoles that the catalogue declares for Keyturn's own processes."""
    from keyturn.catalogue.hub_entries import AppRoleEntry

    for name, entry in declared.hub.items():
        if isinstance(entry, AppRoleEntry) and ":" not in entry.login:
            yield name


def undeclared(declared: "Catalogue") -> Iterator[str]:
    """What to write into the catalogue for logins that it needs and does not declare, in whatever way."""
    made = {getattr(entry, "login", "") for entry in declared.hub.values()}
    needed = (*ALWAYS, *([GRANTER] if declared.access_policies else ()))
    for login in needed:
        if login not in made:
            entry = f"keyturn-{login}: {{kind: approle, login: {login}, addresses: [10.1.2.0/24]}}"
            yield f"no login of the {login} is declared; under `hub:` of the catalogue write: {entry}"


def write_logins(port: "VaultSetup", roles: list[str], logins: Path, place: str | None, apply: bool) -> bool:
    """Make what is lacking, or say what is; whether anything is lacking still."""
    lacking = False
    for role in roles:
        files = login_files(port, role, logins / role)
        if files.valid:
            note(f"in place: {files.directory}")
        elif apply and approle_exists(port, role):
            make_login(port, files, place or socket.gethostname())
            write_text(f"made: {files.directory}")
        else:
            lacking = True
            note(f"to be made: {files.directory}/{ROLE_ID} and {SECRET_ID}")
    return lacking


def approle_exists(port: "VaultSetup", role: str) -> bool:
    """Whether the hub has such an AppRole."""
    try:
        return bool(port.role_id(role))
    except NotFound:
        return False


def login_files(port: "VaultSetup", role: str, directory: Path) -> LoginFiles:
    """What there is of an AppRole's files; valid where the hub knows both ids. Raises Denied for files open to all."""
    from keyturn.providers.vault.logins.files import read_login

    files = directory / ROLE_ID, directory / SECRET_ID
    if not all(file.exists() for file in files) or not approle_exists(port, role):
        return LoginFiles(role, directory, valid=False)
    role_id, secret_id = (read_login(str(file), "--logins") for file in files)
    valid = role_id == port.role_id(role) and port.knows_secret_id(role, Sensitive(secret_id))
    return LoginFiles(role, directory, valid)


def make_login(port: "VaultSetup", files: LoginFiles, place: str) -> None:
    """Write both ids for their owner alone. Raises Invalid where nothing can be written."""
    from keyturn.providers.vault.logins.files import write_own

    try:
        files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_own(str(files.directory / ROLE_ID), Sensitive(port.role_id(files.role)), READ_BY_OWNER)
        write_own(str(files.directory / SECRET_ID), port.make_secret_id(files.role, place), READ_BY_OWNER)
    except OSError as error:
        hint = "Name a directory that this user may write to: --logins DIR"
        raise Invalid("write", str(files.directory), error.strerror or type(error).__name__, hint) from None
