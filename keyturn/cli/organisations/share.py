"""``keyturn share``: agree that another organisation gets a copy of a secret, or withdraw that."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import BEHIND, EXIT_CODES
from keyturn.cli.ledger import sources
from keyturn.cli.ledger.proof_files import KeyFileOption, KeyOption, OutOption, put
from keyturn.cli.options import CatalogueOption, JsonOption, PathArgument, YesOption, insist_on_terminal
from keyturn.cli.output import note, stamp, when, write_json, write_table
from keyturn.core.errors import Invalid

if TYPE_CHECKING:
    from keyturn.organisations.sharing_proof import ProvenSharing
    from keyturn.rotation.state.agreements import Agreement
    from keyturn.rotation.state.context import Workspace

commands = typer.Typer(help="Share a secret with another organisation.", no_args_is_help=True)

EXAMPLES: Final = """\b
Examples:
  keyturn share propose harvest/api-key --with blue --purpose 'they run the reaper' --out share.json
  keyturn share accept share.json
  keyturn share prove AG-3f9a1c07d2e45b68 --out agreed.json
  keyturn share end AG-3f9a1c07d2e45b68 --because 'they run it no more'

"""

WithOption = Annotated[str, typer.Option("--with", metavar="NAME", help="The organisation, as the operator names it.")]
PurposeOption = Annotated[str, typer.Option("--purpose", metavar="TEXT", help="What for: both sign it.")]
UntilOption = Annotated[str, typer.Option("--until", metavar="TIME", help="Until when; without it, until withdrawn.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="What `keyturn share propose` has written.")]
BecauseOption = Annotated[str, typer.Option("--because", metavar="TEXT", help="Why; it is recorded in the ledger.")]
ProofArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A proof that `keyturn share prove` has made.")]
SignerOption = Annotated[
    list[str],
    typer.Option("--signer", metavar="ORG:NAME=KEY", help="The public key of a person who signs for one of the two."),
]
NameArgument = Annotated[str, typer.Argument(metavar="AGREEMENT", help="Its name, such as AG-3f9a1c07d2e45b68.")]


@commands.command("propose", epilog=EXAMPLES + EXIT_CODES)
def propose(
    path: PathArgument,
    receiver: WithOption,
    purpose: PurposeOption,
    until: UntilOption = "",
    out: OutOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Propose a copy to another organisation.

    You sign it with your own key in the hub; the file is for them to sign.
    """
    from keyturn.cli.secrets.moments import parse_moment
    from keyturn.organisations.sharing import propose_sharing

    with opened_workspace(catalogue) as workspace:
        end = parse_moment(until, "--until", workspace.hub_now(), end=True).isoformat() if until else ""
        proposal = propose_sharing(workspace, path, receiver, purpose, end)
    put(json.dumps(asdict(proposal), indent=2), out)
    note(f"{proposal.id}: {proposal.words}. Nothing goes there until {receiver} has signed it: keyturn share accept")


@commands.command("accept", epilog=EXAMPLES + EXIT_CODES)
def accept(file: FileArgument, yes: YesOption = False, catalogue: CatalogueOption = None) -> None:
    """Sign what another organisation proposes.

    It is shown, and you sign exactly this with your own key in the hub.
    """
    from keyturn.organisations.sharing import accept_sharing

    insist_on_terminal(yes)
    proposal = read_proposal(file)
    with opened_workspace(catalogue) as workspace:
        note(proposal.words)
        if not yes:
            typer.confirm("Sign it?", abort=True, err=True)
        accept_sharing(workspace, proposal)
    note(f"{proposal.id} is signed here; {proposal.giver} reads that, and pushes the copy with its next sync")


@commands.command("end", epilog=EXAMPLES + EXIT_CODES)
def end(name: NameArgument, because: BecauseOption, catalogue: CatalogueOption = None) -> None:
    """Withdraw what this organisation has signed.

    The giver's next sync removes the copy, and makes no other.
    """
    from keyturn.organisations.sharing import withdraw_sharing

    with opened_workspace(catalogue) as workspace:
        agreement = withdraw_sharing(workspace, name, because)
    note(f"{agreement.id} is withdrawn. Its readers may have kept the value: rotate {agreement.path} if that matters")


@commands.command("list", epilog=EXAMPLES + EXIT_CODES)
def list_agreements(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """List what is shared, and whether both have signed."""
    from keyturn.rotation.state import agreements

    with opened_workspace(catalogue) as workspace:
        listed = [agreement_data(workspace, agreement) for _, agreement in agreements.list_agreements(workspace)]
    if as_json:
        return write_json({"agreements": listed})
    columns = ("id", "giver", "receiver", "path", "name", "until", "state")
    return write_table(columns, [tuple(str(data[column]) for column in columns) for data in listed], whole=("id",))


def agreement_data(workspace: "Workspace", agreement: "Agreement") -> dict[str, Any]:
    from keyturn.organisations.sharing import describe_agreement

    state = describe_agreement(workspace, agreement)
    return {"id": agreement.id, **asdict(agreement), "digest": agreement.digest, "state": state}


def read_proposal(file: Path) -> "Agreement":
    from keyturn.rotation.state.agreements import Agreement

    try:
        return Agreement.from_data(json.loads(file.read_text()))
    except (ValueError, TypeError, AttributeError):
        raise Invalid("read", str(file), "it is no proposal", "Give the file as it was made") from None


@commands.command("prove", epilog=EXAMPLES + EXIT_CODES)
def prove(name: NameArgument, out: OutOption = None, catalogue: CatalogueOption = None) -> None:
    """Make a proof of an agreement, which holds without any hub, ledger and catalogue.

    It has both signatures where this side can see the other's; who gives the secret does with the store's login.
    """
    from keyturn.organisations.sharing_proof import prove_sharing

    with opened_workspace(catalogue) as workspace, sources.the_ledger() as ledger:
        proof = prove_sharing(workspace, ledger, name)
    put(proof.to_json(), out)
    if proof.lacking:
        note(f"one signature alone: {proof.lacking}")


@commands.command("check", epilog=EXAMPLES + EXIT_CODES)
def check(
    file: ProofArgument,
    signer: SignerOption,
    public_key: KeyOption = None,
    public_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a proof of an agreement. With the ledger's public key it needs no hub, and believes nothing else.

    Ends with 1 where it does not hold, and with 3 where it has the signature of one side alone.
    """
    from keyturn.cli.access.commands import read_proof
    from keyturn.organisations.sharing_proof import SharingProof, check_sharing
    from keyturn.providers.ledger.ed25519 import verify_ed25519

    proof = SharingProof.from_json(read_proof(file))
    if not proof.entries:
        raise Invalid("check", str(file), "it has no entry of a ledger", "Give the file as it was made")
    keys = sources.keys_of_proof(proof.entries[0].checkpoint, public_key or [], public_key_file)
    proven = check_sharing(proof, dict(map(signer_key, signer)), keys, verify_ed25519)
    show_proven(proven, proof.teller, as_json)
    if proven.lacking:
        raise typer.Exit(BEHIND)


def signer_key(text: str) -> tuple[tuple[str, str], bytes]:
    """Parse ``ORGANISATION:NAME=KEY`` into the signer and their public key. Raises BadParameter for anything else."""
    from keyturn.cli.access.commands import approver_key

    whose, _, key = text.partition("=")
    organisation, _, name = whose.partition(":")
    if not (organisation and name):
        raise typer.BadParameter("write ORGANISATION:NAME=KEY", param_hint="--signer")
    return (organisation, name), approver_key(f"{name}={key}", "--signer")[1]


def show_proven(proven: "ProvenSharing", teller: str, as_json: bool) -> None:
    recorded, withdrawn = stamp(proven.recorded_at), stamp(proven.withdrawn_at)
    if as_json:
        statements = {"signed_by": dict(proven.signed_by), "teller": teller, "lacking": proven.lacking}
        moments = {"recorded_at": recorded, "withdrawn_at": withdrawn}
        return write_json({"agreement": asdict(proven.agreement), **statements, **moments})
    rows = [(f"signed for {whose} by {name}", "") for whose, name in proven.signed_by.items()]
    rows += [(f"recorded by {teller}", when(proven.recorded_at))]
    rows += [(f"withdrawn by {teller}", when(proven.withdrawn_at))] if proven.withdrawn_at else []
    rows += [(proven.lacking, "NOT PROVEN")] if proven.lacking else []
    write_table(("what", "at (UTC)"), rows)
    return note(f"proved: {proven.agreement.id}, {proven.agreement.words}")
