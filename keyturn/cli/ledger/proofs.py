"""``keyturn ledger verify`` and ``prove``: checks that need no trust in the ledger's keeper."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import FAILED, end_command
from keyturn.cli.ledger import sources, tables
from keyturn.cli.ledger.proof_files import (
    CheckpointsOption,
    ExportOption,
    FileOption,
    KeyFileOption,
    KeyOption,
    KnownOption,
    OutOption,
    checkpoint_in,
    insist_on_one,
    opened_source,
    put,
    signed_at,
)
from keyturn.cli.ledger.witness import demand
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, write_json, write_table, write_text
from keyturn.core.errors import KeyturnError, NotFound, Rewritten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keyturn.core.issued_tokens import IssuedToken
    from keyturn.ledger.ports import LedgerSource, StoredLedger
    from keyturn.ledger.proofs import Growth, Proof
    from keyturn.ledger.signed_notes import PublicKey
    from keyturn.ledger.verify import Problem, Verification
    from keyturn.rotation.state.context import Workspace

WitnessesOption = Annotated[
    int, typer.Option("--witnesses", metavar="N", min=0, help="So many witnesses must have cosigned it.")
]
WitnessOption = Annotated[
    list[str] | None, typer.Option("--witness", metavar="KEY", help="Believe this witness; several are allowed.")
]
FreshOption = Annotated[
    str | None,
    typer.Option("--fresh", metavar="AGE", help="Nothing that is older may lack a checkpoint, such as 15m."),
]
AgainstHubOption = Annotated[
    bool,
    typer.Option("--against-hub", help="Hold it against the hub: every version, every entry, and CURRENT's values."),
]
SequenceArgument = Annotated[int | None, typer.Argument(metavar="SEQUENCE", min=1, help="The entry's number.")]
SinceOption = Annotated[
    Path | None, typer.Option("--since", metavar="FILE", help="Prove that all since this checkpoint was only added.")
]
CheckOption = Annotated[Path | None, typer.Option("--check", metavar="FILE", help="Check a proof.")]

WAITING_HINT = "keep-ledger appends them within 15 minutes, where the ledger takes entries"
UNSEEN_HINT = "Use a login that may read it: nothing is known of it, and nothing is said to be in order"


# --- verify


def verify_ledger(
    file: FileOption = None,
    export: ExportOption = None,
    checkpoints: CheckpointsOption = None,
    public_key: KeyOption = None,
    public_key_file: KeyFileOption = None,
    known_checkpoints: KnownOption = None,
    witnesses: WitnessesOption = 0,
    witness: WitnessOption = None,
    fresh: FreshOption = None,
    against_hub: AgainstHubOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify that the ledger is as it was written: nothing changed, removed, inserted or cut off.

    With a public key it needs no hub, and trusts that key only. Without one it takes the hub's key, and compares the
    ledger with the newest checkpoint in the hub.

    Ends with 1 if it is not whole, and names the first bad entry.
    """
    from keyturn.ledger.freshness import find_stale
    from keyturn.ledger.verify import verify_ledger as verified
    from keyturn.providers.ledger.ed25519 import verify_ed25519
    from keyturn.providers.ledger.scanning import scan_side_by_side

    insist_on_one(file, export, checkpoints)
    keys = sources.given_keys(public_key or [], public_key_file)
    age = age_of(fresh) if fresh else None
    held = [checkpoint_in(path) for path in known_checkpoints or []]
    sources.settle_ledger()
    copied = bool(file or export)
    with opened_source(file, export, checkpoints) as source:
        trust = sources.trust(keys, lambda hub: sources.origin_of(source) if copied else sources.named_origin(hub))
        elsewhere = [*trust.known, *held]
        report = verified(source, trust.keys, verify_ed25519, elsewhere=elsewhere, scan=scan_side_by_side)
        now = datetime.now(UTC)
        if witnesses or witness:
            report = demand(report, witnesses or len(witness or ()), witness or (), now, ask=not copied)
        if age is not None:
            report = replace(report, problems=(*report.problems, *find_stale(source, report, now, age)))
        if against_hub:
            report = replace(report, problems=(*report.problems, *differences(source, catalogue, now)))
    show_report(report, trust.keys, as_json)


def age_of(text: str) -> timedelta:
    from keyturn.settings.durations import parse

    try:
        return parse(text)
    except ValueError:
        raise typer.BadParameter("write a duration such as 15m", param_hint="--fresh") from None


def differences(source: "LedgerSource", catalogue: Path | None, now: datetime) -> "list[Problem]":
    """All differences, and what could not be checked. Raises the errors of opening the hub."""
    from keyturn.ledger.against_hub import HubToCompare, compare_with_hub
    from keyturn.ledger.naming import read_name
    from keyturn.ledger.storage.waiting import waiting_in_hub
    from keyturn.ledger.verify import Problem
    from keyturn.revocation.incidents.store import list_incidents

    with opened_workspace(catalogue) as workspace:
        name, _ = read_name(workspace.hub)
        ledgers = [name.origin, *(earlier.origin for earlier in name.before)] if name else []
        by_hand = [path for path, secret in workspace.catalogue.secrets.items() if secret.rotation.strategy == "manual"]
        paths = list(workspace.catalogue.secrets)
        incidents = list_incidents(workspace)
        opened = {incident.id: incident.opened_at for incident in incidents if not incident.unread}
        tokens, unlisted = issued_tokens(workspace)
        there = HubToCompare(
            workspace.hub, paths, workspace.fingerprint, ledgers, now, by_hand, opened=opened, tokens=tokens
        )
        comparison = compare_with_hub(source, there)
        waiting = Counter(place.split("/")[1] for place in waiting_in_hub(workspace.hub))
    unread = [f"the incident {incident.id}: {incident.unread}" for incident in incidents if incident.unread]
    hidden = (*comparison.unseen, *unread, *unlisted)
    unseen = [Problem(f"could not look at {text}", hint=UNSEEN_HINT) for text in hidden]
    late = [
        Problem(f"{count} events of {incident} wait in the hub, and are not in the ledger yet", hint=WAITING_HINT)
        for incident, count in waiting.items()
    ]
    if not comparison.problems and not unseen and not late:
        note(f"held against the hub: {comparison.secrets} secrets, and nothing was done without an entry")
    return [*comparison.problems, *late, *unseen]


def issued_tokens(workspace: "Workspace") -> "tuple[list[IssuedToken], list[str]]":
    """The issued tokens of the credential roles, and the roles whose tokens could not be listed, with the reason."""
    from keyturn.cli.setup.policy import hub_scope
    from keyturn.doctor.token_roles import roles_of

    tokens, unlisted = list["IssuedToken"](), list[str]()
    for role in roles_of(workspace.catalogue, hub_scope(workspace.catalogue, [], []), "worker"):
        try:
            tokens += workspace.hub.issued_tokens(role.name)
        except KeyturnError as error:
            unlisted.append(f"the tokens of {role.name}: {error.problem}")
    return tokens, unlisted


def show_report(report: "Verification", keys: "Sequence[PublicKey]", as_json: bool) -> None:
    """Show the findings, then exit with the matching code."""
    now, name = datetime.now(UTC), keys[0].name
    if as_json:
        write_json(tables.report_data(name, report, now))
    else:
        write_table(tables.REPORT_COLUMNS, tables.report_rows(name, report, now))
    if problem := report.problem:
        hint = problem.hint or "Keep it as it is for those who look into it; docs/ledger.md says what to do"
        end_command(Rewritten("verify", name, problem.what, hint), FAILED)
    if report.newest is None:
        end_command(
            NotFound("verify", name, "no checkpoint vouches for any entry", "Make one: keyturn ledger checkpoint")
        )
    if later := report.entries - report.vouched:
        note(f"{later} of the entries came after the newest checkpoint: nothing vouches for them yet")


# --- prove


def make_or_check_proof(
    sequence: SequenceArgument = None,
    since: SinceOption = None,
    check: CheckOption = None,
    public_key: KeyOption = None,
    public_key_file: KeyFileOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a proof that holds without the ledger, or check one with --check.

    That the entry SEQUENCE is in the ledger; or, with --since, that everything since a checkpoint was only added.
    """
    if [sequence, since, check].count(None) != 2:
        raise typer.BadParameter("give the SEQUENCE of an entry, --since FILE, or --check FILE")
    sources.settle_ledger()
    if check:
        return checked(check, sources.given_keys(public_key or [], public_key_file), as_json)
    from keyturn.ledger.proofs import prove_entry

    with sources.the_ledger() as ledger:
        made = growth(ledger, since) if since else prove_entry(ledger, sequence or 0)
    return put(made.to_json(), out)


def growth(ledger: "StoredLedger", since: Path) -> "Growth":
    """The proof that the newest checkpoint continues this one. Raises NotFound, Invalid, Rewritten."""
    from keyturn.ledger.proofs import prove_growth

    older, newest = checkpoint_in(since), ledger.newest()
    if not newest:
        raise NotFound("prove", ledger.origin, "it has no checkpoint yet", "Make one: keyturn ledger checkpoint")
    return prove_growth(ledger, older, newest)


def checked(file: Path, keys: "Sequence[PublicKey]", as_json: bool) -> None:
    """Check the proof in ``file``, and show what it proves. Raises Invalid, Rewritten."""
    from keyturn.ledger.proofs import Growth, Proof

    try:
        text = file.read_text()
    except UnicodeDecodeError:
        text = ""
    if '"event"' in text:
        from keyturn.cli.readers.trail_commands import show_proof

        return show_proof(text, keys, as_json)
    if '"older"' in text:
        return show_growth(Growth.from_json(text), keys, as_json)
    return show_entry(Proof.from_json(text), keys, as_json)


def show_entry(proof: "Proof", keys: "Sequence[PublicKey]", as_json: bool) -> None:
    from keyturn.ledger.checkpoints import read_checkpoint
    from keyturn.ledger.proofs import check_proof
    from keyturn.providers.ledger.ed25519 import verify_ed25519

    checkpoint = read_checkpoint(proof.checkpoint)
    trust = sources.trust(keys, lambda _: checkpoint.origin)
    entry = check_proof(proof, trust.keys, verify_ed25519)
    if as_json:
        data = tables.checkpoint_data(checkpoint, datetime.now(UTC))
        return write_json({"ledger": checkpoint.origin, "entry": tables.entry_data(proof.leaf), "checkpoint": data})
    write_table(tables.ENTRY_COLUMNS, [tables.entry_row(entry)], whole=("entry", "when (UTC)"))
    return note(f"proved: it is entry {entry.sequence} of {checkpoint.origin}, by {signed_at(checkpoint)}")


def show_growth(proof: "Growth", keys: "Sequence[PublicKey]", as_json: bool) -> None:
    from keyturn.ledger.checkpoints import read_checkpoint
    from keyturn.ledger.proofs import check_growth
    from keyturn.providers.ledger.ed25519 import verify_ed25519

    trust = sources.trust(keys, lambda _: read_checkpoint(proof.newer).origin)
    older, newer = check_growth(proof, trust.keys, verify_ed25519)
    if as_json:
        now = datetime.now(UTC)
        return write_json(
            {
                "ledger": newer.origin,
                "older": tables.checkpoint_data(older, now),
                "newer": tables.checkpoint_data(newer, now),
            }
        )
    return write_text(f"proved: {newer.origin} was only added to between {signed_at(older)} and {signed_at(newer)}")
