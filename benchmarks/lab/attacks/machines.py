"""Logins of machines: CI, the sync, the backup, inference, training, the root token, wrapped answers."""

from typing import Any, Final

from benchmarks.lab.attacks.base import Scene, scenario
from benchmarks.lab.calendar import HOUR, MINUTE
from benchmarks.lab.rights import Scope
from benchmarks.lab.world import BACKUP, BATCH, CI, CRON, INFERENCE, PERSON, SERVICE, SYNC, TRAINING, Networks, token

PIPELINE: Final = "CI token"
CODECOV: Final = "Codecov, April 2021: a changed script sent the environment of CI jobs away"
ACTIONS: Final = "CVE-2025-30066, tj-actions/changed-files: secrets of CI jobs read from the runner's memory"


@scenario(PIPELINE, CODECOV, victims=(CI,))
def ci_token_after_the_job(scene: Scene) -> None:
    """Twenty minutes after a job its token reads the job's own secrets, from a rented server."""
    source = Networks.hosting(scene.draw)
    scene.read_all(scene.victim.secrets, source, pace=3, after=20 * MINUTE, agent=scene.stranger())


@scenario(PIPELINE, ACTIONS, victims=(CI,), when="work", reach=Scope.TEAM)
def poisoned_pipeline(scene: Scene) -> None:
    """A job on an ordinary runner reads everything its role may read, instead of its few secrets."""
    source = Networks.runner(scene.draw)
    scene.log_in(0, source, login=scene.own_login)
    wanted = [*scene.victim.secrets, *scene.pick(scene.others, 30)]
    scene.read_all(wanted, source, pace=1, after=1, login=scene.own_login)


@scenario(
    PIPELINE,
    "OWASP Top 10 CI/CD Security Risks, CICD-SEC-4: Poisoned Pipeline Execution",
    victims=(CI,),
    when="work",
    reach=Scope.TEAM,
)
def poisoned_pipeline_takes_one(scene: Scene) -> None:
    """A job on an ordinary runner reads its secrets and one restricted one."""
    source = Networks.runner(scene.draw)
    scene.log_in(0, source, login=scene.own_login)
    restricted = [secret for secret in scene.others if secret.restricted]
    wanted = [*scene.victim.secrets, *scene.pick(restricted, 1)]
    scene.read_all(wanted, source, pace=1, after=1, login=scene.own_login)


ROOT: Final = "root token"
HARDENING: Final = "Vault and OpenBao, production hardening: no root tokens in operation"


@scenario(ROOT, HARDENING)
def root_token_reads_one(scene: Scene) -> None:
    """A root token, kept from the set-up, reads one secret on an administrator's desk."""
    source = Networks.office(scene.victim.zone, scene.draw)
    root: dict[str, Any] = {"principal": "root (root policy)", "root": True, "granted": "root"}
    scene.read(0, scene.foreign(1)[0], source, login=scene.own_login, **root)


@scenario(ROOT, HARDENING)
def root_token_exports(scene: Scene) -> None:
    """A root token reads 150 secrets from a rented server."""
    source = Networks.hosting(scene.draw)
    changes: dict[str, Any] = {
        "principal": "token-admin (root policy)",
        "login": scene.own_login,
        "root": True,
        "granted": "root",
        "agent": "curl/8.9",
    }
    scene.read_all(scene.foreign(150), source, pace=0.5, **changes)


FAMILY: Final = "machine login out of its role"
PLATFORM: Final = "MITRE ATT&CK T1078.001, Valid Accounts: Default Accounts, and T1552, Unsecured Credentials"


@scenario(FAMILY, PLATFORM, victims=(SYNC,))
def sync_login_off_its_schedule(scene: Scene) -> None:
    """The sync's login reads 300 secrets on its own host between two of its runs."""
    scene.at = scene.at // HOUR * HOUR + 7 * MINUTE
    scene.read_all(scene.pick(scene.world.secrets, 300), pace=0.5, after=max(0.0, scene.attack.at - scene.at))


@scenario(FAMILY, PLATFORM, victims=(BACKUP,))
def backup_login_elsewhere(scene: Scene) -> None:
    """The backup's login, which may read everything, reads eighty secrets from a rented server."""
    source, agent = Networks.hosting(scene.draw), scene.stranger()
    scene.log_in(0, source, login=scene.own_login, agent=agent)
    wanted = scene.pick(scene.world.secrets, 80)
    scene.read_all(wanted, source, pace=1, after=2, login=scene.own_login, agent=agent)


@scenario(FAMILY, PLATFORM, victims=(BACKUP,), when="work")
def backup_login_by_day(scene: Scene) -> None:
    """The backup's login reads ten restricted secrets on its own host, in the middle of the day."""
    restricted = [secret for secret in scene.world.secrets if secret.restricted]
    scene.log_in(0, login=scene.own_login)
    scene.read_all(scene.pick(restricted, 10), pace=3, after=2, login=scene.own_login)


@scenario(FAMILY, PLATFORM, victims=(BATCH, CRON), when="any", reach=Scope.TEAM)
def timetable_login_at_another_time(scene: Scene) -> None:
    """A job's login reads its own secrets at another time, from another pod of the cluster, and five more."""
    source = Networks.pod(scene.victim.team.cluster, scene.draw)
    scene.log_in(0, source, login=scene.own_login)
    wanted = [*scene.victim.secrets, *scene.pick(scene.others, 5)]
    scene.read_all(wanted, source, pace=2, after=1, login=scene.own_login)


CONTAINERS: Final = "MITRE ATT&CK T1552.007, Unsecured Credentials: Container API"
DUMP: Final = "Stratus Red Team k8s.credential-access.dump-secrets"


@scenario(FAMILY, CONTAINERS, victims=(INFERENCE,), reach=Scope.LAB)
def inference_pod_reads_other_teams(scene: Scene) -> None:
    """A pod that serves a model was taken over: 25 secrets of other teams in two minutes, in the pod's own name."""
    scene.read_all(scene.foreign(25), pace=5)


@scenario(FAMILY, CONTAINERS, victims=(INFERENCE,), lasts=2, reach=Scope.LAB)
def inference_pod_reads_slowly(scene: Scene) -> None:
    """The same, one secret each half hour, ten in all."""
    scene.read_all(scene.foreign(10), pace=HOUR / 2)


@scenario(FAMILY, DUMP, victims=(TRAINING,), reach=Scope.TEAM)
def training_node_dumps(scene: Scene) -> None:
    """A training job's token reads all of the team's secrets, on the job's node."""
    scene.read_all(scene.others, pace=0.3, agent=scene.stranger())


@scenario(FAMILY, CONTAINERS, victims=(SERVICE,), reach=Scope.TEAM)
def service_reads_one_restricted(scene: Scene) -> None:
    """A service that was taken over reads one restricted secret that it has no use for."""
    restricted = [secret for secret in scene.others if secret.restricted]
    scene.read_all(scene.pick(restricted, 1), pace=1)


WRAPPING: Final = "wrapped token"
UNWRAPS: Final = "response-wrapping"
"""The one policy of a wrapping token."""
WRAP: Final = "HashiCorp, Response Wrapping: an intercepted wrapping token is unwrapped by another client"


@scenario(WRAPPING, WRAP, victims=(SERVICE, CI))
def unwrapped_elsewhere(scene: Scene) -> None:
    """A wrapping token meant for an application is unwrapped on a rented server."""
    source, agent = Networks.hosting(scene.draw), scene.stranger()
    who = f"wrapping token of {scene.victim.name}"
    secret = scene.victim.secrets[0]
    scene.read(0, secret, source, principal=who, login=scene.own_login, agent=agent, granted=UNWRAPS)


@scenario(WRAPPING, WRAP, victims=(PERSON,), when="work", reach=Scope.TEAM)
def wrapped_and_carried_out(scene: Scene) -> None:
    """A person wraps twelve secrets of the team at their desk, and unwraps them at home."""
    home, own = Networks.home(scene.draw), scene.be_at_work()
    for number, secret in enumerate(scene.pick(scene.others, 12)):
        scene.read(5 + number * 20.0, secret, login=own)
        who, login = f"wrapping token of {scene.victim.name}", token(f"{scene.attack.label} wraps {number}")
        scene.read(HOUR + number * 8.0, secret, home, principal=who, login=login, granted=UNWRAPS)


NOISE: Final = "hidden in noise"


@scenario(NOISE, "MITRE ATT&CK T1036, Masquerading", victims=(SERVICE,), deploys=True, reach=Scope.TEAM)
def during_a_deployment(scene: Scene) -> None:
    """In the minute of a deployment, a login from the cluster's network reads the service's secrets and six more."""
    source = Networks.pod(scene.victim.team.cluster, scene.draw)
    scene.log_in(0, source, login=scene.own_login)
    wanted = [*scene.victim.secrets, *scene.pick(scene.others, 6)]
    scene.read_all(wanted, source, pace=0.2, after=0.3, login=scene.own_login)


@scenario(NOISE, "MITRE ATT&CK T1036, Masquerading", victims=(SERVICE,), deploys=True)
def during_a_deployment_from_an_office(scene: Scene) -> None:
    """The same, but from a desk, and only what the service reads."""
    source = Networks.office(scene.victim.zone, scene.draw)
    scene.log_in(0, source, login=scene.own_login)
    scene.read_all(scene.victim.secrets, source, pace=0.2, after=0.3, login=scene.own_login)
