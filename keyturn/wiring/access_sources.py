"""The access logs that a catalogue declares, opened as sources; what a kind needs is imported with its first one.

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
    """Where the secrets lie in the hub, as its audit log names it."""
    mount, namespace = env.get("KEYTURN_HUB_MOUNT") or "secret", env.get("VAULT_NAMESPACE", "")
    return AuditMount(mount, namespace, dict(catalogue.mount_paths))


def read_here(catalogue: Catalogue, directory: Path) -> dict[str, str]:
    """The access logs that are read on this machine: the name that each one's source is known by, and the log's own.

    They are the same; of a log that each machine has for itself, the name of what lies in ``directory`` of this one is
    behind it. Raises Unavailable where that can't be made.
    """
    return {
        f"{name}-{LineSpool(directory / name).name}" if settings.LOCAL else name: name
        for name, settings in catalogue.access_logs.items()
        if settings.machine in (None, socket.gethostname())
    }


def store_copies(catalogue: Catalogue) -> list[StoreCopies]:
    """The stores of the catalogue, and the copies in each whose names it tells."""
    paths: dict[str, dict[str, str]] = {name: {} for name in catalogue.stores}
    for path in catalogue.secrets:
        for place in plain_places(catalogue, path):
            paths[place.store][place.name] = path
    return [StoreCopies(name, catalogue.stores[name].system, paths[name]) for name in paths]


class _CopiesOf:
    """The copies of whichever catalogue counts now, looked up anew where that is another."""

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
    """The source of one access log. Nothing is asked or listened for before it is read.

    ``current`` gives the catalogue as it is by then: what it declares later is found among the copies, too.

    Raises NotFound where the catalogue does not declare it, and Invalid, naming the extra, where its SDK is missing.
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
    """What takes the accesses that applications post; None where the catalogue lets nobody post on this machine.

    The keys are read when somebody posts.
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
