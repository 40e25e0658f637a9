"""What a principal does not do on other days, nor any like it: its habits, which nobody has written down."""

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
from keyturn.access_log.detection.seldom import Seldom
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access

TOGETHER: Final = 12 * 3600.0
"""Seconds within which strange things of one principal are seen together."""

NEWCOMERS: Final = "newcomers"

FIXED: Final = 2
"""Addresses in a network that a principal has at most, where another one says something."""

MIDWAY: Final = 3600.0
"""Seconds after a login in which a program that was begun anew has read what it needs."""

TELLING: Final = frozenset({"folder", "midway", "network", "secrets", "timetable"})
"""What is strange by itself: people are early or busy at times, and a program may be moved within its network."""


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

    def __init__(self, history: History, peers: Peers) -> None:
        self._peers = peers
        self._began = NEVER
        self._seldom = Seldom()

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
            window.add_program(access.agent, at)
        fresh = [aspect for aspect in words if window.strange.get(aspect, NEVER) <= at - TOGETHER]
        if not fresh:
            return ""
        window.strange |= dict.fromkeys(fresh, at)
        together = frozenset(aspect for aspect, moment in window.strange.items() if moment > at - TOGETHER)
        kind = self._peers.kind(access)
        compared = window.learned or self._recurs(access, window)
        cell = kind if compared else (*kind, NEWCOMERS)
        tuning = tuning_of(self, policy)
        if not TELLING & together or not self._seldom.add(cell, access.principal, at, together, tuning):
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
        near = near or window.logins.is_expected(access, at)
        strange = window.learned and not near and not peers.usual_folder(access, at, window)
        if strange and not peers.shared(access, at, f"in {folder}", kind) and not peers.is_new_secret(access):
            yield "folder", f"it read nothing in {folder}, nor do many like it"
        network = network_of(access.source) if access.source else ""
        near = network in window.networks or window.is_visit(access, at)
        strange = not near and not peers.usual_network(access, at)
        if network and strange and not peers.shared(access, at, f"from {network}"):
            person = is_person(access.principal)
            others = f"do other {'people' if person else 'programs'}"
            whoever = others if peers.comes_from(access, at, people=not person) else "does anybody else"
            yield "network", f"it read nothing from {network}, nor {whoever}"
        fixed = window.learned and 0 < window.hosts.get(network, 0) <= FIXED
        if fixed and access.source not in window.addresses and not peers.shared(access, at, f"within {network}"):
            own = " or ".join(other for other in window.addresses if network_of(other) == network)
            yield "address", f"it always read from {own}, not {access.source}"
        if self._is_midway(access, at, window):
            yield "midway", "it had done without that secret since it logged in, and nobody has just given it to it"
        yield from self._unlike_its_days(access, at, window)

    def _is_midway(self, access: Access, at: float, window: PrincipalWindow) -> bool:
        """Whether a program reads what is new to it with a login that it made long ago: what is new begins anew."""
        if not window.learned or is_person(access.principal) or window.was_given(access.path):
            return False
        session = window.logins.session(access)
        if session is None or session.at > at - MIDWAY or window.logins.is_expected(access, at):
            return False
        return not self._peers.is_new_secret(access)

    def _unlike_its_days(self, access: Access, at: float, window: PrincipalWindow) -> Iterator[tuple[str, str]]:
        """What is strange about when and how much, with its words; a program may have a timetable, or a round.

        The hour of a program that has begun anew, within a day and where programs are, says nothing: its turns count
        from then on.
        """
        program = not is_person(access.principal)
        if window.learned and not window.usual_hour(at) and not (program and self._begins_anew(access, at, window)):
            keeps = access.source in window.addresses or len(window.addresses) >= window.days
            hour = "timetable" if program and keeps and window.timetabled else "hour"
            yield hour, f"it read nothing about {at // 3600 % 24:02.0f}:00 UTC"
        if window.count > window.brisk:
            pace = "timetable" if program and window.off_round else "pace"
            yield pace, f"more than {window.brisk:,.0f} accesses within an hour"

    def _begins_anew(self, access: Access, at: float, window: PrincipalWindow) -> bool:
        """Whether a program was begun again at another address, in a network of its own or of several programs."""
        if not window.begins_anew(access.source, at):
            return False
        own = window.networks.get(network_of(access.source), at) <= at - DAY
        return own or self._peers.usual_network(access, at)

    def _growth(self, access: Access, window: PrincipalWindow) -> Iterator[tuple[str, str]]:
        """Whether many secrets are new to it on this day, with its words."""
        several = SEVERAL_OF_A_PERSON if is_person(access.principal) else SEVERAL
        compared = window.learned or self._recurs(access, window)
        if compared and not window.was_given(access.path) and window.grows_fast(several):
            yield "secrets", f"it was given {window.grown} new secrets before on that day"
