"""Try once a day, for each secret, whether CURRENT logs in."""

from datetime import timedelta
from typing import Final

from prefect.events import emit_event

from flows.support.common import chosen, flow, well, workspace
from flows.support.report import Row, table
from keyturn.core.workspaces import SECRET
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.login_checks import Login, LoginCheck, count_results
from tasks import logins as tasks
from tasks.step import look
from tasks.workspace import names

REFUSED: Final = "keyturn.secret.refused"


@flow("check-logins", timeout=timedelta(hours=1), looks=True)
async def check_logins(path: str | None = None, everything: bool = False) -> dict[str, int]:
    """Try the secrets whose turn it is; the one that is named, or all, at once. How many came to what.

    A login that is refused, or that nobody could try for a day, is reported; the run goes well all the same.
    """
    opened = await workspace()
    text, counts = await try_logins(opened, chosen(opened, path), whose_turn=not (path or everything))
    return well(text, counts)


async def try_logins(opened: Workspace, paths: list[str], *, whose_turn: bool) -> tuple[str, dict[str, int]]:
    """Try those of these whose turn it is, or all; what they came to, in words, and how many to what."""
    tried = await look(tasks.check_logins, paths, whose_turn)
    now = opened.clock()
    sound_alarms({path: check.alarm(now) for path, check in tried.items()})
    wrong = {path: check for path, check in tried.items() if check.result in (Login.REFUSED, Login.UNTRIED)}
    counts = count_results(list(tried.values()))
    text = ", ".join(f"{count} {result}" for result, count in counts.items() if count) or "nothing was due"
    await table("check-logins", [row(*entry) for entry in sorted(wrong.items())], text)
    return text, counts


def row(path: str, check: LoginCheck) -> Row:
    """One secret that nobody could log in with."""
    since = f"{check.since:%Y-%m-%d %H:%M} UTC"
    return {"secret": path, "login": str(check.result), "version": check.version, "since": since, "why": check.why}


def sound_alarms(alarms: dict[str, str]) -> None:
    """Tell Prefect of each; an automation passes it on."""
    for path, why in alarms.items():
        if why:
            resource = {"prefect.resource.id": names().resource(SECRET, path)}
            emit_event(REFUSED, resource=resource, payload={"path": path, "why": why})
