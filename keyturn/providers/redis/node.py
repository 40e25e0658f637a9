"""One Redis node: login, the commands for its users, and its errors as Keyturn's."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from keyturn.core.errors import Invalid, KeyturnError, Unavailable
from keyturn.core.sensitive import Sensitive
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.outbound import ended_after

NODE: Final = RemoteServer(
    check="Check host, port, tls and ca_file in the catalogue",
    address="host in the catalogue",
    authority="Name the CA that signed it as ca_file, and the host by which it is certified",
)
TIMEOUT: Final = 10  # seconds for a connection and for each command
LONGEST_SESSION: Final = 30.0  # seconds

KEEPALIVE: Final = {
    getattr(socket, name): value
    for name, value in {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}.items()
    if hasattr(socket, name)
}

GONE: Final = "password you are trying to remove"
NO_FILE: Final = "not configured to use an ACL file"

REFUSALS: Final = (
    (
        "trying to save the ACLs",
        "can't write its ACL file",
        "Let it write the file, and make others in that directory; its log says what stopped it",
    ),
    (
        "without a config file",
        "keeps its users nowhere, so that a restart would bring old passwords back",
        "Start it with an aclfile",
    ),
    ("Rewriting config file", "can't write its redis.conf", "Let it, or start it with an aclfile"),
)


@dataclass(frozen=True)
class Node:
    """The address of one server. ``ca_file`` None trusts the system's authorities."""

    host: str
    port: int
    tls: bool
    ca_file: str | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @contextmanager
    def session(self, user: str, password: Sensitive, seconds: float = LONGEST_SESSION) -> Iterator["NodeSession"]:
        kind, options = self._connecting(user, password, min(TIMEOUT, seconds))
        connection = kind(**options)
        with ExitStack() as ended:
            ended.callback(connection.disconnect)
            connection.watch = lambda descriptor: ended.enter_context(ended_after(descriptor, seconds))
            connection.connect()
            yield NodeSession(connection)

    @contextmanager
    def listening(self, user: str, password: Sensitive, channel: str) -> Iterator[Any]:
        """A subscription to a channel. Login and subscribing have a deadline; listening has none.

        A lost connection is not silently replaced: that would hide missed messages.
        """
        kind, options = self._connecting(user, password, TIMEOUT)
        options |= {"retry": Retry(NoBackoff(), 0), "socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}
        with ExitStack() as begun:

            class Begun(kind):  # type: ignore[misc, valid-type]
                def watch(self, descriptor: int) -> None:
                    begun.enter_context(ended_after(descriptor, LONGEST_SESSION))

            pool = redis.ConnectionPool(connection_class=Begun, **options)
            client: Any = redis.Redis(connection_pool=pool)
            try:
                with client.pubsub() as subscription:
                    subscription.subscribe(channel)
                    begun.close()
                    yield subscription
            finally:
                pool.disconnect()

    def _connecting(self, user: str, password: Sensitive, timeout: float) -> tuple[Any, dict[str, Any]]:
        """The class of a connection and its options, as Any: redis-py does not type its connections."""
        options: dict[str, Any] = {"host": self.host, "port": self.port, "username": user, "socket_timeout": timeout}
        # Without driver_info it sends only AUTH: the user may lack the right to CLIENT SETINFO.
        options |= {"password": password.reveal(), "protocol": 2, "driver_info": None}
        options |= {"decode_responses": True, "encoding_errors": "replace"}
        options |= {"ssl_ca_certs": self.ca_file} if self.tls else {}
        return _WatchedTls if self.tls else _Watched, options


class _Watched(redis.Connection):
    watch: Callable[[int], Any]

    def _connect(self) -> socket.socket:
        connection: socket.socket = super()._connect()  # type: ignore[no-untyped-call]
        self.watch(connection.fileno())
        return connection


class _WatchedTls(redis.SSLConnection, _Watched):
    """The same over TLS."""


class NodeSession:
    """A logged-in user's commands. ``rule`` is the ACL rule that the first refused command needs."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.rule = ""

    def user(self, name: str) -> Mapping[str, Any] | None:
        answer = self._ask("ACL", "GETUSER", name)
        return dict(zip(answer[::2], answer[1::2], strict=True)) if answer else None

    def set_passwords(self, name: str, removed: frozenset[str], added: frozenset[str]) -> bool:
        """False, without any change, if a password in ``removed`` is absent."""
        try:
            rules = [*(f"!{digest}" for digest in removed), *(f"#{digest}" for digest in added)]
            self._ask("ACL", "SETUSER", name, *rules)
        except ResponseError as error:
            if GONE in str(error):
                return False
            raise
        return True

    def save(self) -> None:
        try:
            self._ask("ACL", "SAVE")
        except ResponseError as error:
            if NO_FILE not in str(error):
                raise
            self._ask("CONFIG", "REWRITE")

    def sessions(self, user: str) -> list[tuple[str, timedelta]]:
        lines = self._ask("CLIENT", "LIST").splitlines()
        clients = [dict(part.split("=", 1) for part in line.split(" ") if "=" in part) for line in lines]
        return [describe_session(client) for client in clients if client.get("user") == user]

    def end_sessions(self, user: str) -> int:
        return int(self._ask("CLIENT", "KILL", "USER", user))

    def publish(self, channel: str, text: str) -> int:
        return int(self._ask("PUBLISH", channel, text))

    def nodes(self) -> int:
        info = parse_pairs(self._ask("INFO"))
        if info.get("cluster_enabled") == "1":
            return int(parse_pairs(self._ask("CLUSTER", "INFO"))["cluster_known_nodes"])
        return 1 + int(info["connected_slaves"]) + (info["role"] == "slave")

    def _ask(self, *command: str) -> Any:
        self._connection.send_command(*command)
        try:
            return self._connection.read_response()
        except NoPermissionError:
            self.rule = self.rule or f"+{'|'.join(command[:2]).lower()}"
            raise


def from_redis(error: RedisError, doing: str, name: str, node: Node) -> KeyturnError:
    cause = error.__context__
    match error:
        case ResponseError():
            return from_refusal(str(error), doing, name, node)
        case RedisError() if isinstance(cause, FileNotFoundError):
            return Invalid(doing, name, f"its ca_file {node.ca_file} does not exist", "Correct its path")
        case _:
            return from_connection(error, doing, name, replace(NODE, who=str(node), whose=f"{node}'s"))


def from_refusal(text: str, doing: str, name: str, node: Node) -> KeyturnError:
    """The server's refusal, without its text, which may repeat the command."""
    if text.startswith("BUSY "):
        return Unavailable(doing, name, f"{node} is busy with a script", "Try again when it has ended")
    for beginning, problem, hint in REFUSALS:
        if beginning in text:
            return Invalid(doing, name, f"{node} {problem}", hint)
    hint = "It takes Redis 6.2, or Valkey, whose users are its own: some hosted ones have another way to change them"
    return Invalid(doing, name, f"{node} refuses it", hint)


def describe_session(client: Mapping[str, str]) -> tuple[str, timedelta]:
    name = f" ({client['name']})" if client.get("name") else ""
    return f"{client['addr']}{name}", timedelta(seconds=max(int(client["age"]) - 1, 0))


def parse_pairs(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
