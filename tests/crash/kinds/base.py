"""One row of the matrix: how a kind of secret is made, what an application does with it, and what must be left."""

from collections.abc import Iterator
from typing import Any

from keyturn.core.sensitive import SecretFields
from tests.crash.site import Site
from tests.support.lab import Declared, fresh


class Kind:
    """One row of the matrix. ``modules`` are the adapters that a child imports beforehand."""

    name: str
    modules: tuple[str, ...] = ()
    copies = False
    """Whether it has a copy in the store."""
    gap = False
    """Whether logins are refused for a moment in every rotation."""
    alone = False
    """Whether its secrets share an account, so that only one rotates at a time."""
    changes: frozenset[str] = frozenset({"username", "password"})
    """The fields that a rotation may change, beside rotated_at and expires_at."""
    refuses = True
    """Whether anything outside refuses a credential that has ended."""
    version = 2
    """The number of CURRENT once the old credential has ended: 3 where that changes CURRENT again."""

    def prepare(self, site: Site) -> None:
        """Start what it needs."""

    def make(self, site: Site) -> Declared:
        """A fresh secret, in force."""
        raise NotImplementedError

    def works(self, site: Site, fields: SecretFields) -> bool:
        """What an application tries, on its own way to the server and not through the proxy."""
        return site.lab.logs_in(fields)

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        """What is at the target that should not be, or lacks."""
        if self.works(site, SecretFields(secret.first)):
            yield "the old credential still works"
        if not self.works(site, current):
            yield "CURRENT does not work"


def declared(
    site: Site,
    first: SecretFields | dict[str, Any],
    rotation: dict[str, Any],
    path: str = "",
    **targets: dict[str, Any],
) -> Declared:
    """A fresh secret in the hub, at targets of its own."""
    path, fields = path or f"tests/{fresh()}", SecretFields(first).reveal()
    site.lab.hub.write(path, SecretFields(fields), cas=0)
    whole = {"interval": "30d", "grace": "0s", **rotation}
    data = {"owner": "tests@example.com", "classification": "internal", "rotation": whole}
    return Declared(path, data, fields, targets=targets)


def admin(site: Site, fields: SecretFields) -> str:
    """Where Keyturn's credential for a target lies in the hub."""
    path = f"targets/{fresh()}"
    site.lab.hub.write_state(path, fields.reveal(), cas=0)
    return path
