"""A login that is used from another network than it was made from."""

from datetime import UTC, datetime, timedelta
from typing import Final

from keyturn.access_log.detection.habits import DAY
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.identities import is_person
from keyturn.access_log.detection.networks import network_of
from keyturn.access_log.detection.peers import Peers, kind_of
from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.base import Rule, Trigger, tuning_of
from keyturn.access_log.detection.seldom import Seldom
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.ports.access import Access

USUAL: Final = 2
"""Days of such use that make it usual."""

PEOPLE: Final = "people"

MOVED: Final = frozenset({"moved"})


class MovedSession(Rule):
    """An access from a new network with a login that was made in another one.

    A person may carry a login along or log in there, but not read elsewhere within two hours. It accepts networks of
    several people or programs, and what its logins did on two other days, or those of ``count`` others of the kind
    ``within`` a time. Unknown logins are ignored.
    """

    name = "moved-session"
    tuning = Tuning(800, 4, timedelta(days=7))
    trigger = Trigger.NOVEL

    def __init__(self, history: History, peers: Peers) -> None:
        self._peers = peers
        self._seldom = Seldom()

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        if not access.source:
            return ""
        if at < window.watched_until and (other := window.elsewhere(access)):
            return f"it reads from {access.source} and from {other} at a time, since it came to one of them"
        network = network_of(access.source)
        if window.networks.get(network, at) <= at - DAY or self._peers.usual_network(access, at):
            return ""
        if window.is_visit(access, at):
            if network not in window.networks:
                window.begin_visit(access, at)
            return ""
        session = window.logins.session(access)
        made = network_of(session.source) if session else network
        if session is None or network == made:
            return ""
        kind = (access.system, PEOPLE if is_person(access.principal) else kind_of(access.principal))
        usual = window.logins.move(at, USUAL)
        if not self._seldom.add(kind, access.principal, at, MOVED, tuning_of(self, policy)) or usual:
            return ""
        since = datetime.fromtimestamp(session.at, UTC)
        return f"with a login that was made from {session.source} at {since:%Y-%m-%d %H:%M} UTC"
