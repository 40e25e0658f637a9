"""Sends ledger entries to a syslog collector as RFC 5424 messages.

RFC 6587 and RFC 5425 frame them over TCP and TLS; over UDP each is a datagram (RFC 5426). Syslog has no
acknowledgement. Over TCP and TLS a batch counts as delivered once the collector has read it and closed cleanly. Over
UDP it counts once sent, and may be lost.
"""

import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Final
from urllib.parse import SplitResult, urlsplit

from keyturn import __version__
from keyturn.core.clear_text import is_loopback
from keyturn.core.errors import Invalid, KeyturnError, Unavailable
from keyturn.ledger.formats import Format, Severity, severity
from keyturn.ledger.forwarding import Message
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.outbound import ended_after

DOING: Final = "forward to"
INSECURE: Final = "KEYTURN_FORWARD_SYSLOG_INSECURE"
COLLECTOR: Final = RemoteServer(
    check="See whether the collector runs; what has not arrived is sent again",
    address="KEYTURN_FORWARD_SYSLOG",
    authority="Name the authority that signed it in KEYTURN_FORWARD_SYSLOG_CA_FILE, or renew the certificate",
)
PORTS: Final = {"udp": 514, "tcp": 514, "tls": 6514}
"""Default ports; syslog has none registered for TCP."""
TIMEOUT: Final = 20.0
"""Seconds to connect, and again from there until the collector closes."""
LOG_AUDIT: Final = 13
SEVERITY: Final = {Severity.INFORMATIONAL: 6, Severity.MEDIUM: 4, Severity.HIGH: 3, Severity.CRITICAL: 2}
LARGEST_SEQUENCE: Final = 2**31 - 1
"""The meta element's sequenceId restarts at 1 after it (RFC 5424, 7.3.1)."""
LARGEST_DATAGRAM: Final = 65_000

UNPRINTABLE: Final = re.compile(r"[^!-~]+")
ESTABLISHED, CLOSED = 1, 7
"""Linux's TCP states (include/net/tcp_states.h)."""
PAUSE: Final = 0.002  # seconds
ENOUGH: Final = 65_536  # bytes


class Syslog:
    """A :class:`keyturn.ledger.forwarding.Collector` at ``udp``, ``tcp`` or ``tls://host:port``. Raises Invalid.

    ``ca_file``, or else the public authorities, verifies the certificate. Without TLS it connects to this machine only,
    unless ``insecure``.
    """

    def __init__(
        self,
        address: str,
        form: Format = Format.JSONL,
        *,
        ca_file: str | None = None,
        timeout: float = TIMEOUT,
        insecure: bool = False,
    ) -> None:
        parts = _parts(address)
        if parts.scheme != "tls" and not is_loopback(parts.hostname or "") and not insecure:
            hint = f"Use tls://; if no one can listen or write in between, set {INSECURE}=true"
            raise Invalid("open", "the syslog collector", "entries would go to another machine in clear", hint)
        self._host, self._port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        self.name = f"syslog/{parts.scheme}/{self._host}:{self._port}"
        self.form = form
        self._ca_file = ca_file
        self._timeout = timeout
        senders = {"udp": self._over_udp, "tcp": self._over_tcp, "tls": self._over_tls}
        self._send: Callable[[Sequence[bytes]], None] = senders[parts.scheme]

    def deliver(self, ledger: str, messages: Sequence[Message]) -> None:
        try:
            self._send([message_of(message) for message in messages])
        except OSError as error:
            raise self._failed(error) from None

    def _over_udp(self, messages: Sequence[bytes]) -> None:
        with self._connected(socket.SOCK_DGRAM) as connection:
            for message in messages:
                connection.send(message[:LARGEST_DATAGRAM])

    def _over_tcp(self, messages: Sequence[bytes]) -> None:
        with self._connected(socket.SOCK_STREAM) as connection, self._in_time(connection):
            connection.sendall(framed(messages))
            _insist_on_open(connection)
            self._see_it_read(connection)

    def _over_tls(self, messages: Sequence[bytes]) -> None:
        context = self._context()
        with self._connected(socket.SOCK_STREAM) as connection, self._in_time(connection):
            channel = _Tls(context, connection, self._host)
            channel.send(framed(messages))
            _insist_on_open(connection)
            channel.end()
            self._see_it_read(connection)

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
        except OSError:
            hint = "Name a file of PEM certificates in KEYTURN_FORWARD_SYSLOG_CA_FILE"
            raise Invalid(DOING, self.name, "its authority's certificate can't be read", hint) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _connected(self, kind: socket.SocketKind) -> socket.socket:
        if kind is socket.SOCK_STREAM:
            return socket.create_connection((self._host, self._port), self._timeout)
        family, _, _, _, address = socket.getaddrinfo(self._host, self._port, type=kind)[0]
        datagrams = socket.socket(family, kind)
        datagrams.connect(address)
        return datagrams

    @contextmanager
    def _in_time(self, connection: socket.socket) -> Iterator[None]:
        with ended_after(connection.fileno(), self._timeout) as late:
            try:
                yield
            except OSError:
                if late.is_set():
                    raise TimeoutError from None
                raise

    def _see_it_read(self, connection: socket.socket) -> None:
        """End our half and wait until the other side closes cleanly. Raises OSError.

        A collector that dies, or closes before reading everything, answers with a reset instead.
        """
        connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + self._timeout
        while connection.recv(ENOUGH):
            if time.monotonic() > deadline:
                raise TimeoutError
        while _state(connection) not in (None, CLOSED):
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(PAUSE)
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ConnectionResetError

    def _failed(self, error: OSError) -> KeyturnError:
        if isinstance(error, TimeoutError):
            return Unavailable(DOING, self.name, f"nothing within {self._timeout:g} s", COLLECTOR.check)
        if isinstance(error, ConnectionResetError | BrokenPipeError):
            problem = "the connection broke before everything was read"
            return Unavailable(DOING, self.name, problem, COLLECTOR.check)
        return from_connection(error, DOING, self.name, COLLECTOR)


def message_of(message: Message) -> bytes:
    """In UTF-8 without a byte order mark, which JSON and CEF readers reject."""
    entry = message.entry
    priority = LOG_AUDIT * 8 + SEVERITY[severity(entry)]
    moment = entry.time.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    host, run, action = _named(entry.host, 255), _named(entry.run, 128), _named(entry.action, 32)
    sequence = (message.sequence - 1) % LARGEST_SEQUENCE + 1
    structured = f'[meta sequenceId="{sequence}"][origin software="keyturn" swVersion="{__version__}"]'
    return f"<{priority}>1 {moment}Z {host} keyturn {run} {action} {structured} {message.text}".encode()


def framed(messages: Sequence[bytes]) -> bytes:
    return b"".join(b"%d %b" % (len(message), message) for message in messages)


def _named(text: str, longest: int) -> str:
    return UNPRINTABLE.sub("-", text)[:longest] or "-"


def _parts(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        sound = parts.scheme in PORTS and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.path not in ("", "/") or parts.query or parts.username is not None:
        hint = "Write tls://host:port, tcp://host:port or udp://host:port"
        raise Invalid("open", "the syslog collector", "its address can't be used", hint)
    return parts


def _insist_on_open(connection: socket.socket) -> None:
    """Raise ConnectionResetError if the other side closed before us: that does not acknowledge our end."""
    if _state(connection) not in (None, ESTABLISHED):
        raise ConnectionResetError


def _state(connection: socket.socket) -> int | None:
    if sys.platform != "linux":
        return None
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


class _Tls:
    def __init__(self, context: ssl.SSLContext, connection: socket.socket, host: str) -> None:
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while not self._shaken():
            if not (received := connection.recv(ENOUGH)):
                raise ConnectionResetError
            self._incoming.write(received)

    def send(self, content: bytes) -> None:
        self._tls.write(content)
        self._flush()

    def end(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._flush()

    def _shaken(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            # Also sends an alert that explains a failure to the peer.
            self._flush()
        return True

    def _flush(self) -> None:
        self._connection.sendall(self._outgoing.read())
