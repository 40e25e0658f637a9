"""Opens the catalogue's access logs as sources; each kind's dependencies are imported on first use.

source = open_source(catalogue, "node-1", sources_directory(os.environ))
door = open_door(catalogue, sources_directory(os.environ), hub)
"""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.access_log.sources.line_spool import LineSpool
from keyturn.access_log.sources.without_records import WithoutRecords
from keyturn.catalogue import Catalogue
from keyturn.catalogue.access_logs.posted import PostedSettings, key_entry
from keyturn.catalogue.spreading import plain_places
from keyturn.client.webhooks.keys import HubKeys
from keyturn.core.ports.access_source import AccessSource, SourceOpening, StoreCopies
from keyturn.core.ports.hub import StatePort
from keyturn.core.text.audit_lines import AuditMount
from keyturn.wiring.registry import import_adapter

if TYPE_CHECKING:
    from keyturn.access_log.sources.post_door import PostDoor


def audit_mount(catalogue: Catalogue, env: Mapping[str, str] = os.environ) -> AuditMount:
    """The secrets' mount, as the hub's audit log names it."""
    mount, namespace = env.get("KEYTURN_HUB_MOUNT") or "secret", env.get("VAULT_NAMESPACE", "")
    return AuditMount(mount, namespace, dict(catalogue.mount_paths))


def read_here(catalogue: Catalogue, directory: Path) -> dict[str, str]:
    """The access logs read on this machine: source name to log name.

    Where each machine has its own log, the source name ends with the spool's name in ``directory``. Raises Unavailable
    where that can't be made.
    """
    return {
        f"{name}-{LineSpool(directory / name).name}" if settings.LOCAL else name: name
        for name, settings in catalogue.access_logs.items()
        if settings.machine in (None, socket.gethostname())
    }


def store_copies(catalogue: Catalogue) -> list[StoreCopies]:
    """The stores of the catalogue, and their copies with known names."""
    paths: dict[str, dict[str, str]] = {name: {} for name in catalogue.stores}
    for path in catalogue.secrets:
        for place in plain_places(catalogue, path):
            paths[place.store][place.name] = path
    return [StoreCopies(name, catalogue.stores[name].system, paths[name]) for name in paths]


class _CopiesOf:
    """The copies in the current catalogue, computed again when it changes."""

    def __init__(self, current: Callable[[], Catalogue]) -> None:
        self._current = current
        self._catalogue: Catalogue | None = None
        self._copies: list[StoreCopies] = []

    def __call__(self) -> list[StoreCopies]:
        if (catalogue := self._current()) is not self._catalogue:
            self._catalogue, self._copies = catalogue, store_copies(catalogue)
        return self._copies


def open_source(
    catalogue: Catalogue,
    name: str,
    directory: Path,
    env: Mapping[str, str] = os.environ,
    current: Callable[[], Catalogue] | None = None,
) -> AccessSource:
    """The source of one access log. It connects or listens only when read.

    ``current`` gives the current catalogue, so copies declared later are found. Raises NotFound for an undeclared log,
    and Invalid, naming the extra, where its SDK is missing.
    """
    settings = catalogue.access_log(name)
    module, _, adapter = settings.ADAPTER.partition(":")
    arguments = {key: value for key, value in settings if key not in settings.OWN}
    source_class = import_adapter(module, adapter, settings.EXTRA, f"the access log {name}")
    opening = SourceOpening(
        name,
        settings.pace.total_seconds(),
        audit_mount(catalogue, env),
        str(directory / name),
        _CopiesOf(current or (lambda: catalogue)),
    )
    source: AccessSource = source_class(opening, **arguments)
    return source if settings.keep_malformed else WithoutRecords(source)


def open_door(catalogue: Catalogue, directory: Path, hub: StatePort) -> "PostDoor | None":
    """The receiver of accesses that applications post; None without posters on this machine.

    It reads the keys at each post.
    """
    from keyturn.access_log.sources.post_door import PostDoor, PostedLog, Poster

    def poster(log: str, name: str, principal: str | None) -> Poster:
        return Poster(principal or name, HubKeys(hub, key_entry(log, name)))

    logs = [
        PostedLog(
            log, directory / log, {name: poster(log, name, named.principal) for name, named in settings.posters.items()}
        )
        for log, settings in catalogue.access_logs.items()
        if isinstance(settings, PostedSettings) and settings.machine in (None, socket.gethostname())
    ]
    return PostDoor(logs) if logs else None
