"""What an attack script is: whom it is done to, when, after whose publication, and the rows that it leaves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

from benchmarks.lab import changes, rights
from benchmarks.lab.calendar import DAY, MINUTE, local
from benchmarks.lab.rights import Scope
from benchmarks.lab.rows import Burst, login_path
from benchmarks.lab.world import (
    DORMANT,
    HUB,
    LDAP_METHOD,
    PERSON,
    Details,
    Networks,
    Principal,
    Row,
    Secret,
    Team,
    World,
    sample,
    token,
)
from keyturn.core.ports.access import LOGIN, READ

When = Literal["work", "night", "weekend", "holiday", "any"]
AGENTS: Final = ("curl/8.9", "python-requests/2.32", "Go-http-client/1.1")
"""What thieves' programs call themselves, where they don't take the trouble."""
REVOKED_BEFORE: Final = 2 * MINUTE
"""How long before the attack its secret is revoked, for those that are about it."""


@dataclass(frozen=True)
class Scenario:
    """A script. ``hopeless`` says why nothing in the log sets it apart, where that is so: it is counted by itself.

    ``reach`` is what the victim may read, from the run's first day on, since the hub would refuse the rest, and
    ``password`` says that the hub itself passes the victim's password on, and so logs what fails, ``operates`` that
    the victim may write policies, and has done so.
    """

    name: str
    family: str
    source: str
    act: "Callable[[Scene], None]"
    victims: tuple[str, ...]
    systems: tuple[str, ...]
    when: When
    lasts: int
    revokes: bool
    deploys: bool
    hopeless: str
    reach: Scope
    password: bool
    operates: bool

    @property
    def does(self) -> str:
        """What happens, in one sentence."""
        return " ".join((self.act.__doc__ or "").split())


SCENARIOS: Final[dict[str, Scenario]] = {}


def scenario(
    family: str,
    source: str,
    *,
    victims: tuple[str, ...] = (PERSON,),
    systems: tuple[str, ...] = (HUB,),
    when: When = "any",
    lasts: int = 1,
    revokes: bool = False,
    deploys: bool = False,
    hopeless: str = "",
    reach: Scope = Scope.OWN,
    password: bool = False,
    operates: bool = False,
) -> "Callable[[Callable[[Scene], None]], Callable[[Scene], None]]":
    """Enter a script; ``lasts`` are the days that it needs before the run ends."""

    def enter(act: Callable[[Scene], None]) -> Callable[[Scene], None]:
        name = act.__name__.replace("_", "-")
        SCENARIOS[name] = Scenario(
            name,
            family,
            source,
            act,
            victims,
            systems,
            when,
            lasts,
            revokes,
            deploys,
            hopeless,
            reach,
            password,
            operates,
        )
        return act

    return enter


@dataclass
class Attack:
    """A script that was played: its victim, and once it has begun, who appears in its events and when."""

    scenario: Scenario
    number: int
    victim: Principal
    at: float
    secret: Secret
    principals: set[str] = field(default_factory=set)
    systems: set[str] = field(default_factory=set)
    first: float = 0.0
    last: float = 0.0
    events: int = 0

    @property
    def label(self) -> str:
        """What its events carry."""
        return f"{self.scenario.name}#{self.number}"

    def bursts(self, world: World) -> Iterator[Burst]:
        """Wait, revoke where that belongs to it, and act."""
        if self.scenario.revokes:
            yield self.at - REVOKED_BEFORE, []
            world.rotate(self.secret, self.at - REVOKED_BEFORE, revoked=True)
        yield self.at, []
        scene = Scene(world, Random(f"{world.seed} {self.label}"), self)
        self.scenario.act(scene)
        labelled = [row for row in scene.rows if row[2]]
        self.events = len(labelled)
        self.first, self.last = min(row[0] for row in labelled), max(row[0] for row in labelled)
        self.principals = {row[1][3] for row in labelled}
        self.systems = {row[1][0] for row in labelled}
        yield self.at, scene.rows


class Scene:
    """What a script acts with: the victim as it is at that moment, and the rows that are left behind."""

    def __init__(self, world: World, draw: Random, attack: Attack) -> None:
        self.world, self.draw, self.attack = world, draw, attack
        self.victim, self.at = attack.victim, attack.at
        # Who has not been seen in the run yet has a token from before it, on their desk.
        desk = Networks.office(self.victim.zone, Random(self.victim.name)), token(f"{self.victim.name} before")
        self.address, self.login = draw.choice(self.victim.sessions or [desk])
        self.rows: list[Row] = []

    @property
    def own_login(self) -> str:
        """A login that the attacker makes."""
        return token(f"{self.attack.label} logs in")

    @property
    def others(self) -> list[Secret]:
        """What the victim's team has, decoys among it, and the victim does not use."""
        team = self.victim.team
        return [secret for secret in [*team.secrets, *team.decoys] if secret not in self.victim.secrets]

    def foreign(self, count: int) -> list[Secret]:
        """Secrets of other teams, decoys among them."""
        others = [team for team in self.world.teams if team is not self.victim.team]
        return sample(self.draw, [secret for team in others for secret in [*team.secrets, *team.decoys]], count)

    def restricted_elsewhere(self, count: int) -> list[Secret]:
        """What other teams restrict."""
        others = [team for team in self.world.teams if team is not self.victim.team]
        return sample(self.draw, [secret for team in others for secret in team.restricted], count)

    def pick(self, secrets: list[Secret], count: int) -> list[Secret]:
        """So many of them, or all."""
        return sample(self.draw, secrets, count)

    def another(self, kind: str, team: Team | None = None) -> Principal:
        """Somebody else of that kind, of a team where one is named."""
        crowd = [other for other in self.world.of_kind(kind) if other is not self.victim and other.sessions]
        return self.draw.choice([other for other in crowd if other.team is team] or crowd)

    def people(self, count: int) -> list[Principal]:
        """So many, or all, in any order."""
        crowd = self.world.of_kind(PERSON)
        return self.draw.sample(crowd, min(count, len(crowd)))

    def stranger(self) -> str:
        """An agent that the victim does not use."""
        return self.draw.choice([agent for agent in AGENTS if agent != self.victim.agent])

    def read(self, after: float, secret: Secret, source: str = "", *, ordinary: bool = False, **changes: Any) -> None:
        """One read, as the victim's but for ``changes``: fields of Access."""
        fields = self._fields(secret, source or self.address) | changes
        if fields["denied"] or fields["system"] != HUB:
            fields["granted"] = ""
        label = "" if ordinary else self.attack.label
        self.rows.append((self.at + after, _details(fields), label))

    def read_all(
        self, secrets: list[Secret], source: str = "", *, pace: float, after: float = 0.0, **changes: Any
    ) -> float:
        """Read these, some ``pace`` seconds apart, and say when that is done."""
        for secret in secrets:
            self.read(after, secret, source, **changes)
            after += pace * self.draw.uniform(0.4, 1.6)
        return after

    def log_in(
        self,
        after: float,
        source: str = "",
        *,
        failed: bool = False,
        ordinary: bool = False,
        who: Principal | None = None,
        **changes: Any,
    ) -> None:
        """A login of the victim, or one that fails, which shows no more than an address; by the name of ``who``."""
        address, other = source or self.address, who or self.victim
        fields = self._fields(self.victim.secrets[0], address) | {
            "path": login_path(LDAP_METHOD if self.attack.scenario.password else other.method, other.short),
            "version": None,
            "principal": other.name,
            "agent": other.agent,
            "action": LOGIN,
            "denied": failed,
        }
        if failed:
            fields |= {"principal": f"failed login from {address}", "login": ""}
        label = "" if ordinary else self.attack.label
        fields |= changes
        fields["granted"] = "" if failed else rights.held(other)
        self.rows.append((self.at + after, _details(fields), label))

    def change(self, after: float, path: str, author: Principal, source: str, login: str) -> None:
        """What one may do is written, by the attacker or whom they got to do it."""
        self.rows.append((self.at + after, changes.change(author, path, source, login), self.attack.label))

    def be_at_work(self, after: float = 0.0, *, ordinary: bool = False) -> str:
        """The victim's own session where they are: a login, if their token has ended by then; gives the login."""
        if self.at + after < self.victim.ends:
            return self.login
        login = token(f"{self.attack.label} {after}")
        self.log_in(after, ordinary=ordinary, login=login)
        return login

    def _fields(self, secret: Secret, source: str) -> dict[str, Any]:
        version = secret.version if self.victim.system == HUB else None
        return {
            "system": self.victim.system,
            "path": secret.path,
            "version": version,
            "principal": self.victim.name,
            "source": source,
            "denied": False,
            "login": self.login,
            "action": READ,
            "agent": self.victim.agent,
            "root": False,
            "granted": rights.granted(self.victim, secret),
        }


def _details(fields: dict[str, Any]) -> Details:
    ordered = tuple(fields.values())
    if len(ordered) != 11:
        raise ValueError(f"an access has no such field: {sorted(fields)}")
    return ordered


def plan(world: World, instances: int) -> list[Attack]:
    """Each script so many times, over the days after the warm-up. Raises ValueError where these are too few."""
    attacks = [
        attack
        for entry in SCENARIOS.values()
        for number in range(1, instances + 1)
        if (attack := _planned(world, entry, number))
    ]
    return sorted(attacks, key=lambda attack: attack.at)


def _planned(world: World, entry: Scenario, number: int) -> Attack:
    draw = Random(f"{world.seed} {entry.name} {number}")
    victims = [principal for principal in world.of_kind(*entry.victims) if _fits(principal, entry, world)]
    if not victims:
        raise ValueError(f"the lab is too small for {number} times {entry.name}")
    victim = draw.choice(victims)
    if victim.kind in _MANY:
        world.attacked.add(victim.name)
    victim.scope = max(victim.scope, entry.reach)
    if entry.operates:
        victim.operates = True
        world.operators.append(victim)
    victim.team.policies |= rights.of_the_team(victim)
    at = _time(world, entry, victim, draw)
    attack = Attack(entry, number, victim, at, draw.choice(victim.secrets))
    if entry.deploys:
        world.deployments[victim.name] = at - MINUTE
    return attack


_MANY: Final = (PERSON, "service", "inference", "training", "ci", "batch", "cron", DORMANT)


def _fits(principal: Principal, entry: Scenario, world: World) -> bool:
    """Whether that is somebody whom the lab has seen for days, and who is nobody's victim yet."""
    established = principal.begins <= max(0, world.calendar.warm_up - 5)
    fits = principal.system in entry.systems and (not entry.password or principal.method == LDAP_METHOD)
    return established and fits and principal.name not in world.attacked


def _time(world: World, entry: Scenario, victim: Principal, draw: Random) -> float:
    calendar = world.calendar
    days = list(range(calendar.warm_up, max(calendar.warm_up + 1, calendar.days - entry.lasts)))
    if DORMANT in entry.victims:
        days = days[-3:]
    match entry.when:
        case "work":
            chosen, hours = [day for day in days if calendar.works(victim.zone, day)], (9.5, 16.5)
        case "night":
            chosen, hours = days, (1.0, 4.5)
        case "weekend":
            chosen, hours = [day for day in days if day % 7 > 4], (8.0, 20.0)
        case "holiday":
            chosen, hours = sorted(calendar.holidays[victim.zone]), (10.0, 16.0)
        case _:
            chosen, hours = days, (0.5, 23.0)
    return max(local(victim.zone, draw.choice(chosen or days), draw.uniform(*hours)), calendar.warm_up * DAY)
