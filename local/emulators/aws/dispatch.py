"""moto's way from a request to the service that answers it, without what it looks up anew for each request."""

from functools import cache
from typing import Any

from moto.core import responses
from moto.core.utils import method_names_from_class
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app


class Dispatcher(DomainDispatcherApplication):
    """Knows which service a host stands for: moto looks through the directories of all its services."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self._of_host = cache(super().get_backend_for_host)

    def get_backend_for_host(self, host: str | None) -> Any:
        """The service's name; None for no host, and for one that is no service's."""
        return self._of_host(host)


def install() -> None:
    """Keep what moto finds out about its own classes; call it before the first request."""
    responses.method_names_from_class = cache(method_names_from_class)  # type: ignore[attr-defined]
