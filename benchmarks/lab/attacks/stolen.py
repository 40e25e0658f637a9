"""A token or a login is stolen, and used from somewhere else, or from where it was."""

from typing import Final

from benchmarks.lab.attacks.base import Scene, scenario
from benchmarks.lab.calendar import DAY, HOUR, MINUTE
from benchmarks.lab.rights import Scope
from benchmarks.lab.world import DORMANT, INFERENCE, SERVICE, Networks

FAMILY: Final = "stolen token"
TOKEN: Final = "MITRE ATT&CK T1528, Steal Application Access Token"
CIRCLECI: Final = "CircleCI incident report of 4 January 2023: a session token taken from an engineer's laptop"
CLOUD_ACCOUNT: Final = "MITRE ATT&CK T1078.004, Valid Accounts: Cloud Accounts"
INFOSTEALER: Final = "MITRE ATT&CK T1555, Credentials from Password Stores (information stealers on the host)"


@scenario(FAMILY, CIRCLECI, reach=Scope.TEAM)
def stolen_token_read_elsewhere_at_once(scene: Scene) -> None:
    """A person's token reads all they use and much of their team's from a rented server, within minutes."""
    wanted = [*scene.victim.secrets, *scene.pick(scene.others, 20)]
    scene.read_all(wanted, Networks.hosting(scene.draw), pace=4, agent=scene.stranger())


@scenario(FAMILY, TOKEN, lasts=2, reach=Scope.TEAM)
def stolen_token_read_elsewhere_slowly(scene: Scene) -> None:
    """One secret each half hour or so, through a day, from a rented server."""
    wanted = [*scene.pick(scene.victim.secrets, 4), *scene.pick(scene.others, 8)]
    scene.read_all(wanted, Networks.hosting(scene.draw), pace=HOUR / 2, agent=scene.stranger())


@scenario(FAMILY, TOKEN, when="work", lasts=5, reach=Scope.TEAM)
def stolen_token_low_and_slow(scene: Scene) -> None:
    """Three or four reads a day in working hours for four days, from another provider's customer each day."""
    for day in range(4):
        source = Networks.home(scene.draw)
        wanted = scene.pick([*scene.victim.secrets, *scene.others], scene.draw.randint(3, 4))
        scene.read_all(wanted, source, pace=HOUR, after=day * DAY)


@scenario(
    FAMILY,
    "MITRE ATT&CK T1550.001, Use Alternate Authentication Material: Application Access Token",
    when="work",
    reach=Scope.TEAM,
)
def stolen_token_in_the_same_network(scene: Scene) -> None:
    """From another desk of the same office: what the victim uses, and a dozen of the team's."""
    source = Networks.office(scene.victim.zone, scene.draw)
    scene.read_all([*scene.victim.secrets, *scene.pick(scene.others, 12)], source, pace=20, agent=scene.stranger())


@scenario(FAMILY, INFOSTEALER, when="work", reach=Scope.TEAM)
def stolen_token_on_the_same_host(scene: Scene) -> None:
    """Another program on the victim's own computer reads fifteen of the team's secrets."""
    login = scene.be_at_work(ordinary=True)
    scene.read_all(scene.pick(scene.others, 15), pace=5, after=MINUTE, agent=scene.stranger(), login=login)


@scenario(FAMILY, TOKEN, when="work")
def stolen_token_at_usual_hours(scene: Scene) -> None:
    """From a rented server, but only what the victim uses, in working hours, at a person's pace."""
    scene.read_all(scene.pick(scene.victim.secrets, 6), Networks.hosting(scene.draw), pace=3 * MINUTE)


@scenario(FAMILY, TOKEN, when="night", reach=Scope.TEAM)
def stolen_token_by_night(scene: Scene) -> None:
    """From a provider's customer, by night, what the victim uses and three more."""
    wanted = [*scene.pick(scene.victim.secrets, 3), *scene.pick(scene.others, 3)]
    scene.read_all(wanted, Networks.home(scene.draw), pace=2 * MINUTE)


@scenario(
    FAMILY, "MITRE ATT&CK T1552.001, Unsecured Credentials: Credentials In Files", victims=(SERVICE,), when="work"
)
def service_login_on_a_laptop(scene: Scene) -> None:
    """An application's AppRole is copied out of its configuration and used on a desk, for its own secrets."""
    source = Networks.office(scene.victim.zone, scene.draw)
    scene.log_in(0, source, login=scene.own_login, agent="bao/2.5.0")
    scene.read_all(scene.victim.secrets, source, pace=15, after=2, login=scene.own_login, agent="bao/2.5.0")


@scenario(FAMILY, "MITRE ATT&CK T1552.007, Unsecured Credentials: Container API", victims=(SERVICE, INFERENCE))
def service_token_on_the_internet(scene: Scene) -> None:
    """A token taken from a container is used on a rented server, for the service's own secrets, once."""
    scene.read_all(scene.victim.secrets, Networks.hosting(scene.draw), pace=2, agent=scene.stranger())


@scenario("impossible travel", CLOUD_ACCOUNT, when="work")
def read_on_two_continents(scene: Scene) -> None:
    """The victim reads at their desk, and twenty minutes later the same login does so on another continent."""
    login = scene.be_at_work(ordinary=True)
    scene.read_all(scene.pick(scene.victim.secrets, 2), pace=30, after=5, ordinary=True, login=login)
    wanted = scene.pick(scene.victim.secrets, 4)
    scene.read_all(wanted, Networks.abroad(scene.draw), pace=MINUTE, after=20 * MINUTE, login=login)


@scenario("impossible travel", CLOUD_ACCOUNT, when="work", reach=Scope.TEAM)
def in_two_countries_vpn(scene: Scene) -> None:
    """A second login of the same person, by the VPN of another country, while the first one is at work."""
    zone = next(name for name in ("Asia/Tokyo", "America/Los_Angeles") if name != scene.victim.zone)
    source = Networks.vpn(zone, scene.draw)
    login = scene.be_at_work(ordinary=True)
    scene.read_all(scene.pick(scene.victim.secrets, 2), pace=30, after=5, ordinary=True, login=login)
    scene.log_in(15 * MINUTE, source, login=scene.own_login)
    wanted = [*scene.pick(scene.victim.secrets, 2), *scene.pick(scene.others, 5)]
    scene.read_all(wanted, source, pace=MINUTE, after=16 * MINUTE, login=scene.own_login)
    scene.read_all(scene.pick(scene.victim.secrets, 2), pace=30, after=20 * MINUTE, ordinary=True, login=login)


MIDNIGHT: Final = "Microsoft, Midnight Blizzard (January 2024): an unwatched legacy test account"


@scenario("dormant", MIDNIGHT, victims=(DORMANT,), when="work")
def dormant_account_awake(scene: Scene) -> None:
    """An account unused since the first days reads its own secrets, from its usual place."""
    scene.log_in(0, login=scene.own_login)
    scene.read_all(scene.victim.secrets, pace=10, after=3, login=scene.own_login)


@scenario("dormant", MIDNIGHT, victims=(DORMANT,), when="night", reach=Scope.TEAM)
def dormant_account_elsewhere(scene: Scene) -> None:
    """The same by night, from a rented server, with other secrets of its team."""
    source, agent = Networks.hosting(scene.draw), scene.stranger()
    scene.log_in(0, source, login=scene.own_login, agent=agent)
    wanted = [*scene.victim.secrets, *scene.pick(scene.others, 6)]
    scene.read_all(wanted, source, pace=20, after=5, agent=agent, login=scene.own_login)


@scenario("dormant", "CISA AA24-057A: SVR actors use accounts of former employees", victims=(DORMANT,), when="work")
def former_employee(scene: Scene) -> None:
    """An account that should be gone logs in at a home address, and reads two secrets."""
    source = Networks.home(scene.draw)
    scene.log_in(0, source, login=scene.own_login)
    scene.read_all(scene.pick(scene.victim.secrets, 2), source, pace=MINUTE, after=5, login=scene.own_login)


@scenario("mimicry", TOKEN, victims=(SERVICE,), hopeless="the same process's address, login, agent, secrets and pace")
def shell_in_a_pod_reads_its_own(scene: Scene) -> None:
    """An attacker with a shell in a pod reads again what the pod reads anyway."""
    scene.read_all(scene.victim.secrets, pace=0.1)


@scenario("mimicry", INFOSTEALER, when="work", hopeless="one usual secret on the usual computer at a usual hour")
def one_usual_secret_on_the_own_laptop(scene: Scene) -> None:
    """A program on the victim's computer, that names itself as theirs, reads one secret that they use."""
    scene.read(5, scene.victim.secrets[0], login=scene.be_at_work(ordinary=True))


@scenario(
    "mimicry",
    "MITRE ATT&CK T1036, Masquerading",
    victims=(SERVICE,),
    deploys=True,
    hopeless="a deployment gives a service new addresses in that network and new logins, and this is one more",
)
def one_pod_more_in_a_deployment(scene: Scene) -> None:
    """In the minute of a deployment, a login from the same cluster's network reads what each new pod reads."""
    source = Networks.pod(scene.victim.team.cluster, scene.draw)
    scene.log_in(0, source, login=scene.own_login)
    scene.read_all(scene.victim.secrets, source, pace=0.1, after=0.3, login=scene.own_login)


@scenario("mimicry", CIRCLECI, when="work", hopeless="the VPN gives everybody another address each day")
def vpn_and_usual_secrets(scene: Scene) -> None:
    """With the victim's password and device, by the VPN that they use, two secrets that they use."""
    source = Networks.vpn(scene.victim.zone, scene.draw)
    scene.log_in(0, source, login=scene.own_login)
    scene.read_all(scene.victim.secrets[:2], source, pace=MINUTE, after=5, login=scene.own_login)
