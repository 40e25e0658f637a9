"""One copy for each of several fields: made, followed, and let go like any other."""

from datetime import timedelta

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.models import SecretDeclaration
from keyturn.core.plan import Action
from tests.support.places import single
from tests.sync.site import Site


def test_each_field_has_a_copy_of_its_own_by_the_name_that_the_template_says(site: Site) -> None:
    path = site.write("a", dbUser="u", config='{"port":5432}', other="o")
    site.syncs["all"] |= {"name": "{path}/{field}", "case": "snake", "each_field": ["dbUser", "config.port"]}
    assert set(site.actions().values()) == {Action.CREATE}
    site.run()
    assert site.served("one") == {f"{path}/db_user": "u", f"{path}/config_port": "5432"}
    assert set(site.actions().values()) == {Action.IN_SYNC}
    site.write("a", dbUser="u2", config='{"port":5432}')
    assert site.actions()[f"one:{path}/db_user"] is Action.UPDATE


def test_a_field_that_the_secret_lacks_blocks_its_own_copy_alone(site: Site) -> None:
    path = site.write("a", x="1")
    site.syncs["all"] |= {"name": "{path}/{field}", "each_field": ["x", "y"]}
    site.run()
    item = site.item(f"one:{path}/y")
    assert item.action is Action.BLOCKED
    assert "the secret has no field y" in item.why
    assert site.served("one") == {f"{path}/x": "1"}


def test_the_copy_of_a_field_that_is_named_no_more_goes_by_the_deletion_policy(site: Site) -> None:
    path = site.write("a", x="1", y="2")
    site.settings = {name: {"deletion": "delete", "delete_after": "1h"} for name in site.stores}
    site.syncs["all"] |= {"name": "{path}/{field}", "each_field": ["x", "y"]}
    site.run()
    site.syncs["all"] |= {"each_field": ["x"]}
    site.run()
    assert len(site.served("one")) == 2
    site.clock.advance(timedelta(hours=2))
    site.run()
    assert site.served("one") == {f"{path}/x": "1"}


def test_a_destination_of_a_secret_stands_for_those_of_its_fields() -> None:
    place = {"store": "aws", "name": "app-{field}", "each_field": ["a", "b"], "case": "upper"}
    data = {"owner": "a@example.com", "classification": "internal", "rotation": {"strategy": "manual"}}
    declared = SecretDeclaration.model_validate({**data, "destinations": [place]})
    assert [(one.label, one.shape.field) for one in single(declared.destinations)] == [
        ("aws:app-A", "a"),
        ("aws:app-B", "b"),
    ]
    assert SecretDeclaration.model_validate(dict(declared)).destinations == declared.destinations
    asked = Destination.model_validate(place)
    assert asked.shape.field == ""
    assert [one.shape.field for one in asked.spread()] == ["a", "b"]
