"""Changes to copies made outside Keyturn: one suite over every store.

A store's module writes ``class TestItsName(DriftContract)`` with ``acts``, ``sync`` and the fixtures ``settings`` and
``hands``, and adds the cases that only its system has.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar, Final, Protocol

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from keyturn.core.errors import UnsupportedOperation
from keyturn.core.fingerprint_keys import generation_of
from keyturn.core.plan import WRITES, Action
from keyturn.core.ports.stores import Detail, Unsupported
from keyturn.core.text.details import SHOWN
from keyturn.rotation.copies.labels import MARKED_ANEW
from keyturn.rotation.copies.push import CopyState
from keyturn.sync import observe
from tests.support import sampling
from tests.support.lab import Lab
from tests.support.turning import hub_apart, turns
from tests.sync.drift.histories import MOST_CALLS, History, Step, steps
from tests.sync.drift.site import STORE, Look, RealSite

MANY = observe.FEW + 10
OLD = {"x": "0"}
OURS = {"x": "1"}
THEIRS = {"x": "2"}


BESIDE: Final[tuple[dict[Detail, Any], ...]] = (
    {Detail.TAGS: {"team": "web", "cost": "1"}, Detail.ANNOTATIONS: {"note": "a"}, Detail.DESCRIPTION: "One"},
    {Detail.TAGS: {"team": "shop"}, Detail.CONTENT_TYPE: "text/plain", Detail.EXPIRY: "90d"},
    {},
)
"""What a catalogue asks for beside a copy, at one time and another; then nothing."""

KEYS: Final = {Detail.EXPIRY: "expires_after"}
"""What the catalogue calls a detail, where that is not its name."""


class Hands(Protocol):
    """Somebody who has never heard of Keyturn, at one store, with its SDK alone."""

    def put(self, name: str, fields: dict[str, str]) -> None:
        """Make the secret, or give it this value."""

    def strip(self, name: str) -> None:
        """Take Keyturn's marks off, and leave the value."""

    def erase(self, name: str) -> None:
        """Delete it for good."""

    def served(self, name: str) -> Any:
        """What consumers find; None where nothing is served."""


@dataclass(frozen=True)
class Act:
    """What somebody does to a copy, what a plan says of it then, and what one says that believes listings."""

    name: str
    do: Callable[[Any, str], object]
    found: Action = Action.DRIFTED
    listed: Action | None = None

    @property
    def said(self) -> dict[Look, Action]:
        """What a plan says, whichever way it looks."""
        return {Look.ALONE: self.found, Look.LISTED: self.listed or self.found, Look.DEEP: self.found}

    def mended(self, drift: str) -> bool:
        """Whether one run mends it under this policy."""
        return self.found in WRITES and (self.found is not Action.DRIFTED or drift == "repair")


def _strip_and_put(hands: Hands, name: str) -> None:
    hands.strip(name)
    hands.put(name, THEIRS)


CHANGED = Act("changed", lambda hands, name: hands.put(name, THEIRS))
STRIPPED = Act("stripped", lambda hands, name: hands.strip(name))
TAKEN = Act("stripped-and-changed", _strip_and_put, Action.CONFLICT)
ERASED = Act("erased", lambda hands, name: hands.erase(name), Action.CREATE)


class DriftContract:
    """The cases. ``acts`` are what can be done to a copy there, ``sync`` is how names are made."""

    acts: ClassVar[tuple[Act, ...]] = (CHANGED, STRIPPED, TAKEN, ERASED)
    sync: ClassVar[dict[str, Any]] = {}
    written_to_mark: ClassVar[int] = 0
    """How many versions it takes to mark a copy anew."""
    restores: ClassVar[tuple[Callable[[Any, str], object], ...]] = ()
    """How an older version, or what was deleted, is put back by hand."""
    histories: ClassVar[tuple[int, int]] = (2, 40)
    """How many histories of a copy are tried: in every run, and in a deep one."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every act of the store, where a case takes one."""
        if "act" in metafunc.fixturenames:
            metafunc.parametrize("act", self.acts, ids=[act.name for act in self.acts])

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        """The store's entry in the catalogue."""
        raise NotImplementedError

    @pytest.fixture
    def hands(self) -> Hands:
        """Somebody else, at the same store."""
        raise NotImplementedError

    @pytest.fixture
    def site(self, lab: Lab, settings: dict[str, Any]) -> Iterator[RealSite]:
        with RealSite(lab, settings, dict(self.sync)) as site:
            yield site

    @pytest.mark.sampled(6)
    @pytest.mark.parametrize("drift", ["repair", "report"])
    def test_what_others_do_to_a_copy_is_found_and_handled_by_policy(
        self, site: RealSite, hands: Hands, act: Act, drift: str
    ) -> None:
        site.sync["drift"] = drift
        path, beside = site.write("a", **OURS), site.write("b", **OURS)
        site.run()
        untouched = standing(site, hands, beside)
        act.do(hands, site.remote(path))
        left = standing(site, hands, path)
        items = {look: site.item(path, look) for look in Look}
        assert {look: item.action for look, item in items.items()} == act.said
        assert {item.work for item in items.values() if item.action is act.found} == {act.mended(drift)}
        results = site.run(deep=True)
        assert [(one.path, one.error) for one in results] == ([(path, "")] if act.mended(drift) else [])
        if act.mended(drift):
            assert_in_step(site, hands, path)
        else:
            assert standing(site, hands, path) == left
            assert said_of(site, path) == act.said
        assert standing(site, hands, beside) == untouched

    def test_among_many_copies_those_that_others_were_at_are_told_from_listings(
        self, site: RealSite, hands: Hands
    ) -> None:
        paths, everything = many(site), f"{site.folder}/**"
        site.run()
        victims = dict(zip(paths, self.acts, strict=False))
        for path, act in victims.items():
            act.do(hands, site.remote(path))
        site.store.asked.clear()
        expected = {path: victims[path].said[Look.LISTED] if path in victims else Action.IN_SYNC for path in paths}
        assert {item.path: item.action for item in site.plan(everything).items} == expected
        assert set(site.store.asked) <= {site.remote(path) for path in victims}
        site.run(everything)
        for path, act in victims.items():
            now = act.found if act.listed is Action.IN_SYNC or not act.mended("repair") else Action.IN_SYNC
            assert site.item(path, Look.ALONE).action is now
        site.run(everything, deep=True)
        for path in paths:
            if path not in victims or victims[path].mended("repair"):
                assert hands.served(site.remote(path)) == OURS

    def test_what_the_catalogue_asks_for_beside_a_copy_follows_it_without_a_version(
        self, site: RealSite, hands: Hands
    ) -> None:
        takes = SHOWN.get(site.catalogue.store(STORE).kind, frozenset[Detail]())
        path = site.write("a", **OURS)
        site.run()
        before = site.store.describe(site.remote(path))
        for asked in ({detail: said for detail, said in some.items() if detail in takes} for some in BESIDE):
            for detail in Detail:
                site.sync.pop(KEYS.get(detail, detail), None)
            site.sync |= {KEYS.get(detail, detail): said for detail, said in asked.items()}
            assert site.item(path).action is (Action.UPDATE if takes else Action.IN_SYNC)
            assert [(one.state, one.error) for one in site.run(deep=True)] == [(CopyState.LABELLED, "")] * bool(takes)
            assert said_of(site, path) == dict.fromkeys(Look, Action.IN_SYNC)
        assert site.store.describe(site.remote(path)).version_id == before.version_id
        assert hands.served(site.remote(path)) == OURS

    def test_while_the_key_of_fingerprints_is_replaced_nothing_drifts_and_no_version_is_made(
        self, site: RealSite, hands: Hands
    ) -> None:
        with hub_apart(site.lab, site.mount) as site.hub:
            path, name = site.write("a", **OURS), site.remote(f"{site.folder}/a")
            site.run()
            # Other tests' copies are another hub's.
            site.store = site.store.listing({name})
            before = versions(site.store, name)
            steps = []
            for turned in turns(site.workspace):
                steps.append(turned.step)
                items = [site.item(path, look) for look in Look]
                assert {item.action for item in items} <= {Action.IN_SYNC, Action.UPDATE}
                assert all(item.why == MARKED_ANEW for item in items if item.action is Action.UPDATE)
            assert steps == ["begun", "in use", "marking", "retired"]
            assert versions(site.store, name) - before == self.written_to_mark
            assert generation_of(site.store.describe(name).marks.fingerprint) == 2
            assert_in_step(site, hands, path)
            if Unsupported.CHANGES in site.store.unsupported:
                return
            hands.put(name, THEIRS)
            assert site.item(path).action is Action.DRIFTED
            site.run(deep=True)
            assert_in_step(site, hands, path)

    @pytest.mark.sampled(1)
    def test_after_any_history_two_runs_leave_a_copy_in_sync_or_a_named_conflict(
        self, site: RealSite, hands: Hands
    ) -> None:
        store, names = site.store, count()

        @seed(sampling.seed())
        @settings(
            max_examples=sampling.examples(*self.histories),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate),
        )
        @given(steps([act.do for act in self.acts] + [*self.restores]))
        def end_in_sync(history: list[Step]) -> None:
            name = f"h{next(names)}"
            site.sync.pop("tags", None)
            site.store = store.listing({site.remote(f"{site.folder}/{name}")})
            copy = History(site, hands, name)
            for step in history:
                copy.take(step)
            if copy.end() is Action.IN_SYNC:
                copy.rotate()
                assert copy.end() is Action.IN_SYNC

        with hub_apart(site.lab, site.mount) as site.hub:
            end_in_sync()

    def test_a_push_that_is_killed_at_any_call_is_finished_by_the_next_and_holds_up_no_rotation(
        self, site: RealSite, hands: Hands
    ) -> None:
        store = site.store
        for calls in sampling.sample(f"killed {type(self).__name__}", range(MOST_CALLS), 4):
            name = f"k{calls}"
            site.store = store.listing({site.remote(f"{site.folder}/{name}")})
            copy = History(site, hands, name)
            copy.rotate_and_die(calls)
            for _ in range(2):
                copy.apply()
                assert site.item(copy.path).action is Action.IN_SYNC
                copy.rotate()
            assert copy.end() is Action.IN_SYNC

    def test_many_copies_that_are_gone_are_all_made_again(self, site: RealSite, hands: Hands) -> None:
        paths, everything = many(site), f"{site.folder}/**"
        site.run()
        for path in paths:
            hands.erase(site.remote(path))
        site.store.asked.clear()
        assert {item.path: item.action for item in site.plan(everything).items} == dict.fromkeys(paths, Action.CREATE)
        assert not site.store.asked
        assert {one.state for one in site.run(everything)} == {CopyState.CREATED}
        assert {item.action for item in site.plan(everything).items} == {Action.IN_SYNC}
        assert all(hands.served(site.remote(path)) == OURS for path in paths)

    def test_a_newer_version_mends_a_changed_copy_too_unless_that_is_only_reported(
        self, site: RealSite, hands: Hands
    ) -> None:
        path = site.write("a", **OLD)
        site.run()
        hands.put(site.remote(path), THEIRS)
        site.write("a", **OURS)
        left = standing(site, hands, path)
        for drift in ("report", "repair"):
            site.sync["drift"] = drift
            item = site.item(path)
            assert (item.action, item.version, item.holds, item.hands_off) == (Action.DRIFTED, 2, 1, drift == "report")
            assert bool(site.run(path)) is (drift == "repair")
            assert drift == "repair" or standing(site, hands, path) == left
        assert_in_step(site, hands, path)

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("adopt", [False, True])
    def test_of_two_secrets_at_one_name_the_first_is_pushed_and_the_other_is_a_conflict(
        self, site: RealSite, hands: Hands, adopt: bool
    ) -> None:
        site.sync |= {"name": "{folder}x", "adopt": adopt}
        first, second = site.write("a", **OURS), site.write("b", **THEIRS)
        assert site.item(second, Look.LISTED).action is Action.CONFLICT
        site.run()
        for _ in range(2):
            assert said_of(site, first) == dict.fromkeys(Look, Action.IN_SYNC)
            assert said_of(site, second) == dict.fromkeys(Look, Action.CONFLICT)
            assert site.item(second, Look.LISTED).why.startswith(f"{first} is pushed to the same place")
            assert not site.run(second)
            assert hands.served(site.remote(second)) == OURS

    def test_a_copy_of_a_secret_that_the_hub_has_no_more_can_be_adopted(self, site: RealSite, hands: Hands) -> None:
        site.sync["name"] = "{folder}x"
        gone = site.write("b", **THEIRS)
        site.run()
        site.forget(gone)
        path = site.write("a", **OURS)
        assert said_of(site, path) == dict.fromkeys(Look, Action.CONFLICT)
        site.sync["adopt"] = True
        assert said_of(site, path) == dict.fromkeys(Look, Action.ADOPT)
        site.run()
        assert_in_step(site, hands, path)

    def test_what_somebody_else_made_under_a_wanted_name_is_theirs(self, site: RealSite, hands: Hands) -> None:
        path = site.write("a", **OURS)
        hands.put(site.remote(path), THEIRS)
        left = standing(site, hands, path)
        assert said_of(site, path) == dict.fromkeys(Look, Action.CONFLICT)
        assert not site.run()
        assert standing(site, hands, path) == left
        site.sync["adopt"] = True
        assert said_of(site, path) == dict.fromkeys(Look, Action.ADOPT)
        site.run()
        assert_in_step(site, hands, path)


class FoldingContract(DriftContract):
    """Where names that differ in case alone are one name."""

    def test_two_secrets_whose_names_differ_in_case_alone_are_a_conflict(self, site: RealSite, hands: Hands) -> None:
        first, second = site.write("A", **OURS), site.write("a", **THEIRS)
        assert site.item(second, Look.LISTED).action is Action.CONFLICT
        site.run()
        for _ in range(2):
            assert said_of(site, first) == dict.fromkeys(Look, Action.IN_SYNC)
            assert said_of(site, second) == dict.fromkeys(Look, Action.CONFLICT)
            assert not site.run(second)
            assert hands.served(site.remote(second)) == OURS

    def test_a_name_that_somebody_else_has_in_another_case_is_theirs(self, site: RealSite, hands: Hands) -> None:
        path = site.write("a", **OURS)
        hands.put(site.remote(path).upper(), THEIRS)
        assert said_of(site, path) == dict.fromkeys(Look, Action.CONFLICT)
        assert not site.run()
        assert hands.served(site.remote(path)) == THEIRS


def versions(store: Any, name: str) -> int:
    """How many values the store can give, where it can give any."""
    try:
        return len(store.old_versions(name))
    except UnsupportedOperation:
        return 0


def many(site: RealSite) -> list[str]:
    """So many secrets in the hub that a plan of them reads listings."""
    return [site.write(f"s{number:02}", **OURS) for number in range(MANY)]


def said_of(site: RealSite, path: str) -> dict[Look, Action]:
    """What a plan says of a secret's copy, by the way it looks."""
    return {look: site.item(path, look).action for look in Look}


def standing(site: RealSite, hands: Hands, path: str) -> tuple[Any, Any]:
    """The copy as the store describes it, and what consumers find."""
    name = site.remote(path)
    return site.store.describe(name), hands.served(name)


def assert_in_step(site: RealSite, hands: Hands, path: str) -> None:
    """CURRENT is served under marks that every look believes."""
    name = site.remote(path)
    assert said_of(site, path) == dict.fromkeys(Look, Action.IN_SYNC)
    assert hands.served(name) == OURS
    found = site.store.describe(name)
    assert (found.marks.source, found.intact) == (path, True)
    if Unsupported.READ not in site.store.unsupported:
        assert site.workspace.fingerprint_of(path, site.store.read(name)) == found.marks.fingerprint
