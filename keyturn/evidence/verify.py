"""Verify offline, with only the ledger's public key, that a report is unchanged.

There are four checks:

- Each row matches its digest.
- Each ledger entry among the rows is proven in the one signed checkpoint.
- The report's digest covers all of it.
- The ledger's entry of the report, where given with its proof, records the same digest.

Without the last check, anyone who can compute digests could have changed the rows of state. The result reports that.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyturn.core.errors import Invalid, KeyturnError, Rewritten
from keyturn.evidence.model import entry_id
from keyturn.evidence.report import ACTION, DIGEST, SCHEMA, Document, data_digest
from keyturn.ledger.checkpoints import Checkpoint, trusted
from keyturn.ledger.proofs import Proof, check_proof
from keyturn.ledger.signed_notes import PublicKey, Verify

LARGEST: Final = 256 * 1024 * 1024
"""Maximum size of a report in bytes."""

MOST: Final = 100
"""Maximum number of problems in a result."""

MEMBERS: Final = {
    "framework": dict,
    "period": dict,
    "ledger": dict,
    "controls": list,
    "checks": list,
    "tables": list,
    "charts": dict,
    "rows": list,
    "verdicts": dict,
    "digest": str,
}


@dataclass(frozen=True)
class Checked:
    """The result: ``proven`` ledger entries, and ``bound`` rows that only the report's digest protects.

    ``vouched`` is the number of the ledger's own entry of the report, where given and with the same digest, else 0.
    """

    digest: str
    proven: int = 0
    bound: int = 0
    checkpoint: Checkpoint | None = None
    vouched: int = 0
    problems: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return not self.problems


def parse_report(text: bytes) -> Document:
    """Return the report in a JSON file. Raises Invalid where it is not one."""
    try:
        document = json.loads(text, object_pairs_hook=unique) if len(text) <= LARGEST else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        hint = "Give the JSON or the HTML file as `keyturn report` wrote it, whole"
        raise Invalid("read", "the report", f"it is none that is called {SCHEMA}, or is cut short", hint)
    lacking = [name for name, kind in MEMBERS.items() if type(document.get(name)) is not kind]
    if lacking:
        raise Invalid("read", "the report", f"it lacks {', '.join(lacking)}", "Give the file as it was made, whole")
    return document


def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with unique keys, because parsers disagree about duplicates. Raises ValueError."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key appears twice")
    return members


def check_report(
    document: Document, keys: Collection[PublicKey], verify: Verify, entry: Proof | None = None
) -> Checked:
    """Check a report with these public keys; ``entry`` proves the ledger's entry of the report.

    Returns the problems instead of raising them. Each names its row.
    """
    rows = [row for row in document["rows"] if isinstance(row, dict)]
    problems = ["a row of it is no object"] * (len(rows) < len(document["rows"]))
    problems += [problem for row in rows if (problem := digest_problem(row))]
    problems += repeated(rows)
    checkpoint, why = signed_checkpoint(document, rows, keys, verify)
    problems += [why] if why else []
    proven = 0
    for row in rows:
        if row.get("kind") != "entry":
            continue
        problem = entry_problem(row, document["ledger"]["checkpoint"], keys, verify) if checkpoint else ""
        problems += [problem] if problem else []
        proven += checkpoint is not None and not problem
    problems += uncited(document, rows)
    without = {name: member for name, member in document.items() if name != "digest"}
    digest = safe_digest(without)
    if digest != document["digest"]:
        problems.append("the report's digest does not match its contents")
    vouched, complaint = entry_says(entry, digest, keys, verify) if entry else (0, "")
    problems += [complaint] if complaint else []
    bound = sum(row.get("kind") != "entry" for row in rows)
    return Checked(digest, proven, bound, checkpoint, vouched, tuple(problems[:MOST]))


def safe_digest(data: Any) -> str:
    try:
        return data_digest(data)
    except (ValueError, RecursionError):
        return ""


def digest_problem(row: Mapping[str, Any]) -> str:
    plain = {name: member for name, member in row.items() if name != "digest"}
    return "" if safe_digest(plain) == row.get("digest") else f"the row {name_of(row)} was changed"


def name_of(row: Mapping[str, Any]) -> str:
    return repr(str(row.get("id"))[:200])


def repeated(rows: Collection[Mapping[str, Any]]) -> list[str]:
    """Return problems for rows with the same id, because citations would be ambiguous."""
    names, twice = set[str](), list[str]()
    for row in rows:
        twice += [f"the row {name_of(row)} appears twice"] if str(row.get("id")) in names else []
        names.add(str(row.get("id")))
    return twice


def signed_checkpoint(
    document: Document, rows: Collection[Mapping[str, Any]], keys: Collection[PublicKey], verify: Verify
) -> tuple[Checkpoint | None, str]:
    """Return the checkpoint that a trusted key signed; else None and the reason."""
    note = document["ledger"].get("checkpoint")
    if not isinstance(note, str):
        return None, "the ledger's checkpoint is no text"
    if not note:
        cited = any(row.get("kind") == "entry" for row in rows)
        return None, "it cites entries of the ledger, and no checkpoint" if cited else ""
    try:
        return trusted(note, keys, verify), ""
    except (Rewritten, Invalid) as error:
        return None, f"the checkpoint is not signed by a key that is trusted: {error.problem}"


def entry_problem(row: Mapping[str, Any], checkpoint: str, keys: Collection[PublicKey], verify: Verify) -> str:
    sequence = str(row.get("id")).removeprefix("entry:")
    if not sequence.isdecimal():
        return f"the row {name_of(row)} names no entry"
    members = {"sequence": int(sequence[:18]), "entry": row.get("entry"), "hashes": row.get("hashes")}
    try:
        numbered = check_proof(Proof.from_json(json.dumps({**members, "checkpoint": checkpoint})), keys, verify)
    except KeyturnError as error:
        return f"the row {name_of(row)} is not proven: {error.problem}"
    return "" if entry_id(numbered.sequence) == row.get("id") else f"the row {name_of(row)} is another entry"


def uncited(document: Document, rows: Collection[Mapping[str, Any]]) -> list[str]:
    there = {str(row.get("id")) for row in rows}
    checks = [check for check in document["checks"] if isinstance(check, dict)]
    cited = {str(row) for check in checks if isinstance(check.get("rows"), list) for row in check["rows"]}
    return [f"the row {row[:200]!r} is cited, and missing" for row in sorted(cited - there)[:MOST]]


def entry_says(entry: Proof, digest: str, keys: Collection[PublicKey], verify: Verify) -> tuple[int, str]:
    """Return the number of the report's ledger entry, or why it does not match."""
    try:
        numbered = check_proof(entry, keys, verify)
    except KeyturnError as error:
        return 0, f"the proof of the report's own entry does not hold: {error.problem}"
    written = numbered.entry
    if written.action != ACTION:
        return 0, f"the entry {numbered.sequence} is about no report, but about {written.action!r}"
    if not digest or not written.note.startswith(f"{DIGEST}{digest}:"):
        return (
            0,
            f"the report is not the one that the ledger's entry {numbered.sequence} names: it was changed since",
        )
    return numbered.sequence, ""
