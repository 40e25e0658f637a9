"""Test once a day whether each secret's CURRENT logs in."""

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
    """Test the secrets that are due, or the named one, or everything at once; the count of each result.

    A refused login, or one untested for a day, is reported, and the run still completes.
    """
    opened = await workspace()
    text, counts = await try_logins(opened, chosen(opened, path), whose_turn=not (path or everything))
    return well(text, counts)


async def try_logins(opened: Workspace, paths: list[str], *, whose_turn: bool) -> tuple[str, dict[str, int]]:
    tried = await look(tasks.check_logins, paths, whose_turn)
    now = opened.clock()
    sound_alarms({path: check.alarm(now) for path, check in tried.items()})
    wrong = {path: check for path, check in tried.items() if check.result in (Login.REFUSED, Login.UNTRIED)}
    counts = count_results(list(tried.values()))
    text = ", ".join(f"{count} {result}" for result, count in counts.items() if count) or "nothing was due"
    await table("check-logins", [row(*entry) for entry in sorted(wrong.items())], text)
    return text, counts


def row(path: str, check: LoginCheck) -> Row:
    since = f"{check.since:%Y-%m-%d %H:%M} UTC"
    return {"secret": path, "login": str(check.result), "version": check.version, "since": since, "why": check.why}


def sound_alarms(alarms: dict[str, str]) -> None:
    for path, why in alarms.items():
        if why:
            resource = {"prefect.resource.id": names().resource(SECRET, path)}
            emit_event(REFUSED, resource=resource, payload={"path": path, "why": why})
