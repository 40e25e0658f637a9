"""One request to a Vault at a fraction of what the HTTP library's own way to it costs."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import requests
from requests.hooks import default_hooks
from requests.structures import CaseInsensitiveDict

from keyturn.providers.outbound import LONGEST_WAIT, OutboundAdapter, within

PLAIN: Final = re.compile(r"(https?://[^/?#]+)(/[A-Za-z0-9/_.~-]*(?:\?[A-Za-z0-9_.~=&-]*)?)")
"""An address with nothing behind its server that the library would spell otherwise."""


class DirectSession(requests.Session):
    """Connections that send what they are given: no cookies, no redirects, nothing merged for each request.

    Whom to trust, the client's certificate and the proxies are the session's own; its adapters keep the connections.
    """

    def __init__(self) -> None:
        super().__init__()
        self._servers: dict[str, str] = {}

    def request(  # type: ignore[override]  # only what the SDK gives
        self, method: str, url: str, **arguments: Any
    ) -> requests.Response:
        """Send one request, all of which takes ``timeout`` seconds at most. Raises what the adapter raises."""
        request = requests.PreparedRequest()
        request.method = method.upper()
        self._address(request, url, arguments.get("params"))
        request.headers = CaseInsensitiveDict(arguments.get("headers") or {})
        request.hooks = default_hooks()
        if (body := arguments.get("json")) is not None:
            request.headers.setdefault("Content-Type", "application/json")
            _fill(request, json.dumps(body).encode())
        elif (raw := arguments.get("data")) is not None:
            _fill(request, raw)
        adapter, timeout = self.get_adapter(str(request.url)), arguments.get("timeout")
        trusting = True if self.verify is None else self.verify
        with within(timeout or LONGEST_WAIT):
            answer = adapter.send(request, timeout=timeout, verify=trusting, cert=self.cert, proxies=self.proxies)
            # Read to its end, which gives the connection back for the next one.
            _ = answer.content
        return answer

    def _address(self, request: requests.PreparedRequest, url: str, params: Mapping[str, Any] | None) -> None:
        """As ``prepare_url`` does, which takes a server's address apart and puts it together for each request."""
        plain = PLAIN.fullmatch(f"{url}?{urlencode(params)}" if params else url)
        if plain is None or any(not isinstance(value, str | int) for value in (params or {}).values()):
            request.prepare_url(url, params)
            return
        server, rest = plain.groups()
        if server not in self._servers:
            request.prepare_url(f"{server}/", None)
            self._servers[server] = str(request.url).removesuffix("/")
        request.url = self._servers[server] + rest


class DirectAdapter(OutboundAdapter):
    """The connections to one server, by one way: they are looked up once, and nothing is kept of an answer's cookies.

    It serves a session whose trust, client's certificate and proxies stay as they are.
    """

    _pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **arguments: Any) -> Any:
        """The pool of connections."""
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **arguments)
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """What stands in the request's first line."""
        return str(super().request_url(request, proxies)) if proxies else request.path_url

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """The answer."""
        answer = requests.Response()
        answer.status_code, answer.reason, answer.url = resp.status, resp.reason, str(req.url)
        answer.headers = CaseInsensitiveDict(resp.headers)
        # JSON in UTF-8 is all that is read as text.
        answer.encoding = "utf-8"
        answer.raw, answer.request = resp, req
        return answer

    def close(self) -> None:
        """Let go of the connections."""
        self._pool = None
        super().close()


def _fill(request: requests.PreparedRequest, content: bytes) -> None:
    request.prepare_content_length(content)
    request.body = content
