"""The state of every secret: version, age, next rotation, copies and consumers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from keyturn.cli.output import stamp, when
from keyturn.cli.programs.hearing import Hearing, Hearings
from keyturn.cli.secrets.copies import CatalogueCopies, CopyStatus
from keyturn.core.error_codes import code_of
from keyturn.core.errors import KeyturnError, NotFound, unexpected
from keyturn.core.fingerprint import shown
from keyturn.core.rotation_record import OPEN, Rotation, Stage
from keyturn.core.schedule.due import Outlook, Reason, Trigger, due, due_at, outlook
from keyturn.core.text.spans import span
from keyturn.rotation.decide import facts, look_up
from keyturn.rotation.grace import by_this_clock, grace_over
from keyturn.rotation.preconditions import describe_move
from keyturn.rotation.repair.missing_current import describe_missing
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.login_checks import Login, LoginCheck, current_check, load_checks
from keyturn.rotation.state.quiet_period import Listing, acknowledged, list_secrets

T = TypeVar("T")
Use = Callable[[Listing | None], object]

SIDE_BY_SIDE: Final = 8

OFFBOARDED: Final = "OFF-"
"""The prefix of incidents that offboard a project."""
COLUMNS: Final = ("secret", "state", "copies", "consumers")


@dataclass(frozen=True)
class SecretStatus:
    """One secret, in names only. ``error`` is empty unless reading it failed."""

    path: str
    now: datetime
    version: int = 0
    rotated_at: datetime | None = None
    due_at: datetime | None = None
    reason: Reason | None = None
    outlook: Outlook | None = None
    rotation: Rotation | None = None
    ended_by: str = ""
    """The incident that ended its credential, until a new one is in force."""
    written_since: bool = False
    """Whether a person wrote a version since, which is served; nothing else happens to it."""
    moved: bool = False
    """Whether the catalogue names another target than the one with the old credential."""
    grace_over: datetime | None = None
    copies: tuple[CopyStatus, ...] = ()
    consumers: tuple[Hearing, ...] = ()
    login: LoginCheck | None = None
    """The last login test of CURRENT; None if untested."""
    error: str = ""
    code: str = ""
    expires_at: datetime | None = None
    missing: str = ""
    """Why CURRENT can't be read although it existed; a person must restore it."""

    @property
    def occupied(self) -> bool:
        """Whether a rotation or revocation is in progress; an earlier refused login then means nothing."""
        return bool(self.ended_by) or (self.rotation is not None and self.rotation.stage in OPEN)

    def row(self) -> tuple[str, str, str, str]:
        copies = "\n".join(line for copy in self.copies for line in copy.lines())
        consumers = "\n".join(line for hearing in self.consumers for line in hearing.lines())
        return self.path, "\n".join(self.lines()), copies or "-", consumers or "-"

    def lines(self) -> list[str]:
        if self.error:
            return [f"unknown: {self.error}"]
        if self.missing:
            return [f"MISSING: {self.missing}", *([self.unfinished(self.rotation)] if self.rotation else [])]
        if self.ended_by and self.written_since:
            since = (
                f"version {self.version} was written by hand since: `keyturn rotate {self.path} --now` takes it over"
            )
            return [ended_words(self.ended_by), since]
        if self.ended_by:
            return [ended_words(self.ended_by)]
        if self.rotated_at is None:
            return ["no version yet", self.due()]
        lines = [f"version {self.version}", f"{span(self.now - self.rotated_at)} old", self.due()]
        lines += login_lines(self.login)
        return lines + list(filter(None, [self.unfinished(self.rotation) if self.rotation else ""]))

    def due(self) -> str:
        late = "late, " if self.outlook and self.outlook.alarm else ""
        if self.reason:
            return f"{late}due now"
        if self.outlook is None or self.outlook.at is None:
            return "never due"
        held = ", held" if self.outlook.held_by else ""
        return f"{late}due in {span(self.outlook.at - self.now)}{held}"

    def unfinished(self, rotation: Rotation) -> str:
        if rotation.stage is Stage.RETIRING:
            return "old credential is being ended"
        if rotation.stage is not Stage.PROMOTED:
            return f"{rotation.stage} since {when(rotation.opened_at)}: {rotation.next_step}"
        if self.moved:
            return f"old credential is not ended: the catalogue names another target than {rotation.target}"
        if not rotation.ends:
            return ""
        if self.grace_over and self.grace_over > self.now:
            return f"old credential ends in {span(self.grace_over - self.now)}"
        return "old credential is to be retired"

    def to_data(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "version": self.version,
            "rotated_at": stamp(self.rotated_at),
            "age_seconds": int((self.now - self.rotated_at).total_seconds()) if self.rotated_at else None,
            "due_at": stamp(self.due_at),
            "due": self.reason.code if self.reason else None,
            "rotation": rotation_data(self.rotation) if self.rotation else None,
            "ended_by": self.ended_by,
            "written_since": self.written_since,
            "moved": self.moved,
            "destinations": [copy.to_data() for copy in self.copies],
            "consumers": [hearing.to_data() for hearing in self.consumers],
            "login": login_data(self.login, self.now),
            "error": self.error,
            "code": self.code,
            "missing": self.missing,
        }


def secret_statuses(
    workspace: Workspace, places: Callable[[Workspace], CatalogueCopies], use: Use = lambda _: None
) -> tuple[list[SecretStatus], CatalogueCopies]:
    """Check every secret of the catalogue, in parallel, and every copy. Raises an error if no secret could be read.

    Copies come first, so that the memory of their listings is free before the secrets', which ``use`` gets.
    """
    copies, outcomes = places(workspace), statuses_without_copies(workspace, use)
    now, logins = workspace.clock(), load_checks(workspace, outcomes)
    statuses = [
        SecretStatus(path, now, error=str(outcome), code=code_of(outcome))
        if isinstance(outcome, KeyturnError)
        else outcome
        for path, outcome in outcomes.items()
    ]
    statuses = [s if s.occupied else replace(s, login=current_check(logins, s.path, s.version)) for s in statuses]
    return [replace(s, copies=shown_copies(s, copies.of.get(s.path, ()))) for s in statuses], copies


def statuses_without_copies(workspace: Workspace, use: Use = lambda _: None) -> dict[str, SecretStatus | KeyturnError]:
    paths, hearings = sorted(workspace.catalogue.secrets), Hearings.load(workspace)
    with list_secrets(workspace, len(paths)) as listing:
        outcomes = of_each(paths, lambda path: secret_status(workspace, path, listing, hearings))
        use(listing)
    return outcomes


def ended_words(incident: str) -> str:
    if incident.startswith(OFFBOARDED):
        return f"offboarded ({incident}): it serves no more"
    return f"ended by incident {incident}"


def shown_copies(status: SecretStatus, copies: tuple[CopyStatus, ...]) -> tuple[CopyStatus, ...]:
    """Return the relevant copies; those of an ended secret need not exist."""
    if status.rotated_at is None:
        return ()
    return tuple(copy for copy in copies if not (status.ended_by and copy.kind == NotFound.__name__))


def of_each(paths: Sequence[str], look: Callable[[str], T]) -> dict[str, T | KeyturnError]:
    """Return each secret's result of ``look``, or its error. Raises the first error if all fail."""

    def attempt(path: str) -> T | KeyturnError:
        try:
            return look(path)
        except KeyturnError as error:
            return error
        except Exception as error:  # noqa: BLE001  what is odd about one secret hides no other, and could hold a value
            return unexpected(error).during("look at", path)

    outcomes = side_by_side(attempt, paths, SIDE_BY_SIDE)
    errors = [outcome for outcome in outcomes if isinstance(outcome, KeyturnError)]
    if errors and len(errors) == len(outcomes):
        raise errors[0]
    return dict(zip(paths, outcomes, strict=True))


def secret_status(workspace: Workspace, path: str, listing: Listing | None, hearings: Hearings) -> SecretStatus:
    """Determine one secret's status, without its copies, and without reading its value."""
    stands = look_up(workspace, path, listing)
    record, secret_facts = stands.record, facts(workspace, path, Trigger.SCHEDULE, stands)
    heard = listing.acknowledged(path, record) if listing else acknowledged(record)
    over = grace_over(workspace, path, record.retiring) if record.retiring else None
    return SecretStatus(
        path,
        secret_facts.now,
        stands.version,
        secret_facts.rotated_at,
        due_at(secret_facts),
        due(secret_facts),
        outlook(secret_facts),
        record.rotation,
        record.frozen,
        bool(stands.info and stands.info.served) and record.written_since(stands.version),
        record.retiring is not None and bool(describe_move(workspace, path, record.retiring)),
        by_this_clock(workspace, over) if over else None,
        consumers=hearings.of(workspace, path, stands.info, record, heard),
        expires_at=secret_facts.expires_at,
        missing=describe_missing(stands.info, record),
    )


def rotation_data(rotation: Rotation) -> dict[str, Any]:
    return {
        "sequence": rotation.sequence,
        "state": str(rotation.stage),
        "version": rotation.version,
        "reason": rotation.reason,
        "strategy": rotation.strategy,
        "fingerprint": shown(rotation.fingerprint),
        "opened_at": stamp(rotation.opened_at),
        "promoted_at": stamp(rotation.promoted_at),
        "closed_at": stamp(rotation.closed_at),
        "acknowledged": list(rotation.acknowledged),
        "note": rotation.note,
    }


def login_lines(check: LoginCheck | None) -> list[str]:
    if check is None:
        return []
    if check.result is Login.REFUSED:
        return ["DOES NOT LOG IN", f"since {when(check.since)}"]
    if check.result is Login.UNTRIED:
        return ["login can't be tried", f"since {when(check.since)}"]
    verdict = "logs in" if check.result is Login.ACCEPTED else "no login to test"
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
