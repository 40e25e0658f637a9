"""``keyturn up``, ``down``, ``status`` and ``env``: the local stack, and where every secret stands."""

import os
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.copies.grouped import CopyFailure, failure_lines
from keyturn.cli.environment import (
    home_directory,
    known_stack,
    leading_elsewhere,
    opened_workspace,
    settle_catalogue,
    stack_environment,
)
from keyturn.cli.failures import FAILED, UNKNOWN, naming_file
from keyturn.cli.options import CatalogueOption, FailureUrlOption, JsonOption, Layout, OutputOption, layout_of
from keyturn.cli.output import note, when, write_json, write_names, write_table, write_text
from keyturn.core.errors import KeyturnError
from keyturn.doctor.results import Grade

if TYPE_CHECKING:
    from deployments.local import stack as local
    from deployments.local.home import Stack
    from keyturn.cli.access.active_grants import ActiveGrant
    from keyturn.cli.health import LoginState
    from keyturn.cli.secrets.copies import CopyStatus
    from keyturn.cli.secrets.hub_status import HubStatus
    from keyturn.cli.secrets.status import SecretStatus
    from keyturn.core.ports.restored import Restoration
    from keyturn.doctor.results import CheckResult
    from keyturn.keys.authority_status import AuthorityStatus
    from keyturn.keys.managed_keys import KeyStatus
    from keyturn.pages.dashboard import Dashboard
    from keyturn.rotation.repair.removed_entries import Undeclared
    from keyturn.rotation.state.break_glass import BrokenGlass
    from keyturn.rotation.state.context import Workspace
    from keyturn.serving.statuses import PartStatus

NAMED: Final = 5
"""So many of what is not healthy are named in the last line."""

SHOWN: Final = 20
"""So many copies of secrets that the catalogue does not name are shown to people."""

WatchOption = Annotated[
    int,
    typer.Option("--watch", metavar="SECONDS", min=0, help="Look again this often, until Ctrl-C; at a terminal alone."),
]

SERVICE_COLUMNS: Final = ("service", "state", "address", "pid")


def up(catalogue: CatalogueOption = None, failure_url: FailureUrlOption = None, as_json: JsonOption = False) -> None:
    """Start the local stack, all of it on loopback.

    A hub, a database, three clouds, a cluster, Prefect and two applications. It lies in KEYTURN_HOME, .keyturn by
    default. What runs already is left alone. Where anything fails, what this command started is stopped.
    """
    from deployments.local import stack as local

    home = home_directory()
    settle_catalogue(catalogue)
    if failure_url:
        os.environ["KEYTURN_FAILURE_URL"] = failure_url
    with naming_file(home):
        stack = local.up(home, fill_stack, note)
    services = local.status(home)
    if as_json:
        write_json({"stack": stack_data(stack, services)})
    else:
        write_table(SERVICE_COLUMNS, map(service_row, services))
        note(f"Prefect UI: {stack.url('prefect-server')}")
        note("next: keyturn status, keyturn rotate ml-training/database --now")


def fill_stack(stack: "Stack") -> None:
    """Fill the hub, the database and the clouds, and register with Prefect."""
    from deployments.local.prepare import prepare_stack

    note("filling the hub, the database and the clouds, and registering with Prefect")
    prepare_stack(stack)


def down(
    delete: Annotated[bool, typer.Option("--delete", help="Then delete everything that it holds, for good.")] = False,
) -> None:
    """Stop the local stack.

    What it holds stays, and is there again after `keyturn up`.
    """
    from deployments.local import stack as local

    home = home_directory()
    with naming_file(home):
        (local.remove if delete else local.down)(home, note)


def status(
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Layout.TABLE,
    watch: WatchOption = 0,
) -> None:
    """Show the services, and where every secret stands.

    Each secret with its version and age, when it is due, its copies (since when they fail) and its consumers.
    """
    layout = layout_of(output, as_json)
    if not watch:
        if code := show_status(catalogue, layout):
            raise typer.Exit(code)
        return None
    if layout not in (Layout.TABLE, Layout.WIDE):
        raise typer.BadParameter("--watch shows tables: give it without --json, --output json and --output name")
    from keyturn.cli.redraw import redraw

    def look() -> None:
        show_status(catalogue, layout)

    return redraw(look, watch)


def show_status(catalogue: Path | None, layout: Layout) -> int:
    """Look once, and show it; the exit code."""
    stack = known_stack()
    services = services_of(stack) if stack else []
    stopped = stack is not None and not any(s.running for s in services if s.name == "openbao")
    if stopped and not os.environ.get("VAULT_ADDR"):
        note("the local stack's hub does not run, so its secrets are not shown; start it with `keyturn up`")
        show_overview(stack, services, Overview(), layout)
        return UNKNOWN
    return show_secrets(stack, services, catalogue, layout)


def services_of(stack: "Stack") -> list["local.ServiceStatus"]:
    """How the services of the local stack are."""
    from deployments.local.stack import status

    return status(stack.home)


@dataclass(frozen=True)
class Overview:
    """What the hub tells. ``others`` are copies that are not in sync, of secrets that the catalogue does not name."""

    secrets: list["SecretStatus"] = field(default_factory=list)
    others: list["CopyStatus"] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    undeclared: list["Undeclared"] = field(default_factory=list)
    """Secrets that the catalogue declares no more, and of which something is open."""
    remarks: tuple[str, ...] = ()
    parts: list["PartStatus"] = field(default_factory=list)
    """What runs on beside the workers, or ought to."""
    keys: list["KeyStatus"] = field(default_factory=list)
    """The keys of other engines that the catalogue has managed."""
    unreviewed: list["BrokenGlass"] = field(default_factory=list)
    """What was done without a second person, and nobody has looked at since."""
    authorities: list["AuthorityStatus"] = field(default_factory=list)
    """What signs certificates."""
    hub: "HubStatus | None" = None
    """Whether the hub is set up as the catalogue says, by the last daily look."""
    at: datetime | None = None
    """When the hub was asked, by its clock."""
    grants: list["ActiveGrant"] = field(default_factory=list)
    """What is given as access for a while, the first to end first."""
    restoration: "Restoration | None" = None
    """From which backup the hub was restored, where it was."""
    health: "list[CheckResult]" = field(default_factory=list)
    """Workers, incidents, ledger and logins."""
    assessment: "Assessment" = field(default_factory=lambda: Assessment())


def show_secrets(
    stack: "Stack | None", services: list["local.ServiceStatus"], catalogue: Path | None, layout: Layout
) -> int:
    """The services, and the secrets; the services are shown even where the hub can't be asked. The exit code."""
    from keyturn.cli.secrets.dashboard import Drawing

    try:
        with opened_workspace(catalogue, looking=True) as workspace:
            overview = overview_of(workspace)
            overview = replace(overview, assessment=assess(Drawing(workspace, overview).board()))
    except KeyturnError:
        if services:
            show_overview(stack, services, Overview(), layout)
        raise
    show_overview(stack, services, overview, layout)
    return 0 if layout is Layout.NAME else overview.assessment.code


@dataclass(frozen=True)
class Assessment:
    """What is not healthy, and what nobody could check, each by its name."""

    failed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code."""
        return FAILED if self.failed else UNKNOWN if self.unknown else 0

    @property
    def state(self) -> str:
        """In one word."""
        return "failed" if self.failed else "unknown" if self.unknown else "ok"

    def lines(self) -> Iterator[str]:
        """For people; nothing where all is healthy."""
        for words, names in (("NOT HEALTHY", self.failed), ("not checked", self.unknown)):
            if names:
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                yield f"{words}: {', '.join(names[:NAMED])}{more}"


def assess(board: "Dashboard") -> Assessment:
    """By the same levels as the page of everything."""
    from keyturn.pages.dashboard import Level

    named = [(f"{line.kind} {line.name}".removeprefix("health "), line.level) for line in board.others]
    named += [(line.path, line.level) for line in board.secrets]
    failed, unknown = (tuple(name for name, level in named if level is wanted) for wanted in (Level.BAD, Level.UNKNOWN))
    return Assessment(failed, (*unknown, *board.unseen))


def overview_of(workspace: "Workspace") -> Overview:
    """All that the hub and the stores tell, and whether all of it works. Raises where no secret could be told."""
    from keyturn.cli.health import check_logins, check_services

    with ThreadPoolExecutor(1) as pool:
        services = pool.submit(copy_context().run, check_services, workspace)
        overview = seen_in_hub(workspace)
    logins = check_logins(workspace, login_states(overview.secrets))
    return replace(overview, health=[*services.result(), logins])


def login_states(secrets: Sequence["SecretStatus"]) -> "list[LoginState]":
    """Of each secret whose CURRENT should log in."""
    from keyturn.cli.health import LoginState

    return [LoginState(s.path, s.now - s.rotated_at, s.login) for s in secrets if s.rotated_at and not s.occupied]


def seen_in_hub(workspace: "Workspace") -> Overview:
    """What the hub and the stores tell."""
    from keyturn.cli.access.active_grants import active_grants
    from keyturn.cli.emergencies.approvals import find_unreviewed
    from keyturn.cli.keys.commands import keys_of
    from keyturn.cli.secrets.copies import look_at_copies
    from keyturn.cli.secrets.hub_status import hub_status
    from keyturn.cli.secrets.status import secret_statuses
    from keyturn.cli.setup.pki import authorities_of
    from keyturn.core.ports.restored import look_at_restoration
    from keyturn.rotation.repair.removed_entries import left_open
    from keyturn.serving.statuses import part_statuses

    secrets, copies = secret_statuses(workspace, look_at_copies)
    return Overview(
        secrets,
        copies.beside(secret.path for secret in secrets),
        dict(copies.counts),
        left_open(workspace),
        copies.remarks,
        part_statuses(workspace),
        keys_of(workspace),
        find_unreviewed(workspace),
        authorities_of(workspace),
        hub_status(workspace),
        workspace.hub_now(),
        active_grants(workspace),
        look_at_restoration(workspace.hub),
    )


def show_overview(
    stack: "Stack | None", services: list["local.ServiceStatus"], overview: Overview, layout: Layout
) -> None:
    """Both tables, or one JSON object, or the secrets' names."""
    if layout is Layout.NAME:
        return write_names(secret.path for secret in overview.secrets)
    if layout is Layout.JSON:
        return write_json(
            {
                "stack": stack_data(stack, services) if stack else None,
                "hub": os.environ.get("VAULT_ADDR"),
                "secrets": [secret.to_data() for secret in overview.secrets],
                "others": [{"secret": place.item.path, **place.to_data()} for place in overview.others],
                "copies": overview.counts,
                "logins": login_counts(overview.secrets),
                "undeclared": [{"path": left.path, "left": left.message} for left in overview.undeclared],
                "keys": [key.to_data() for key in overview.keys],
                "authorities": [authority.to_data() for authority in overview.authorities],
                "restored": overview.restoration.to_data() if overview.restoration else None,
                "hub_setup": overview.hub.to_data() if overview.hub else None,
                "parts": [part.to_data() for part in overview.parts],
                "access": [grant.to_data() for grant in overview.grants],
                "unreviewed": [asdict(glass) for glass in overview.unreviewed],
                "remarks": list(overview.remarks),
                "health": {
                    "state": overview.assessment.state,
                    "failed": list(overview.assessment.failed),
                    "unknown": list(overview.assessment.unknown),
                    "checks": [check.to_data() for check in overview.health],
                },
            }
        )
    if services:
        write_table(SERVICE_COLUMNS, map(service_row, services))
    if services and overview.secrets:
        write_text("")
    if overview.restoration and overview.restoration.to_do:
        note(overview.restoration.to_do)
    if overview.secrets:
        show_standings(overview)
    if overview.keys and overview.at:
        from keyturn.cli.keys.commands import tell_keys

        tell_keys(overview.keys, overview.at)
    if overview.authorities and overview.at:
        from keyturn.cli.setup.pki import tell_authorities

        tell_authorities(overview.authorities, overview.at)
    if overview.unreviewed:
        from keyturn.cli.emergencies.approvals import tell_unreviewed

        tell_unreviewed(overview.unreviewed)
    if overview.hub:
        note(overview.hub.words)
    for grant in overview.grants:
        note(grant.words)
    for part in overview.parts:
        if part.problem:
            note(f"{part.part} {part.problem}")
    for check in overview.health:
        if check.grade is not Grade.WELL:
            note(f"{check.name}: {check.words}{f'. {check.remedy}' if check.remedy else ''}")
    for line in overview.assessment.lines():
        note(line)
    return None


def login_counts(secrets: Sequence["SecretStatus"]) -> dict[str, int]:
    """How many secrets' CURRENT came to what when it was last tried: numbers for a monitor."""
    from keyturn.rotation.state.login_checks import count_results

    return count_results([secret.login for secret in secrets if secret.rotated_at and not secret.ended_by])


def show_standings(overview: Overview) -> None:
    """The secrets' table; what is wrong with copies stands on stderr, as it is long."""
    from keyturn.cli.secrets.status import COLUMNS

    write_table(COLUMNS, (secret.row() for secret in overview.secrets))
    listed = [(secret.path, copy) for secret in overview.secrets for copy in secret.copies if copy.error]
    listed += [(other.item.path, other) for other in overview.others[:SHOWN]]
    for line in failure_lines(copy_failure(path, copy) for path, copy in listed):
        note(line)
    note_silent(overview.secrets)
    if len(overview.others) > SHOWN:
        note(f"and {len(overview.others) - SHOWN} more copies of secrets that only patterns push: see `keyturn plan`")
    note_undeclared(overview.undeclared)
    first = overview.restoration.to_do if overview.restoration else ""
    for remark in overview.remarks:
        if remark != first:
            note(remark)
    if overview.counts:
        note(f"copies: {', '.join(f'{count} {action}' for action, count in overview.counts.items())}")


def copy_failure(path: str, copy: "CopyStatus") -> CopyFailure:
    """What is wrong with a copy, and since when."""
    item = copy.item
    return CopyFailure(item.store, item.name, path, copy.error or copy.state, copy.kind, copy.since)


def note_silent(secrets: Sequence["SecretStatus"]) -> None:
    """Why consumers have not heard of what somebody wrote, on stderr."""
    listed = [(secret.path, hearing) for secret in secrets for hearing in secret.consumers if hearing.silence]
    for path, hearing in listed[:SHOWN]:
        since = f" (since {when(hearing.since)} UTC)" if hearing.since else ""
        note(f"{hearing.consumer} of {path}: {hearing.silence.error if hearing.silence else ''}{since}")
    if len(listed) > SHOWN:
        note(f"and {len(listed) - SHOWN} more consumers")


def note_undeclared(undeclared: Sequence["Undeclared"]) -> None:
    """What is open of secrets that the catalogue declares no more, on stderr."""
    for secret in undeclared[:SHOWN]:
        note(f"NOT DECLARED {secret.path}: {secret.message}")
    if len(undeclared) > SHOWN:
        note(f"and {len(undeclared) - SHOWN} more that nothing declares")


def service_row(service: "local.ServiceStatus") -> tuple[str, str, str, str]:
    """One service for people."""
    return service.name, "running" if service.running else "stopped", service.address or "-", str(service.pid or "-")


def stack_data(stack: "Stack", services: list["local.ServiceStatus"]) -> dict[str, Any]:
    """The stack as JSON has it."""
    listed = [
        {
            "name": service.name,
            "running": service.running,
            "address": service.address,
            "pid": service.pid,
            "log": str(service.log),
        }
        for service in services
    ]
    return {"home": str(stack.home), "services": listed}


def env(as_json: JsonOption = False) -> None:
    """Print the local stack's environment for a shell.

    Use it so: eval "$(keyturn env)". It is for the local stack alone: the client secret in it opens nothing
    but the stack's own Azure emulator. Variables that lead to another hub or cloud are unset.
    """
    from deployments.local.home import opened

    stack = opened(home_directory())
    variables = stack_environment(stack)
    unset = [name for name in leading_elsewhere() if name not in variables]
    if as_json:
        return write_json({"export": variables, "unset": unset})
    lines = [f"unset {name}" for name in unset]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    return write_text("\n".join(lines))
