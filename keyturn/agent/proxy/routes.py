"""Routes: which requests are passed on, where to, and with which headers."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from keyturn.catalogue.routes import VALUE, CredentialPlace, RouteSettings
from keyturn.client.secrets import Secret
from keyturn.core.errors import Invalid
from keyturn.core.text import templates
from keyturn.core.text.path_patterns import matches_pattern

PREFIX: Final = "/to/"
PORTS: Final = {"https": 443, "http": 80}

LONGEST_TARGET: Final = 8192
_TARGET: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_ESCAPED: Final = frozenset("/\\.%;") | {chr(code) for code in (*range(0x20), 0x7F)}
"""Characters that a server may decode to another path than the one that was allowed."""
_QUERY: Final = re.compile(r"[!-~]*")

CREDENTIALS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-auth-token",
        "private-token",
        "x-aws-parameters-secrets-token",
        "x-vault-token",
    }
)
"""Headers in which a caller sends its placeholder. None is passed on."""
CONNECTION: Final = frozenset(
    {
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "te",
        "trailer",
        "transfer-encoding",
        "content-length",
        "upgrade",
        "expect",
        "accept-encoding",
        "http2-settings",
    }
)
"""Headers of one connection (RFC 9110, 7.6.1), and those that the proxy sets itself."""
OVERRIDES: Final = frozenset(
    {
        "forwarded",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-prefix",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-method",
        "x-original-url",
        "x-rewrite-url",
    }
)
"""Headers by which some servers take another method, path or host than those that were allowed."""
DROPPED: Final = CREDENTIALS | CONNECTION | OVERRIDES
WITHHELD: Final = frozenset({"set-cookie", "set-cookie2", "proxy-authenticate", "alt-svc"})
"""Headers of an answer that would give the caller a session, or another way to the service."""

Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Origin:
    """Where a service is. ``ca_file`` is empty for the CAs of the system."""

    host: str
    port: int
    tls: bool
    ca_file: str = ""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


@dataclass(frozen=True)
class Route:
    """A route of the catalogue, by its name."""

    name: str
    settings: RouteSettings

    @cached_property
    def place(self) -> Origin:
        parts = self._url
        port = parts.port or PORTS[parts.scheme]
        return Origin(parts.hostname or "", port, parts.scheme == "https", self.settings.ca_file or "")

    @property
    def secret(self) -> str:
        """The path of the secret whose field is the credential; empty where a workload identity gives it."""
        return "" if self.settings.identity else self.settings.secret or ""

    @cached_property
    def base(self) -> str:
        """The path of the service's base URL, without a slash at its end."""
        return self._url.path.rstrip("/")

    @cached_property
    def fixed(self) -> tuple[Header, ...]:
        """Headers of every request."""
        more = self.settings.identity.headers.items() if self.settings.identity else ()
        added = ((name.lower().encode(), text.encode("latin-1")) for name, text in more)
        return (b"host", self.place.authority.encode()), (b"accept-encoding", b"identity"), *added

    @cached_property
    def withheld(self) -> frozenset[str]:
        """Headers of the caller that are not passed on."""
        return DROPPED | {self._credential.header.lower()}

    def allows(self, method: str, path: str) -> bool:
        """Whether a request for this path below the route is passed on."""
        return any(
            method in requests.methods and any(matches_pattern(pattern, path) for pattern in requests.paths)
            for requests in self.settings.allow
        )

    def credential(self, secret: Secret) -> tuple[Header, tuple[bytes, ...]]:
        """The header that carries the credential, and its secret forms. Raises NotFound, Invalid."""
        value = secret.field(self.settings.field).reveal()
        if not is_sendable(value):
            problem = f"its field {self.settings.field} can't be sent in a header"
            raise Invalid("use", secret.path, problem, "Store the key alone, in ASCII and without spaces")
        return self.header(value)

    def header(self, value: str) -> tuple[Header, tuple[bytes, ...]]:
        """The header that carries this credential, and its secret forms."""
        place = self._credential
        if place.basic_user is not None:
            pair = base64.b64encode(f"{place.basic_user}:{value}".encode())
            return (b"authorization", b"Basic " + pair), (value.encode(), pair)
        text = templates.fill(place.template, {VALUE: value}.__getitem__)
        return (place.header.lower().encode(), text.encode()), (value.encode(),)

    def headers(self, received: Mapping[str, str] | tuple[tuple[str, str], ...]) -> Iterator[Header]:
        """The caller's headers that are passed on."""
        pairs = tuple(received.items() if isinstance(received, Mapping) else received)
        named = {
            part.strip().lower() for name, text in pairs if name == "connection" for part in text.split(",")
        }  # headers that the caller calls its connection's own
        for name, text in pairs:
            # Some servers read an underscore in a name as a hyphen.
            if name not in self.withheld and name not in named and "_" not in name:
                yield name.encode("ascii"), text.encode("latin-1")

    def location(self, text: str) -> str:
        """A redirect as the caller should see it: below this route if it is there, otherwise absolute."""
        origin = f"{self._url.scheme}://{self.place.authority}"
        absolute = urljoin(f"{origin}{self.base}/", text)
        below = f"{origin}{self.base}/"
        return f"{PREFIX}{self.name}/{absolute.removeprefix(below)}" if absolute.startswith(below) else absolute

    @property
    def _credential(self) -> CredentialPlace:
        return self.settings.identity.credential if self.settings.identity else self.settings.credential

    @cached_property
    def _url(self) -> SplitResult:
        return urlsplit(self.settings.url)


def is_sendable(value: str) -> bool:
    """Whether a header can carry this credential."""
    return bool(value) and all("!" <= character <= "~" for character in value)


def split_target(path: str) -> tuple[str, str] | None:
    """The route's name and the path below it; None if a server could take the path for another one."""
    name, slash, rest = path.removeprefix(PREFIX).partition("/")
    below = slash + rest
    if len(path) > LONGEST_TARGET or not _TARGET.fullmatch(below):
        return None
    if any(chr(int(code, 16)) in _ESCAPED for code in _ESCAPE.findall(below)):
        return None
    parts = below.split("/")[1:]
    if "" in parts[:-1] or any(part.partition(";")[0] in (".", "..") for part in parts):
        return None
    return name, below or "/"


def is_query(text: str) -> bool:
    """Whether a query can be passed on unchanged."""
    return len(text) <= LONGEST_TARGET and _QUERY.fullmatch(text) is not None
