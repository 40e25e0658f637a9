"""One request to a Vault at a fraction of the HTTP library's cost."""

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
"""An address that the library would send unchanged."""


class DirectSession(requests.Session):
    """Connections without cookies, redirects or merged settings; trust and proxies are the session's own."""

    def __init__(self) -> None:
        super().__init__()
        self._servers: dict[str, str] = {}

    def request(  # type: ignore[override]  # the SDK's arguments only
        self, method: str, url: str, **arguments: Any
    ) -> requests.Response:
        """All of it takes at most ``timeout`` seconds."""
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
            # Reading to the end returns the connection to the pool.
            _ = answer.content
        return answer

    def _address(self, request: requests.PreparedRequest, url: str, params: Mapping[str, Any] | None) -> None:
        """Like ``prepare_url``, but parse each server's address only once."""
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
    _pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **arguments: Any) -> Any:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **arguments)
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        return str(super().request_url(request, proxies)) if proxies else request.path_url

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        answer = requests.Response()
        answer.status_code, answer.reason, answer.url = resp.status, resp.reason, str(req.url)
        answer.headers = CaseInsensitiveDict(resp.headers)
        # Only JSON in UTF-8 is read as text.
        answer.encoding = "utf-8"
        answer.raw, answer.request = resp, req
        return answer

    def close(self) -> None:
        self._pool = None
        super().close()


def _fill(request: requests.PreparedRequest, content: bytes) -> None:
    request.prepare_content_length(content)
    request.body = content
