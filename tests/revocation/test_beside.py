"""A revocation removes the previous version from a copy, with proof."""

import json
from dataclasses import replace
from typing import Any

import pytest

from keyturn.core.errors import Denied
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import Sensitive
from keyturn.revocation import run
from keyturn.revocation.copy_fingerprints import version_fingerprints
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.verify import copy_faults
from keyturn.revocation.whois import whois
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.run import rotate
from tests.revocation.scene import Scene
from tests.revocation.site import Site
from tests.support.lab import Lab
from tests.support.places import single


@pytest.fixture
def scene(lab: Lab) -> Scene:
    """A generated value, rotated once: its copy gives both."""
    secret = lab.generated(grace="1h")
    place = {"store": "memory", "name": secret.path, "field": ["value", "previous.value"]}
    made = Scene(Site.of(lab, secret).declaring([place]), [])
    sync_destinations(made.workspace, made.path)
    made.note()
    rotate(made.workspace, made.path, Trigger.FORCE)
    made.note()
    assert served(made) == [made.leaked[1]["value"], made.leaked[0]["value"]]
    return made


def served(scene: Scene) -> list[str]:
    return list(json.loads(scene.store.read(scene.path).reveal()))


def faults_of(scene: Scene, stands: IncidentStatus) -> list[str]:
    """What a proof would say of the copy now."""
    (place,) = single(scene.workspace.catalogue.destinations(scene.path))
    current = scene.lab.hub.read(scene.path)
    assert current is not None
    return list(
        copy_faults(
            scene.workspace, stands.secrets[0], place, version_fingerprints(scene.workspace, current)[place.label]
        )
    )


def test_a_revocation_takes_out_both_values_and_every_old_copy_of_them(scene: Scene) -> None:
    scene.assert_over(scene.revoke())
    assert served(scene) == [scene.lab.current(scene.site.secret)["value"]]


def test_old_copies_of_both_values_that_a_service_keeps_are_found_and_told(scene: Scene) -> None:
    scene.store.forgets = False
    left = scene.revoke().secrets[0]
    assert [said for said in left.remains if "version" in said], left
    scene.store.forgets = True
    assert [said for said in faults_of(scene, replace_remains(scene)) if "still gives the old value" in said]


def replace_remains(scene: Scene) -> IncidentStatus:
    """The incident without what was told to stay."""
    stands = run.finish(scene.workspace, scene.site.incident)
    return replace(stands, secrets=(replace(stands.secrets[0], remains=()),))


def test_nothing_is_proven_while_a_copy_gives_a_leaked_value_beside_the_new_one(scene: Scene) -> None:
    stands = scene.revoke()
    assert faults_of(scene, stands) == []
    found = scene.store.describe(scene.path)
    assert found is not None
    assert found.marks is not None
    text = Sensitive(json.dumps([*served(scene), scene.leaked[1]["value"]]))
    digest = scene.workspace.fingerprint_of(scene.path, text)
    marks = replace(found.marks, fingerprint=digest, shape=f"{found.marks.shape}-2")
    scene.store.write(scene.path, text, marks, found)
    assert "it may serve the old value next to the new one" in faults_of(scene, stands)[0]


def test_a_copy_that_refuses_the_write_keeps_the_incident_open(scene: Scene) -> None:
    scene.store.refuses = Denied("write", "memory", "not allowed", "Ask")
    stands = scene.revoke()
    assert stands.open
    assert any("serves the old value" in said for said in stands.left)
    scene.store.refuses = None
    scene.assert_over()


def test_without_a_replacement_the_copy_of_both_is_gone(scene: Scene) -> None:
    stands = scene.revoke(Mode.REVOKE_ONLY)
    assert (stands.open, scene.store.describe(scene.path)) == (False, None)


def test_the_fingerprint_of_a_copy_with_both_is_found(scene: Scene) -> None:
    digest = scene.workspace.fingerprint_of(scene.path, scene.store.read(scene.path))
    found: Any = whois(scene.workspace, digest)
    assert [(match.version, match.place) for match in found] == [(2, f"memory:{scene.path}")]
