"""What a plan shows, and that planning writes nothing."""

import pytest

from keyturn.core.errors import Denied, NotFound
from keyturn.core.plan import Action
from keyturn.core.ports.stores import OwnershipTags, RemoteSecret
from keyturn.core.sensitive import Sensitive
from keyturn.rotation.copies import store_status
from tests.sync.site import Site

pytestmark = pytest.mark.sampled(4, of="file")


def test_what_is_missing_is_created_and_then_in_sync(site: Site) -> None:
    path = site.write("a", x="1")
    assert site.actions() == {f"one:{path}": Action.CREATE, f"two:{path}": Action.CREATE}
    assert not site.served("one")
    site.run()
    assert set(site.actions().values()) == {Action.IN_SYNC}
    assert site.served("one") == site.served("two") == {path: '{"x":"1"}'}


def test_a_newer_version_is_an_update_with_both_versions(site: Site) -> None:
    path = site.write("a", x="1")
    site.run()
    site.write("a", x="2")
    item = site.item(f"one:{path}")
    assert (item.action, item.version, item.holds, len(item.fingerprint)) == (Action.UPDATE, 2, 1, 64)


def test_the_same_value_as_a_newer_version_is_in_sync_and_not_written(site: Site) -> None:
    site.write("a", x="1")
    site.run()
    site.write("a", x="1")
    assert set(site.actions().values()) == {Action.IN_SYNC}
    site.run()
    assert site.stores["one"].writes == 1


def test_what_somebody_else_has_is_a_conflict_and_with_adopt_an_adoption(site: Site) -> None:
    path = site.write("a", x="1")
    site.stores["one"].put_by_hand(path, "theirs")
    assert site.actions()[f"one:{path}"] is Action.CONFLICT
    site.run()
    assert site.served("one") == {path: "theirs"}
    site.syncs["all"]["adopt"] = True
    assert site.actions()[f"one:{path}"] is Action.ADOPT
    site.run()
    assert site.served("one") == {path: '{"x":"1"}'}


@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        ('{"x":"1"}', "it holds the same value"),
        ('{ "x": "1" }', "it holds the same JSON object in another spelling"),
        ("theirs", "it holds another value, which would be overwritten"),
    ],
)
@pytest.mark.attack
def test_an_adoption_says_what_would_be_overwritten(site: Site, theirs: str, says: str) -> None:
    path = site.write("a", x="1")
    site.stores["one"].put_by_hand(path, theirs)
    site.syncs["all"]["adopt"] = True
    assert site.item(f"one:{path}").why == f"Keyturn has not made it; {says}"


def test_a_copy_of_another_secret_is_a_conflict(site: Site) -> None:
    path = site.write("a", x="1")
    site.stores["one"].write(path, Sensitive("v"), OwnershipTags("other/path", 1, "f" * 64), None)
    item = site.item(f"one:{path}")
    assert (item.action, item.why) == (Action.CONFLICT, "it is the copy of other/path")


@pytest.mark.parametrize("drift", ["repair", "report"])
def test_a_changed_copy_has_drifted_and_is_repaired_unless_only_reported(site: Site, drift: str) -> None:
    path = site.write("a", x="1")
    site.syncs["all"]["drift"] = drift
    site.run()
    site.stores["one"].put_by_hand(path, "changed")
    item = site.item(f"one:{path}")
    assert (item.action, item.work) == (Action.DRIFTED, drift == "repair")
    site.run()
    assert site.served("one") == {path: '{"x":"1"}' if drift == "repair" else "changed"}
    kept = store_status.load_store_status(site.workspace, "one")[0].failing
    assert [one.kind for one in kept.values()] == ([] if drift == "repair" else ["drifted"])


def test_a_copy_that_has_lost_its_marks_is_told_by_its_value_and_marked_again(site: Site) -> None:
    path = site.write("a", x="1")
    site.stores["one"].put_by_hand(path, '{"x":"1"}')
    assert site.actions()[f"one:{path}"] is Action.DRIFTED
    site.run()
    assert site.actions()[f"one:{path}"] is Action.IN_SYNC


def test_a_deleted_copy_is_created_again(site: Site) -> None:
    path = site.write("a", x="1")
    site.run()
    site.stores["one"].delete(path)
    assert site.actions() == {f"one:{path}": Action.CREATE, f"two:{path}": Action.IN_SYNC}


def test_create_only_leaves_an_older_copy_as_it_is(site: Site) -> None:
    path = site.write("a", x="1")
    site.syncs["all"]["update"] = "create-only"
    site.run()
    site.write("a", x="2")
    assert set(site.actions().values()) == {Action.IN_SYNC}
    site.run()
    assert site.served("one") == {path: '{"x":"1"}'}


def test_another_shape_is_an_update(site: Site) -> None:
    path = site.write("a", x="1", y="2")
    site.run()
    site.syncs["all"]["template"] = "{x}/{y}"
    assert set(site.actions().values()) == {Action.UPDATE}
    site.run()
    assert site.served("one") == {path: "1/2"}
    assert set(site.actions().values()) == {Action.IN_SYNC}


@pytest.mark.parametrize(
    ("fields", "shape", "said"),
    [
        ({"x": "a" * 70_000}, {}, "aws-secrets-manager allows 65536 bytes, this has 70008"),
        ({"x": ""}, {"field": "x"}, "aws-secrets-manager refuses an empty value"),
        ({"x": "1"}, {"field": "y"}, "the secret has no field y"),
        ({"x": "//4="}, {"field": "x", "encoding": "from-base64"}, "not UTF-8"),
    ],
)
def test_a_value_that_a_store_can_not_hold_is_blocked_with_its_limit(
    site: Site, fields: dict[str, str], shape: dict[str, str], said: str
) -> None:
    path = site.write("a", **fields)
    site.syncs["all"] |= shape
    item = site.item(f"one:{path}")
    assert (item.action, item.kind) == (Action.BLOCKED, "Invalid")
    assert said in item.why
    site.run()
    assert not site.served("one")


def test_an_illegal_name_is_blocked(site: Site) -> None:
    site.write("a", x="1")
    site.syncs["all"]["name"] = "{path}!"
    assert set(site.actions().values()) == {Action.BLOCKED}


def test_two_secrets_that_end_up_at_one_name_are_a_conflict_and_the_first_is_pushed(site: Site) -> None:
    site.syncs["all"] |= {"paths": [f"{site.folder}/**"], "separator": "-"}
    first, second = site.write("b-c", x="1"), site.write("b/c", x="2")
    items = {(item.path, item.store): item for item in site.plan().items}
    actions = {path: items[path, "one"].action for path in (first, second)}
    assert sorted(actions.values()) == [Action.CONFLICT, Action.CREATE]


def test_a_store_that_is_down_blocks_its_own_copies_alone(site: Site) -> None:
    path = site.write("a", x="1")
    site.stores["one"].down = Denied("list", "one", "the key is refused")
    items = {item.store: item for item in site.plan().items if item.path == path}
    assert (items["one"].action, items["one"].kind) == (Action.BLOCKED, "Denied")
    assert items["two"].action is Action.CREATE


def test_a_copy_that_the_login_may_not_read_blocks_itself_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = site.write("a", x="1"), site.write("b", x="1")
    store = site.stores["one"]
    describe, hidden = store.describe, second

    def denying(remote: str) -> RemoteSecret | None:
        if remote == hidden:
            raise Denied("find", f"one:{remote}", "AccessDenied", "Give the login this right")
        return describe(remote)

    monkeypatch.setattr(store, "describe", denying)
    items = {item.path: item for item in site.plan().items if item.store == "one"}
    assert (items[second].action, items[second].kind) == (Action.BLOCKED, "Denied")
    assert items[first].action is Action.CREATE


def test_chosen_secrets_alone_are_planned(site: Site) -> None:
    first, second = site.write("a", x="1"), site.write("b", x="1")
    assert {item.path for item in site.plan(first).items} == {first}
    assert {item.path for item in site.plan(f"{site.folder}/*").items} == {first, second}


def test_a_pattern_that_fits_nothing_is_not_found(site: Site) -> None:
    with pytest.raises(NotFound, match="no secret fits it"):
        site.plan("nothing/here/*")
    with pytest.raises(NotFound):
        site.plan("nothing/here")


def test_no_value_stands_in_a_plan(site: Site) -> None:
    site.write("a", x="s3cr3t-in-the-hub")
    assert "s3cr3t" not in repr(site.plan())


def test_what_a_rule_keeps_out_of_a_store_is_blocked_there_and_a_copy_that_is_there_is_told(site: Site) -> None:
    path = site.write("a", x="1")
    site.run()
    site.rules = {"east": {"paths": [f"{site.folder}/*"], "never": {"stores": ["two"]}}}
    site.write("a", x="2")
    assert site.actions() == {f"one:{path}": Action.UPDATE, f"two:{path}": Action.BLOCKED}
    assert site.item(f"two:{path}").why == "the rule east forbids copies in two"
    site.run()
    assert (site.served("one"), site.served("two")) == ({path: '{"x":"2"}'}, {path: '{"x":"1"}'})
