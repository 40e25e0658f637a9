"""Applying plans: what is done, what is left alone, and what is remembered."""

from datetime import timedelta

import pytest

from keyturn.core.errors import Conflict, Denied, Invalid, Throttled, Unavailable
from keyturn.core.fingerprint import fingerprint
from keyturn.core.plan import Action, read_plan, write_plan
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive
from keyturn.rotation.copies import store_status
from keyturn.sync.apply import Applier
from keyturn.sync.run import carry_out, insist_on, local_executor
from tests.sync.site import Site

pytestmark = pytest.mark.sampled(4, of="file")

KEY = Sensitive("a key")


def test_a_plan_survives_its_file(site: Site) -> None:
    site.write("a", x="1")
    planned = site.plan()
    assert read_plan(write_plan(planned, KEY), KEY, "plan.json") == planned


@pytest.mark.parametrize("change", [("create", "delete"), ('"version": 1', '"version": 2'), ("one", "two")])
def test_a_plan_that_was_changed_is_refused(site: Site, change: tuple[str, str]) -> None:
    site.write("a", x="1")
    text = write_plan(site.plan(), KEY)
    assert change[0] in text
    with pytest.raises(Invalid, match="signature"):
        read_plan(text.replace(*change, 1), KEY, "plan.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"plan": 1, "signature": 2}', "no json"])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_plan(text, KEY, "plan.json")


def test_a_plan_of_another_hub_is_refused(site: Site) -> None:
    text = write_plan(site.plan(), KEY)
    with pytest.raises(Invalid, match="another hub"):
        read_plan(text, Sensitive("another"), "plan.json")


def test_exactly_the_plan_is_applied(site: Site) -> None:
    first = site.write("a", x="1")
    planned = site.plan(first)
    other = site.write("b", x="1")
    workspace = site.workspace
    carry_out(workspace, insist_on(workspace, planned), local_executor(Applier(workspace)))
    assert first in site.served("one")
    assert other not in site.served("one")


@pytest.mark.parametrize("moves", ["hub", "store", "more"])
def test_a_plan_whose_state_has_moved_is_refused_whole(site: Site, moves: str) -> None:
    path = site.write("a", x="1")
    site.run()
    site.write("a", x="2")
    planned = site.plan()
    if moves == "hub":
        site.write("a", x="3")
    elif moves == "store":
        site.stores["one"].put_by_hand(path, "theirs")
    else:
        site.write("b", x="1")
    before = site.served("one"), site.served("two")
    with pytest.raises(Conflict):
        insist_on(site.workspace, planned)
    assert (site.served("one"), site.served("two")) == before


def test_one_store_down_one_throttling_and_one_denying_leave_the_rest_in_step(site: Site) -> None:
    path = site.write("a", x="1")
    site.stores["one"].refuses = Denied("write", "one", "no right to write", "Grant it")
    results = {result.store: result for result in site.run()}
    assert (results["one"].kind, results["two"].error) == ("Denied", "")
    kept = store_status.load_store_status(site.workspace, "one")[0].failing[path]
    assert (kept.kind, kept.path) == ("Denied", path)
    site.clock.advance(timedelta(hours=1))
    site.run()
    assert store_status.load_store_status(site.workspace, "one")[0].failing[path].since == kept.since
    site.stores["one"].refuses = None
    site.run()
    assert store_status.load_store_status(site.workspace, "one")[0].failing == {}
    assert site.stores["two"].writes == 1


def test_a_store_that_asks_for_a_slower_pace_is_given_it(site: Site) -> None:
    path = site.write("a", x="1")
    store = site.stores["one"]
    refusals = iter([Throttled("write", "one", "slow down", retry_after=0.01)] * 2)
    real = store.write

    def write(*given: object, **named: object) -> object:
        if refusal := next(refusals, None):
            raise refusal
        return real(*given, **named)  # type: ignore[arg-type]

    store.write = write  # type: ignore[method-assign, assignment]
    assert all(not result.error for result in site.run())
    assert path in site.served("one")


def test_a_store_that_has_stopped_answering_is_left_after_a_few(site: Site) -> None:
    for number in range(40):
        site.write(f"s{number}", x="1")
    store, calls = site.stores["one"], []

    def write(remote: str, *_: object, **__: object) -> object:
        calls.append(remote)
        raise Unavailable("write", "one", "no answer")

    store.write = write  # type: ignore[method-assign, assignment]
    results = [result for result in site.run() if result.store == "one"]
    assert len(results) == 40
    assert all(result.kind == "Unavailable" for result in results)
    assert len(calls) < 40
    assert len(site.served("two")) == 40


# what nothing declares any more


def orphaned(site: Site, count: int = 1, **settings: object) -> list[str]:
    """Copies whose pattern covers them no more."""
    site.settings = {name: {"deletion": "delete", "delete_after": "7d", **settings} for name in site.stores}
    names = [site.write(f"s{number}", x=str(number)) for number in range(count)]
    site.run()
    site.syncs["all"]["without"] = [f"{site.folder}/*"]
    return names


def test_a_copy_that_nothing_declares_is_deleted_after_its_delay(site: Site) -> None:
    orphaned(site)
    site.run()
    assert len(site.served("one")) == 1
    site.clock.advance(timedelta(days=6))
    site.run()
    assert len(site.served("one")) == 1
    site.clock.advance(timedelta(days=1, minutes=1))
    assert set(site.actions().values()) == {Action.DELETE}
    site.run()
    assert site.served("one") == {}
    assert store_status.load_store_status(site.workspace, "one")[0].tombstones.keys() <= set()


@pytest.mark.parametrize("deletion", ["keep", "delete"])
def test_a_destination_that_leaves_the_catalogue_and_stays_in_its_store_is_told(site: Site, deletion: str) -> None:
    site.settings = {name: {"deletion": deletion} for name in site.stores}
    path = site.write("db", password="one")
    site.syncs = {"none": {"paths": ["elsewhere/*"], "stores": ["one"]}}
    declared = {"path": path, "owner": "ml", "classification": "internal", "rotation": {"strategy": "manual"}}
    places = [{"store": store, "name": "db"} for store in site.stores]
    site.secrets = {path: {**declared, "destinations": places}}
    site.run()

    def told(*patterns: str) -> list[str]:
        return [remark for remark in site.plan(*patterns).remarks if remark.startswith("NOT DECLARED")]

    assert told() == []
    site.secrets = {path: {**declared, "destinations": places[:1]}}
    assert told(path) == []
    assert [f"still there: two:db of {path}. No new version reaches them" in remark for remark in told()] == (
        [True] if deletion == "keep" else []
    )
    site.stores["two"].delete("db")
    assert told() == []


def test_declared_again_it_stays_and_its_delay_begins_anew(site: Site) -> None:
    orphaned(site)
    site.run()
    site.clock.advance(timedelta(days=6))
    site.syncs["all"]["without"] = []
    site.run()
    site.syncs["all"]["without"] = [f"{site.folder}/*"]
    site.clock.advance(timedelta(days=2))
    site.run()
    assert len(site.served("one")) == 1


def test_no_run_deletes_more_than_its_cap(site: Site) -> None:
    orphaned(site, 5, most_deletions=2)
    site.run()
    site.clock.advance(timedelta(days=8))
    left = []
    for _ in range(3):
        site.run()
        left.append(len(site.served("one")))
    assert left == [3, 1, 0]


def test_by_default_nothing_is_deleted(site: Site) -> None:
    orphaned(site, deletion="keep")
    site.run()
    site.clock.advance(timedelta(days=100))
    site.run()
    assert len(site.served("one")) == 1


def test_a_copy_with_another_hubs_fingerprint_is_never_deleted(site: Site) -> None:
    site.settings = {name: {"deletion": "delete", "delete_after": "0s"} for name in site.stores}
    value = Sensitive("theirs")
    marks = OwnershipTags("their/secret", 3, fingerprint(Sensitive("their own key"), value))
    site.stores["one"].write("their-copy", value, marks, None)
    site.run()
    site.clock.advance(timedelta(days=1))
    (result,) = site.run()
    assert (result.action, result.kind) == ("delete", "NotOwned")
    assert site.served("one") == {"their-copy": "theirs"}


def test_a_copy_that_somebody_changed_is_not_deleted(site: Site) -> None:
    (name,) = orphaned(site)
    site.stores["one"].put_by_hand(name, "theirs now")
    site.clock.advance(timedelta(days=8))
    site.run()
    site.run()
    assert site.served("one") == {name: "theirs now"}
