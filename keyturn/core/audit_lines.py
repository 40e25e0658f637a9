"""The audit lines of Vault and OpenBao: which request to which secret they tell of. Names only, never values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.core.mounts import join, split


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
    """The KV v2 mounts of one namespace that hold secrets, as the lines name them.

    ``others`` are those beside ``mount``, by the names that stand before their paths. The path of a request stands in
    clear in the lines. Source: "Audit devices" of Vault and of OpenBao.
    """

    mount: str
    namespace: str = ""
    others: Mapping[str, str] = field(default_factory=dict)

    def place(self, request: Mapping[str, Any]) -> tuple[str, str] | None:
        """What kind of thing was asked for ("data", "metadata"), and of which secret; None for any other request."""
        told = request.get("namespace")
        namespace = told.get("path") if isinstance(told, dict) else ""
        if str(namespace or "").strip("/") != self.namespace.strip("/"):
            return None
        asked = str(request.get("path", ""))
        return next((place for name, mount in self.named if (place := self._within(asked, name, mount))), None)

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """Each mount with its name, which is empty for the default one."""
        return ("", self.mount), *self.others.items()

    def _within(self, asked: str, name: str, mount: str) -> tuple[str, str] | None:
        """What a request for ``asked`` means in one mount; None where it is not of that one."""
        before, found, rest = asked.partition(f"{mount.strip('/')}/")
        kind, _, path = rest.partition("/")
        if before or not found or not path or path.endswith("/"):
            return None
        # In the default mount, what looks like another one's can't be told from that.
        return (kind, join(name, path)) if name or not split(path, self.others)[0] else None
