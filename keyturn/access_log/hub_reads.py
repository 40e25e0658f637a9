"""Reads of secret values, from the lines of a hub's audit log."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from msgspec import UNSET, Raw, Struct
from msgspec.json import Decoder, encode

from keyturn.access_log.log_files import NotALine
from keyturn.access_log.sources.file_cursor import short_digest
from keyturn.core.ports.access import CHANGE, DELETE, DESTROY, HUB, LOGIN, READ, Access
from keyturn.core.text.audit_lines import (
    NO_DATA,
    AuditAuth,
    AuditData,
    AuditLine,
    AuditMount,
    AuditRequest,
    WrapInfo,
    decode_auth,
    decode_data,
    decode_line,
    decode_members,
)

RESPONSE: Final = b'"response"'
UNWRAP: Final = "sys/wrapping/unwrap"
LOGIN_PATH: Final = re.compile(r"auth/.+/login(/[^/]+)?")
"""Login paths. For some methods the user name follows."""
BROWSER_PATH: Final = re.compile(r"auth/.+/oidc/(callback|poll)")
"""The end of a browser login, or the polling for it."""
CHANGED_POLICY: Final = re.compile(r"sys/polic(?:y|ies/acl)/(.+)")
CHANGED_LOGIN: Final = re.compile(
    r"auth/.+/(?:role|users|groups)/[^/]+(?:/(?:token-)?policies)?|identity/(?:entity|group)(?:-alias)?(?:/.+)?"
)
"""Where the rights of logins change: policies and their assignment."""
CHANGES: Final = ("create", "update", "patch", "delete")
ENDS: Final = {
    ("data", "delete"): DELETE,
    ("delete", "create"): DELETE,
    ("delete", "update"): DELETE,
    ("destroy", "create"): DESTROY,
    ("destroy", "update"): DESTROY,
    ("metadata", "delete"): DESTROY,
}
"""Operations that delete or destroy versions. For metadata, all versions."""
END_NEEDLES: Final = (b'"delete"', b"/delete/", b"/destroy/")
"""Every line of such an operation contains one of these."""
LOGIN_NEEDLES: Final = (b"/login", b"/oidc/", b'"sys/polic', b'"identity/', b"/role/", b"/users/", b"/groups/")
"""Every line of a login or change contains one of these."""
REMEMBERED: Final = 10_000
"""The most remembered wrapped answers. Beyond it, the oldest is forgotten."""
LONG: Final = 30 * 86_400.0
"""Default lifetime of a wrapped answer in seconds."""
CARRIED: Final = 4096
"""Bytes of wrapped answers that are carried over."""

PLACES: Final = 20_000
"""The most cached paths. Beyond it, the cache is cleared."""
NOWHERE: Final = ("", "")

ABSENT: Final = 404
SHORT: Final = 8
"""Hex digits that identify a login."""

HASHED: Final = "hmac-"
AGENT: Final = "user-agent"
FAILED: Final = "failed login"
"""Prefix of a failed login's principal, which is unknown."""
NUMBER: Final = re.compile(r"[0-9]{1,18}")

CALLERS: Final = 10_000
"""The most cached logins. Beyond it, the cache is cleared."""


class _Caller(Struct, frozen=True, gc=False):
    """What a line's ``auth`` says about the login. ``accessor`` is its hash, ``granted`` the policy that allowed it."""

    principal: str
    root: bool
    granted: str
    accessor: str
    policies: str


def _describe(auth: AuditAuth) -> _Caller:
    return _Caller(principal(auth), is_root(auth), granted(auth), auth.accessor or "", ",".join(auth.policies or ()))


UNKNOWN: Final = _Caller("unknown token", root=False, granted="", accessor="", policies="")


class _Wrapped(Struct, frozen=True, array_like=True, gc=False):
    """A read that can still be unwrapped, for ``lasts`` seconds."""

    token: str
    path: str
    who: str
    at: float
    lasts: float

    @property
    def ends(self) -> float:
        """When it can't be unwrapped any more."""
        return self.at + self.lasts


_MEMORY: Final = Decoder(list[_Wrapped] | None)


class HubReads:
    """Reads a log's lines in order, for the KV v2 mounts of one namespace. Not thread-safe.

    ``logins`` adds logins of all namespaces and their failures (unknown for browser logins), changes of rights, and
    deleted versions. ``given`` counts answers with data, ``bare`` those without error or data.
    """

    def __init__(self, mount: AuditMount, *, logins: bool = False) -> None:
        self.given = 0
        self.bare = 0
        self._mount = mount
        self._logins = logins
        self._wrapped: dict[str, _Wrapped] = {}
        self._places: dict[str, tuple[str, str]] = {}
        self._callers: dict[bytes, _Caller] = {}
        unwrap, *others = self.needles[1:]
        self._needles = (*others, unwrap)  # the needle that most lines contain comes first

    @property
    def needles(self) -> tuple[bytes, ...]:
        """A read contains the first and one of the others."""
        data = (f'"{mount.strip("/")}/data/'.encode() for _, mount in self._mount.named)
        return RESPONSE, UNWRAP.encode(), *data, *((*LOGIN_NEEDLES, *END_NEEDLES) if self._logins else ())

    def access(self, line: bytes) -> Access | None:
        """Return a line's access, None if it has none of interest. Raises ValueError."""
        audit_line = decode_line(line)
        request = audit_line.request
        if audit_line.type != "response" or request is None:
            return None
        if request.path == UNWRAP:
            return self._unwrapped(audit_line, request)
        kind, path = self._place(request)
        if kind != "data" or request.operation != "read":
            return self._other(audit_line, request, kind, path) if self._logins else None
        caller = self._caller(audit_line)
        who = caller.principal
        if audit_line.response and (wrapped := audit_line.response.wrap_info):
            self._remember(wrapped, path, who, parse_time(audit_line.time or "").timestamp())
        return self._read(audit_line, request, path, caller, who)

    def _caller(self, audit_line: AuditLine) -> _Caller:
        """The login of a line, cached by its text because logins recur. Raises ValueError for another shape."""
        if audit_line.auth is UNSET:
            return UNKNOWN
        text = bytes(audit_line.auth)
        caller = self._callers.get(text)
        if caller is None:
            if len(self._callers) >= CALLERS:
                self._callers.clear()
            caller = self._callers[text] = _describe(decode_auth(text))
        return caller

    def _place(self, request: AuditRequest) -> tuple[str, str]:
        """A request's kind and secret, cached because paths recur."""
        namespace = request.namespace
        if request.path is None or (namespace is not None and namespace.path):
            return self._mount.place(request) or NOWHERE
        place = self._places.get(request.path)
        if place is None:
            if len(self._places) >= PLACES:
                self._places.clear()
            place = self._places[request.path] = self._mount.place(request) or NOWHERE
        return place

    def may_tell(self, line: bytes) -> bool:
        """Whether a line may contain an access, by a fast byte search.

        Raises ValueError for a line that can't be an audit line.
        """
        if line[:1] != b"{" or line[-1:] != b"}":
            raise NotALine("it is no JSON object")
        if RESPONSE not in line:
            return False
        for needle in self._needles:  # noqa: SIM110  as any() it takes twice as long, for each line of a log
            if needle in line:
                return True
        return False

    def remember(self) -> tuple[Raw, list[str]]:
        """Return the state for later lines, at most 4 KiB, and gaps for what had to be forgotten."""
        latest = max((wrapped.at for wrapped in self._wrapped.values()), default=0.0)
        every = sorted(self._wrapped.values(), key=lambda wrapped: wrapped.ends >= latest)
        sizes = [len(encode(wrapped)) + len(b",") for wrapped in every]
        excess, forgotten = sum(sizes) + len(b"[]") - CARRIED, 0
        for wrapped, size in zip(every, sizes, strict=True):
            if excess <= 0:
                break
            excess -= size
            del self._wrapped[wrapped.token]
            forgotten += wrapped.ends >= latest
        gaps = [f"{forgotten:,} wrapped reads were dropped: who unwraps them is unknown"] if forgotten else []
        return Raw(encode(list(self._wrapped.values()))), gaps

    def recall(self, memory: Raw) -> None:
        """Restore a state. Raises ValueError."""
        self._wrapped = {wrapped.token: wrapped for wrapped in _MEMORY.decode(memory) or ()}

    def written_at(self, line: bytes) -> datetime | None:
        """When a line was written, None if unknown."""
        with suppress(ValueError):
            return parse_time(decode_line(line).time or "")
        return None

    def _read(self, audit_line: AuditLine, request: AuditRequest, path: str, caller: _Caller, who: str) -> Access:
        response = audit_line.response
        data, failed = decode_data(response), bool(audit_line.error)
        bare = (data is NO_DATA or data == NO_DATA) and not (response and response.wrap_info)
        if not failed:
            self.given += not bare
            self.bare += bare
        return Access(
            parse_time(audit_line.time or ""),
            HUB,
            path,
            version(data, request),
            who,
            source(request),
            # An absent or deleted version is answered without an error and without a value.
            failed or bare or data.http_status_code == ABSENT,
            login(caller, request),
            READ,
            "" if request.headers is UNSET else agent(request),
            caller.root,
            caller.granted,
        )

    def _other(self, audit_line: AuditLine, request: AuditRequest, kind: str, path: str) -> Access | None:
        """Return an end of versions, a login or a change."""
        if (end := ENDS.get((kind, request.operation or ""))) is None:
            return self._login(audit_line, request) or self._change(audit_line, request)
        return self._did(audit_line, request, end, path, ended_version(request))

    def _login(self, audit_line: AuditLine, request: AuditRequest) -> Access | None:
        """Return a login, and whether it failed."""
        path, response = request.path or "", audit_line.response
        failed = bool(audit_line.error) or response is None or response.auth is UNSET
        named = request.operation == "update" and LOGIN_PATH.fullmatch(path)
        if not named and (failed or not BROWSER_PATH.fullmatch(path)):
            return None
        address, caller = source(request), self._caller(audit_line)
        return Access(
            at=parse_time(audit_line.time or ""),
            system=HUB,
            path=path,
            version=None,
            principal=f"{FAILED} from {address}" if failed else caller.principal,
            source=address,
            denied=failed,
            login="" if failed else login(caller, request),
            action=LOGIN,
            agent="" if request.headers is UNSET else agent(request),
            root=not failed and caller.root,
            granted="" if failed else caller.policies,
        )

    def _change(self, audit_line: AuditLine, request: AuditRequest) -> Access | None:
        """Return a change of rights, and whether it was denied."""
        path = request.path or ""
        namespace = (request.namespace and request.namespace.path) or ""
        if request.operation not in CHANGES or namespace.strip("/") != self._mount.namespace.strip("/"):
            return None
        policy = CHANGED_POLICY.fullmatch(path)
        if not policy and not CHANGED_LOGIN.fullmatch(path):
            return None
        return self._did(audit_line, request, CHANGE, f"policies/{policy[1]}" if policy else path)

    def _did(
        self, audit_line: AuditLine, request: AuditRequest, action: str, path: str, version: int | None = None
    ) -> Access:
        """Return an operation that returned no value."""
        caller = self._caller(audit_line)
        return Access(
            at=parse_time(audit_line.time or ""),
            system=HUB,
            path=path,
            version=version,
            principal=caller.principal,
            source=source(request),
            denied=bool(audit_line.error),
            login=login(caller, request),
            action=action,
            agent="" if request.headers is UNSET else agent(request),
            root=caller.root,
            granted=caller.granted,
        )

    def _remember(self, wrapped: WrapInfo, path: str, who: str, at: float) -> None:
        token, lasts = short_digest((wrapped.token or "").encode()), wrapped.ttl
        self._wrapped[token] = _Wrapped(token, path, who, at, lasts if isinstance(lasts, int | float) else LONG)
        if len(self._wrapped) > REMEMBERED:
            del self._wrapped[next(iter(self._wrapped))]

    def _unwrapped(self, audit_line: AuditLine, request: AuditRequest) -> Access | None:
        """Return the read by the caller that unwraps it."""
        token = str(decode_members(request.data).get("token") or "")
        wrapped = self._wrapped.get(short_digest((token or request.client_token or "").encode()))
        if wrapped is None:
            return None
        caller = self._caller(audit_line)
        who = caller.principal if token else f"wrapping token of {wrapped.who}"
        return self._read(audit_line, request, wrapped.path, caller, who)


def parse_time(text: str) -> datetime:
    """Return a line's time in UTC, the default zone. Raises ValueError."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time if time.tzinfo is UTC else time.astimezone(UTC)
    except OverflowError:
        raise ValueError("is not a time that UTC can express") from None


def principal(auth: AuditAuth) -> str:
    """The login's display name, with its role or user."""
    shown = auth.display_name
    if not shown:
        return UNKNOWN.principal
    # The creator of a token chooses its metadata, so that identifies no one.
    made = shown == "token" or shown.startswith("token-")
    named_by = None if made else auth.metadata
    role = (named_by and (named_by.role_name or named_by.username or named_by.role)) or ""
    named = shown if not role or f"-{shown}".endswith(f"-{role}") else f"{shown} {role}"
    return f"{named} (root policy)" if is_root(auth) else named


def is_root(auth: AuditAuth) -> bool:
    """Whether the login has the root policy."""
    return auth.policies is not None and "root" in auth.policies


def granted(auth: AuditAuth) -> str:
    """The first policy that allowed it, empty if unknown."""
    results = auth.policy_results
    if results is None or not results.granting_policies:
        return ""
    return next((policy.name for policy in results.granting_policies if policy.name), "")


def login(caller: _Caller, request: AuditRequest) -> str:
    """The first digits of an accessor's or token's hash."""
    token = request.client_token or ""
    hashed = caller.accessor or (token if token.startswith(HASHED) else "")
    begin = hashed.rfind(":") + 1
    return hashed[begin : begin + SHORT]


def source(request: AuditRequest) -> str:
    """The caller's address, and any logged forwarded one."""
    address = request.remote_address or ""
    if request.headers is UNSET:
        return address
    forwarded = header(request, "x-forwarded-for")
    return f"{address}, said to be for {forwarded}" if forwarded else address


def agent(request: AuditRequest) -> str:
    """The caller's user agent, where the hub logs it."""
    return header(request, AGENT)


def header(request: AuditRequest, name: str) -> str:
    """A header that is logged in clear, otherwise empty."""
    if request.headers is UNSET:
        return ""
    headers = {key.lower(): value for key, value in decode_members(request.headers).items()}
    values = headers.get(name)
    text = ", ".join(map(str, values)) if isinstance(values, list) else str(values or "")
    return "" if HASHED in text else text


def version(data: AuditData, request: AuditRequest) -> int | None:
    """The returned version, or the requested one if it is in clear."""
    if data.metadata and data.metadata.version is not None:
        return data.metadata.version
    requested = str(decode_members(request.data).get("version") or "")
    return int(requested) if NUMBER.fullmatch(requested) else None


def ended_version(request: AuditRequest) -> int | None:
    """The only version to delete or destroy, None if unknown."""
    versions = decode_members(request.data).get("versions")
    only = str(versions[0]) if isinstance(versions, list) and len(versions) == 1 else ""
    return int(only) if NUMBER.fullmatch(only) else None
