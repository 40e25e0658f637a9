"""One line of a hub's audit log as a read of a secret's value: whose, of what, from where, and what it gave."""

import re
from datetime import UTC, datetime
from typing import Final

from msgspec import UNSET

from keyturn.core.access import Access
from keyturn.core.audit_lines import (
    NO_DATA,
    AuditAuth,
    AuditData,
    AuditLine,
    AuditMount,
    AuditRequest,
    decode_data,
    decode_line,
    decode_members,
)

RESPONSE: Final = b'"response"'
UNWRAP: Final = "sys/wrapping/unwrap"
REMEMBERED: Final = 10_000
"""Wrapped answers that are remembered until somebody unwraps them; beyond, the oldest is forgotten."""

ABSENT: Final = 404
SHORT: Final = 8
"""Hex digits that tell one login from another."""

HASHED: Final = "hmac-"
NUMBER: Final = re.compile(r"[0-9]{1,18}")

NOBODY: Final = AuditAuth()


class HubReads:
    """Reads the lines of one log in their order, for the KV v2 mounts of one namespace. Used by one thread.

    ``given`` counts answers that tell what they held, ``bare`` those without an error that tell nothing.
    """

    def __init__(self, mount: AuditMount) -> None:
        self.given = 0
        self.bare = 0
        self._mount = mount
        self._wrapped: dict[str, tuple[str, str]] = {}

    @property
    def needles(self) -> tuple[bytes, ...]:
        """A line can only be a read if it holds the first of these, and one of the others."""
        data = (f'"{mount.strip("/")}/data/'.encode() for _, mount in self._mount.named)
        return RESPONSE, UNWRAP.encode(), *data

    def access(self, line: bytes) -> Access | None:
        """What a line tells, None where it is no read of a value. Raises ValueError."""
        audit_line = decode_line(line)
        request = audit_line.request
        if audit_line.type != "response" or request is None:
            return None
        if request.path == UNWRAP:
            return self._unwrapped(audit_line, request)
        kind, path = self._mount.place(request) or ("", "")
        if kind != "data" or request.operation != "read":
            return None
        who = principal(audit_line.auth or NOBODY)
        if audit_line.response and (wrapped := audit_line.response.wrap_info):
            self._remember(wrapped.token or "", path, who)
        return self._read(audit_line, request, path, who)

    def _read(self, audit_line: AuditLine, request: AuditRequest, path: str, who: str) -> Access:
        response = audit_line.response
        data, failed = decode_data(response), bool(audit_line.error)
        bare = data == NO_DATA and not (response and response.wrap_info)
        self.given += not bare and not failed
        self.bare += bare and not failed
        return Access(
            at=parse_time(audit_line.time or ""),
            system="hub",
            path=path,
            version=version(data, request),
            principal=who,
            source=source(request),
            # An absent or deleted version is answered without an error, and without a value.
            denied=failed or bare or data.http_status_code == ABSENT,
            login=login(audit_line.auth or NOBODY, request),
        )

    def _remember(self, token: str, path: str, who: str) -> None:
        self._wrapped[token] = (path, who)
        if len(self._wrapped) > REMEMBERED:
            del self._wrapped[next(iter(self._wrapped))]

    def _unwrapped(self, audit_line: AuditLine, request: AuditRequest) -> Access | None:
        """The value reaches whoever unwraps it, be it with a login of their own or with the wrapping token alone."""
        token = str(decode_members(request.data).get("token") or "")
        path, wrapper = self._wrapped.get(token or request.client_token or "", ("", ""))
        if not path:
            return None
        who = principal(audit_line.auth or NOBODY) if token else f"wrapping token of {wrapper}"
        return self._read(audit_line, request, path, who)


def parse_time(text: str) -> datetime:
    """A line's time, in UTC, which is meant where it names no zone. Raises ValueError."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time if time.tzinfo is UTC else time.astimezone(UTC)
    except OverflowError:
        raise ValueError("is no time that can be told in UTC") from None


def principal(auth: AuditAuth) -> str:
    """The login's display name, and its role or user where that is not in it."""
    shown = auth.display_name
    if not shown:
        return "unknown token"
    # Whoever makes a token chooses its metadata, so there it names nobody.
    made = shown == "token" or shown.startswith("token-")
    named_by = None if made else auth.metadata
    role = (named_by and (named_by.role_name or named_by.username or named_by.role)) or ""
    named = shown if not role or f"-{shown}".endswith(f"-{role}") else f"{shown} {role}"
    return f"{named} (root policy)" if "root" in (auth.policies or ()) else named


def login(auth: AuditAuth, request: AuditRequest) -> str:
    """Tells one login from another: the beginning of its accessor's hash, or of the hash of a token that has none."""
    token = request.client_token or ""
    hashed = auth.accessor or (token if token.startswith(HASHED) else "")
    return hashed.rpartition(":")[2][:SHORT]


def source(request: AuditRequest) -> str:
    """The address that asked, and for whom it says to have asked where the hub is told to log that."""
    address = request.remote_address or ""
    if request.headers is UNSET:
        return address
    headers = {name.lower(): value for name, value in decode_members(request.headers).items()}
    header = headers.get("x-forwarded-for")
    forwarded = ", ".join(map(str, header)) if isinstance(header, list) else str(header or "")
    return address if not forwarded or HASHED in forwarded else f"{address}, said to be for {forwarded}"


def version(data: AuditData, request: AuditRequest) -> int | None:
    """The version that was given, or else the one that was asked for where the hub is told to log that in clear."""
    if data.metadata and data.metadata.version is not None:
        return data.metadata.version
    requested = str(decode_members(request.data).get("version") or "")
    return int(requested) if NUMBER.fullmatch(requested) else None
