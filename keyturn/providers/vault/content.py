"""All that a hub holds for Keyturn, for backups: its KV mounts and its transit engine's keys."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from keyturn.core.errors import Denied, Invalid, Taken, Unavailable
from keyturn.core.ports.backups import KeptVersion, ListedEntry, TransitKeyInfo, mount_name
from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.mounts import KvMount

SETTINGS: Final = ("max_versions", "cas_required", "delete_version_after", "custom_metadata")
KV: Final = frozenset({"kv", "generic"})
READY_TRIES: Final = 100
READY_PAUSE: Final = 0.1


@reads_answers("the hub")
class VaultContent:
    """:class:`keyturn.core.ports.backups.HubContent` of a Vault or OpenBao."""

    def __init__(self, calls: Calls, address: str, areas: Mapping[str, str], transit: str) -> None:
        self._calls = calls
        self._transit = transit
        self.address = address
        self.areas = areas

    def listed(self, area: str) -> Iterator[ListedEntry]:
        mount = KvMount(self._calls, self.areas[area], mount_name(area), guarded=True).opened()
        begin = f"{mount.name}:" if mount.name else ""
        for path, metadata in mount.below(""):
            yield _listed(area, path.removeprefix(begin), metadata)

    def find(self, area: str, path: str) -> ListedEntry | None:
        metadata = self._calls.data("read", self._name(area, path), self._url(area, "metadata", path))
        return None if metadata is None else _listed(area, path, metadata)

    def read(self, area: str, path: str, version: int) -> KeptVersion | None:
        url = self._url(area, "data", path)
        body = self._calls.data("read", self._name(area, path), url, {"version": version})
        if body is None:
            return None
        return KeptVersion(int(body["metadata"]["version"]), dict(body["data"]), body["metadata"]["created_time"])

    def write(self, area: str, path: str, fields: Mapping[str, Any], *, cas: int) -> int:
        body = {"options": {"cas": cas}, "data": dict(fields)}
        answer = self._calls.post("restore", self._name(area, path), self._url(area, "data", path), body)
        return int(answer.json()["data"]["version"])

    def destroy(self, area: str, path: str, versions: Sequence[int]) -> None:
        if versions:
            body = {"versions": list(versions)}
            self._calls.post("restore", self._name(area, path), self._url(area, "destroy", path), body)

    def settle(self, area: str, path: str, metadata: Mapping[str, Any]) -> None:
        body = {name: metadata[name] for name in SETTINGS if metadata.get(name) is not None}
        self._calls.post("restore", self._name(area, path), self._url(area, "metadata", path), body)

    def remove(self, area: str, path: str) -> None:
        self._calls.delete("remove", self._name(area, path), self._url(area, "metadata", path))

    def other_mounts(self) -> Sequence[str]:
        """The KV mounts outside the areas; version 1 is marked."""
        answer = self._calls.get("look for", "other mounts", "sys/mounts")
        areas = {path.strip("/") for path in self.areas.values()}
        mounts: Mapping[str, Any] = answer.json()["data"]
        listed = {path.strip("/"): about for path, about in mounts.items() if about.get("type") in KV}
        return [_named_mount(path, about) for path, about in sorted(listed.items()) if path not in areas]

    def transit_keys(self) -> Sequence[TransitKeyInfo]:
        names = self._calls.list(f"{self._transit}/keys", f"{self._transit}/keys")
        return [self._about_key(name) for name in names]

    def export_key(self, name: str) -> Sensitive:
        answer = self._calls.get("back up", f"{self._transit}/keys/{name}", f"{self._transit}/backup/{name}")
        return Sensitive(str(answer.json()["data"]["backup"]))

    def import_key(self, name: str, backup: Sensitive) -> None:
        path = f"{self._transit}/restore/{name}"
        self._calls.post("restore", f"{self._transit}/keys/{name}", path, {"backup": backup.reveal()})

    def has_mount(self, area: str) -> bool:
        """A denial counts as absent, because a restoring login has all rights."""
        return self._has_mount(self.areas[area], mount_name(area))

    def is_mounted(self, path: str) -> bool:
        return self._has_mount(path, path)

    def _has_mount(self, path: str, name: str) -> bool:
        try:
            KvMount(self._calls, path, name, guarded=True).opened()
        except Denied:
            return False
        except Invalid as error:
            if "no such mount" in error.problem:
                return False
            raise
        return True

    def make_mount(self, area: str) -> None:
        """Waits until the mount is ready. Raises Unavailable if it never is."""
        path = self.areas[area]
        if self.has_mount(area):
            return
        body = {"type": "kv", "options": {"version": "2"}}
        self._calls.post("make the mount", path, f"sys/mounts/{path}", body)
        for _ in range(READY_TRIES):
            try:
                self._calls.list(path, f"{path}/metadata/")
            except (Unavailable, Invalid):
                time.sleep(READY_PAUSE)
            else:
                return
        raise Unavailable("make the mount", path, "the hub does not get it ready", "Run it again: it continues")

    def make_transit(self) -> None:
        try:
            self._calls.post("make the mount", self._transit, f"sys/mounts/{self._transit}", {"type": "transit"})
        except Taken:
            return

    def unmount_transit(self) -> None:
        self._calls.delete("remove the mount", self._transit, f"sys/mounts/{self._transit}")

    def unmount(self, area: str) -> None:
        self._calls.delete("remove the mount", self.areas[area], f"sys/mounts/{self.areas[area]}")

    def now(self) -> datetime:
        if (at := self._calls.now()) is None:
            self._calls.find("ask for the time of", "the hub", "auth/token/lookup-self")
            at = self._calls.now()
        return at or datetime.now(UTC)

    def close(self) -> None:
        self._calls.close()

    def _about_key(self, name: str) -> TransitKeyInfo:
        about = self._calls.data("read", f"{self._transit}/keys/{name}", f"{self._transit}/keys/{name}") or {}
        gives = bool(about.get("exportable") and about.get("allow_plaintext_backup"))
        return TransitKeyInfo(name, gives, _digest({**about, "name": name}))

    def _url(self, area: str, kind: str, path: str) -> str:
        return f"{self.areas[area]}/{kind}/{path}"

    def _name(self, area: str, path: str) -> str:
        return f"{self.areas[area]}/{path}"


def _named_mount(path: str, about: Mapping[str, Any]) -> str:
    version = (about.get("options") or {}).get("version")
    return path if version == "2" else f"{path} (KV version 1)"


def _listed(area: str, path: str, metadata: Mapping[str, Any]) -> ListedEntry:
    return ListedEntry(area, path, _digest(metadata), metadata)


def _digest(metadata: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
