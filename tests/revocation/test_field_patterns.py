"""A revocation of a secret with a copy for each of its fields: every field that leaked is found and taken out."""

import pytest

from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.whois import whois_value
from keyturn.rotation.copies.push import sync_destinations
from tests.revocation.scene import Scene
from tests.revocation.site import Site
from tests.support.lab import Lab


@pytest.fixture
def scene(lab: Lab) -> Scene:
    """A generated value beside others, each field in a copy of its own; one field is gone from CURRENT."""
    secret = lab.generated()
    made = Scene(Site.of(lab, secret).declaring([{"store": "memory", "name": "app-{field}", "each_field": "*"}]), [])
    made.write(old_token="leaked too")
    sync_destinations(made.workspace, made.path)
    made.note()
    current = {name: value for name, value in made.leaked[0].items() if name != "old_token"}
    info = made.lab.hub.describe(made.path)
    assert info is not None
    made.lab.hub.write(made.path, SecretFields(current), cas=info.version)
    sync_destinations(made.workspace, made.path)
    made.note()
    return made


def in_store(scene: Scene) -> dict[str, str]:
    return {copy.name: scene.store.read(copy.name).reveal() for copy in scene.store.list_all()}


def test_a_replacement_reaches_every_field_and_removes_what_a_field_left_that_is_gone(scene: Scene) -> None:
    assert in_store(scene)["app-old_token"] == "leaked too"
    stands = scene.revoke()
    assert (stands.left, stands.open) == ((), False)
    current = scene.lab.current(scene.site.secret)
    assert in_store(scene) == {f"app-{name}": str(value) for name, value in current.items()}
    assert scene.leaked[0]["value"] not in in_store(scene).values()


def test_without_a_replacement_no_field_stays(scene: Scene) -> None:
    stands = scene.revoke(Mode.REVOKE_ONLY)
    assert (stands.left, stands.open) == ((), False)
    assert in_store(scene) == {}


def test_a_value_is_found_in_the_copy_of_its_field(scene: Scene) -> None:
    found = whois_value(scene.workspace, Sensitive(scene.leaked[0]["value"]))
    assert "memory:app-value" in {match.place for match in found}
