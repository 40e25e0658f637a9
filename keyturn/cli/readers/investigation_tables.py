"""An investigation's results as tables and JSON. Names are shown as plain text."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keyturn.access_log.trail.coverage import SourceCoverage, TrailCoverage
from keyturn.access_log.trail.investigation import Investigation, RelatedSecret, Subject, TimelineEntry, Total
from keyturn.access_log.trail.period import FIRST, LAST, Period
from keyturn.cli.output import stamp, when, write_table, write_text
from keyturn.core.ports.access import CHANGE, DELETE, DESTROY, LOGIN
from keyturn.core.text.plain_text import visible
from keyturn.core.text.spans import span

TIMELINE: Final = ("when (UTC)", "who", "what", "times")
TOTALS: Final = ("reads", "refused", "first (UTC)", "last (UTC)")
RELATED: Final = ("secret", "by", "reads", "first (UTC)", "last (UTC)")
VERBS: Final = {LOGIN: "logged in at ", CHANGE: "changed ", DELETE: "deleted ", DESTROY: "destroyed "}
WORDS: Final = {Subject.PATH: "secret", Subject.PRINCIPAL: "principal", Subject.ADDRESS: "address"}


def show_investigation(answer: Investigation, now: datetime) -> None:
    if answer.subject is None:
        write_text("\n".join(nothing(answer)))
    else:
        write_text(heading(answer))
        write_table(TIMELINE, map(timeline_row, answer.timeline), whole=("when (UTC)", "times"))
        principals, paths, addresses = answer.distinct
        counted = (
            (Subject.PATH, answer.paths, paths),
            (Subject.PRINCIPAL, answer.principals, principals),
            (Subject.ADDRESS, answer.addresses, addresses),
        )
        for subject, totals, distinct in counted:
            if subject is not answer.subject or distinct > 1:
                show_totals(WORDS[subject], totals, distinct)
        show_related(answer.related)
    write_text("\n".join(("", *coverage_lines(answer.coverage, answer.period, now))))


def heading(answer: Investigation) -> str:
    subject = WORDS[answer.subject] if answer.subject else ""
    times = "once" if answer.accesses == 1 else f"{answer.accesses:,} times"
    omitted = f"; {answer.omitted:,} earlier lines are left out (--limit)" if answer.omitted else ""
    return f"{subject} {visible(answer.what)}: {times}{omitted}"


def nothing(answer: Investigation) -> Iterator[str]:
    what, coverage = visible(answer.what), answer.coverage
    if coverage.covers(answer.period):
        yield f"the logs of that time have no access to, by or from {what}"
    else:
        yield f"nothing of {what} was found, but the logs of that time have gaps: there may have been some"
    if answer.like:
        yield f"there is: {', '.join(map(visible, answer.like))}"


def timeline_row(entry: TimelineEntry) -> tuple[str, ...]:
    moments = dict.fromkeys((when(entry.first), when(entry.last)))
    who = [visible(entry.principal) or "unknown", f"from {visible(entry.source) or 'unknown address'}"]
    who += [f"by {visible(entry.agent)}"] if entry.agent else []
    return "\n".join(moments), "\n".join(who), "\n".join(what_happened(entry)), f"{entry.count:,}"


def what_happened(entry: TimelineEntry) -> Iterator[str]:
    version = f" version {entry.version}" if entry.version is not None else ""
    verb = VERBS.get(entry.action, "")
    yield f"{verb}{visible(entry.path)}{version}"
    words = ["refused"] if entry.denied else []
    words += [f"in {visible(entry.system)}"] if entry.system != "hub" else []
    words += ["with the root policy"] if entry.root else []
    words += ["Keyturn's own login"] if entry.own else []
    if entry.login:
        words.append(f"login {visible(entry.login)}" if entry.login == entry.other_login else "several logins")
    if words:
        yield ", ".join(words)


def show_totals(word: str, totals: Sequence[Total], distinct: int) -> None:
    if not totals:
        return
    more = f" ({distinct:,} in all)" if distinct > len(totals) else ""
    write_text("")
    write_table((f"{word}{more}", *TOTALS), map(total_row, totals), whole=TOTALS)


def total_row(total: Total) -> tuple[str, ...]:
    name = visible(total.name) + ("" if total.system == "hub" else f" in {visible(total.system)}")
    own = " (Keyturn's own)" if total.own else ""
    return f"{name}{own}", f"{total.reads:,}", f"{total.refused:,}", when(total.first), when(total.last)


def show_related(related: Sequence[RelatedSecret]) -> None:
    """Show other secrets that the same principals read."""
    if not related:
        return
    write_text("\nother secrets that the same principals were given in that time:")
    rows = (
        (
            visible(each.path) + ("" if each.system == "hub" else f" in {visible(each.system)}"),
            f"{each.principals:,}",
            f"{each.reads:,}",
            when(each.first),
            when(each.last),
        )
        for each in related
    )
    write_table(RELATED, rows, whole=RELATED[1:])


def coverage_lines(coverage: TrailCoverage, period: Period, now: datetime) -> Iterator[str]:
    yield f"asked for {period_words(period)} (UTC). What the trail in {coverage.directory} knows:"
    if not coverage.sources:
        yield "- nothing at all: no log was read into it yet. Is `keyturn serve` running?"
    for source in coverage.sources:
        yield from (f"- {visible(source.source)}: {line}" for line in source_lines(source, period, now))


def period_words(period: Period) -> str:
    since = "all that is there" if period.since == FIRST else f"{when(period.since)} on"
    return since if period.until == LAST else f"{since}, until {when(period.until)}"


def source_lines(source: SourceCoverage, period: Period, now: datetime) -> Iterator[str]:
    if source.latest is None:
        yield "no event yet"
    else:
        age = span(max(now - source.latest, timedelta()))
        unsealed = f", {source.unsealed:,} of them not sealed yet" if source.unsealed else ""
        yield f"events from {when(source.begins)} on, the newest of {when(source.latest)}, {age} ago{unsealed}"
    yield from map(visible, source.shortfalls(period))


def investigation_data(answer: Investigation) -> dict[str, Any]:
    principals, paths, addresses = answer.distinct
    return {
        "what": answer.what,
        "subject": answer.subject,
        "from": None if answer.period.since == FIRST else stamp(answer.period.since),
        "to": None if answer.period.until == LAST else stamp(answer.period.until),
        "accesses": answer.accesses,
        "timeline": [entry_data(entry) for entry in answer.timeline],
        "omitted": answer.omitted,
        "principals": {"distinct": principals, "most": [as_data(total) for total in answer.principals]},
        "paths": {"distinct": paths, "most": [as_data(total) for total in answer.paths]},
        "addresses": {"distinct": addresses, "most": [as_data(total) for total in answer.addresses]},
        "related": [as_data(related) for related in answer.related],
        "like": list(answer.like),
        "covered": answer.coverage.covers(answer.period),
        "coverage": [as_data(source) for source in answer.coverage.sources],
    }


def entry_data(entry: TimelineEntry) -> dict[str, Any]:
    data = as_data(entry)
    several = data.pop("other_login") != entry.login
    return {**data, "login": None if several else entry.login}


def as_data(answer: Any) -> dict[str, Any]:
    return {key: _plain(value) for key, value in asdict(answer).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return stamp(value.astimezone(UTC))
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value
