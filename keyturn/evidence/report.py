"""Making a report of facts: the same facts and the same ledger give the same bytes.

The report is one document of plain data. Its rows are of two kinds: entries of the ledger as they stand there, each
with its proof in one checkpoint, and rows of state, which nothing but the report's digest binds. That digest goes into
the ledger once the report is made, so whoever changes a row later changes what the ledger vouches for.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keyturn import __version__
from keyturn.evidence.charts import access_hours, rotation_bars
from keyturn.evidence.checks import CHECKS
from keyturn.evidence.facts import Facts
from keyturn.evidence.model import CheckResult, ControlVerdict, Framework, StateRow, entry_id, worst
from keyturn.evidence.tables import TABLES, stamp
from keyturn.ledger.proofs import Proof

SCHEMA: Final = "keyturn.compliance-report/1"

MOST_ENTRIES: Final = 500
"""Entries of the ledger that one check cites, the newest; how many there were is told."""

MOST_ROWS: Final = 20_000
"""Rows of one table; how many more there were is told."""

DAY: Final = timedelta(days=1)

ACTION: Final = "compliance report"
"""What the ledger calls the entry that tells of a report."""

DIGEST: Final = "sha256 "
"""What stands before a report's digest in that entry's note."""

Document = dict[str, Any]
"""A report as plain data: text, whole numbers, null, lists and objects."""

Prove = Callable[[int], Proof]
"""The proof of an entry, in the checkpoint of the facts. Raises Rewritten where there can be none."""


def build_report(facts: Facts, framework: Framework, prove: Prove) -> Document:
    """The whole report with its digest. Raises Rewritten where an entry can't be proven."""
    answers = {name: trusted_result(facts, CHECKS[name](facts)) for name in _checks_of(framework)}
    rows, cut = state_rows(facts)
    ids = {row["id"] for row in rows}
    rows += [entry_row(prove(sequence)) for sequence in _cited(answers.values())]
    document: Document = {
        "schema": SCHEMA,
        "framework": {"id": framework.id, "title": framework.title, "source": framework.source},
        "period": {"from": stamp(facts.period.since), "to": stamp(facts.period.until)},
        "over": facts.looked_at >= facts.period.until,
        "owner": facts.owner,
        "looked_at": stamp(facts.looked_at),
        "looked_by": facts.looked_by,
        "made_by": f"keyturn {__version__}",
        "catalogue": {"id": facts.catalogue_id, "digest": facts.catalogue},
        "ledger": ledger_data(facts),
        "unseen": [{"part": str(part), "why": why} for part, why in facts.unseen.items()],
        "verdicts": verdict_counts(framework, answers),
        "controls": [control_data(control, answers) for control in framework.controls],
        "checks": [check_data(name, result, ids) for name, result in answers.items()],
        "tables": table_data(rows, cut),
        "charts": {"rotations": rotation_bars(facts), "accesses": access_hours(facts)},
        "rows": [{**row, "digest": data_digest(row)} for row in rows],
    }
    return {**document, "digest": data_digest(document)}


def trusted_result(facts: Facts, result: CheckResult) -> CheckResult:
    """The result, which cites no entry of a ledger that was changed, and passes by none."""
    if not (facts.ledger.problems and result.entries):
        return result
    words = "The ledger was changed, so its entries prove nothing."
    verdict = ControlVerdict.UNSEEN if result.verdict is ControlVerdict.PASS else result.verdict
    return replace(result, verdict=verdict, found=(*result.found, words), entries=())


def _checks_of(framework: Framework) -> list[str]:
    """The checks that any control asks for, each once, in the order in which they are asked for."""
    return list(dict.fromkeys(name for control in framework.controls for name in control.checks))


def _cited(results: Iterable[CheckResult]) -> list[int]:
    """The entries that any check cites, in their order."""
    return sorted({sequence for result in results for sequence in result.entries[-MOST_ENTRIES:]})


def canonical(data: Any) -> bytes:
    """The one way in which data is spelled where it is digested: sorted keys, no white space, ASCII."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def data_digest(data: Any) -> str:
    """SHA-256 of the canonical spelling, 64 hex digits."""
    return hashlib.sha256(canonical(data)).hexdigest()


# --- rows


def state_rows(facts: Facts) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The rows of all tables, each with an id of its own; and how many of a table are left out."""
    rows, cut = list[dict[str, Any]](), dict[str, int]()
    for table in TABLES:
        made = list(table.rows(facts))
        rows += [row_data(row) for row in made[:MOST_ROWS]]
        if len(made) > MOST_ROWS:
            cut[table.kind] = len(made) - MOST_ROWS
    return rows, cut


def row_data(row: StateRow) -> dict[str, Any]:
    """One row of state."""
    return {"id": row.id, "kind": row.kind, "name": row.name, "cells": dict(row.cells)}


def entry_row(proof: Proof) -> dict[str, Any]:
    """One entry of the ledger with its proof; what it says is told by its own canonical text alone."""
    data = json.loads(proof.to_json())
    return {"id": entry_id(proof.sequence), "kind": "entry", "entry": data["entry"], "hashes": data["hashes"]}


def table_data(rows: Sequence[Mapping[str, Any]], cut: Mapping[str, int]) -> list[dict[str, Any]]:
    """The heads of the tables that have any row."""
    counts = Counter(row["kind"] for row in rows)
    return [
        {
            "kind": table.kind,
            "title": table.title,
            "about": table.about,
            "name": table.name,
            "columns": [{"key": key, "head": head} for key, head in table.columns],
            "left_out": cut.get(table.kind, 0),
        }
        for table in TABLES
        if counts[table.kind]
    ]


# --- answers


def control_data(control: Any, answers: Mapping[str, CheckResult]) -> dict[str, Any]:
    """One control with what it came to."""
    verdict = worst(answers[name].verdict for name in control.checks)
    return {**asdict(control), "checks": list(control.checks), "verdict": str(verdict)}


def check_data(name: str, result: CheckResult, ids: set[str]) -> dict[str, Any]:
    """One check; rows that a limit has left out are counted as more."""
    cited = result.entries[-MOST_ENTRIES:]
    rows = [row for row in result.rows if row in ids]
    more = len(result.entries) - len(cited) + len(result.rows) - len(rows)
    return {
        "name": name,
        "verdict": str(result.verdict),
        "found": list(result.found),
        "remarks": list(result.remarks),
        "numbers": dict(result.numbers),
        "rows": [*rows, *map(entry_id, cited)],
        "more": more,
    }


def verdict_counts(framework: Framework, answers: Mapping[str, CheckResult]) -> dict[str, int]:
    """How many controls came to what."""
    counts = Counter(worst(answers[name].verdict for name in control.checks) for control in framework.controls)
    return {str(verdict): counts[verdict] for verdict in ControlVerdict}


def ledger_data(facts: Facts) -> dict[str, Any]:
    """Which ledger it was, and the checkpoint in which every entry is proven."""
    ledger = facts.ledger
    return {
        "name": ledger.name,
        "checkpoint": ledger.checkpoint,
        "size": ledger.size,
        "later": ledger.later,
        "entries": ledger.entries,
        "first": ledger.first,
        "last": ledger.last,
        "began_at": stamp(ledger.began_at),
        "problems": list(ledger.problems),
    }


# --- names


def report_name(document: Mapping[str, Any]) -> str:
    """What the files of a report are called, without their ending: the same for the same question."""
    period, owner = document["period"], document["owner"]
    dates = "-".join(_date(moment, end=end) for moment, end in ((period["from"], False), (period["to"], True)))
    whose = f"-{hashlib.sha256(owner.encode()).hexdigest()[:12]}" if owner else ""
    return f"{document['framework']['id']}-{dates}{whose}"


def _date(text: str, *, end: bool) -> str:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    shown = moment - DAY if end and moment.time() == datetime.min.time() else moment
    plain = shown.time() == datetime.min.time()
    return f"{shown:%Y%m%d}" if plain else f"{shown:%Y%m%dT%H%M%S}"


def digest_note(document: Mapping[str, Any]) -> str:
    """What the ledger's entry says of a report: which it is, and the digest that binds it."""
    owner = f" of {document['owner']}" if document["owner"] else ""
    period = f"{document['period']['from']} to {document['period']['to']}"
    return f"{DIGEST}{document['digest']}: {document['framework']['id']}, {period}{owner}"
