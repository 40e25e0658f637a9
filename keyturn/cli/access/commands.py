"""``keyturn access``: temporary access to a secret, by the catalogue's access policies."""

import base64
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.emergencies.approvals import SignWith, approve, own_key, review
from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import EXIT_CODES, FAILED
from keyturn.cli.ledger import sources
from keyturn.cli.ledger.proof_files import KeyFileOption, KeyOption, OutOption, put
from keyturn.cli.options import CatalogueOption, JsonOption, PathArgument
from keyturn.cli.output import for_terminal, note, stamp, when, write_json, write_table, write_value
from keyturn.core.errors import Invalid

if TYPE_CHECKING:
    from keyturn.grants.access_request import AccessRequest
    from keyturn.grants.facts import AccessFacts
    from keyturn.grants.policies import AccessDecision
    from keyturn.rotation.state.context import Workspace

KEY_BYTES: Final = 32
"""Length of an Ed25519 public key (RFC 8032)."""

commands = typer.Typer(
    help="Request, approve and use temporary access, and approve other requests.", no_args_is_help=True
)

EXAMPLES: Final = """\b
Examples:
  keyturn access explain ml-training/database --for 1h
  keyturn access request ml-training/database --for 30m --purpose 'a query hangs' --ticket OPS-4711
  keyturn access approve AR-3f9a1c07d2e4
  keyturn access open AR-3f9a1c07d2e4 --env PGUSER=username --env PGPASSWORD=password -- psql -h db ml

"""

ForOption = Annotated[str, typer.Option("--for", metavar="DURATION", help="For how long, such as 30m.")]
EntityOption = Annotated[
    str,
    typer.Option("--entity", metavar="ID", help="As this entity of the hub; by default, as the login in use."),
]
GroupOption = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="ID", help="With --entity: as a member of this group; several are allowed."),
]
AtOption = Annotated[str, typer.Option("--at", metavar="TIME", help="At this moment; now by default.")]

RequestArgument = Annotated[str, typer.Argument(metavar="REQUEST", help="Its name, such as AR-3f9a1c07d2e4.")]
PurposeOption = Annotated[str, typer.Option("--purpose", metavar="TEXT", help="What for: approvers sign it, too.")]
TicketOption = Annotated[str, typer.Option("--ticket", metavar="ID", help="The ticket that it belongs to.")]
PolicyOption = Annotated[
    str, typer.Option("--policy", metavar="NAME", help="By this policy; by default by that of the fewest approvals.")
]
BreakGlassOption = Annotated[
    bool,
    typer.Option("--break-glass", help="Skip approvals. People are notified, and another person must review it."),
]
FindingOption = Annotated[str, typer.Option("--finding", metavar="TEXT", help="What you have seen: you sign it, too.")]
BecauseOption = Annotated[str, typer.Option("--because", metavar="TEXT", help="Why, for who has asked.")]
ProofArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A proof that `keyturn access prove` has made.")]
ApproverOption = Annotated[
    list[str],
    typer.Option("--approver", metavar="NAME=KEY", help="An approver's public key, as the operator's file has it."),
]
CommandArgument = Annotated[
    list[str] | None, typer.Argument(metavar="CMD [ARGS]...", help="A program that gets it, behind `--`.")
]
EnvOption = Annotated[
    list[str] | None, typer.Option("--env", metavar="NAME=FIELD", help="A field as a variable of CMD. May be repeated.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Don't ask.")]


@commands.callback()
def access() -> None:
    """Request, approve and use temporary access, and approve other requests."""


@commands.command("explain", epilog=EXAMPLES + EXIT_CODES)
def explain_access(
    path: PathArgument,
    duration: ForOption = "1h",
    entity: EntityOption = "",
    group: GroupOption = None,
    at: AtOption = "",
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain why access to a secret would be allowed or not: the result of each policy that applies.

    Changes nothing. With --entity, evaluates it for another person, without the details of their login.

    Ends with 1 if it would not be allowed.
    """
    from keyturn.grants.policies import PolicyIndex
    from keyturn.grants.requests import approvals_needed
    from keyturn.rotation.signers import is_known

    if group and not entity:
        raise typer.BadParameter("give --entity too", param_hint="--group")
    wanted = parse_duration(duration)
    with opened_workspace(catalogue) as workspace:
        facts = facts_of(workspace, path, wanted, entity, group or [], at)
        policies = PolicyIndex.of(workspace.catalogue)
        decision, may_ask = policies.decide(facts), policies.decide(facts, lenient=True).allowed
        identified = bool(entity) or is_known(workspace, workspace.hub.identity())
    needed = approvals_needed(decision.by.policy, identified) if decision.by else 0
    if as_json:
        write_json(decision_data(decision, needed))
    else:
        show_decision(decision, path, needed)
        if may_ask and not decision.allowed:
            note("it may be asked for: what this login could not look at is looked at before anything is given")
    if not decision.allowed:
        raise typer.Exit(FAILED)


def parse_duration(text: str) -> timedelta:
    """Parse the duration. Reports wrong usage if it is malformed or zero."""
    from keyturn.settings import durations

    try:
        wanted = durations.parse(text)
    except ValueError:
        wanted = timedelta(0)
    if not wanted:
        raise typer.BadParameter("write a duration such as 30m", param_hint="--for")
    return wanted


def facts_of(
    workspace: "Workspace", path: str, duration: timedelta, entity: str, groups: list[str], at: str
) -> "AccessFacts":
    """The facts that decide about the access at the given time."""
    from keyturn.cli.secrets.moments import parse_moment
    from keyturn.grants.facts import Subject
    from keyturn.grants.gather_facts import look_as, look_as_self

    if entity:
        facts = look_as(workspace, Subject(entity, frozenset(groups)), None, path, duration)
    else:
        facts = look_as_self(workspace, path, duration)
    return replace(facts, now=parse_moment(at, "--at", facts.now)) if at else facts


def show_decision(decision: "AccessDecision", path: str, needed: int) -> None:
    if decision.rulings:
        rows = [
            (ruling.name, ruling.policy.effect.value, "yes" if ruling.applies else "no", "; ".join(ruling.against))
            for ruling in decision.rulings
        ]
        write_table(("policy", "effect", "applies", "why not"), rows, whole=("policy",))
    if decision.allowed and decision.by:
        by = decision.by
        who = f"once {needed} of {', '.join(by.policy.approvers)} approve it" if needed else "without approval"
        note(f"{path} would be given by the policy {by.name}, {who}")
        if needed > by.policy.approvals:
            note("one approval more than the policy asks for: this login does not say which person asks")
    for reason in decision.reasons:
        note(f"not given: {reason}")


def decision_data(decision: "AccessDecision", needed: int) -> dict[str, Any]:
    by = decision.by if decision.allowed else None
    return {
        "allowed": decision.allowed,
        "policy": by.name if by else "",
        "approvals": needed if by else 0,
        "approvers": list(by.policy.approvers) if by else [],
        "reasons": list(decision.reasons),
        "policies": [
            {
                "name": ruling.name,
                "effect": ruling.policy.effect.value,
                "applies": ruling.applies,
                "against": list(ruling.against),
            }
            for ruling in decision.rulings
        ],
    }


# --- requests


@commands.command("request", epilog=EXAMPLES + EXIT_CODES)
def request_access(
    path: PathArgument,
    purpose: PurposeOption,
    duration: ForOption = "1h",
    ticket: TicketOption = "",
    policy: PolicyOption = "",
    break_glass: BreakGlassOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Request temporary access to a secret. The request waits in the hub until enough approvers have signed it.

    With --break-glass, if a policy allows it, no approval is needed. People are notified at once, and another person
    must review it within a day.

    Ends with 1 if no policy allows it, and shows why.
    """
    from keyturn.grants.notifications import tell_at_once
    from keyturn.grants.requests import ask_for_access

    wanted = parse_duration(duration)
    with opened_workspace(catalogue) as workspace:
        request = ask_for_access(workspace, path, wanted, purpose, ticket, policy, break_glass=break_glass)
        tell_at_once(workspace, request)
        show_request(workspace, request, as_json)
        approvers = ", ".join(workspace.catalogue.access_policies[request.policy].approvers)
    if request.needed:
        note(f"next, {request.needed} of {approvers}: keyturn access approve {request.id}")
    note(f"then you: keyturn access open {request.id}")


@commands.command("approve", epilog=EXAMPLES + EXIT_CODES)
def approve_access(
    request: RequestArgument,
    yes: YesOption = False,
    key_file: SignWith = None,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve what another person has asked for: you see the request, and sign exactly that.

    The request may be for access (AR-...) or for a revocation or another command (REQ-...). You sign with your key in
    the hub, in a login of your own, or with --key-file. An approval is valid for one use, until the request expires.
    """
    from keyturn.grants import requests
    from keyturn.grants.notifications import tell_at_once

    if not request.startswith(requests.BEGINS):
        return approve(request, yes, key_file, catalogue, as_json)
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on: give --yes")
    with opened_workspace(catalogue) as workspace:
        if not yes:
            show_request(workspace, requests.find_request(workspace, request), as_json=False)
            typer.confirm("Approve it?", abort=True, err=True)
        approved = requests.approve_access(workspace, request, own_key(key_file))
        tell_at_once(workspace, approved)
        return show_request(workspace, approved, as_json)


@commands.command("deny", epilog=EXAMPLES + EXIT_CODES)
def deny_access(
    request: RequestArgument, because: BecauseOption, catalogue: CatalogueOption = None, as_json: JsonOption = False
) -> None:
    """Deny a request for good. Who may approve requests may."""
    from keyturn.grants import requests
    from keyturn.grants.notifications import tell_at_once

    with opened_workspace(catalogue) as workspace:
        denied = requests.deny_access(workspace, request, because)
        tell_at_once(workspace, denied)
        show_request(workspace, denied, as_json)


@commands.command("open", epilog=EXAMPLES + EXIT_CODES)
def open_access(
    request: RequestArgument,
    command: CommandArgument = None,
    env: EnvOption = None,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open the credential of your approved request, once only. Its values are printed, or passed to CMD.

    Waits if the request was approved a moment ago. Ends with 1 if someone else has opened it: then it is ended.
    """
    from keyturn.grants import opening

    variables = variables_of(env or [])
    program = program_of(command or [], variables)
    with opened_workspace(catalogue) as workspace:
        opened = opening.open_access(workspace, request, say=note)
        note(
            f"until {when(opened.ends_at)} UTC; it opens no second time; to give it back: keyturn access end {request}"
        )
        values = opened.fields.reveal()
    if program:
        insist_on_fields(request, variables.values(), values)
        replace_process(program, command or [], {name: str(values[of]) for name, of in variables.items()})
    if as_json:
        return write_json({"id": request, "ends_at": stamp(opened.ends_at), "fields": values})
    return write_value("\n".join(f"{name}: {for_terminal(str(value))}" for name, value in values.items()))


def variables_of(options: list[str]) -> dict[str, str]:
    from keyturn.cli.programs.exec_order import variable

    made = {}
    for text in options:
        name, _, of = text.partition("=")
        if not of:
            raise typer.BadParameter("write NAME=FIELD, such as PGPASSWORD=password", param_hint="--env")
        made[variable(name, "--env")] = of
    return made


def program_of(command: list[str], variables: dict[str, str]) -> str:
    """Path of the program; empty without one. Reports wrong usage before anything is opened."""
    if bool(command) != bool(variables):
        raise typer.BadParameter("CMD and --env belong together", param_hint="--env")
    if not command:
        return ""
    if program := shutil.which(command[0]):
        return program
    raise typer.BadParameter(f"there is no program {command[0]}", param_hint="CMD")


def insist_on_fields(request: str, wanted: Iterable[str], values: Mapping[str, Any]) -> None:
    """Raises Invalid if a wanted field was not given: the program would start with an empty password."""
    if absent := [name for name in wanted if name not in values]:
        problem = f"no field {', '.join(absent)} was given; there are {', '.join(values)}"
        hint = f"It opens only once: run `keyturn access end {request}`, and request it again with these in --env"
        raise Invalid("open", request, problem, hint)


def replace_process(program: str, command: list[str], variables: dict[str, str]) -> None:
    """Replace this process with the program, with these variables and without Keyturn's own."""
    from keyturn.cli import INHERITED
    from keyturn.cli.programs.exec_order import without_logins

    sys.stdout.flush()
    inherited = without_logins(INHERITED)
    os.execve(program, command, {**inherited, **variables})  # noqa: S606  it is what was asked for


@commands.command("end", epilog=EXAMPLES + EXIT_CODES)
def end_access(request: RequestArgument, catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """End access, or close a request for it: your own, or anybody's where you may approve requests.

    It runs out by itself, too.
    """
    from keyturn.core.errors import NotFound
    from keyturn.grants import requests
    from keyturn.grants.opening import return_access

    with opened_workspace(catalogue) as workspace:
        try:
            ended = return_access(workspace, request)
            note("nothing is given for it any more; what was given ends within seconds, by `keyturn serve`")
        except NotFound:
            ended = requests.end_access(workspace, request)
        show_request(workspace, ended, as_json)


@commands.command("review", epilog=EXAMPLES + EXIT_CODES)
def review_access(
    request: RequestArgument,
    finding: FindingOption = "",
    key_file: SignWith = None,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign your review of something that was done without the approval that it needs.

    That is access (AR-...), which is reviewed once it is over, or a revocation or another command (BG-...), which is
    only shown without --finding. Approvers may review, except the person who did it. You sign with your key in the
    hub, or with --key-file.
    """
    from keyturn.grants.requests import BEGINS
    from keyturn.grants.reviews import review_access as sign_review

    if not request.startswith(BEGINS):
        return review(request, finding, key_file, catalogue, as_json)
    if not finding:
        raise typer.BadParameter("write what you found", param_hint="--finding")
    with opened_workspace(catalogue) as workspace:
        return show_request(workspace, sign_review(workspace, request, finding, own_key(key_file)), as_json)


@commands.command("show", epilog=EXAMPLES + EXIT_CODES)
def show_access(request: RequestArgument, catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Show a request, who has approved it validly, and what is against it."""
    from keyturn.grants import requests

    with opened_workspace(catalogue) as workspace:
        show_request(workspace, requests.find_request(workspace, request), as_json)


@commands.command("list", epilog=EXAMPLES + EXIT_CODES)
def list_access(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """List the requests, the newest first: all of them, or your own alone where you may not see those of others."""
    from keyturn.grants import requests

    with opened_workspace(catalogue) as workspace:
        listed, malformed = requests.visible_requests(workspace)
        listed.sort(key=lambda request: request.asked_at, reverse=True)
        made = [request_data(workspace, request) for request in listed]
    for error in malformed:
        note(f"NOT READ {error}")
    if as_json:
        return write_json({"requests": made})
    columns = ("id", "state", "path", "asked_by", "asked_at", "until", "review")
    return write_table(columns, [request_row(data, columns) for data in made], whole=("id", "state"))


def request_row(data: dict[str, Any], columns: tuple[str, ...]) -> tuple[str, ...]:
    """One request as a row, with the person but not the login, and times to the minute."""
    from keyturn.cli.emergencies.approvals import minute

    moments = {name: minute(data[name]) if data[name] else "" for name in ("until", "asked_at")}
    shown = {**data, **moments, "asked_by": data["asked_by"].partition(" (")[0]}
    return tuple(str(shown[name]) for name in columns)


def show_request(workspace: "Workspace", request: "AccessRequest", as_json: bool) -> None:
    data = request_data(workspace, request)
    if as_json:
        return write_json(data)
    rows = [(name, shown_value(value)) for name, value in data.items()]
    return write_table((request.id, ""), [row for row in rows if row[1]], whole=(request.id,))


def shown_value(value: Any) -> str:
    """One value as printable text. The requester chose some values, so each stays on one line."""
    from keyturn.core.text.plain_text import visible

    return "\n".join(map(visible, value)) if isinstance(value, list) else visible(str(value))


def request_data(workspace: "Workspace", request: "AccessRequest") -> dict[str, Any]:
    from keyturn.grants.access_request import LATER
    from keyturn.grants.grants import access_status
    from keyturn.grants.reviews import review_status

    review, status = review_status(workspace, request), access_status(workspace, request)
    about = {name: getattr(request, name) for name in request.__dataclass_fields__ if name not in LATER}
    policy = workspace.catalogue.access_policies.get(request.policy)
    credential = policy.gives if policy else ""
    later = {"credential": credential, "digest": request.digest, "state": str(status.state), "until": status.until}
    return {
        **about,
        **later,
        "approved_by": list(status.approved_by),
        "problems": list(status.problems),
        "closed_by": request.closed_by,
        "because": request.because,
        "review": review.words if review else "",
        "finding": request.review.finding if request.review and review and review.reviewed_by else "",
    }


# --- proofs


@commands.command("prove", epilog=EXAMPLES + EXIT_CODES)
def prove_access(request: RequestArgument, catalogue: CatalogueOption = None, out: OutOption = None) -> None:
    """Make a proof that access was approved, which holds without the hub, the ledger and the catalogue."""
    from keyturn.grants.proofs import prove_access as prove
    from keyturn.grants.requests import find_request

    with opened_workspace(catalogue) as workspace, sources.the_ledger() as ledger:
        proof = prove(ledger, find_request(workspace, request))
    put(proof.to_json(), out)


@commands.command("check", epilog=EXAMPLES + EXIT_CODES)
def check_access(
    file: ProofArgument,
    approver: ApproverOption,
    public_key: KeyOption = None,
    public_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a proof of access. With the ledger's public key it needs no hub, and believes nothing else.

    Ends with 1 where it does not hold.
    """
    from dataclasses import asdict

    from keyturn.grants.proofs import AccessProof
    from keyturn.grants.proofs import check_access as check
    from keyturn.providers.ledger.ed25519 import verify_ed25519

    proof = AccessProof.from_json(read_proof(file))
    if not proof.entries:
        raise Invalid("check", str(file), "it has no approval", "Give the file as it was made")
    keys = sources.keys_of_proof(proof.entries[0].checkpoint, public_key or [], public_key_file)
    proven = check(proof, dict(map(approver_key, approver)), keys, verify_ed25519)
    if as_json:
        signed = {"approved_by": list(proven.approved_by), "reviewed_by": proven.reviewed_by}
        return write_json({"request": asdict(proven.request), **signed})
    request = proven.request
    rows = [(what, when(at)) for what, at in zip(proven.steps, proven.recorded_at, strict=True)]
    write_table(("what", "recorded at (UTC)"), rows)
    return note(f"proved: {request.id}, asked for by {request.asked_by}: {request.words}")


def read_proof(file: Path) -> str:
    """Raises Invalid if the file is not text or is empty, OSError if it cannot be read."""
    try:
        text = file.read_text()
    except UnicodeDecodeError:
        raise Invalid("read", str(file), "it is no proof", "Give the file as it was made") from None
    if not text.strip():
        hint = "Give the file as the command that proves it has written it (-o FILE)"
        raise Invalid("read", str(file), "it is empty: no proof is in it", hint)
    return text


def approver_key(text: str, option: str = "--approver") -> tuple[str, bytes]:
    """Parse ``NAME=KEY``: an approver's name and public key. Reports wrong usage for anything else."""
    name, _, encoded = text.partition("=")
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if not name or len(key) != KEY_BYTES:
        raise typer.BadParameter("write NAME=KEY, as the operator's file has them", param_hint=option)
    return name, key
