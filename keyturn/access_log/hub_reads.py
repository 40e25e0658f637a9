"""One line of a hub's audit log as a read of a secret's value: whose, of what, from where, and what it gave."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from keyturn.core.access import Access
from keyturn.core.audit_lines import AuditMount, entry

RESPONSE: Final = b'"response"'
UNWRAP: Final = "sys/wrapping/unwrap"
REMEMBERED: Final = 10_000
"""Wrapped answers that are remembered until somebody unwraps them; beyond, the oldest is forgotten."""

ROLES: Final = ("role_name", "username", "role")
"""Where logins put the name of the AppRole, of the user, and of the role of every other method."""

ABSENT: Final = 404
SHORT: Final = 8
"""Hex digits that tell one login from another."""

HASHED: Final = "hmac-"

AuditObject = Mapping[str, Any]


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
        """What a line tells, None where it is no read of a value. Raises ValueError, KeyError, TypeError."""
        audit_entry = entry(line)
        if audit_entry["type"] != "response":
            return None
        request = object_member(audit_entry, "request")
        if request.get("path") == UNWRAP:
            return self._unwrapped(audit_entry, request)
        kind, path = self._mount.place(request) or ("", "")
        if kind != "data" or request.get("operation") != "read":
            return None
        who = principal(object_member(audit_entry, "auth"))
        if wrapped := object_member(object_member(audit_entry, "response"), "wrap_info"):
            self._remember(str(wrapped.get("token")), path, who)
        return self._read(audit_entry, path, who)

    def _read(self, audit_entry: AuditObject, path: str, who: str) -> Access:
        request, response = object_member(audit_entry, "request"), object_member(audit_entry, "response")
        data, failed = object_member(response, "data"), bool(audit_entry.get("error"))
        bare = not data and not response.get("wrap_info")
        self.given += not bare and not failed
        self.bare += bare and not failed
        return Access(
            at=parse_time(audit_entry["time"]),
            system="hub",
            path=path,
            version=version(data, request),
            principal=who,
            source=source(request),
            # An absent or deleted version is answered without an error, and without a value.
            denied=failed or bare or data.get("http_status_code") == ABSENT,
            login=login(object_member(audit_entry, "auth"), request),
        )

    def _remember(self, token: str, path: str, who: str) -> None:
        self._wrapped[token] = (path, who)
        if len(self._wrapped) > REMEMBERED:
            del self._wrapped[next(iter(self._wrapped))]

    def _unwrapped(self, audit_entry: AuditObject, request: AuditObject) -> Access | None:
        """The value reaches whoever unwraps it, be it with a login of their own or with the wrapping token alone."""
        token = str(object_member(request, "data").get("token") or "")
        path, wrapper = self._wrapped.get(token or str(request.get("client_token")), ("", ""))
        if not path:
            return None
        who = principal(object_member(audit_entry, "auth")) if token else f"wrapping token of {wrapper}"
        return self._read(audit_entry, path, who)


def object_member(members: AuditObject, name: str) -> AuditObject:
    """A member that is an object; an empty one otherwise."""
    member = members.get(name)
    return member if isinstance(member, dict) else {}


def parse_time(text: str) -> datetime:
    """A line's time, UTC where it names no zone. Raises ValueError, TypeError."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def principal(auth: AuditObject) -> str:
    """The login's display name, and its role or user where that is not in it."""
    shown = str(auth.get("display_name") or "")
    if not shown:
        return "unknown token"
    # Whoever makes a token chooses its metadata, so there it names nobody.
    made = shown == "token" or shown.startswith("token-")
    metadata = object_member(auth, "metadata")
    role = "" if made else next((str(metadata[name]) for name in ROLES if metadata.get(name)), "")
    named = shown if not role or f"-{shown}".endswith(f"-{role}") else f"{shown} {role}"
    return f"{named} (root policy)" if "root" in (auth.get("policies") or ()) else named


def login(auth: AuditObject, request: AuditObject) -> str:
    """Tells one login from another: the beginning of its accessor's hash, or of the hash of a token that has none."""
    accessor, token = str(auth.get("accessor") or ""), str(request.get("client_token") or "")
    hashed = accessor or (token if token.startswith(HASHED) else "")
    return hashed.rpartition(":")[2][:SHORT]


def source(request: AuditObject) -> str:
    """The address that asked, and for whom it says to have asked where the hub is told to log that."""
    address = str(request.get("remote_address") or "")
    headers = {str(name).lower(): value for name, value in object_member(request, "headers").items()}
    header = headers.get("x-forwarded-for")
    forwarded = ", ".join(map(str, header)) if isinstance(header, list) else str(header or "")
    return address if not forwarded or HASHED in forwarded else f"{address}, said to be for {forwarded}"


def version(data: AuditObject, request: AuditObject) -> int | None:
    """The version that was given, or else the one that was asked for where the hub is told to log that in clear."""
    if isinstance(served := object_member(data, "metadata").get("version"), int):
        return served
    requested = str(object_member(request, "data").get("version") or "")
    return int(requested) if requested.isascii() and requested.isdigit() else None
