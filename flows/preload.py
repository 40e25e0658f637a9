"""What runs import: all flows, and the adapters of every target and store whose SDK is installed.

For :mod:`keyturn.project.nursery`, which imports it once for all runs.
"""

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Final

from keyturn.catalogue.stores import STORE_KINDS
from keyturn.project import FLOWS
from keyturn.providers.registry import TARGETS

ALWAYS: Final = ("flows.begin", "keyturn.providers.vault.hub", "keyturn.providers.http.webhook", *FLOWS.values())
"""Imported by a run in any case, or soon."""

GRPC: Final = "keyturn.providers.gcp."
"""Adapters that import gRPC, which does not bear to be forked: a run that needs one imports it."""


def preload() -> None:
    """Import it all; what is not installed is left out."""
    for module in ALWAYS:
        import_module(module)
    for module in adapter_modules():
        if not module.startswith(GRPC):
            with suppress(ModuleNotFoundError):
                import_module(module)


def adapter_modules() -> Iterator[str]:
    """The modules of all adapters of targets and stores."""
    yield from (module for module, _, _ in TARGETS.values())
    yield from (settings.ADAPTER.partition(":")[0] for settings in STORE_KINDS.values())
