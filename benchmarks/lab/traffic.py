"""Everything that happens in a lab, as one stream in the order of time: what is ordinary, and what is an attack."""

import heapq
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import chain
from operator import itemgetter
from random import Random
from typing import Final

from benchmarks.lab import changes, machines, people
from benchmarks.lab.calendar import DAY, START
from benchmarks.lab.rows import Burst
from benchmarks.lab.world import HUB, PERSON, Row, World
from keyturn.core.ports.access import Access

CHUNK: Final = 300.0
"""Seconds that are put in order at once: what bounds the memory."""


def lives(world: World) -> Iterator[Iterator[Burst]]:
    """A generator for each principal, and for what happens to many."""
    for principal in world.principals:
        life = (people.person if principal.kind == PERSON else machines.LIVES[principal.kind])(principal, world)
        comes = principal.begins and principal.kind != PERSON and principal.system == HUB
        yield chain(changes.arrival(principal, world), life) if comes else life
    for happening in (*people.HAPPENINGS, machines.node_failures):
        yield happening(world, Random(f"{world.seed} {happening.__name__}"))


def rows(world: World, attacks: Iterable[Iterator[Burst]] = ()) -> Iterator[Row]:
    """What happens until the run's last midnight, oldest first."""
    end = world.calendar.days * DAY
    waiting = [(0.0, number, life) for number, life in enumerate([*lives(world), *attacks])]
    pending: list[Row] = []
    until = 0.0
    while until < end:
        until += CHUNK
        while waiting and waiting[0][0] < until:
            _, number, life = waiting[0]
            burst = next(life, None)
            if burst is None:
                heapq.heappop(waiting)
                continue
            wake, happened = burst
            pending += happened
            heapq.heapreplace(waiting, (wake, number, life))
        pending.sort(key=itemgetter(0))
        cut = next((index for index in range(len(pending) - 1, -1, -1) if pending[index][0] < until), -1) + 1
        yield from pending[:cut]
        del pending[:cut]


def events(world: World, attacks: Iterable[Iterator[Burst]] = ()) -> Iterator[tuple[Access, str]]:
    """The same as events, each with its label."""
    for at, details, label in rows(world, attacks):
        yield Access(START + timedelta(0, at), *details), label
