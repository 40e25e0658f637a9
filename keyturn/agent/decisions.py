"""Which token may read which secret, as the hub decides, cached for a short time.

Tokens are not kept: only this process has the key of their keyed hashes.
"""

import asyncio
import hashlib
import ipaddress
import secrets
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from keyturn.client.clock import elapsed
from keyturn.core.errors import Denied, TerminalError, Throttled, TransientError
from keyturn.core.ports.callers import CallersPort, Permit
from keyturn.core.sensitive import Sensitive

REMEMBERED: Final = 10_000
"""The limit of cached decisions; the least recent is dropped first."""
DENIED_SECONDS: Final = 5.0
"""Seconds for which a refusal is cached."""
REST_SECONDS: Final = 1.0
"""Seconds before a failed hub is asked again for the same address."""
REST_WITH_PERMIT: Final = 5.0
"""The same for a caller with an earlier permit."""

WAITING: Final = 32
"""Answers of the hub for which one address may wait concurrently."""

Key = tuple[bytes, str]
Run = Callable[[Callable[[Sensitive, str], Permit], Sensitive, str], Awaitable[Permit]]


@dataclass(frozen=True)
class Decision:
    """The hub's answer, cached until ``until``; the token ends at ``ends``. Both are monotonic."""

    answer: Permit | TerminalError
    until: float
    ends: float = float("-inf")


@dataclass(frozen=True)
class Failure:
    error: TransientError
    at: float


class Decisions:
    """Decides in one event loop. ``run`` calls the port in a thread; a permit is cached for ``every`` seconds.

    While the hub does not answer, it is valid longer, by the secret's ``outage`` in seconds.
    """

    def __init__(
        self,
        callers: CallersPort,
        run: Run,
        every: float = 30.0,
        outage: Callable[[str], float] = lambda path: 0.0,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        self._callers = callers
        self._run = run
        self._every = every
        self._outage = outage
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._decisions: OrderedDict[Key, Decision] = OrderedDict()
        self._under_way: dict[Key, asyncio.Task[Permit]] = {}
        self._waiting = Counter[str]()
        self._failures: OrderedDict[str, Failure] = OrderedDict()

    async def insist(self, token: Sensitive, path: str, peer: str) -> None:
        """Raise Denied where this token may not read that secret, or not from ``peer``; Unavailable without an answer.

        ``peer`` is the sender's address; empty for this host.
        """
        key = hashlib.blake2b(token.reveal().encode(), key=self._key, digest_size=32).digest(), path
        permit = self._believed(key) or await self._ask(key, token, peer)
        if permit.networks and not in_networks(peer, permit.networks):
            raise Denied("read", path, "the token is bound to other addresses", "Use it from where it may be used")

    def forget(self) -> None:
        self._decisions.clear()

    def _believed(self, key: Key) -> Permit | None:
        decision = self._decisions.get(key)
        if decision is None or self._clock() >= decision.until:
            return None
        if isinstance(decision.answer, Permit):
            return decision.answer
        raise type(decision.answer)(*decision.answer.args)

    def _believed_in_outage(self, key: Key) -> Permit | None:
        decision = self._decisions.get(key)
        if decision is None or not isinstance(decision.answer, Permit):
            return None
        until = min(decision.until + self._outage(key[1]), decision.ends)
        return decision.answer if self._clock() < until else None

    async def _ask(self, key: Key, token: Sensitive, peer: str) -> Permit:
        earlier, failure = self._believed_in_outage(key), self._failures.get(peer)
        rest = REST_WITH_PERMIT if earlier else REST_SECONDS
        if failure and self._clock() < failure.at + rest:
            if earlier:
                return earlier
            raise type(failure.error)(*failure.error.args)
        try:
            return await asyncio.shield(self._task(key, token, peer))
        except TransientError as error:
            self._note(peer, error)
            if earlier:
                return earlier
            raise

    def _task(self, key: Key, token: Sensitive, peer: str) -> "asyncio.Task[Permit]":
        """Ask the hub once for concurrent callers. Raises Throttled."""
        task = self._under_way.get(key)
        if task is None:
            if self._waiting[peer] >= WAITING:
                raise Throttled("read", key[1], f"{WAITING} other logins from {peer} wait for the hub's answer")
            task = self._under_way[key] = asyncio.create_task(self._decide(key, token))
            self._waiting[peer] += 1
            task.add_done_callback(lambda _: self._answered(key, peer))
        return task

    def _note(self, peer: str, error: TransientError) -> None:
        if not isinstance(error, Throttled):
            self._failures[peer] = Failure(error, self._clock())
            self._failures.move_to_end(peer)
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def _answered(self, key: Key, peer: str) -> None:
        del self._under_way[key]
        self._waiting[peer] -= 1
        if not self._waiting[peer]:
            del self._waiting[peer]

    async def _decide(self, key: Key, token: Sensitive) -> Permit:
        asked_at = self._clock()
        try:
            permit = await self._run(self._callers.permit, token, key[1])
        except TerminalError as error:
            self._remember(key, Decision(error, asked_at + DENIED_SECONDS))
            raise
        ends = float("inf") if permit.lasts is None else asked_at + permit.lasts
        self._remember(key, Decision(permit, min(asked_at + self._every, ends), ends))
        return permit

    def _remember(self, key: Key, decision: Decision) -> None:
        self._decisions[key] = decision
        self._decisions.move_to_end(key)
        while len(self._decisions) > REMEMBERED:
            self._decisions.popitem(last=False)


def in_networks(peer: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is in a network; False for invalid text."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in ipaddress.ip_network(network, strict=False) for network in networks)
    except ValueError:
        return False
