"""Copies in the stores of clouds: the published techniques that read them, one by one and over several."""

from typing import Final

from benchmarks.lab.attacks.base import Scene, scenario
from benchmarks.lab.calendar import MINUTE
from benchmarks.lab.world import CLOUDS, PERSON, SERVICE, Networks, Principal, Secret

FAMILY: Final = "cloud store"
AWS: Final = "Stratus Red Team aws.credential-access."
GCP: Final = "Stratus Red Team gcp.credential-access.secretmanager-retrieve-secrets"
KEY_VAULT: Final = "MITRE ATT&CK T1555.006, as MicroBurst's Get-AzKeyVaultSecrets does it"


def _dump(scene: Scene, count: int, pace: float, source: str) -> None:
    scene.read_all(scene.pick(scene.world.secrets, count), source, pace=pace, agent="Boto3/1.34 stratus-red-team")


@scenario(FAMILY, AWS + "secretsmanager-retrieve-secrets", victims=(SERVICE,), systems=("aws",))
def aws_secrets_one_by_one(scene: Scene) -> None:
    """A role lists the store and reads forty secrets, one call each, from where the role lives."""
    _dump(scene, 40, 0.5, scene.address)


@scenario(
    FAMILY,
    AWS + "secretsmanager-batch-retrieve-secrets",
    victims=(SERVICE,),
    systems=("aws",),
)
def aws_secrets_in_batches(scene: Scene) -> None:
    """Twenty at once, three times: the log has a read of each, all in one second."""
    for batch in range(3):
        for secret in scene.pick(scene.world.secrets, 20):
            scene.read(batch * 8.0, secret)


@scenario(
    FAMILY,
    AWS + "ssm-retrieve-securestring-parameters",
    victims=(SERVICE,),
    systems=("aws",),
)
def aws_parameters(scene: Scene) -> None:
    """Forty parameters with their values, from a rented server."""
    _dump(scene, 40, 0.2, Networks.hosting(scene.draw))


@scenario(FAMILY, AWS + "ec2-steal-instance-credentials", victims=(SERVICE,), systems=("aws",))
def aws_instance_role_outside(scene: Scene) -> None:
    """The credentials of an instance's role are used outside the cloud, for the instance's own secrets."""
    scene.read_all(scene.victim.secrets, Networks.hosting(scene.draw), pace=5, agent="aws-cli/2.17")


@scenario(FAMILY, GCP, victims=(SERVICE,), systems=("gcp",))
def gcp_secrets(scene: Scene) -> None:
    """A service account reads forty secrets' newest versions."""
    _dump(scene, 40, 0.4, scene.address)


@scenario(
    FAMILY,
    KEY_VAULT,
    victims=(SERVICE,),
    systems=("azure",),
)
def azure_vault(scene: Scene) -> None:
    """A service principal reads all that a vault holds, from a rented server."""
    _dump(scene, 50, 0.6, Networks.hosting(scene.draw))


EXPORT: Final = "several clouds"
LAPSUS: Final = "CISA AA23-320A, Scattered Spider: one stolen identity, then every store that it opens"


def _copies(scene: Scene, identities: dict[str, str], secrets: list[Secret], source: str, pace: float) -> None:
    for start, (system, name) in enumerate(identities.items()):
        changes = {"system": system, "principal": name, "version": None, "agent": "python-requests/2.32"}
        scene.read_all(secrets, source, pace=pace, after=start * 2 * MINUTE, **changes)


@scenario(EXPORT, LAPSUS)
def one_identity_in_three_clouds(scene: Scene) -> None:
    """A federated person, of one name in all three clouds, reads thirty copies in each within minutes."""
    names = dict.fromkeys(CLOUDS, scene.victim.name)
    _copies(scene, names, scene.pick(scene.world.secrets, 30), Networks.hosting(scene.draw), 1)


@scenario(EXPORT, LAPSUS, when="work")
def few_in_each_cloud(scene: Scene) -> None:
    """The same with six in each, at a person's pace, from the person's own address."""
    names = dict.fromkeys(CLOUDS, scene.victim.name)
    _copies(scene, names, scene.pick(scene.world.secrets, 6), scene.address, 25)


@scenario(EXPORT, LAPSUS)
def three_identities_at_one_address(scene: Scene) -> None:
    """Three stolen identities, one of each cloud, each of another name, used from one rented server."""
    names = {system: _somebody(scene, system).name for system in CLOUDS}
    _copies(scene, names, scene.pick(scene.world.secrets, 12), Networks.hosting(scene.draw), 3)


def _somebody(scene: Scene, system: str) -> Principal:
    crowd = [other for other in scene.world.of_kind(SERVICE, PERSON) if other.system == system]
    return scene.draw.choice(crowd) if crowd else scene.victim
