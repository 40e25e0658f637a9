"""``keyturn trail``: verify, prove and check the access trail, and delete events that are too old."""

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.failures import EXIT_CODES, FAILED, end_command
from keyturn.cli.ledger import sources
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
from keyturn.cli.options import JsonOption
from keyturn.cli.output import note, when, write_json, write_table
from keyturn.cli.readers import trail_tables as tables
from keyturn.cli.secrets.moments import FromOption, ToOption, parse_moment
from keyturn.core.errors import Invalid, NotFound, Rewritten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

    from keyturn.access_log.trail.cursors import SourceState
    from keyturn.access_log.trail.files import TrailFiles
    from keyturn.access_log.trail.trail import Trail
    from keyturn.access_log.trail.verification.file_comparison import FileComparison
    from keyturn.access_log.trail.verification.report import TrailReport
    from keyturn.ledger.ports import LedgerSource
    from keyturn.ledger.signed_notes import PublicKey
    from keyturn.ledger.verify import Verification

commands = typer.Typer(help="Verify and prove the trail of who read what.", no_args_is_help=True)

EXAMPLES: Final = """\b
Examples:
  keyturn trail verify
  keyturn trail verify --against /var/log/openbao/audit.log
  keyturn trail events --path ml-training/database --last 3
  keyturn trail prove hub:17:3 --out event.json
  keyturn trail check event.json --public-key-file ledger.key

"""

DirectoryOption = Annotated[
    Path | None,
    typer.Option("--directory", metavar="DIR", help="The trail, or a copy of it; KEYTURN_TRAIL by default."),
]
AgainstOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--against",
        metavar="FILE",
        help="The hub's audit file, with rotated files next to it; several are allowed.",
    ),
]
SourceOption = Annotated[
    str | None, typer.Option("--log", metavar="NAME", help="The log that the files of --against are.")
]
EventArgument = Annotated[str, typer.Argument(metavar="EVENT", help="The event's name, such as hub:17:3.")]
ProofArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A proof that `keyturn trail prove` has made.")]
OlderOption = Annotated[
    str | None,
    typer.Option("--older-than", metavar="AGE", help="Such as 400d; KEYTURN_TRAIL_KEEP by default."),
]

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is recorded in the ledger.")]

PathOption = Annotated[str, typer.Option("--path", metavar="PATH", help="Only reads of this secret.")]
PrincipalOption = Annotated[str, typer.Option("--principal", metavar="WHO", help="Only by whom the log names so.")]
AddressOption = Annotated[str, typer.Option("--address", metavar="ADDRESS", help="Only from this address.")]
LimitOption = Annotated[int, typer.Option("--last", metavar="N", min=1, help="So many, the newest.")]

LIMIT: Final = 20


@commands.callback()
def trail() -> None:
    """Verify and prove the trail of who read what."""


@commands.command("verify", epilog=EXAMPLES + EXIT_CODES)
def verify_trail(
    directory: DirectoryOption = None,
    against: AgainstOption = None,
    log: SourceOption = None,
    file: FileOption = None,
    export: ExportOption = None,
    checkpoints: CheckpointsOption = None,
    public_key: KeyOption = None,
    public_key_file: KeyFileOption = None,
    known_checkpoints: KnownOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find out whether the trail is as it was sealed: nothing cut, changed, reordered, put in or put back.

    The ledger is verified first, as `keyturn ledger verify` does it. With a public key no hub is asked, and so its
    cursors are not looked at. With --against the hub's own audit files are held against what was read of them.

    Ends with 1 where something is found.
    """
    from keyturn.access_log.trail.files import TrailFiles
    from keyturn.access_log.trail.verification.report import verify_trail as verified
    from keyturn.ledger.verify import verify_ledger
    from keyturn.providers.ledger.ed25519 import verify_ed25519

    insist_on_one(file, export, checkpoints)
    keys = sources.given_keys(public_key or [], public_key_file)
    held = [checkpoint_in(path) for path in known_checkpoints or []]
    sources.settle_ledger()
    files, copied = TrailFiles(trail_at(directory)), bool(file or export)
    with opened_source(file, export, checkpoints) as source:
        trust = sources.trust(keys, lambda hub: sources.origin_of(source) if copied else sources.named_origin(hub))
        ledger = verify_ledger(source, trust.keys, verify_ed25519, elsewhere=[*trust.known, *held])
        with hub_states(wanted=not keys) as states:
            report = verified(files, source, states)
        comparison = compared(files, source, log, against) if against else None
    show_verification(report, comparison, ledger, trust.keys, as_json)


def trail_at(directory: Path | None) -> Path:
    """The directory asked for, or the environment's. Raises Invalid."""
    from keyturn.settings.trail import trail_directory

    return directory.absolute() if directory else trail_directory(os.environ)


@contextmanager
def hub_states(*, wanted: bool) -> "Iterator[Callable[[str], SourceState] | None]":
    """The source of the hub's cursors; None if the hub is not to be asked."""
    if not wanted:
        yield None
        return
    from keyturn.access_log.trail.cursors import HubCursors

    with sources.the_hub() as hub:
        yield HubCursors(hub).read


def compared(
    files: "TrailFiles", source: "LedgerSource", log: str | None, against: "Sequence[Path]"
) -> "FileComparison":
    """The hub's audit files, held against what was read of them. Raises Invalid, Unavailable."""
    from keyturn.access_log.trail.verification.chain import segment_entries
    from keyturn.access_log.trail.verification.file_comparison import compare_files

    names = sorted({entry.source for entry in segment_entries(source)})
    if log is None and len(names) != 1:
        hint = f"Give --log, one of: {', '.join(names)}" if names else "Nothing was sealed yet"
        raise Invalid("compare", ", ".join(map(str, against)), "it is not clear which log it is", hint)
    return compare_files(files, source, log or names[0], against)


def show_verification(
    report: "TrailReport",
    comparison: "FileComparison | None",
    ledger: "Verification",
    keys: "Sequence[PublicKey]",
    as_json: bool,
) -> None:
    """What was found, and the exit code that belongs to it."""
    if as_json:
        write_json(tables.report_data(report, comparison, ledger.vouched))
    elif report.sources:
        write_table(tables.SOURCE_COLUMNS, tables.source_rows(report), whole=("log", "newest (UTC)"))
    for text in (*report.unseen, *(comparison.remarks if comparison else ())):
        note(f"could not look at {text}" if text in report.unseen else text)
    if damage := ledger.problem:
        hint = "The ledger's record of the trail is worth no more than the ledger: see docs/ledger.md"
        end_command(Rewritten("verify", keys[0].name, damage.what, damage.hint or hint), FAILED)
    problems = [str(problem) for problem in (*report.problems, *(comparison.problems if comparison else ()))]
    for text in problems[1:]:
        note(f"problem: {text}")
    if problems:
        hint = "Leave everything as it is. See docs/access-monitoring-reference.md#when-the-trail-was-changed"
        end_command(Rewritten("verify", f"the access trail {report.trail}", problems[0], hint), FAILED)
    if ledger.newest is None:
        problem, hint = "no checkpoint vouches for any of its segments", "Make one: keyturn ledger checkpoint"
        end_command(NotFound("verify", f"the access trail {report.trail}", problem, hint))
    if comparison and not comparison.problems:
        note(f"{comparison.lines:,} lines of the log are as they were read")
    late = [source.source for source in report.sources if source.newest and source.newest.entry > ledger.vouched]
    if late:
        note(f"the newest segments of {', '.join(late)} came after the newest checkpoint: nothing vouches for them yet")


@commands.command("events", epilog=EXAMPLES + EXIT_CODES)
def show_events(
    path: PathOption = "",
    principal: PrincipalOption = "",
    address: AddressOption = "",
    since: FromOption = "",
    until: ToOption = "",
    limit: LimitOption = LIMIT,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show single events with the names by which they are proven: the newest that are sealed, in their order.

    `keyturn investigate` shows more, and at once.
    """
    from keyturn.access_log.trail.named_events import EventFilter, find_events

    now, beginning = datetime.now(UTC), datetime(1970, 1, 1, tzinfo=UTC)
    wanted = EventFilter(
        parse_moment(since, "--from", now) if since else beginning,
        parse_moment(until, "--to", now, end=True) if until else now,
        path,
        principal,
        address,
    )
    sources.settle_ledger()
    events = find_events(trail_at(directory), wanted, limit)
    if as_json:
        return write_json({"events": [tables.named_data(event) for event in events]})
    if not events:
        return note("no such event is sealed")
    return write_table(tables.NAMED_COLUMNS, map(tables.named_row, events), whole=("event", "when (UTC)"))


@commands.command("prove", epilog=EXAMPLES + EXIT_CODES)
def prove_event(event: EventArgument, directory: DirectoryOption = None, out: OutOption = None) -> None:
    """Make a proof that an event is in the trail, which holds without the trail, the ledger and the hub."""
    from keyturn.access_log.trail.segments import EventName
    from keyturn.access_log.trail.verification.proofs import prove_events

    name = EventName.parse(event)
    sources.settle_ledger()
    with sources.the_ledger() as ledger:
        (proof,) = prove_events(trail_at(directory), ledger, [name])
    put(proof.to_json(), out)


@commands.command("check", epilog=EXAMPLES + EXIT_CODES)
def check_proof(
    file: ProofArgument,
    public_key: KeyOption = None,
    public_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a proof of an event. With a public key it needs no hub, and believes nothing else.

    Ends with 1 where it does not hold.
    """
    try:
        text = file.read_text()
    except UnicodeDecodeError:
        raise Invalid("read", str(file), "it is no proof", "Give the file as it was made") from None
    return show_proof(text, sources.given_keys(public_key or [], public_key_file), as_json)


def show_proof(text: str, keys: "Sequence[PublicKey]", as_json: bool) -> None:
    """The event that is proved. Raises Invalid, and Rewritten where the proof does not hold."""
    from keyturn.access_log.trail.verification.proofs import EventProof, check_event
    from keyturn.ledger.checkpoints import read_checkpoint
    from keyturn.providers.ledger.ed25519 import verify_ed25519

    proof = EventProof.from_json(text)
    checkpoint = read_checkpoint(proof.entry.checkpoint)
    proven = check_event(proof, sources.trust(keys, lambda _: checkpoint.origin).keys, verify_ed25519)
    if as_json:
        return write_json({"name": str(proof.name), "ledger": checkpoint.origin, **tables.proven_data(proven)})
    write_table(tables.EVENT_COLUMNS, [tables.proven_row(proven)], whole=("when (UTC)",))
    sealed = f"{proven.segment} of {checkpoint.origin}, sealed {when(proven.segment.sealed_at)} UTC"
    return note(f"proved: it is event {proof.name.leaf} of {sealed}, by {signed_at(checkpoint)}")


@commands.command("expire", epilog=EXIT_CODES)
def expire(older_than: OlderOption = None, directory: DirectoryOption = None) -> None:
    """Delete events that are past their retention, as whole files, and record it in the ledger.

    `keyturn serve` does this once a day if KEYTURN_TRAIL_KEEP is set.
    """
    keep = kept_for(older_than)
    with opened_trail(directory) as opened:
        deleted = opened.expire(keep)
    for expired in deleted:
        note(f"deleted: segments {expired.first} to {expired.last} of {expired.source}")
    if not deleted:
        note("nothing is that old")


@contextmanager
def opened_trail(directory: Path | None) -> "Iterator[Trail]":
    """The trail, with the hub and its ledger. Raises what keeps them from being opened."""
    from keyturn.access_log.trail.cursors import HubCursors
    from keyturn.access_log.trail.trail import Trail
    from keyturn.wiring.ledger import named_ledger

    sources.settle_ledger()
    with sources.the_hub() as hub:
        ledger = named_ledger(os.environ, hub)
        try:
            yield Trail(
                trail_at(directory),
                ledger,
                HubCursors(hub),
                lambda: hub.identity().words,
                lambda: datetime.now(UTC),
            )
        finally:
            ledger.close()


@commands.command("accept-loss", epilog=EXIT_CODES)
def accept_loss(reason: ReasonOption, directory: DirectoryOption = None) -> None:
    """Record that segments which the ledger knows are lost, so that the trail continues without them.

    For a trail that was restored from a backup, or whose disk is gone. The ledger records who did it, and why.
    """
    with opened_trail(directory) as opened:
        losses = opened.accept_losses(reason)
    for loss in losses:
        note(f"lost: segments {loss.first} to {loss.last} of {loss.source}")
    if not losses:
        note("nothing is missing that the ledger knows of")


def kept_for(older_than: str | None) -> "timedelta":
    """The retention of events. Wrong usage, or Invalid, if it is not set."""
    from keyturn.settings.trail import KEEP_VARIABLE, trail_keep

    option = "--older-than"
    keep = trail_keep({KEEP_VARIABLE: older_than} if older_than else os.environ, option)
    if keep is None:
        raise typer.BadParameter(f"give it, or set {KEEP_VARIABLE}", param_hint=option)
    return keep
