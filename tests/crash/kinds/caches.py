"""Users of a Redis, which has two passwords while a rotation is not retired."""

from collections.abc import Iterator

from keyturn.core.sensitive import SecretFields
from local.redis import Redis
from local.support.ports import free_port
from tests.crash.kinds.base import Kind, admin, declared
from tests.crash.site import Site
from tests.support.acl import Acl, kept
from tests.support.lab import Declared


class RedisUser(Kind):
    """One user with its password, its rules, and one mark of the newest rotation."""

    name = "redis-acl"
    modules = ("redis.target",)

    def prepare(self, site: Site) -> None:
        server = site.server("redis", lambda: Redis(site.directory(), free_port()), lambda server: server.port)
        self.acl = Acl(server)
        where = {"kind": "redis", "host": server.host, "port": server.port, "tls": False}
        self.target = {**where, "admin": admin(site, self.acl.admin())}

    def make(self, site: Site) -> Declared:
        first = self.acl.user()
        rotation = {"strategy": "redis-acl", "target": "cache", "user": first["username"].reveal()}
        return declared(site, first, rotation, cache=self.target)

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.acl.logs_in(fields)

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        user = secret.first["username"]
        if self.acl.passwords(user) != {kept(current)} or len(self.acl.marks(user)) != 1:
            yield f"{len(self.acl.passwords(user))} passwords and {len(self.acl.marks(user))} marks"
