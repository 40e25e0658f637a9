"""``keyturn investigate``: who read a secret, what a principal read, what came from an address."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from keyturn.access_log.trail.investigation import Subject
from keyturn.cli.options import JsonOption
from keyturn.cli.output import write_json
from keyturn.cli.secrets.moments import FromOption, ToOption, parse_moment
from keyturn.core.errors import Invalid, NotFound

LIMIT: Final = 100

WhatArgument = Annotated[
    str,
    typer.Argument(
        metavar="WHAT", help="A secret's path, a principal as the log names it, an address or a network; * is any text."
    ),
]
AsOption = Annotated[
    Subject | None, typer.Option("--as", help="What WHAT is, where a secret and a principal are called the same.")
]
LimitOption = Annotated[
    int, typer.Option("--limit", metavar="N", min=0, help="Lines of the timeline, the latest ones; 0 for all.")
]


def investigate(
    what: WhatArgument,
    since: FromOption = "",
    until: ToOption = "",
    subject: AsOption = None,
    limit: LimitOption = LIMIT,
    as_json: JsonOption = False,
) -> None:
    """Show who read a secret, what a principal read, or what came from an address.

    The source is the access trail, up to a few seconds ago. Gaps in the period are shown.
    """
    from keyturn.access_log.trail.investigation import investigate
    from keyturn.access_log.trail.period import Period
    from keyturn.cli.readers.investigation_tables import investigation_data, show_investigation
    from keyturn.core.ports.own_login import role_principals

    now = datetime.now(UTC)
    period = Period(
        parse_moment(since, "--from", now) if since else Period.since,
        parse_moment(until, "--to", now, end=True) if until else Period.until,
    )
    if period.since > period.until:
        raise Invalid("investigate", what, "--from is later than --to", "Exchange them")
    answer = investigate(trail_here(), what, period, subject, limit, role_principals(os.environ))
    return write_json(investigation_data(answer)) if as_json else show_investigation(answer, now)


def trail_here() -> Path:
    """Return the trail's directory from the environment or the local stack. Raises NotFound if it does not exist."""
    from keyturn.cli.ledger.sources import settle_ledger
    from keyturn.settings.trail import VARIABLE, trail_directory

    if VARIABLE not in os.environ:
        settle_ledger()
    directory = trail_directory(os.environ)
    if not directory.is_dir():
        problem = "no log has been read into it: nothing is known of who read what"
        hint = f"Run this where `keyturn serve` does, as its user, or set {VARIABLE} to the trail's directory"
        raise NotFound("read", f"the access trail {directory}", problem, hint)
    return directory
