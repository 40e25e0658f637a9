"""Who has nothing yet tries: paths, passwords, and credentials that have been ended."""

from typing import Any, Final

from benchmarks.lab import rights
from benchmarks.lab.attacks.base import Scene, scenario
from benchmarks.lab.calendar import HOUR, MINUTE
from benchmarks.lab.rights import Scope
from benchmarks.lab.world import CI, PERSON, SERVICE, Networks

FAMILY: Final = "brute force"
GUESSING: Final = "MITRE ATT&CK T1110.001, Brute Force: Password Guessing"
SPRAYING: Final = "MITRE ATT&CK T1110.003, Brute Force: Password Spraying"
STUFFING: Final = "MITRE ATT&CK T1110.004, Brute Force: Credential Stuffing"
DISCOVERY: Final = "MITRE ATT&CK T1526, Cloud Service Discovery"


@scenario(FAMILY, DISCOVERY, victims=(PERSON, SERVICE, CI))
def guesses_paths(scene: Scene) -> None:
    """A login of few rights tries 300 paths within minutes; nearly all are refused."""
    for number, secret in enumerate(scene.foreign(300)):
        scene.read(number * 0.8, secret, denied=True, version=None, agent=scene.stranger())


@scenario(FAMILY, DISCOVERY, victims=(SERVICE,), lasts=2)
def guesses_paths_slowly(scene: Scene) -> None:
    """From a pod that was taken over, one path each ten minutes for eight hours; all are refused."""
    for number, secret in enumerate(scene.foreign(48)):
        scene.read(number * 10 * MINUTE * scene.draw.uniform(0.95, 1.05), secret, denied=True, version=None)


@scenario(FAMILY, GUESSING, password=True)
def guesses_a_password(scene: Scene) -> None:
    """From one rented server, 300 logins in ten minutes, all of which fail."""
    source = Networks.hosting(scene.draw)
    for number in range(300):
        scene.log_in(number * 2.0, source, failed=True, agent=scene.stranger())


@scenario(FAMILY, SPRAYING, lasts=2, password=True)
def sprays_from_one_address(scene: Scene) -> None:
    """One password for many people: a login each two minutes for four hours, from one address, all fail."""
    source = Networks.hosting(scene.draw)
    for number, other in enumerate(scene.people(120)):
        scene.log_in(number * 2 * MINUTE, source, failed=True, who=other)


@scenario(FAMILY, STUFFING, lasts=2, reach=Scope.TEAM, password=True)
def sprays_from_many_addresses(scene: Scene) -> None:
    """The same from sixty home addresses, with two attempts each, and one that comes in and reads."""
    for number, other in enumerate(scene.people(60)):
        source = Networks.home(scene.draw)
        scene.log_in(number * 90.0, source, failed=True, agent="curl/8.9", who=other)
        scene.log_in(number * 90.0 + 20, source, failed=True, agent="curl/8.9", who=other)
    source = Networks.home(scene.draw)
    scene.log_in(2 * HOUR, source, login=scene.own_login, agent="curl/8.9")
    wanted = [*scene.pick(scene.victim.secrets, 4), *scene.pick(scene.others, 6)]
    scene.read_all(wanted, source, pace=20, after=2 * HOUR + 5, login=scene.own_login, agent="curl/8.9")


@scenario(FAMILY, SPRAYING, victims=(SERVICE,))
def approle_ids_tried(scene: Scene) -> None:
    """From a pod of the same cluster, forty AppRole logins with secret ids that are none."""
    source = Networks.pod(scene.victim.team.cluster, scene.draw)
    for number in range(40):
        scene.log_in(number * 5.0, source, failed=True)


RETIRED: Final = "retired credential"
OLD: Final = "Okta, October 2023, and Cloudflare's report on it: stolen credentials, not all revoked"


@scenario(RETIRED, OLD, victims=(PERSON, SERVICE, CI))
def asks_for_old_versions(scene: Scene) -> None:
    """All former versions of six secrets, by a login that may read them, to find one that still works."""
    after = 0.0
    for secret in scene.pick(scene.victim.secrets, 6):
        for version in range(max(1, secret.version - 4), secret.version):
            scene.read(after, secret, version=version, denied=scene.draw.random() < 0.5, agent=scene.stranger())
            after += 3


@scenario(RETIRED, OLD, victims=(SERVICE,))
def old_version_from_elsewhere(scene: Scene) -> None:
    """One secret's last version but one, from a rented server."""
    secret = scene.victim.secrets[0]
    source = Networks.hosting(scene.draw)
    for number in range(3):
        scene.read(number * 20.0, secret, source, version=max(1, secret.version - 1), denied=True)


@scenario("after a revocation", OLD, victims=(SERVICE,), revokes=True)
def comes_back_for_the_new_value(scene: Scene) -> None:
    """Two minutes after a leaked secret was revoked, the login that leaked it reads the new value elsewhere."""
    scene.read_all([scene.attack.secret], Networks.hosting(scene.draw), pace=5)


@scenario("after a revocation", OLD, revokes=True, when="work")
def insider_comes_back(scene: Scene) -> None:
    """Straight after a revocation, a colleague who never read that secret does so three times, at their desk."""
    other, secret = scene.another(PERSON, scene.attack.secret.team), scene.attack.secret
    source, login = scene.draw.choice(other.sessions)
    if scene.at >= other.ends:
        login = scene.own_login
        scene.log_in(0, source, who=other, login=login)
    who: dict[str, Any] = {"principal": other.name, "agent": other.agent, "granted": rights.granted(other, secret)}
    for number in range(3):
        scene.read(5 + number * 40.0, secret, source, login=login, **who)


@scenario("after a revocation", OLD, victims=(SERVICE, CI), revokes=True)
def revoked_login_tries_on(scene: Scene) -> None:
    """A login that was cut off tries on from elsewhere: twenty reads, all refused."""
    source = Networks.hosting(scene.draw)
    for number in range(20):
        secret = scene.draw.choice(scene.victim.secrets)
        scene.read(number * 15.0, secret, source, denied=True, version=None)
