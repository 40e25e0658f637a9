"""Imports everything that runs need, once for all runs of a nursery."""

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
"""Modules that others import late and slowly."""

MODELS: Final = ("objects", "responses", "actions", "filters")

GRPC: Final = "keyturn.providers.gcp."
"""These import gRPC, which does not survive a fork."""


def preload() -> None:
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
    yield from (module for module, _, _ in TARGETS.values())
    yield from (settings.ADAPTER.partition(":")[0] for settings in STORE_KINDS.values())


def complete_models(module: str) -> None:
    """Make Pydantic build the validators of a module's models."""
    for _, model in inspect.getmembers(import_module(module), inspect.isclass):
        if issubclass(model, BaseModel) and model.__module__ == module:
            model.model_rebuild()


def complete_own_models() -> None:
    for model in kinds_of(Model):
        model.model_rebuild()
    for section in SHAPES:
        adapter_of(section)


def kinds_of(model: type[Model]) -> Iterator[type[Model]]:
    for kind in model.__subclasses__():
        yield kind
        yield from kinds_of(kind)
