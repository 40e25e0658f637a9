"""The dashboard's sessions, in this process's memory only, and the limit on sign-ins."""

import hashlib
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from keyturn.agent.decisions import in_networks
from keyturn.client.clock import elapsed
from keyturn.core.sensitive import Sensitive

IDLE: Final = 15 * 60.0
"""Seconds without a request after which a session ends (NIST SP 800-63B, AAL3)."""
LONGEST: Final = 8 * 3600.0
"""Seconds after which a session ends in any case."""
MOST: Final = 256
"""Maximum number of sessions; the least recently used one is dropped."""

TRIES: Final = 5
"""The number of refused sign-ins per address within :data:`SPAN`."""
SPAN: Final = 60.0
EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
ADDRESSES: Final = 10_000
"""Maximum number of addresses whose refusals are kept; the oldest is dropped."""


@dataclass
class Session:
    """One person's session; ``token`` is checked with the hub at each look. Times are monotonic."""

    token: Sensitive
    name: str
    began: float
    seen: float

    def over(self, now: float) -> bool:
        """Whether it has ended."""
        return now - self.seen >= IDLE or now - self.began >= LONGEST


class Sessions:
    """The sessions by the digest of their cookies. Used in one event loop."""

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, token: Sensitive, name: str) -> str:
        """Begin a session, and return its cookie of 256 random bits."""
        made, now = secrets.token_urlsafe(32), self._clock()
        self._drop_over()
        while len(self._sessions) >= MOST:
            self._sessions.popitem(last=False)
        self._sessions[_digest(made)] = Session(token, name, now, now)
        return made

    def find(self, shown: str) -> Session | None:
        """Return the cookie's session and mark it as used, or None where it ended."""
        self._drop_over()
        session = self._sessions.get(_digest(shown))
        if session is not None:
            session.seen = self._clock()
            self._sessions.move_to_end(_digest(shown))
        return session

    def end(self, shown: str) -> None:
        """Drop the session and its token. A missing session is no error."""
        self._sessions.pop(_digest(shown), None)

    def __len__(self) -> int:
        return len(self._sessions)

    def _drop_over(self) -> None:
        now = self._clock()
        for key in [key for key, session in self._sessions.items() if session.over(now)]:
            del self._sessions[key]


class Attempts:
    """The recent refusals of each address. Used in one event loop."""

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, peer: str) -> float:
        """Return the seconds that this address must wait, 0 where it may try."""
        now, tries = self._clock(), self._tries.get(_neighbourhood(peer), [])
        recent = [at for at in tries if now - at < SPAN]
        return SPAN - (now - recent[0]) if len(recent) >= TRIES else 0.0

    def begin(self, peer: str) -> None:
        """Count a try before its result is known, so that parallel tries count too."""
        key = _neighbourhood(peer)
        self._tries[key] = [*self._tries.get(key, []), self._clock()][-TRIES:]
        self._tries.move_to_end(key)
        while len(self._tries) > ADDRESSES:
            self._tries.popitem(last=False)

    def forgive(self, peer: str) -> None:
        """Forget the refusals of an address that signed in."""
        self._tries.pop(_neighbourhood(peer), None)


def client_address(peer: str, forwarded: Sequence[str], proxies: tuple[str, ...]) -> str:
    """Return the client's address: the last one that is not one of the ``proxies``.

    ``forwarded`` are the values of ``X-Forwarded-For``. Each proxy appends the address of its caller, so everything
    before the client's address is the client's claim. Without a proxy or a valid address, it is the ``peer``.
    """
    address = peer
    for hop in reversed([hop.strip() for text in forwarded for hop in text.split(",")]):
        if not in_networks(address, proxies) or not in_networks(hop, EVERYWHERE):
            break
        address = hop
    return address


def _digest(shown: str) -> bytes:
    return hashlib.sha256(shown.encode()).digest()


def _neighbourhood(peer: str) -> str:
    """Return the unit that attempts count for: an IPv4 address, or an IPv6 /64 network."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else peer
