"""Whom a lab consists of: its teams, their secrets, its networks, and everybody who reads."""

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from benchmarks.lab import rights
from benchmarks.lab.calendar import DAY, HOUR, ZONES, Calendar
from benchmarks.lab.rights import Habits, Scope
from keyturn.core.ports.access import READ

if TYPE_CHECKING:
    from benchmarks.lab.machines import Fleet

PERSON: Final = "person"
SERVICE: Final = "service"
INFERENCE: Final = "inference"
TRAINING: Final = "training"
CI: Final = "ci"
BATCH: Final = "batch"
CRON: Final = "cron"
DORMANT: Final = "dormant"
SYNC: Final = "sync"
BACKUP: Final = "backup"
SCANNER: Final = "scanner"
WRITER: Final = "writer"

SHARES: Final = {PERSON: 0.22, SERVICE: 0.27, INFERENCE: 0.04, TRAINING: 0.16, CI: 0.19, BATCH: 0.05, CRON: 0.05}
"""Of all principals; what is left are accounts that sleep, and the platform's own."""

HUB: Final = "hub"
CLOUDS: Final = ("aws", "azure", "gcp")
PRINCIPALS_A_TEAM: Final = 150
LDAP_METHOD: Final = "ldap"
LDAP: Final = 0.3
"""Of people: how many log in with a password that the hub itself passes on, so that it logs those that are wrong; the
others do so at an identity provider, of whose refusals a hub knows nothing."""

Each = TypeVar("Each")
Details: TypeAlias = tuple[str, str, int | None, str, str, bool, str, str, str, bool, str]
"""The fields of an Access behind its moment, in their order."""
Row: TypeAlias = tuple[float, Details, str]
"""A moment, what happened then, and the label of the attack that it belongs to, empty where it is ordinary."""


@dataclass(slots=True, eq=False)
class Secret:
    """A secret in the hub, and which of its versions is current; ``ends`` is when the one before it is no more."""

    path: str
    team: "Team"
    restricted: bool = False
    version: int = 1
    ends: float = 0.0


@dataclass(slots=True, eq=False)
class Team:
    """Who owns secrets. ``stamp`` grows with each of its rotations; ``cluster`` is the second octet of its pods.

    ``decoys`` look like secrets and are nobody's: whoever works there does not come upon them. How its rights are
    written, :mod:`benchmarks.lab.rights` says.
    """

    name: str
    zone: str
    cluster: int
    secrets: list[Secret] = field(default_factory=list)
    decoys: list[Secret] = field(default_factory=list)
    stamp: int = 0
    habits: Habits = field(default_factory=Habits)
    policies: set[str] = field(default_factory=set)

    @property
    def restricted(self) -> list[Secret]:
        """Those that few may read."""
        return [secret for secret in self.secrets if secret.restricted]

    @property
    def unrestricted(self) -> list[Secret]:
        """The others."""
        return [secret for secret in self.secrets if not secret.restricted]


@dataclass(slots=True, eq=False)
class Principal:
    """Who reads: the same name in all of its events.

    ``sessions`` are the addresses from which it reads at the moment, each with its login, ``login`` the last of them
    and ``ends`` when that one's token ends, which lives for ``life`` seconds. ``scope`` says how much it may read,
    ``duty`` of which team it is on call, and ``operates`` that it may write policies.
    """

    name: str
    kind: str
    team: Team
    draw: Random
    agent: str
    secrets: list[Secret]
    system: str = HUB
    sessions: list[tuple[str, str]] = field(default_factory=list)
    login: str = ""
    ends: float = -math.inf
    life: float = 32 * DAY
    logins: int = 0
    scope: Scope = Scope.OWN
    duty: "Team | None" = None
    operates: bool = False
    begins: int = 0
    reads_a_day: float = 0.0
    home: str = ""
    remote: bool = False
    owl: bool = False
    clumsy: bool = False
    active: float = 0.7
    owners: tuple[Team, ...] = ()

    @property
    def zone(self) -> str:
        """Whose clocks it goes by."""
        return self.team.zone

    @property
    def short(self) -> str:
        """Its name without the method by which it logs in."""
        return _named(self.name)[1]

    @property
    def method(self) -> str:
        """By which it logs in."""
        return _named(self.name)[0]

    def log_in(self, at: float = 0.0) -> str:
        """A new login, whose token lives from then on."""
        self.logins += 1
        self.login = token(f"{self.name} {self.logins}")
        self.ends = at + self.life
        return self.login

    def be_at(self, *addresses: str) -> None:
        """Read from there with the last login, and from nowhere else."""
        self.sessions = [(address, self.login) for address in addresses]

    def details(self, secret: Secret, source: str, login: str = "", *, denied: bool = False) -> Details:
        """An ordinary read of the current version."""
        version = secret.version if self.system == HUB and not denied else None
        return (
            self.system,
            secret.path,
            version,
            self.name,
            source,
            denied,
            login or self.login,
            READ,
            self.agent,
            False,
            "" if denied else rights.granted(self, secret),
        )


@lru_cache(maxsize=1 << 16)
def _named(name: str) -> tuple[str, str]:
    """The method by which that principal logs in, and its name there."""
    method, *rest = re.split("[ -]", name, maxsplit=1)
    return method, (rest or [method])[0].rpartition("/")[2]


def token(text: str) -> str:
    """Eight hex digits, as an audit log's reader tells logins apart."""
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


GRACE: Final = HOUR
"""How long after a promotion the version before it is retired."""


@dataclass
class World:
    """A lab. ``attacked`` are the victims, nobody twice; ``deployments`` says whose first one is at which second.

    ``listeners`` are told of rotations; ``fleets`` are the services that run.
    """

    seed: int
    calendar: Calendar
    teams: list[Team]
    principals: list[Principal]
    shared: list[Secret]
    attacked: set[str] = field(default_factory=set)
    deployments: dict[str, float] = field(default_factory=dict)
    fleets: "list[Fleet]" = field(default_factory=list)
    listeners: list[Callable[[float, Secret, bool], None]] = field(default_factory=list)
    operators: list[Principal] = field(default_factory=list)

    @property
    def writer(self) -> Principal:
        """The platform's pipeline, which writes policies."""
        return next(principal for principal in reversed(self.principals) if principal.kind == WRITER)

    @property
    def secrets(self) -> list[Secret]:
        """All that is in the hub."""
        return [*self.shared, *(secret for team in self.teams for secret in [*team.secrets, *team.decoys])]

    @property
    def decoys(self) -> list[Secret]:
        """Those of all teams."""
        return [decoy for team in self.teams for decoy in team.decoys]

    def of_kind(self, *kinds: str) -> list[Principal]:
        """In the order in which they were made."""
        return [principal for principal in self.principals if principal.kind in kinds]

    def rotate(self, secret: Secret, at: float, *, revoked: bool = False) -> None:
        """Give it a new version, and tell whoever listens: the moment, the secret, and whether it was revoked."""
        secret.version += 1
        secret.ends = at if revoked else at + GRACE
        secret.team.stamp += 1
        for listener in self.listeners:
            listener(at, secret, revoked)


EUROPE: Final = (81, 84, 85, 92, 178, 188)
HOMES: Final = {ZONES[0]: (24, 68, 73, 98), ZONES[3]: (126, 219, 220)}
ABROAD: Final = (102, 177, 190, 201)
"""First numbers of addresses, as IANA gives them to regions: Europe, North America, Asia; Africa and South America."""


@dataclass(frozen=True)
class Networks:
    """Where addresses come from: 10.20/16 and on are offices, 10.96/13 the VPN, 10.128/9 clusters, 10.64/13 runners."""

    @staticmethod
    def office(zone: str, draw: Random) -> str:
        """A desk; each site has a network."""
        return f"10.{20 + ZONES.index(zone)}.{draw.randrange(16)}.{draw.randrange(1, 255)}"

    @staticmethod
    def vpn(zone: str, draw: Random) -> str:
        """What the VPN gives for a day, by the place where it is entered."""
        return f"10.{96 + ZONES.index(zone)}.{draw.randrange(8)}.{draw.randrange(1, 255)}"

    @staticmethod
    def pod(cluster: int, draw: Random) -> str:
        """A pod's address."""
        return f"10.{cluster}.{draw.randrange(256)}.{draw.randrange(1, 255)}"

    @staticmethod
    def runner(draw: Random) -> str:
        """A CI runner's: seldom the same twice."""
        return f"10.{64 + draw.randrange(4)}.{draw.randrange(256)}.{draw.randrange(1, 255)}"

    @staticmethod
    def gpu(draw: Random) -> str:
        """A node of the training cluster."""
        return f"10.40.{draw.randrange(8)}.{draw.randrange(1, 255)}"

    @staticmethod
    def home(draw: Random, zone: str = "Europe/Zurich") -> str:
        """A provider's customer."""
        return _public(HOMES.get(zone, EUROPE), draw)

    @staticmethod
    def customer(first: int, draw: Random) -> str:
        """A hotspot, a train or a hotel, of a provider whose addresses begin so."""
        return _public((first,), draw)

    @staticmethod
    def abroad(draw: Random) -> str:
        """A hotel, a train, a conference."""
        return _public(ABROAD, draw)

    @staticmethod
    def hosting(draw: Random) -> str:
        """A rented server, or the exit of an anonymizing network."""
        return _public((45, 141, 185, 193, 194), draw)

    @staticmethod
    def cloud(system: str, draw: Random) -> str:
        """A workload's way out of a cloud."""
        return f"{_EGRESS[system]}.{draw.randrange(4)}.{draw.randrange(1, 255)}"


_EGRESS: Final = {"aws": "3.120", "azure": "20.50", "gcp": "34.65"}


def _public(first: Sequence[int], draw: Random) -> str:
    return f"{draw.choice(first)}.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(1, 255)}"


def build(seed: int, calendar: Calendar, principals: int, reads_a_day: int) -> World:
    """A lab of so many principals, whose services read what people and jobs leave of the reads a day."""
    draw = Random(f"world {seed}")
    teams = [_team(number, draw) for number in range(max(4, principals // PRINCIPALS_A_TEAM))]
    platform = Team("shared", ZONES[1], 128)
    platform.secrets = [Secret(f"shared/{name}", platform) for name in _SHARED]
    world = World(seed, calendar, teams, [], platform.secrets)
    for kind, share in SHARES.items():
        world.principals += [
            _principal(kind, number, world, draw) for number in range(max(2, round(principals * share)))
        ]
    world.principals += [_dormant(number, world, draw) for number in range(max(12, round(principals * 0.015)))]
    world.principals += _platform(world, platform)
    _write_policies(world)
    _spread(world, reads_a_day, draw)
    return world


OPERATORS: Final = 6
"""People who may write policies by hand."""


def _write_policies(world: World) -> None:
    """Those that everybody has from the beginning, and who may write more."""
    crowd = world.of_kind(PERSON)
    world.operators = Random(f"operators {world.seed}").sample(crowd, min(len(crowd), OPERATORS))
    for principal in world.operators:
        principal.operates = True
    for principal in world.principals:
        if principal.kind not in rights.PLATFORM and principal.begins == 0:
            principal.team.policies |= rights.of_the_team(principal)


_SHARED: Final = ("registry", "artifacts", "metrics", "tracing", "object-store", "experiments", "model-hub", "mail")
_SECRETS: Final = ("database", "queue", "cache", "api-key", "signing", "webhook", "bucket", "oauth", "license", "tls")
_PROJECTS: Final = [
    "vision",
    "speech",
    "ranking",
    "retrieval",
    "policy",
    "diffusion",
    "agents",
    "evals",
    "data",
    "serving",
]
_NAMES: Final = [
    "ana",
    "ben",
    "chen",
    "dia",
    "eli",
    "fay",
    "gus",
    "hana",
    "ivo",
    "jun",
    "kai",
    "lea",
    "mio",
    "noa",
    "ola",
    "pia",
]


def _team(number: int, draw: Random) -> Team:
    """Some 60 secrets at the median, one in twelve restricted."""
    name = f"{_PROJECTS[number % len(_PROJECTS)]}-{number // len(_PROJECTS)}"
    team = Team(name, draw.choices(ZONES, (40, 25, 20, 15))[0], 128 + number % 64)
    count = min(400, max(30, round(draw.lognormvariate(4.1, 0.5))))
    for index in range(count):
        restricted = index % 12 == 0
        kind = _SECRETS[index % len(_SECRETS)]
        place = "restricted" if restricted else f"app-{index // len(_SECRETS)}"
        team.secrets.append(Secret(f"{name}/{place}/{kind}-{index}", team, restricted, draw.randrange(1, 9)))
    team.habits = Habits.drawn(Random(f"habits {name} {count}"))
    team.decoys = [Secret(f"{name}/app-0/admin-key", team), Secret(f"{name}/restricted/master-key", team)]
    return team


def _principal(kind: str, number: int, world: World, draw: Random) -> Principal:
    team = world.teams[number % len(world.teams)] if number < len(world.teams) else draw.choice(world.teams)
    own = Random(f"{world.seed} {kind} {number}")
    entry = Random(f"{world.seed} {kind} {number} login")
    principal = Principal(_name(kind, number, team, entry), kind, team, own, _agent(kind, own), [])
    principal.scope = rights.scope(kind, team, entry)
    principal.life = entry.choices(*_TOKENS)[0] if kind != PERSON else _a_persons_life(entry)
    principal.secrets = _working_set(principal, world)
    principal.owners = tuple({id(secret.team): secret.team for secret in principal.secrets}.values())
    if kind == PERSON:
        principal.home = Networks.home(own, team.zone)
        principal.remote = own.random() < 0.2
        principal.owl = own.random() < 0.05
        principal.clumsy = own.random() < 0.05
        principal.active = min(0.95, max(0.05, own.betavariate(2, 1.4)))
    if kind == SERVICE and own.random() < 0.25:
        _move_to_cloud(principal, own)
    principal.begins = _beginning(kind, world.calendar, own)
    return principal


def _beginning(kind: str, calendar: Calendar, draw: Random) -> int:
    """The day on which a principal comes: a few are newcomers, and jobs come and go more often than people."""
    late = {PERSON: 0.03, TRAINING: 0.12, CI: 0.06, SERVICE: 0.04, BATCH: 0.03, CRON: 0.02}.get(kind, 0.0)
    return draw.randrange(calendar.days) if draw.random() < late else 0


_TOKENS: Final = ((HOUR, 12 * HOUR, DAY, 32 * DAY), (15, 10, 25, 50))
"""Seconds that a program's token lives, with how many of a hundred have it: what agents renew lives as long as the hub
lets it, which is 32 days where nobody says less."""
RENEWED: Final = 0.2
"""Of people: how many have a program that renews their token through the week."""


def _a_persons_life(draw: Random) -> float:
    return draw.uniform(3, 7) * DAY if draw.random() < RENEWED else draw.uniform(8, 12) * HOUR


def _name(kind: str, number: int, team: Team, draw: Random) -> str:
    match kind:
        case "person":
            return (
                f"{LDAP_METHOD if draw.random() < LDAP else 'oidc'}-{_NAMES[number % len(_NAMES)]}.{number}@lab.example"
            )
        case "ci":
            return f"jwt-lab/{team.name}/repository-{number}"
        case "training":
            return f"kubernetes-train-{team.name}-{number}"
        case "inference":
            return f"kubernetes-serve-{team.name}-{number}"
    return f"approle {kind}-{team.name}-{number}"


def _agent(kind: str, draw: Random) -> str:
    agents = {
        PERSON: ("bao/2.5.0", "bao/2.4.1", "Mozilla/5.0", "vault/1.20.2"),
        CI: ("vault-action/3.4", "bao/2.5.0"),
        TRAINING: ("python-hvac/2.3.0", "keyturn/1.0"),
    }
    return draw.choice(agents.get(kind, ("bao-agent/2.5.0", "python-hvac/2.3.0", "Go-http-client/2.0", "keyturn/1.0")))


def _working_set(principal: Principal, world: World) -> list[Secret]:
    """Most read one to five secrets, few read dozens; as many functions as an application has elsewhere, and some."""
    draw, team = principal.draw, principal.team
    count = min(len(team.secrets) // 2, max(1, round(draw.lognormvariate(*_SIZES[principal.kind]))))
    chosen = sample(draw, team.unrestricted, count)
    if draw.random() < (0.2 if principal.kind == PERSON else 0.1):
        chosen.append(draw.choice(team.restricted))
    return [*chosen, *draw.sample(world.shared, draw.randrange(3))]


_SIZES: Final = {
    PERSON: (2.0, 0.6),
    SERVICE: (1.2, 0.8),
    INFERENCE: (1.6, 0.5),
    TRAINING: (1.5, 0.5),
    CI: (1.1, 0.6),
    BATCH: (1.6, 0.8),
    CRON: (1.1, 0.7),
}


def _move_to_cloud(principal: Principal, draw: Random) -> None:
    """A service that reads copies in a cloud's store; the name is in that cloud's words."""
    system, short = draw.choice(CLOUDS), principal.name.removeprefix("approle ")
    principal.system = system
    principal.name = {
        "aws": f"arn:aws:sts::123456789012:assumed-role/{short}/session",
        "azure": f"spn-{short}",
        "gcp": f"{short}@lab-prod.iam.gserviceaccount.com",
    }[system]
    principal.agent = {"aws": "Boto3/1.40", "azure": "azsdk-python-keyvault/4.10", "gcp": "gl-python/3.12"}[system]


def _dormant(number: int, world: World, draw: Random) -> Principal:
    team = draw.choice(world.teams)
    own = Random(f"{world.seed} dormant {number}")
    person = number % 3 == 2
    name = f"oidc-former.{number}@lab.example" if person else f"approle legacy-{team.name}-{number}"
    principal = Principal(
        name, DORMANT, team, own, "python-hvac/1.2.1", own.sample(team.unrestricted, 4), scope=Scope.FOLDER
    )
    principal.sessions = [(Networks.vpn(team.zone, own) if person else Networks.pod(team.cluster, own), "")]
    return principal


def _platform(world: World, team: Team) -> list[Principal]:
    """What the lab itself runs: it reads everything, by a timetable."""
    logins = (
        (SYNC, "approle keyturn-sync", "keyturn/1.0"),
        (BACKUP, "approle hub-backup", "restic-hub/0.4"),
        (SCANNER, "approle platform-scanner", "secret-scanner/2.1"),
        (WRITER, "approle hub-policies", "Terraform/1.9 terraform-provider-vault/4.4"),
    )
    return [
        Principal(
            name, kind, team, Random(f"{world.seed} {name}"), agent, world.secrets, sessions=[(f"10.10.0.{host}", "")]
        )
        for host, (kind, name, agent) in enumerate(logins, 3)
    ]


_HOSTS: Final = ("10.10.0.3", "10.10.0.4", "10.10.0.5", "10.10.0.6")


def _spread(world: World, reads_a_day: int, draw: Random) -> None:
    """Give each service its part of the reads: a range of many orders of magnitude, as functions elsewhere have."""
    services = world.of_kind(SERVICE, INFERENCE)
    weights = [draw.lognormvariate(2.5 if service.kind == INFERENCE else 0.0, 1.8) for service in services]
    left = max(0.3, 1 - _of_jobs(world) / reads_a_day) * reads_a_day
    for principal, weight in zip(services, weights, strict=True):
        principal.reads_a_day = left * weight / sum(weights)


def _of_jobs(world: World) -> float:
    """About what everybody else reads a day."""
    people, jobs = len(world.of_kind(PERSON)), len(world.of_kind(TRAINING, CI, BATCH, CRON))
    return people * 6 + jobs * 30 + len(world.secrets) * 2.2


def sample(draw: Random, crowd: Sequence[Each], count: int) -> list[Each]:
    """So many of them, or all."""
    return draw.sample(crowd, min(count, len(crowd)))
