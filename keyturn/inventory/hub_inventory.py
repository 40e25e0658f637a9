"""The content of the hub: paths with digests of their fields, and unreadable places."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.core.mounts import join
from keyturn.core.ports.hub import Hub, VersionState
from keyturn.core.ports.stores import MANAGED_BY, TAG_MANAGED_BY
from keyturn.inventory.values import Digests, Held
from keyturn.rotation.state.context import side_by_side

AT_ONCE: Final = 16
MOST_PATHS: Final = 20_000
"""Maximum number of paths in one inventory."""
MOST_OLDER: Final = 10
"""The number of older versions that a copy is compared with."""

MOUNTS: Final = "sys/internal/ui/mounts"
NAMESPACES: Final = "sys/namespaces"

Say = Callable[[str], None]


@dataclass(frozen=True)
class PathSecret:
    """A secret of the hub without its values; ``custom`` is its custom metadata."""

    path: str
    version: int
    held: Held
    custom: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Unread:
    """A place that could not be read, and why. It may exist."""

    name: str
    why: str


@dataclass(frozen=True)
class HubInventory:
    """The content of a hub; ``without_value`` are paths whose newest version is deleted or destroyed.

    ``beyond`` are the hub's other mounts and namespaces, which were not read, with advice on each.
    """

    secrets: tuple[PathSecret, ...]
    unread: tuple[Unread, ...] = ()
    without_value: tuple[Unread, ...] = ()
    beyond: tuple[Unread, ...] = ()


def take_hub_inventory(hub: Hub, digests: Digests, below: Collection[str], say: Say) -> HubInventory:
    """Return every secret in the hub's mounts, or in the folders ``below``. Writes nothing.

    Places that can't be read are part of the result. Raises the error that prevents any reading.
    """
    beyond = list(look_beyond(hub))
    paths, unread = list_paths(hub, below)
    say(f"the hub has {len(paths)} paths")
    answers = side_by_side(lambda path: read_path(hub, digests, path), paths, AT_ONCE)
    secrets = [secret for secret in answers if isinstance(secret, PathSecret)]
    own = {secret.path for secret in secrets if secret.custom.get(TAG_MANAGED_BY) == MANAGED_BY}
    refused = [answer.refused for answer in answers if isinstance(answer, _Without) and answer.refused]
    gone = [answer.gone for answer in answers if isinstance(answer, _Without) and answer.gone]
    say(f"read {len(secrets)} of them")
    others = tuple(secret for secret in secrets if secret.path not in own)
    return HubInventory(others, (*unread, *refused), tuple(gone), tuple(beyond))


@dataclass(frozen=True)
class _Without:
    refused: Unread | None = None
    gone: Unread | None = None


def list_paths(hub: Hub, below: Collection[str]) -> tuple[list[str], list[Unread]]:
    paths, unread = list[str](), list[Unread]()
    roots = list(below) or ["", *(join(name, "") for name in hub.mounts)]
    folders = [(root if not root or root.endswith((":", "/")) else f"{root}/") for root in roots]
    while folders:
        folder = folders.pop()
        try:
            names = sorted(hub.setup().names(hub.address("metadata", folder)))
        except KeyturnError as error:
            unread.append(Unread(folder or f"{hub.mount}/", f"it could not be listed: {error.problem}"))
            if not (paths or folders):
                raise
            continue
        folders += [folder + name for name in names if name.endswith("/")]
        paths += [folder + name for name in names if not name.endswith("/")]
        if len(paths) > MOST_PATHS:
            why = f"it has more than {MOST_PATHS:,} paths, and the others were not looked at: give --below FOLDER"
            return sorted(paths[:MOST_PATHS]), [*unread, Unread(f"{hub.mount}/", why)]
    if below and not (paths or unread):
        hint = "Name folders of the hub, such as ml-training; one of another mount as NAME:FOLDER"
        raise NotFound("look below", ", ".join(below), "the hub has nothing there", hint)
    return sorted(paths), unread


def read_path(hub: Hub, digests: Digests, path: str) -> "PathSecret | _Without":
    try:
        if (current := hub.read(path)) is not None:
            return PathSecret(path, current.version, digests.held(current.fields), current.custom)
        info = hub.describe(path)
    except KeyturnError as error:
        return _Without(refused=Unread(path, f"it could not be read: {error.problem}"))
    if info is None or info.newest is None:
        return _Without(gone=Unread(path, "it has no version"))
    return _Without(gone=Unread(path, f"its newest version, {info.version}, is {info.newest.state}"))


def older_versions(hub: Hub, digests: Digests, path: str) -> Iterator[tuple[int, Held]]:
    """Yield the readable versions before the newest, in descending order."""
    try:
        info = hub.describe(path)
    except KeyturnError:
        return  # the comparison then finds no older version
    earlier = info.versions[:-1] if info else ()
    readable = [v.version for v in earlier if v.state is VersionState.READABLE]
    for version in readable[: -MOST_OLDER - 1 : -1]:
        try:
            secret = hub.read(path, version)
        except KeyturnError:
            continue
        if secret is not None:
            yield version, digests.held(secret.fields)


def look_beyond(hub: Hub) -> Iterator[Unread]:
    """Yield the hub's KV mounts and namespaces that are not read. Raises Invalid for a mount that is not KV v2.

    A missing mount, or one of KV v1, would answer like an empty one.
    """
    mounts = {hub.mount.strip("/"), hub.state_mount.strip("/"), *(path.strip("/") for path in hub.mounts.values())}
    present = _mounts(hub)
    if present and hub.mount.strip("/") not in present:
        problem = "the hub has no such mount, or lets this login do nothing in it"
        raise Invalid("look into", f"{hub.mount}/", problem, "Set KEYTURN_HUB_MOUNT to the mount of your secrets")
    for path, mount in sorted(present.items()):
        if mount.get("type") not in ("kv", "generic"):
            continue
        old = (mount.get("options") or {}).get("version") != "2"
        if path == hub.mount.strip("/") and old:
            raise Invalid(
                "look into", f"{path}/", "it is KV version 1, and Keyturn needs version 2", UPGRADE.format(path)
            )
        if path not in mounts:
            why = (
                "it is KV version 1: " + UPGRADE if old else "a KV mount that was not looked into: give --mount NAME={}"
            )
            yield Unread(f"{path}/", why.format(path))
    yield from _namespaces(hub)


UPGRADE: Final = "upgrade it with `vault kv enable-versioning {}`"


def _mounts(hub: Hub) -> dict[str, Mapping[str, Any]]:
    try:
        answer = hub.setup().look(MOUNTS) or {}
    except Denied:
        return {}
    return {path.strip("/"): mount for path, mount in (answer.get("secret") or {}).items()}


def _namespaces(hub: Hub) -> Iterator[Unread]:
    try:
        names = sorted(hub.setup().names(NAMESPACES))
    except KeyturnError as error:
        why = f"not checked whether it has some ({error.problem}): look into each with VAULT_NAMESPACE=NAME"
        yield Unread("namespaces", why)
        return
    for name in names:
        yield Unread(name, f"a separate namespace: list it with VAULT_NAMESPACE={name.rstrip('/')}")
