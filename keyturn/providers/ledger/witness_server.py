"""A witness as a process: one HTTP path, with a limit on everything that a caller sends.

It authenticates no caller: the ledger's key signs what it cosigns, which must continue what it has seen.
"""

import errno
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.ledger.signed_notes import PublicKey
from keyturn.ledger.witness.cosigner import REQUEST_LIMIT, TEXT_TYPE, Witness, WitnessAnswer
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.witness_files import StateFile, WitnessSigner

PATH: Final = "/add-checkpoint"
DEADLINE: Final = 10.0
"""Seconds for a whole request, from connection to answer."""
AT_ONCE: Final = 16


def opened_witness(directory: Path, name: str, ledgers: Path) -> Witness:
    """The witness whose key and state are in ``directory``; the first start creates both.

    ``ledgers`` is a file of ledger keys, one a line, read at each request. Raises Invalid if key or state is missing or
    unreadable, Locked if another process holds them, and OSError.
    """
    key, state = directory / "witness.key", directory / "witness.json"
    if not key.exists() and not state.exists():
        # State first: a key without state is refused from then on.
        StateFile.make(state)
        WitnessSigner.made(key, name)
    for file in (key, state):
        if not file.exists():
            hint = "Bring it back from a backup, or begin with a new directory, and so with a new key"
            raise Invalid("open", str(file), "it is gone, and the other file is there", hint)
    signer = WitnessSigner.read(key)
    if signer.key.name != name:
        raise Invalid("open", str(key), f"it is the key of {signer.key.name}", "Give it its own --name")
    return Witness(
        signer.key, signer, lambda: ledgers_in(ledgers), StateFile(state), verify_ed25519, lambda: datetime.now(UTC)
    )


def ledgers_in(file: Path) -> list[PublicKey]:
    try:
        return [PublicKey.parse(line) for line in file.read_text().split()]
    except FileNotFoundError:
        return []
    except (UnicodeDecodeError, Invalid):
        raise OSError(errno.EINVAL, "it holds no keys", str(file)) from None


class Handler(BaseHTTPRequestHandler):
    server: "WitnessServer"
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "keyturn-witness", ""

    def setup(self) -> None:
        self._timer = threading.Timer(DEADLINE, _end, (self.request,))
        self._timer.daemon = True
        self._timer.start()
        super().setup()

    def finish(self) -> None:
        self._timer.cancel()
        with suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if self.path != PATH:
            return self._answer(WitnessAnswer(404, "there is nothing here\n"))
        if not length.isascii() or not length.isdigit() or len(length) > 9 or int(length) > REQUEST_LIMIT:
            return self._answer(WitnessAnswer(413, "the request is too large, or has no length\n"))
        body = self.rfile.read(int(length))
        try:
            return self._answer(self.server.witness.add_checkpoint(body))
        except OSError:
            return self._answer(WitnessAnswer(503, "what was seen can't be kept\n"))

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: callers are not recorded."""

    def _answer(self, answer: WitnessAnswer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("content-type", answer.content_type or TEXT_TYPE)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(body)


class WitnessServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], witness: Witness, tls: ssl.SSLContext | None = None) -> None:
        self.witness = witness
        self._tls = tls
        self._places = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._places.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Do the TLS handshake in the thread, with a timeout: a silent caller delays no other."""
        try:
            if self._tls:
                request.settimeout(DEADLINE)
                request = self._tls.wrap_socket(request, server_side=True)
            super().process_request_thread(request, client_address)
        except OSError:
            self.shutdown_request(request)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a caller that disconnected."""


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def _end(connection: socket) -> None:
    with suppress(OSError):
        socket.shutdown(connection, SHUT_RDWR)
