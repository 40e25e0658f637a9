"""What people read: sessions in the working hours of their zone, from desks, the VPN, home and abroad."""

import math
from collections.abc import Iterator
from operator import itemgetter
from random import Random
from typing import Final

from benchmarks.lab import rights
from benchmarks.lab.calendar import DAY, FRIDAY, HOUR, MINUTE, local
from benchmarks.lab.changes import group_rows
from benchmarks.lab.rights import Scope, may_read
from benchmarks.lab.rows import Burst, login_row, reads
from benchmarks.lab.world import ABROAD, LDAP_METHOD, PERSON, Networks, Principal, Row, Secret, Team, World, sample

TRAVELS: Final = 0.006
"""Of a person's days: one on which a journey of some days begins."""
EVENINGS: Final = 0.06
WEEKENDS: Final = 0.05
CURIOUS: Final = 0.05
"""Of sessions: how often a secret of the own team is read that was not read before."""
MISTYPED: Final = 0.02
CLUMSY: Final = 0.35
"""How often a login fails first: of most, and of the twentieth that fails more than a third of its logins. The hub
sees it of those whose password it passes on."""
GOES_ABOUT: Final = 0.06
GOES_ABOUT_AWAY: Final = 0.3
"""Of sessions but a day's first: how often somebody is elsewhere by then, as a rule and on a journey."""
CARRIED: Final = 0.5
"""Of sessions elsewhere while the token still lives: how often the laptop just goes on with it, and nobody logs in."""
MOVES: Final = 0.0008
"""Of a person's days: a change to another team."""
TIDIES: Final = 0.0015
"""Of a person's days: one on which all of the team's secrets that are changed by hand are gone through."""
BUSIEST: Final = 40


def person(principal: Principal, world: World) -> Iterator[Burst]:
    """Day after day; the team changes with a move, and the working set with it."""
    day, away, place = principal.begins, 0, Place(principal)
    while True:
        draw = principal.draw
        changed = _move(principal, world, day) if draw.random() < MOVES else []
        yield local(principal.zone, day, 0), changed
        if away := away - 1 if away > 0 else draw.randint(2, 6) * (draw.random() < TRAVELS):
            place.travel()
        else:
            place.return_home()
        sessions = _sessions(principal, world, day)
        tidied = draw.choice(sessions) if sessions and draw.random() < TIDIES else None
        for number, at in enumerate(sessions):
            yield at, []
            address = place.of_session(at, day, first=number == 0)
            yield at, (_tidying if at == tidied else _session)(principal, at, address)
        day += 1
        yield local(principal.zone, day, 0), []


class Place:
    """Where somebody is: some reach the hub from home without a VPN, and on a journey from anywhere there."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal
        self._abroad: tuple[int, str] | None = None
        self._address = ""

    def travel(self) -> None:
        """Be on a journey, which has one destination."""
        self._abroad = self._abroad or (self._principal.draw.choice(ABROAD), self._principal.draw.choice(_SITES))

    def return_home(self) -> None:
        """Be on none."""
        self._abroad = None

    def of_session(self, at: float, day: int, *, first: bool) -> str:
        """The address of now: another one each day, at times another one within a day, and in the evening no desk's."""
        draw = self._principal.draw
        late = not 7 <= (at - local(self._principal.zone, day, 0)) / HOUR < 20 or day % 7 > FRIDAY
        moves = draw.random() < (GOES_ABOUT_AWAY if self._abroad else GOES_ABOUT)
        if first or moves or (late and _is_desk(self._address)):
            self._address = self._new(desk=not late and first, elsewhere=moves and not first)
        return self._address

    def _new(self, *, desk: bool, elsewhere: bool) -> str:
        """Where from: on a journey a hotel or the VPN's entrance there; else home, a hotspot, the VPN or a desk."""
        principal, draw = self._principal, self._principal.draw
        if self._abroad:
            first, site = self._abroad
            return Networks.customer(first, draw) if principal.remote else Networks.vpn(site, draw)
        if principal.remote:
            return Networks.customer(int(principal.home.partition(".")[0]), draw) if elsewhere else principal.home
        if not desk or draw.random() < 0.4:
            return Networks.vpn(principal.zone, draw)
        own = Random(principal.name)
        return Networks.office(principal.zone, own if draw.random() < 0.8 else draw)


def _is_desk(address: str) -> bool:
    first, second = address.split(".")[:2] if address else ("", "0")
    return first == "10" and 20 <= int(second) < 24


def _sessions(principal: Principal, world: World, day: int) -> list[float]:
    """When a day's sessions begin, in order."""
    draw, zone = principal.draw, principal.zone
    times: list[float] = []
    if world.calendar.works(zone, day):
        if draw.random() < principal.active:
            begin = draw.gauss(13.0 if principal.owl else 9.2, 0.7)
            end = begin + draw.gauss(8.5, 0.8)
            times = [draw.uniform(begin, end) for _ in range(1 + min(6, int(draw.expovariate(0.8))))]
        if draw.random() < EVENINGS:
            times.append(draw.triangular(20, 23.8, 21))
    elif draw.random() < WEEKENDS:
        times = [draw.uniform(10, 22) for _ in range(draw.randint(1, 3))]
    return sorted(max(0.0, local(zone, day, hour)) for hour in times)


_SITES: Final = ("America/Los_Angeles", "Europe/Zurich", "Europe/London", "Asia/Tokyo")


def _session(principal: Principal, at: float, address: str) -> list[Row]:
    """A login where one is needed, and what is needed just now: some secrets far more often than others."""
    draw = principal.draw
    rows = logged_in(principal, at, address)
    at = rows[-1][0] if rows else at
    if draw.random() < CURIOUS:
        _discover(principal)
    count = 1 + min(8, int(draw.expovariate(0.5)))
    chosen = [principal.secrets[int(len(principal.secrets) * draw.random() ** 2)] for _ in range(count)]
    return rows + reads(principal, at + 4, chosen, address, pace=90)


def logged_in(principal: Principal, at: float, address: str) -> list[Row]:
    """Be there with a token: nothing is done where it lives and nobody has moved, or the laptop has taken it along."""
    draw = principal.draw
    moved = not principal.sessions or principal.sessions[0][0] != address
    if at < principal.ends and not (moved and draw.random() >= CARRIED):
        principal.be_at(address)
        return []
    rows: list[Row] = []
    if principal.method == LDAP_METHOD and draw.random() < (CLUMSY if principal.clumsy else MISTYPED):
        rows = [login_row(principal, at + 8.0 * number, address, failed=True) for number in range(draw.randint(1, 3))]
        at += 30
    principal.log_in(at)
    principal.be_at(address)
    return [*rows, login_row(principal, at, address)]


def _discover(principal: Principal) -> None:
    fresh = principal.draw.choice(principal.team.unrestricted)
    if fresh not in principal.secrets and len(principal.secrets) < BUSIEST:
        principal.secrets.append(fresh)


def _move(principal: Principal, world: World, day: int) -> list[Row]:
    """To another team: its secrets come to those of the old one, which are let go of within the week.

    In the night before, whoever keeps the groups has put them into that of the new team, which the next login shows.
    """
    team = principal.team = principal.draw.choice(world.teams)
    principal.secrets = [*_first_secrets(principal, team), *principal.secrets[:2]]
    principal.scope = rights.scope(PERSON, team, principal.draw)
    principal.ends = -math.inf
    at = local(principal.zone, day, principal.draw.uniform(0.2, 6))
    return group_rows(world, team, f"team-{team.name}", at, principal.draw)


def _first_secrets(principal: Principal, team: Team) -> list[Secret]:
    return sample(principal.draw, team.unrestricted, principal.draw.randint(3, 9))


def _tidying(principal: Principal, at: float, address: str) -> list[Row]:
    rows = logged_in(principal, at, address)
    at = rows[-1][0] if rows else at
    allowed = [secret for secret in principal.team.secrets if may_read(principal, secret)]
    chosen = sample(principal.draw, allowed, principal.draw.randint(15, 40))
    return [*rows, *reads(principal, at + 5, chosen, address, pace=3 * MINUTE)]


ROTA: Final = 6
"""People of a team who take turns at being on call, two at a time, a week each."""
HANDED_OVER: Final = 10.0
"""The hour of Mondays at which they change."""


def crew(world: World, team: Team, week: int) -> list[Principal]:
    """Who of a team is on call in a week: two of those who take turns, as far as it has so many."""
    established = [other for other in world.of_kind(PERSON) if other.team is team and other.begins == 0]
    rota = [other for other in established if other.name not in world.attacked][:ROTA]
    return [rota[(2 * week + number) % len(rota)] for number in range(min(2, len(rota)))]


def duties(world: World, draw: Random) -> Iterator[Burst]:
    """Each Monday others are on call, in whose group they are from then on."""
    for week in range(world.calendar.days // 7 + 1):
        turns = [(max(0.0, local(team.zone, 7 * week, HANDED_OVER)), team) for team in world.teams]
        for at, team in sorted(turns, key=itemgetter(0)):
            yield at, []
            for engineer in world.of_kind(PERSON):
                if engineer.duty is team:
                    engineer.duty = None
            for engineer in crew(world, team, week):
                engineer.duty = team
            yield at, group_rows(world, team, f"oncall-{team.name}", at, draw)


def on_call(world: World, draw: Random) -> Iterator[Burst]:
    """Incidents at any hour: those on call, and at times one more, read what the trouble may lie in."""
    people = world.of_kind(PERSON)
    at = 0.0
    while True:
        at += draw.expovariate(len(people) / 500 * 2 / 7) * DAY
        yield at, []
        team = draw.choice(world.teams)
        engineers = [other for other in people if other.duty is team][: draw.randint(1, 2)]
        if draw.random() < HELPED:
            everywhere = draw.random() < BY_ANOTHER_TEAM
            crowd = [other for other in people if (other.scope == Scope.LAB if everywhere else other.team is team)]
            free = [other for other in crowd if other.begins * DAY < at and other.name not in world.attacked]
            engineers += sample(draw, [other for other in free if other.duty is None], 1)
        for engineer in engineers:
            yield at, []
            yield at, _at_work_on_it(engineer, team, at, draw)
            at += draw.uniform(1, 15) * MINUTE


HELPED: Final = 1 / 3
BY_ANOTHER_TEAM: Final = 0.5
"""Of incidents: how often somebody helps who is not on call, and how often that is one of those who may read all."""


def _at_work_on_it(engineer: Principal, team: Team, at: float, draw: Random) -> list[Row]:
    """A login, since who is woken takes the laptop out, and reads of some of the own and of the team's secrets."""
    address = engineer.home if engineer.remote else Networks.vpn(engineer.zone, draw)
    engineer.log_in(at)
    engineer.be_at(address)
    allowed = [secret for secret in team.secrets if may_read(engineer, secret)]
    troubled = [*sample(draw, engineer.secrets, 6), *sample(draw, allowed, draw.randint(2, 14))]
    return [login_row(engineer, at, address), *reads(engineer, at + 10, troubled, address, pace=4 * MINUTE)]


def rotations(world: World, draw: Random) -> Iterator[Burst]:
    """Each secret once in a month, on the whole."""
    secrets = world.secrets
    at = 0.0
    while True:
        at += draw.expovariate(len(secrets) / 30) * DAY
        world.rotate(draw.choice(secrets), at)
        yield at, []


REVOCATIONS: Final = 1 / 2000 / 7
"""A day, for each principal: a secret turns up in a repository or a chat, and is revoked."""
OF_ALL: Final = 0.2
"""Of these: how often it is one that the whole lab shares."""
LOOKED_AT: Final = 1 / 3
"""Of these: how often somebody of the team reads the new value within the hour, to see that all is well."""


def revocations(world: World, draw: Random) -> Iterator[Burst]:
    """Secrets that have leaked are revoked; who uses them reads them on, timetables at their minute."""
    at = 0.0
    while True:
        at += draw.expovariate(len(world.principals) * REVOCATIONS) * DAY
        yield at, []
        secret = draw.choice(world.shared if draw.random() < OF_ALL else world.secrets)
        world.rotate(secret, at, revoked=True)
        free = [other for other in world.of_kind(PERSON) if other.sessions and other.name not in world.attacked]
        crowd = [other for other in free if other.duty is secret.team or may_read(other, secret)]
        if crowd and draw.random() < LOOKED_AT:
            at += draw.uniform(2, 50) * MINUTE
            yield at, []
            yield at, _looks(draw.choice(crowd), secret, at)


def _looks(engineer: Principal, secret: Secret, at: float) -> list[Row]:
    address = engineer.sessions[0][0]
    return [
        *logged_in(engineer, at, address),
        *reads(engineer, at + 35, [secret] * engineer.draw.randint(1, 3), address, pace=60),
    ]


def migrations(world: World, draw: Random) -> Iterator[Burst]:
    """A team moves to another cluster: with their next deployments all of its services change addresses."""
    at = 0.0
    while True:
        at += draw.expovariate(len(world.teams) / 60 / 7) * DAY + HOUR
        yield at, []
        team = draw.choice(world.teams)
        team.cluster = 192 + draw.randrange(60)


HAPPENINGS: Final = (on_call, duties, rotations, revocations, migrations)
