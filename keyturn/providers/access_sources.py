"""The access logs that a catalogue declares, opened as sources; what a kind needs is imported with its first one.

for name, source in open_sources(catalogue, sources_directory(os.environ), os.environ).items(): ...
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from keyturn.catalogue import Catalogue
from keyturn.catalogue.access_logs import AccessLogSettings
from keyturn.catalogue.spreading import plain_places
from keyturn.core.access_source import AccessSource, SourceOpening, StoreCopies
from keyturn.core.audit_lines import AuditMount
from keyturn.providers.registry import import_adapter
from keyturn.settings.directories import state_directory

VARIABLE: Final = "KEYTURN_ACCESS_LOGS"
"""The directory in which sources keep what they have received, and what of it could not be read."""


def sources_directory(env: Mapping[str, str] = os.environ) -> Path:
    """Where sources keep files of their own on this machine. Raises Invalid where nothing says where."""
    named = env.get(VARIABLE)
    return Path(named).expanduser() if named else state_directory() / "access-logs"


def audit_mount(catalogue: Catalogue, env: Mapping[str, str] = os.environ) -> AuditMount:
    """Where the secrets lie in the hub, as its audit log names it."""
    return AuditMount(
        env.get("KEYTURN_HUB_MOUNT") or "secret", env.get("VAULT_NAMESPACE", ""), dict(catalogue.mount_paths)
    )


def open_sources(catalogue: Catalogue, directory: Path, env: Mapping[str, str] = os.environ) -> dict[str, AccessSource]:
    """The access logs of the catalogue that are read on this machine, by the names that they have in it.

    Nothing is asked or listened for before a source is read. Raises Invalid, naming the extra, where an SDK is missing.
    """
    machine = socket.gethostname()
    stores = cache(lambda: store_copies(catalogue))
    return {
        name: open_source(name, settings, audit_mount(catalogue, env), directory / name, stores)
        for name, settings in catalogue.access_logs.items()
        if settings.machine in (None, machine)
    }


def store_copies(catalogue: Catalogue) -> list[StoreCopies]:
    """The stores of the catalogue, and the copies in each whose names it tells."""
    paths: dict[str, dict[str, str]] = {name: {} for name in catalogue.stores}
    for path in catalogue.secrets:
        for place in plain_places(catalogue, path):
            paths[place.store][place.name] = path
    return [StoreCopies(name, catalogue.stores[name].system, paths[name]) for name in paths]


def open_source(
    name: str,
    settings: AccessLogSettings,
    mount: AuditMount,
    directory: Path,
    stores: Callable[[], Sequence[StoreCopies]] = tuple,
) -> AccessSource:
    """The source of one access log. Raises Invalid, naming the extra, where its SDK is not installed."""
    module, _, adapter = settings.ADAPTER.partition(":")
    arguments = {key: value for key, value in settings if key not in settings.OWN}
    opening = SourceOpening(name, settings.pace.total_seconds(), mount, str(directory), stores)
    source: AccessSource = import_adapter(module, adapter, settings.EXTRA, f"the access log {name}")(
        opening, **arguments
    )
    return source
