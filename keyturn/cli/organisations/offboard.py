"""``keyturn offboard``: end everything that a project has, and prove it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import BEHIND, end_command
from keyturn.cli.ledger import sources
from keyturn.cli.ledger.proof_files import KeyFileOption, KeyOption, OutOption, put
from keyturn.cli.options import BreakGlassOption, CatalogueOption, ExpectOption, JsonOption, OverLimitOption
from keyturn.cli.output import note, stamp, when, write_json, write_table
from keyturn.core.actor import going_past_rules
from keyturn.core.errors import Invalid, TransientError

if TYPE_CHECKING:
    from keyturn.organisations.offboarding import OffboardingPlan
    from keyturn.organisations.offboarding_proof import ProvenEnd
    from keyturn.organisations.offboarding_store import Offboarding
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.rights.hub_apply import HubPort
    from keyturn.rotation.state.context import Workspace

ProjectArgument = Annotated[
    str | None, typer.Argument(metavar="PROJECT", help="The project: what secrets have as their label `project`.")
]
ApplyOption = Annotated[bool, typer.Option("--apply", help="Do it; else it is only shown.")]
WhyOption = Annotated[str, typer.Option("--reason", help="Why; it is kept in the proof, the report and the ledger.")]
SharedOption = Annotated[
    list[str] | None,
    typer.Option("--shared", metavar="PATH", help="End this secret although others use it; several are allowed."),
]
CheckOption = Annotated[Path | None, typer.Option("--check", metavar="FILE", help="Check a proof.")]


def offboard(
    project: ProjectArgument = None,
    apply: ApplyOption = False,
    reason: WhyOption = "",
    expect: ExpectOption = 0,
    shared: SharedOption = None,
    out: OutOption = None,
    check: CheckOption = None,
    public_key: KeyOption = None,
    public_key_file: KeyFileOption = None,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
    over_limit: OverLimitOption = "",
    break_glass: BreakGlassOption = "",
) -> None:
    """Show what a project has, or end all of it, with proof.

    Ends its secrets and their copies, requests for access, and logins to the hub. Give --apply, --reason and the number
    of its secrets as --expect; run the same again to continue. Ends with 3 if something is not proven. --check verifies
    the proof that --out writes, without the hub.
    """
    if (project is None) == (check is None):
        raise typer.BadParameter("give a PROJECT, or --check FILE")
    if check:
        return show_checked(check, public_key or [], public_key_file, as_json)
    if apply and not reason.strip():
        raise typer.BadParameter("say why", param_hint="--reason")
    with going_past_rules(over_limit, break_glass), opened_workspace(catalogue, revoking=True) as workspace:
        setup = cast("VaultHub", workspace.hub).setup()
        if not (apply or out):
            return show_project(workspace, setup, project or "", as_json)
        if apply:
            end_project(workspace, setup, project or "", reason.strip(), tuple(shared or ()), expect)
        finished = finished_offboarding(workspace, project or "")
        show_end(finished, as_json)
        write_proof(finished, out)
    if finished.unproven:
        raise typer.Exit(BEHIND)
    return None


def show_project(workspace: "Workspace", setup: "HubPort", project: str, as_json: bool) -> None:
    from keyturn.cli.emergencies.incident_tables import preview_data, preview_rows, preview_summary
    from keyturn.organisations.offboarding import plan_offboarding

    plan = plan_offboarding(workspace, setup, project)
    if as_json:
        lists = {name: list(values) for name, values in plan_parts(plan)}
        return write_json({"project": project, **preview_data(plan.secrets), **lists})
    write_table(("secret", "what", "which"), preview_rows(plan.secrets))
    for name, values in plan_parts(plan):
        if values:
            write_table((PARTS[name],), [(value,) for value in values])
    size = len(plan.secrets.secrets)
    paths = dict.fromkeys(line.partition(": ")[0] for line in plan.shared)
    shared = "".join(f" --shared {path}" for path in paths)
    doing = f"keyturn offboard {project} --apply --reason WHY --expect {size}{shared}"
    return note(f"{preview_summary(plan.secrets)}. Nothing was changed. To end all of it: {doing}")


PARTS: Final = {
    "shared": "others use it, too: name it with --shared",
    "requests": "requests for access that end",
    "hub": "made in the hub, and taken away by an administrator's login",
    "remains": "left to people",
    "unseen": "NOT LOOKED AT",
}


def plan_parts(plan: "OffboardingPlan") -> "list[tuple[str, tuple[str, ...]]]":
    return [(name, getattr(plan, name)) for name in PARTS]


def end_project(
    workspace: "Workspace", setup: "HubPort", project: str, reason: str, shared: tuple[str, ...], expect: int
) -> None:
    """End the project, or continue that, and sign the ledger. Ends with 3 if its incident is open."""
    from keyturn.cli.emergencies.incident_runner import incident_failure, sign_ledger, tell_on_call, tell_secrets
    from keyturn.organisations.offboarding import offboard_project
    from keyturn.revocation.incidents.consent import Consent

    _, status = offboard_project(workspace, setup, project, reason, shared, Consent(expect))
    tell_on_call(workspace, status.incident.id)
    sign_ledger(workspace)
    if failure := incident_failure(status):
        tell_secrets(status)
        error, code = failure
        hint = f"{error.hint}. Then run the same again: keyturn offboard {project} --apply --reason WHY"
        end_command(TransientError("offboard", f"project {project}", error.problem, hint), code)


def finished_offboarding(workspace: "Workspace", project: str) -> "Offboarding":
    from keyturn.organisations.offboarding_store import find_offboarding

    current = find_offboarding(workspace, project)
    if current is None or not current.finished_at:
        remedy = "End it with --apply first, or run that again"
        raise Invalid("prove the end of", f"project {project}", "it has not ended", remedy)
    return current


def show_end(finished: "Offboarding", as_json: bool) -> None:
    if as_json:
        return write_json(asdict(finished))
    rows = [("ended", name) for name in (*finished.paths, *finished.requests, *finished.removed)]
    rows += [("left to people", words) for words in finished.remains]
    rows += [("NOT PROVEN", words) for words in finished.unproven]
    write_table(("", f"project {finished.project}, {finished.incident}"), rows)
    many = len(finished.unproven)
    return note(f"{many} things are not proven" if many else "all that it had is ended, and proven")


def write_proof(finished: "Offboarding", out: Path | None) -> None:
    from keyturn.organisations.offboarding_proof import prove_offboarding

    if out is None:
        return note(f"the proof: keyturn offboard {finished.project} --out FILE")
    with sources.the_ledger() as ledger:
        proof = prove_offboarding(ledger, finished)
    put(proof.to_json(), out)
    return note(f"the proof is in {out}")


def show_checked(file: Path, public_key: list[str], public_key_file: Path | None, as_json: bool) -> None:
    """Check a proof with the ledger's public key. Ends with 3 if the proof leaves something unproven."""
    from keyturn.cli.access.commands import read_proof
    from keyturn.organisations.offboarding_proof import OffboardingProof, check_offboarding
    from keyturn.providers.ledger.ed25519 import verify_ed25519

    proof = OffboardingProof.from_json(read_proof(file))
    if not proof.entries:
        raise Invalid("check", str(file), "it has no entry of a ledger", "Give the file as it was made")
    keys = sources.keys_of_proof(proof.entries[0].checkpoint, public_key, public_key_file)
    proven = check_offboarding(proof, keys, verify_ed25519)
    show_proven(proven, as_json)
    if proven.unproven:
        raise typer.Exit(BEHIND)


def show_proven(proven: "ProvenEnd", as_json: bool) -> None:
    offboarding = proven.offboarding
    if as_json:
        ended = {name: stamp(at) for name, at in proven.ended.items()}
        data = {"offboarding": asdict(offboarding), "ended": ended, "finished_at": stamp(proven.finished_at)}
        return write_json(data)
    rows = [(name, when(at)) for name, at in proven.ended.items()]
    rows += [(words, "NOT PROVEN") for words in proven.unproven]
    rows += [(words, "left to people") for words in offboarding.remains]
    write_table(("what", "ended at (UTC)"), rows)
    return note(f"proved: project {offboarding.project} ended at {when(proven.finished_at)}: {offboarding.reason}")
