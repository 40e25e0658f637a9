"""Redis as a target: ACL users, each with several passwords, and every change of them is fenced.

Redis stores a password as its SHA-256, and accepts a SHA-256: passwords travel only in logins. The last rotation's
sequence number is stored among the user's passwords, as a SHA-256 that no text has. Each change replaces the mark that
it has seen. Redis rejects a whole ACL SETUSER if a password that it removes is absent, so no writer overwrites unseen
changes. Redis does not replicate users: each node is changed separately.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from redis.connection import parse_url
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from keyturn.core.errors import Denied, Invalid, KeyturnError, Locked
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.connections import Connection
from keyturn.providers.accounts import admin_refused, insist_on_another, login_refused, superseded
from keyturn.providers.redis.node import Node, NodeSession, from_redis

MARK: Final = b"keyturn".hex()
"""A mark's prefix; 16 digits of the sequence number and random ones follow, 64 in all."""
RANDOM: Final = (64 - len(MARK) - 16) // 2
PORT: Final = 6379
_parse_url: Any = parse_url
SCHEMES: Final = ("redis://", "rediss://")
ATTEMPTS: Final = 10
CHANGE: Final = "change the passwords of"
Edit = Callable[[frozenset[str]], frozenset[str]]


class Redis:
    """The users of Redis 6.2 or newer, or of Valkey, on one or more nodes.

    ``admin`` gives the login of Keyturn's user on every node; each connection calls it again. ``nodes`` are further
    ones, as host:port. Errors are named ``{target}:{user}``.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        admin: Callable[[], SecretFields],
        tls: bool = True,
        ca_file: str | None = None,
        nodes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._nodes = tuple(Node(*place, tls, ca_file) for place in ((host, port), *map(parse_address, nodes)))
        self._admin = admin
        self._tls = tls

    def check_user(self, user: str) -> None:
        if user == self._admin()["username"].reveal():
            problem, hint = "it is the user that Keyturn itself logs in with", "Rotate another one"
            raise Invalid("rotate", self._named(user), problem, hint)
        for node in self._nodes:
            with self._administrator(node, "rotate", user) as server:
                if problem_and_hint := user_problem(user, server.user(user), node):
                    raise Invalid("rotate", self._named(user), *problem_and_hint)
                if (count := server.nodes()) > len(self._nodes):
                    problem = f"{node} is one of {count} nodes, and the catalogue names {len(self._nodes)}"
                    hint = (
                        "Redis copies users to no other node: list every replica and cluster node in the target's nodes"
                    )
                    raise Invalid("rotate at", self.name, problem, hint)

    def change_passwords(self, user: str, edit: Edit, *, sequence: int, missing_ok: bool = False) -> None:
        """Set the user's passwords on every node to the result of ``edit``, and persist them.

        Raises Superseded, without changes, if a higher sequence was written. Raises Invalid if the user accepts any
        password, or is absent, unless ``missing_ok``.
        """
        for node in self._nodes:
            with self._administrator(node, CHANGE, user) as server:
                if server.user(user) is None and missing_ok:
                    continue
                self._change(server, node, user, edit, sequence)
                server.save()

    def check_login(self, user: str, password: Sensitive) -> None:
        for node in self._nodes:
            try:
                with node.session(user, password):
                    pass
            except AuthenticationError:
                raise login_refused(self._named(user), by=node) from None
            except RedisError as error:
                raise from_redis(error, "log in as", self._named(user), node) from None

    def read_connection(self, text: Sensitive) -> Connection | None:
        plain = text.reveal()
        if not plain.startswith(SCHEMES):
            return None
        try:
            parts = _parse_url(plain)
        except (ValueError, TypeError):
            return None
        wrong = f"it begins with {SCHEMES[not self._tls]}, and the target with {SCHEMES[self._tls]}"
        place, account = (parts.get("host", ""), parts.get("port", PORT)), parts.get("username") or "default"
        fits = plain.startswith(SCHEMES[self._tls])
        connection = Connection(account, Sensitive(parts.get("password") or ""), (place,), flaw="" if fits else wrong)
        return connection if any(connection.leads_to(node.host, node.port) for node in self._nodes) else None

    def accepts(self, user: str, password: Sensitive) -> bool:
        silent: KeyturnError | None = None
        for node in self._nodes:
            try:
                with node.session(user, password):
                    return True
            except AuthenticationError:
                continue
            except RedisError as error:
                silent = from_redis(error, "log in as", self._named(user), node)
        if silent:
            raise silent
        return False

    def revoke(self, user: str, password: str, *, sequence: int) -> int:
        """Remove one password and end the user's sessions on every reachable node; the number of ended sessions.

        Raises after all other nodes are done. An absent user is success.
        """
        insist_on_another(self._named(user), user, self._admin())
        with ThreadPoolExecutor(len(self._nodes)) as pool:
            # A node that does not answer must not delay the others.
            cuts = [pool.submit(self._revoke, node, user, password, sequence) for node in self._nodes]
        return sum(cut.result() for cut in cuts)

    def _revoke(self, node: Node, user: str, password: str, sequence: int) -> int:
        with self._administrator(node, "cut", user) as server:
            if server.user(user) is None:
                return 0
            self._change(server, node, user, lambda there: there - {password}, sequence)
            try:
                return server.end_sessions(user)
            finally:
                server.save()

    def last_sequence(self, user: str) -> int:
        return max(self._number(node, user) for node in self._nodes)

    def _number(self, node: Node, user: str) -> int:
        with self._administrator(node, "read the number of", user) as server:
            there = server.user(user)
            return max(map(mark_sequence, filter(is_mark, there["passwords"])), default=0) if there else 0

    def passwords(self, user: str) -> frozenset[str]:
        passwords: set[str] = set()
        for node in self._nodes:
            with self._administrator(node, "look at the passwords of", user) as server:
                if (there := server.user(user)) is None:
                    continue
                if problem_and_hint := unchangeable(user, there, node):
                    raise Invalid("look at the passwords of", self._named(user), *problem_and_hint)
                passwords.update(password for password in there["passwords"] if not is_mark(password))
        return frozenset(passwords)

    def sessions(self, user: str) -> Sequence[tuple[str, timedelta]]:
        sessions = []
        for node in self._nodes:
            with self._administrator(node, "list the sessions of", user) as server:
                sessions += server.sessions(user)
        return sessions

    def _change(self, server: NodeSession, node: Node, user: str, edit: Edit, sequence: int) -> None:
        for _ in range(ATTEMPTS):
            there = server.user(user)
            if problem_and_hint := unchangeable(user, there, node):
                raise Invalid(CHANGE, self._named(user), *problem_and_hint)
            passwords = frozenset(there["passwords"] if there else ())
            marks = frozenset(filter(is_mark, passwords))
            if (stands := max(map(mark_sequence, marks), default=0)) > sequence:
                raise superseded(CHANGE, self._named(user), stands=stands, sequence=sequence)
            # A user without a mark gets one first: only removing it proves that no one wrote since.
            wanted = edit(passwords - marks) | {sequence_mark(sequence)} if marks else passwords | {sequence_mark(0)}
            if server.set_passwords(user, passwords - wanted, wanted - passwords) and marks:
                return
        raise Locked(CHANGE, self._named(user), "something else keeps changing it", "Try again")

    @contextmanager
    def _administrator(self, node: Node, doing: str, user: str) -> Iterator[NodeSession]:
        admin = self._admin()
        account, server = admin["username"].reveal(), None
        try:
            with node.session(account, admin["password"]) as server:
                yield server
        except AuthenticationError:
            raise admin_refused(self.name, f"{node} refuses the admin user {account}") from None
        except NoPermissionError:
            hint = f"Run there: ACL SETUSER {account} {server.rule if server else ''}"
            raise Denied(doing, self._named(user), f"{node} forbids it to the admin user {account}", hint) from None
        except RedisError as error:
            raise from_redis(error, doing, self._named(user), node) from None

    def _named(self, user: str) -> str:
        return f"{self.name}:{user}"


def parse_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def unchangeable(user: str, there: Mapping[str, Any] | None, node: Node) -> tuple[str, str] | None:
    if there is None:
        hint = f"Make it there with its rules, such as: ACL SETUSER {user} on ~{user}:* +@read +@write"
        return f"there is no such user on {node}", hint
    if "nopass" in there["flags"]:
        # A first password, even a mark, would end that, and lock out clients that rely on it.
        return f"it takes any password on {node}", f"Give it one, which ends that: ACL SETUSER {user} >password"
    return None


def user_problem(user: str, there: Mapping[str, Any] | None, node: Node) -> tuple[str, str] | None:
    off = there is not None and "off" in there["flags"]
    problem_and_hint = (f"it is off on {node}", f"Run there: ACL SETUSER {user} on") if off else None
    return unchangeable(user, there, node) or problem_and_hint


def sequence_mark(sequence: int) -> str:
    return f"{MARK}{sequence:016x}{secrets.token_hex(RANDOM)}"


def is_mark(password: str) -> bool:
    return password.startswith(MARK)


def mark_sequence(marked: str) -> int:
    return int(marked[len(MARK) :][:16], 16)
