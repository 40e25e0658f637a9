"""Making a report where the hub, the ledger and the logs are: its facts, its files, and its entry in the ledger."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyturn.access_log.hub_log import hub_logs
from keyturn.core.errors import KeyturnError
from keyturn.core.ports.ledger import Outcome
from keyturn.evidence.accesses import Log
from keyturn.evidence.formats import FORMATS, write_format
from keyturn.evidence.frameworks import find_framework
from keyturn.evidence.gather import Question, gather_facts
from keyturn.evidence.report import ACTION, Document, build_report, digest_note, report_name
from keyturn.evidence.trail_hours import HourlyTrail
from keyturn.ledger.proofs import prove_entry
from keyturn.pages.files import write_private
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import entry, note_down
from keyturn.settings.directories import PRIVATE, make_private, state_directory
from keyturn.settings.trail import VARIABLE, trail_directory
from keyturn.wiring.ledger import named_ledger, reached_ledger

ENTRY: Final = ".entry.json"
"""How the file ends that holds the proof of the report's own entry."""


@dataclass(frozen=True)
class Made:
    """A report that was made: its document, its files, and the number of the ledger's entry that tells of it.

    The number is 0 where the ledger does not tell it.
    """

    document: Document
    files: tuple[Path, ...]
    sequence: int = 0

    @property
    def verdicts(self) -> Mapping[str, int]:
        """How many controls came to what."""
        verdicts: dict[str, int] = self.document["verdicts"]
        return verdicts


def make_report(
    workspace: Workspace,
    framework: str,
    question: Question,
    formats: Collection[str],
    env: Mapping[str, str],
    directory: Path | None = None,
) -> Made:
    """The report, written in these formats into the directory, each file whole or not at all, for its owner alone.

    The ledger tells of it first, with its digest. Raises NotFound for a framework or an owner that there is not,
    Unrecorded where the ledger takes no entry, Rewritten where one of its entries can't be proven, and Unavailable.
    """
    wanted = find_framework(framework)
    with closing(named_ledger(env, workspace.hub)) as ledger:
        facts = gather_facts(workspace, question, ledger, access_logs(workspace, env))
        document = build_report(facts, wanted, lambda number: prove_entry(ledger, number, facts.ledger.checkpoint))
    done = entry(workspace, ACTION, Outcome.DONE, note=digest_note(document))
    place = note_down(workspace, [done])
    number = place.rpartition(" ")[2]
    files = write_report_in(document, formats, report_directory(directory))
    for file in files:
        # One that is there is of an earlier report.
        entry_file(file).unlink(missing_ok=True)
    return Made(document, tuple(files), int(number) if number.isdecimal() else 0)


def access_logs(workspace: Workspace, env: Mapping[str, str]) -> Sequence[Log]:
    """The access trail, which has every log and which the ledger vouches for; else the hub's audit file.

    A trail that is named and is not there is told as failed, so that it is not taken for silence.
    """
    trail = trail_directory(env) if env.get(VARIABLE) else None
    named: list[Log] = [HourlyTrail(trail)] if trail else []
    return named if trail and trail.is_dir() else [*named, *hub_logs(workspace.hub.mount, workspace.hub.mounts, env)]


def report_directory(directory: Path | None) -> Path:
    """Where reports go: where that is said, else in the user's state directory, for that user alone."""
    if directory is not None:
        return directory
    place = state_directory() / "reports"
    make_private(place).chmod(PRIVATE)
    return place


def write_report_in(document: Document, formats: Collection[str], directory: Path) -> list[Path]:
    """The files of a report, in the order of FORMATS; earlier ones of the same question are replaced."""
    name = report_name(document)
    texts = [write_format(form, document) for form in FORMATS if form in formats]
    return [write_private(directory / f"{name}.{ending}", text) for ending, text in texts]


def write_entry_proof(workspace: Workspace, made: Made, env: Mapping[str, str]) -> Path | None:
    """The proof of the report's own entry, beside its files; None where no checkpoint covers it yet."""
    if not made.sequence or not made.files:
        return None
    try:
        with closing(reached_ledger(env, workspace.hub)) as ledger:
            proof = prove_entry(ledger, made.sequence)
    except KeyturnError:
        return None
    return write_private(entry_file(made.files[0]), f"{proof.to_json()}\n")


def entry_file(report: Path) -> Path:
    """Where the proof of a report's own entry lies, beside any of its files."""
    return report.with_name(f"{report.name.partition('.')[0]}{ENTRY}")
