"""What a Prefect server on another machine needs before Keyturn registers with it: whoever may call its API has power.

A password is asked for: the server itself shows whether it refuses a call without one. That its database's key lies
elsewhere nothing of Prefect's API tells (Prefect 3.9), so somebody says it.
"""

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx

from keyturn.core.errors import Denied, Unavailable
from keyturn.core.outbound import is_loopback, leaves_in_clear

ENCRYPTED: Final = "KEYTURN_PREFECT_ENCRYPTED"
"""The variable by which an operator says that the server has an encryption key of its own."""
INSECURE_HTTP: Final = "KEYTURN_PREFECT_INSECURE_HTTP"
"""The variable that lets the server be spoken to in clear over a network."""
TRUE: Final = ("1", "true")
GUARDED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
OPEN: Final = (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
PAGE: Final = "work_pools/keyturn"
"""Whoever is let in hears of the pool, or that there is none. A change would be refused by CSRF protection alone."""
TIMEOUT: Final = 10.0

NO_TLS: Final = (
    "it is spoken to in clear (give PREFECT_API_URL an https address; where nobody can listen between, "
    "set KEYTURN_PREFECT_INSECURE_HTTP=true)"
)
NO_PASSWORD: Final = "it lets in whoever calls (set PREFECT_SERVER_API_AUTH_STRING on it, PREFECT_API_AUTH_STRING here)"
NO_KEY: Final = (
    "nobody says that it has an encryption key of its own "
    "(set PREFECT_SERVER_ENCRYPTION_KEY on it, then KEYTURN_PREFECT_ENCRYPTED=true here)"
)

Ask = Callable[[str], int]
"""Asks for a page without any login, and gives the status of the answer."""


def insist_on_guarded(api: str, env: Mapping[str, str] = os.environ, ask: Ask | None = None) -> None:
    """Raises Denied where a server on another machine lacks what keeps others out, naming every setting that mends it.

    Raises Unavailable where the server does not answer, so that it can't be told.
    """
    if is_loopback(urlsplit(api).hostname or ""):
        return
    if lacks := list(lacking(api, env, ask or without_login)):
        hint = "Whoever calls its API can have credentials ended (docs/security.md)"
        raise Denied("register with", f"Prefect at {api}", "; ".join(lacks), hint)


def lacking(api: str, env: Mapping[str, str], ask: Ask) -> Iterator[str]:
    """What the server lacks, with the settings that give it."""
    in_clear = leaves_in_clear(api) and env.get(INSECURE_HTTP, "").lower() not in TRUE
    if in_clear:
        yield NO_TLS
    elif ask(api) not in GUARDED:
        yield NO_PASSWORD
    if env.get(ENCRYPTED, "").lower() not in TRUE:
        yield NO_KEY


def without_login(api: str) -> int:
    """What the server answers to whoever has no login. Raises Unavailable where it does not."""
    from prefect.settings import get_current_settings

    trusted = get_current_settings().api.ssl_cert_file
    try:
        context = ssl.create_default_context(cafile=trusted)
        answer = httpx.get(f"{api.rstrip('/')}/{PAGE}", verify=context, timeout=TIMEOUT, trust_env=False)
    except (httpx.HTTPError, OSError) as error:
        problem = f"it does not answer ({type(error).__name__})"
        raise Unavailable("bootstrap", "the Prefect server", problem, "Check PREFECT_API_URL") from None
    if answer.status_code not in (*OPEN, *GUARDED):
        problem = f"whether it asks for a password can't be told: it answered {answer.status_code}"
        raise Unavailable("bootstrap", "the Prefect server", problem, "See what stands before it")
    return answer.status_code
