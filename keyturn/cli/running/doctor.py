"""``keyturn doctor``: whether the login can do its work here, and how to fix what it lacks."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import FAILED
from keyturn.cli.options import CatalogueOption, JsonOption, WorkspaceOption
from keyturn.cli.output import write_json, write_table, write_text
from keyturn.cli.setup.prefect_server import insist_on_api
from keyturn.core.errors import KeyturnError
from keyturn.core.workspaces import DEFAULT, WorkspaceNames
from keyturn.project import project_module

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue
    from keyturn.doctor.results import CheckResult, Diagnosis
    from keyturn.rotation.state.context import Workspace

RoleOption = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="LOGIN",
        help="Whose work it is to do: worker, revoker, notary, monitor, granter, backup or consumer:NAME. "
        "By default the login's own.",
        show_default=False,
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="Show what is well, too.")]


def doctor(
    role: RoleOption = "",
    everything: AllOption = False,
    catalogue: CatalogueOption = None,
    workspace_name: WorkspaceOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Check every right, place and process that Keyturn needs, and show what to do.

    Changes nothing. Ends with READY, or with 1 if anything is missing or could not be checked.
    """
    with opened_workspace(catalogue, revoking=role == "revoker", signing=role == "notary") as workspace:
        diagnosis = diagnose(workspace, WorkspaceNames(workspace_name), role or own_role(workspace))
    tell_diagnosis(diagnosis, everything, as_json)
    if not diagnosis.ready:
        raise typer.Exit(FAILED)


def own_role(workspace: "Workspace") -> str:
    """Whose login this is, by its AppRole in the catalogue, or by that role's usual name; else the worker's."""
    from keyturn.doctor.examine import OF_ROLE

    try:
        name = workspace.hub.identity().role
    except KeyturnError:
        return "worker"
    login = getattr(workspace.catalogue.hub.get(name), "login", name.rpartition("-")[2])
    return login if login in OF_ROLE else "worker"


def diagnose(workspace: "Workspace", names: WorkspaceNames, role: str) -> "Diagnosis":
    from keyturn.cli.setup.policy import hub_scope
    from keyturn.doctor.examine import examine
    from keyturn.doctor.parts import excuse_other_granter
    from keyturn.doctor.patient import Patient

    diagnosis = examine(Patient(workspace, hub_scope(workspace.catalogue, [], []), role))
    if role != "worker":
        return diagnosis
    registered = in_prefect(names, os.environ.get("PREFECT_API_URL", ""), workspace.catalogue)
    return replace(diagnosis, results=list(excuse_other_granter([*diagnosis.results, *registered])))


def in_prefect(names: WorkspaceNames, api: str, declared: "Catalogue") -> "list[CheckResult]":
    if not api:
        return []
    import asyncio

    from keyturn.doctor.results import unseen

    checks = project_module("deployments.prefect_checks")

    try:
        insist_on_api(names.own)
    except KeyturnError as error:
        return [unseen(checks.AREA, "server", error)]
    results: list[CheckResult] = asyncio.run(checks.check_prefect(api, names, declared.unneeded, declared.targets))
    return results


def tell_diagnosis(diagnosis: "Diagnosis", everything: bool, as_json: bool) -> None:
    if as_json:
        return write_json(diagnosis.to_data())
    order = ("failed", "waiting", "unknown", "advice", "ok")
    shown = [result for result in diagnosis.results if everything or result.grade != "ok"]
    if shown:
        write_table(("", "what", "how it is, and what to do"), rows(sorted(shown, key=lambda r: order.index(r.grade))))
    return write_text(diagnosis.summary)


def rows(results: "Sequence[CheckResult]") -> list[tuple[str, str, str]]:
    return [
        (str(result.grade), f"{result.area} {result.name}", "\n".join(filter(None, (result.words, result.remedy))))
        for result in results
    ]
