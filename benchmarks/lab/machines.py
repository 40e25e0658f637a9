"""What services, jobs and timetables read: one generator for each principal, which says when it is to be woken."""

import math
from collections.abc import Generator, Iterator
from random import Random
from typing import Final

from benchmarks.lab import changes, rights
from benchmarks.lab.calendar import DAY, HOUR, MINUTE, local
from benchmarks.lab.rows import Burst, login_row, reads
from benchmarks.lab.world import (
    BATCH,
    CI,
    CRON,
    DORMANT,
    HUB,
    INFERENCE,
    SERVICE,
    TRAINING,
    Details,
    Networks,
    Principal,
    Row,
    Secret,
    World,
    sample,
)

TTLS: Final = (300.0, 900.0, 1800.0, 3600.0, 21600.0, 43200.0)
"""How long a client keeps what it has read, in seconds: from an agent's five minutes to a start's once a day."""
MOST_PODS: Final = 400
QUIET: Final = 0.55
"""What an inference service has of its pods in the middle of a day's load, which it follows."""
DEPLOYMENTS_A_DAY: Final = (-1.5, 0.8)
"""Of one service, log-normal: one in some four days at the median."""
CRASHES_A_DAY: Final = 0.02
"""Of one pod: nodes fail, are drained and are preempted."""
STALE: Final = 0.02
"""Of a service's rotations: how often one of its pods fails for minutes before it has the new version."""
PINNED: Final = 0.1
"""Of these: how often it asks for the old version by its number."""
SLOW: Final = (math.log(40 * MINUTE), 1.0)
"""Seconds for which that one does so, log-normal."""
GROWS: Final = 0.15
"""Of deployments: how often the service has one more secret from then on."""
GROWS_RESTRICTED: Final = 1 / 40
"""Of these: how often it is a restricted one, about as many as programs have of them in the beginning."""
FORGOTTEN: Final = 0.1
"""Of secrets that a policy has to allow first: how often that is thought of only when reads are refused."""
MOST_SECRETS: Final = 40
NODES_A_DAY: Final = 1 / 150
"""Nodes that fail a day, for each service: a pod of each of several services begins anew elsewhere, all at once."""
EXPIRED: Final = 1 / 3000
"""Of a service's days: its policy or role has expired, and all it reads is refused until somebody mends it. In the full
lab that is one a day."""


class Pod:
    """One process of a service, with its own address and login, and its rows as they were made last."""

    __slots__ = ("address", "details", "ends", "login", "stamp")

    def __init__(self, principal: Principal, at: float) -> None:
        self.stamp = -1
        self.details: list[Details] = []
        self.restart(principal, at)

    def restart(self, principal: Principal, at: float) -> None:
        """On another node, with another login."""
        draw = principal.draw
        cloud = principal.system != HUB
        self.address = Networks.cloud(principal.system, draw) if cloud else Networks.pod(principal.team.cluster, draw)
        self.log_in(principal, at)

    def log_in(self, principal: Principal, at: float) -> None:
        """Where it is."""
        self.login = principal.log_in(at)
        self.ends = principal.ends
        self.stamp = -1

    def rows(self, principal: Principal, at: float) -> list[Row]:
        """A read of each of the service's secrets."""
        stamp = sum(team.stamp for team in principal.owners)
        if self.stamp != stamp:
            self.stamp = stamp
            self.details = [principal.details(secret, self.address, self.login) for secret in principal.secrets]
        step = 0.02 + 0.1 * principal.draw.random()
        return [(at + step * number, details, "") for number, details in enumerate(self.details)]


class Fleet:
    """A service's pods, that are as many as its reads need, and that deployments, crashes and load change."""

    def __init__(self, principal: Principal, world: World) -> None:
        self.principal = principal
        self.world = world
        draw = principal.draw
        self.ttl = draw.choice(TTLS[:4])
        rounds = principal.reads_a_day / len(principal.secrets) / (QUIET if principal.kind == INFERENCE else 1)
        wanted = rounds * self.ttl / DAY
        if wanted < 1:
            self.ttl = min(2 * DAY, DAY / max(rounds, 0.3))
        self.size = max(1, min(MOST_PODS, round(wanted)))
        if wanted > MOST_PODS:
            self.ttl = max(20.0, MOST_PODS * DAY / rounds)
        self.deployments = draw.lognormvariate(*DEPLOYMENTS_A_DAY)
        self.versions = [secret.version for secret in principal.secrets]
        # What runs when the run begins has logged in before; a newcomer has not.
        begins = principal.begins * DAY
        self.pods = [Pod(principal, begins - draw.random() * principal.life) for _ in range(self.size)]
        for pod in self.pods if begins else ():
            pod.ends = begins
        self.coming: Secret | None = None
        self.forgotten = False
        self.turn = 0
        self._show()
        world.fleets.append(self)

    def bursts(self) -> Iterator[Burst]:
        """Its whole life."""
        principal, draw = self.principal, self.principal.draw
        now = principal.begins * DAY
        turn = now + draw.random() * self.ttl / self.size
        planned = self.world.deployments.get(principal.name, now)
        deployed = planned if planned > now else self._next_deployment(now)
        written = self._plan(now, deployed)
        refused = self._next_refusal(now)
        while True:
            now = max(now, min(turn, deployed, refused))
            yield now, written
            written = []
            if now >= deployed:
                now = yield from self._deploy(now)
                deployed = self._next_deployment(now)
                written = self._plan(now, deployed)
            elif now >= refused:
                now = yield from self._refused(now)
                refused = self._next_refusal(now)
            else:
                yield now, self._round(now)
                turn = now + self.ttl / self._awake(now) * (0.9 + 0.2 * draw.random())

    def _plan(self, now: float, deployed: float) -> list[Row]:
        """With the next deployment there may be a secret more, and before it a policy that allows it."""
        principal, draw = self.principal, self.principal.draw
        self.coming, self.forgotten = None, False
        if draw.random() >= GROWS or len(principal.secrets) >= MOST_SECRETS:
            return []
        team = principal.team
        secret = draw.choice(team.restricted if draw.random() < GROWS_RESTRICTED else team.unrestricted)
        if secret in principal.secrets:
            return []
        self.coming = secret
        self.forgotten = draw.random() < FORGOTTEN and rights.is_listed(principal, secret)
        return [] if self.forgotten else changes.before(self.world, principal, secret, now, deployed)

    def _deploy(self, at: float) -> Generator[Burst, None, float]:
        """All pods are replaced one after the other, within minutes; gives the end."""
        principal = self.principal
        if self.coming and not self.forgotten:
            self._grow(self.coming)
        step = min(20.0, 280 / len(self.pods))
        for number, pod in enumerate(self.pods):
            start = at + number * step
            pod.restart(principal, start)
            yield start, [*self._log_in(start, pod), *pod.rows(principal, start + 0.3), *self._missing(start + 1, pod)]
        self._show()
        return (yield from self._mend(start)) if self.coming and self.forgotten else start

    def _missing(self, at: float, pod: Pod) -> list[Row]:
        """A read that is refused, since nobody has thought of the policy."""
        if not self.coming or not self.forgotten:
            return []
        return [(at, self.principal.details(self.coming, pod.address, pod.login, denied=True), "")]

    def _mend(self, at: float) -> Generator[Burst, None, float]:
        """Somebody is told of the refusals, and changes the policy."""
        principal = self.principal
        secret, mended = self.coming, at + principal.draw.uniform(5, 60) * MINUTE
        while secret and at < mended:
            yield at, self._missing(at, principal.draw.choice(self.pods))
            at += principal.draw.uniform(30, 240)
        if secret:
            yield at, changes.before(self.world, principal, secret, at, at)
            self._grow(secret)
        for pod in self.pods:
            pod.ends = at  # they have crashed since, and log in anew
        return at + MINUTE

    def _grow(self, secret: Secret) -> None:
        if secret not in self.principal.secrets:
            self.principal.secrets.append(secret)
            self.versions.append(secret.version)

    def fail_over(self, at: float) -> list[Row]:
        """One pod begins anew on another node."""
        pod = self.principal.draw.choice(self.pods)
        pod.restart(self.principal, at)
        self._show()
        return [*self._log_in(at, pod), *pod.rows(self.principal, at + 0.3)]

    def _round(self, at: float) -> list[Row]:
        """One pod's turn."""
        self.turn = (self.turn + 1) % len(self.pods)
        pod, draw = self.pods[self.turn], self.principal.draw
        if draw.random() < CRASHES_A_DAY * self.ttl / DAY:
            pod.restart(self.principal, at)
        elif at >= pod.ends:
            pod.log_in(self.principal, at)
        else:
            return [*pod.rows(self.principal, at + 0.2), *self._late(at, pod)]
        self._show()
        return [*self._log_in(at, pod), *pod.rows(self.principal, at + 0.2), *self._late(at, pod)]

    def _late(self, at: float, pod: Pod) -> list[Row]:
        """What a rotation has left behind: a few tries that fail, or a version that is asked for by its number."""
        principal = self.principal
        rows: list[Row] = []
        for index, secret in enumerate(principal.secrets):
            if self.versions[index] == secret.version:
                continue
            gone, self.versions[index] = self.versions[index], secret.version
            if principal.system != HUB or principal.draw.random() >= STALE:
                continue
            if principal.draw.random() < PINNED:
                rows += self._pinned(at, pod, secret, gone)
            else:
                late = principal.details(secret, pod.address, pod.login, denied=True)
                rows += [(at + 2.0**number, late, "") for number in range(1, principal.draw.randrange(3, 9))]
        return rows

    def _pinned(self, at: float, pod: Pod, secret: Secret, gone: int) -> list[Row]:
        """A slow consumer: it is given the version until that is retired, and refused it until it is deployed anew."""
        principal, draw = self.principal, self.principal.draw
        asks = draw.uniform(60, 600)
        rows: list[Row] = []
        for number in range(1, 2 + int(min(6 * HOUR, draw.lognormvariate(*SLOW)) / asks)):
            then = at + number * asks
            details = principal.details(secret, pod.address, pod.login, denied=then >= secret.ends)
            rows.append((then, (*details[:2], gone, *details[3:]), ""))
        return rows

    def _refused(self, at: float) -> Generator[Burst, None, float]:
        """An expired policy: every read fails, again and again, until somebody has mended it, which it gives."""
        principal = self.principal
        mended = at + principal.draw.uniform(0.5, 3) * HOUR
        while at < mended:
            pod = principal.draw.choice(self.pods)
            refused = [
                principal.details(secret, pod.address, pod.login, denied=True) for secret in principal.secrets[:3]
            ]
            yield at, [(at + 0.1 * number, details, "") for number, details in enumerate(refused)]
            at += principal.draw.uniform(20, 60)
        return at

    def _log_in(self, at: float, pod: Pod) -> list[Row]:
        return [login_row(self.principal, at, pod.address)] if self.principal.system == HUB else []

    def _awake(self, at: float) -> int:
        """How many pods there are by that hour: inference follows who is awake."""
        if self.principal.kind != INFERENCE:
            return len(self.pods)
        load = QUIET + (1 - QUIET) * _daily(at)
        wanted = max(1, round(self.size * load))
        while len(self.pods) < wanted:
            self.pods.append(Pod(self.principal, at))
            self.pods[-1].ends = at  # it logs in when its turn comes
        del self.pods[wanted:]
        return wanted

    def _show(self) -> None:
        self.principal.sessions = [(pod.address, pod.login) for pod in self.pods]

    def _next_deployment(self, at: float) -> float:
        """In working hours of its team, as a rule."""
        draw = self.principal.draw
        day = int((at + draw.expovariate(self.deployments) * DAY) // DAY) + 1
        while not self.world.calendar.works(self.principal.zone, day) and day < self.world.calendar.days:
            day += 1
        return local(self.principal.zone, day, draw.triangular(9, 18, 14))

    def _next_refusal(self, at: float) -> float:
        return at + self.principal.draw.expovariate(EXPIRED) * DAY


def _daily(at: float) -> float:
    """The load of an hour, from -1 to 1, highest at 16 UTC, when Europe and America are both awake."""
    hour = (at % DAY) / HOUR
    distance = min(abs(hour - 16), 24 - abs(hour - 16))
    return 1 - distance / 6


def training(principal: Principal, world: World) -> Iterator[Burst]:
    """Jobs of one to 64 nodes, begun by people by day and by queues at night; each hour they fetch again."""
    draw = principal.draw
    a_day = draw.lognormvariate(0.2, 0.7)
    at = principal.begins * DAY
    while True:
        at += draw.expovariate(a_day / DAY * _rate(principal, world, at))
        yield at, []
        at = yield from _job(principal, at, draw)


def _job(principal: Principal, at: float, draw: Random) -> Generator[Burst, None, float]:
    """One job, and when it ends."""
    nodes = [Networks.gpu(draw) for _ in range(min(64, int(draw.paretovariate(1.1))))]
    principal.sessions = [(node, principal.log_in(at)) for node in nodes]
    rows: list[Row] = []
    for node, login in principal.sessions:
        begun = at + draw.random() * MINUTE
        rows += [
            login_row(principal, begun, node, login),
            *reads(principal, begun + 0.2, principal.secrets, node, login),
        ]
    yield at, rows
    end = at + min(2 * DAY, draw.lognormvariate(8.5, 1.3))
    while (at := at + HOUR) < end:
        yield at, _again(principal, at)
    return at


def _again(principal: Principal, at: float) -> list[Row]:
    """A job's first node fetches again: with a login of its own where it is another node, or the token has ended."""
    node, login = principal.sessions[0]
    failed = principal.draw.random() < 0.01
    if not failed and at < principal.ends:
        return reads(principal, at, principal.secrets[:1], node, login)
    node = Networks.gpu(principal.draw) if failed else node
    principal.sessions[0] = node, principal.log_in(at)
    return [login_row(principal, at, node), *reads(principal, at + 0.2, principal.secrets[:1], node)]


def _rate(principal: Principal, world: World, at: float) -> float:
    """More by day than at night, less at the weekend."""
    day = int(at // DAY)
    hour = (at - local(principal.zone, day, 0)) / HOUR % 24
    share = 1.6 if 9 <= hour < 20 else 0.5
    return share if world.calendar.works(principal.zone, day) else share * 0.4


def ci(principal: Principal, world: World) -> Iterator[Burst]:
    """Jobs when people push, and some by night; each with a login and an address of its own."""
    draw = principal.draw
    a_day = draw.lognormvariate(1.6, 0.9)
    at = principal.begins * DAY
    while True:
        at += draw.expovariate(a_day / DAY * _rate(principal, world, at))
        yield at, []
        address = Networks.runner(draw)
        principal.log_in(at)
        principal.be_at(address)
        count = draw.randint(1, len(principal.secrets))
        chosen = principal.secrets[:count]
        yield at, [login_row(principal, at, address), *reads(principal, at + 0.5, chosen, address, pace=3.0)]


def timetable(principal: Principal, world: World) -> Iterator[Burst]:
    """Batch jobs by night, and cron jobs each hour, day, week or month: always at the same minute, from few hosts."""
    draw = principal.draw
    hosts = [Networks.pod(principal.team.cluster, draw) for _ in range(draw.randint(1, 3))]
    period = 1 if principal.kind == BATCH else draw.choices((0, 1, 7, 28), (20, 45, 25, 10))[0]
    hour = draw.triangular(0, 5, 2) if principal.kind == BATCH else draw.uniform(0, 24)
    if period == 0:
        yield from _hourly(principal, hosts)
    day = principal.begins + (draw.randrange(period) if period > 1 else 0)
    while True:
        at = max(0.0, local(principal.zone, day, hour) + draw.random() * 90)
        yield at, []
        if draw.random() < 0.02:
            hosts[0] = Networks.pod(principal.team.cluster, draw)
        yield at, _run(principal, at, draw.choice(hosts))
        day += period


def _hourly(principal: Principal, hosts: list[str]) -> Iterator[Burst]:
    at = principal.begins * DAY + principal.draw.random() * HOUR
    while True:
        yield at, []
        yield at, _run(principal, at + principal.draw.random() * 20, principal.draw.choice(hosts))
        at += HOUR


def _run(principal: Principal, at: float, host: str) -> list[Row]:
    principal.log_in(at)
    principal.be_at(host)
    return [login_row(principal, at, host), *reads(principal, at + 0.3, principal.secrets, host, pace=1.0)]


def dormant(principal: Principal, world: World) -> Iterator[Burst]:
    """An account that was used for the last time weeks before the run begins."""
    at = -principal.draw.uniform(40, 60) * DAY
    address = principal.sessions[0][0]
    principal.log_in(at)
    principal.be_at(address)
    yield 0.0, [login_row(principal, at, address), *reads(principal, at + 5, principal.secrets, address, pace=20)]


def sync(principal: Principal, world: World) -> Iterator[Burst]:
    """Each quarter of an hour what has changed, and everything at two in the night."""
    draw, host = principal.draw, principal.sessions[0][0]
    everything = world.secrets
    principal.log_in()
    principal.be_at(host)
    stamp = 0
    at = 0.0
    while True:
        at += 15 * MINUTE
        yield at, []
        if int(at % DAY) == 2 * HOUR:
            principal.log_in(at)
            principal.be_at(host)
            yield at, [login_row(principal, at, host), *reads(principal, at + 1, everything, host, pace=0.1)]
        else:
            changed = sum(team.stamp for team in world.teams)
            yield at, reads(principal, at + 1, sample(draw, everything, changed - stamp), host)
            stamp = changed


def backup(principal: Principal, world: World) -> Iterator[Burst]:
    """Everything, at half past three."""
    at = 3.5 * HOUR
    while True:
        yield at, []
        host = principal.sessions[0][0]
        principal.log_in(at)
        principal.be_at(host)
        yield at, [login_row(principal, at, host), *reads(principal, at + 1, world.secrets, host, pace=0.2)]
        at += DAY


def scanner(principal: Principal, world: World) -> Iterator[Burst]:
    """On Tuesdays at ten the platform's scanner tries all secrets, and may read half of them."""
    at = DAY + 10 * HOUR
    draw, host = principal.draw, principal.sessions[0][0]
    while True:
        yield at, []
        principal.log_in(at)
        principal.be_at(host)
        rows: list[Row] = [login_row(principal, at, host)]
        for number, secret in enumerate(world.secrets):
            details = principal.details(secret, host, denied=draw.random() < 0.5)
            rows.append((at + 1 + number * 0.2, details, ""))
        yield at, rows
        at += 7 * DAY


def node_failures(world: World, draw: Random) -> Iterator[Burst]:
    """Nodes fail: pods of three to twelve services begin anew within a minute."""
    at = 0.0
    while True:
        at += draw.expovariate(len(world.of_kind(SERVICE, INFERENCE)) * NODES_A_DAY) * DAY
        yield at, []
        running = [fleet for fleet in world.fleets if fleet.principal.begins * DAY < at - HOUR]
        struck = draw.sample(running, min(len(running), draw.randint(3, 12)))
        yield at, [row for fleet in struck for row in fleet.fail_over(at + MINUTE * draw.random())]


def fleet(principal: Principal, world: World) -> Iterator[Burst]:
    """A service that runs always."""
    return Fleet(principal, world).bursts()


LIVES: Final = {
    SERVICE: fleet,
    INFERENCE: fleet,
    TRAINING: training,
    CI: ci,
    BATCH: timetable,
    CRON: timetable,
    DORMANT: dormant,
    "sync": sync,
    "backup": backup,
    "scanner": scanner,
    "writer": changes.writer,
}
