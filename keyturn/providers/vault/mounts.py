"""The hub's KV mounts of secrets, checked to be KV v2."""

import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from keyturn.core.errors import Denied, Invalid
from keyturn.core.mounts import DEFAULT, join, split, undeclared
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.listing import VaultListing, describe_below

LASTS: Final = 5.0


class KvMount:
    """The mount at ``path``; its secrets' names begin with ``name`` and a colon unless that is empty.

    An absent mount, or KV v1, answers like an empty one. So ``guarded`` checks it before first use, and again when
    nothing is found. The check raises Invalid or Denied.
    """

    def __init__(self, calls: Calls, path: str, name: str = "", *, guarded: bool = False) -> None:
        self.path = path
        self.name = name
        self._calls = calls
        self._listing = VaultListing(calls, path, path)
        self._sound_until = float("-inf") if guarded else float("inf")
        self._asked = not guarded

    def url(self, kind: str, path: str) -> str:
        return f"{self.path}/{kind}/{path}"

    def opened(self) -> "KvMount":
        if not self._asked:
            self._insist()
        return self

    def nothing_found(self) -> None:
        if time.monotonic() >= self._sound_until:
            self._insist()

    def below(self, prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """By whole name, with metadata; ``prefix`` is within this mount."""
        any_found = False
        for path, metadata in describe_below(self._calls, self.path, prefix):
            any_found = True
            yield join(self.name, path), metadata
        if not any_found:
            self.nothing_found()

    def of(self, paths: Collection[str]) -> dict[str, Mapping[str, Any]]:
        described = {join(self.name, path): metadata for path, metadata in self._listing.of(paths)}
        if len(described) < len(set(paths)):
            self.nothing_found()
        return described

    def _insist(self) -> None:
        called = f"mount {self.name or DEFAULT} ({self.path})"
        try:
            mount = self._calls.data("use", called, f"sys/internal/ui/mounts/{self.path}") or {}
        except Denied:
            problem = "the hub has no such mount, or lets this login do nothing in it"
            hint = f"Check its path under mounts, and give this identity's policy {self.path}/data/* and"
            hint += f" {self.path}/metadata/*: `keyturn setup hub --apply` does"
            raise Denied("use", called, problem, hint) from None
        if (path := str(mount.get("path", "")).strip("/")) != self.path.strip("/"):
            problem = f"it is a folder of the mount {path}" if path else "the hub has no such mount"
            raise Invalid(
                "use", called, problem, "Name the mount itself under mounts, as `vault secrets list` shows it"
            )
        if mount.get("type") not in ("kv", "generic") or (mount.get("options") or {}).get("version") != "2":
            what = "it is KV version 1" if mount.get("type") == "kv" else "it is no KV mount"
            hint = f"Upgrade it with `vault kv enable-versioning {self.path}`, or name another under mounts"
            raise Invalid("use", called, f"{what}, and Keyturn needs version 2", hint)
        self._asked, self._sound_until = True, time.monotonic() + LASTS


class KvMounts:
    def __init__(self, calls: Calls, default: str, others: Mapping[str, str]) -> None:
        self.others = dict(others)
        self._of = {"": KvMount(calls, default, guarded=bool(others))}
        self._of |= {name: KvMount(calls, path, name, guarded=True) for name, path in others.items()}

    def at(self, path: str) -> tuple[KvMount, str]:
        """The mount of a secret, and its path in it. Raises Invalid for an undeclared mount."""
        mount, within = split(path)
        if mount not in self._of:
            raise undeclared(mount, self.others, path)
        return self._of[mount].opened(), within

    def look_at(self, path: str) -> tuple[KvMount, str]:
        """For reading: an undeclared mount's name may be part of a path in the default mount."""
        mount, within = split(path, self.others)
        return self._of[mount].opened(), within

    def absent(self, path: str, mount: KvMount) -> None:
        mount.nothing_found()
        self.at(path)

    def below(self, prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """By whole name, without names that would mean another mount."""
        mount, within = self.at(prefix)
        named = mount.below(within)
        yield from (
            named if mount.name else ((path, metadata) for path, metadata in named if not split(path, self.others)[0])
        )

    def of(self, paths: Collection[str]) -> dict[str, Mapping[str, Any]]:
        groups: dict[KvMount, list[str]] = {}
        for path in paths:
            mount, within = self.look_at(path)
            groups.setdefault(mount, []).append(within)
        return {path: metadata for mount, within in groups.items() for path, metadata in mount.of(within).items()}


def insist_on_apart(default: str, state: str, others: Mapping[str, str]) -> None:
    """Raises Invalid if two mounts share a path, or one is Keyturn's own."""
    taken = {default.strip("/"): "is the default mount already", state.strip("/"): "holds Keyturn's own state"}
    for name, path in others.items():
        if why := taken.get(path.strip("/")):
            raise Invalid("use", f"mount {name}", f"{path} {why}", "Name another under mounts, or remove it there")
        taken[path.strip("/")] = f"is the mount {name} already"
