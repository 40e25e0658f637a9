"""What a scan finds, and what it leaves alone."""

from dataclasses import replace

import pytest

from keyturn.core.errors import Denied, NotFound
from keyturn.core.ports.stores import MANAGED_BY, TAG_MANAGED_BY, OwnershipTags
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.sync.scan import HubScan, StoreScan, Undeclared, scan_stores
from tests.support.hooks import Hooked, raising
from tests.support.lab import fresh
from tests.sync.site import Site


def of(site: Site, store: str = "one") -> StoreScan:
    """What a scan by a new process says of one store."""
    (found,) = scan_stores(site.workspace, [store]).stores
    return found


def test_what_the_catalogue_pushes_is_not_found(site: Site) -> None:
    site.write("a", x="1")
    site.run()
    assert scan_stores(site.workspace).stores == (StoreScan("one"), StoreScan("two"))


def test_secrets_without_marks_are_nobodys(site: Site) -> None:
    site.stores["one"].put_by_hand("legacy/b", "theirs")
    site.stores["one"].put_by_hand("legacy/a", "theirs")
    assert of(site).unmanaged == ("legacy/a", "legacy/b")
    assert of(site, "two") == StoreScan("two")


def test_copies_that_nothing_declares_are_told_with_their_secret_and_version(site: Site) -> None:
    path = site.write("a", x="1")
    site.run()
    site.syncs["all"]["without"] = [path]
    site.stores["one"].write("elsewhere", Sensitive("v"), OwnershipTags("other/hub", 4, "f" * 64), None)
    assert of(site).undeclared == (Undeclared("elsewhere", "other/hub", 4), Undeclared(path, path, 1))
    assert of(site).unmanaged == ()


def test_a_name_that_the_catalogue_wants_is_for_the_plan_and_not_for_the_scan(site: Site) -> None:
    path = site.write("a", x="1")
    site.stores["one"].put_by_hand(path, "theirs")
    assert of(site) == StoreScan("one")


def test_two_stores_of_one_system_do_not_take_each_others_copies_for_left_over(site: Site) -> None:
    site.stores["two"] = site.stores["one"]
    site.settings = {"one": {"profile": "same"}, "two": {"profile": "same"}}
    site.syncs["all"]["stores"] = ["one"]
    site.write("a", x="1")
    site.run()
    assert scan_stores(site.workspace).stores == (StoreScan("one"), StoreScan("two"))


def test_a_store_that_can_not_be_read_is_an_error_and_the_others_are_told(site: Site) -> None:
    site.stores["one"].down = Denied("list", "one", "the key is refused", "Give it the right to list")
    site.stores["two"].put_by_hand("legacy", "theirs")
    first, second = scan_stores(site.workspace).stores
    assert (first.kind, first.unmanaged) == ("Denied", ())
    assert "the key is refused" in first.error
    assert second == StoreScan("two", ("legacy",))


def test_a_store_that_nothing_declares_is_not_found(site: Site) -> None:
    with pytest.raises(NotFound, match="Did you mean one"):
        scan_stores(site.workspace, ["onee"])


def test_nothing_is_written_and_no_value_is_told(site: Site) -> None:
    site.stores["one"].put_by_hand("legacy", "s3cr3t-value")
    assert "s3cr3t" not in repr(of(site))
    assert site.served("one") == {"legacy": "s3cr3t-value"}


def test_paths_of_the_hub_that_no_entry_and_no_pattern_covers_are_told_and_copies_in_it_are_none(site: Site) -> None:
    covered, nobodys, copy = site.write("a", x="1"), f"tests/{fresh()}", f"tests/{fresh()}"
    for path in (nobodys, copy):
        site.lab.hub.write(path, SecretFields({"x": "s3cr3t-value"}), cas=0)
    site.lab.hub.patch_metadata(copy, {TAG_MANAGED_BY: MANAGED_BY})
    hub = scan_stores(site.workspace).hub
    assert hub is not None
    assert nobodys in hub.unmanaged
    assert not {covered, copy} & set(hub.unmanaged)
    assert "s3cr3t" not in repr(hub)
    assert scan_stores(site.workspace, ["one"]).hub is None


@pytest.mark.parametrize("patterns", [True, False], ids=["with patterns", "without"])
def test_a_hub_that_may_not_be_listed_is_said_and_not_taken_for_empty(site: Site, patterns: bool) -> None:
    site.stores["one"].put_by_hand("legacy", "theirs")
    site.syncs = {"all": {"paths": ["none/*"], "stores": ["one"]}}
    workspace = site.workspace
    refused = Denied("list", "the hub", "the policy does not allow it", "Allow `list`")
    catalogue = workspace.catalogue.model_copy(update={} if patterns else {"syncs": {}})
    hub = Hooked(workspace.hub, describe_below=raising(refused))
    found = scan_stores(replace(workspace, hub=hub, catalogue=catalogue))
    assert found.hub == HubScan((), str(refused), "Denied")
    first = found.stores[0]
    assert (first.kind, first.unmanaged) == (("Denied", ()) if patterns else ("", ("legacy",)))
