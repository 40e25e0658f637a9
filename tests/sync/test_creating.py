"""New copies: made without a look, many at a time, of values that are read once."""

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from keyturn.core.errors import Throttled, Unavailable
from keyturn.core.plan import Action
from keyturn.core.ports.ledger import Entry
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.copies.push import CopyState
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier, Result
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.sync.threads import BATCH
from tests.support.hooks import Hooked, Once, Replaced, raising
from tests.sync.site import Site

pytestmark = pytest.mark.sampled(9, of="file")


class Counted:
    """``inner`` itself; each call is counted by its name."""

    def __init__(self, inner: Any, calls: Counter[str]) -> None:
        self._inner = inner
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not callable(attribute):
            return attribute

        def call(*given: Any, **named: Any) -> Any:
            self._calls[name] += 1
            return attribute(*given, **named)

        return call


class Careful:
    """``inner`` itself, but it can't make copies without a look."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "create":
            raise AttributeError(name)
        return getattr(self._inner, name)


def run(workspace: Workspace, planned: Any = None) -> dict[str, Result]:
    """Plan and apply; what became of each copy, by its label."""
    planned = planned or plan(workspace, unseen=True)
    return {result.label: result for result in carry_out(workspace, planned, local_executor(Applier(workspace)))}


def with_store(site: Site, name: str, wrap: Callable[[Any], Any]) -> Workspace:
    """The site's Keyturn, with one store wrapped."""
    wrapped = {**site.stores, name: wrap(site.stores[name])}
    return dataclasses.replace(site.workspace, open_store=lambda asked: wrapped[asked])


def states(results: dict[str, Result]) -> Counter[str]:
    return Counter(result.state for result in results.values())


def assert_in_step(site: Site) -> None:
    """A plan finds nothing to do, and no value was ever written twice."""
    assert set(site.actions().values()) == {Action.IN_SYNC}


def test_a_new_copy_costs_one_call_and_a_secrets_value_is_read_once(site: Site) -> None:
    for number in range(2 * BATCH + 5):
        site.write(f"s{number:03}", x=str(number))
    hub, one = Counter[str](), Counter[str]()
    workspace = with_store(site, "one", lambda store: Counted(store, one))
    workspace = dataclasses.replace(workspace, hub=Counted(workspace.hub, hub))
    planned = plan(workspace, unseen=True)
    assert not hub["read"]
    one.clear()
    results = run(workspace, planned)
    assert states(results) == {"created": 2 * (2 * BATCH + 5)}
    assert one == {"create": 2 * BATCH + 5}
    assert hub["read"] == 2 * BATCH + 5
    assert hub["describe_many"] == 2 * 3
    assert not hub["describe"]
    assert_in_step(site)


def test_a_name_that_somebody_took_in_between_is_a_conflict_and_theirs_stays(site: Site) -> None:
    paths = [site.write(name, x="1") for name in ("a", "b", "c")]
    workspace = site.workspace
    planned = plan(workspace, unseen=True)
    site.stores["one"].put_by_hand(paths[1], "theirs")
    results = run(workspace, planned)
    assert results[f"one:{paths[1]}"].kind == "NotOwned"
    assert states(results) == {"created": 5, "failed": 1}
    assert site.served("one")[paths[1]] == "theirs"
    assert site.stores["one"].writes == 2


def test_a_name_that_somebody_took_is_taken_over_where_the_catalogue_says_so(site: Site) -> None:
    path = site.write("a", x="1")
    site.syncs["all"]["adopt"] = True
    workspace = site.workspace
    planned = plan(workspace, unseen=True)
    site.stores["one"].put_by_hand(path, "theirs")
    assert states(run(workspace, planned)) == {"created": 1, "updated": 1}
    assert_in_step(site)


def test_a_name_that_an_earlier_run_of_ours_took_is_in_step_without_another_version(site: Site) -> None:
    site.write("a", x="1")
    site.write("b", x="1")
    workspace = site.workspace
    planned = plan(workspace, unseen=True)
    site.run(site.path("a"))
    assert states(run(workspace, planned)) == {"in sync": 2, "created": 2}
    assert [store.writes for store in site.stores.values()] == [2, 2]
    assert_in_step(site)


def test_a_name_that_an_earlier_run_took_for_an_older_value_is_brought_up_to_date(site: Site) -> None:
    path = site.write("a", x="1")
    workspace = site.workspace
    planned = plan(workspace, unseen=True)
    site.run()
    site.write("a", x="2")
    assert states(run(workspace, planned)) == {"updated": 2}
    assert site.served("one") == site.served("two") == {path: '{"x":"2"}'}


@pytest.mark.parametrize("when", ["before the first copy", "before the comparison"])
def test_a_value_that_moves_on_while_its_copies_are_made_is_not_left_behind(site: Site, when: str) -> None:
    site.syncs["all"]["stores"] = ["one"]
    paths = [site.write(name, x="1") for name in ("a", "b", "c")]
    moves = Once(lambda: site.write("b", x="2"))
    if when == "before the first copy":
        workspace = with_store(site, "one", lambda store: Hooked(store, create=moves))
    else:
        workspace = dataclasses.replace(site.workspace, hub=Hooked(site.lab.hub, describe_many=moves))
    results = run(workspace)
    assert not [result for result in results.values() if result.error]
    assert site.served("one") == {paths[0]: '{"x":"1"}', paths[1]: '{"x":"2"}', paths[2]: '{"x":"1"}'}
    assert_in_step(site)


def test_a_newer_value_that_another_run_pushed_meanwhile_is_not_overwritten(site: Site) -> None:
    """Where the store refuses no name that is taken, the comparison afterwards mends it."""
    path = site.write("a", x="1")
    inner = site.stores["one"]

    def quicker() -> None:
        site.write("a", x="2")
        site.run()

    race = Once(quicker)

    def create(remote: str, value: Any, marks: Any, **named: Any) -> Any:
        race()
        return inner.write(remote, value, marks, None, **named)

    results = run(with_store(site, "one", lambda store: Replaced(store, create=create)))
    assert not [result for result in results.values() if result.error]
    assert site.served("one") == site.served("two") == {path: '{"x":"2"}'}
    assert_in_step(site)


def test_one_that_can_not_be_made_stops_no_other_of_its_batch(site: Site) -> None:
    for number in range(20):
        site.write(f"s{number}", x=str(number))
    large, lacking = site.write("large", x="x" * 70_000), site.write("lacking", z="1")
    site.syncs["all"]["field"] = "x"
    results = run(site.workspace)
    assert states(results) == {"created": 40, "failed": 4}
    assert "65536 bytes" in results[f"one:{large}"].error
    assert "no field x" in results[f"one:{lacking}"].error
    assert results[f"one:{large}"].kind == results[f"one:{lacking}"].kind == "Invalid"
    assert site.stores["one"].writes == 20
    assert "x" * 100 not in repr(results)


def test_one_store_that_is_down_stops_no_other(site: Site) -> None:
    for number in range(30):
        site.write(f"s{number}", x=str(number))
    planned = site.plan()
    site.stores["one"].down = Unavailable("create", "one", "no answer")
    results = run(site.workspace, planned)
    assert states(results) == {"created": 30, "failed": 30}
    site.stores["one"].down = None
    site.run()
    assert_in_step(site)
    assert site.stores["two"].writes == 30


def test_a_secret_that_the_hub_has_no_more_is_not_made(site: Site) -> None:
    path, other = site.write("a", x="1"), site.write("b", x="1")
    workspace = site.workspace
    planned = plan(workspace, unseen=True)
    site.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(path)
    results = run(workspace, planned)
    assert {label: result.kind for label, result in results.items() if result.error} == {
        f"one:{path}": "NotFound",
        f"two:{path}": "NotFound",
    }
    assert set(site.served("one")) == {other}


def test_copies_that_could_not_be_compared_are_behind_until_the_next_run_which_writes_nothing(site: Site) -> None:
    site.write("a", x="1")
    site.write("b", x="1")
    error = Unavailable("list", "the hub", "no answer")
    workspace = dataclasses.replace(site.workspace, hub=Hooked(site.lab.hub, describe_many=raising(error)))
    results = run(workspace)
    assert {(result.state, result.kind) for result in results.values()} == {("failed", "Unavailable")}
    assert states({result.label: result for result in site.run()}) == {}
    assert [store.writes for store in site.stores.values()] == [2, 2]
    assert_in_step(site)


def test_a_store_that_asks_for_a_slower_pace_gets_its_new_copies_later(site: Site) -> None:
    path = site.write("a", x="1")
    refusals = iter([Throttled("write", "one", "slow down", retry_after=0.01)] * 2)

    def refuse(*_: Any, **__: Any) -> None:
        if refusal := next(refusals, None):
            raise refusal

    assert states(run(with_store(site, "one", lambda store: Hooked(store, create=refuse)))) == {"created": 2}
    assert path in site.served("one")


def test_a_store_that_can_not_make_copies_without_a_look_gets_them_with_one(site: Site) -> None:
    site.write("a", x="1")
    calls = Counter[str]()
    workspace = with_store(site, "one", lambda store: Counted(Careful(store), calls))
    planned = plan(workspace, unseen=True)
    calls.clear()
    assert states(run(workspace, planned)) == {"created": 2}
    assert (calls["describe"], calls["write"], calls["read"]) == (2, 1, 1), "read back once"
    assert_in_step(site)


def test_a_plan_that_nobody_looks_at_reads_no_value_of_new_copies_alone(site: Site) -> None:
    new, old = site.write("new", x="1"), site.write("old", x="1")
    site.run(old)
    site.write("old", x="2")
    calls: list[str] = []
    workspace = dataclasses.replace(site.workspace, hub=Hooked(site.lab.hub, read=lambda path, *_: calls.append(path)))
    items = {item.label: item for item in plan(workspace, unseen=True).items}
    assert calls == [old]
    assert (items[f"one:{new}"].action, items[f"one:{new}"].fingerprint) == (Action.CREATE, "")
    assert (items[f"one:{old}"].action, bool(items[f"one:{old}"].fingerprint)) == (Action.UPDATE, True)
    assert {item.label: item.fingerprint for item in plan(workspace).items}[f"one:{new}"]


def test_two_runs_at_once_make_every_copy_once(site: Site) -> None:
    for number in range(30):
        site.write(f"s{number}", x=str(number))
    workspaces = [site.workspace, site.workspace]
    planned = [plan(workspace, unseen=True) for workspace in workspaces]
    together, results = threading.Barrier(2), []

    def go(number: int) -> None:
        together.wait(30)
        results.append(run(workspaces[number], planned[number]))

    threads = [threading.Thread(target=go, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum((states(result) for result in results), Counter()) == {"created": 60, "in sync": 60}
    assert [store.writes for store in site.stores.values()] == [30, 30]


def test_what_is_reported_wrongly_is_raised_and_not_lost(site: Site) -> None:
    site.write("a", x="1")
    workspace = site.workspace

    def report(result: Result) -> None:
        raise LookupError(result.name)

    with pytest.raises(LookupError):
        local_executor(Applier(workspace))(plan(workspace).work, report)


def test_marks_results_and_ledger_tell_version_and_fingerprint_although_the_plan_did_not(site: Site) -> None:
    path = site.write("a", x="1")
    site.lab.hub.write(path, SecretFields({"x": "2"}), cas=1)
    noted: list[Entry] = []
    workspace = dataclasses.replace(site.workspace, ledger=Replaced(site.workspace.ledger, append=noted.extend))
    digest = workspace.fingerprint(path, SecretFields({"x": "2"}))
    results = run(workspace)
    assert {(result.state, result.version, result.fingerprint) for result in results.values()} == {
        (str(CopyState.CREATED), 2, digest)
    }
    copy = site.stores["one"].describe(path)
    assert copy is not None
    current = site.lab.hub.read(path)
    assert current is not None
    assert copy.marks == OwnershipTags(path, 2, digest, created_at=current.created_at, catalogue="default")
    pushed = [
        (entry.place, entry.secret, entry.version, entry.fingerprint) for entry in noted if entry.action == "push"
    ]
    assert sorted(pushed) == [(f"{store}:{path}", path, 2, digest) for store in ("one", "two")]
