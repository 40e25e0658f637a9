"""A copy for each field that fits a pattern: spread by CURRENT's names, and never by what could not be read."""

import dataclasses
from datetime import timedelta

import pytest

from keyturn.catalogue.models import SecretDeclaration
from keyturn.catalogue.spreading import MOST_FIELDS
from keyturn.core.errors import Denied
from keyturn.core.plan import Action, Plan
from keyturn.core.sensitive import SecretFields
from keyturn.sync.plan import plan
from keyturn.sync.scan import scan_stores
from tests.support.hooks import Hooked, raising
from tests.sync.site import Site

PATTERN = {"name": "{path}/{field}", "each_field": "API_*"}


@pytest.fixture
def folder(site: Site) -> Site:
    """A site whose sync makes a copy of each field that begins with API_, and deletes after an hour."""
    site.syncs["all"] |= PATTERN
    site.settings = {name: {"deletion": "delete", "delete_after": "1h"} for name in site.stores}
    return site


def served(site: Site) -> dict[str, str]:
    return {name.rpartition("/")[2]: text for name, text in site.served("one").items()}


def plan_without_reading(site: Site) -> Plan:
    """A plan whose login may list the hub, and read no value."""
    error = Denied("read", "the hub", "permission denied", "Give the login these rights")
    opened = site.workspace
    return plan(dataclasses.replace(opened, hub=Hooked(opened.hub, read=raising(error))))


def test_each_field_that_fits_has_a_copy_and_a_new_one_gets_its_own(folder: Site) -> None:
    folder.write("a", API_KEY="k", API_URL="u", password="p")
    folder.run()
    assert served(folder) == {"API_KEY": "k", "API_URL": "u"}
    assert set(folder.actions().values()) == {Action.IN_SYNC}
    folder.write("a", API_KEY="k", API_URL="u", API_NEW="n")
    assert {action for label, action in folder.actions().items() if "API_NEW" in label} == {Action.CREATE}
    folder.run()
    assert served(folder) == {"API_KEY": "k", "API_URL": "u", "API_NEW": "n"}


def test_the_copy_of_a_field_that_is_gone_goes_by_the_deletion_policy(folder: Site) -> None:
    path = folder.write("a", API_KEY="k", API_URL="u")
    folder.run()
    folder.write("a", API_KEY="k")
    folder.run()
    assert served(folder) == {"API_KEY": "k", "API_URL": "u"}
    assert [copy.name for copy in scan_stores(folder.workspace).stores[0].undeclared] == [f"{path}/API_URL"]
    folder.clock.advance(timedelta(hours=2))
    folder.run()
    assert served(folder) == {"API_KEY": "k"}


def test_fields_that_nobody_can_read_leave_their_copies_alone_and_say_why(folder: Site) -> None:
    folder.write("a", API_KEY="k", API_URL="u")
    folder.run()
    planned = plan_without_reading(folder)
    assert {item.action for item in planned.items} == {Action.BLOCKED}
    assert {item.name.rpartition("/")[2] for item in planned.items} == {"{field}"}
    assert all("permission denied" in item.why for item in planned.items)


def test_copies_of_a_secret_that_the_hub_has_no_more_go_as_all_such_do(folder: Site) -> None:
    path = folder.write("a", API_KEY="k", API_URL="u")
    folder.run()
    folder.lab.root.secrets.kv.v2.delete_latest_version_of_secret(path)
    items = folder.plan().items
    assert {(item.action, item.why) for item in items} == {(Action.DELETE, "the hub has it no more")}
    folder.settings = {}
    assert {item.why for item in folder.plan().items} == {"the hub has it no more; the copy is kept"}


def test_two_fields_that_would_have_one_copy_are_a_conflict_that_names_both(folder: Site) -> None:
    folder.syncs["all"] |= {"case": "snake"}
    folder.write("a", API_KEY="k", **{"API-KEY": "other"})
    folder.syncs["all"] |= {"each_field": "API*"}
    (item, *_) = folder.plan().items
    assert item.action is Action.CONFLICT
    assert "the field API-KEY and the field API_KEY would both be called one:" in item.why
    folder.run()
    assert served(folder) == {}


def test_a_field_takes_no_place_that_another_secret_declares(folder: Site) -> None:
    first, other = folder.write("a", API_KEY="k"), folder.write("a/API_KEY", value="v")
    folder.syncs["b"] = {"paths": [other], "stores": ["one"], "field": "value"}
    found = {(item.path, item.action) for item in folder.plan().items if item.store == "one"}
    assert (other, Action.CREATE) in found
    assert (first, Action.CONFLICT) in found


def test_more_fields_than_anybody_meant_are_blocked(folder: Site) -> None:
    folder.write("a", **{f"API_{number}": "x" for number in range(MOST_FIELDS + 1)})
    items = folder.plan().items
    assert {item.action for item in items} == {Action.BLOCKED}
    assert f"{MOST_FIELDS + 1} of its fields fit API_*" in items[0].why


def test_what_a_lone_name_and_a_pattern_are_is_told_apart() -> None:
    place = {"store": "aws", "name": "app-{field}", "each_field": "*", "case": "kebab"}
    data = {"owner": "a@example.com", "classification": "internal", "rotation": {"strategy": "manual"}}
    declared = SecretDeclaration.model_validate({**data, "destinations": [place]})
    (pattern,) = declared.destinations
    assert not hasattr(pattern, "name")
    assert [one.label for one in pattern.spread(SecretFields({"dbUser": "u"}))] == ["aws:app-db-user"]
    with pytest.raises(ValueError, match="is no pattern of fields' names"):
        SecretDeclaration.model_validate({**data, "destinations": [{**place, "each_field": "API_KEY"}]})
