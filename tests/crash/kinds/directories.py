"""Accounts of a directory, and of a file."""

from collections.abc import Iterator

from keyturn.core.sensitive import SecretFields
from tests.crash.kinds.base import Kind, admin, declared
from tests.crash.site import Site
from tests.support.credential_files import Registry
from tests.support.directory import AppDirectory
from tests.support.lab import Declared


class InDirectory(Kind):
    """One account whose entry has two passwords while a rotation is not retired."""

    name = "single-user, OpenLDAP"
    modules = ("ldap.target",)

    def prepare(self, site: Site) -> None:
        made = site.server("slapd", lambda: AppDirectory(site.directory()), lambda server: server.port)
        self.server = made
        self.target = {"kind": "ldap", **made.where("disable"), "admin": admin(site, made.admin)}

    def make(self, site: Site) -> Declared:
        first = self.server.account()
        user = first["username"].reveal()
        rotation = {"strategy": "single-user", "target": "directory", "user": user, "keeps_old_password": True}
        return declared(site, first, rotation, directory=self.target)

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.server.logs_in(fields)

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        counts = {
            name: len(self.server.values(secret.first["username"], name)) for name in ("userPassword", "description")
        }
        if set(counts.values()) != {1}:
            yield f"values of the entry: {counts}"


class InFile(Kind):
    """Two accounts that are lines of a file, which a registry reads."""

    name = "alternating-users, htpasswd file"
    modules = ("credential_files.target",)
    alone = True  # the person who adds accounts to the file takes no lock

    def prepare(self, site: Site) -> None:
        made = site.server("registry", lambda: Registry(site.directory()), lambda server: server.port)
        self.server = made
        site.policy["credential_files"] = {"registry": made.place().model_dump(mode="json")}

    def make(self, site: Site) -> Declared:
        first, other = self.server.add(), self.server.add()
        users = [fields["username"].reveal() for fields in (first, other)]
        rotation = {"strategy": "alternating-users", "target": "registry", "users": users}
        return declared(site, first, rotation, registry={"kind": "credential-file", "file": "registry"})

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.server.logs_in(fields)

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        if left := sorted(path.name for path in self.server.directory.glob(".*.new")):
            yield f"files that no one reads: {left}"
