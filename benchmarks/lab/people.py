"""What people read: sessions in the working hours of their zone, from desks, the VPN, home and abroad."""

from collections.abc import Iterator
from random import Random
from typing import Final

from benchmarks.lab.calendar import DAY, HOUR, MINUTE, local
from benchmarks.lab.machines import Burst, login_row, reads
from benchmarks.lab.world import Networks, Principal, Row, Secret, Team, World, sample

TRAVELS: Final = 0.006
"""Of a person's days: one on which a journey of some days begins."""
EVENINGS: Final = 0.06
WEEKENDS: Final = 0.05
CURIOUS: Final = 0.05
"""Of sessions: how often a secret of the own team is read that was not read before."""
MISTYPED: Final = 0.02
CLUMSY: Final = 0.35
"""How often a login fails first: of most, and of the twentieth that fails more than a third of its logins."""
MOVES: Final = 0.0008
"""Of a person's days: a change to another team."""
TIDIES: Final = 0.0015
"""Of a person's days: one on which all of the team's secrets that are changed by hand are gone through."""
BUSIEST: Final = 40


def person(principal: Principal, world: World) -> Iterator[Burst]:
    """Day after day; the team changes with a move, and the working set with it."""
    day, away = principal.begins, 0
    while True:
        draw = principal.draw
        if draw.random() < MOVES:
            _move(principal, world)
        away = away - 1 if away > 0 else draw.randint(2, 6) * (draw.random() < TRAVELS)
        address = _address(principal, draw, away=away > 0)
        sessions = _sessions(principal, world, day)
        tidied = draw.choice(sessions) if sessions and draw.random() < TIDIES else None
        for at in sessions:
            yield at, []
            yield at, (_tidying if at == tidied else _session)(principal, at, address)
        day += 1
        yield local(principal.zone, day, 0), []


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


def _address(principal: Principal, draw: Random, *, away: bool) -> str:
    """Where from today: some reach the hub from home without a VPN, and on a journey from anywhere."""
    if away:
        address = Networks.abroad(draw) if principal.remote else Networks.vpn(draw.choice(_SITES), draw)
    elif principal.remote:
        address = principal.home
    elif draw.random() < 0.4:
        address = Networks.vpn(principal.zone, draw)
    else:
        desk = Random(principal.name)
        address = Networks.office(principal.zone, desk if draw.random() < 0.8 else draw)
    principal.addresses = [address]
    return address


_SITES: Final = ("America/Los_Angeles", "Europe/Zurich", "Europe/London", "Asia/Tokyo")


def _session(principal: Principal, at: float, address: str) -> list[Row]:
    """A login, at times the second attempt, and what is needed just now: some secrets far more often than others."""
    draw = principal.draw
    rows: list[Row] = []
    if draw.random() < (CLUMSY if principal.clumsy else MISTYPED):
        rows = [login_row(principal, at + 8.0 * number, address, failed=True) for number in range(draw.randint(1, 3))]
        at += 30
    principal.log_in()
    rows.append(login_row(principal, at, address))
    if draw.random() < CURIOUS:
        _discover(principal)
    count = 1 + min(8, int(draw.expovariate(0.5)))
    chosen = [principal.secrets[int(len(principal.secrets) * draw.random() ** 2)] for _ in range(count)]
    return rows + reads(principal, at + 4, chosen, address, pace=90)


def _discover(principal: Principal) -> None:
    fresh = principal.draw.choice(principal.team.unrestricted)
    if fresh not in principal.secrets and len(principal.secrets) < BUSIEST:
        principal.secrets.append(fresh)


def _move(principal: Principal, world: World) -> None:
    """To another team: its secrets come to those of the old one, which are let go of within the week."""
    principal.team = principal.draw.choice(world.teams)
    principal.secrets = [*_first_secrets(principal, principal.team), *principal.secrets[:2]]


def _first_secrets(principal: Principal, team: Team) -> list[Secret]:
    return sample(principal.draw, team.unrestricted, principal.draw.randint(3, 9))


def _tidying(principal: Principal, at: float, address: str) -> list[Row]:
    principal.log_in()
    chosen = sample(principal.draw, principal.team.secrets, principal.draw.randint(15, 40))
    return [login_row(principal, at, address), *reads(principal, at + 5, chosen, address, pace=3 * MINUTE)]


def on_call(world: World, draw: Random) -> Iterator[Burst]:
    """Incidents at any hour: one to three engineers of a team read what the trouble may lie in."""
    people = world.of_kind("person")
    at = 0.0
    while True:
        at += draw.expovariate(len(people) / 500 * 2 / 7) * DAY
        yield at, []
        team = draw.choice(world.teams)
        crew = [
            other
            for other in people
            if other.team is team and other.begins * DAY < at and other.name not in world.attacked
        ]
        rows: list[Row] = []
        for engineer in crew[: draw.randint(1, 3)]:
            address = engineer.home if engineer.remote else Networks.vpn(engineer.zone, draw)
            engineer.log_in()
            rows.append(login_row(engineer, at, address))
            troubled = [*sample(draw, engineer.secrets, 6), *sample(draw, team.secrets, draw.randint(2, 14))]
            rows += reads(engineer, at + 10, troubled, address, pace=4 * MINUTE)
            at += draw.uniform(1, 15) * MINUTE
        yield at, rows


def rotations(world: World, draw: Random) -> Iterator[Burst]:
    """Each secret once in a month, on the whole."""
    secrets = world.secrets
    at = 0.0
    while True:
        at += draw.expovariate(len(secrets) / 30) * DAY
        world.rotate(draw.choice(secrets), at)
        yield at, []


def migrations(world: World, draw: Random) -> Iterator[Burst]:
    """A team moves to another cluster: with their next deployments all of its services change addresses."""
    at = 0.0
    while True:
        at += draw.expovariate(len(world.teams) / 60 / 7) * DAY + HOUR
        yield at, []
        team = draw.choice(world.teams)
        team.cluster = 192 + draw.randrange(60)
