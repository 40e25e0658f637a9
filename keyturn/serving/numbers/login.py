"""The login at ``/metrics``: a token in a file, which Prometheus sends as ``Authorization: Bearer``.

Other machines require it, because the metrics show which secrets are late and where an incident is open.
"""

import hmac
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from keyturn.agent.http import HttpRequest
from keyturn.core.errors import Invalid, KeyturnError

TOKEN_FILE: Final = "KEYTURN_METRICS_TOKEN_FILE"
SHORTEST: Final = 32
"""The minimum length of the token: 128 random bits in hexadecimal digits."""

Admit = Callable[[HttpRequest], bool]
Read = Callable[[str, str], str]
"""Returns the text of a login's file, named by a setting; raises where it can't be read."""


def metrics_login(variables: Mapping[str, str], read: Read, say: Callable[[str], None], *, local: bool) -> Admit:
    """Return the check of who may read the metrics; ``local`` means that the process listens only on loopback.

    The file is read again for each request, so the token can be replaced. Without a readable file there are no metrics,
    which is reported at the start and stops nothing else.
    """
    if not (file := variables.get(TOKEN_FILE, "")):
        if not local:
            say(f"/metrics answers 401, since other machines reach it: set {TOKEN_FILE}")
        return lambda _: local
    try:
        _read_token(file, read)
    except KeyturnError as error:
        say(f"/metrics answers 401: {error}")
    return lambda request: _shows(request, file, read)


def _read_token(file: str, read: Read) -> str:
    """Return the token. Raises Invalid for a guessable one, and the errors of reading it."""
    token = read(file, TOKEN_FILE)
    if len(token) < SHORTEST:
        hint = "Make another one: `openssl rand -hex 32`"
        raise Invalid("read", file, f"the token has fewer than {SHORTEST} characters", hint)
    return token


def _shows(request: HttpRequest, file: str, read: Read) -> bool:
    values = request.values("authorization")
    with suppress(KeyturnError):
        wanted = f"Bearer {_read_token(file, read)}"
        return len(values) == 1 and hmac.compare_digest(values[0].encode(), wanted.encode())
    return False
