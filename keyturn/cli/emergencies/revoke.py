"""``keyturn revoke``: end leaked credentials everywhere, replace them, and prove the result."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli import options
from keyturn.cli.completion import complete_incident, complete_owner, complete_secret, complete_store, complete_target
from keyturn.cli.emergencies.incident_runner import Carried, Through, carry_on, resume_hint, show_incident, tell_on_call
from keyturn.cli.emergencies.wake import wake_keeper
from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import say
from keyturn.cli.interruption import signals_as_interrupt
from keyturn.cli.local_stack import load_local
from keyturn.cli.manual_commands import needing_hub, note_commands
from keyturn.cli.output import note, note_error, write_json, write_table
from keyturn.core.actor import going_past_rules
from keyturn.core.clocks import by_hub_clock
from keyturn.core.errors import KeyturnError, TerminalError
from keyturn.core.workspaces import DEFAULT
from keyturn.revocation.incidents.incident import Incident, Mode, SecretProgress, Step
from keyturn.revocation.incidents.recorded import record_what_waits
from keyturn.revocation.incidents.store import load_secrets, load_status, new_incident_id
from keyturn.revocation.selector import Selection, Selector, select_secrets

if TYPE_CHECKING:
    from keyturn.revocation.preview import Preview
    from keyturn.rotation.state.context import Workspace

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH", help="Secrets, or patterns such as 'ml-training/*' or '**'.", autocompletion=complete_secret
    ),
]
Owner = Annotated[str, typer.Option("--owner", help="Only secrets of this owner.", autocompletion=complete_owner)]
Classification = Annotated[str, typer.Option("--classification", help="Only secrets of this classification.")]
Target = Annotated[
    str, typer.Option("--target", help="Only credentials of this target.", autocompletion=complete_target)
]
Store = Annotated[
    str, typer.Option("--store", help="Only secrets with a copy in this store.", autocompletion=complete_store)
]
LeasePrefix = Annotated[
    str, typer.Option("--lease-prefix", help="The hub's leases below it, such as database/creds/ml-reader.")
]
Fingerprint = Annotated[str, typer.Option("--fingerprint", help="Only what has it; `keyturn whois` finds it.")]
IncidentId = Annotated[str, typer.Option("--incident", metavar="ID", help="Its name; without one it is made.")]
Resume = Annotated[
    str,
    typer.Option("--resume", metavar="ID", help="Go on with an open incident.", autocompletion=complete_incident),
]
OverridePolicy = Annotated[
    bool,
    typer.Option("--override-policy", help="Go on although the operator's file refuses the catalogue; it is recorded."),
]
DrillOption = Annotated[bool, typer.Option("--drill", hidden=True)]
"""The earlier form of `keyturn drill`."""


WAIVED_SHOWN: Final = 3
"""Number of waived breaches in the incident's reason; the ledger's entry has as many as fit."""


@dataclass(frozen=True)
class RevocationRequest:
    """What to revoke, and why."""

    selector: Selector
    mode: Mode
    reason: str
    incident: str
    since: datetime
    expect: int = 0


def revoke(
    paths: Paths = None,
    owner: Owner = "",
    classification: Classification = "",
    target: Target = "",
    store: Store = "",
    lease_prefix: LeasePrefix = "",
    fingerprint: Fingerprint = "",
    reason: options.ReasonOption = "",
    incident: IncidentId = "",
    mode: options.ModeOption = Mode.REPLACE,
    preview: options.PreviewOption = False,
    yes: options.YesToRevokeOption = False,
    resume: Resume = "",
    drill: DrillOption = False,
    override_policy: OverridePolicy = False,
    local: options.LocalOption = False,
    catalogue: options.CatalogueOption = None,
    timeout: options.TimeoutOption = options.INCIDENT_TIMEOUT,
    as_json: options.JsonOption = False,
    report: options.ReportOption = None,
    prefect_workspace: options.WorkspaceOption = DEFAULT,
    expect: options.ExpectOption = 0,
    over_limit: options.OverLimitOption = "",
    break_glass: options.BreakGlassOption = "",
) -> None:
    """End leaked credentials everywhere, at once.

    Targets refuse them and their sessions end. Then they are replaced and pushed, consumers are notified, old copies
    are removed, and everything is proven. If you give several filters, a secret must match all of them. In a terminal
    it shows a preview and asks first; with --yes, or with one PATH in a script, it starts at once.
    """
    since = datetime.now(UTC)
    selector = Selector(tuple(paths or ()), owner, classification, target, store, lease_prefix, fingerprint)
    request = RevocationRequest(selector, mode, reason.strip(), incident.strip(), since, expect)
    if drill:
        insist_on_a_drill(request, resume, preview)
        run_drill = load_local("drill_command").run_drill
        run_drill(selector.paths[0], mode, request.reason, expect, catalogue, report, as_json=as_json)
        return None
    insist_on_sense(request, resume, preview=preview, asks=not (yes or may_go_unasked(selector)))
    with (
        needing_hub(catalogue, selector),
        going_past_rules(over_limit, break_glass),
        opened_workspace(catalogue, revoking=True, despite_policy=override_policy, lenient=True) as workspace,
    ):
        request = note_override(workspace, request) if override_policy else request
        if preview:
            return show_preview(workspace, request, as_json)
        # Workers obey the policy, so they cannot finish what overrides it.
        through = Through(local or bool(workspace.catalogue.waived), timeout, prefect_workspace)
        carried = resumed(workspace, resume, through) if resume else revoked(workspace, request, yes, through)
        return show_incident(workspace, carried, report, as_json)


def insist_on_sense(request: RevocationRequest, resume: str, *, preview: bool, asks: bool) -> None:
    """Reports wrong usage if the options contradict, or if a large revocation has no terminal to confirm on."""
    chooses = request.selector != Selector()
    if resume and (chooses or request.reason or request.incident or preview):
        raise typer.BadParameter("--resume ID takes no other option: the incident has its secrets and its reason")
    if resume or preview:
        return
    if not request.reason:
        raise typer.BadParameter("give --reason with what happened: it is kept in the report and the ledger")
    if asks and not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on: give --yes, or name one secret alone")


def insist_on_a_drill(request: RevocationRequest, resume: str, preview: bool) -> None:
    """Reports wrong usage unless exactly one secret is named, without an incident."""
    if not may_go_unasked(request.selector) or resume or preview or request.incident:
        raise typer.BadParameter("--drill is for one PATH, which it leaves alone: nothing else can be chosen with it")


def may_go_unasked(selector: Selector) -> bool:
    """Whether exactly one secret is named and nothing else: then a script needs no confirmation."""
    return len(selector.paths) == 1 and "*" not in selector.paths[0] and selector == Selector(paths=selector.paths)


def note_override(workspace: "Workspace", request: RevocationRequest) -> RevocationRequest:
    """Show and record what was waived for this command; the request's reason then includes it."""
    from keyturn.core.ports.ledger import Outcome
    from keyturn.rotation.state.journal import entry, note_down

    waived = workspace.catalogue.waived
    if not waived:
        note("--override-policy: nothing had to be overridden")
        return request
    lines = [f"OVERRIDING THE OPERATOR'S POLICY, for this command alone, which the ledger keeps ({len(waived)}):"]
    note("\n".join([*lines, *(f"  {breach}" for breach in waived)]))
    why = f"{request.reason or request.incident or 'an open incident'}: {'; '.join(waived)}"
    note_down(workspace, [entry(workspace, "override policy", Outcome.DONE, note=why)])
    if not request.reason:
        return request
    more = "" if len(waived) <= WAIVED_SHOWN else f", and {len(waived) - WAIVED_SHOWN} more"
    return replace(request, reason=f"{request.reason} (policy overridden: {'; '.join(waived[:WAIVED_SHOWN])}{more})")


def show_preview(workspace: "Workspace", request: RevocationRequest, as_json: bool) -> None:
    """Show what would end. Changes nothing."""
    from keyturn.cli.emergencies.incident_tables import preview_data
    from keyturn.revocation.incidents.consent import why_size_is_asked
    from keyturn.revocation.preview import preview_revocation, with_store_warnings

    selection = select_secrets(workspace, request.selector)
    radius = with_store_warnings(workspace, preview_revocation(workspace, selection, request.mode))
    if as_json:
        return write_json({**preview_data(radius), "size": selection.size})
    remedy = f"; to end it, say --expect {selection.size}" if why_size_is_asked(selection, request.mode) else ""
    return tell_preview(radius, f"this would end; nothing was changed{remedy}")


def tell_preview(radius: "Preview", remark: str) -> None:
    from keyturn.cli.emergencies.incident_tables import PREVIEW_COLUMNS, preview_rows, preview_summary

    write_table(PREVIEW_COLUMNS, preview_rows(radius), whole=("what",))
    note(f"{preview_summary(radius)}: {remark}")


# --- revoking


def revoked(workspace: "Workspace", request: RevocationRequest, yes: bool, through: Through) -> Carried:
    """Ask for confirmation if a person can answer, cut, and finish the incident."""
    from keyturn.revocation.incidents.consent import Consent
    from keyturn.revocation.incidents.resume import select_again
    from keyturn.revocation.run import begin, restore_service, tell_and_clear

    incident = request.incident or new_incident_id(request.since)
    selection = select_again(workspace, incident, request.selector)
    triggered_at = by_hubs_clock(workspace, request.since)
    answered, expect = not yes and sys.stdin.isatty(), request.expect
    if answered:
        expect = confirm(workspace, selection, request)
        triggered_at = workspace.clock()
    with goes_on_later(incident, through):
        opened = begin(
            workspace,
            selection,
            incident=incident,
            reason=request.reason,
            mode=request.mode,
            selector=request.selector.words,
            triggered_at=triggered_at,
            consent=Consent(expect),
        )
        tell_cut(workspace, opened)
        restore_service(workspace, opened)
        tell_back(workspace, opened)
        beforehand = nullcontext() if answered else told_beside(workspace, selection, request.mode)
        with beforehand, in_background(lambda: tell_on_call(workspace, opened.id)):
            tell_and_clear(workspace, opened)
            status = load_status(workspace, opened.id)
            for secret in status.secrets:
                tell_left(secret, Step.NOTIFY)
            carried = carry_on(workspace, opened.id, through, status)
    tell_on_call(workspace, opened.id)
    return carried


def resumed(workspace: "Workspace", incident: str, through: Through) -> Carried:
    """Continue an open incident; only show a closed one. Raises NotFound."""
    record_what_waits(workspace, incident)
    status = load_status(workspace, incident)
    if not status.open:
        tell_on_call(workspace, incident)
        return Carried(status)
    with goes_on_later(incident, through):
        carried = carry_on(workspace, incident, through, status)
    works = [secret.path for secret in carried.standing.secrets if Step.CUT not in secret.done]
    note_commands(workspace.catalogue, works if carried.standing.open else [])
    tell_on_call(workspace, incident)
    return carried


def by_hubs_clock(workspace: "Workspace", since: datetime) -> datetime:
    """The same moment by the hub's clock; by this machine's if the hub does not answer."""
    with suppress(KeyturnError):
        workspace.hub_now()
    return by_hub_clock(since, workspace.hub.clock_ahead())


def confirm(workspace: "Workspace", selection: Selection, request: RevocationRequest) -> int:
    """Show what would end and ask for confirmation. Returns the size that the person expects. Exits with 1 on no."""
    from keyturn.revocation.incidents.consent import why_size_is_asked
    from keyturn.revocation.preview import preview_revocation

    radius = preview_revocation(workspace, selection, request.mode)
    tell_preview(radius, "this ends now, and everything that uses it is cut off")
    if why_size_is_asked(selection, request.mode) and not request.expect:
        return int(typer.prompt("How many end? Type the number to revoke", type=int, err=True))
    typer.confirm("Revoke?", abort=True, err=True)
    return request.expect


def tell_cut(workspace: "Workspace", incident: Incident) -> None:
    """Show at once what has ended. For the rest, show the commands to end it by hand."""
    secrets = load_secrets(workspace, incident)
    for secret in secrets:
        if Step.CUT not in secret.done:
            note(f"NOT ENDED YET {secret.path}: {'; '.join(secret.left) or 'nothing was done'}")
        elif moment := secret.refused_at or secret.cut_at:
            what = "its target refuses it" if secret.refused_at else "ended"
            sessions = f"; sessions ended: {secret.sessions}" if secret.sessions else ""
            note(f"{secret.path}: {what} after {(moment - incident.triggered_at).total_seconds():.2f} s{sessions}")
    note_commands(workspace.catalogue, [secret.path for secret in secrets if Step.CUT not in secret.done])


def tell_back(workspace: "Workspace", incident: Incident) -> None:
    """Show which version replaced each secret, and whether it was pushed."""
    for secret in load_secrets(workspace, incident):
        tell_left(secret, Step.PUSH)
        if Step.REPLACE in secret.done:
            taken = (workspace.clock() - incident.triggered_at).total_seconds()
            pushed = "in force and pushed" if Step.PUSH in secret.done else "in force"
            note(f"{secret.path}: version {secret.version} is {pushed} after {taken:.2f} s")


def tell_left(secret: SecretProgress, step: Step) -> None:
    """Show what one step has left of a secret."""
    if faults := [left.removeprefix(f"{step}: ") for left in secret.left if left.startswith(f"{step}: ")]:
        note(f"{secret.path}: {step}: {'; '.join(faults)}")


@contextmanager
def in_background(work: Callable[[], None]) -> Iterator[None]:
    """Run the work in a thread during the block, and wait for it at the end."""
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(copy_context().run, work)
        yield
        working.result()


def told_beside(workspace: "Workspace", selection: Selection, mode: Mode) -> AbstractContextManager[None]:
    """Show the affected places and users in the background. Omits what ended: the cut has shown that."""

    def tell() -> None:
        from keyturn.cli.emergencies.incident_tables import preview_rows, preview_summary
        from keyturn.revocation.preview import preview_revocation

        try:
            radius = preview_revocation(workspace, selection, mode)
        except KeyturnError as error:
            return say(error)
        # The replacement is in force by now: these accounts and sessions are its own.
        secrets = tuple(replace(secret, names=(), uses=(), warnings=()) for secret in radius.secrets)
        radius = replace(radius, secrets=secrets)
        lines = [f"  {path:<28} {what:<10} {text}".rstrip() for path, what, text in preview_rows(radius)]
        return note("\n".join([f"what this is about: {preview_summary(radius)}", *lines]))

    return in_background(tell)


@contextmanager
def goes_on_later(incident: str, through: Through) -> Iterator[None]:
    """If the command is stopped, show how an open incident continues, and wake the keeper.

    A TerminalError, such as a login without a right, has opened no incident.
    """
    with signals_as_interrupt():
        try:
            yield
        except BaseException as error:
            if not isinstance(error, TerminalError):
                with suppress(OSError):  # the terminal may be gone; wake the keeper anyway
                    note_error(resume_hint(incident))
                with suppress(OSError):
                    wake_keeper(through.workspace)
            raise
