"""The login test of CURRENT, as table lines and as data."""

from datetime import datetime
from typing import Any

from keyturn.cli.output import stamp, when
from keyturn.rotation.state.login_checks import Login, LoginCheck


def login_lines(check: LoginCheck | None) -> list[str]:
    if check is None:
        return []
    if check.result is Login.REFUSED:
        return ["DOES NOT LOG IN", f"since {when(check.since)}"]
    if check.result is Login.UNTRIED:
        return ["login can't be tried", f"since {when(check.since)}"]
    verdict = "logs in" if check.result is Login.ACCEPTED else "nobody can tell if it logs in"
    return [verdict, f"last tried {when(check.tried_at)}"]


def trouble(check: LoginCheck | None, now: datetime) -> str:
    if check is None or check.result in (Login.ACCEPTED, Login.UNKNOWN):
        return ""
    return check.alarm(now) or f"CURRENT could not be tried since {when(check.since)} UTC: {check.why}"


def login_data(check: LoginCheck | None, now: datetime) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "result": str(check.result),
        "version": check.version or None,
        "tried_at": stamp(check.tried_at),
        "since": stamp(check.since),
        "accepted_at": stamp(check.accepted_at),
        "why": check.why,
        "alarm": check.alarm(now),
    }
