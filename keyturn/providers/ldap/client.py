"""LDAP as far as passwords need it (RFC 4511): bind, read one entry, change it in one request."""

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import RefusedAnswer
from keyturn.providers.outbound import ended_after

TIMEOUT: Final = 10
LONGEST_SESSION: Final = 30.0
LONGEST_ANSWER: Final = 1 << 20
"""Seconds for a part of an answer and for a session, and bytes of an answer."""

SEQUENCE, SET, INTEGER, ENUMERATED, OCTETS, BOOLEAN = 0x30, 0x31, 0x02, 0x0A, 0x04, 0x01
BIND, BOUND, UNBIND, SEARCH, ENTRY, DONE, MODIFY, MODIFIED, EXTENDED, ANSWERED = (
    *(0x60, 0x61, 0x42, 0x63, 0x64, 0x65, 0x66, 0x67, 0x77, 0x78),
)
"""Tags of universal types, and of requests and answers (RFC 4511, appendix B)."""
SIMPLE, NAME, PRESENT = 0x80, 0x80, 0x87
START_TLS: Final = b"1.3.6.1.4.1.1466.20037"
ADD, DELETE, REPLACE = 0, 1, 2

Edit = tuple[int, str, Sequence[bytes]]
"""ADD, DELETE or REPLACE, the attribute, and values."""


class LdapError(Exception):
    """A result that is no success; the server's text is left out, since it may quote what it got."""

    def __init__(self, code: int) -> None:
        super().__init__(f"LDAP result {code}")
        self.code = code


@dataclass(frozen=True)
class LdapServer:
    """Where a server is; ``tls`` is ldaps, starttls or disable."""

    host: str
    port: int
    tls: str
    ca_file: str | None

    @contextmanager
    def session(self, dn: str, password: Sensitive) -> Iterator["LdapSession"]:
        """A bound connection. Raises LdapError, OSError."""
        plain = socket.create_connection((self.host, self.port), timeout=TIMEOUT)
        with plain, ended_after(plain.fileno(), LONGEST_SESSION):
            if self.tls == "disable":
                yield LdapSession(plain).bound(dn, password)
                return
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.tls == "starttls":
                LdapSession(plain).ask(EXTENDED, tlv(NAME, START_TLS), ANSWERED)
            with context.wrap_socket(plain, server_hostname=self.host) as wrapped:
                yield LdapSession(wrapped).bound(dn, password)


class LdapSession:
    """One connection; requests are answered one by one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._number = 0

    def bound(self, dn: str, password: Sensitive) -> "LdapSession":
        if not dn or not password:
            # A bind without a password succeeds as nobody (RFC 4513, 5.1.2).
            raise LdapError(49)
        self.ask(BIND, integer(3) + octets(dn) + tlv(SIMPLE, password.reveal().encode()), BOUND)
        return self

    def read(self, dn: str, attributes: Sequence[str]) -> Mapping[str, tuple[bytes, ...]] | None:
        """An entry's attributes by lower-case name; None if it is absent. Raises LdapError."""
        limits = enumerated(0) + enumerated(0) + integer(1) + integer(TIMEOUT) + tlv(BOOLEAN, b"\0")
        wanted = tlv(SEQUENCE, b"".join(map(octets, attributes)))
        try:
            entries = self.ask(SEARCH, octets(dn) + limits + tlv(PRESENT, b"objectClass") + wanted, DONE)
        except LdapError as error:
            if error.code == 32:
                return None
            raise
        if not entries:
            return None
        _, listed = list(parts(entries[0]))
        pairs = (list(parts(content)) for _, content in parts(listed[1]))
        return {name.decode().lower(): tuple(value for _, value in parts(values)) for (_, name), (_, values) in pairs}

    def modify(self, dn: str, edits: Sequence[Edit]) -> None:
        """Make every change or none. Raises LdapError."""
        changes = b"".join(
            tlv(SEQUENCE, enumerated(kind) + tlv(SEQUENCE, octets(name) + tlv(SET, b"".join(map(octets, values)))))
            for kind, name, values in edits
        )
        self.ask(MODIFY, octets(dn) + tlv(SEQUENCE, changes), MODIFIED)

    def ask(self, tag: int, content: bytes, last: int) -> list[bytes]:
        """Send a request; the entries before its last answer. Raises LdapError."""
        self._number += 1
        self._connection.sendall(tlv(SEQUENCE, integer(self._number) + tlv(tag, content)))
        entries = list[bytes]()
        while True:
            message = list(parts(self._received()))
            kind, answer = message[1]
            if kind == ENTRY:
                entries.append(answer)
            elif kind == last and int.from_bytes(message[0][1], "big") == self._number:
                if code := int.from_bytes(next(parts(answer))[1], "big"):
                    raise LdapError(code)
                return entries
            elif kind == ANSWERED:
                raise RefusedAnswer("it ends the connection")

    def _received(self) -> bytes:
        head = self._exactly(2)
        if head[0] != SEQUENCE:
            raise RefusedAnswer("it does not speak LDAP")
        length = head[1]
        if length & 0x80:
            length = int.from_bytes(self._exactly(length & 0x7F), "big")
        if length > LONGEST_ANSWER:
            raise RefusedAnswer(f"its answer is longer than {LONGEST_ANSWER} bytes")
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        read = b""
        while len(read) < length:
            piece = self._connection.recv(length - len(read))
            if not piece:
                raise ConnectionResetError("the server has closed the connection")
            read += piece
        return read


# --- BER ---------------------------------------------------------------------------------------------------


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    length = bytes([size]) if size < 0x80 else bytes([0x80 | len(digits)]) + digits
    return bytes([tag]) + length + content


def integer(number: int) -> bytes:
    return tlv(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def enumerated(number: int) -> bytes:
    return tlv(ENUMERATED, bytes([number]))


def octets(text: str | bytes) -> bytes:
    return tlv(OCTETS, text.encode() if isinstance(text, str) else text)


def parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements in ``content``. Raises RefusedAnswer for a length beyond its end."""
    at = 0
    while at + 2 <= len(content):
        tag, length, at = content[at], content[at + 1], at + 2
        if length & 0x80:
            digits = length & 0x7F
            length, at = int.from_bytes(content[at : at + digits], "big"), at + digits
        if at + length > len(content):
            raise RefusedAnswer("its answer is cut short")
        yield tag, content[at : at + length]
        at += length
