"""The audit lines of Vault and OpenBao: which request to which secret they tell of. Names only, never values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def entry(line: bytes) -> dict[str, Any]:
    """The line's content. Raises ValueError for what is no audit line."""
    try:
        said = json.loads(line)
    except RecursionError:
        # A request may nest as deep as the hub takes it.
        raise ValueError("is nested too deep") from None
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        raise ValueError("is no audit line")
    return said


@dataclass(frozen=True)
class AuditMount:
    """One KV v2 mount of one namespace, as the lines name it.

    The path of a request stands in clear in them. Source: "Audit devices" of Vault and of OpenBao.
    """

    mount: str
    namespace: str = ""

    def place(self, request: Mapping[str, Any]) -> tuple[str, str] | None:
        """What kind of thing was asked for ("data", "metadata"), and of which secret; None for any other request."""
        told = request.get("namespace")
        namespace = told.get("path") if isinstance(told, dict) else ""
        if str(namespace or "").strip("/") != self.namespace.strip("/"):
            return None
        before, mount, rest = str(request.get("path", "")).partition(f"{self.mount.strip('/')}/")
        kind, _, path = rest.partition("/")
        return (kind, path) if not before and mount and path and not path.endswith("/") else None
