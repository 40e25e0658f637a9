"""Tables and JSON data of the ledger: its entries, and the results of a verification."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from keyturn.cli.output import stamp, when
from keyturn.core.actor import ASKED_FOR_BY
from keyturn.core.text.spans import span

if TYPE_CHECKING:
    from keyturn.core.ports.ledger import Entry
    from keyturn.ledger.checkpoints import Checkpoint
    from keyturn.ledger.entries import Numbered
    from keyturn.ledger.succession import Succession
    from keyturn.ledger.verify import Verification

ENTRY_COLUMNS: Final = ("entry", "when (UTC)", "who", "what", "to what")
REPORT_COLUMNS: Final = ("ledger", "")

NOTE: Final = 200
"""Characters of a note in the table; --json has all."""


def entry_row(numbered: "Numbered") -> tuple[str, ...]:
    entry = numbered.entry
    remark = entry.note if len(entry.note) <= NOTE else f"{entry.note[: NOTE - 1]}\N{HORIZONTAL ELLIPSIS}"
    what = "\n".join(filter(None, (f"{entry.action}: {entry.outcome}", remark.replace("\n", " "))))
    return str(numbered.sequence), when(entry.time).replace(" ", "\n"), who(entry), what, "\n".join(_objects(entry))


def who(entry: "Entry") -> str:
    """The hub's name of the actor without its login, and the requester as the process reports it."""
    name, (_, _, asked_by) = entry.actor.partition(" (")[0], entry.run.rpartition(ASKED_FOR_BY)
    return "\n".join((name, f"for {asked_by}")) if ASKED_FOR_BY in entry.run else name


def _objects(entry: "Entry") -> list[str]:
    from keyturn.core.fingerprint import shown

    version = f" version {entry.version}" if entry.version else ""
    digits = f"fingerprint {shown(entry.fingerprint)}" if entry.fingerprint else ""
    return [part for part in (f"{entry.secret}{version}", entry.place, digits) if part]


def entry_data(leaf: bytes) -> Any:
    return json.loads(leaf)


def report_rows(name: str, report: "Verification", now: datetime) -> list[tuple[str, str]]:
    newest = report.newest
    rows = [
        ("name", name),
        ("entries", str(report.entries)),
        ("vouched for", f"{report.vouched} by {_made(newest, now)}" if newest else "none"),
        ("since then", str(max(0, report.entries - report.vouched))),
        ("compared", f"with {report.checkpoints} checkpoints"),
        ("whole", "yes" if report.whole and newest else "no"),
    ]
    if report.cosigned is not None:
        rows.insert(3, ("witnesses", f"{report.cosigned} have cosigned it{_at(report.cosigned_at, now)}"))
    rows += [("key", _handed_over(succession)) for succession in report.successions]
    return rows + [("problem", str(problem)) for problem in report.problems]


def _handed_over(succession: "Succession") -> str:
    words = f"from entry {succession.sequence} on {succession.successor}, by the word of the key before"
    return f"{words}: also ask those who run the ledger for it"


def _at(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    return ", just now" if now <= at else f", {span(now - at)} ago"


def _made(checkpoint: "Checkpoint", now: datetime) -> str:
    if checkpoint.time is None:
        return "a checkpoint without a time"
    age = "just now" if now <= checkpoint.time else f"{span(now - checkpoint.time)} ago"
    return f"the checkpoint of {when(checkpoint.time)} UTC, {age}"


def report_data(name: str, report: "Verification", now: datetime) -> dict[str, Any]:
    problems = [{"what": problem.what, "first": problem.first, "last": problem.last} for problem in report.problems]
    return {
        "ledger": name,
        "whole": report.whole and report.newest is not None,
        "entries": report.entries,
        "vouched": report.vouched,
        "checkpoints": report.checkpoints,
        "newest": checkpoint_data(report.newest, now) if report.newest else None,
        "cosigned": report.cosigned,
        "successions": [
            {"entry": succession.sequence, "key": str(succession.key), "successor": str(succession.successor)}
            for succession in report.successions
        ],
        "problems": problems,
    }


def checkpoint_data(checkpoint: "Checkpoint", now: datetime) -> dict[str, Any]:
    made = checkpoint.time.astimezone(UTC) if checkpoint.time else None
    return {
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "time": stamp(made),
        "age_seconds": int((now - made).total_seconds()) if made else None,
        "note": checkpoint.note,
    }
