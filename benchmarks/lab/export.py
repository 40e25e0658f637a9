"""A run's events in files that others can read: JSON lines with labels, or a hub's audit lines."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from benchmarks.lab.world import HUB
from keyturn.core.ports.access import CHANGE, LOGIN, READ, Access

MOUNT: Final = "secret"
ABSENT: Final = 404


def write_events(file: Path, happened: Iterable[tuple[Access, str]]) -> int:
    """A JSON object a line: the fields of Access, and ``label``, empty where the event belongs to no attack."""
    encode = msgspec.json.Encoder().encode
    count = 0
    with file.open("wb") as out:
        for access, label in happened:
            out.write(encode({**msgspec.structs.asdict(access), "label": label}) + b"\n")
            count += 1
    return count


def write_openbao(file: Path, happened: Iterable[tuple[Access, str]]) -> int:
    """The hub's events as responses in an audit file; FILE.labels has a line for each: the label, or nothing."""
    count = 0
    with file.open("w") as out, file.with_name(f"{file.name}.labels").open("w") as labels:
        for access, label in happened:
            if access.system == HUB:
                out.write(json.dumps(audit_line(access), separators=(",", ":")) + "\n")
                labels.write(f"{label}\n")
                count += 1
    return count


def audit_line(access: Access) -> dict[str, Any]:
    """What OpenBao writes of an event when it answers it, with User-Agent logged in clear."""
    path, operation = _request(access)
    request: dict[str, Any] = {
        "id": hashed(f"{access.at} {path}")[12:48],
        "operation": operation,
        "mount_point": "/".join(path.split("/")[: 2 if access.action == LOGIN else 1]) + "/",
        "mount_type": MOUNT_TYPES.get(access.action) or path.split("/")[1],
        "client_token": hashed(f"token {access.login}"),
        "client_token_accessor": _accessor(access.login),
        "namespace": {"id": "root"},
        "path": path,
        "remote_address": access.source,
        "remote_port": 41578,
        "headers": {"user-agent": [access.agent]},
    }
    line: dict[str, Any] = {"time": _time(access.at), "type": "response", "auth": _auth(access), "request": request}
    if access.version is not None and access.denied:
        request["data"] = {"version": str(access.version)}
    if access.denied:
        return line | {"error": "1 error occurred:\n\t* permission denied\n\n", "response": {}}
    if access.action == LOGIN:
        return line | {"response": {"auth": _auth(access)}}
    return line | ({"response": _served(access)} if access.action == READ else {})


MOUNT_TYPES: Final = {READ: "kv", CHANGE: "system"}


def _request(access: Access) -> tuple[str, str]:
    """What was asked for, and the operation as the hub calls it."""
    if access.action == LOGIN:
        return access.path, "read" if access.path.endswith("/callback") else "update"
    if access.action == CHANGE:
        return access.path.replace("policies/", "sys/policies/acl/", 1), "update"
    return f"{MOUNT}/data/{access.path}", "read"


def _served(access: Access) -> dict[str, Any]:
    metadata = {"created_time": "2026-02-11T19:26:18.412494742Z", "destroyed": False, "version": access.version}
    return {
        "mount_point": f"{MOUNT}/",
        "mount_type": "kv",
        "data": {"data": {"value": hashed("value")}, "metadata": metadata},
    }


def _auth(access: Access) -> dict[str, Any]:
    """Whose it is. A failed login has none."""
    if access.action == LOGIN and access.denied:
        return {}
    shown, _, role = access.principal.removesuffix(" (root policy)").partition(" ")
    policies = ["root"] if access.root else sorted({"default", *access.granted.split(",")} - {""})
    auth: dict[str, Any] = {"accessor": _accessor(access.login), "display_name": shown, "policies": policies}
    if access.action != LOGIN:
        auth["policy_results"] = _results(access)
    entity = {} if access.root else {"entity_id": str(uuid5(NAMESPACE_URL, access.principal))}
    return auth | entity | ({"metadata": {"role_name": role}} if role else {})


def _results(access: Access) -> dict[str, Any]:
    granting = [{"name": access.granted, "namespace_id": "root", "type": "acl"}] if access.granted else []
    return {"allowed": True, "granting_policies": granting} if granting else {"allowed": False}


def hashed(text: str) -> str:
    """What a device writes in place of a text."""
    return f"hmac-sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _accessor(login: str) -> str:
    """So that a reader tells logins apart by the same letters."""
    return f"hmac-sha256:{login}{hashlib.sha256(login.encode()).hexdigest()[len(login) :]}"


def _time(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "000Z")
