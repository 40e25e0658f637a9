"""``keyturn due``: when and why each secret is rotated next, what delays it, and what is late."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import FAILED, UNKNOWN, end_command
from keyturn.cli.options import CatalogueOption, JsonOption, Layout, OptionalPath, OutputOption, layout_of
from keyturn.cli.output import note, stamp, write_json, write_names, write_table
from keyturn.core.error_codes import code_of
from keyturn.core.errors import CandidateRejected, KeyturnError, TerminalError, Unproven

if TYPE_CHECKING:
    from keyturn.core.lineage import KnownVersion
    from keyturn.core.own_keys import OwnKey
    from keyturn.core.ports.restored import RestoredMark
    from keyturn.core.rotation_record import Record, Rotation
    from keyturn.core.schedule.due import Outlook, Reason
    from keyturn.core.schedule.windows import Freeze
    from keyturn.doctor.results import CheckResult
    from keyturn.rotation.decide import SecretStatus
    from keyturn.rotation.state.context import Workspace
    from keyturn.rotation.state.login_checks import Checks, LoginCheck
    from keyturn.rotation.state.quiet_period import Listing

COLUMNS: Final = ("secret", "when (UTC)", "why")

CheckOption = Annotated[
    bool, typer.Option("--check", help="End with 1 if something is late or fails, 5 if something is unknown.")
]


def show_due(
    path: OptionalPath = None,
    check: CheckOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Layout.TABLE,
) -> None:
    """Show when and why each secret is rotated next, the first one first.

    And what holds it back: its window, a freeze, or a pause after a rotation that was taken back.
    """
    from keyturn.cli.emergencies.approvals import find_unreviewed, tell_unreviewed
    from keyturn.cli.keys.commands import insist_on_sound, keys_of, tell_keys
    from keyturn.cli.keys.own_keys import is_late, own_keys_of, tell_own_keys
    from keyturn.cli.secrets.status import note_undeclared
    from keyturn.cli.setup.pki import authorities_of, insist_on_lasting, tell_authorities
    from keyturn.core.ports.restored import look_at_restoration

    layout = layout_of(output, as_json)
    with opened_workspace(catalogue, looking=True) as workspace:
        from keyturn.rotation.repair.removed_entries import left_open
        from keyturn.rotation.state.quiet_period import list_secrets

        restoration = look_at_restoration(workspace.hub)
        paths = [workspace.secret(path).path] if path else sorted(workspace.catalogue.secrets)
        with list_secrets(workspace, len(paths)) as listing:
            rows = prospects(workspace, paths, restoration.mark, listing)
            undeclared = [] if path else left_open(workspace, listing)
        unreviewed = [] if path else find_unreviewed(workspace)
        own_keys, now = [] if path else own_keys_of(workspace), workspace.hub_now()
        keys = [] if path else keys_of(workspace)
        authorities = [] if path else authorities_of(workspace)
        health = health_of(workspace, rows) if check and not path else []
        freezes = coming_freezes(workspace, path)
    if restoration.to_do:
        note(restoration.to_do)
    if layout is Layout.NAME:
        write_names(prospect.path for prospect in rows)
    elif layout is Layout.JSON:
        others = [{"path": secret.path, "left": secret.message} for secret in undeclared]
        broken = [asdict(glass) for glass in unreviewed]
        secrets = [prospect.to_data() for prospect in rows]
        own = [key.to_data() for key in own_keys]
        managed = [key.to_data() for key in keys]
        signing = [authority.to_data() for authority in authorities]
        whole = {"secrets": secrets, "own_keys": own, "keys": managed, "authorities": signing}
        frozen = [{**vars(freeze), "begins": stamp(freeze.begins), "ends": stamp(freeze.ends)} for freeze in freezes]
        write_json({**whole, "undeclared": others, "unreviewed": broken, "freezes": frozen})
    else:
        note_undeclared(undeclared)
        tell_unreviewed(unreviewed)
        write_table(COLUMNS, (prospect.row() for prospect in rows), whole=("when (UTC)",))
        tell_keys(keys, now)
        tell_authorities(authorities, now)
        tell_own_keys(own_keys, now)
        if freezes:
            spans = (f"{f.name} {minute(f.begins)} to {minute(f.ends)} UTC ({f.reason})" for f in freezes)
            note(f"freezes: {'; '.join(spans)}")
    if check:
        insist_on_punctual(rows)
        insist_on_young([key for key in own_keys if is_late(key, now)])
        insist_on_sound(keys, now)
        insist_on_lasting(authorities)
        insist_on_health(rows, health)


def coming_freezes(workspace: "Workspace", path: str | None) -> "list[Freeze]":
    """List the freezes of a secret, or of any, that are not over, the first one first."""
    declared, now = workspace.catalogue.freezes, workspace.hub_now()
    freezes = (settings.policy(name) for name, settings in declared.items() if not path or settings.covers(path))
    return sorted((freeze for freeze in freezes if freeze.ends > now), key=lambda freeze: freeze.begins)


@dataclass(frozen=True)
class Prospect:
    """One secret's next rotation, in names only.

    ``blocked`` is why the schedule stopped, ``error`` why the hub's answer is missing; both are usually empty.
    """

    path: str
    now: datetime
    outlook: "Outlook | None" = None
    reason: "Reason | None" = None
    alarm: "Reason | None" = None
    open: "Rotation | None" = None
    blocked: str = ""
    rotated_at: datetime | None = None
    expires_at: datetime | None = None
    error: str = ""
    code: str = ""
    check: "LoginCheck | None" = None
    """The last login test of CURRENT."""

    @property
    def login(self) -> str:
        """Why CURRENT's login raises an alarm: it is refused, or untested for a day."""
        return self.check.alarm(self.now) if self.check else ""

    @property
    def at(self) -> datetime | None:
        return self.now if self.open else self.outlook.at if self.outlook else None

    @property
    def order(self) -> tuple[bool, datetime, str]:
        return self.at is None, self.at or self.now, self.path

    def row(self) -> tuple[str, str, str]:
        next_one = "now" if self.at == self.now else minute(self.at) if self.at else "unknown" if self.error else "-"
        times = [("next", next_one), ("rotated", minute(self.rotated_at)), ("ends", minute(self.expires_at))]
        return self.path, "\n".join(f"{name:<8} {moment}" for name, moment in times if moment), "\n".join(self.lines())

    def lines(self) -> list[str]:
        from keyturn.cli.secrets.secret_status import trouble

        if self.error or self.outlook is None:
            return [self.error]
        begun = [f"{self.open.stage} since {minute(self.open.opened_at)}: {self.open.next_step}"] if self.open else []
        late = [f"LATE: {self.alarm.message}"] if self.alarm else [self.outlook.reason]
        held = [f"held by {self.outlook.held_by}"] if self.outlook.held_by and not self.alarm else []
        blocked = [f"BLOCKED: {self.blocked}"] if self.blocked else []
        wrong = trouble(self.check, self.now)
        login = [f"ALARM: {wrong}" if self.login else wrong] if wrong else []
        return [*login, *begun, *late, *held, *blocked]

    def to_data(self) -> dict[str, Any]:
        from keyturn.cli.secrets.secret_status import login_data

        code = "Unfinished" if self.open else self.reason.code if self.reason else None
        return {
            "path": self.path,
            "due": code,
            "at": stamp(self.at),
            "reason": self.outlook.reason if self.outlook else "",
            "held_by": self.outlook.held_by if self.outlook else "",
            "rotated_at": stamp(self.rotated_at),
            "expires_at": stamp(self.expires_at),
            "alarm": {"code": self.alarm.code, "message": self.alarm.message} if self.alarm else None,
            "blocked": self.blocked,
            "login": login_data(self.check, self.now),
            "error": self.error,
            "code": self.code,
        }


def prospects(
    workspace: "Workspace",
    paths: Sequence[str],
    mark: "RestoredMark | None" = None,
    listing: "Listing | None" = None,
) -> list[Prospect]:
    """Sort these secrets by next rotation; ``mark`` is a restored hub's. Raises the first error if all fail."""
    from keyturn.cli.secrets.secret_status import of_each
    from keyturn.rotation.copies.lineage_check import ledger_versions
    from keyturn.rotation.state.login_checks import load_checks

    now = workspace.clock()
    still = replace(workspace, clock=lambda: now)
    logins, versions = load_checks(workspace, paths), ledger_versions(workspace, paths).of
    outcomes = of_each(paths, lambda path: prospect(still, path, logins, versions.get(path), listing, mark))
    rows = (
        Prospect(p, now, error=str(outcome), code=code_of(outcome)) if isinstance(outcome, KeyturnError) else outcome
        for p, outcome in outcomes.items()
    )
    return sorted(rows, key=lambda row: row.order)


def prospect(
    workspace: "Workspace",
    path: str,
    logins: "Checks",
    outside: "KnownVersion | None" = None,
    listing: "Listing | None" = None,
    mark: "RestoredMark | None" = None,
) -> Prospect:
    """Describe one secret from metadata, its record, its last login test and the ledger."""
    from keyturn.core.schedule import due as due_rule
    from keyturn.rotation.decide import facts, look_up
    from keyturn.rotation.repair.missing_current import describe_missing
    from keyturn.rotation.state.login_checks import current_check

    stands = look_up(workspace, path, listing)
    check = None if stands.record.open or stands.record.frozen else current_check(logins, path, stands.version)
    secret_facts = facts(workspace, path, due_rule.Trigger.SCHEDULE, stands)
    return Prospect(
        path,
        secret_facts.now,
        due_rule.outlook(secret_facts),
        due_rule.due(secret_facts),
        due_rule.alarm(secret_facts),
        stands.record.open,
        describe_missing(stands.info, stands.record)
        or lost_version(workspace, path, stands.version, outside)
        or doubted_version(stands, mark)
        or reason_given_up(path, stands.record),
        secret_facts.rotated_at,
        secret_facts.expires_at,
        check=check,
    )


def lost_version(workspace: "Workspace", path: str, version: int, outside: "KnownVersion | None") -> str:
    """Return why nothing is rotated if the hub lost the newest version, or an empty string."""
    from keyturn.rotation.copies.lineage_check import describe_ahead, newer_version, remedy

    newer = newer_version(workspace, path, [outside]) if outside and outside.beyond(version) else None
    return f"{describe_ahead(path, version, newer)}. {remedy(path, newer)}" if newer else ""


def doubted_version(stands: "SecretStatus", mark: "RestoredMark | None") -> str:
    """Return why nothing is rotated in a restored hub, or an empty string."""
    from keyturn.rotation.copies.lineage_check import describe_ahead, remedy
    from keyturn.rotation.repair.suspect_versions import doubt_of

    doubted = doubt_of(mark, stands.info) if mark and stands.info else None
    path = stands.info.path if stands.info else ""
    return f"{describe_ahead(path, stands.version, doubted)}. {remedy(path, doubted)}" if doubted else ""


def reason_given_up(path: str, record: "Record") -> str:
    """Return why the schedule stopped trying, or an empty string."""
    from keyturn.rotation.decide import insist_on_room

    if record.frozen:
        return f"the incident {record.frozen} has ended it, and the schedule does not replace it"
    try:
        insist_on_room(path, record)
    except CandidateRejected as rejected:
        return rejected.problem
    return ""


def insist_on_punctual(prospects: Sequence[Prospect]) -> None:
    wrong = [prospect for prospect in prospects if prospect.alarm or prospect.blocked or prospect.login]
    if wrong:
        first = wrong[0]
        name = first.path if len(wrong) == 1 else f"{len(wrong)} of {len(prospects)} secrets, first {first.path}"
        problem = first.alarm.message if first.alarm else first.login or first.blocked
        remedy = f"See what holds it, then rotate it now: `keyturn rotate {first.path} --now`"
        end_command(TerminalError("check", name, problem, remedy), FAILED)


def health_of(workspace: "Workspace", prospects: Sequence[Prospect]) -> "list[CheckResult]":
    from keyturn.cli.health import LoginState, check_incidents, check_logins, check_services
    from keyturn.core.ports.conductor import outcome_of
    from keyturn.revocation.incidents.store import list_open

    logins = [
        LoginState(prospect.path, prospect.now - prospect.rotated_at, prospect.check)
        for prospect in prospects
        if prospect.rotated_at and not prospect.open and not prospect.blocked
    ]
    incidents = check_incidents(outcome_of(lambda: list_open(workspace)))
    return [*check_services(workspace), incidents, check_logins(workspace, logins)]


def insist_on_health(prospects: Sequence[Prospect], health: "Sequence[CheckResult]") -> None:
    from keyturn.doctor.results import Grade

    failed = [result for result in health if result.grade is Grade.FAILED]
    unseen = [result for result in health if result.grade is Grade.UNKNOWN]
    for result in (*failed, *unseen)[1:]:
        note(f"{result.name}: {result.words}")
    for prospect in prospects:
        if prospect.error and not failed:
            remedy = "Give this login the rights, or fix the hub; `keyturn status` shows more"
            end_command(Unproven("check", prospect.path, prospect.error, remedy), UNKNOWN)
    for results, code in ((failed, FAILED), (unseen, UNKNOWN)):
        if results:
            end_command(TerminalError("check", results[0].name, results[0].words, results[0].remedy), code)


def insist_on_young(late: "Sequence[OwnKey]") -> None:
    if late:
        problem = late[0].blocked or f"it has been due since {minute(late[0].due_at)} UTC"
        remedy = "See `keyturn due` and the runs of rotate-own-keys"
        end_command(TerminalError("check", late[0].name, problem, remedy), FAILED)


def minute(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" if moment else ""
