"""What runs import: all flows, the adapters of each target and store whose SDK is there, and what those import late.

For :mod:`keyturn.project.nursery`, which imports it once for all runs.
"""

import inspect
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Final

from pydantic import BaseModel

from keyturn.catalogue.files.explain import SHAPES, adapter_of
from keyturn.catalogue.stores import STORE_KINDS
from keyturn.project import FLOWS
from keyturn.settings.fields import Model
from keyturn.wiring.registry import TARGETS

OWN: Final = (
    "keyturn.project.runs.begin",
    "keyturn.providers.vault.hub",
    "keyturn.providers.http.webhook",
    *FLOWS.values(),
)
"""Imported by a run in any case, or soon."""

LATE: Final = (
    "anyio._backends._asyncio",
    "prefect._internal.observers",
    "prefect._vendor.croniter",
    "kubernetes.config",
    "azure.core.rest._requests_basic",
    "azure.core.rest._http_response_impl",
    "msal_extensions",
    "google.protobuf.json_format",
    "google.rpc.error_details_pb2",
    "google.iam.v1.policy_pb2",
    "proto",
    "sqlite3",
    "keyturn.ledger.storage.group_commit",
    "keyturn.providers.ledger.sqlite",
    "keyturn.catalogue.consumers.http",
    "keyturn.strategies.generated",
)
"""What others import when it is first used, and takes its time: what reads a kubeconfig more than half a second."""

MODELS: Final = ("objects", "responses", "actions", "filters")
"""Where Prefect's client has its models, which Pydantic completes when one is first used."""

GRPC: Final = "keyturn.providers.gcp."
"""Adapters that import gRPC, which does not bear to be forked: a run that needs one imports it."""


def preload() -> None:
    """Import it all; what is not installed is left out."""
    for module in OWN:
        import_module(module)
    for module in (*adapter_modules(), *LATE):
        if not module.startswith(GRPC):
            with suppress(ModuleNotFoundError):
                import_module(module)
    for name in MODELS:
        complete_models(f"prefect.client.schemas.{name}")
    complete_own_models()
    with suppress(ModuleNotFoundError):
        import_module("keyturn.providers.aws.client").load_descriptions()


def adapter_modules() -> Iterator[str]:
    """The modules of all adapters of targets and stores."""
    yield from (module for module, _, _ in TARGETS.values())
    yield from (settings.ADAPTER.partition(":")[0] for settings in STORE_KINDS.values())


def complete_models(module: str) -> None:
    """Let Pydantic build the validators of a module's own models."""
    for _, model in inspect.getmembers(import_module(module), inspect.isclass):
        if issubclass(model, BaseModel) and model.__module__ == module:
            model.model_rebuild()


def complete_own_models() -> None:
    """The same for what a catalogue is read with, which is built when it is first used."""
    for model in kinds_of(Model):
        model.model_rebuild()
    for section in SHAPES:
        adapter_of(section)


def kinds_of(model: type[Model]) -> Iterator[type[Model]]:
    """All models that build on this one and are imported."""
    for kind in model.__subclasses__():
        yield kind
        yield from kinds_of(kind)
