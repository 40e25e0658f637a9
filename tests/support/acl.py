"""Fresh users in a real Redis, and what it says of them to someone who may ask everything."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis as Client
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from keyturn.core.sensitive import SecretFields
from keyturn.providers.redis.target import Redis as Target
from keyturn.providers.redis.target import is_mark
from local.redis import ADMIN_RULES, Redis, digest

RULES = "~app:* -@all +@read +@write"


@dataclass(frozen=True)
class Acl:
    """One server's users."""

    server: Redis

    def ask(self, *command: str) -> Any:
        """Ask as the superuser."""
        with closing(self.client(self.server.superuser, self.server.superuser_password)) as client:
            return client.execute_command(*command)

    def user(self, rules: str = RULES, name: str = "") -> SecretFields:
        """A user that nobody has used before; its username and password."""
        name, password = name or f"app{secrets.token_hex(6)}", f"f1rst-{secrets.token_urlsafe(24)}"
        self.ask("ACL SETUSER", name, "on", f">{password}", *rules.split())
        return SecretFields({"username": name, "password": password, "host": self.server.host})

    def client(self, user: str, password: str) -> Client:
        """A client as applications have one."""
        tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(self.server.authority)} if self.server.tls else {}
        return Client(
            host=self.server.host,
            port=self.server.port,
            username=user,
            password=password,
            decode_responses=True,
            driver_info=None,
            single_connection_client=True,
            retry=Retry(NoBackoff(), 0),
            **tls,
        )

    def logs_in(self, fields: SecretFields) -> bool:
        """One login as an application does it."""
        try:
            with self.session(fields):
                return True
        except AuthenticationError:
            return False

    @contextmanager
    def session(self, fields: SecretFields) -> Iterator[Client]:
        """A connection of this version's user that stays open."""
        with closing(self.client(fields["username"].reveal(), fields["password"].reveal())) as client:
            yield client

    @contextmanager
    def opened(self, fields: SecretFields) -> Iterator[Callable[[], bool]]:
        """A connection of this version's user that stays open, and what tells whether it still works."""
        with self.session(fields) as client:
            client.get("app:1")
            yield lambda: answers(client)

    def passwords(self, user: str) -> set[str]:
        """The SHA-256 of every password, less the marks."""
        return {one for one in self.ask("ACL GETUSER", user)["passwords"] if not is_mark(one)}

    def marks(self, user: str) -> set[str]:
        """The marks among the passwords."""
        return {one for one in self.ask("ACL GETUSER", user)["passwords"] if is_mark(one)}

    def rules(self, user: str) -> dict[str, Any]:
        """All that is known of a user but its passwords."""
        told: dict[str, Any] = self.ask("ACL GETUSER", user)
        return {name: value for name, value in told.items() if name != "passwords"}

    def target(self, *, nodes: Sequence[str] = (), admin: Callable[[], SecretFields] | None = None) -> Target:
        """The adapter, with Keyturn's own user."""
        ca_file = str(self.server.authority) if self.server.tls else None
        return Target(
            "cache",
            host=self.server.host,
            port=self.server.port,
            nodes=nodes,
            admin=admin or self.admin,
            tls=self.server.tls,
            ca_file=ca_file,
        )

    def admin(self) -> SecretFields:
        """Keyturn's own user."""
        return SecretFields({"username": self.server.admin, "password": self.server.admin_password})

    def lesser_admin(self, without: str) -> Callable[[], SecretFields]:
        """A user with all that the adapter needs but one rule."""
        kept = [rule for rule in ADMIN_RULES.split() if rule != without]
        assert len(kept) == len(ADMIN_RULES.split()) - 1
        fields = self.user(" ".join(kept))
        return lambda: fields


def answers(client: Client) -> bool:
    """Whether the server still answers on this connection."""
    try:
        client.get("app:1")
    except RedisError:
        return False
    return True


def kept(fields: SecretFields) -> str:
    """A version's password as Redis keeps it."""
    return digest(fields["password"].reveal())
