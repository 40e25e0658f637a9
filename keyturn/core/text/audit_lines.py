"""Parser for audit lines of Vault and OpenBao: request and secret, names only.

The rest is skipped undecoded, above all values, which a device with ``log_raw`` writes in clear. Source:
``audit/types.go`` of Vault and of OpenBao, which share these fields; "Audit devices" of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from msgspec.json import Decoder

from keyturn.core.mounts import join, split

LARGEST: Final = (1 << 63) - 1
"""Largest possible version number: the hub counts in 64 bits."""

TOO_DEEP: Final = "is nested too deep"
"""Message for a request nested more deeply than the parser allows."""


class Namespace(Struct, gc=False):
    """The request's namespace; the root namespace has no path."""

    path: str | None = None


class LoginMetadata(Struct, gc=False):
    """Login metadata with the name of the AppRole, the user, or another method's role."""

    role_name: str | None = None
    username: str | None = None
    role: str | None = None


class GrantingPolicy(Struct, gc=False):
    """A policy that allowed a request."""

    name: str | None = None


class PolicyResults(Struct, gc=False):
    """Why a request was allowed; absent for a login."""

    granting_policies: list[GrantingPolicy] | None = None


class AuditAuth(Struct, gc=False):
    """The requester and its policies."""

    accessor: str | None = None
    display_name: str | None = None
    policies: list[str] | None = None
    metadata: LoginMetadata | None = None
    policy_results: PolicyResults | None = None


class AuditRequest(Struct, gc=False):
    """The request and its source. ``path`` is in clear; ``data`` and ``headers`` are not decoded."""

    path: str | None = None
    operation: str | None = None
    namespace: Namespace | None = None
    client_token: str | None = None
    remote_address: str | None = None
    data: Raw | UnsetType = UNSET
    headers: Raw | UnsetType = UNSET


class WrapInfo(Struct, gc=False):
    """The wrapping token of an answer, and its life in seconds."""

    token: str | None = None
    ttl: Any = None


class ServedMetadata(Struct, gc=False):
    """Metadata of the served version."""

    version: Annotated[int, Meta(ge=0, le=LARGEST)] | None = None


class AuditData(Struct, gc=False):
    """A KV v2 mount's answer; an absent or deleted version has only a status."""

    data: Raw | UnsetType = UNSET
    metadata: ServedMetadata | None = None
    http_status_code: int | None = None


NO_DATA: Final = AuditData()


class AuditResponse(Struct, gc=False):
    """The answer. ``data`` depends on the mount and is not decoded; ``auth`` belongs to a login."""

    data: Raw | UnsetType = UNSET
    auth: Raw | UnsetType = UNSET
    wrap_info: WrapInfo | None = None


class AuditLine(Struct, gc=False):
    """One line of a file audit device, in JSON. ``auth`` is not decoded: a login's is the same in all its lines."""

    type: str
    time: str | None = None
    error: str | None = None
    auth: Raw | UnsetType = UNSET
    request: AuditRequest | None = None
    response: AuditResponse | None = None


_LINES: Final = Decoder(AuditLine)
_AUTH: Final = Decoder(AuditAuth | None)
_DATA: Final = Decoder(AuditData | None)
_OBJECTS: Final = Decoder(dict[str, Any] | None)


def decode_line(line: bytes) -> AuditLine:
    """Parse the line. Raises ValueError for other lines or shapes."""
    try:
        return _LINES.decode(line)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def decode_auth(text: bytes) -> AuditAuth:
    """A requester, empty if absent. Raises ValueError for another shape."""
    try:
        return _AUTH.decode(text) or AuditAuth()
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def decode_data(response: AuditResponse | None) -> AuditData:
    """A KV v2 mount's answer, empty if absent. Raises ValueError for another shape."""
    if response is None or response.data is UNSET:
        return NO_DATA
    try:
        return _DATA.decode(response.data) or NO_DATA
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def decode_members(text: Raw | UnsetType) -> dict[str, Any]:
    """An undecoded object's members, empty if absent. Raises ValueError for another shape."""
    try:
        return {} if text is UNSET else _OBJECTS.decode(text) or {}
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


@dataclass(frozen=True)
class AuditMount:
    """One namespace's KV v2 mounts of secrets, as in audit lines.

    ``others`` are in addition to ``mount``, by the names that prefix their paths.
    """

    mount: str
    namespace: str = ""
    others: Mapping[str, str] = field(default_factory=dict)

    def place(self, request: AuditRequest) -> tuple[str, str] | None:
        """The request's kind ("data", "metadata") and secret; None for other requests."""
        namespace = request.namespace.path if request.namespace else None
        if (namespace or "").strip("/") != self.namespace.strip("/"):
            return None
        requested = request.path or ""
        for prefix, name in self._prefixes:
            if requested.startswith(prefix):
                kind, _, path = requested[len(prefix) :].partition("/")
                # In the default mount, a path that looks like another mount's is ambiguous.
                if path and not path.endswith("/") and (name or not split(path, self.others)[0]):
                    return kind, join(name, path)
        return None

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """Each mount with its name, which is empty for the default one."""
        return ("", self.mount), *self.others.items()

    @cached_property
    def _prefixes(self) -> tuple[tuple[str, str], ...]:
        return tuple((f"{mount.strip('/')}/", name) for name, mount in self.named)
