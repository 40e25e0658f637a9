"""Recorded answers of Vault's documented API, for engines and auth methods that the packaged OpenBao lacks."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin

LOGIN = "auth/token/lookup-self"
TOKENS = {
    "token_bound_cidrs": [],
    "token_explicit_max_ttl": 0,
    "token_max_ttl": 0,
    "token_no_default_policy": False,
    "token_num_uses": 0,
    "token_period": 0,
    "token_ttl": 3600,
    "token_type": "default",
}
"""What every role tells of its tokens, besides their policies."""


@dataclass
class Recorded:
    """Answers a thing once it was made; what it was asked to make, by address."""

    answers: dict[str, dict[str, Any]]
    made: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """The status, and what is said with it."""
        address = path.removeprefix("/v1/")
        if method == "POST":
            self.made[address] = json.loads(body)
            return 204, b""
        if address == LOGIN:
            return 200, json.dumps({"data": {"ttl": 0, "renewable": False, "policies": ["root"]}}).encode()
        data = self.answers.get(address) if address in self.made else None
        return (200, json.dumps({"data": data}).encode()) if data else (404, b'{"errors":[]}')


@contextmanager
def recorded_hub(answers: Recorded, directory: Path) -> Iterator[VaultHub]:
    """A hub that it answers for."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            status, body = answers.answer(self.command, self.path, self.rfile.read(size))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = answer  # noqa: N815  # the server's own names
        do_LIST = answer  # noqa: N815
        do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    (directory / "token").write_text("recorded")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        login = TokenLogin(file=str(directory / "token"))
        with closing(VaultHub(HubSettings(f"http://127.0.0.1:{server.server_port}", login=login))) as hub:
            yield hub
        server.shutdown()


class WithoutState:
    """The hub's recorded part, and a record that nothing is kept in: Keyturn's own mount is not recorded."""

    def __init__(self, hub: VaultHub) -> None:
        port = hub.setup()
        self.look, self.names, self.put, self.remove = port.look, port.names, port.put, port.remove
        self.begin = port.begin

    def read_state(self, path: str) -> None:
        return None

    def write_state(self, path: str, data: object, *, cas: int) -> int:
        return cas + 1
