"""Which token may read which secret: the hub is asked, and its answer is believed for a short while.

Tokens are not kept: a decision is found by a keyed hash of its token, under a key that this process alone has.
"""

import asyncio
import hashlib
import ipaddress
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from keyturn.core.callers import CallersPort, Permit
from keyturn.core.errors import Denied, TerminalError, Throttled, TransientError
from keyturn.core.sensitive import Sensitive

REMEMBERED: Final = 10_000
"""Decisions; the one that was asked for longest ago goes first."""
DENIED_SECONDS: Final = 5.0
"""For how long a refusal is believed."""
REST_SECONDS: Final = 1.0
"""For how long a hub that does not answer is not asked again."""

WAITING: Final = 32
"""Answers of the hub that one address may wait for at once."""

Key = tuple[bytes, str]
Run = Callable[[Callable[[Sensitive, str], Permit], Sensitive, str], Awaitable[Permit]]


@dataclass(frozen=True)
class Decision:
    """What the hub has said, believed until then, by a monotonic clock."""

    answer: Permit | TerminalError
    until: float


class Decisions:
    """Asked in one event loop. ``run`` calls the port in a thread; a permit is believed for ``every`` seconds."""

    def __init__(
        self, callers: CallersPort, run: Run, every: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._callers = callers
        self._run = run
        self._every = every
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._decisions: OrderedDict[Key, Decision] = OrderedDict()
        self._under_way: dict[Key, asyncio.Task[Permit]] = {}
        self._waiting = Counter[str]()
        self._rests_until = 0.0
        self._error: TransientError | None = None

    async def insist(self, token: Sensitive, path: str, peer: str) -> None:
        """Raises Denied where this token may not read that secret, or not from there; Unavailable where none can tell.

        ``peer`` is the address that the token came from; empty for this host.
        """
        key = hashlib.blake2b(token.reveal().encode(), key=self._key, digest_size=32).digest(), path
        decision = self._decisions.get(key)
        if decision is None or self._clock() >= decision.until:
            permit = await self._ask(key, token, peer)
        elif isinstance(decision.answer, Permit):
            permit = decision.answer
        else:
            raise type(decision.answer)(*decision.answer.args)
        if permit.networks and not in_networks(peer, permit.networks):
            raise Denied("read", path, "the token is bound to other addresses", "Use it from where it may be used")

    def forget(self) -> None:
        """Believe nothing from before."""
        self._decisions.clear()

    async def _ask(self, key: Key, token: Sensitive, peer: str) -> Permit:
        """Ask once for all who wait for the same answer."""
        if self._error and self._clock() < self._rests_until:
            raise type(self._error)(*self._error.args)
        task = self._under_way.get(key)
        if task is None:
            if self._waiting[peer] >= WAITING:
                raise Throttled("read", key[1], f"{WAITING} other logins from {peer} wait for the hub's answer")
            task = self._under_way[key] = asyncio.create_task(self._decide(key, token))
            self._waiting[peer] += 1
            task.add_done_callback(lambda _: self._answered(key, peer))
        return await asyncio.shield(task)

    def _answered(self, key: Key, peer: str) -> None:
        del self._under_way[key]
        self._waiting[peer] -= 1
        if not self._waiting[peer]:
            del self._waiting[peer]

    async def _decide(self, key: Key, token: Sensitive) -> Permit:
        asked_at = self._clock()
        try:
            permit = await self._run(self._callers.permit, token, key[1])
        except TransientError as error:
            self._rests_until, self._error = self._clock() + REST_SECONDS, error
            raise
        except TerminalError as error:
            self._remember(key, Decision(error, asked_at + DENIED_SECONDS))
            raise
        lasts = self._every if permit.lasts is None else min(self._every, permit.lasts)
        self._remember(key, Decision(permit, asked_at + lasts))
        return permit

    def _remember(self, key: Key, decision: Decision) -> None:
        self._decisions[key] = decision
        self._decisions.move_to_end(key)
        while len(self._decisions) > REMEMBERED:
            self._decisions.popitem(last=False)


def in_networks(peer: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is in one of the networks; what can't be read is in none."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in ipaddress.ip_network(network, strict=False) for network in networks)
    except ValueError:
        return False
