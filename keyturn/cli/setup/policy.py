"""``keyturn policy check``: the least rights that each login needs, compared with what a login has."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.environment import catalogue_directory, connected_hub, insist_on_hub, load_catalogue, stack_in_use
from keyturn.cli.failures import EXIT_CODES, FAILED
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, write_json, write_table, write_text
from keyturn.core.errors import Invalid
from keyturn.core.workspaces import WorkspaceNames
from keyturn.doctor import elsewhere

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue
    from keyturn.core.rights.rights import Document
    from keyturn.doctor.results import CheckResult
    from keyturn.rights.check import Comparison
    from keyturn.rights.scope import HubScope

commands = typer.Typer(help="The least rights that each login needs.", no_args_is_help=True)

NOT_ASKED: Final = "https://not-asked.invalid"
"""A placeholder for the hub's address if only its names are needed."""

AlsoOption = Annotated[
    list[str] | None,
    typer.Option("--also", metavar="PATH", help="A secret that the catalogue does not declare, such as a former name."),
]
LeasePrefixOption = Annotated[
    list[str] | None,
    typer.Option("--lease-prefix", metavar="PREFIX", help="More leases that an incident may end."),
]


def documents_of(
    catalogue: Path | None, also: list[str], lease_prefixes: list[str], everything: bool
) -> "list[Document]":
    from keyturn.catalogue.files import parse
    from keyturn.catalogue.files.signature import digest_of
    from keyturn.rights import policy_documents

    if everything:
        return policy_documents.everything()
    stack_in_use()
    digest = digest_of(parse.gather(catalogue_directory(catalogue)).digests)
    declared = load_catalogue(catalogue)
    return policy_documents.rendered(hub_scope(declared, also, lease_prefixes), declared, digest)


def hub_scope(declared: "Catalogue", also: list[str], lease_prefixes: list[str]) -> "HubScope":
    from keyturn.providers.vault.engines.leases import lease_prefix
    from keyturn.rights.scope import places_of, scope_of
    from keyturn.settings.hub import HubSettings

    hub = HubSettings.from_environment({**os.environ, "VAULT_ADDR": os.environ.get("VAULT_ADDR") or NOT_ASKED})
    places = places_of(declared, hub, WorkspaceNames.from_environment(os.environ).own)
    return scope_of(declared, places, also, [lease_prefix(prefix) for prefix in lease_prefixes])


def write_files(directory: Path, documents: "list[Document]", as_json: bool) -> None:
    from keyturn.rights.directory import left_over, write

    if directory.exists() and not directory.is_dir():
        raise Invalid("write", str(directory), "it is no directory", "Name another")
    write(directory, documents)
    left = list(left_over(directory, documents))
    if as_json:
        return write_json({"directory": str(directory), "files": [made.name for made in documents], "left_over": left})
    for name in left:
        note(f"{directory / name} was made for an earlier catalogue, which this one has no need of: remove it")
    return write_text("\n".join(str(directory / made.name) for made in documents))


@commands.command(epilog=EXIT_CODES)
def check(
    role: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="LOGIN",
            help="Whose work it does: worker, revoker, notary, monitor, numbers, pki, planner, auditor, consumer:NAME.",
        ),
    ] = "worker",
    also: AlsoOption = None,
    lease_prefix: LeasePrefixOption = None,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which rights the login in use lacks for its work, and which it has beyond.

    Ends with 1 if it lacks any, if a token role is not as declared, or if something could not be checked. Changes
    nothing. Hub, stores and targets are asked about the rights for the catalogue, and about dangerous ones.
    """
    from keyturn.doctor.token_roles import check_roles, roles_of
    from keyturn.rights import check as checks
    from keyturn.rights.roles import needed
    from keyturn.settings.hub import HubSettings

    insist_on_hub(revoking=role == "revoker")
    declared = load_catalogue(catalogue)
    scope = hub_scope(declared, also or [], lease_prefix or [])
    sections = needed(scope, role)
    with connected_hub(HubSettings.from_environment()) as hub:
        held = hub.capabilities(checks.paths_to_ask(scope, sections))
        roles = list(check_roles(hub, roles_of(declared, scope, role)))
    compared, answers = checks.compare(scope, sections, held), elsewhere.ask_everyone(declared, role)
    tell(role, compared, answers, list(elsewhere.unasked(declared, role)), roles, as_json)
    if compared.lacking or any(answer.is_bad for answer in answers) or any(result.hinders for result in roles):
        raise typer.Exit(FAILED)


def tell(
    role: str,
    compared: "Comparison",
    answers: list[elsewhere.RightElsewhere],
    unasked: list[str],
    roles: "list[CheckResult]",
    as_json: bool,
) -> None:
    others = [(answer.where, answer.finding, answer.verdict) for answer in answers if answer.finding]
    if as_json:
        return write_json(
            {
                "as": role,
                "lacking": [vars(finding) for finding in compared.lacking],
                "beyond": [{"capability": finding.capability, "path": finding.path} for finding in compared.beyond],
                "elsewhere": [
                    {
                        "where": where,
                        "finding": finding,
                        "call": verdict.call,
                        "place": verdict.place,
                        "why": verdict.why,
                    }
                    for where, finding, verdict in others
                ],
                "not_asked": unasked,
                "token_roles": [result.to_data() for result in roles],
            }
        )
    rows = [("lacks", finding.capability, finding.path, finding.why) for finding in compared.lacking]
    rows += [("has beyond", finding.capability, finding.path, "") for finding in compared.beyond]
    if rows:
        write_table(("", "capability", "path in the hub", "needed for"), rows)
    if others:
        lines = [(finding, where, right.call, right.place, right.why) for where, finding, right in others]
        write_table(("", "where", "call", "of", "needed for"), lines)
    for result in roles:
        if result.grade != "ok":
            note(f"{result.name} ({result.grade}): {result.words}. {result.remedy}")
    for name in unasked:
        note(f"not asked: {name}")
    if answers:
        findings = [answer.finding for answer in answers]
        write_text(
            f"in stores and at targets a {role} lacks {findings.count('lacks')} rights here,"
            f" has {findings.count('has beyond')} beyond, and {findings.count('could not look')} could not be looked"
            f" at, of {len(answers)} that were asked about"
        )
    return write_text(
        f"in the hub a {role.partition(':')[0]} lacks {len(compared.lacking)} rights here,"
        f" and has {len(compared.beyond)} beyond, of those that were asked about"
    )
