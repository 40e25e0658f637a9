"""A small ACME server: its directory, and what it suggests about renewals (RFC 9773)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class AcmeServer:
    """Answers at ``directory``. ``suggest`` is the window for every certificate, ``asked`` are those asked about."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.directory = f"{self.address}/directory"
        self.entries: dict[str, Any] = {"renewalInfo": f"{self.address}/renewal-info"}
        self.window: dict[str, Any] = {}
        self.status = 200
        self.asked = list[str]()

    def suggest(self, begins_at: datetime, ends_at: datetime) -> None:
        """From now on, for every certificate."""
        self.window = {"start": begins_at.isoformat(), "end": ends_at.isoformat()}

    def answer(self, path: str) -> dict[str, Any]:
        """What lies there."""
        if path == "/directory":
            return self.entries
        self.asked.append(path.rpartition("/")[2])
        return {"suggestedWindow": self.window, "explanationURL": "https://acme.example.com/why"}


@contextmanager
def acme_server() -> Iterator[AcmeServer]:
    """On a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(made.answer(self.path)).encode()
            self.send_response(made.status)
            self.send_header("Location", "https://acme.example.com/elsewhere")
            self.send_header("Retry-After", "21600")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = AcmeServer(server.server_address[1])
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
