"""The login at ``/metrics``: a token in a file, which Prometheus sends as ``Authorization: Bearer``.

Beyond this machine there are no numbers without it: they tell which secrets are late, and where an incident is open.
"""

import hmac
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from keyturn.agent.http import HttpRequest
from keyturn.core.errors import Invalid, KeyturnError

TOKEN_FILE: Final = "KEYTURN_METRICS_TOKEN_FILE"
SHORTEST: Final = 32
"""Characters of the token: 128 random bits in hexadecimal digits."""

Admit = Callable[[HttpRequest], bool]
Read = Callable[[str, str], str]
"""The text of a login's file, which the setting of that name leads to; raises what keeps it from being read."""


def metrics_login(variables: Mapping[str, str], read: Read, say: Callable[[str], None], *, local: bool) -> Admit:
    """Who may read the numbers, where this process listens on loopback alone (``local``) and elsewhere.

    The file is read anew for each request, so the token can be replaced. While it can't be read there are no numbers;
    that is said at the start, and stops nothing else.
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
    """The token. Raises Invalid for one that could be guessed, and what keeps it from being read."""
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
