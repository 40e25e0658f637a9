"""The engines of authorities are mounted with the limits that what they sign needs."""

from datetime import timedelta

from keyturn.catalogue.pki import AuthoritySettings, RoleSettings, mount_limits
from keyturn.core.rights.hub_setup import HubResource, SetupVerdict
from keyturn.rights.hub_wanted import HubDeclaration, resources
from keyturn.rights.policy_documents import Origin
from tests.hub_setup.site import SCOPE, Empty, applied, planned, verdicts

YEAR = timedelta(days=365)


def mounts(**limits: timedelta) -> tuple[HubResource, ...]:
    """What a hub needs whose authorities have these mounts."""
    return resources(HubDeclaration(SCOPE, Origin(), {}, {}, limits=limits))


def limit(empty: Empty, mount: str) -> int:
    """The limit that the hub has for a mount, in seconds."""
    return int(empty.root.sys.read_mount_configuration(mount)["data"]["max_lease_ttl"])


def test_an_engine_is_mounted_with_its_limit_and_a_changed_one_follows(empty: Empty) -> None:
    applied(empty.port, mounts(root=10 * YEAR))
    assert limit(empty, "root") == int((10 * YEAR).total_seconds())
    assert verdicts(planned(empty.port, mounts(root=10 * YEAR))) == {}

    applied(empty.port, mounts(root=20 * YEAR))
    assert limit(empty, "root") == int((20 * YEAR).total_seconds())
    empty.root.sys.tune_mount_configuration("root", max_lease_ttl="1h")
    [lowered] = planned(empty.port, mounts(root=20 * YEAR)).of(SetupVerdict.DRIFT)
    assert lowered.resource.key == "mount:root"
    applied(empty.port, mounts(root=20 * YEAR))
    assert limit(empty, "root") == int((20 * YEAR).total_seconds())


def test_a_longer_limit_stays_and_a_shorter_one_of_somebody_is_blocked(empty: Empty) -> None:
    for name, hours in (("long", "87600h"), ("short", "24h")):
        empty.root.sys.enable_secrets_engine("pki", path=name, config={"max_lease_ttl": hours})
    empty.root.sys.enable_secrets_engine("pki", path="plain")
    wanted = mounts(long=YEAR, short=YEAR, plain=timedelta(days=20))
    applied(empty.port, wanted)
    assert verdicts(planned(empty.port, wanted)) == {"mount:short": "blocked"}
    assert (limit(empty, "long"), limit(empty, "short")) == (87_600 * 3_600, 24 * 3_600)


def test_the_limit_is_that_of_the_longest_thing_that_is_signed_there() -> None:
    role = RoleSettings(max_ttl=timedelta(days=90))
    root = AuthoritySettings(mount="root", common_name="Root", ttl=10 * YEAR)
    below = AuthoritySettings(mount="below", common_name="Below", ttl=YEAR, signed_by="root", roles={"web": role})
    assert mount_limits({"root": root, "below": below}) == {"root": 10 * YEAR, "below": timedelta(days=90)}
