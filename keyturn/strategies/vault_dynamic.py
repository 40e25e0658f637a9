"""A new account for each version, made by the hub's database engine and ended by revoking its lease."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import WithJsonSchema

from keyturn.core.errors import Invalid
from keyturn.core.hub import Hub
from keyturn.core.sensitive import SecretFields
from keyturn.core.strategies import AccountTarget, Change
from keyturn.settings.fields import HubPath, Line, matching
from keyturn.strategies.base import StrategyBase, StrategySettings, Tools


class VaultDynamic(StrategyBase):
    """The lease is the credential: ``life`` is how long it must last, interval and grace together.

    Asking for a lease makes an account at once, so the intent is saved first, with the leases that were
    there; after a crash whatever has come since and is in no secret is revoked.
    """

    mints_at_target = True

    def __init__(self, hub: Hub, target: AccountTarget, mount: str, role: str, life: timedelta) -> None:
        self.hub = hub
        self.target = target
        self.mount = mount
        self.role = role
        self.life = life

    def before_mint(self) -> Sequence[str]:
        """The role's leases as they are now."""
        return self.hub.leases(self.mount, self.role)

    def mint(self, current: SecretFields | None) -> SecretFields:
        """A new lease. Raises Invalid, and gives the lease back, when it would not last until the next one."""
        lease = self.hub.issue(self.mount, self.role)
        if lease.duration < self.life.total_seconds():
            self.hub.revoke_lease(lease.lease_id)
            problem = f"its leases last {timedelta(seconds=lease.duration)}, and interval and grace need {self.life}"
            raise Invalid(
                "issue",
                f"{self.mount}/creds/{self.role}",
                problem,
                "Raise its default_ttl and max_ttl, and the life of the token that asks",
            )
        return lease.fields.merged({"lease_id": lease.lease_id})

    def sweep(self, before: Sequence[str], known: Sequence[SecretFields]) -> None:
        """Revoke leases that came since and that no secret holds."""
        spared = {*before, *(fields["lease_id"].reveal() for fields in known if "lease_id" in fields)}
        for lease_id in self.hub.leases(self.mount, self.role):
            if lease_id not in spared:
                self.hub.revoke_lease(lease_id)

    def verify(self, change: Change) -> None:
        """Log in; the engine's own statements decide the privileges."""
        self.target.check_login(change.candidate["username"].reveal(), change.candidate["password"])

    def abandon(self, change: Change) -> None:
        """Revoke the candidate's lease."""
        self.hub.revoke_lease(change.candidate["lease_id"].reveal())

    def ends(self, current: SecretFields) -> Mapping[str, str]:
        """The lease that serves now."""
        return {"lease_id": current["lease_id"].reveal()} if "lease_id" in current else {}

    def revoke(self, ends: Mapping[str, str], sequence: int) -> None:
        """Revoke the old lease, which drops its account."""
        if "lease_id" in ends:
            self.hub.revoke_lease(ends["lease_id"])


class VaultDynamicSettings(StrategySettings):
    """The hub's database engine makes a new account for each version."""

    targets = frozenset({"postgresql", "mysql"})

    strategy: Literal["vault-dynamic"]
    """How the secret is replaced."""
    target: Line
    """The name of the target that the new account is tried at."""
    mount: HubPath = "database"
    """Where the hub's database engine is mounted."""
    role: Annotated[
        str,
        matching(r"\w(([\w.-]+)?\w)?", "is not a legal role name", "Use letters, digits and _ . -"),
        WithJsonSchema({"type": "string", "pattern": r"^\w(([\w.-]+)?\w)?$"}),
    ]
    """The engine's role, of no other secret."""

    def open(self, path: str, tools: Tools) -> VaultDynamic:
        """Leases of the engine, tried at the target."""
        return VaultDynamic(tools.hub, tools.target(self.target), self.mount, self.role, self.interval + self.grace)
