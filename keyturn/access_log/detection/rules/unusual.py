"""Unusual behaviour by learned habits of a principal and similar ones."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from keyturn.access_log.detection.habits import DAY, LEARNED, SEVERAL, SEVERAL_OF_A_PERSON, folder_of
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.identities import is_person
from keyturn.access_log.detection.networks import network_of
from keyturn.access_log.detection.peers import WRAPPED, Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import Rule, Trigger, tuning_of
from keyturn.access_log.detection.seldom import Seldom
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access

TOGETHER: Final = 12 * 3600.0
"""Seconds within which a principal's strange aspects are combined."""

NEWCOMERS: Final = "newcomers"

FIXED: Final = 2
"""The most addresses in a network for which another is strange."""

MIDWAY: Final = 3600.0
"""Seconds in which a restarted program reads what it needs."""

TELLING: Final = frozenset({"folder", "midway", "network", "secrets", "timetable"})
"""Aspects that are strange alone, unlike hours, paces and nearby addresses."""


class Unusual(Rule):
    """Something that is no habit of the principal, and rare among similar ones.

    It compares folder, network, new secrets per day and a program's timetable, and with these the hour, pace and a new
    address. Aspects within 12 hours are combined. They are rare if fewer than ``count`` others of the kind had them
    ``within`` a time. A common event, such as a deployment, counts once.

    Before five days, it checks the network (large kinds and wrapped answers) and new secrets (periodic programs). It
    reports nothing in a log's first five days.
    """

    name = "unusual"
    tuning = Tuning(800, 4, timedelta(days=7))
    trigger = Trigger.NOVEL

    def __init__(self, history: History, peers: Peers) -> None:
        self._peers = peers
        self._began = NEVER
        self._seldom = Seldom()

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
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
        """Whether it is a periodic program."""
        return window.recurs and not is_person(access.principal)

    def _aspects(self, access: Access, at: float, window: PrincipalWindow) -> Iterator[tuple[str, str]]:
        """Yield the strange aspects and their descriptions."""
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
            yield "midway", "it had done without that secret since it logged in, and no one has just granted it"
        yield from self._unlike_its_days(access, at, window)

    def _is_midway(self, access: Access, at: float, window: PrincipalWindow) -> bool:
        """Whether a program reads a new secret with an old login, although a release restarts it."""
        if not window.learned or is_person(access.principal) or window.was_given(access.path):
            return False
        session = window.logins.session(access)
        if session is None or session.at > at - MIDWAY or window.logins.is_expected(access, at):
            return False
        return not self._peers.is_new_secret(access)

    def _unlike_its_days(self, access: Access, at: float, window: PrincipalWindow) -> Iterator[tuple[str, str]]:
        """Yield strange times and amounts, compared with a program's timetable or round.

        After a restart among programs, its hour means nothing for a day.
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
        """Whether a program restarted at another address among programs."""
        if not window.begins_anew(access.source, at):
            return False
        own = window.networks.get(network_of(access.source), at) <= at - DAY
        return own or self._peers.usual_network(access, at)

    def _growth(self, access: Access, window: PrincipalWindow) -> Iterator[tuple[str, str]]:
        """Yield whether it read many new secrets on this day."""
        several = SEVERAL_OF_A_PERSON if is_person(access.principal) else SEVERAL
        compared = window.learned or self._recurs(access, window)
        if compared and not window.was_given(access.path) and window.grows_fast(several):
            yield "secrets", f"it was given {window.grown} new secrets before on that day"
