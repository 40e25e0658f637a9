"""An engine in memory whose leases end by a clock that the test moves, and which may be away or refuse."""

from dataclasses import replace
from datetime import timedelta

from keyturn.core.errors import KeyturnError, NotFound, Unavailable
from keyturn.core.ports.engines import IssuedLease
from keyturn.core.sensitive import SecretFields

AWAY = Unavailable("ask", "the hub", "it does not answer", "Try again")


class Ticking:
    """Seconds that go on when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds


class MemoryLessor:
    """Leases last ``default`` seconds, or what a renewal asks for, and ``longest`` at most since they were issued.

    While ``error`` is set it is raised; ``calls`` are what was asked for, in order.
    """

    def __init__(self, clock: Ticking, default: float = 600, longest: float = 7200, *, renewable: bool = True) -> None:
        self.clock, self.default, self.longest, self.renewable = clock, default, longest, renewable
        self.error: KeyturnError | None = None
        self.calls: list[str] = []
        self.living: dict[str, float] = {}
        self.issued: dict[str, float] = {}

    def issue_lease(self, path: str) -> IssuedLease:
        self._ask("issue")
        number = len(self.issued) + 1
        lease_id = f"{path}/{number}"
        self.issued[lease_id] = self.clock()
        fields = SecretFields({"username": f"u{number}", "password": f"p{number}"})
        return self._until(IssuedLease(lease_id, fields, timedelta(0), self.renewable), self.default)

    def renew_lease(self, lease: IssuedLease, ttl: timedelta) -> IssuedLease:
        self._ask("renew")
        if self.living.get(lease.lease_id, 0) <= self.clock():
            raise NotFound("renew", lease.lease_id, "the hub has nothing there", "Check the path, mount and role")
        return self._until(lease, ttl.total_seconds() or self.default)

    def revoke_lease(self, lease_id: str) -> None:
        self._ask("revoke")
        self.living.pop(lease_id, None)

    def _until(self, lease: IssuedLease, seconds: float) -> IssuedLease:
        ends = min(self.clock() + seconds, self.issued[lease.lease_id] + self.longest)
        self.living[lease.lease_id] = ends
        return replace(lease, ttl=timedelta(seconds=ends - self.clock()))

    def _ask(self, call: str) -> None:
        self.calls.append(call)
        if self.error:
            raise self.error
