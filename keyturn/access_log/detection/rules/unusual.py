"""What a principal does not do on other days, nor any like it: its habits, which nobody has written down."""

from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar, Final

from keyturn.access_log.detection.habits import DAY, LEARNED, SEVERAL, SEVERAL_OF_A_PERSON, folder_of
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.identities import is_person
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
"""Addresses in a network that a principal has at most, where another one says something."""

TELLING: Final = frozenset({"folder", "network", "secrets", "timetable"})
"""What is strange by itself: people are early or busy at times, and a program may be moved within its network."""

Strange = tuple[float, str, frozenset[str]]
"""When, who, and what was strange about it."""


class Unusual:
    """Something that is none of the principal's habits, and seldom among those of its kind.

    Looked at are the folder of the secret, the network, how many secrets are new to it on a day, and a program's
    timetable; beside one of these the hour, the pace, and the address of who has one or two in a network. What of it is
    strange within 12 hours is seen together. It is seldom where it was so of fewer than ``count`` others of the kind
    ``within`` a time: where people often come from somewhere else, that alone says nothing of one of them. What happens
    to several at once, as by a deployment, is one thing. Of who was seen on less than five days before the network
    alone is looked at, and that where many are of its kind, or for what was wrapped; of a program that runs now and
    then the number of new secrets, too. In the first five days of a log nothing is said.
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
        words |= dict(self._growth(access, window))
        if not access.denied:
            self._peers.learn(access, at, window)
        fresh = [aspect for aspect in words if window.strange.get(aspect, NEVER) <= at - TOGETHER]
        if not fresh:
            return ""
        window.strange |= dict.fromkeys(fresh, at)
        together = frozenset(aspect for aspect, moment in window.strange.items() if moment > at - TOGETHER)
        kind = self._peers.kind(access)
        compared = window.learned or self._recurs(access, window)
        cell = kind if compared else (*kind, NEWCOMERS)
        if not TELLING & together or not self._seldom(cell, access, at, together, tuning_of(self, policy)):
            return ""
        earlier = sorted(together - words.keys())
        also = f"; and shortly before, another {' and '.join(earlier)}" if earlier else ""
        whom = f"it on {window.days} days before" if compared else "others of its kind"
        return f"unlike {whom}: {'; '.join(words.values())}{also}"

    def _is_compared(self, access: Access, at: float, window: PrincipalWindow) -> bool:
        if at <= self._began + LEARNED * DAY:
            return False
        return window.learned or access.principal.startswith(WRAPPED) or self._peers.large(self._peers.kind(access))

    def _recurs(self, access: Access, window: PrincipalWindow) -> bool:
        """Whether it is a program that runs now and then: it does the same each time."""
        return window.recurs and not is_person(access.principal)

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
            person = is_person(access.principal)
            others = f"do other {'people' if person else 'programs'}"
            whoever = others if peers.comes_from(access, at, people=not person) else "does anybody else"
            yield "network", f"it read nothing from {network}, nor {whoever}"
        fixed = window.learned and 0 < window.hosts.get(network, 0) <= FIXED
        if fixed and access.source not in window.addresses and not peers.shared(access, at, f"within {network}"):
            own = " or ".join(other for other in window.addresses if network_of(other) == network)
            yield "address", f"it always read from {own}, not {access.source}"
        yield from self._unlike_its_days(access, at, window)

    def _unlike_its_days(self, access: Access, at: float, window: PrincipalWindow) -> Iterator[tuple[str, str]]:
        """What is strange about when and how much, with its words; a program may have a timetable, or a round."""
        program = not is_person(access.principal)
        if window.learned and not window.usual_hour(at):
            keeps = access.source in window.addresses or len(window.addresses) >= window.days
            hour = "timetable" if program and keeps and window.timetabled else "hour"
            yield hour, f"it read nothing about {at // 3600 % 24:02.0f}:00 UTC"
        if window.count > window.brisk:
            pace = "timetable" if program and window.off_round else "pace"
            yield pace, f"more than {window.brisk:,.0f} accesses within an hour"

    def _growth(self, access: Access, window: PrincipalWindow) -> Iterator[tuple[str, str]]:
        """Whether many secrets are new to it on this day, with its words."""
        several = SEVERAL_OF_A_PERSON if is_person(access.principal) else SEVERAL
        compared = window.learned or self._recurs(access, window)
        if compared and not window.was_given(access.path) and window.grows_fast(several):
            yield "secrets", f"it was given {window.grown} new secrets before on that day"

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
