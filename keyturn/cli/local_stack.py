"""The local stack as the commands use it. Its distribution, `keyturn-local`, is loaded by name."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from keyturn.core.errors import Invalid
from keyturn.project import project_module

PACKAGE: Final = "local"
SERVICE_COLUMNS: Final = ("service", "state", "address", "pid")

FOREIGN: Final = (
    *("VAULT_", "BAO_", "PREFECT_", "AWS_", "AZURE_", "GOOGLE_"),
    *("CLOUDSDK_", "IDENTITY_", "KUBE", "KEYTURN_"),
)
"""Prefixes of variables that could point a process of the stack to a real hub or cloud."""


class LocalStack(Protocol):
    """A local stack, running or not."""

    @property
    def home(self) -> Path:
        """The stack's directory."""

    @property
    def hub(self) -> Any:
        """The hub: ``address`` and ``process``, whose ``pid`` is None if it does not run."""


class StackService(Protocol):
    """One service of the stack. ``pid`` is None if it does not run."""

    @property
    def name(self) -> str:
        """The service's name."""

    @property
    def pid(self) -> int | None:
        """The process id."""

    @property
    def log(self) -> Path:
        """The log file."""

    @property
    def running(self) -> bool:
        """Whether the process exists."""

    @property
    def address(self) -> str | None:
        """The listening address."""


def load_local(module: str) -> ModuleType:
    """Import a module of the local stack. Raises Invalid if `keyturn-local` is not installed."""
    try:
        return project_module(f"{PACKAGE}.{module}")
    except ModuleNotFoundError as error:
        if error.name not in (PACKAGE, f"{PACKAGE}.{module}"):
            raise
        remedy = "Install it: pip install 'keyturn[local]'"
        raise Invalid("use", "the local stack", "the package keyturn-local is not installed", remedy) from None


def services_of(stack: LocalStack) -> list[StackService]:
    services: list[StackService] = load_local("stack").status(stack.home)
    return services


def service_row(service: StackService) -> tuple[str, str, str, str]:
    return service.name, "running" if service.running else "stopped", service.address or "-", str(service.pid or "-")


def stack_data(stack: LocalStack, services: Sequence[StackService]) -> dict[str, Any]:
    listed = [
        {
            "name": service.name,
            "running": service.running,
            "address": service.address,
            "pid": service.pid,
            "log": str(service.log),
        }
        for service in services
    ]
    return {"home": str(stack.home), "services": listed}
