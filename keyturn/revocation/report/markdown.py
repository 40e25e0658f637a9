"""The report as CommonMark with tables, for Prefect's artifact: whatever a name holds, it stays text."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from keyturn.revocation.report.model import Counted, IncidentReport, ReaderReport
from keyturn.revocation.report.words import (
    RESULTS,
    STATES,
    STEPS,
    UNREAD,
    clock,
    count_noun,
    lasted,
    list_names,
    ranges,
    timestamp,
    visible,
    without_empty,
)

MOST: Final = 200
"""Rows of one table; what is beyond stands in the files."""

FEW: Final = 3
"""Addresses or logins in one cell."""

MARKUP: Final = re.compile(
    r"""(?!(?<=[A-Za-z0-9])[-/:](?=[A-Za-z0-9])|(?<=[A-Za-z0-9])_+(?=[A-Za-z0-9])"""
    r"""|(?<=[A-Za-z0-9])(?<![wW]{3})\.(?=[A-Za-z0-9])|(?<=[a-z])[.:;](?=\s|$)|[,'])[!-/:-@\[-`{-~]"""
)
"""Every character that a backslash makes plain (CommonMark 0.31, 2.4), where it may mean something."""


def markdown(report: IncidentReport) -> str:
    """All of it; long tables are cut, and say so."""
    return "\n".join(line for block in _blocks(report) for line in (*block, "")).rstrip() + "\n"


def text(said: str) -> str:
    """Anything as one line of plain text: no markup, no link, no cell border, nothing unseen."""
    return MARKUP.sub(r"\\\g<0>", visible(said).strip())


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], most: int = MOST) -> list[str]:
    """A table of cells that are text already, without columns that hold nothing; empty without rows."""
    if not rows:
        return []
    used, cells = without_empty(heads, rows)
    lines = [_row(used), _row(["---"] * len(used)), *map(_row, cells[:most])]
    more = [] if len(rows) <= most else ["", f"and {len(rows) - most:,} more, in the HTML and JSON files"]
    return [*lines, *more]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _items(said: Iterable[str], most: int = MOST) -> list[str]:
    told = list(said)
    more = [f"- and {len(told) - most:,} more, in the HTML and JSON files"] if len(told) > most else []
    return [f"- {text(one)}" for one in told[:most]] + more


def _blocks(report: IncidentReport) -> Iterator[list[str]]:
    yield [f"# Incident {text(report.incident.id)}"]
    yield [f"**{text(report.headline)}**"]
    yield ["## What is left to do"]
    yield _items(report.left) or ["Nothing."]
    yield ["## In short"]
    yield _items(report.summary)
    yield _facts(report)
    yield from _times(report)
    yield from _stays(report)
    yield from _readers(report)
    yield ["## How it was proven"]
    yield [text(report.proof[0])]
    yield _items(report.proof[1:])
    yield from _details(report)
    yield from _timeline(report)
    yield from _ledger(report)
    yield [f"Written {timestamp(report.written_at)}. All times are UTC. Keyturn writes no secret value into a report."]


def _facts(report: IncidentReport) -> list[str]:
    about = report.incident
    facts = [
        ("Reason", text(about.reason)),
        ("Asked for by", text(about.actor)),
        ("Chosen by", text(about.selector)),
        ("Mode", text(about.mode)),
        ("Triggered", timestamp(about.triggered_at)),
        ("Opened", timestamp(about.opened_at)),
        ("Closed", timestamp(about.closed_at) or "**not yet**"),
    ]
    if about.given_up:
        facts.append(("Given up by", text(about.given_up)))
    if about.leases:
        facts.append(("Leases", str(len(about.leases))))
    return table(("", ""), facts)


def _times(report: IncidentReport) -> Iterator[list[str]]:
    if not report.secrets:
        return
    yield ["## Time to revoke, from the trigger"]
    yield table(
        ("Secret", "Credential ended", "Seen refused", "All copies clear", "Sessions ended", "Left"),
        [
            (
                text(one.path),
                lasted(one.cut_seconds),
                lasted(one.refused_seconds),
                lasted(one.clear_seconds),
                f"{one.sessions_ended:,}",
                str(len(one.left)),
            )
            for one in report.secrets
        ],
    )


def _details(report: IncidentReport) -> Iterator[list[str]]:
    if not report.secrets:
        return
    alone = len(report.secrets) == 1
    yield ["## Place by place"]
    yield table(
        ("Secret", "Place", "Old fingerprint", "New value after", "Old versions removed after", "State"),
        [
            (
                "" if alone else text(one.path),
                text(place.place),
                text(place.fingerprint),
                lasted(place.replaced_seconds) if place.replaced_at else "",
                lasted(place.removed_seconds),
                STATES[place.state] + (f": {text(place.said)}" if place.said else ""),
            )
            for one in report.secrets
            for place in one.places
        ],
    )
    yield from _versions(report)


def _versions(report: IncidentReport) -> Iterator[list[str]]:
    yield ["## Versions"]
    yield table(
        ("Secret", "Kind", "Ended", "Now in force"),
        [
            (
                text(one.path),
                text(one.strategy),
                ", ".join(f"{old.version or 'candidate'} ({text(old.fingerprint)})" for old in one.versions)
                or "unknown",
                f"{one.replacement.version} ({text(one.replacement.fingerprint)})" if one.replacement else "none",
            )
            for one in report.secrets
        ],
    )


def _stays(report: IncidentReport) -> Iterator[list[str]]:
    if report.outlives:
        yield ["## What works on although the credential is ended"]
        yield _items(report.outlives)
    if report.remains:
        yield ["## What a service can't remove"]
        yield _items(report.remains)


def _readers(report: IncidentReport) -> Iterator[list[str]]:
    told, alone = report.readers, len(report.secrets) == 1
    yield ["## Who read it"]
    yield [f"From {clock(told.since)} to {clock(told.until)}."]
    yield _logs(report)
    heads = ("Secret", "Who", "Reads", "Got nothing", "From where", "First", "Last", "Versions", "Logins")
    yield table(heads, [_reader(one, alone) for one in told.principals if not one.own])
    if told.unread and any(not log.failed for log in told.logs):
        yield [f"The logs name nobody who read: {text(list_names(told.unread, UNREAD))}"]
    if own := [_reader(one, alone) for one in told.principals if one.own]:
        yield ["### Keyturn's own logins"]
        yield ["Expected here. An address that is not Keyturn's means that its login was stolen."]
        yield table(heads, own)
    if told.related:
        yield ["### What else the same principals read"]
        yield table(
            ("Who", "Secret", "Reads", "First", "Last"),
            [
                (text(one.principal), text(one.path), f"{one.reads:,}", clock(one.first), clock(one.last))
                for one in told.related
            ],
        )
    if told.own_related:
        yield [f"Keyturn's own logins read {count_noun(told.own_related, 'other secret')} in that time."]


def _logs(report: IncidentReport) -> list[str]:
    lines = []
    for log in report.readers.logs:
        if log.failed:
            lines.append(f"- {text(log.name)}: **could not be read**: {text(log.failed)}")
            continue
        period = f" from {clock(log.first)} to {clock(log.last)}" if log.first else ""
        lines.append(f"- {text(log.name)}: {count_noun(log.lines, 'line')}{period}")
        lines += [f"- {text(log.name)}: **gap**: {text(gap)}" for gap in log.gaps]
    return lines or ["No access log was given: this does not mean that nobody read it."]


def _reader(one: ReaderReport, alone: bool) -> tuple[str, ...]:
    return (
        "" if alone else text(one.path),
        text(one.principal),
        f"{one.reads:,}",
        f"{one.refused:,}" if one.refused else "",
        _counted(one.sources) or "not told",
        clock(one.first),
        clock(one.last),
        ranges(one.versions),
        _counted(one.logins),
    )


def _counted(found: Sequence[Counted]) -> str:
    more = f" and {len(found) - FEW:,} more" if len(found) > FEW else ""
    return ", ".join(f"{text(one.name)} ({one.count:,})" for one in found[:FEW]) + more


def _timeline(report: IncidentReport) -> Iterator[list[str]]:
    alone = len(report.secrets) == 1
    yield ["## Timeline"]
    yield table(
        ("Time", "After", "Secret", "Step", "Where", "Outcome", ""),
        [
            (
                timestamp(one.at),
                f"{one.seconds:.3f} s",
                "" if alone else text(one.secret),
                STEPS.get(one.step, text(one.step)),
                text(one.place),
                f"**{RESULTS[one.result]}**" if one.result != "done" else "done",
                text(one.said),
            )
            for one in report.timeline
        ],
    )


def _ledger(report: IncidentReport) -> Iterator[list[str]]:
    ledger = report.ledger
    yield ["## How to check this against the ledger"]
    yield [f"Run `{ledger.verify}`: it needs the ledger and its public key, and trusts nothing else."]
    if ledger.sequences:
        yield [f"The entries of this incident: {ranges(ledger.sequences)}."]
    if ledger.checkpoint:
        lines = [visible(line) for line in ledger.checkpoint.splitlines()]
        fence = "`" * (max((len(run) for run in re.findall("`+", ledger.checkpoint)), default=0) + 3)
        yield [fence, *lines, fence]
