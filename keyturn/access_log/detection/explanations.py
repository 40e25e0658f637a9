"""The part of a score that a principal's earlier behaviour explains."""

from collections.abc import Callable

from keyturn.access_log.detection.habits import DAY
from keyturn.access_log.detection.identities import is_person
from keyturn.access_log.detection.networks import network_of
from keyturn.access_log.detection.policy import MonitorPolicy
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.scores import ADDRESS, HOURS, LIMIT, PATH
from keyturn.access_log.detection.window import ROAMING, PrincipalWindow
from keyturn.core.ports.access import Access


def explained_weight(
    access: Access,
    at: float,
    odd: int,
    window: PrincipalWindow,
    policy: MonitorPolicy,
    path_at: float,
    address_at: float,
    usual_network: Callable[[Access, float], bool],
    *,
    watched: bool = False,
) -> int:
    """Return the weight of the ``odd`` scores that earlier behaviour explains.

    ``path_at`` and ``address_at`` are previous reads. ``usual_network`` is whether several others come from there.
    Before five days, only a person's address is explained, among other people or after a login. For a ``watched``
    secret, an unexplained odd address excludes everything.
    """
    if not window.learned:
        near = odd & ADDRESS and is_person(access.principal)
        people = near and (usual_network(access, at) or window.is_visit(access, at))
        return policy.address_weight if people else 0
    weight = 0
    if odd & LIMIT and window.busiest_day > policy.limit:
        weight += policy.limit_weight
    if odd & HOURS and window.usual_hour(at):
        weight += policy.hours_weight
    if odd & ADDRESS:
        if address_at != NEVER or _is_own_place(access, at, window, usual_network):
            weight += policy.address_weight
        elif watched:
            return 0
    if odd & PATH and (path_at != NEVER or _is_own_secret(access, at, window)):
        weight += policy.path_weight
    return weight


def _is_own_place(
    access: Access, at: float, window: PrincipalWindow, usual_network: Callable[[Access, float], bool]
) -> bool:
    if window.is_visit(access, at):
        return True
    if len(window.addresses) < ROAMING and not is_person(access.principal):
        return False
    return window.networks.get(network_of(access.source), at) <= at - DAY or usual_network(access, at)


def _is_own_secret(access: Access, at: float, window: PrincipalWindow) -> bool:
    if window.logins.is_expected(access, at):
        return True
    return window.is_near(access.path, at) and not window.is_steady(access.principal, at)
