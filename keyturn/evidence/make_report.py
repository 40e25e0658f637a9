"""Make a report from hub, ledger and logs: its facts, its files, and its ledger entry."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyturn.access_log.hub_log import hub_logs
from keyturn.core.errors import KeyturnError
from keyturn.core.ports.ledger import Outcome
from keyturn.evidence.accesses import HourlyTrail, Log
from keyturn.evidence.formats import FORMATS, write_format
from keyturn.evidence.frameworks import find_framework
from keyturn.evidence.gather import Question, gather_facts
from keyturn.evidence.report import ACTION, Document, build_report, digest_note, report_name
from keyturn.ledger.proofs import prove_entry
from keyturn.pages.files import write_private
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import entry, note_down
from keyturn.settings.directories import PRIVATE, make_private, state_directory
from keyturn.settings.trail import VARIABLE, trail_directory
from keyturn.wiring.ledger import named_ledger, reached_ledger

ENTRY: Final = ".entry.json"
"""The extension of the file with the proof of the report's ledger entry."""


@dataclass(frozen=True)
class Made:
    """A finished report: its document, its files, and the number of its ledger entry.

    The number is 0 where the ledger does not return it.
    """

    document: Document
    files: tuple[Path, ...]
    sequence: int = 0

    @property
    def verdicts(self) -> Mapping[str, int]:
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
    """Write the report in these formats into the directory. Files are atomic, and readable by their owner only.

    The ledger records the report and its digest first. Raises NotFound for an unknown framework or owner, Unrecorded
    where the ledger takes no entry, Rewritten where an entry can't be proven, and Unavailable.
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
        # An existing proof belongs to an earlier report.
        entry_file(file).unlink(missing_ok=True)
    return Made(document, tuple(files), int(number) if number.isdecimal() else 0)


def access_logs(workspace: Workspace, env: Mapping[str, str]) -> Sequence[Log]:
    """Return the access trail, which has every log and is sealed in the ledger; else the hub's audit file.

    A configured trail that is missing counts as failed, so that it does not look like silence.
    """
    trail = trail_directory(env) if env.get(VARIABLE) else None
    named: list[Log] = [HourlyTrail(trail)] if trail else []
    return named if trail and trail.is_dir() else [*named, *hub_logs(workspace.hub.mount, workspace.hub.mounts, env)]


def report_directory(directory: Path | None) -> Path:
    if directory is not None:
        return directory
    place = state_directory() / "reports"
    make_private(place).chmod(PRIVATE)
    return place


def write_report_in(document: Document, formats: Collection[str], directory: Path) -> list[Path]:
    name = report_name(document)
    texts = [write_format(form, document) for form in FORMATS if form in formats]
    return [write_private(directory / f"{name}.{ending}", text) for ending, text in texts]


def write_entry_proof(workspace: Workspace, made: Made, env: Mapping[str, str]) -> Path | None:
    """Write the proof of the report's entry next to its files; None without a covering checkpoint."""
    if not made.sequence or not made.files:
        return None
    try:
        with closing(reached_ledger(env, workspace.hub)) as ledger:
            proof = prove_entry(ledger, made.sequence)
    except KeyturnError:
        return None
    return write_private(entry_file(made.files[0]), f"{proof.to_json()}\n")


def entry_file(report: Path) -> Path:
    return report.with_name(f"{report.name.partition('.')[0]}{ENTRY}")
