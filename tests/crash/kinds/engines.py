"""What the hub's own engines make: accounts with a lease, passwords of static roles, certificates."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keyturn.core.sensitive import SecretFields
from tests.crash.kinds.base import Kind, admin, declared
from tests.crash.kinds.databases import maria_settings, mariadb
from tests.crash.site import Site
from tests.support.engines import APPLICATION, Engine, OverMariaDB, OverPostgreSQL
from tests.support.lab import Declared, fresh
from tests.support.pki import Pki


@dataclass(frozen=True)
class Place:
    """A database behind the hub's engine, and its name among the catalogue's targets."""

    engine: Engine
    target: str = "pg"
    targets: dict[str, Any] = field(default_factory=dict)


def over_postgresql(site: Site) -> Place:
    """The lab's own database, which every catalogue of the matrix has as a target."""
    return Place(OverPostgreSQL(site.lab))


def over_mariadb(site: Site) -> Place:
    """The MariaDB of the matrix."""
    lab = mariadb(site)
    target = maria_settings(lab, admin(site, lab.admin()), APPLICATION)
    return Place(OverMariaDB(site.lab, lab.server, "crash-maria"), "maria", {"maria": target})


class OverEngine(Kind):
    """A role of the hub's database engine."""

    strategy: str

    def prepare(self, site: Site) -> None:
        self.place = over_postgresql(site)

    def declared(self, site: Site, role: str, first: dict[str, Any], **rotation: Any) -> Declared:
        """The secret whose rotation asks for this role."""
        asked = {"strategy": self.strategy, "target": self.place.target, "role": role, **rotation}
        return declared(site, {**first, "database": APPLICATION}, asked, **self.place.targets)

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.place.engine.logs_in(fields)


class Dynamic(OverEngine):
    """The hub's own accounts: one lease, one account, and nothing forgotten."""

    name = "vault-dynamic, PostgreSQL"
    strategy = "vault-dynamic"
    changes = frozenset({"username", "password", "lease_id", "token_accessor"})

    def make(self, site: Site) -> Declared:
        role = self.place.engine.dynamic("768h", "768h")
        lease = site.lab.database.issue(role)
        return self.declared(site, role, {**lease.fields.reveal(), "lease_id": lease.lease_id})

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        role = secret.data["rotation"]["role"]
        leases, accounts = site.lab.database.leases(role), self.place.engine.accounts(role)
        if leases != [current["lease_id"].reveal()]:
            yield f"leases {leases}"
        if accounts != 1:
            yield f"{accounts} accounts"


class DynamicOnMariaDB(Dynamic):
    """The same in the other database."""

    name = "vault-dynamic, MariaDB"
    modules = ("mysql.target",)

    def prepare(self, site: Site) -> None:
        self.place = over_mariadb(site)


class Static(OverEngine):
    """An account whose password the engine changes: what it holds is what CURRENT holds."""

    name = "vault-static-role, PostgreSQL"
    strategy = "vault-static-role"
    gap = True

    def make(self, site: Site) -> Declared:
        role, _ = self.place.engine.static()
        return self.declared(site, role, site.lab.database.static_credential(role).reveal(), accepts_gap=True)

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        if not current.holds(site.lab.database.static_credential(secret.data["rotation"]["role"])):
            yield "the engine holds another password than CURRENT"


class StaticOnMariaDB(Static):
    """The same in the other database."""

    name = "vault-static-role, MariaDB"
    modules = ("mysql.target",)

    def prepare(self, site: Site) -> None:
        self.place = over_mariadb(site)


class Certificates(Kind):
    """A certificate for a name of its own, tried by a client that asks the revocation lists."""

    name = "certificate"
    modules = ("keys.key_maker", "keys.x509")
    changes = frozenset({"certificate", "private_key", "chain", "bundle", "serial"})

    def prepare(self, site: Site) -> None:
        self.pki = Pki(site.lab, site.directory())
        self.role = self.pki.role(key_type="ec", key_bits=256)
        self.names: dict[str, str] = {}

    def make(self, site: Site) -> Declared:
        host = f"{fresh()}.internal"
        asked = {"common_name": host, "ttl": "60d"}
        made = site.lab.root.write_data(f"{self.pki.mount}/issue/{self.role}", data={**asked, "ttl": "1440h"})["data"]
        chain = "".join(f"{one}\n" for one in made["ca_chain"])
        pem = f"{made['certificate']}\n"
        first = {"certificate": pem, "chain": chain, "bundle": pem + chain, "private_key": made["private_key"]}
        first |= {"serial": made["serial_number"], "host": host}
        return declared(site, first, {"strategy": "certificate", "role": self.role, **asked})

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.pki.accepts(fields, fields["host"].reveal())

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        """A certificate whose key died with its run may be left, since nobody can use it; one death leaves one."""
        yield from super().left(site, secret, current)
        serving = {secret.first["serial"], current["serial"].reveal()}
        orphans = self._serials(site, secret.first["host"]) - serving
        if len(orphans) > 1:
            yield f"the certificates {orphans}"

    def _serials(self, site: Site, host: str) -> set[str]:
        """Every certificate that the authority has made for this name."""
        authority = site.lab.hub.authority(self.pki.mount, self.role, None)
        for serial in set(site.lab.root.list(f"{self.pki.mount}/certs")["data"]["keys"]) - self.names.keys():
            found = authority.find(serial.replace("-", ":"))
            self.names[serial] = found.names.common_name if found else ""
        return {serial.replace("-", ":") for serial, name in list(self.names.items()) if name == host}
