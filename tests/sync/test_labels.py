"""Labels of a copy follow the catalogue without a new version."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.core.errors import Denied, UnsupportedOperation
from keyturn.core.plan import Action, moved
from keyturn.core.ports.stores import NO_DETAILS, Details, OwnershipTags, RemoteSecret
from keyturn.core.sensitive import Sensitive
from keyturn.rotation.copies import store_status
from tests.support.memory_store import MemoryStore
from tests.sync.site import Site

pytestmark = pytest.mark.sampled(9, of="file")


def untold(copy: RemoteSecret) -> RemoteSecret:
    """The copy without what stands next to it."""
    return replace(copy, details=None, marks=copy.marks and replace(copy.marks, tags=()))


class Quiet(MemoryStore):
    """A store whose looks tell nothing of what stands beside a copy until it is asked for it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: list[str] = []
        self.refusal: Exception | None = None

    def describe(self, remote: str) -> RemoteSecret | None:
        found = super().describe(remote)
        return found and untold(found)

    def list_managed(self) -> Iterator[RemoteSecret]:
        return map(untold, super().list_managed())

    def with_details(self, copies: list[RemoteSecret]) -> list[RemoteSecret]:
        self.asked += [copy.name for copy in copies]
        if self.refusal:
            raise self.refusal
        return [found for copy in copies if (found := super(Quiet, self).describe(copy.name))]


def beside(site: Site, path: str, store: str = "one") -> Details:
    """What stands beside a copy."""
    found = MemoryStore.describe(site.stores[store], path)
    assert found is not None
    assert found.details is not None
    return found.details


def counts(site: Site, store: str = "one") -> tuple[int, int]:
    """How many versions were written there, and how often something was laid beside a copy."""
    return site.stores[store].writes, site.stores[store].labels


def test_a_changed_tag_is_an_update_that_makes_no_version(site: Site) -> None:
    path = site.write("a", x="1")
    site.run()
    site.syncs["all"] |= {"tags": {"team": "shop", "cost": "1"}, "description": "Login"}
    item = site.item(f"one:{path}")
    assert (item.action, item.why) == (Action.UPDATE, "it has other tags (cost, team) and another description")
    assert (item.version, item.holds, len(item.fingerprint)) == (1, 1, 64)
    assert {result.state for result in site.run()} == {"labelled"}
    assert beside(site, path) == Details({"team": "shop", "cost": "1"}, description="Login")
    assert counts(site) == (1, 1)
    assert set(site.actions().values()) == {Action.IN_SYNC}
    assert not site.run()
    assert counts(site) == (1, 1)


def test_a_plan_that_was_reviewed_lays_nothing_else_beside_a_copy(site: Site) -> None:
    site.write("a", x="1")
    site.syncs["all"]["tags"] = {"team": "shop"}
    created = site.plan()
    assert not moved(created.work, site.plan().items)
    site.run()
    site.syncs["all"]["tags"] = {"team": "web"}
    labelled = site.plan()
    assert not moved(labelled.work, site.plan().items)
    site.syncs["all"]["tags"] = {"team": "app"}
    assert len(moved(labelled.work, site.plan().items)) == 2


def test_a_tag_that_is_taken_out_is_removed_and_others_stay(site: Site) -> None:
    path = site.write("a", x="1")
    site.syncs["all"]["tags"] = {"team": "shop", "cost": "1"}
    site.run()
    kept = site.stores["one"]._secrets[path]
    kept.details = Details({**kept.details.tags, "theirs": "t", "cost": "2"})
    assert site.item(f"one:{path}").why == "it has other tags (cost)"
    del site.syncs["all"]["tags"]
    assert site.item(f"one:{path}").why == "it has other tags (cost, team)"
    site.run()
    assert beside(site, path).tags == {"theirs": "t"}
    assert counts(site) == (1, 1)
    assert set(site.actions().values()) == {Action.IN_SYNC}


def test_a_store_gives_its_own_tags_to_every_copy_and_the_destinations_win(site: Site) -> None:
    path = site.write("a", x="1")
    site.settings = {"one": {"tags": {"team": "platform", "env": "prod"}}}
    site.syncs["all"]["tags"] = {"team": "shop"}
    site.run()
    assert beside(site, path).tags == {"team": "shop", "env": "prod"}
    assert beside(site, path, "two").tags == {"team": "shop"}


def test_a_new_value_is_written_with_what_stands_beside_it(site: Site) -> None:
    path = site.write("a", x="1")
    site.run()
    site.syncs["all"]["tags"] = {"team": "shop"}
    site.write("a", x="2")
    assert site.item(f"one:{path}").why == ""
    site.run()
    assert (beside(site, path).tags, counts(site)) == ({"team": "shop"}, (2, 0))


def test_what_can_not_be_labelled_is_written_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.write("a", x="1")
    site.run()

    def refuses(*_: object) -> None:
        raise UnsupportedOperation("label", "one", "it takes a new version")

    monkeypatch.setattr(site.stores["one"], "relabel", refuses)
    site.syncs["all"]["tags"] = {"team": "shop"}
    site.run()
    assert (beside(site, path).tags, counts(site)) == ({"team": "shop"}, (2, 0))
    assert set(site.actions().values()) == {Action.IN_SYNC}


def test_an_expiry_follows_the_version_and_is_blocked_once_it_is_over(site: Site) -> None:
    name = site.write("a", x="1")
    site.syncs["all"] |= {"stores": ["one"], "expires_after": "90d"}
    site.run()
    info = site.lab.hub.describe(site.path("a"))
    assert info is not None
    assert info.newest is not None
    assert beside(site, name).expires_at == info.newest.created_at + timedelta(days=90)
    assert not site.run()
    site.syncs["all"]["expires_after"] = "60d"
    assert site.item(f"one:{name}").why == "it has another expiry"
    site.run()
    assert beside(site, name).expires_at == info.newest.created_at + timedelta(days=60)
    site.clock.advance(timedelta(days=61))
    assert set(site.actions().values()) == {Action.IN_SYNC}
    before = counts(site)
    site.syncs["all"]["expires_after"] = "30d"
    assert_over(site, name, "version 1 is over since")
    site.write("a", x="2")  # the hub's clock has not moved
    assert_over(site, name, "version 2 is over since")
    assert counts(site) == before


def assert_over(site: Site, name: str, said: str) -> None:
    """The copy is blocked in the plan and after a run, and nothing was written."""
    item = site.item(f"one:{name}")
    assert (item.action, item.kind) == (Action.BLOCKED, "Invalid")
    assert said in item.why
    site.run()
    assert said in store_status.load_store_status(site.workspace, "one")[0].failing[name].error


def test_what_no_look_tells_is_asked_for_only_where_the_catalogue_wants_it(site: Site) -> None:
    store = Quiet("one")
    site.stores["one"] = store
    path = site.write("a", x="1")
    site.run()
    site.run()
    assert not store.asked
    site.syncs["all"]["tags"] = {"team": "shop"}
    assert [item.action for item in site.plan().items] == [Action.UPDATE] * 2
    assert store.asked == [path]
    site.run()
    assert (beside(site, path).tags, counts(site)) == ({"team": "shop"}, (1, 1))
    store.asked.clear()
    del site.syncs["all"]["tags"]
    site.run()
    assert (store.asked, beside(site, path).tags) == ([], {"team": "shop"})
    site.run(deep=True)
    assert beside(site, path).tags == {}


def test_what_can_not_be_told_blocks_labels_and_no_value(site: Site) -> None:
    store = Quiet("one")
    site.stores["one"] = store
    path = site.write("a", x="1")
    site.syncs["all"]["tags"] = {"team": "shop"}
    site.run()
    store.refusal = Denied("list the tags of", "one:*", "no right to")
    item = site.item(f"one:{path}")
    assert (item.action, item.kind) == (Action.BLOCKED, "Denied")
    site.write("a", x="2")
    site.run()
    assert site.served("one") == {path: '{"x":"2"}'}


class Forgetful(MemoryStore):
    """A store that answers as if it had written, and keeps no marks and no tags."""

    forgets_marks = False

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        return replace(current, marks=marks, details=details)

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        kept = current.marks if self.forgets_marks and current and current.marks else marks
        return replace(super().write(remote, value, kept, current, details=details), marks=marks)


def test_what_a_store_does_not_show_afterwards_is_reported_as_failed(site: Site) -> None:
    store = site.stores["one"] = Forgetful("one")
    path = site.write("a", x="1")
    site.run()
    site.syncs["all"]["tags"] = {"team": "shop"}
    failed = {result.store: (result.state, result.kind, result.error) for result in site.run()}["one"]
    assert failed[:2] == ("failed", "Conflict")
    assert "it has other tags (team)" in failed[2]
    del site.syncs["all"]["tags"]
    store.forgets_marks = True
    site.write("a", x="2")
    failed = {result.store: (result.state, result.kind, result.error) for result in site.run()}["one"]
    assert failed[:2] == ("failed", "Conflict")
    assert "other marks, than were written" in failed[2]
    assert site.item(f"one:{path}").action is not Action.IN_SYNC
