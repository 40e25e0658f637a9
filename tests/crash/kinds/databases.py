"""Database accounts: alternating pairs, and passwords changed in place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keyturn.core.sensitive import SecretFields
from local.mariadb import MariaDB
from local.support.ports import free_port
from tests.crash.kinds.base import Kind, admin, declared
from tests.crash.site import Site
from tests.support.lab import Declared
from tests.support.mariadb_lab import MariaDBLab


class Alternating(Kind):
    """Two users, with a copy in a cloud and a consumer to tell."""

    name = "alternating-users, PostgreSQL"
    copies = True

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


class OnMariaDB(Kind):
    """A user of a MariaDB, which has a database and a role of its own."""

    modules = ("mysql.target",)
    strategy: str

    def prepare(self, site: Site) -> None:
        self.lab = mariadb(site)
        self.admin = admin(site, self.lab.admin())

    def make(self, site: Site) -> Declared:
        made = self.lab.accounts()
        target = maria_settings(self.lab, self.admin, made.database)
        users = {"users": (made.first, made.second), "owner_role": made.owner}
        rotation = {"user": made.first, "accepts_gap": True} if self.gap else users
        first = made.serving.merged({"host": self.lab.server.host, "port": self.lab.server.port})
        return declared(site, first, {"strategy": self.strategy, "target": "maria", **rotation}, maria=target)

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.lab.logs_in(fields)

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        rotation = secret.data["rotation"]
        database = secret.targets["maria"]["database"]
        found = self.lab.sql("SELECT user FROM mysql.user WHERE user LIKE %s ORDER BY 1", f"{database}%")
        expected = [rotation["user"]] if self.gap else rotation["users"]
        if {name for (name,) in found} != {*expected, f"{database}_owner"}:
            yield f"users {found}"


class AlternatingOnMariaDB(OnMariaDB):
    """Two users that have one role."""

    name = "alternating-users, MariaDB"
    strategy = "alternating-users"


class SingleOnMariaDB(OnMariaDB):
    """One user, which MariaDB gives one password."""

    name = "single-user, MariaDB"
    strategy = "single-user"
    gap = True


def mariadb(site: Site) -> MariaDBLab:
    """The MariaDB of the matrix. In TLS 1.3 tickets would come between answers, and these could not be counted."""

    @contextmanager
    def started() -> Iterator[MariaDBLab]:
        settings = {"tls-version": "TLSv1.2"}
        with MariaDB(site.directory(), free_port(), durable=False, settings=settings) as server:
            yield MariaDBLab(server)

    return site.server("mariadb", started, lambda lab: lab.server.port)


def maria_settings(lab: MariaDBLab, admin_path: str, database: str) -> dict[str, Any]:
    """It as a target of the catalogue."""
    where = {"host": lab.server.host, "port": lab.server.port, "database": database}
    return {"kind": "mysql", **where, "admin": admin_path, "ca_file": str(lab.server.authority)}
