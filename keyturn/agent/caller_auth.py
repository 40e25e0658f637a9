"""The agent's entrances: one token for local programs, or the callers' hub logins."""

import hmac
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

from keyturn.agent.decisions import Decisions
from keyturn.agent.http import HttpRequest
from keyturn.agent.wire import BAD_TOKEN, FORWARDED, NO_SUCH_PLACE, OTHER_HOST, TOKEN_HEADERS, VIA_OTHERS, Refused
from keyturn.core.clear_text import is_loopback
from keyturn.core.sensitive import Sensitive

TOKEN: Final = re.compile(r"[!-~]{1,4096}")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")


class Entrance(Protocol):
    """One of the agent's entrances."""

    local: bool
    """Whether its callers may see the agent's metrics."""

    def admit(self, request: HttpRequest) -> None:
        """Raise Refused for a request that is not answered."""

    async def insist_on_right(self, request: HttpRequest, path: str) -> None:
        """Raise Denied where the caller may not read the secret, Unavailable where that is unknown."""


class LocalEntrance:
    """For local programs with the token, which may read whatever the agent's login may.

    With ``hosts``, a request has to name this machine, against DNS rebinding.
    """

    local = True

    def __init__(self, token: Sensitive, *, hosts: bool = True) -> None:
        self.token = token
        self._hosts = hosts

    def admit(self, request: HttpRequest) -> None:
        if self._hosts and not all(names_this_host(host) for host in request.values("host")):
            raise Refused(OTHER_HOST)
        insist_on_origin(request)
        expected = self.token.reveal().encode()
        if not any(hmac.compare_digest(text.encode(), expected) for text in tokens_in(request)):
            raise Refused(BAD_TOKEN)

    async def insist_on_right(self, request: HttpRequest, path: str) -> None:
        """The token allows every path."""


class NoEntrance:
    """Gives out no secret. ``watch`` sees what is asked for."""

    local = False

    def __init__(self, watch: Callable[[HttpRequest], object]) -> None:
        self._watch = watch

    def admit(self, request: HttpRequest) -> None:
        self._watch(request)
        raise Refused(NO_SUCH_PLACE)

    async def insist_on_right(self, request: HttpRequest, path: str) -> None:
        """No request comes this far."""


class HubEntrance:
    """For callers with a hub token, which may read what the hub allows."""

    local = False

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    def admit(self, request: HttpRequest) -> None:
        insist_on_origin(request)
        self._token(request)

    async def insist_on_right(self, request: HttpRequest, path: str) -> None:
        await self._decisions.insist(self._token(request), path, request.peer)

    def _token(self, request: HttpRequest) -> Sensitive:
        tokens = tokens_in(request)
        if len(tokens) != 1 or not TOKEN.fullmatch(tokens[0]):
            raise Refused(BAD_TOKEN)
        return Sensitive(tokens[0])


def tokens_in(request: HttpRequest) -> list[str]:
    return [text for name in TOKEN_HEADERS for text in request.values(name)]


def insist_on_origin(request: HttpRequest) -> None:
    """Raise Refused for a forwarded request."""
    if request.values(FORWARDED):
        raise Refused(VIA_OTHERS)


@lru_cache(256)
def names_this_host(host: str) -> bool:
    """Whether a Host header can only mean this machine."""
    match = _HOST.fullmatch(host.strip().lower())
    return match is not None and is_loopback(match[1])
