"""Who may ask, by the door that they come through: programs of this host with one token, or anybody with a login of
their own, which the hub decides about.
"""

import hmac
import re
from typing import Final, Protocol

from keyturn.agent.decisions import Decisions
from keyturn.agent.http import HttpRequest
from keyturn.agent.wire import BAD_TOKEN, FORWARDED, OTHER_HOST, TOKEN_HEADERS, VIA_OTHERS, Refused
from keyturn.core.outbound import is_loopback
from keyturn.core.sensitive import Sensitive

TOKEN: Final = re.compile(r"[!-~]{1,4096}")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")


class Entrance(Protocol):
    """One of the agent's doors."""

    local: bool
    """Whether whoever comes through it may see how the agent is."""

    def admit(self, request: HttpRequest) -> None:
        """Raises Refused for whom nothing is answered."""

    async def insist_on_right(self, request: HttpRequest, path: str) -> None:
        """Raises Denied where they may not read that secret, Unavailable where nobody can tell."""


class LocalEntrance:
    """For programs of this host that could read the token: they may read whatever the agent's own login may.

    With ``hosts`` a request has to be for this machine by name, since a page in a browser can send requests here
    under a name of its own (DNS rebinding).
    """

    local = True

    def __init__(self, token: Sensitive, *, hosts: bool = True) -> None:
        self.token = token
        self._hosts = hosts

    def admit(self, request: HttpRequest) -> None:
        """It is for this host, from this host, and has the token."""
        if self._hosts and not all(names_this_host(host) for host in request.values("host")):
            raise Refused(OTHER_HOST)
        insist_on_origin(request)
        expected = self.token.reveal().encode()
        if not any(hmac.compare_digest(text.encode(), expected) for text in tokens_in(request)):
            raise Refused(BAD_TOKEN)

    async def insist_on_right(self, request: HttpRequest, path: str) -> None:
        """The token says it all."""


class HubEntrance:
    """For whoever shows a token of the hub: it may read through the agent what it may read in the hub, and no more."""

    local = False

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    def admit(self, request: HttpRequest) -> None:
        """It has exactly one token."""
        insist_on_origin(request)
        self._token(request)

    async def insist_on_right(self, request: HttpRequest, path: str) -> None:
        """The hub says so."""
        await self._decisions.insist(self._token(request), path, request.peer)

    def _token(self, request: HttpRequest) -> Sensitive:
        tokens = tokens_in(request)
        if len(tokens) != 1 or not TOKEN.fullmatch(tokens[0]):
            raise Refused(BAD_TOKEN)
        return Sensitive(tokens[0])


def tokens_in(request: HttpRequest) -> list[str]:
    """The tokens that it shows, in either header."""
    return [text for name in TOKEN_HEADERS for text in request.values(name)]


def insist_on_origin(request: HttpRequest) -> None:
    """Nobody has passed it on: whom it is from could not be told then. Raises Refused."""
    if request.values(FORWARDED):
        raise Refused(VIA_OTHERS)


def names_this_host(host: str) -> bool:
    """Whether a Host header can only mean this machine."""
    match = _HOST.fullmatch(host.strip().lower())
    return match is not None and is_loopback(match[1])
