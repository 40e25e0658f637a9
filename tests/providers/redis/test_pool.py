"""redis-py's pool over rotations of a real server's user."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio
from redis import Redis as Client
from redis import SSLConnection
from redis.exceptions import AuthenticationError, ConnectionError

from keyturn.client.client import SecretClient
from keyturn.core.errors import Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from keyturn.providers.redis.pool import SecretConnectionPool, SecretCredentials
from local.redis import Redis
from tests.support.acl import Acl
from tests.support.hooks import eventually
from tests.support.served import MADE, MemorySource

PATH = "ml-training/cache"


class Site:
    """A user of the server, its secret in a source, and a pool that lives on it."""

    def __init__(self, server: Redis) -> None:
        self.acl = Acl(server)
        self.fields = self.acl.user().reveal()
        self.user = self.fields["username"]
        self.source = MemorySource()
        self.source.put(PATH, self.fields)
        self.client = SecretClient([self.source], poll=0, patience=0)
        tls = {"connection_class": SSLConnection, "ssl_ca_certs": str(server.authority)} if server.tls else {}
        self.address: dict[str, Any] = {"host": server.host, "port": server.port, **tls}
        self.pool = SecretConnectionPool(self.client, PATH, **self.address)
        self.cache = Client(connection_pool=self.pool)

    def change(self, password: str) -> Notice:
        """Another password at the server, the one before is refused; and the notice of it."""
        self.acl.ask("ACL SETUSER", self.user, "resetpass", f">{password}")
        return self.source.put(PATH, {**self.fields, "password": password})

    def sessions(self) -> set[str]:
        """The ids of this user's connections."""
        listed = str(self.acl.ask("CLIENT LIST")).splitlines()
        return {line.split()[0] for line in listed if f" user={self.user} " in line}

    def use(self) -> None:
        """One command on a connection of the pool."""
        self.cache.get("app:x")


@pytest.fixture
def site(redis: Redis) -> Iterator[Site]:
    made = Site(redis)
    yield made
    made.pool.close()
    made.client.close()


def test_on_a_rotation_what_is_in_use_works_on_and_everything_later_logs_in_anew(site: Site) -> None:
    site.use()
    before = site.sessions()
    busy = site.pool.get_connection()
    site.pool.told(site.change("second-password"))
    busy.send_command("GET", "app:x")
    assert busy.read_response() is None
    assert site.sessions() == before
    site.pool.release(busy)
    site.use()
    assert eventually(lambda: not site.sessions() & before)


def test_a_login_that_is_refused_is_tried_once_more_with_the_secret_read_anew(site: Site) -> None:
    site.change("second-password")
    site.use()
    assert site.client.get(PATH).version == 2


def test_what_is_refused_under_every_version_is_refused(site: Site) -> None:
    site.acl.ask("ACL SETUSER", site.user, "resetpass", ">another-password")
    with pytest.raises(AuthenticationError):
        site.use()


def test_a_new_version_that_does_not_work_is_not_acknowledged_and_connections_stay(site: Site) -> None:
    site.use()
    before = site.sessions()
    with pytest.raises(AuthenticationError):
        site.pool.told(site.source.put(PATH, {**site.fields, "password": "not-at-the-server"}))
    site.use()
    assert site.sessions() == before


def test_after_a_revocation_for_good_nothing_is_left_and_nothing_logs_in(site: Site) -> None:
    site.use()
    site.pool.told(Notice(SECRET_REVOKED, PATH, 1, MADE, replaced=False))
    assert eventually(lambda: site.sessions() == set())
    with pytest.raises((Unavailable, ConnectionError)):
        site.use()


def test_a_notice_of_another_secret_changes_nothing(site: Site) -> None:
    site.use()
    before = site.sessions()
    site.pool.told(Notice(SECRET_REVOKED, "another", 9, MADE))
    site.use()
    assert site.sessions() == before


def test_asyncio_logs_in_with_what_is_served(site: Site) -> None:
    async def ask() -> object:
        credentials = SecretCredentials(site.client, PATH)
        tls = {"ssl": True, "ssl_ca_certs": site.address["ssl_ca_certs"]} if "ssl_ca_certs" in site.address else {}
        address: dict[str, Any] = {"host": site.address["host"], "port": site.address["port"], **tls}
        async with redis.asyncio.Redis(credential_provider=credentials, **address) as cache:
            return await cache.get("app:x")

    assert asyncio.run(ask()) is None
