"""What a principal does not do on other days, nor any like it: its habits, which nobody has written down."""

from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar, Final

from keyturn.access_log.detection.habits import DAY, LEARNED, folder_of
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.networks import network_of
from keyturn.access_log.detection.peers import WRAPPED, Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.access import Access

TOGETHER: Final = 12 * 3600.0
"""Seconds within which strange things of one principal are seen together."""

REMEMBERED: Final = 1_000
"""What was strange about principals of one kind, the latest."""

NEWCOMERS: Final = "newcomers"

KINDS: Final = 10_000

FIXED: Final = 2
"""Addresses of a principal, from which on another one says nothing."""

TELLING: Final = frozenset({"folder", "network"})
"""What is strange by itself: people are early or busy at times, and a program may be moved."""

Strange = tuple[float, str, frozenset[str]]
"""When, who, and what was strange about it."""


class Unusual:
    """Something that is none of the principal's habits, and seldom among those of its kind.

    Looked at are the folder of the secret and the network, and beside one of these the hour, the pace, and the address
    of who has one or two; what of it is strange within 12 hours is seen together. It is seldom where it was so of fewer
    than ``count`` others of the kind ``within`` a time: where people often come from somewhere else, that alone says
    nothing of one of them. What happens to several at once, as by a deployment, is one thing. Of who was seen on less
    than five days before the network alone is looked at, and that where many are of its kind, or for what was wrapped.
    In the first five days of a log nothing is said.
    """

    name: ClassVar = "unusual"
    tuning: ClassVar = Tuning(800, 4, timedelta(days=7))
    trigger: ClassVar = Trigger.NOVEL

    def __init__(self, history: History) -> None:
        self._peers = Peers()
        self._began = NEVER
        self._strange: dict[tuple[str, ...], deque[Strange]] = {}

    def usual_network(self, access: Access, at: float) -> bool:
        """Whether several read from there, since a day before."""
        return self._peers.usual_network(access, at)

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        """Everybody."""
        return True

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        """Whether it is strange enough, and what it is, in words."""
        if self._began == NEVER:
            self._began = at
        words = dict(self._aspects(access, at, window)) if self._is_compared(access, at, window) else {}
        if not access.denied:
            self._peers.learn(access, at, window)
        fresh = [aspect for aspect in words if window.strange.get(aspect, NEVER) <= at - TOGETHER]
        if not fresh:
            return ""
        window.strange |= dict.fromkeys(fresh, at)
        together = frozenset(aspect for aspect, moment in window.strange.items() if moment > at - TOGETHER)
        kind = self._peers.kind(access)
        cell = kind if window.learned else (*kind, NEWCOMERS)
        if not TELLING & together or not self._seldom(cell, access, at, together, tuning_of(self, policy)):
            return ""
        earlier = sorted(together - words.keys())
        also = f"; and shortly before, another {' and '.join(earlier)}" if earlier else ""
        whom = f"it on {window.days} days before" if window.learned else "others of its kind"
        return f"unlike {whom}: {'; '.join(words.values())}{also}"

    def _is_compared(self, access: Access, at: float, window: PrincipalWindow) -> bool:
        if at <= self._began + LEARNED * DAY:
            return False
        return window.learned or access.principal.startswith(WRAPPED) or self._peers.large(self._peers.kind(access))

    def _aspects(self, access: Access, at: float, window: PrincipalWindow) -> Iterator[tuple[str, str]]:
        """What is strange, each with its words."""
        peers, folder, kind = self._peers, folder_of(access.path), self._peers.kind(access)[1]
        near = folder in window.folders or window.is_near(access.path, at)
        strange = window.learned and not near and not peers.usual_folder(access, at, window)
        if strange and not peers.shared(access, at, f"in {folder}", kind) and not peers.is_new_secret(access):
            yield "folder", f"it read nothing in {folder}, nor do many like it"
        network = network_of(access.source) if access.source else ""
        strange = network not in window.networks and not peers.usual_network(access, at)
        if network and strange and not peers.shared(access, at, f"from {network}"):
            yield "network", f"it read nothing from {network}, nor does anybody else"
        fixed = window.learned and network in window.networks and len(window.addresses) <= FIXED
        if fixed and access.source not in window.addresses and not peers.shared(access, at, f"within {network}"):
            yield "address", f"it always read from {' or '.join(window.addresses)}, not {access.source}"
        if window.learned and not window.usual_hour(at):
            yield "hour", f"it read nothing about {at // 3600 % 24:02.0f}:00 UTC"
        if window.count > window.brisk:
            yield "pace", f"more than {window.brisk:,.0f} accesses within an hour"

    def _seldom(
        self, kind: tuple[str, ...], access: Access, at: float, together: frozenset[str], tuning: Tuning
    ) -> bool:
        if kind not in self._strange:
            self._strange[kind] = deque(maxlen=REMEMBERED)
            if len(self._strange) > KINDS:
                del self._strange[next(iter(self._strange))]
        since = at - tuning.within.total_seconds()
        others = {who for moment, who, aspects in self._strange[kind] if moment > since and aspects >= together} - {
            access.principal
        }
        self._strange[kind].append((at, access.principal, together))
        return len(others) < tuning.count
