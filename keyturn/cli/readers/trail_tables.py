"""The access trail as tables and JSON: results of a verification, and proven events."""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from keyturn.cli.output import stamp, when

if TYPE_CHECKING:
    from keyturn.access_log.trail.named_events import NamedEvent
    from keyturn.access_log.trail.retention import Expired
    from keyturn.access_log.trail.verification.file_comparison import FileComparison
    from keyturn.access_log.trail.verification.proofs import ProvenEvent
    from keyturn.access_log.trail.verification.report import SourceReport, TrailReport
    from keyturn.core.ports.access import Access

SOURCE_COLUMNS: Final = ("log", "segments", "events", "newest (UTC)", "remarks")
EVENT_COLUMNS: Final = ("when (UTC)", "who", "what", "from", "where it was")
NAMED_COLUMNS: Final = ("event", *EVENT_COLUMNS[:-1])


def source_rows(report: "TrailReport") -> list[tuple[str, ...]]:
    return [
        (
            source.source,
            f"{source.segments:,}",
            f"{source.records:,}",
            when(source.newest.sealed_at).replace(" ", "\n") if source.newest else "",
            "\n".join(_remarks(source)),
        )
        for source in report.sources
    ]


def _remarks(source: "SourceReport") -> list[str]:
    remarks = ["1 segment holds" if source.verified == 1 else f"{source.verified:,} segments hold"]
    remarks += [f"{_deleted(expired)}: {expired.first} to {expired.last}" for expired in source.expired]
    remarks += [f"{count:,} on {host}, in trail {trail}" for (trail, host), count in source.elsewhere.items()]
    counts = {
        "of a writer that had lost its lease": source.void,
        "lines could not be read": source.malformed,
        "gaps in the log": source.gaps,
        "events are not sealed yet": source.unsealed,
    }
    return remarks + [f"{count:,} {words}" for words, count in counts.items() if count]


def _deleted(expired: "Expired") -> str:
    if expired.reason:
        return f"lost, as {expired.actor.partition(' (')[0]} says in entry {expired.entry} ({expired.reason})"
    return f"deleted because of their age on {expired.at:%Y-%m-%d}, by entry {expired.entry}"


def report_data(report: "TrailReport", comparison: "FileComparison | None", vouched: int) -> Any:
    data: dict[str, Any] = {
        "trail": report.trail,
        "whole": not report.problems and not (comparison and comparison.problems),
        "sources": [_source_data(source, vouched) for source in report.sources],
        "problems": [
            {"problem": problem.what, "source": problem.source, "entry": problem.entry} for problem in report.problems
        ],
        "unseen": list(report.unseen),
    }
    if comparison:
        data["against"] = {
            "lines": comparison.lines,
            "problems": [{"position": problem.position, "problem": problem.what} for problem in comparison.problems],
            "remarks": list(comparison.remarks),
        }
    return data


def _source_data(source: "SourceReport", vouched: int) -> Any:
    newest = source.newest
    return {
        "source": source.source,
        "segments": source.segments,
        "events": source.records,
        "verified": source.verified,
        "newest": {"segment": newest.number, "entry": newest.entry, "sealed_at": stamp(newest.sealed_at)}
        if newest
        else None,
        "vouched": newest is not None and newest.entry <= vouched,
        "deleted": [
            {"first": gone.first, "last": gone.last, "entry": gone.entry, "at": stamp(gone.at), "reason": gone.reason}
            for gone in source.expired
        ],
        "elsewhere": [
            {"trail": trail, "host": host, "segments": count} for (trail, host), count in source.elsewhere.items()
        ],
        "void": source.void,
        "malformed": source.malformed,
        "gaps": source.gaps,
        "unsealed": source.unsealed,
    }


def proven_row(event: "ProvenEvent") -> tuple[str, ...]:
    return (*_access_row(event.record.access), event.record.position)


def named_row(event: "NamedEvent") -> tuple[str, ...]:
    return (str(event.name), *_access_row(event.access))


def _access_row(access: "Access") -> tuple[str, ...]:
    version = f" version {access.version}" if access.version is not None else ""
    refused = ", and got nothing" if access.denied else ""
    what = f"{access.action} {access.path}{version}{refused}"
    return when(access.at).replace(" ", "\n"), access.principal, what, access.source


def named_data(event: "NamedEvent") -> Any:
    return {"name": str(event.name), "event": msgspec.to_builtins(event.access), "position": event.position}


def proven_data(event: "ProvenEvent") -> Any:
    return {
        "event": msgspec.to_builtins(event.record.access),
        "position": event.record.position,
        "digest": event.record.digest.hex(),
        "segment": {"source": event.segment.source, "number": event.segment.number, "entry": event.segment.entry},
    }
