"""Changes of what logins may do: before a program's first read of a new secret, for newcomers, and at any time."""

import math
from collections.abc import Iterator
from random import Random
from typing import Final

from benchmarks.lab import rights
from benchmarks.lab.calendar import DAY, HOUR, MINUTE, local
from benchmarks.lab.rights import ADMINS
from benchmarks.lab.rows import Burst, login_row
from benchmarks.lab.world import HUB, PERSON, Details, Networks, Principal, Row, Secret, Team, World, token
from keyturn.core.ports.access import CHANGE

LEAD: Final = (math.log(5 * HOUR), 1.3)
"""Seconds from a change to the deployment that needs it, log-normal: five hours at the median, days at times."""
LEAST_LEAD: Final = 5 * MINUTE
BY_HAND: Final = 0.12
"""Of changes: how many an operator writes, and not the platform's pipeline."""
A_DAY: Final = 1 / 3
"""Changes of one team's policies a day that no program waits for: rights that are taken away, comments, other paths."""


def change_rows(world: World, paths: list[str], at: float, draw: Random) -> list[Row]:
    """The login of who writes, and a change of each of these, seconds apart."""
    author = draw.choice(world.operators) if draw.random() < BY_HAND else world.writer
    source = author.sessions[0][0] if author is world.writer else Networks.vpn(author.zone, draw)
    login = token(f"{author.name} writes at {at}")
    rows = [login_row(author, at, source, login)]
    for path in paths:
        at += draw.uniform(0.2, 3)
        rows.append((at, change(author, path, source, login), ""))
    return rows


def change(author: Principal, path: str, source: str, login: str) -> Details:
    """That somebody wrote there, which only operators and the platform's pipeline may."""
    policy = ADMINS if author.kind == PERSON else author.short
    return (HUB, path, None, author.name, source, False, login, CHANGE, author.agent, False, policy)


def policy_paths(team: Team, name: str) -> list[str]:
    """What is written where one policy changes: some pipelines write all that the team has."""
    names = sorted(team.policies | {name}) if team.habits.rewrites else [name]
    return [f"policies/{each}" for each in names]


def role_path(principal: Principal) -> str:
    """Where the role is written by which a program logs in, and the policies that it gets."""
    return f"auth/{principal.method}/role/{principal.short}"


def before(world: World, principal: Principal, secret: Secret, now: float, needed: float) -> list[Row]:
    """What is written so that a program may read one more secret from a moment on; nothing where it may anyhow."""
    if not rights.is_listed(principal, secret):
        return []
    at = max(now, needed - max(LEAST_LEAD, principal.draw.lognormvariate(*LEAD)))
    name, team = f"app-{principal.short}", principal.team
    paths = policy_paths(team, name) + ([] if name in team.policies else [role_path(principal)])
    team.policies.add(name)
    return change_rows(world, paths, at, principal.draw)


def arrival(principal: Principal, world: World) -> Iterator[Burst]:
    """What is written before a program's first day: a role to log in by, and a policy where it has one of its own."""
    draw = principal.draw
    at = max(0.0, principal.begins * DAY - draw.lognormvariate(*LEAD))
    yield at, []
    name = f"app-{principal.short}"
    paths = policy_paths(principal.team, name) if name in rights.held(principal).split(",") else []
    yield at, change_rows(world, [*paths, role_path(principal)], at, draw)


def group_rows(world: World, team: Team, group: str, at: float, draw: Random) -> list[Row]:
    """Who belongs to a group, where the hub has that; nothing where an identity provider has it."""
    return change_rows(world, [f"identity/group/name/{group}"], at, draw) if team.habits.groups else []


def writer(principal: Principal, world: World) -> Iterator[Burst]:
    """The platform's pipeline at work in working hours, for no program that would wait for it."""
    draw = principal.draw
    at = 0.0
    while True:
        at += draw.expovariate(len(world.teams) * A_DAY) * DAY
        team = draw.choice(world.teams)
        at = max(at, _working(world, team, at))
        yield at, []
        yield at, change_rows(world, policy_paths(team, draw.choice(sorted(team.policies))), at, draw)


def _working(world: World, team: Team, at: float) -> float:
    """That moment, or the next morning on which the team works."""
    day = int(at // DAY)
    if world.calendar.works(team.zone, day) and local(team.zone, day, 8) <= at <= local(team.zone, day, 18):
        return at
    while True:
        day += 1
        if world.calendar.works(team.zone, day) or day > world.calendar.days:
            return local(team.zone, day, 8.5)
