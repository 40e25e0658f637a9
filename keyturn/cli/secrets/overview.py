"""The state of the whole workspace for `keyturn status` and the dashboard."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from keyturn.cli.failures import FAILED, UNKNOWN
from keyturn.cli.output import when
from keyturn.core.errors import KeyturnError
from keyturn.core.text.spans import span

if TYPE_CHECKING:
    from keyturn.cli.access.active_grants import ActiveGrant
    from keyturn.cli.secrets.copies import CopyStatus
    from keyturn.cli.secrets.secret_status import SecretStatus
    from keyturn.core.ports.restored import Restoration
    from keyturn.doctor.results import CheckResult
    from keyturn.keys.authority_status import AuthorityStatus
    from keyturn.keys.managed_keys import KeyStatus
    from keyturn.revocation.incidents.incident import Incident
    from keyturn.rights.hub_check import HubCheck
    from keyturn.rotation.repair.removed_entries import Undeclared
    from keyturn.rotation.state.break_glass import BrokenGlass
    from keyturn.rotation.state.context import Workspace
    from keyturn.serving.statuses import PartStatus


NAMED: Final = 5
"""The most unhealthy names in the last line."""


@dataclass(frozen=True)
class HubStatus:
    """The last check; None if there was none. ``error`` is why it is unknown."""

    now: datetime
    check: "HubCheck | None" = None
    error: str = ""

    @property
    def problem(self) -> str:
        """Why a person should look at the set-up, or an empty string."""
        from keyturn.rights.hub_check import LATE

        check = self.check
        if self.error:
            return f"unknown whether the hub is set up as declared: {self.error}"
        if check is None:
            return "not checked yet whether the hub is set up as declared: `check-hub` and `keyturn setup hub` check it"
        if not check.sound:
            since = f" (since {when(check.since)} UTC)" if check.since else ""
            return f"in the hub {check.words}{since}"
        if self.now - check.at > LATE:
            return f"not checked for {span(self.now - check.at)} whether the hub is set up as declared"
        return ""

    @property
    def words(self) -> str:
        return self.problem or f"in the hub {self.check.words if self.check else ''}"

    def to_data(self) -> dict[str, Any]:
        return {**(self.check.to_data() if self.check else {"at": None}), "problem": self.problem}


@dataclass(frozen=True)
class Overview:
    """The state of the workspace. ``others`` are copies not in sync of secrets that the catalogue does not name."""

    secrets: list["SecretStatus"] = field(default_factory=list)
    others: list["CopyStatus"] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    undeclared: list["Undeclared"] = field(default_factory=list)
    """Secrets with open work that the catalogue no longer declares."""
    remarks: tuple[str, ...] = ()
    parts: list["PartStatus"] = field(default_factory=list)
    """The long-running parts, running or expected."""
    keys: list["KeyStatus"] = field(default_factory=list)
    unreviewed: list["BrokenGlass"] = field(default_factory=list)
    """Actions without a second person that are not reviewed."""
    authorities: list["AuthorityStatus"] = field(default_factory=list)
    hub: HubStatus | None = None
    at: datetime | None = None
    """The hub's time of the query."""
    grants: list["ActiveGrant"] = field(default_factory=list)
    """Temporary access grants, the first to end first."""
    restoration: "Restoration | None" = None
    """The backup that the hub was restored from, if any."""
    incidents: "list[Incident] | KeyturnError" = field(default_factory=list)
    """The open incidents, or why they could not be listed."""
    health: "list[CheckResult]" = field(default_factory=list)
    static_keys: int = 0
    """The keys left that a workload identity can replace."""
    assessment: "Assessment" = field(default_factory=lambda: Assessment())


@dataclass(frozen=True)
class Assessment:
    """The names of everything failed or unknown."""

    failed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        return FAILED if self.failed else UNKNOWN if self.unknown else 0

    @property
    def state(self) -> str:
        return "failed" if self.failed else "unknown" if self.unknown else "ok"

    def lines(self) -> Iterator[str]:
        for words, names in (("NOT HEALTHY", self.failed), ("not checked", self.unknown)):
            if names:
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                yield f"{words}: {', '.join(names[:NAMED])}{more}"


def overview_of(workspace: "Workspace") -> Overview:
    """Collect the state of the hub and stores, and check the services. Raises an error if no secret could be read."""
    from keyturn.cli.health import LoginState, check_incidents, check_logins, check_services

    with ThreadPoolExecutor(1) as pool:
        services = pool.submit(copy_context().run, check_services, workspace)
        overview = seen_in_hub(workspace)
    logins = [
        LoginState(s.path, s.now - s.rotated_at, s.login) for s in overview.secrets if s.rotated_at and not s.occupied
    ]
    return replace(
        overview, health=[*services.result(), check_incidents(overview.incidents), check_logins(workspace, logins)]
    )


def seen_in_hub(workspace: "Workspace") -> Overview:
    from keyturn.cli.access.active_grants import active_grants
    from keyturn.cli.emergencies.approvals import find_unreviewed
    from keyturn.cli.keys.commands import keys_of
    from keyturn.cli.secrets.copies import look_at_copies
    from keyturn.cli.secrets.secret_status import secret_statuses
    from keyturn.cli.setup.pki import authorities_of
    from keyturn.core.ports.conductor import outcome_of
    from keyturn.revocation.incidents.store import list_open
    from keyturn.rotation.repair.removed_entries import left_open
    from keyturn.serving.statuses import part_statuses

    undeclared: list[Undeclared] = []
    secrets, copies = secret_statuses(
        workspace, look_at_copies, lambda listing: undeclared.extend(left_open(workspace, listing))
    )
    return Overview(
        secrets,
        copies.beside(secret.path for secret in secrets),
        dict(copies.counts),
        undeclared,
        copies.remarks,
        part_statuses(workspace),
        keys_of(workspace),
        find_unreviewed(workspace),
        authorities_of(workspace),
        hub_status(workspace),
        workspace.hub_now(),
        active_grants(workspace),
        workspace.watch.look(workspace.hub),
        outcome_of(lambda: list_open(workspace)),
        static_keys=count_static_keys(workspace, secrets),
    )


def count_static_keys(workspace: "Workspace", secrets: "Sequence[SecretStatus]") -> int:
    """The keys left that a workload identity can replace; one whose state is unknown counts."""
    from keyturn.catalogue.recipes import IdentityLibrary
    from keyturn.inventory.static_keys import replaceable

    paths = {key.path for key in replaceable(workspace.catalogue, IdentityLibrary())}
    return sum(s.path in paths and not s.ended_by and bool(s.error or s.rotated_at) for s in secrets)


def hub_status(workspace: "Workspace") -> HubStatus | None:
    if not workspace.catalogue.hub:
        return None
    from keyturn.rights.hub_check import last_check

    try:
        return HubStatus(workspace.hub_now(), last_check(workspace))
    except KeyturnError as error:
        return HubStatus(workspace.clock(), error=error.text)
