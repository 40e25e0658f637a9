"""Whether CURRENT logs in: tried once a day for each secret, at a minute of its own, and kept in the hub.

A password that somebody changed at the target, or a database that was restored, shows the same day. What could not be
tried is said to be so. A secret that a rotation or a revocation holds is left alone: it has no verdict meanwhile.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final

from keyturn.core.errors import KeyturnError, unexpected
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.core.record import Record
from keyturn.core.schedule.facts import delay
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.entries import update_state
from keyturn.rotation.state.journal import entry, note_down
from keyturn.rotation.state.records import load_record

LOGINS: Final = "logins"
"""Where they are kept in the hub's state: an entry for each hour, with the secrets whose turn is in it."""

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
HOURS: Final = 24

AGAIN: Final = timedelta(minutes=50)
"""What was refused or could not be tried is tried again with every hourly run, so that it is well soon once it is."""

FORGOTTEN: Final = timedelta(days=30)
"""A secret that nobody tries any more is not in the catalogue any more."""

AT_ONCE: Final = 8


class Login(StrEnum):
    """What came of a try."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """Nobody can tell: there is no target, or nothing to log in with."""
    UNTRIED = "untried"
    """It could not be tried: the target or the hub did not answer, or refused to be asked."""


@dataclass(frozen=True)
class LoginCheck:
    """What is known of one secret: ``result`` at ``tried_at``, of that ``version``, and the same ``since``.

    ``accepted_at`` is when CURRENT was last seen to log in, whichever version it was. ``why`` tells what kept it from
    being tried.
    """

    result: Login
    version: int
    tried_at: datetime
    since: datetime
    accepted_at: datetime | None = None
    why: str = ""

    def alarm(self, now: datetime) -> str:
        """Why somebody should look; empty where nobody need. What could not be tried is one after a day."""
        worked = f"{self.accepted_at:%Y-%m-%d %H:%M} UTC" if self.accepted_at else ""
        before = f"; the last login that worked was at {worked}" if worked else ""
        if self.result is Login.REFUSED:
            return f"CURRENT, version {self.version}, does not log in since {self.since:%Y-%m-%d %H:%M} UTC{before}"
        if self.result is Login.UNTRIED and now - self.since >= DAY:
            return f"CURRENT could not be tried since {self.since:%Y-%m-%d %H:%M} UTC{before}: {self.why}"
        return ""

    def of(self, version: int) -> "LoginCheck | None":
        """This, where it is about the version that is CURRENT; what was said of an older one is over."""
        return self if self.result is Login.UNTRIED or self.version == version else None

    def to_data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        data = {name: value for name, value in asdict(self).items() if value}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in data.items()}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "LoginCheck":
        """The reverse of :meth:`to_data`."""
        moments = {
            name: datetime.fromisoformat(data[name]) for name in ("tried_at", "since", "accepted_at") if name in data
        }
        return LoginCheck(Login(data["result"]), data.get("version", 0), why=data.get("why", ""), **moments)


Checks = dict[str, LoginCheck]


# --- whose turn it is


def hour_of(path: str) -> int:
    """The hour of the day in which it is the secret's turn."""
    return int(delay(path, DAY) / HOUR)


def last_turn(path: str, now: datetime) -> datetime:
    """When it was last the secret's turn: a moment of its own each day, the same every day."""
    today = datetime.combine(now.date(), time(), now.tzinfo) + delay(path, DAY)
    return today if today <= now else today - DAY


def is_login_due(check: LoginCheck | None, path: str, now: datetime) -> bool:
    """Whether to try it now; a moment in the future is that of a clock which was ahead."""
    if check is None or check.tried_at > now:
        return True
    if check.result in (Login.REFUSED, Login.UNTRIED):
        return now - check.tried_at >= AGAIN
    return check.tried_at < last_turn(path, now)


# --- trying


def check_logins(workspace: Workspace, paths: Iterable[str], *, whose_turn: bool = True) -> Checks:
    """Try those of ``paths`` whose turn it is, or all, and keep what came of it; those that were tried."""
    paths, now = list(paths), workspace.clock()
    before = load_checks(workspace, paths)
    wanted = [path for path in paths if not whose_turn or is_login_due(before.get(path), path, now)]
    results = side_by_side(lambda path: check_login(workspace, path, before.get(path)), wanted, AT_ONCE)
    tried = {path: check for path, check in zip(wanted, results, strict=True) if check is not None}
    keep_checks(workspace, tried)
    note_changes(workspace, before, tried)
    return tried


def check_login(workspace: Workspace, path: str, last: LoginCheck | None) -> LoginCheck | None:
    """What CURRENT's holder would find now; None where a rotation or a revocation is at it, or there is nothing yet."""
    try:
        return _tried(workspace, path, last)
    except KeyturnError as error:
        return since(last, LoginCheck(Login.UNTRIED, 0, workspace.clock(), workspace.clock(), why=str(error)))
    except Exception as error:  # noqa: BLE001  what one secret suffers from stops no other, and could hold a value
        why = str(unexpected(error).during("check login", path))
        return since(last, LoginCheck(Login.UNTRIED, 0, workspace.clock(), workspace.clock(), why=why))


def _tried(workspace: Workspace, path: str, last: LoginCheck | None) -> LoginCheck | None:
    """Log in as the holder of CURRENT would; a refusal counts where nothing has moved meanwhile."""
    before = load_record(workspace, path)
    if occupied(before):
        return None
    current, now = workspace.hub.read(path), workspace.clock()
    if current is None:
        info = workspace.hub.describe(path)
        why = f"the hub does not give version {info.version}" if info and info.version else ""
        return since(last, LoginCheck(Login.UNTRIED, info.version, now, now, why=why)) if info and why else None
    accepted = workspace.open_strategy(path).accepts(current.fields)
    if accepted is False and _moved(workspace, path, before, current.version):
        return None
    result = Login.UNKNOWN if accepted is None else Login.ACCEPTED if accepted else Login.REFUSED
    return since(last, LoginCheck(result, current.version, now, now))


def occupied(record: Record) -> bool:
    """Whether somebody is at the secret, or has ended it: then a refusal tells nothing."""
    return bool(record.frozen) or record.open is not None


def _moved(workspace: Workspace, path: str, before: Record, version: int) -> bool:
    """Whether the secret is another one by now than when its value was read."""
    after, info = load_record(workspace, path), workspace.hub.describe(path)
    return occupied(after) or after.version != before.version or info is None or info.version != version


def since(last: LoginCheck | None, check: LoginCheck) -> LoginCheck:
    """What was found, with since when it has been so, and when a login last worked."""
    if check.result is Login.ACCEPTED:
        check = replace(check, accepted_at=check.tried_at)
    elif last:
        check = replace(check, accepted_at=last.accepted_at)
    same = last is not None and (last.result, last.version) == (check.result, check.version)
    return replace(check, since=last.since) if last and same else check


def note_changes(workspace: Workspace, before: Checks, tried: Checks) -> None:
    """Let the ledger tell where a login begins to be refused, and where it works again; not each of them."""
    changed = {path: check for path, check in tried.items() if turned(before.get(path), check)}
    note_down(workspace, [change_entry(workspace, path, check) for path, check in changed.items()])


def turned(before: LoginCheck | None, after: LoginCheck) -> bool:
    """Whether a login that worked, or was never tried, is refused now; or the other way round."""
    was = before.result if before else None
    return was is not after.result and Login.REFUSED in (was, after.result)


def change_entry(workspace: Workspace, path: str, check: LoginCheck) -> Entry:
    """One change for the ledger."""
    outcome = Outcome.FAILED if check.result is Login.REFUSED else Outcome.DONE
    return entry(workspace, "check login", outcome, path, version=check.version, note=f"CURRENT: {check.result}")


# --- in the hub


def load_checks(workspace: Workspace, paths: Collection[str] | None = None) -> Checks:
    """What is known of these secrets, or of all; a few reads, however many there are."""
    hours = sorted({hour_of(path) for path in paths}) if paths is not None else range(HOURS)
    return {
        path: check
        for checks, _ in side_by_side(lambda hour: _read(workspace, hour), hours, AT_ONCE)
        for path, check in checks.items()
    }


def current_check(checks: Checks, path: str, version: int) -> LoginCheck | None:
    """What is known of the version that is CURRENT; what was said of an older one is over."""
    check = checks.get(path)
    return check.of(version) if check else None


def keep_checks(workspace: Workspace, tried: Checks) -> None:
    """Write down what came of the tries, an entry for each hour."""
    hours = {hour: [path for path in tried if hour_of(path) == hour] for hour in {hour_of(path) for path in tried}}
    side_by_side(
        lambda hour: _lay(workspace, hour, {path: tried[path] for path in hours[hour]}), sorted(hours), AT_ONCE
    )


def _lay(workspace: Workspace, hour: int, tried: Checks) -> None:
    oldest = workspace.clock() - FORGOTTEN

    def merged(stored: Checks) -> Checks:
        return {path: check for path, check in {**stored, **tried}.items() if check.tried_at >= oldest}

    def to_data(checks: Checks) -> dict[str, str]:
        return {"checks": json.dumps({path: check.to_data() for path, check in sorted(checks.items())})}

    update_state(workspace, f"{LOGINS}/{hour:02}", lambda: _read(workspace, hour), merged, to_data)


def _read(workspace: Workspace, hour: int) -> tuple[Checks, int]:
    """An hour's entry and its version; one that can't be read is as none, and is written anew."""
    state = workspace.hub.read_state(f"{LOGINS}/{hour:02}")
    if state is None:
        return {}, 0
    try:
        data = json.loads(state.data["checks"])
        return {path: LoginCheck.from_data(check) for path, check in data.items()}, state.version
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}, state.version


def count_results(checks: Sequence[LoginCheck | None]) -> dict[str, int]:
    """How many secrets came to what; those that were never tried are among the untried."""
    results = [check.result if check else Login.UNTRIED for check in checks]
    return {str(result): results.count(result) for result in Login}
