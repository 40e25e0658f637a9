"""The page to which a browser returns after a person signs in.

Source: RFC 8252, 7.3 (loopback redirection) and 8.
"""

import hmac
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from keyturn.core.errors import Denied, Invalid, Unavailable

PATH: Final = "/oidc/callback"
LOOPBACK: Final = "127.0.0.1"
TIMEOUT: Final = 300.0
"""Seconds for signing in."""
SLOW: Final = 5.0
"""Seconds for one request."""
LONGEST: Final = 16 * 1024
"""The longest answer, in characters."""


class Callback:
    """Listens on loopback until :meth:`close`; the hub's role allows ``port``. Raises Unavailable if it is in use."""

    def __init__(self, port: int) -> None:
        self._answer: dict[str, str] | None = None
        self._state = ""
        try:
            self._server = HTTPServer((LOOPBACK, port), _handler(self._take))
        except OSError as error:
            problem = f"port {port} of this machine can't be had: {error.strerror}"
            hint = "Give another one with --port; the role in the hub has to allow it"
            raise Unavailable("wait for", "the browser", problem, hint) from None
        self.url = f"http://localhost:{self._server.server_address[1]}{PATH}"

    def wait(self, auth_url: str, open_page: Callable[[str], None], timeout: float = TIMEOUT) -> dict[str, str]:
        """Show the page and return the answer's state and code.

        An answer with another state is ignored and does not extend the wait. Raises Invalid for an untrusted
        address, Denied if the provider refuses, Unavailable after ``timeout`` seconds.
        """
        self._state = awaited_state(auth_url)
        # A browser in the terminal returns before it ends.
        threading.Thread(target=open_page, args=(auth_url,), daemon=True).start()
        end = time.monotonic() + timeout
        while self._answer is None and (left := end - time.monotonic()) > 0:
            self._server.timeout = left
            self._server.handle_request()
        if self._answer is None:
            hint = "Run it again, and sign in on the page that is shown"
            raise Unavailable("wait for", "the browser", f"no sign-in came back within {timeout:.0f} seconds", hint)
        if "code" not in self._answer:
            hint = "Ask those who run the identity provider"
            raise Denied("log in to", "the hub", "the identity provider did not sign you in", hint)
        return self._answer

    def close(self) -> None:
        self._server.server_close()

    def _take(self, path: str) -> bool:
        parts = urlsplit(path)
        fields = dict(parse_qsl(parts.query))
        ours = hmac.compare_digest(fields.get("state", "").encode(), self._state.encode())
        if parts.path != PATH or not ours or len(path) > LONGEST:
            return False
        self._answer = {name: fields[name] for name in ("state", "code") if name in fields}
        return True


def awaited_state(auth_url: str) -> str:
    """Return the state that the answer must contain. Raises Invalid for an untrusted page, or one without a state."""
    parts = urlsplit(auth_url)
    state = dict(parse_qsl(parts.query)).get("state", "")
    if parts.scheme not in ("https", "http") or not parts.hostname or not auth_url.isprintable() or len(state) < 8:
        problem = "the page that it sends people to is none that can be trusted"
        raise Invalid("log in to", "the hub", problem, "See the method's config in the hub: oidc_discovery_url")
    return state


def _handler(take: Callable[[str], bool]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SLOW

        def do_GET(self) -> None:
            taken = take(self.path)
            text = "Received: go back to the terminal." if taken else "This is not what is waited for."
            body = f"<!DOCTYPE html><title>Keyturn</title><p>{text}</p>".encode()
            self.send_response_only(200 if taken else 400)
            for name, value in (("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.send_header("Cache-Control", "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: the request line holds the code."""

    return Handler
