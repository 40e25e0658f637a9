"""``keyturn setup hub``: what `keyturn hub apply` creates, and the login files of Keyturn's processes."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.environment import load_catalogue
from keyturn.cli.failures import FAILED
from keyturn.cli.options import CatalogueOption
from keyturn.cli.output import note, write_text
from keyturn.cli.setup.hub_commands import (
    OverwriteOption,
    carried_out,
    carry_out_plan,
    insist_on_own_hub,
    keep_look,
    opened_hub,
    tell,
)
from keyturn.cli.setup.hub_tables import summarize
from keyturn.cli.setup.target import ApplyOption
from keyturn.core.errors import Invalid, NotFound
from keyturn.core.sensitive import Sensitive

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue
    from keyturn.providers.vault.setup import VaultSetup

ROLE_ID: Final = "role-id"
SECRET_ID: Final = "secret-id"
READ_BY_OWNER: Final = 0o400

ALWAYS: Final = ("worker", "revoker", "notary")
"""The logins that every installation needs."""
GRANTER: Final = "granter"
"""The login needed if the catalogue has access policies."""


def setup_hub(
    logins: Annotated[
        Path | None,
        typer.Option("--logins", metavar="DIR", help="Where each login's role-id and secret-id go: DIR/ROLE/."),
    ] = None,
    place: Annotated[
        str | None, typer.Option("--place", metavar="NAME", help="Whose secret ids they are; this host by default.")
    ] = None,
    overwrite: OverwriteOption = None,
    apply: ApplyOption = False,
    catalogue: CatalogueOption = None,
) -> None:
    """Make what the catalogue needs in the hub, as `keyturn hub apply` does, and files to log in with.

    It takes an administrator's login. A secret id is made for each AppRole that the catalogue declares for Keyturn's
    own work, and is written for its owner alone to read (0400); one that the hub still knows is kept. Nothing is shown.
    """
    declared = load_catalogue(catalogue)
    roles = list(own_roles(declared))
    with opened_hub(catalogue) as setting:
        planned = setting.plan(overwrite)
        tell(planned, everything=False, as_json=False)
        for line in undeclared(declared):
            note(line)
        if apply:
            insist_on_own_hub(setting, carried_out(planned, None))
        try:
            if apply and carried_out(planned, None):
                carry_out_plan(setting, planned, [])
        finally:
            lacking = logins is not None and write_logins(setting.port, roles, logins, place, apply)
        left = setting.plan(None) if apply else planned
        if apply:
            keep_look(setting, left)
    write_text(summarize(left))
    if apply and (left.differs or left.unknown or lacking):
        raise typer.Exit(FAILED)


def own_roles(declared: "Catalogue") -> Iterator[str]:
    from keyturn.catalogue.hub_entries import AppRoleEntry

    for name, entry in declared.hub.items():
        if isinstance(entry, AppRoleEntry) and ":" not in entry.login:
            yield name


def undeclared(declared: "Catalogue") -> Iterator[str]:
    made = {getattr(entry, "login", "") for entry in declared.hub.values()}
    needed = (*ALWAYS, *([GRANTER] if declared.access_policies else ()))
    for login in needed:
        if login not in made:
            entry = f"keyturn-{login}: {{kind: approle, login: {login}, addresses: [10.1.2.0/24]}}"
            yield f"no login of the {login} is declared; under `hub:` of the catalogue write: {entry}"


def write_logins(port: "VaultSetup", roles: list[str], logins: Path, place: str | None, apply: bool) -> bool:
    """Make missing login files or report them, and return whether any are still missing."""
    lacking = False
    for role in roles:
        directory = logins / role
        if has_login(port, role, directory):
            note(f"in place: {directory}")
        elif apply and approle_exists(port, role):
            make_login(port, role, directory, place or socket.gethostname())
            write_text(f"made: {directory}")
        else:
            lacking = True
            note(f"to be made: {directory}/{ROLE_ID} and {SECRET_ID}")
    return lacking


def approle_exists(port: "VaultSetup", role: str) -> bool:
    try:
        return bool(port.role_id(role))
    except NotFound:
        return False


def has_login(port: "VaultSetup", role: str, directory: Path) -> bool:
    """Return whether the directory has both ids and the hub knows them. Raises Denied for files open to all."""
    from keyturn.providers.vault.logins.files import read_login

    files = directory / ROLE_ID, directory / SECRET_ID
    if not all(file.exists() for file in files) or not approle_exists(port, role):
        return False
    role_id, secret_id = (read_login(str(file), "--logins") for file in files)
    return role_id == port.role_id(role) and port.knows_secret_id(role, Sensitive(secret_id))


def make_login(port: "VaultSetup", role: str, directory: Path, place: str) -> None:
    from keyturn.providers.vault.logins.files import write_own

    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_own(str(directory / ROLE_ID), Sensitive(port.role_id(role)), READ_BY_OWNER)
        write_own(str(directory / SECRET_ID), port.make_secret_id(role, place), READ_BY_OWNER)
    except OSError as error:
        hint = "Name a directory that this user may write to: --logins DIR"
        raise Invalid("write", str(directory), error.strerror or type(error).__name__, hint) from None
