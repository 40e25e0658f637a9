"""The audit lines of Vault and OpenBao: which request to which secret they tell of. Names only, never values.

What a line says beside these names is skipped and not decoded, above all the values, which a device with ``log_raw``
writes in clear. Source: ``audit/types.go`` of Vault and of OpenBao, which share these fields; "Audit devices" of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from msgspec.json import Decoder

from keyturn.core.mounts import join, split

LARGEST: Final = (1 << 63) - 1
"""No version has a larger number: the hub counts in 64 bits."""

TOO_DEEP: Final = "is nested too deep"
"""A request may nest as deep as the hub takes it."""


class Namespace(Struct, gc=False):
    """Where a request went; the root namespace has no path."""

    path: str | None = None


class LoginMetadata(Struct, gc=False):
    """Where logins put the name of the AppRole, of the user, and of the role of every other method."""

    role_name: str | None = None
    username: str | None = None
    role: str | None = None


class GrantingPolicy(Struct, gc=False):
    """One of those that allowed a request."""

    name: str | None = None


class PolicyResults(Struct, gc=False):
    """Why a request was allowed; of a login there is none."""

    granting_policies: list[GrantingPolicy] | None = None


class AuditAuth(Struct, gc=False):
    """Who asked, and what allowed it."""

    accessor: str | None = None
    display_name: str | None = None
    policies: list[str] | None = None
    metadata: LoginMetadata | None = None
    policy_results: PolicyResults | None = None


class AuditRequest(Struct, gc=False):
    """What was asked for, and from where. ``path`` stands in clear; ``data`` and ``headers`` are not decoded."""

    path: str | None = None
    operation: str | None = None
    namespace: Namespace | None = None
    client_token: str | None = None
    remote_address: str | None = None
    data: Raw | UnsetType = UNSET
    headers: Raw | UnsetType = UNSET


class WrapInfo(Struct, gc=False):
    """The token that an answer was wrapped in, and for how many seconds it is good."""

    token: str | None = None
    ttl: Any = None


class ServedMetadata(Struct, gc=False):
    """Of the version that was served."""

    version: Annotated[int, Meta(ge=0, le=LARGEST)] | None = None


class AuditData(Struct, gc=False):
    """What a KV v2 mount answered; an absent or deleted version has a status alone."""

    data: Raw | UnsetType = UNSET
    metadata: ServedMetadata | None = None
    http_status_code: int | None = None


NO_DATA: Final = AuditData()


class AuditResponse(Struct, gc=False):
    """What was given. ``data`` has whatever shape the mount gives it, and is not decoded; ``auth`` is of a login."""

    data: Raw | UnsetType = UNSET
    auth: Raw | UnsetType = UNSET
    wrap_info: WrapInfo | None = None


class AuditLine(Struct, gc=False):
    """One line of a file audit device, in JSON."""

    type: str
    time: str | None = None
    error: str | None = None
    auth: AuditAuth | None = None
    request: AuditRequest | None = None
    response: AuditResponse | None = None


_LINES: Final = Decoder(AuditLine)
_DATA: Final = Decoder(AuditData | None)
_OBJECTS: Final = Decoder(dict[str, Any] | None)


def decode_line(line: bytes) -> AuditLine:
    """What the line tells. Raises ValueError for what is no audit line, or has another shape."""
    try:
        return _LINES.decode(line)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def decode_data(response: AuditResponse | None) -> AuditData:
    """What a KV v2 mount answered; nothing where the line does not tell it. Raises ValueError for another shape."""
    if response is None or response.data is UNSET:
        return NO_DATA
    try:
        return _DATA.decode(response.data) or NO_DATA
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def decode_members(text: Raw | UnsetType) -> dict[str, Any]:
    """The members of an object that was left undecoded, none of an absent one. Raises ValueError for another shape."""
    try:
        return {} if text is UNSET else _OBJECTS.decode(text) or {}
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


@dataclass(frozen=True)
class AuditMount:
    """The KV v2 mounts of one namespace that hold secrets, as the lines name them.

    ``others`` are those beside ``mount``, by the names that stand before their paths.
    """

    mount: str
    namespace: str = ""
    others: Mapping[str, str] = field(default_factory=dict)

    def place(self, request: AuditRequest) -> tuple[str, str] | None:
        """What kind of thing was asked for ("data", "metadata"), and of which secret; None for any other request."""
        namespace = request.namespace.path if request.namespace else None
        if (namespace or "").strip("/") != self.namespace.strip("/"):
            return None
        requested = request.path or ""
        for prefix, name in self._prefixes:
            if requested.startswith(prefix):
                kind, _, path = requested[len(prefix) :].partition("/")
                # In the default mount, what looks like another one's can't be told from that.
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
