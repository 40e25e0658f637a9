"""Whether a report is as it was made: offline, with the ledger's public key alone.

Four things are checked. Each row has the digest that it was made with. Each entry of the ledger among the rows is
proven in the one checkpoint, which the key has signed. The report's digest fits all of it. And where the ledger's entry
of the report is given, with its proof, that digest is the one which the ledger vouches for: without it, whoever can
write digests could have changed what is no entry of the ledger, and that is said.
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
"""Bytes of a report; a larger one is not read."""

MOST: Final = 100
"""Problems that are told one by one."""

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
    """What was found: ``proven`` entries of the ledger, ``bound`` rows that the report's digest alone binds.

    ``vouched`` says that the ledger's own entry of the report was given, and tells the same digest.
    """

    digest: str
    proven: int = 0
    bound: int = 0
    checkpoint: Checkpoint | None = None
    vouched: int = 0
    problems: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def parse_report(text: bytes) -> Document:
    """The report of a JSON file. Raises Invalid for what is none."""
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
    """An object whose keys are there once: of two, another reader could take the other. Raises ValueError."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key stands twice")
    return members


def check_report(
    document: Document, keys: Collection[PublicKey], verify: Verify, entry: Proof | None = None
) -> Checked:
    """All of it, with these public keys; ``entry`` is the proof of the ledger's entry that tells of the report.

    Nothing is raised for what does not hold: each problem names its row.
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
        problems.append("the report's digest is not that of what stands in it")
    vouched, complaint = entry_says(entry, digest, keys, verify) if entry else (0, "")
    problems += [complaint] if complaint else []
    bound = sum(row.get("kind") != "entry" for row in rows)
    return Checked(digest, proven, bound, checkpoint, vouched, tuple(problems[:MOST]))


def safe_digest(data: Any) -> str:
    """The digest; empty for what has none, such as a number that is none."""
    try:
        return data_digest(data)
    except (ValueError, RecursionError):
        return ""


def digest_problem(row: Mapping[str, Any]) -> str:
    """Why a row is not what it was; empty where it is."""
    plain = {name: member for name, member in row.items() if name != "digest"}
    return "" if safe_digest(plain) == row.get("digest") else f"the row {name_of(row)} was changed"


def name_of(row: Mapping[str, Any]) -> str:
    """How a row is named to people."""
    return repr(str(row.get("id"))[:200])


def repeated(rows: Collection[Mapping[str, Any]]) -> list[str]:
    """Rows with one id between them: nobody could tell which is cited."""
    names, twice = set[str](), list[str]()
    for row in rows:
        twice += [f"the row {name_of(row)} stands twice"] if str(row.get("id")) in names else []
        names.add(str(row.get("id")))
    return twice


def signed_checkpoint(
    document: Document, rows: Collection[Mapping[str, Any]], keys: Collection[PublicKey], verify: Verify
) -> tuple[Checkpoint | None, str]:
    """The checkpoint that a trusted key has signed; None and why where there is none that could be believed."""
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
    """Why a row is not the entry of the ledger that it says it is; empty where it is."""
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
    """Rows that a check cites, and that are not there."""
    there = {str(row.get("id")) for row in rows}
    checks = [check for check in document["checks"] if isinstance(check, dict)]
    cited = {str(row) for check in checks if isinstance(check.get("rows"), list) for row in check["rows"]}
    return [f"the row {row[:200]!r} is cited, and missing" for row in sorted(cited - there)[:MOST]]


def entry_says(entry: Proof, digest: str, keys: Collection[PublicKey], verify: Verify) -> tuple[int, str]:
    """The number of the ledger's entry of the report, or why it does not vouch for this one."""
    try:
        numbered = check_proof(entry, keys, verify)
    except KeyturnError as error:
        return 0, f"the proof of the report's own entry does not hold: {error.problem}"
    written = numbered.entry
    if written.action != ACTION:
        return 0, f"the entry {numbered.sequence} tells of no report, but of {written.action!r}"
    if not digest or not written.note.startswith(f"{DIGEST}{digest}:"):
        return (
            0,
            f"the report is not the one that the ledger's entry {numbered.sequence} tells of: it was changed since",
        )
    return numbered.sequence, ""
