"""What a remote Prefect server needs before Keyturn registers with it.

Prefect's API (3.9) does not show where its encryption key is stored, so the operator confirms that.
"""

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx

from keyturn.core.clear_text import is_loopback, leaves_in_clear
from keyturn.core.errors import Denied, Unavailable

ENCRYPTED: Final = "KEYTURN_PREFECT_ENCRYPTED"
"""The operator's confirmation that the server has its own encryption key."""
INSECURE_HTTP: Final = "KEYTURN_PREFECT_INSECURE_HTTP"
"""Allows clear text to the server over a network."""
TRUE: Final = ("1", "true")
GUARDED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
OPEN: Final = (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
PAGE: Final = "work_pools/keyturn"
"""Readable with any access. CSRF protection alone would refuse a change."""
TIMEOUT: Final = 10.0

NO_TLS: Final = (
    "the connection is not encrypted (give PREFECT_API_URL an https address; if no one "
    "can listen in between, set KEYTURN_PREFECT_INSECURE_HTTP=true)"
)
NO_PASSWORD: Final = "it accepts every caller (set PREFECT_SERVER_API_AUTH_STRING on it, PREFECT_API_AUTH_STRING here)"
NO_KEY: Final = (
    "it is not known to have its own encryption key "
    "(set PREFECT_SERVER_ENCRYPTION_KEY on it, then KEYTURN_PREFECT_ENCRYPTED=true here)"
)

Ask = Callable[[str], int]


def insist_on_guarded(api: str, env: Mapping[str, str] = os.environ, ask: Ask | None = None) -> None:
    """Raises Denied if a remote server lacks protection, Unavailable if it does not answer."""
    if is_loopback(urlsplit(api).hostname or ""):
        return
    if lacks := list(lacking(api, env, ask or without_login)):
        hint = "Anyone who can call its API can have credentials ended (docs/security.md)"
        raise Denied("register with", f"Prefect at {api}", "; ".join(lacks), hint)


def lacking(api: str, env: Mapping[str, str], ask: Ask) -> Iterator[str]:
    in_clear = leaves_in_clear(api) and env.get(INSECURE_HTTP, "").lower() not in TRUE
    if in_clear:
        yield NO_TLS
    elif ask(api) not in GUARDED:
        yield NO_PASSWORD
    if env.get(ENCRYPTED, "").lower() not in TRUE:
        yield NO_KEY


def without_login(api: str) -> int:
    """The status of a request without a login. Raises Unavailable without a clear answer."""
    from prefect.settings import get_current_settings

    trusted = get_current_settings().api.ssl_cert_file
    try:
        context = ssl.create_default_context(cafile=trusted)
        answer = httpx.get(f"{api.rstrip('/')}/{PAGE}", verify=context, timeout=TIMEOUT, trust_env=False)
    except (httpx.HTTPError, OSError) as error:
        problem = f"it does not answer ({type(error).__name__})"
        raise Unavailable("bootstrap", "the Prefect server", problem, "Check PREFECT_API_URL") from None
    if answer.status_code not in (*OPEN, *GUARDED):
        problem = f"could not check whether it asks for a password: it answered {answer.status_code}"
        raise Unavailable("bootstrap", "the Prefect server", problem, "Check the proxy in front of it")
    return answer.status_code
