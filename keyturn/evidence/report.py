"""Build a report from facts: the same facts and the same ledger give the same bytes.

A report is one document of plain data with two kinds of rows. Ledger entries each have a proof in one checkpoint. Rows
of state are protected only by the report's digest. The ledger records that digest once the report is made, so a later
change to a row contradicts the ledger.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keyturn import __version__
from keyturn.evidence.checks import CHECKS
from keyturn.evidence.checks.judging import DAY
from keyturn.evidence.facts import Facts
from keyturn.evidence.model import CheckResult, ControlVerdict, Framework, entry_id, worst
from keyturn.evidence.tables import TABLES, stamp
from keyturn.ledger.proofs import Proof

SCHEMA: Final = "keyturn.compliance-report/1"

MOST_ENTRIES: Final = 500
"""Maximum number of entries that one check cites, newest first. The report shows the total."""

MOST_ROWS: Final = 20_000
"""Maximum number of rows in a table. The report shows how many are left out."""

BARS: Final = 40
"""Maximum number of bars in a chart; a longer period has wider bars."""

WIDTHS: Final = tuple(timedelta(days=days) for days in (1, 7, 14, 30, 90, 365))

ACTION: Final = "compliance report"
"""The action of the ledger entry that records a report."""

DIGEST: Final = "sha256 "
"""The prefix of a report's digest in that entry's note."""

Document = dict[str, Any]
"""A report as plain data: texts, whole numbers, null, lists and objects."""

Prove = Callable[[int], Proof]
"""Proves an entry in the checkpoint of the facts. Raises Rewritten."""


def build_report(facts: Facts, framework: Framework, prove: Prove) -> Document:
    """Return the whole report with its digest. Raises Rewritten where an entry can't be proven."""
    names = dict.fromkeys(name for control in framework.controls for name in control.checks)
    answers = {name: trusted_result(facts, CHECKS[name](facts)) for name in names}
    rows, cut = state_rows(facts)
    hours = [
        {"hour": hour, "classification": classification, "reads": reads}
        for (hour, classification), reads in facts.accesses.hours.items()
    ]
    ids = {row["id"] for row in rows}
    cited = {sequence for result in answers.values() for sequence in result.entries[-MOST_ENTRIES:]}
    rows += [entry_row(prove(sequence)) for sequence in sorted(cited)]
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
        "charts": {"rotations": rotation_bars(facts), "accesses": hours},
        "rows": [{**row, "digest": data_digest(row)} for row in rows],
    }
    return {**document, "digest": data_digest(document)}


def trusted_result(facts: Facts, result: CheckResult) -> CheckResult:
    """Return the result; without entries and without a pass by them where the ledger was changed."""
    if not (facts.ledger.problems and result.entries):
        return result
    words = "The ledger was changed, so its entries prove nothing."
    verdict = ControlVerdict.UNSEEN if result.verdict is ControlVerdict.PASS else result.verdict
    return replace(result, verdict=verdict, found=(*result.found, words), entries=())


def canonical(data: Any) -> bytes:
    """Return the canonical JSON for digests: sorted keys, no white space, ASCII."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def data_digest(data: Any) -> str:
    return hashlib.sha256(canonical(data)).hexdigest()


# --- rows


def state_rows(facts: Facts) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the rows of all tables with unique ids, and the number left out per table."""
    rows, cut = list[dict[str, Any]](), dict[str, int]()
    for table in TABLES:
        made = list(table.rows(facts))
        rows += [
            {"id": row.id, "kind": row.kind, "name": row.name, "cells": dict(row.cells)} for row in made[:MOST_ROWS]
        ]
        if len(made) > MOST_ROWS:
            cut[table.kind] = len(made) - MOST_ROWS
    return rows, cut


def entry_row(proof: Proof) -> dict[str, Any]:
    data = json.loads(proof.to_json())
    return {"id": entry_id(proof.sequence), "kind": "entry", "entry": data["entry"], "hashes": data["hashes"]}


def table_data(rows: Sequence[Mapping[str, Any]], cut: Mapping[str, int]) -> list[dict[str, Any]]:
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


# --- results


def control_data(control: Any, answers: Mapping[str, CheckResult]) -> dict[str, Any]:
    verdict = worst(answers[name].verdict for name in control.checks)
    return {**asdict(control), "checks": list(control.checks), "verdict": str(verdict)}


def check_data(name: str, result: CheckResult, ids: set[str]) -> dict[str, Any]:
    """Return one check as data. Rows beyond a limit are counted as ``more``."""
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
    counts = Counter(worst(answers[name].verdict for name in control.checks) for control in framework.controls)
    return {str(verdict): counts[verdict] for verdict in ControlVerdict}


def ledger_data(facts: Facts) -> dict[str, Any]:
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


# --- charts


def rotation_bars(facts: Facts) -> list[dict[str, Any]]:
    """Return the number of rotations and of failed ones, by the first day of each bar."""
    since, until = facts.period.since, min(facts.period.until, facts.looked_at)
    width = next((width for width in WIDTHS if (until - since) / width <= BARS), WIDTHS[-1])
    count = min(10 * BARS, max(1, -(-(until - since) // width)))
    done, failed = Counter[int](), Counter[int]()
    for mark in facts.ledger.marks:
        bar = (mark.at - since) // width
        done[bar] += (mark.action, mark.outcome) == ("promote", "done")
        failed[bar] += (mark.action, mark.outcome) == ("rotate", "failed")
    return [
        {"from": f"{since + bar * width:%Y-%m-%d}", "rotated": done[bar], "failed": failed[bar]} for bar in range(count)
    ]


# --- names


def report_name(document: Mapping[str, Any]) -> str:
    """Return the file name of a report, without extension: the same for the same question."""
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
    owner = f" of {document['owner']}" if document["owner"] else ""
    period = f"{document['period']['from']} to {document['period']['to']}"
    return f"{DIGEST}{document['digest']}: {document['framework']['id']}, {period}{owner}"
