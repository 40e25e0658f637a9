"""Somebody who may read it: too much, too early, before they leave."""

from typing import Final

from benchmarks.lab import rights
from benchmarks.lab.attacks.base import Scene, scenario
from benchmarks.lab.calendar import DAY, HOUR, MINUTE
from benchmarks.lab.rights import Scope
from benchmarks.lab.world import CLOUDS, INFERENCE, SERVICE, Networks, token

FAMILY: Final = "insider"
CERT: Final = "CERT Insider Threat Test Dataset (Glasser and Lindauer 2013)"
MANAGERS: Final = "MITRE ATT&CK T1555.006, Credentials from Password Stores: Cloud Secrets Management Stores"


@scenario(FAMILY, MANAGERS, when="work", reach=Scope.TEAM)
def insider_enumerates(scene: Scene) -> None:
    """At their desk, one after the other: all of the own team's, and what other teams have, much of it refused."""
    login = scene.be_at_work()
    after = scene.read_all(scene.pick(scene.others, 25), pace=5, after=5, login=login)
    for secret in scene.foreign(40):
        refused = scene.draw.random() < 0.7
        scene.read(after, secret, denied=refused, version=None if refused else secret.version, login=login)
        after += 4


@scenario(FAMILY, f"{CERT}, scenario 2: takes much along in the last weeks", when="work", lasts=4, reach=Scope.TEAM)
def leaver_collects(scene: Scene) -> None:
    """In three evenings, all that the team has and the leaver may read: a dozen each."""
    wanted = scene.pick(scene.others, 36)
    for evening in range(3):
        after = evening * DAY + 3 * HOUR
        login = scene.be_at_work(after)
        scene.read_all(wanted[evening::3], pace=2 * MINUTE, after=after + 5, login=login)


@scenario(FAMILY, CERT, when="work", reach=Scope.TEAM)
def one_secret_too_many(scene: Scene) -> None:
    """One restricted secret that this person never read, at their desk, in working hours, between others."""
    wanted = scene.pick([secret for secret in scene.others if secret.restricted], 1)[0]
    scene.read(5, wanted, login=scene.be_at_work())


@scenario(FAMILY, f"{CERT}, scenario 1: begins to log in after hours", when="night", reach=Scope.TEAM)
def insider_by_night(scene: Scene) -> None:
    """By night and the VPN, a person who works by day reads fifteen of the team's secrets."""
    source = Networks.vpn(scene.victim.zone, scene.draw)
    scene.log_in(0, source, login=scene.own_login)
    scene.read_all(scene.pick(scene.others, 15), source, pace=MINUTE, after=5, login=scene.own_login)


@scenario(FAMILY, f"{CERT}, scenario 1", when="weekend", reach=Scope.TEAM)
def insider_at_the_weekend(scene: Scene) -> None:
    """On a weekend, from where they always are: ten of the team's and two restricted ones."""
    restricted = [secret for secret in scene.others if secret.restricted]
    wanted = [*scene.pick(scene.others, 10), *scene.pick(restricted, 2)]
    scene.read_all(wanted, pace=2 * MINUTE, after=5, login=scene.be_at_work())


@scenario(FAMILY, MANAGERS, when="work", reach=Scope.LAB)
def reads_another_team(scene: Scene) -> None:
    """With a policy that is too wide: twelve secrets of other teams over a working day, none refused."""
    scene.read_all(scene.foreign(12), pace=HOUR / 2, after=5, login=scene.be_at_work())


@scenario(FAMILY, MANAGERS, when="work", lasts=6, reach=Scope.LAB)
def one_of_another_team_each_day(scene: Scene) -> None:
    """The same with two a day, for five days."""
    for day in range(5):
        login = scene.be_at_work(day * DAY)
        scene.read_all(scene.foreign(2), pace=2 * HOUR, after=day * DAY + 5, login=login)


@scenario("impersonation", "MITRE ATT&CK T1078, Valid Accounts", when="holiday", reach=Scope.TEAM)
def on_a_holiday(scene: Scene) -> None:
    """The victim's zone has a holiday; their login reads what they use and five more, from home addresses."""
    source = Networks.home(scene.draw)
    scene.log_in(0, source, login=scene.own_login)
    wanted = [*scene.pick(scene.victim.secrets, 3), *scene.pick(scene.others, 5)]
    scene.read_all(wanted, source, pace=MINUTE, after=5, login=scene.own_login)


@scenario(
    "impersonation",
    "MITRE ATT&CK T1621, Multi-Factor Authentication Request Generation",
    when="night",
    reach=Scope.TEAM,
    password=True,
)
def pushed_until_approved(scene: Scene) -> None:
    """Eight logins fail, the ninth is approved by a tired victim; then a few of their secrets and the team's."""
    source = Networks.hosting(scene.draw)
    for number in range(8):
        scene.log_in(number * 25.0, source, failed=True)
    scene.log_in(220, source, login=scene.own_login)
    wanted = [*scene.pick(scene.victim.secrets, 3), *scene.pick(scene.others, 4)]
    scene.read_all(wanted, source, pace=20, after=230, login=scene.own_login)


@scenario("hidden in noise", "MITRE ATT&CK T1036, Masquerading", when="night", reach=Scope.TEAM)
def during_an_incident(scene: Scene) -> None:
    """While colleagues are awake in an incident, a stolen login reads along: other things, from elsewhere."""
    for index, engineer in enumerate(scene.another("person", scene.victim.team) for _ in range(2)):
        where, login = Networks.vpn(engineer.zone, scene.draw), token(f"{scene.attack.label} awake {index}")
        scene.log_in(0, where, who=engineer, ordinary=True, login=login)
        for number, secret in enumerate(scene.pick(engineer.secrets, 6)):
            shown = {"principal": engineer.name, "agent": engineer.agent, "granted": rights.granted(engineer, secret)}
            scene.read(9 + number * 100.0, secret, where, ordinary=True, login=login, **shown)
    scene.read_all(scene.pick(scene.others, 8), Networks.home(scene.draw), pace=90, after=120)


RIGHTS: Final = "widened rights"
ROLES: Final = "MITRE ATT&CK T1098.003, Account Manipulation: Additional Cloud Roles"


@scenario(RIGHTS, ROLES, when="work", operates=True)
def operator_opens_a_folder(scene: Scene) -> None:
    """Who may write policies opens another team's folder to the own team, and reads four restricted ones there."""
    login, policy = scene.be_at_work(), f"team-{scene.victim.team.name}"
    scene.change(20, f"policies/{policy}", scene.victim, scene.address, login)
    wanted = scene.restricted_elsewhere(4)
    scene.read_all(wanted, pace=MINUTE, after=90, login=login, granted=policy)
    scene.change(10 * MINUTE, f"policies/{policy}", scene.victim, scene.address, login)


@scenario(RIGHTS, ROLES, victims=(SERVICE,))
def policy_slipped_through_review(scene: Scene) -> None:
    """On request, the pipeline lets a service read restricted secrets of other teams; hours later it reads five."""
    writer, policy = scene.world.writer, f"app-{scene.victim.short}"
    source, login = writer.sessions[0][0], token(f"{scene.attack.label} writes")
    scene.log_in(0, source, who=writer, login=login)
    scene.change(2, f"policies/{policy}", writer, source, login)
    scene.read_all(scene.restricted_elsewhere(5), pace=20, after=2 * HOUR, granted=policy)


DECOY: Final = "MITRE Engage EAC0005, Lures; and canary tokens"


@scenario("decoy", DECOY, when="work", reach=Scope.TEAM)
def reads_a_decoy(scene: Scene) -> None:
    """At their desk, in working hours, a person reads what looks like the team's administrator key."""
    scene.read(5, scene.draw.choice(scene.victim.team.decoys), login=scene.be_at_work())


@scenario("decoy", DECOY, victims=(SERVICE, INFERENCE))
def pod_reads_a_decoy(scene: Scene) -> None:
    """A pod that was taken over is refused a decoy of its team."""
    scene.read(0, scene.draw.choice(scene.victim.team.decoys), denied=True, version=None)


@scenario("decoy", DECOY, victims=(SERVICE,), systems=CLOUDS)
def decoy_in_a_cloud(scene: Scene) -> None:
    """The copy of a decoy in a cloud's store, by a role that lives there."""
    scene.read(0, scene.draw.choice(scene.world.decoys))
