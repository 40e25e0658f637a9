"""Check once a day, at a time derived from the secret's path, whether CURRENT logs in; the hub keeps the results.

Failed checks are reported. A secret that a rotation or revocation holds is skipped.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final

from keyturn.core.errors import KeyturnError, unexpected
from keyturn.core.ports.hub import Survey
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.core.rotation_record import Record
from keyturn.core.schedule.facts import delay
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.entries import update_state
from keyturn.rotation.state.journal import entry, note_down
from keyturn.rotation.state.quiet_period import FEW, Listing
from keyturn.rotation.state.record_store import load_record

LOGINS: Final = "logins"
"""Path in the hub's state: an entry for each hour, with the secrets checked in it."""

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
HOURS: Final = 24

AGAIN: Final = timedelta(minutes=50)
"""Refused and untried logins are retried in every hourly run, so that a recovery shows soon."""

FORGOTTEN: Final = timedelta(days=30)
"""A result this old belongs to a secret that is no longer checked."""

AT_ONCE: Final = 8


class Login(StrEnum):
    """The result of a check."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """There is no target, or nothing to log in with."""
    UNTRIED = "untried"
    """The target or the hub did not answer, or refused the check."""


@dataclass(frozen=True)
class LoginCheck:
    """The last check of one secret: ``result`` for ``version``, unchanged ``since``.

    ``accepted_at`` is the last successful login of any version. ``why`` is the reason for an untried check.
    """

    result: Login
    version: int
    tried_at: datetime
    since: datetime
    accepted_at: datetime | None = None
    why: str = ""

    def alarm(self, now: datetime) -> str:
        """Why a person should check; empty for none. Untried counts after a day."""
        worked = f"{self.accepted_at:%Y-%m-%d %H:%M} UTC" if self.accepted_at else ""
        before = f"; the last login that worked was at {worked}" if worked else ""
        if self.result is Login.REFUSED:
            return f"CURRENT, version {self.version}, does not log in since {self.since:%Y-%m-%d %H:%M} UTC{before}"
        if self.result is Login.UNTRIED and now - self.since >= DAY:
            return f"CURRENT could not be tried since {self.since:%Y-%m-%d %H:%M} UTC{before}: {self.why}"
        return ""

    def of(self, version: int) -> "LoginCheck | None":
        """This check if it applies to CURRENT's ``version``, else None."""
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
Load = Callable[[str], Record]


# --- when to check


def hour_of(path: str) -> int:
    """The hour of the day in which the secret is checked."""
    return int(delay(path, DAY) / HOUR)


def last_turn(path: str, now: datetime) -> datetime:
    """The latest scheduled time, the same time every day."""
    today = datetime.combine(now.date(), time(), now.tzinfo) + delay(path, DAY)
    return today if today <= now else today - DAY


def is_login_due(check: LoginCheck | None, path: str, now: datetime) -> bool:
    """Whether to check now; a future ``tried_at`` comes from a wrong clock and doesn't count."""
    if check is None or check.tried_at > now:
        return True
    if check.result in (Login.REFUSED, Login.UNTRIED):
        return now - check.tried_at >= AGAIN
    return check.tried_at < last_turn(path, now)


# --- trying


def check_logins(workspace: Workspace, paths: Iterable[str], *, whose_turn: bool = True) -> Checks:
    """Check those of ``paths`` that are due, or all, save the results and return them."""
    paths, now = list(paths), workspace.clock()
    before = load_checks(workspace, paths)
    wanted = [path for path in paths if not whose_turn or is_login_due(before.get(path), path, now)]
    # What the listing shows as quiet is neither held nor ended; a refusal reads the record again.
    record = Listing(workspace, Survey()).load if len(wanted) > FEW else partial(load_record, workspace)
    results = side_by_side(lambda path: check_login(workspace, path, before.get(path), record), wanted, AT_ONCE)
    tried = {path: check for path, check in zip(wanted, results, strict=True) if check is not None}
    keep_checks(workspace, tried)
    note_changes(workspace, before, tried)
    return tried


def check_login(workspace: Workspace, path: str, last: LoginCheck | None, record: Load) -> LoginCheck | None:
    """The result of logging in with CURRENT; None while the secret is held, or before its first version."""
    try:
        return _tried(workspace, path, last, record(path))
    except KeyturnError as error:
        return since(last, LoginCheck(Login.UNTRIED, 0, workspace.clock(), workspace.clock(), why=str(error)))
    except Exception as error:  # noqa: BLE001  what one secret suffers from stops no other, and could hold a value
        why = str(unexpected(error).during("check login", path))
        return since(last, LoginCheck(Login.UNTRIED, 0, workspace.clock(), workspace.clock(), why=why))


def _tried(workspace: Workspace, path: str, last: LoginCheck | None, before: Record) -> LoginCheck | None:
    """Log in with CURRENT; a refusal counts only where the secret didn't change during the check."""
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
    """Whether the secret is held or ended, so that a refusal means nothing."""
    return bool(record.frozen) or record.open is not None


def _moved(workspace: Workspace, path: str, before: Record, version: int) -> bool:
    """Whether the secret has changed since its value was read."""
    after, info = load_record(workspace, path), workspace.hub.describe(path)
    return occupied(after) or after.version != before.version or info is None or info.version != version


def since(last: LoginCheck | None, check: LoginCheck) -> LoginCheck:
    """The result with its start, and the last successful login."""
    if check.result is Login.ACCEPTED:
        check = replace(check, accepted_at=check.tried_at)
    elif last:
        check = replace(check, accepted_at=last.accepted_at)
    same = last is not None and (last.result, last.version) == (check.result, check.version)
    return replace(check, since=last.since) if last and same else check


def note_changes(workspace: Workspace, before: Checks, tried: Checks) -> None:
    """Record in the ledger only the changes to and from refused."""
    changed = {path: check for path, check in tried.items() if turned(before.get(path), check)}
    note_down(workspace, [change_entry(workspace, path, check) for path, check in changed.items()])


def turned(before: LoginCheck | None, after: LoginCheck) -> bool:
    """Whether the result changed to or from refused."""
    was = before.result if before else None
    return was is not after.result and Login.REFUSED in (was, after.result)


def change_entry(workspace: Workspace, path: str, check: LoginCheck) -> Entry:
    """The ledger's entry for one change."""
    outcome = Outcome.FAILED if check.result is Login.REFUSED else Outcome.DONE
    return entry(workspace, "check login", outcome, path, version=check.version, note=f"CURRENT: {check.result}")


# --- in the hub


def load_checks(workspace: Workspace, paths: Collection[str] | None = None) -> Checks:
    """The last checks of these secrets, or of all, in a few reads."""
    hours = sorted({hour_of(path) for path in paths}) if paths is not None else range(HOURS)
    return {
        path: check
        for checks, _ in side_by_side(lambda hour: _read(workspace, hour), hours, AT_ONCE)
        for path, check in checks.items()
    }


def current_check(checks: Checks, path: str, version: int) -> LoginCheck | None:
    """The check of the version that is CURRENT; None for one of an older version."""
    check = checks.get(path)
    return check.of(version) if check else None


def keep_checks(workspace: Workspace, tried: Checks) -> None:
    """Save the results, an entry for each hour."""
    hours = {hour: [path for path in tried if hour_of(path) == hour] for hour in {hour_of(path) for path in tried}}
    results = {hour: {path: tried[path] for path in paths} for hour, paths in hours.items()}
    side_by_side(lambda hour: _lay(workspace, hour, results[hour]), sorted(hours), AT_ONCE)


def _lay(workspace: Workspace, hour: int, tried: Checks) -> None:
    oldest = workspace.clock() - FORGOTTEN

    def merged(stored: Checks) -> Checks:
        return {path: check for path, check in {**stored, **tried}.items() if check.tried_at >= oldest}

    def to_data(checks: Checks) -> dict[str, str]:
        return {"checks": json.dumps({path: check.to_data() for path, check in sorted(checks.items())})}

    update_state(workspace, f"{LOGINS}/{hour:02}", lambda: _read(workspace, hour), merged, to_data)


def _read(workspace: Workspace, hour: int) -> tuple[Checks, int]:
    """An hour's entry and its version; an unreadable entry counts as empty and is overwritten."""
    state = workspace.hub.read_state(f"{LOGINS}/{hour:02}")
    if state is None:
        return {}, 0
    try:
        data = json.loads(state.data["checks"])
        return {path: LoginCheck.from_data(check) for path, check in data.items()}, state.version
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}, state.version


def count_results(checks: Sequence[LoginCheck | None]) -> dict[str, int]:
    """The number of secrets by result; those never checked count as untried."""
    results = [check.result if check else Login.UNTRIED for check in checks]
    return {str(result): results.count(result) for result in Login}
