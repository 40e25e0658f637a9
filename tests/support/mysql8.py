"""A stand-in for MySQL 8.0.36, as its manual describes two passwords of one account ("Dual Password Support").

It speaks the wire protocol to an unchanged client, checks logins by ``mysql_native_password``, and takes the few
statements that it knows; everything else is a syntax error. It has one connection's worth of locks: none. KILL
cuts a connection at once, where the manual lets it come to its end first.
"""

import hashlib
import re
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import pymysql

from keyturn.core.sensitive import SecretFields

VERSION = "8.0.36"
NATIVE = "mysql_native_password"
CAPABILITIES = 0x0008_0000 | 0x8000 | 0x2000 | 0x0200 | 0x0008 | 0x0001
"""PLUGIN_AUTH, SECURE_CONNECTION, TRANSACTIONS, PROTOCOL_41, CONNECT_WITH_DB, LONG_PASSWORD."""

OK = b"\x00\x00\x00\x02\x00\x00\x00"
END = b"\xfe\x00\x00\x02\x00"
REFUSED = (1045, "Access denied")
SYNTAX = (1064, "You have an error in your SQL syntax")


@dataclass
class Account:
    """What the server keeps: the password, perhaps one before it, and whether it is locked."""

    primary: str
    secondary: str = ""
    locked: bool = False


@dataclass
class MySQL8:
    """The server, on a free port of loopback, for as long as it is entered."""

    accounts: dict[str, Account] = field(default_factory=dict)
    sequences: dict[str, tuple[int, int]] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    sessions: dict[int, tuple[str, socket.socket]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._number = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def create(self, account: str, password: str) -> None:
        """As CREATE USER does it."""
        once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
        self.accounts[account] = Account("*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper())

    def logs_in(self, fields: SecretFields) -> bool:
        """Whether it takes this username and password, from an unchanged client."""
        user, password = fields["username"].reveal(), fields["password"].reveal()
        try:
            pymysql.connect(host="127.0.0.1", port=self.port, user=user, password=password, ssl_disabled=True).close()
        except pymysql.OperationalError as error:
            if error.args[0] == REFUSED[0]:
                return False
            raise
        return True

    @contextmanager
    def opened(self, fields: SecretFields) -> Iterator[Callable[[], bool]]:
        """A session of this version's user that stays, and what tells whether it still works."""
        user, password = fields["username"].reveal(), fields["password"].reveal()
        made = pymysql.connect(host="127.0.0.1", port=self.port, user=user, password=password, ssl_disabled=True)
        yield lambda: answers(made)
        if made.open:
            made.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._session, args=(client,), daemon=True).start()

    def _session(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError), client:
            wire = Wire(client)
            salt = bytes(1 + secrets.randbelow(127) for _ in range(20))
            wire.send([handshake(salt)])
            login = wire.receive()
            user = login[32:].partition(b"\x00")[0].decode(errors="replace")
            if not self._lets_in(login, salt):
                wire.send([failure(*REFUSED)])
                return
            wire.send([OK])
            number = self._number = self._number + 1
            self.sessions[number] = (user, client)
            while (said := wire.receive())[:1] != b"\x01":
                wire.send([OK] if said[:1] == b"\x0e" else self._answered(said[1:].decode()))
            del self.sessions[number]

    def _lets_in(self, login: bytes, salt: bytes) -> bool:
        user, _, rest = login[32:].partition(b"\x00")
        # A request for TLS, or another protocol, has no proof.
        account, proof = self.accounts.get(user.decode(errors="replace")), rest[1 : 1 + rest[0]] if rest else b""
        stored = [kept for kept in (account.primary, account.secondary) if kept] if account else []
        return bool(account and not account.locked and any(proves(proof, salt, kept) for kept in stored))

    def _answered(self, statement: str) -> list[bytes]:
        self.statements.append(statement)
        for pattern, act in KNOWN:
            if found := re.fullmatch(pattern, statement.strip(), re.DOTALL):
                rows = act(self, *found.groups())
                return [OK] if rows is None else table(rows)
        return [failure(*SYNTAX)]

    # what the statements do

    def selected(self, account: str) -> list[tuple[Any, ...]]:
        """Rows of mysql.user."""
        return [("%", NATIVE, self.accounts[account].primary, "")] if account in self.accounts else []

    def sequence(self, account: str) -> list[tuple[Any, ...]]:
        """A row of keyturn.accounts."""
        return [self.sequences[account]] if account in self.sequences else []

    def highest(self, account: str) -> list[tuple[Any, ...]]:
        """The number in that row, 0 without one."""
        return [(self.sequences.get(account, (0, 0))[0],)]

    def write(self, account: str, sequence: str, making: str) -> None:
        """Insert or update it."""
        self.sequences[account] = int(sequence), int(making)

    def alter(self, account: str, stored: str | None, retain: str | None, lock: str) -> None:
        """With RETAIN the current password becomes the second one; without, the second one stays as it was."""
        altered = self.accounts[account]
        altered.locked = lock == "LOCK"
        if stored and retain:
            altered.secondary = altered.primary
        altered.primary = stored or altered.primary

    def listed(self, account: str) -> list[tuple[Any, ...]]:
        """Rows of information_schema.processlist."""
        return [(number, user, "Sleep") for number, (user, _) in list(self.sessions.items()) if user == account]

    def kill(self, number: str) -> None:
        """End a connection."""
        _, client = self.sessions.pop(int(number))
        client.shutdown(socket.SHUT_RDWR)

    def shown(self, account: str) -> list[tuple[Any, ...]]:
        """The statement that makes the account; what a comment says tells nothing of it."""
        kept = self.accounts[account]
        lock = "LOCK" if kept.locked else "UNLOCK"
        by = f"IDENTIFIED WITH '{NATIVE}' AS '{kept.primary}'"
        return [(f'CREATE USER `{account}`@`%` {by} ACCOUNT {lock} ATTRIBUTE \'{{"comment": "ACCOUNT LOCK"}}\'',)]

    def discard(self, account: str) -> None:
        """Forget the second password; without one it is no error."""
        self.accounts[account].secondary = ""


KNOWN: tuple[tuple[str, Callable[..., list[tuple[Any, ...]] | None]], ...] = (
    (r"SET .*", lambda server: None),
    (r"SELECT VERSION\(\)", lambda server: [(VERSION,)]),
    (r"SELECT GET_LOCK\('[^']+', [\d.e]+\)", lambda server: [(1,)]),
    (r"DO RELEASE_LOCK\('[^']+'\)", lambda server: None),
    (r"SELECT sequence, making FROM keyturn\.accounts WHERE account = '([^']+)'", MySQL8.sequence),
    (
        r"SELECT coalesce\(max\(sequence\), 0\) FROM keyturn\.accounts WHERE account IN \('([^']+)'\)",
        MySQL8.highest,
    ),
    (
        r"INSERT INTO keyturn\.accounts \(account, sequence, making\) VALUES \('([^']+)', (\d+), ([01])\)"
        r" ON DUPLICATE KEY UPDATE sequence = \d+, making = [01]",
        MySQL8.write,
    ),
    (
        r"SELECT Host, plugin, authentication_string, ssl_type FROM mysql\.user"
        r" WHERE User = '([^']+)' AND Host <> ''",
        MySQL8.selected,
    ),
    (
        r"ALTER USER `(\w+)`@`%` (?:IDENTIFIED WITH mysql_native_password AS '(\*[0-9A-F]{40})'"
        r"( RETAIN CURRENT PASSWORD)?)? ACCOUNT (LOCK|UNLOCK)",
        MySQL8.alter,
    ),
    (r"ALTER USER `(\w+)`@`%` DISCARD OLD PASSWORD", MySQL8.discard),
    (r"SHOW CREATE USER `(\w+)`@`%`", MySQL8.shown),
    (r"SELECT COUNT\(\*\) FROM information_schema\.innodb_trx", lambda server: [(0,)]),
    (
        r"SELECT id, user, command FROM information_schema\.processlist"
        r" WHERE user IN \('([^']+)', 'unauthenticated user'\) AND id <> CONNECTION_ID\(\)",
        MySQL8.listed,
    ),
    (r"KILL (\d+)", MySQL8.kill),
)


def answers(connection: "pymysql.Connection[Any]") -> bool:
    """Whether the server still answers in this session."""
    try:
        connection.ping(reconnect=False)
    except pymysql.Error:
        return False
    return True


class Wire:
    """Packets: three bytes of length, one of sequence, and what they hold."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._file = client.makefile("rb")
        self._next = 0

    def receive(self) -> bytes:
        """The next packet. Raises EOFError when the client has gone."""
        head = self._file.read(4)
        if len(head) < 4:
            raise EOFError
        self._next = head[3] + 1
        return self._file.read(int.from_bytes(head[:3], "little"))

    def send(self, packets: Iterable[bytes]) -> None:
        """One answer."""
        said = b""
        for packet in packets:
            said += len(packet).to_bytes(3, "little") + bytes([self._next % 256]) + packet
            self._next += 1
        self._client.sendall(said)


def handshake(salt: bytes) -> bytes:
    """Protocol::HandshakeV10."""
    low, high = CAPABILITIES & 0xFFFF, CAPABILITIES >> 16
    start = b"\x0a" + VERSION.encode() + b"\x00" + struct.pack("<I", 1) + salt[:8] + b"\x00"
    return start + struct.pack("<HBHHB10x", low, 255, 2, high, 21) + salt[8:] + b"\x00" + NATIVE.encode() + b"\x00"


def proves(proof: bytes, salt: bytes, stored: str) -> bool:
    """Whether the client knows the password: it sends its SHA-1 hidden by a hash of the salt and what is stored."""
    kept = bytes.fromhex(stored[1:])
    mask = hashlib.sha1(salt + kept, usedforsecurity=False).digest()
    once = bytes(a ^ b for a, b in zip(proof, mask, strict=False))
    return len(proof) == len(mask) and hashlib.sha1(once, usedforsecurity=False).digest() == kept


def failure(code: int, text: str) -> bytes:
    """An ERR packet."""
    return b"\xff" + struct.pack("<H", code) + b"#HY000" + text.encode()


def table(rows: list[tuple[Any, ...]]) -> list[bytes]:
    """A text result set."""
    types = [8 if isinstance(value, int) else 253 for value in (rows or [(0,)])[0]]
    names = b"".join(counted(name) for name in (b"def", b"", b"", b"", b"c", b""))
    columns = [names + b"\x0c" + struct.pack("<HIBHB2x", 255, 255, kind, 0, 0) for kind in types]
    lines = [b"".join(counted(str(value).encode()) for value in row) for row in rows]
    return [bytes([len(columns)]), *columns, END, *lines, END]


def counted(text: bytes) -> bytes:
    """A text of less than 251 bytes, with its length before it."""
    return bytes([len(text)]) + text
