"""``keyturn report``: compliance reports with proofs, and the check that a report is unchanged."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import EXIT_CODES, FAILED, end_command, naming_file
from keyturn.cli.ledger import sources
from keyturn.cli.ledger.proof_files import KeyFileOption, KeyOption
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, stamp, write_json, write_table
from keyturn.core.errors import Invalid, Rewritten, TerminalError

if TYPE_CHECKING:
    from keyturn.evidence.facts import Period
    from keyturn.evidence.make_report import Made
    from keyturn.evidence.verify import Checked
    from keyturn.ledger.proofs import Proof

COLUMNS: Final = ("control", "verdict", "what was found")
CHECK_COLUMNS: Final = ("report", "")

FRAMEWORK_HELP: Final = "fedramp-ksi, soc2, hipaa, gdpr, pci, dora or nist."

FrameworkOption = Annotated[str, typer.Option("--framework", metavar="NAME", help=FRAMEWORK_HELP)]
SinceOption = Annotated[
    str, typer.Option("--from", metavar="DAY", help="The first day, such as 2026-01-01; or a moment with its zone.")
]
UntilOption = Annotated[str, typer.Option("--to", metavar="DAY", help="The last day, itself included; or a moment.")]
OwnerOption = Annotated[str, typer.Option("--owner", metavar="ADDRESS", help="Only the secrets of this owner.")]
HtmlOption = Annotated[bool, typer.Option("--html", help="Write the page.")]
AsJsonOption = Annotated[bool, typer.Option("--json", help="Write the JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Write the CSV.")]
OscalOption = Annotated[bool, typer.Option("--oscal", help="Write OSCAL assessment results.")]
CbomOption = Annotated[bool, typer.Option("--cbom", help="Write a CycloneDX bill of keys and certificates.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Where the files go; keyturn/reports in your state directory."),
]
CheckOption = Annotated[bool, typer.Option("--check", help="End with 1 unless every control passes or does not apply.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A report as JSON or HTML.")]
EntryOption = Annotated[
    Path | None,
    typer.Option(
        "--entry", metavar="FILE", help="The proof of the ledger's entry of the report; by default the file next to it."
    ),
]

EXAMPLES: Final = """\b
Examples:
  keyturn report --framework fedramp-ksi --from 2026-01-01 --to 2026-03-31
  keyturn report --framework pci --from 2026-01-01 --to 2026-03-31 --owner ml@example.com --csv --out ./audit
  keyturn report verify audit/pci-20260101-20260331.json --public-key-file ledger.pub

"""

commands = typer.Typer(help="Make a compliance report with proofs, or verify one.", invoke_without_command=True)


@commands.callback(epilog=EXAMPLES + EXIT_CODES)
def report(
    context: typer.Context,
    framework: FrameworkOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    owner: OwnerOption = "",
    html: HtmlOption = False,
    as_json: AsJsonOption = False,
    csv: CsvOption = False,
    oscal: OscalOption = False,
    cbom: CbomOption = False,
    out: OutOption = None,
    check: CheckOption = False,
    catalogue: CatalogueOption = None,
) -> None:
    """Make a compliance report: what a framework asks of secrets, what was found, and rows with proofs.

    HTML and JSON unless something else is asked for. The ledger keeps the report's digest.
    """
    if context.invoked_subcommand is not None:
        return
    missing = [name for name, text in (("--framework", framework), ("--from", since), ("--to", until)) if not text]
    if missing:
        raise typer.BadParameter(f"give {', '.join(missing)}")
    period = period_of(since, until)
    chosen = {"html": html, "json": as_json, "csv": csv, "oscal": oscal, "cbom": cbom}
    formats = [name for name, wanted in chosen.items() if wanted] or ["html", "json"]
    made = made_report(framework, period, owner, formats, out, catalogue)
    write_table(COLUMNS, control_rows(made.document), whole=("verdict",))
    for line in made_notes(made):
        note(line)
    if check:
        insist_on_passing(made.document)


def made_report(
    framework: str,
    period: "Period",
    owner: str,
    formats: Sequence[str],
    directory: Path | None,
    catalogue: Path | None,
) -> "Made":
    """Make the report. Writes the proof of its ledger entry next to it once a checkpoint covers the entry."""
    from keyturn.evidence.frameworks import find_framework
    from keyturn.evidence.gather import Question
    from keyturn.evidence.make_report import make_report, write_entry_proof
    from keyturn.revocation.report.facts import sign_ledger

    find_framework(framework)
    with opened_workspace(catalogue, looking=True) as workspace:
        sign_ledger(workspace)
        question = Question(period, owner)
        made = make_report(workspace, framework, question, formats, os.environ, directory)
        sign_ledger(workspace)
        write_entry_proof(workspace, made, os.environ)
    return made


def period_of(since: str, until: str) -> "Period":
    """The period, including its last day. Reports wrong usage for a malformed one."""
    from keyturn.evidence.periods import parse_period

    try:
        return parse_period(since, until)
    except Invalid as error:
        raise typer.BadParameter(f"{error.problem}: {error.hint}", param_hint="--from and --to") from None


def control_rows(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """One row per control, with the checks that decided."""
    checks = {check["name"]: check for check in document["checks"]}
    rows = []
    for control in document["controls"]:
        own = [checks[name] for name in control["checks"]]
        deciding = [check for check in own if check["verdict"] == control["verdict"]]
        # The first sentence has the counts, the next what is wrong or hidden.
        lines = [f"{check['name']}: {' '.join(check['found'][:2])}" for check in deciding]
        passed = [", ".join(check["name"] for check in deciding)]
        short = passed if control["verdict"] == "pass" else lines
        rows.append((f"{control['id']}\n{control['title']}", control["verdict"], "\n".join(short)))
    return rows


def made_notes(made: "Made") -> list[str]:
    """Where the files are, and what proves them."""
    from keyturn.evidence.make_report import entry_file

    lines = ["\n".join(["report:", *(f"  {file}" for file in made.files)])]
    lines += [f"could not be looked at: {part['part']}: {part['why']}" for part in made.document["unseen"]]
    if later := made.document["ledger"]["later"]:
        lines.append(
            f"{later} entries came after the newest checkpoint, and count for nothing: keyturn ledger checkpoint"
        )
    if not made.sequence or not made.files:
        return lines
    proof = entry_file(made.files[0])
    if proof.exists():
        return [*lines, f"the ledger's entry {made.sequence} records its digest; the proof is {proof}"]
    remedy = f"once a checkpoint covers it: keyturn ledger prove {made.sequence} --out {proof}"
    return [*lines, f"the ledger's entry {made.sequence} records its digest; {remedy}"]


def insist_on_passing(document: Mapping[str, Any]) -> None:
    """Exit with 1 if a control fails or could not be checked."""
    bad = [control for control in document["controls"] if control["verdict"] in ("fail", "could not be looked at")]
    if bad:
        name = document["framework"]["id"]
        words = ", ".join(f"{control['id']} ({control['verdict']})" for control in bad)
        end_command(TerminalError("pass", name, words, "The report gives the reason for each control"), FAILED)


# --- verify


@commands.command(epilog=EXIT_CODES)
def verify(
    file: FileArgument,
    public_key: KeyOption = None,
    public_key_file: KeyFileOption = None,
    entry: EntryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find out whether a report is as it was made: every proof, every row, and what its page shows.

    With a public key it needs neither hub nor ledger. Ends with 1 where something was changed, and names it.
    """
    from keyturn.evidence.verify import check_report
    from keyturn.providers.ledger.ed25519 import verify_ed25519

    keys = sources.given_keys(public_key or [], public_key_file)
    document, problem = read_report(file)
    trust = sources.trust(keys, lambda _: str(document["ledger"].get("name")))
    checked = check_report(document, trust.keys, verify_ed25519, own_entry(file, entry))
    problems = (*([problem] if problem else []), *checked.problems)
    if as_json:
        write_json(checked_data(checked, problems))
    else:
        write_table(CHECK_COLUMNS, checked_rows(checked, problems))
    if problems:
        hint = "Do not rely on it; ask for the file as it was made"
        end_command(Rewritten("verify", str(file), problems[0], hint), FAILED)


def read_report(file: Path) -> tuple[dict[str, Any], str]:
    """The document of a JSON or HTML file, and the page's problem if it has one. Raises Invalid, OSError."""
    from keyturn.evidence.formats.html import is_page, page_problem, read_page
    from keyturn.evidence.verify import LARGEST, parse_report

    with naming_file(file), file.open("rb") as opened:
        text = opened.read(LARGEST + 1)
    if not is_page(text):
        return parse_report(text), ""
    document = read_page(text)
    return document, page_problem(text, document)


def own_entry(file: Path, entry: Path | None) -> "Proof | None":
    """The proof of the report's ledger entry: the given file, or the one next to the report; None without one.

    Raises Invalid, OSError.
    """
    from keyturn.evidence.make_report import entry_file
    from keyturn.ledger.proofs import Proof

    place = entry or entry_file(file)
    if entry is None and not place.is_file():
        return None
    try:
        with naming_file(place):
            return Proof.from_json(place.read_text())
    except UnicodeDecodeError:
        raise Invalid("read", str(place), "it is no proof", "Give the file as it was made") from None


def checked_rows(checked: "Checked", problems: Sequence[str]) -> list[tuple[str, str]]:
    covered = str(checked.checkpoint) if checked.checkpoint else "no checkpoint"
    bound = f"{checked.bound} rows of state"
    vouched = f"the ledger's entry {checked.vouched} vouches for the digest"
    loose = "bound by the digest alone: give --entry with the proof of the ledger's entry of the report"
    rows = [
        ("digest", checked.digest),
        ("proven", f"{checked.proven} entries of the ledger, in {covered}"),
        ("bound", f"{bound}; {vouched if checked.vouched else loose}"),
        ("whole", "no" if problems else "yes"),
    ]
    return rows + [("problem", problem) for problem in problems]


def checked_data(checked: "Checked", problems: Sequence[str]) -> dict[str, Any]:
    return {
        "whole": not problems,
        "digest": checked.digest,
        "proven": checked.proven,
        "bound": checked.bound,
        "vouched_by": checked.vouched or None,
        "checkpoint_at": stamp(checked.checkpoint.time) if checked.checkpoint else None,
        "problems": list(problems),
    }
