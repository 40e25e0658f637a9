"""What `keyturn status` and the dashboard show of the whole workspace, and whether all of it is healthy."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from keyturn.cli.failures import FAILED, UNKNOWN

if TYPE_CHECKING:
    from keyturn.cli.access.active_grants import ActiveGrant
    from keyturn.cli.health import LoginState
    from keyturn.cli.secrets.copies import CopyStatus
    from keyturn.cli.secrets.hub_status import HubStatus
    from keyturn.cli.secrets.status import SecretStatus
    from keyturn.core.ports.restored import Restoration
    from keyturn.doctor.results import CheckResult
    from keyturn.keys.authority_status import AuthorityStatus
    from keyturn.keys.managed_keys import KeyStatus
    from keyturn.rotation.repair.removed_entries import Undeclared
    from keyturn.rotation.state.break_glass import BrokenGlass
    from keyturn.rotation.state.context import Workspace
    from keyturn.serving.statuses import PartStatus


NAMED: Final = 5
"""So many of what is not healthy are named in the last line."""


@dataclass(frozen=True)
class Overview:
    """What the hub tells. ``others`` are copies that are not in sync, of secrets that the catalogue does not name."""

    secrets: list["SecretStatus"] = field(default_factory=list)
    others: list["CopyStatus"] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    undeclared: list["Undeclared"] = field(default_factory=list)
    """Secrets that the catalogue declares no more, and of which something is open."""
    remarks: tuple[str, ...] = ()
    parts: list["PartStatus"] = field(default_factory=list)
    """What runs on beside the workers, or ought to."""
    keys: list["KeyStatus"] = field(default_factory=list)
    """The keys of other engines that the catalogue has managed."""
    unreviewed: list["BrokenGlass"] = field(default_factory=list)
    """What was done without a second person, and nobody has looked at since."""
    authorities: list["AuthorityStatus"] = field(default_factory=list)
    """What signs certificates."""
    hub: "HubStatus | None" = None
    """Whether the hub is set up as the catalogue says, by the last daily look."""
    at: datetime | None = None
    """When the hub was asked, by its clock."""
    grants: list["ActiveGrant"] = field(default_factory=list)
    """What is given as access for a while, the first to end first."""
    restoration: "Restoration | None" = None
    """From which backup the hub was restored, where it was."""
    health: "list[CheckResult]" = field(default_factory=list)
    """Workers, incidents, ledger and logins."""
    assessment: "Assessment" = field(default_factory=lambda: Assessment())


@dataclass(frozen=True)
class Assessment:
    """What is not healthy, and what nobody could check, each by its name."""

    failed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code."""
        return FAILED if self.failed else UNKNOWN if self.unknown else 0

    @property
    def state(self) -> str:
        """In one word."""
        return "failed" if self.failed else "unknown" if self.unknown else "ok"

    def lines(self) -> Iterator[str]:
        """For people; nothing where all is healthy."""
        for words, names in (("NOT HEALTHY", self.failed), ("not checked", self.unknown)):
            if names:
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                yield f"{words}: {', '.join(names[:NAMED])}{more}"


def overview_of(workspace: "Workspace") -> Overview:
    """All that the hub and the stores tell, and whether all of it works. Raises where no secret could be told."""
    from keyturn.cli.health import check_logins, check_services

    with ThreadPoolExecutor(1) as pool:
        services = pool.submit(copy_context().run, check_services, workspace)
        overview = seen_in_hub(workspace)
    logins = check_logins(workspace, login_states(overview.secrets))
    return replace(overview, health=[*services.result(), logins])


def login_states(secrets: Sequence["SecretStatus"]) -> "list[LoginState]":
    """Of each secret whose CURRENT should log in."""
    from keyturn.cli.health import LoginState

    return [LoginState(s.path, s.now - s.rotated_at, s.login) for s in secrets if s.rotated_at and not s.occupied]


def seen_in_hub(workspace: "Workspace") -> Overview:
    """What the hub and the stores tell."""
    from keyturn.cli.access.active_grants import active_grants
    from keyturn.cli.emergencies.approvals import find_unreviewed
    from keyturn.cli.keys.commands import keys_of
    from keyturn.cli.secrets.copies import look_at_copies
    from keyturn.cli.secrets.hub_status import hub_status
    from keyturn.cli.secrets.status import secret_statuses
    from keyturn.cli.setup.pki import authorities_of
    from keyturn.core.ports.restored import look_at_restoration
    from keyturn.rotation.repair.removed_entries import left_open
    from keyturn.serving.statuses import part_statuses

    secrets, copies = secret_statuses(workspace, look_at_copies)
    return Overview(
        secrets,
        copies.beside(secret.path for secret in secrets),
        dict(copies.counts),
        left_open(workspace),
        copies.remarks,
        part_statuses(workspace),
        keys_of(workspace),
        find_unreviewed(workspace),
        authorities_of(workspace),
        hub_status(workspace),
        workspace.hub_now(),
        active_grants(workspace),
        look_at_restoration(workspace.hub),
    )
