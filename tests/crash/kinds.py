"""The kinds of secret in the matrix: how each is made, what an application does with it, and what must be left."""

from collections.abc import Iterator
from typing import Final

from keyturn.core.sensitive import SecretFields
from tests.crash.site import Site
from tests.support.lab import Declared


class Kind:
    """One row of the matrix. ``modules`` are the adapters that a child imports beforehand."""

    name: str
    modules: tuple[str, ...] = ()
    gap = False
    """Whether logins are refused for a moment in every rotation."""
    changes: frozenset[str] = frozenset({"username", "password"})
    """The fields that a rotation may change, beside rotated_at and expires_at."""

    def prepare(self, site: Site) -> None:
        """Start what it needs."""

    def make(self, site: Site) -> Declared:
        """A fresh secret, in force."""
        raise NotImplementedError

    def works(self, site: Site, fields: SecretFields) -> bool:
        """What an application tries."""
        return site.lab.logs_in(fields)

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        """What is at the target that should not be, or lacks."""
        if self.works(site, SecretFields(secret.first)):
            yield "the old credential still works"
        if not self.works(site, current):
            yield "CURRENT does not work"


class Alternating(Kind):
    """Two users, with a copy in a cloud and a consumer to tell."""

    name = "alternating-users, PostgreSQL"

    def make(self, site: Site) -> Declared:
        secret = site.lab.alternating(consumers=("app",))
        return secret.having(destinations=({"store": "memory", "name": secret.path.replace("/", "-")},))

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        roles = site.lab.sql(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY 1", f"{secret.users[0][:-2]}%"
        )
        if [name for (name,) in roles] != sorted([*secret.users, secret.owner]):
            yield f"roles {roles}"


class Single(Kind):
    """One user, whose password changes in place."""

    name = "single-user, PostgreSQL"
    gap = True

    def make(self, site: Site) -> Declared:
        return site.lab.single()


class Dynamic(Kind):
    """The hub's own accounts: one lease, one account, and nothing forgotten."""

    name = "vault-dynamic, PostgreSQL"
    changes = frozenset({"username", "password", "lease_id"})

    def make(self, site: Site) -> Declared:
        return site.lab.dynamic()

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        leases = site.lab.database.leases(secret.role)
        if leases != [current["lease_id"].reveal()]:
            yield f"leases {leases}"
        members = site.lab.sql(
            "SELECT m.member::regrole::text FROM pg_auth_members m WHERE m.roleid = %s::regrole AND m.member <> "
            "'keyturn_admin'::regrole",
            secret.owner,
        )
        if [name.strip('"') for (name,) in members] != [current["username"].reveal()]:
            yield f"accounts {members}"


class Generated(Kind):
    """No target at all."""

    name = "generated"
    changes = frozenset({"value"})

    def make(self, site: Site) -> Declared:
        return site.lab.generated()

    def works(self, site: Site, fields: SecretFields) -> bool:
        return bool(fields["value"])

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        if current["value"].reveal() == secret.first["value"]:
            yield "the value is the old one"


KINDS: Final[tuple[type[Kind], ...]] = (Alternating, Single, Dynamic, Generated)
