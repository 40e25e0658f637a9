"""The report as one HTML file that needs nothing else: no script, no picture, no font from elsewhere."""

from collections.abc import Iterator, Sequence
from typing import Final

from keyturn.revocation.report.html_readers import readers
from keyturn.revocation.report.markup import Column, items, name, table, text, time
from keyturn.revocation.report.model import IncidentReport, Moment, PlaceReport, SecretReport, TimeToRevoke
from keyturn.revocation.report.style import CSS
from keyturn.revocation.report.words import RESULTS, STATES, STEPS, lasted, ranges, timestamp

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Should a name ever get through as markup, the browser loads nothing for it and runs nothing of it."""

PARTS: Final = {
    "time": "Time to revoke",
    "readers": "Who read it",
    "proof": "How it was proven",
    "secrets": "Place by place",
    "timeline": "Timeline",
    "ledger": "The ledger",
}
"""The sections that the page leads to from its top."""


def html(report: IncidentReport) -> str:
    """All of it, as one page."""
    body = "\n".join(_body(report))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{text(report.incident.id)}: {text(report.state)}</title>
<style>{CSS}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _body(report: IncidentReport) -> Iterator[str]:
    about = report.incident
    yield f"""<header>
<p class="what">Incident report, emergency revocation</p>
<h1>{name(about.id)} <span class="badge {report.state}">{report.state}</span></h1>
</header>
<main>"""
    yield from _first(report)
    yield from _facts(report)
    yield from _times(report)
    yield from _stays(report)
    yield from readers(report)
    yield f'<h2 id="proof">How it was proven</h2><p>{text(report.proof[0])}</p>{items(report.proof[1:])}'
    if report.secrets:
        yield '<h2 id="secrets">Secret by secret, place by place</h2>'
    for one in report.secrets:
        yield from _secret(one)
    yield from _timeline(report)
    yield from _ledger(report)
    yield f"""</main>
<footer>Written {timestamp(report.written_at)} by Keyturn. All times are UTC. Fingerprints are keyed hashes, of which \
the first 12 digits are shown; Keyturn writes no secret value into a report.</footer>"""


def _first(report: IncidentReport) -> Iterator[str]:
    yield f'<section class="box {report.state}"><h2>{text(report.headline)}</h2>'
    if report.left:
        yield items(report.left)
    yield f"</section>{items(report.summary)}"
    parts = {place: head for place, head in PARTS.items() if report.secrets or place not in ("time", "secrets")}
    links = " ".join(f'<a href="#{place}">{head}</a>' for place, head in parts.items())
    yield f"<nav>{links}</nav>"


def _facts(report: IncidentReport) -> Iterator[str]:
    about = report.incident
    facts = [
        ("Reason", name(about.reason)),
        ("Asked for by", name(about.actor)),
        ("Chosen by", name(about.selector)),
        ("Mode", text(about.mode)),
        ("Triggered", timestamp(about.triggered_at)),
        ("Opened", timestamp(about.opened_at)),
        ("Closed", timestamp(about.closed_at) or "not yet"),
    ]
    if about.given_up:
        facts.append(("Given up by", name(about.given_up)))
    if about.leases:
        facts.append(("Leases", f"{len(about.leases):,}"))
    yield f"<dl>{''.join(f'<dt>{term}</dt><dd>{said}</dd>' for term, said in facts)}</dl>"


def _times(report: IncidentReport) -> Iterator[str]:
    times = report.time_to_revoke
    if not times.secrets:
        return
    yield '<h2 id="time">Time to revoke</h2><p>From the trigger; the slowest of all secrets.</p>'
    yield f'<div class="tiles">{_tiles(report, times)}</div>'
    if len(report.secrets) > 1:
        yield from table(
            (
                Column("Secret", "name"),
                Column("Ended after", "number"),
                Column("Seen refused after", "number"),
                Column("Proven clear after", "number"),
                Column("Left", "number"),
            ),
            [
                (
                    name(one.path),
                    lasted(one.cut_seconds),
                    lasted(one.refused_seconds),
                    lasted(one.clear_seconds),
                    f"{len(one.left):,}" if one.left else "",
                )
                for one in report.secrets
            ],
            ["failed" if one.left else "" for one in report.secrets],
        )


def _tiles(report: IncidentReport, times: TimeToRevoke) -> str:
    sessions = sum(one.sessions_ended for one in report.secrets)
    stays = ", but for what a service can't remove" if report.remains else ""
    refused, clear = f"{times.refused:,} of {times.secrets:,}", f"{times.clear:,} of {times.secrets:,}"
    tiles = (
        (lasted(times.refused_seconds), f"until the target was seen to refuse ({refused})"),
        (lasted(times.clear_seconds), f"until every copy was proven clear{stays} ({clear})"),
        (f"{sessions:,}", f"session{'' if sessions == 1 else 's'} ended"),
    )
    return "".join(f'<div class="tile"><b>{big}</b><span>{said}</span></div>' for big, said in tiles)


def _secret(one: SecretReport) -> Iterator[str]:
    yield f"<section><h3>{name(one.path)}</h3>"
    ended = ", ".join(f"{old.version or 'candidate'} {_digest(old.fingerprint)}" for old in one.versions)
    fresh = f"{one.replacement.version} {_digest(one.replacement.fingerprint)}" if one.replacement else "none"
    facts = [
        ("Kind", text(one.strategy) or "not in the catalogue"),
        ("Owner", name(one.owner)),
        ("Classification", text(one.classification)),
        ("Versions ended", ended or "not known yet"),
        ("Now in force", fresh),
        ("Credential ended", _after(one.cut_seconds)),
        ("Seen to be refused", _after(one.refused_seconds)),
        ("Every copy clear", _after(one.clear_seconds)),
        ("Sessions ended", f"{one.sessions_ended:,}"),
    ]
    yield f"<dl>{''.join(f'<dt>{term}</dt><dd>{said}</dd>' for term, said in facts if said)}</dl>"
    yield from _places(one.places)
    yield "</section>"


def _digest(fingerprint: str) -> str:
    return f"<code>{text(fingerprint)}</code>"


def _after(seconds: float | None) -> str:
    return "not yet" if seconds is None else f"{lasted(seconds)} after the trigger"


def _places(places: Sequence[PlaceReport]) -> Iterator[str]:
    yield from table(
        (
            Column("PlaceReport", "name"),
            Column("Old fingerprint", "mono"),
            Column("New value after", "number"),
            Column("Old versions removed after", "number"),
            Column("State"),
        ),
        [
            (
                name(one.place),
                text(one.fingerprint),
                lasted(one.replaced_seconds) if one.replaced_at else "",
                lasted(one.removed_seconds),
                f'<span class="badge {one.state}">{STATES[one.state]}</span> {name(one.said)}',
            )
            for one in places
        ],
    )


def _stays(report: IncidentReport) -> Iterator[str]:
    if report.outlives:
        yield f"<h2>What works on although the credential is ended</h2>{items(report.outlives)}"
    if report.remains:
        yield f"<h2>What a service can't remove</h2>{items(report.remains)}"


def _timeline(report: IncidentReport) -> Iterator[str]:
    yield '<h2 id="timeline">Timeline</h2>'
    yield from table(
        (
            Column("Time", "time"),
            Column("After", "number"),
            Column("Secret", "name"),
            Column("Step"),
            Column("Where", "name"),
            Column("Outcome"),
        ),
        [_moment(one, len(report.secrets) == 1) for one in report.timeline],
        ["" if one.result == "done" else one.result for one in report.timeline],
    )


def _moment(one: Moment, alone: bool) -> tuple[str, ...]:
    outcome = (
        "" if one.result == "done" and one.said else f"{RESULTS[one.result]}: " if one.said else RESULTS[one.result]
    )
    return (
        time(timestamp(one.at)),
        f"{one.seconds:.3f} s",
        "" if alone else name(one.secret),
        STEPS.get(one.step, text(one.step)),
        name(one.place),
        f"{outcome}{name(one.said)}" if one.said else outcome,
    )


def _ledger(report: IncidentReport) -> Iterator[str]:
    ledger = report.ledger
    yield '<h2 id="ledger">How to check this against the ledger</h2>'
    yield f"<p>Run <code>{ledger.verify}</code>: it needs the ledger and its public key, and trusts nothing else.</p>"
    if ledger.sequences:
        yield f"<p>The entries of this incident: {ranges(ledger.sequences)}.</p>"
    if ledger.checkpoint:
        lines = "\n".join(text(line) for line in ledger.checkpoint.splitlines())
        yield f"<p>The checkpoint that covers them:</p><pre>{lines}</pre>"
