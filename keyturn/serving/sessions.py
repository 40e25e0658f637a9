"""Who is signed in to the page, in this process's memory alone, and who has tried too often."""

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
"""Seconds without a look after which a session is over (NIST SP 800-63B, AAL3)."""
LONGEST: Final = 8 * 3600.0
"""Seconds after which it is over however often somebody looks."""
MOST: Final = 256
"""Sessions; the one that nobody has used for longest makes room."""

TRIES: Final = 5
"""Sign-ins in a row that one address may have refused within :data:`SPAN`."""
SPAN: Final = 60.0
EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
ADDRESSES: Final = 10_000
"""Addresses whose refusals are known; the one that tried longest ago is forgotten first."""


@dataclass
class Session:
    """One person's. ``token`` is what the hub is asked with at each look; times are of a monotonic clock."""

    token: Sensitive
    name: str
    began: float
    seen: float

    def over(self, now: float) -> bool:
        """Whether its time is up."""
        return now - self.seen >= IDLE or now - self.began >= LONGEST


class Sessions:
    """Found by what a browser sends back, of which only a digest is kept. Used in one event loop."""

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, token: Sensitive, name: str) -> str:
        """A new one: 256 random bits that nobody had before."""
        made, now = secrets.token_urlsafe(32), self._clock()
        self._drop_over()
        while len(self._sessions) >= MOST:
            self._sessions.popitem(last=False)
        self._sessions[_digest(made)] = Session(token, name, now, now)
        return made

    def find(self, shown: str) -> Session | None:
        """The session of whoever shows this, which is in use by that; None where there is none any more."""
        self._drop_over()
        session = self._sessions.get(_digest(shown))
        if session is not None:
            session.seen = self._clock()
            self._sessions.move_to_end(_digest(shown))
        return session

    def end(self, shown: str) -> None:
        """Forget it and its token. Absent is success."""
        self._sessions.pop(_digest(shown), None)

    def __len__(self) -> int:
        return len(self._sessions)

    def _drop_over(self) -> None:
        now = self._clock()
        for key in [key for key, session in self._sessions.items() if session.over(now)]:
            del self._sessions[key]


class Attempts:
    """How often each address was refused lately. Used in one event loop."""

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, peer: str) -> float:
        """Seconds that this address has to wait; 0 where it may try."""
        now, tries = self._clock(), self._tries.get(_neighbourhood(peer), [])
        recent = [at for at in tries if now - at < SPAN]
        return SPAN - (now - recent[0]) if len(recent) >= TRIES else 0.0

    def begin(self, peer: str) -> None:
        """Count a try before it is known what comes of it, so that many at once count as many."""
        key = _neighbourhood(peer)
        self._tries[key] = [*self._tries.get(key, []), self._clock()][-TRIES:]
        self._tries.move_to_end(key)
        while len(self._tries) > ADDRESSES:
            self._tries.popitem(last=False)

    def forgive(self, peer: str) -> None:
        """It was let in."""
        self._tries.pop(_neighbourhood(peer), None)


def client_address(peer: str, forwarded: Sequence[str], proxies: tuple[str, ...]) -> str:
    """The address of the client: the last one that the ``proxies`` did not forward to each other.

    ``forwarded`` is what ``X-Forwarded-For`` holds. Each proxy adds whom it was asked by at its end, so what stands
    before that address is the client's own claim. Without a proxy, or an address, it is the ``peer``.
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
    """What one machine has: an address, or in IPv6 the 64 bits before its own."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else peer
