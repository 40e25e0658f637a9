"""The Prefect server that a command uses."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyturn.cli.environment import known_stack
from keyturn.core.errors import Invalid, Unavailable
from keyturn.settings.prefect import PrefectSettings, hidden, read_settings

if TYPE_CHECKING:
    from prefect.settings import Settings

LOCAL: Final = "or run it here without Prefect: add --local"


def insist_on_prefect(instead: str = f", {LOCAL}") -> PrefectSettings:
    """Return the server's settings. Raises Invalid or Unavailable without one; ``instead`` is part of the remedy."""
    settings = prefect_settings()
    if settings.url:
        return settings
    if stopped := known_stack():
        problem = f"the local stack in {stopped.home} does not run"
        remedy = "Run `keyturn up`, or set PREFECT_API_URL to another server"
        raise Unavailable("find", "the Prefect server", problem, remedy)
    raise Invalid("find", "the Prefect server", "PREFECT_API_URL is not set", f"Set it{instead}")


def insist_on_api(pool: str, doing: str = "look at") -> None:
    """Raise Unavailable or Denied if PREFECT_API_URL is not Prefect's API, or refuses the login."""
    from keyturn.providers.prefect_api import SERVER, PrefectApi

    with PrefectApi(prefect_settings(), doing, SERVER) as api:
        api.insist_on_api(pool)


def prefect_settings() -> PrefectSettings:
    """Return Prefect's settings here. Prefect itself is asked if it is already imported, or only it can decide."""
    if "prefect" not in sys.modules and (settings := read_settings(os.environ, Path.cwd())):
        return settings
    from prefect.settings import get_current_settings

    return of_prefect(get_current_settings())


def of_prefect(settings: "Settings") -> PrefectSettings:
    api = settings.api
    return PrefectSettings(
        api.url or "",
        settings.ui_url or "",
        hidden(api.key.get_secret_value() if api.key else None),
        hidden(api.auth_string.get_secret_value() if api.auth_string else None),
        settings.client.custom_headers,
        api.ssl_cert_file or "",
        not api.tls_insecure_skip_verify,
        api.request_timeout,
    )
