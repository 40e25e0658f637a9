"""``keyturn ledger``: show, export and sign the record of what was done."""

import json
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.failures import EXIT_CODES
from keyturn.cli.ledger import sources, tables
from keyturn.cli.ledger.proof_files import OutOption
from keyturn.cli.ledger.proofs import make_or_check_proof, verify_ledger
from keyturn.cli.ledger.witness import witness
from keyturn.cli.options import JsonOption
from keyturn.cli.output import note, write_json, write_table, write_text
from keyturn.core.errors import Invalid, Rewritten

if TYPE_CHECKING:
    from keyturn.ledger.entries import Numbered
    from keyturn.ledger.formats import Format
    from keyturn.ledger.ports import LedgerSource

FORMATS: Final = ("jsonl", "cef", "ocsf")

FormatOption = Annotated[str, typer.Option("--format", metavar="FORMAT", help="jsonl, cef or ocsf.")]
SinceOption = Annotated[int, typer.Option("--since", metavar="SEQUENCE", min=1, help="From this entry on.")]
CheckpointsOption = Annotated[
    Path | None, typer.Option("--checkpoints", metavar="FILE", help="Write the signed checkpoints there; needs -o.")
]
SecretOption = Annotated[
    str | None, typer.Option("--secret", metavar="PATH", help="Only this secret, or a pattern such as 'ml-training/*'.")
]
ActionOption = Annotated[
    str | None, typer.Option("--action", metavar="ACTION", help="Only this action, or a pattern such as 'revoke*'.")
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is recorded in both ledgers.")]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="ADDRESS", help="The old ledger; its last entry records the move.")
]
LostOption = Annotated[bool, typer.Option("--lost", help="The old one is gone and can't record the move.")]
LastOption = Annotated[int, typer.Option("--last", metavar="N", min=1, help="So many, the newest.")]


# --- show


def show_entries(
    secret: SecretOption = None, action: ActionOption = None, last: LastOption = 20, as_json: JsonOption = False
) -> None:
    """Show the newest entries, in their order. It needs no hub, and believes what it reads: `verify` does not."""
    sources.settle_ledger()
    with sources.read_only() as source:
        entries = list(newest_matching(source, secret or "*", action or "*", last))
    if as_json:
        return write_json({"entries": [tables.entry_data(leaf) for _, leaf in entries]})
    if not entries:
        return note("the ledger has no such entry" if secret or action else "the ledger is empty")
    return write_table(
        tables.ENTRY_COLUMNS, (tables.entry_row(entry) for entry, _ in entries), whole=("entry", "when (UTC)")
    )


def newest_matching(source: "LedgerSource", secret: str, action: str, last: int) -> "Iterator[tuple[Numbered, bytes]]":
    """The ``last`` entries that match both patterns, in order, with their leaves. Raises Rewritten."""
    from keyturn.ledger.formats import sequenced

    # Parsing an entry takes ten times as long as searching its bytes.
    texts = [beginning("secret", secret), beginning("action", action)]
    matches: deque[tuple[int, bytes]] = deque(maxlen=last)
    for sequence, leaf in source.leaves():
        if all(text in leaf for text in texts) and (secret == action == "*" or fits(leaf, secret, action)):
            matches.append((sequence, leaf))
    return ((sequenced(sequence, leaf), leaf) for sequence, leaf in matches)


def beginning(key: str, pattern: str) -> bytes:
    """The entry's JSON for the pattern up to its first wildcard; empty if the pattern begins with one."""
    plain = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return f'"{key}":{json.dumps(plain, ensure_ascii=False)[:-1]}'.encode() if plain else b""


def fits(leaf: bytes, secret: str, action: str) -> bool:
    """Whether the entry matches both patterns. Raises Rewritten."""
    from keyturn.ledger.entries import parse_leaf

    try:
        entry = parse_leaf(leaf).entry
    except Invalid:
        hint = "See `keyturn ledger verify` for where it begins"
        raise Rewritten("read", "the ledger", "one of its entries is none that Keyturn wrote", hint) from None
    return fnmatchcase(entry.secret, secret) and fnmatchcase(entry.action, action)


# --- export


def export(
    form: FormatOption = "jsonl",
    since: SinceOption = 1,
    out: OutOption = None,
    checkpoints: CheckpointsOption = None,
) -> None:
    """Write the entries, a line each; as jsonl with --checkpoints anybody can verify them. It needs no hub.

    CEF and OCSF are for systems that collect events: OCSF has the original line in each event, CEF has not.
    """
    if form not in FORMATS:
        raise typer.BadParameter(f"--format is one of {', '.join(FORMATS)}")
    if checkpoints and out is None:
        raise typer.BadParameter("--checkpoints needs -o: the entries have to be in a file, too")

    from keyturn.ledger.export_file import write_export
    from keyturn.ledger.formats import Format

    sources.settle_ledger()
    with sources.read_only() as source:
        converted = Converted(source, Format(form), since)
        if out:
            return note(f"{write_export(converted, out, checkpoints)} entries written to {out}")
        with closing(converted.leaves()) as leaves:
            return stream(leaf for _, leaf in leaves)


class Converted:
    """A :class:`keyturn.ledger.ports.LedgerSource` whose entries are encoded in another format, from ``since`` on."""

    def __init__(self, source: "LedgerSource", form: "Format", since: int) -> None:
        self._source = source
        self._form = form
        self._since = since
        self.checkpoints: Callable[[], Iterator[str]] = source.checkpoints
        self.tile: Callable[[int, int], bytes] = source.tile

    def leaves(self, first: int = 1, last: int | None = None) -> Generator[tuple[int, bytes], None, None]:
        """Numbers and lines. Raises Rewritten for an entry that the format cannot encode."""
        from keyturn.ledger.formats import Format, encode_as, sequenced

        name = sources.told_origin(self._source)
        for sequence, leaf in self._source.leaves(max(first, self._since), last):
            if self._form is Format.JSONL:
                yield sequence, leaf
            else:
                yield sequence, encode_as(self._form, name, sequenced(sequence, leaf), leaf).encode()


def stream(lines: Iterable[bytes]) -> None:
    """Write the lines to standard output, byte for byte. An OSError names standard output."""
    try:
        for line in lines:
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from None


# --- checkpoint and key


def checkpoint() -> None:
    """Sign the ledger's current state, and print the signed note. Keep it in a place that no one here can change.

    The hub's transit key `keyturn-ledger` signs. While there are new entries, the notary does this every five minutes.
    """
    with sources.the_hub(signing=True) as hub:
        from keyturn.wiring.ledger import environment_witnesses, make_checkpoint

        with sources.ledger_of(hub) as ledger:
            witnesses = environment_witnesses(os.environ)
            made = make_checkpoint(hub, ledger, lambda: datetime.now(UTC), witnesses)
            newest = made.note if made else ledger.newest()
    for outcome in witnesses.outcomes:
        note(f"not cosigned: {outcome.error}" if outcome.error else f"cosigned by {outcome.witness}")
    if made is None:
        note("nothing is new since the newest checkpoint" if newest else "the ledger is empty")
    if newest:
        # Byte for byte: a terminal encoding without its dash would change the signed note.
        stream([newest.removesuffix("\n").encode()])


def key() -> None:
    """Print the public key that verifies the ledger's checkpoints, from the hub."""
    with sources.the_hub() as hub:
        from keyturn.wiring.ledger import public_key

        write_text(str(public_key(hub, sources.named_origin(hub))))


def move(reason: ReasonOption, old: FromOption = None, lost: LostOption = False) -> None:
    """Move to the ledger at KEYTURN_LEDGER, for good: the old one, the hub and the new one record it.

    The login has to be one that may sign: the notary's. The new one is called as KEYTURN_LEDGER_NAME says, else as the
    workspace, with a number where that is taken. Set KEYTURN_LEDGER on every worker before.
    """
    if (old is None) != lost:
        raise typer.BadParameter("give --from ADDRESS, or --lost if the old one can't be read any more")
    with sources.the_hub(signing=True) as hub:
        from keyturn.ledger.naming import read_name
        from keyturn.providers.ledger.address import open_ledger
        from keyturn.wiring.ledger_move import move_ledger, new_ledger

        name, _ = read_name(hub)
        before = open_ledger(old, origin=name.origin) if old and name else None
        with closing(new_ledger(name, os.environ)) as ledger:
            moved = move_ledger(hub, before, ledger, reason, lambda: datetime.now(UTC))
    note(f"the hub names {moved.origin}; before it was {', '.join(ledger.origin for ledger in moved.before)}")


commands = typer.Typer(help="Show, verify, prove and export the record of what was done.", no_args_is_help=True)
commands.command("show", epilog=EXIT_CODES)(show_entries)
commands.command("verify", epilog=EXIT_CODES)(verify_ledger)
commands.command("prove", epilog=EXIT_CODES)(make_or_check_proof)
commands.command("export", epilog=EXIT_CODES)(export)
commands.command("checkpoint", epilog=EXIT_CODES)(checkpoint)
commands.command("move", epilog=EXIT_CODES)(move)
commands.command("witness", epilog=EXIT_CODES)(witness)
commands.command("key", epilog=EXIT_CODES)(key)
