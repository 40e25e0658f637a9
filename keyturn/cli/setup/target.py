"""``keyturn setup target``: put applications' accounts under Keyturn's control without interruption."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import connected_hub, insist_on_hub, load_catalogue
from keyturn.cli.failures import DIFFERS, FAILED
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, write_json, write_text
from keyturn.core.errors import Conflict, Invalid
from keyturn.core.rights.target_setup import ADMIN_ROLE, Handover, TargetPlan
from keyturn.core.sensitive import SecretFields

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue
    from keyturn.core.ports.hub import Hub

ApplyOption = Annotated[bool, typer.Option("--apply", help="Do it; else it is only shown.")]

SUPERUSERS: Final = {"postgresql": ("postgres", "PGPASSWORD"), "mysql": ("root", "MYSQL_PWD")}
"""Each database's administrator, and the variable from which its tools read the password."""


def setup_target(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The target's name in the catalogue.")],
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Who does it; postgres, or root of MySQL, by default.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="Holds that user's password.")
    ] = None,
    password_env: Annotated[
        str | None,
        typer.Option("--password-env", metavar="VARIABLE", help="Holds it; PGPASSWORD, or MYSQL_PWD, by default."),
    ] = None,
    admin_role: Annotated[
        str, typer.Option("--admin-role", metavar="NAME", help="Keyturn's own account, where the hub names none yet.")
    ] = ADMIN_ROLE,
    accept_user: Annotated[
        bool, typer.Option("--accept-current-user", help="What asks for the current user may have another answer.")
    ] = False,
    apply: ApplyOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move what an application's account owns and may do to the owner role, in transactions that give way.

    Reads them from the server, and shows the statements. With --apply it runs them, after checking that the role lacks
    nothing: applications keep working. Creates Keyturn's own account, with the rights that it needs and a password that
    only the hub has. Safe to run again: only what is missing is done.
    """
    from keyturn.settings.hub import HubSettings
    from keyturn.wiring.registry import insist_on_setup, open_target_setup

    insist_on_hub()
    declared = load_catalogue(catalogue)
    settings: Any = declared.target(name)
    insist_on_setup(name, settings)
    login = administrator(name, settings.kind, user, password_file, password_env)
    handovers = list(handovers_at(declared, name))
    with connected_hub(HubSettings.from_environment()) as hub:
        admin, is_new = admin_of(hub, settings, admin_role)
        setup = open_target_setup(name, settings, login, admin)
        planned = setup.plan(handovers)
        insist_on_known(planned, admin, is_new)
        tell_target_plan(planned, as_json)
        if apply:
            planned.insist_on_rights()
            insist_on_same_user(planned, accept_user)
            if is_new:
                # Before the account exists, so that its password is not lost.
                hub.write_state(settings.admin, admin.reveal(), cas=0)
            setup.apply(handovers, planned, lambda done: note(f"done: {done}"))
            try_admin(hub, name, settings, handovers)
    if apply:
        note(f"{name} is set up")
    elif planned.refused:
        raise typer.Exit(FAILED)
    elif not planned.is_empty:
        raise typer.Exit(DIFFERS)


def administrator(
    target: str, kind: str, user: str | None, password_file: Path | None, password_env: str | None
) -> SecretFields:
    from keyturn.providers.vault.logins.files import read_login

    usual, variable = SUPERUSERS.get(kind, ("", ""))
    if password_file and password_env:
        raise Invalid("set up", target, "the password is named twice", "Give --password-file or --password-env")
    if password_file:
        password = read_login(str(password_file), "--password-file")
    elif not (password := os.environ.get(password_env or variable, "")):
        problem = f"it takes an administrator's login, and {password_env or variable or 'its variable'} is not set"
        raise Invalid("set up", target, problem, "Name a file with the password: --password-file FILE, and --user NAME")
    return SecretFields({"username": user or usual, "password": password})


def handovers_at(declared: "Catalogue", target: str) -> Iterator[Handover]:
    for secret in declared.secrets.values():
        rotation: Any = secret.rotation
        if getattr(rotation, "target", None) == target:
            accounts = [getattr(rotation, claim) for claim in rotation.claims]
            names = tuple(name for each in accounts for name in ([each] if isinstance(each, str) else each))
            yield Handover(names, getattr(rotation, "owner_role", ""))


def admin_of(hub: "Hub", settings: Any, role: str) -> tuple[SecretFields, bool]:
    """Return Keyturn's own account from the hub, or a new one, and whether it is new. Raises Invalid."""
    from keyturn.core.text.passwords import PasswordPolicy, generate

    if (state := hub.read_state(settings.admin)) is None:
        return SecretFields({"username": role, "password": generate(PasswordPolicy())}), True
    if not all(isinstance(state.data.get(field), str) and state.data[field] for field in ("username", "password")):
        raise Invalid("read", settings.admin, "it lacks username or password", "Write both there, or remove the entry")
    return SecretFields(state.data), False


def insist_on_known(planned: TargetPlan, admin: SecretFields, is_new: bool) -> None:
    """Raise Conflict if Keyturn's account exists, but its password is not in the hub."""
    if is_new and not planned.makes_admin:
        problem = f"there is a role {admin['username'].reveal()} already, and the hub has no password of it"
        hint = "Put its username and password at the target's `admin` path in the hub, or name another: --admin-role"
        raise Conflict("set up", planned.target, problem, hint)


def insist_on_same_user(planned: TargetPlan, accepted: bool) -> None:
    """Raise Conflict if something depends on the current user, which changes."""
    if planned.asks and not accepted:
        problem = f"{len(planned.asks)} things in it ask for the current user, who would be another"
        hint = "Nothing was changed. See the lines above; where each may have the new answer: --accept-current-user"
        raise Conflict("set up", planned.target, problem, hint)


def try_admin(hub: "Hub", name: str, settings: Any, handovers: Sequence[Handover]) -> None:
    from keyturn.wiring.registry import open_target

    with closing(open_target(name, settings, hub)) as target:
        target.last_sequence([account for handover in handovers for account in handover.accounts])


def tell_target_plan(planned: TargetPlan, as_json: bool) -> None:
    if as_json:
        return write_json(target_plan_data(planned))
    if planned.is_empty:
        write_text(f"-- {planned.target}: nothing is lacking")
    for transaction in planned.transactions:
        write_text("\n".join(transaction_script(transaction)))
    for what in (*planned.notes, *planned.asks):
        note(f"look at this: {what}")
    for statement in planned.refused:
        note(f"not permitted to {planned.login}: {statement.shown}: it takes {statement.lacks}")
    return None


def transaction_script(transaction: Any) -> Iterator[str]:
    yield f"-- {transaction.about}, in the database {transaction.database}"
    yield from (f"{text};" for text in transaction.begins)
    yield from (f"{each.shown};{f'  -- takes {each.lacks}' if each.lacks else ''}" for each in transaction.statements)
    yield from (f"{text};" for text in transaction.ends)
    yield ""


def target_plan_data(planned: TargetPlan) -> dict[str, Any]:
    return {
        "target": planned.target,
        "login": planned.login,
        "transactions": [
            {
                "database": each.database,
                "about": each.about,
                "statements": [{"text": statement.shown, "lacks": statement.lacks} for statement in each.statements],
            }
            for each in planned.transactions
        ],
        "notes": [*planned.notes, *planned.asks],
    }
