"""Who read the secrets, as HTML."""

from collections.abc import Iterator, Sequence

from keyturn.revocation.report.markup import Column, counted, items, name, table, time
from keyturn.revocation.report.model import IncidentReport, ReaderReport, RelatedReport
from keyturn.revocation.report.words import UNREAD, clock, count_noun, list_names, ranges


def readers(report: IncidentReport) -> Iterator[str]:
    """Every log with its gaps, every principal; Keyturn's own apart, then what else they read."""
    told, alone = report.readers, len(report.secrets) == 1
    own = [one for one in told.principals if one.own]
    yield f'<h2 id="readers">Who read it</h2><p>From {clock(told.since)} to {clock(told.until)}.</p>'
    yield from _logs(report)
    yield from _who([one for one in told.principals if not one.own], alone)
    if told.unread and any(not log.failed for log in told.logs):
        yield f"<p>The logs name nobody who read: {name(list_names(told.unread, UNREAD))}</p>"
    if own:
        yield "<h3>Keyturn's own logins</h3>"
        yield "<p>Expected here. An address that is not Keyturn's means that its login was stolen.</p>"
        yield from _who(own, alone)
    yield from _related(told.related)
    if told.own_related:
        yield f"<p>Keyturn's own logins read {count_noun(told.own_related, 'other secret')} in that time.</p>"


def _related(related: Sequence[RelatedReport]) -> Iterator[str]:
    if not related:
        return
    yield "<h3>What else the same principals read</h3><p>Whoever had their login may know these too.</p>"
    yield from table(
        (
            Column("Who", "name"),
            Column("Secret", "name"),
            Column("Reads", "number"),
            Column("First", "time"),
            Column("Last", "time"),
        ),
        [
            (name(one.principal), name(one.path), f"{one.reads:,}", time(clock(one.first)), time(clock(one.last)))
            for one in related
        ],
    )


def _logs(report: IncidentReport) -> Iterator[str]:
    if not report.readers.logs:
        yield '<p class="gap">No access log was given: this does not mean that nobody read it.</p>'
    for log in report.readers.logs:
        if log.failed:
            yield f'<p class="gap">{name(log.name)} could not be read: {name(log.failed)}</p>'
            continue
        period = f", from {clock(log.first)} to {clock(log.last)}" if log.first else ""
        yield f'<p class="soft">{name(log.name)}: {count_noun(log.lines, "line")}{period}</p>'
        if log.gaps:
            yield f'<div class="gap">{items(f"Gap: {gap}" for gap in log.gaps)}</div>'


def _who(readers: Sequence[ReaderReport], alone: bool) -> Iterator[str]:
    yield from table(
        (
            Column("Secret", "name"),
            Column("Who", "name"),
            Column("Reads", "number"),
            Column("Got nothing", "number"),
            Column("From where", "name"),
            Column("First", "time"),
            Column("Last", "time"),
            Column("Versions"),
            Column("Logins", "mono"),
        ),
        [
            (
                "" if alone else name(one.path),
                name(one.principal),
                f"{one.reads:,}",
                f"{one.refused:,}" if one.refused else "",
                counted(one.sources) or "not told",
                time(clock(one.first)),
                time(clock(one.last)),
                ranges(one.versions),
                counted(one.logins),
            )
            for one in readers
        ],
    )
