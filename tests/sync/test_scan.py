"""What a scan finds, and what it leaves alone."""

import pytest

from keyturn.core.errors import Denied, NotFound
from keyturn.core.sensitive import Sensitive
from keyturn.core.stores import Marks
from keyturn.sync.scan import StoreScan, Undeclared, scan
from tests.sync.site import Site


def of(site: Site, store: str = "one") -> StoreScan:
    """What a scan by a new process says of one store."""
    (found,) = scan(site.keyturn, [store])
    return found


def test_what_the_catalogue_pushes_is_not_found(site: Site) -> None:
    site.write("a", x="1")
    site.run()
    assert scan(site.keyturn) == [StoreScan("one"), StoreScan("two")]


def test_secrets_without_marks_are_nobodys(site: Site) -> None:
    site.stores["one"].put_by_hand("legacy/b", "theirs")
    site.stores["one"].put_by_hand("legacy/a", "theirs")
    assert of(site).unmanaged == ("legacy/a", "legacy/b")
    assert of(site, "two") == StoreScan("two")


def test_copies_that_nothing_declares_are_told_with_their_secret_and_version(site: Site) -> None:
    path = site.write("a", x="1")
    site.run()
    site.syncs["all"]["without"] = [path]
    site.stores["one"].write("elsewhere", Sensitive("v"), Marks("other/hub", 4, "f" * 64), None)
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
    assert scan(site.keyturn) == [StoreScan("one"), StoreScan("two")]


def test_a_store_that_can_not_be_read_is_an_error_and_the_others_are_told(site: Site) -> None:
    site.stores["one"].down = Denied("list", "one", "the key is refused", "Give it the right to list")
    site.stores["two"].put_by_hand("legacy", "theirs")
    first, second = scan(site.keyturn)
    assert (first.kind, first.unmanaged) == ("Denied", ())
    assert "the key is refused" in first.error
    assert second == StoreScan("two", ("legacy",))


def test_a_store_that_nothing_declares_is_not_found(site: Site) -> None:
    with pytest.raises(NotFound, match="Did you mean one"):
        scan(site.keyturn, ["onee"])


def test_nothing_is_written_and_no_value_is_told(site: Site) -> None:
    site.stores["one"].put_by_hand("legacy", "s3cr3t-value")
    assert "s3cr3t" not in repr(of(site))
    assert site.served("one") == {"legacy": "s3cr3t-value"}
