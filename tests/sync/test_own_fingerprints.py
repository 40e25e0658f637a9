"""Replacing the fingerprint key continues after crashes, and unmarked copies keep the old key."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from keyturn.core.errors import Conflict, Unavailable, UnsupportedOperation
from keyturn.core.fingerprint import is_noted
from keyturn.core.fingerprint_keys import generation_of, key_entry, word_entry
from keyturn.core.plan import Action
from keyturn.core.ports.stores import Unsupported
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.keys import refingerprint as own_fingerprints
from keyturn.keys.refingerprint import standing, turn_fingerprint_key
from keyturn.rotation.copies.labels import MARKED_ANEW
from keyturn.rotation.state.context import Workspace
from tests.support.memory_store import MemoryStore
from tests.support.turning import KeyState, later, turns
from tests.sync.site import Site

pytestmark = pytest.mark.sampled(4, of="file")


@dataclasses.dataclass
class Turning(Site):
    """A site whose hub has keys of its own, as an older release has begun them."""

    state: KeyState = dataclasses.field(default_factory=KeyState)

    @property
    def workspace(self) -> Workspace:
        """One opened anew, as a new process would."""
        made = super().workspace
        return dataclasses.replace(made, hub=self.state.laid_over(made.hub))

    def generations(self) -> set[int]:
        """Which keys the marks of copies are by."""
        copies = [copy for store in self.stores.values() for copy in store.list_managed()]
        return {generation_of(copy.marks.fingerprint) for copy in copies if copy.marks}

    def turn(self, *, begin: bool = False) -> own_fingerprints.Turned:
        """The next step, by a new process."""
        workspace = self.workspace
        return turn_fingerprint_key(workspace, later(workspace), begin=begin)


@pytest.fixture
def turning(site: Site) -> Turning:
    return Turning(site.lab)


class Blind(MemoryStore):
    """A store that gives no value back."""

    unsupported = frozenset({Unsupported.READ})

    def read(self, remote: str) -> Sensitive:
        raise UnsupportedOperation("read", f"{self.name}:{remote}", "it gives nothing back")


def steps(turning: Turning) -> list[str]:
    """A whole turn, each step by a process of its own."""
    made = [turning.turn(begin=True)]
    while not made[-1].done:
        assert len(made) < 10
        made.append(turning.turn())
    return [turned.step for turned in made]


def test_equal_values_of_two_secrets_look_different_once_the_key_is_turned(turning: Turning) -> None:
    paths, workspace = [turning.write(name, x="same") for name in "ab"], turning.workspace
    assert workspace.fingerprint(paths[0], SecretFields({"x": "same"})) == workspace.fingerprint(
        paths[1], SecretFields({"x": "same"})
    )
    turning.run()
    assert steps(turning) == ["begun", "in use", "marking", "retired"]
    marks = {copy.marks.fingerprint for copy in turning.stores["one"].list_managed() if copy.marks}
    assert len(marks) == 2


def test_the_next_step_waits_until_every_process_knows_of_the_last(turning: Turning) -> None:
    turning.write("a", x="1")
    turning.run()
    workspace = turning.workspace
    begun = turn_fingerprint_key(workspace, workspace.hub.now())
    waits = turn_fingerprint_key(workspace, workspace.hub.now())
    assert (begun.step, waits.step, waits.done) == ("begun", "settling", False)
    assert waits.again_at is not None
    assert waits.again_at - workspace.hub.now() > timedelta(minutes=5)
    assert standing(workspace).turning
    turning.turn()
    turning.turn()
    assert turn_fingerprint_key(workspace, workspace.hub.now()).step == "settling"
    assert turning.turn().step == "retired"
    assert dataclasses.astuple(standing(workspace))[2:] == (False, (1,))
    assert turn_fingerprint_key(workspace, workspace.hub.now(), begin=False).step == "nothing"


def test_a_sync_marks_anew_what_it_meets_while_a_turn_is_open(turning: Turning) -> None:
    path = turning.write("a", x="1")
    turning.run()
    turning.turn(begin=True)
    turning.turn()
    item = turning.item(f"one:{path}")
    assert (item.action, item.why) == (Action.UPDATE, MARKED_ANEW)
    assert {result.state for result in turning.run()} == {"labelled"}
    assert turning.generations() == {2}
    assert [store.writes for store in turning.stores.values()] == [1, 1]
    assert turning.turn().step == "retired"


def test_a_process_that_still_makes_old_marks_shows_no_drift_and_is_followed(turning: Turning) -> None:
    old = turning.workspace
    old.fingerprint_keys.make("a", Sensitive("b"))
    turning.turn(begin=True)
    turning.turn()
    path = turning.write("a", x="1")
    text = Sensitive('{"x":"1"}')
    turning.run()
    copy = turning.stores["one"].describe(path)
    assert copy is not None
    assert copy.marks is not None
    turning.stores["one"].write(
        path, text, dataclasses.replace(copy.marks, fingerprint=old.fingerprint_of(path, text)), copy
    )
    assert turning.item(f"one:{path}").why == MARKED_ANEW
    assert turning.turn().marked == 1
    assert turning.turn().step == "retired"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(5))
def test_whoever_dies_at_a_step_is_followed_by_the_next(
    turning: Turning, monkeypatch: pytest.MonkeyPatch, call: int, after: bool
) -> None:
    turning.write("a", x="1")
    turning.write("b", x="1")
    turning.run()
    calls = Dying(call, after=after)
    monkeypatch.setattr(turning.state, "claim_state", calls.over(turning.state.claim_state))
    store = turning.stores["two"]
    monkeypatch.setattr(store, "relabel", calls.over(store.relabel))
    with pytest.raises(KeyboardInterrupt):
        steps(turning)
    assert set(turning.actions().values()) <= {Action.IN_SYNC, Action.UPDATE}
    turned = turning.turn(begin=(call, after) == (0, False))
    while not turned.done:
        assert set(turning.actions().values()) <= {Action.IN_SYNC, Action.UPDATE}
        turned = turning.turn()
    assert turned.step in ("nothing", "retired")
    assert turning.generations() == {2}
    assert set(turning.actions(deep=True).values()) == {Action.IN_SYNC}
    assert [store.writes for store in turning.stores.values()] == [2, 2]


class Dying:
    """Ends the process at the call of that number, before it or after it."""

    def __init__(self, call: int, *, after: bool) -> None:
        self._left, self._after = call, after

    def over(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method, which may be the last that is called."""

        def called(*given: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == -1 and not self._after:
                raise KeyboardInterrupt
            made = method(*given, **named)
            if self._left == -1:
                raise KeyboardInterrupt
            return made

        return called


def test_a_copy_that_keeps_an_older_value_is_marked_anew_too(turning: Turning) -> None:
    turning.syncs["all"]["update"] = "create-only"
    path = turning.write("a", x="1")
    turning.run()
    turning.write("a", x="2")
    steps(turning)
    assert turning.generations() == {2}
    assert turning.served("one") == {path: '{"x":"1"}'}
    assert set(turning.actions().values()) == {Action.IN_SYNC}


def test_what_nothing_declares_any_more_is_marked_anew_too(turning: Turning) -> None:
    turning.write("a", x="1")
    turning.run()
    turning.syncs["all"]["paths"] = [f"{turning.folder}-other/*"]
    assert steps(turning)[-1] == "retired"
    assert turning.generations() == {2}


def test_tags_that_the_catalogue_asks_for_stay_beside_a_copy_that_is_marked_anew(turning: Turning) -> None:
    turning.syncs["all"] |= {"tags": {"team": "shop"}, "description": "Login"}
    path = turning.write("a", x="1")
    turning.run()
    before = turning.stores["one"]._secrets[path].details
    steps(turning)
    assert turning.stores["one"]._secrets[path].details == before
    assert set(turning.actions().values()) == {Action.IN_SYNC}


def test_a_copy_that_nobody_can_read_is_told_by_the_hub_and_else_keeps_the_old_key_open(turning: Turning) -> None:
    turning.stores = {"one": Blind("one")}
    turning.syncs["all"] |= {"stores": ["one"], "update": "create-only"}
    path, other = turning.write("a", x="1"), turning.write("b", x="1")
    turning.run()
    turning.write("b", x="2")
    turning.lab.root.secrets.kv.v2.destroy_secret_versions(other, [1], mount_point="secret")
    turning.turn(begin=True)
    turning.turn()
    held = turning.turn()
    assert (held.step, held.marked, held.done) == ("held open", 1, False)
    assert held.left[0].startswith(f"one:{other}: mark one:{other}: its contents can't be read")
    assert turning.turn().step == "held open"
    turning.stores["one"].purge(other)
    assert turning.turn().step == "retired"
    assert {copy.name for copy in turning.stores["one"].list_managed()} == {path}


def test_a_store_that_does_not_answer_keeps_the_old_key_open(turning: Turning) -> None:
    turning.write("a", x="1")
    turning.run()
    turning.turn(begin=True)
    turning.turn()
    turning.stores["two"].down = Unavailable("list", "two", "it does not answer")
    held = turning.turn()
    assert (held.step, held.left) == ("held open", ("two: it does not answer",))
    turning.stores["two"].down = None
    assert turning.turn().step == "marking"
    assert turning.turn().step == "retired"


def test_another_catalogues_copies_in_the_same_store_are_left_to_it_and_keep_the_old_key_open(
    turning: Turning,
) -> None:
    path = turning.write("a", x="1")
    turning.run()
    copy = turning.stores["one"].describe(path)
    assert copy is not None
    assert copy.marks is not None
    turning.stores["one"]._secrets[path].marks = dataclasses.replace(copy.marks, catalogue="team-a")
    turning.turn(begin=True)
    turning.turn()
    assert turning.turn().left == (f"one:{path}: the catalogue team-a has made it, and has to mark it",)


def test_only_a_bounded_number_of_copies_is_marked_in_one_call(
    turning: Turning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_fingerprints, "BATCH", 3)
    monkeypatch.setattr(own_fingerprints, "PART", 2)
    for number in range(4):
        turning.write(str(number), x="1")
    turning.run()
    made = list(turns(turning.workspace))
    assert [(turned.step, turned.marked) for turned in made[2:]] == [("marking", 4), ("marking", 4), ("retired", 0)]


def test_what_somebody_else_has_put_in_the_place_of_a_successor_is_named(turning: Turning) -> None:
    turning.state.entries[key_entry(2)] = {"note": "mine"}
    with pytest.raises(Conflict, match="holds no key"):
        turning.turn(begin=True)
    assert turning.workspace.fingerprint_keys.in_use == 1


def test_what_was_noted_under_a_retired_key_is_known_still(turning: Turning) -> None:
    path = turning.write("a", x="1")
    before = turning.workspace.fingerprint(path, SecretFields({"x": "1"}))
    turning.run()
    steps(turning)
    steps(turning)
    made = turning.workspace.fingerprint(path, SecretFields({"x": "1"}))
    assert generation_of(made) == 3
    assert is_noted([before], made)
    assert not is_noted([before], turning.workspace.fingerprint(path, SecretFields({"x": "2"})))


def test_keys_are_looked_at_again_after_a_minute_and_lasting_while_the_hub_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state, clock = KeyState(), Ticking()
    monkeypatch.setattr("time.monotonic", clock)
    keys = state.keys()
    assert (keys.get(fresh=False).newest.generation, state.looks) == (1, 1)
    state.claim_state(key_entry(2), {"key": "ab" * 32})
    state.claim_state(word_entry(2, "used"), {"used": True})
    assert keys.get(fresh=False).in_use == 1
    clock.now += 61
    assert keys.get(fresh=False).in_use == 2
    state.down = True
    clock.now += 200
    assert keys.get(fresh=False).in_use == 2
    clock.now += 200
    with pytest.raises(Unavailable):
        keys.get(fresh=False)


class Ticking:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
