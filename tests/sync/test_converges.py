"""After any history of changes and failures, one more run brings all copies in sync."""

import dataclasses
import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from keyturn.core.errors import Denied, KeyturnError, Throttled, Unavailable
from keyturn.core.fingerprint import payload
from keyturn.core.plan import Action
from keyturn.core.sensitive import SecretFields
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import local_executor
from tests.support import sampling
from tests.support.hooks import Hooked, Once, Replaced, raising
from tests.support.lab import Lab
from tests.sync.site import Site

pytestmark = pytest.mark.sampled(37, of="files")

NAMES = ("a", "b", "c")
STORES = ("one", "two")
VALUES = ("red", "green", "blue")
NAME, STORE, VALUE = st.sampled_from(NAMES), st.sampled_from(STORES), st.sampled_from(VALUES)
FAULTS: tuple[Callable[[], KeyturnError], ...] = (
    lambda: Unavailable("reach", "it", "no answer"),
    lambda: Denied("write", "it", "refused"),
    lambda: Throttled("write", "it", "slow down", retry_after=0.0),
)

STEPS = st.one_of(
    st.tuples(st.just("hub_write"), NAME, VALUE),
    st.tuples(st.just("hub_write"), NAME, VALUE),
    st.tuples(st.just("leave_out"), NAME),
    st.tuples(st.just("take_in"), NAME),
    st.tuples(st.just("reshape"), st.booleans()),
    st.tuples(st.just("foreign"), STORE, NAME, VALUE),
    st.tuples(st.just("tamper"), STORE, st.sampled_from("ab"), VALUE),
    st.tuples(st.just("strip"), STORE, NAME),
    st.tuples(st.just("remove"), STORE, NAME),
    st.tuples(st.just("run")),
    st.tuples(st.just("run_with_fault"), STORE, st.sampled_from(("down", "refuses")), st.integers(0, 2)),
    st.tuples(st.just("run_and_die"), st.integers(0, 5)),
    st.tuples(st.just("run_and_die_making"), STORE, st.integers(0, 2), st.booleans()),
    st.tuples(st.just("run_and_die_confirming")),
    st.tuples(st.just("run_while_the_hub_moves"), NAME, VALUE),
)


class Death(BaseException):
    """The process is gone."""


@dataclass
class History:
    """What has happened, and whose each remote secret is by now."""

    site: Site
    hub: dict[str, str] = field(default_factory=dict)
    theirs: dict[tuple[str, str], str] = field(default_factory=dict)

    def take(self, step: tuple[Any, ...]) -> None:
        """Let one thing happen."""
        getattr(self, step[0])(*step[1:])
        self.lose()

    def lose(self) -> None:
        """What has lost its marks is theirs while it holds another value than CURRENT."""
        for store, name in itertools.product(STORES, NAMES):
            copy = self.site.stores[store].describe(self.remote(name))
            if copy and copy.marks is None:
                value = self.site.served(store)[self.remote(name)]
                self.theirs[store, name] = value
                if value == self.rendered(name):
                    del self.theirs[store, name]

    def remote(self, name: str) -> str:
        return self.site.path(name)

    def ours(self, store: str, name: str) -> bool:
        """Whether Keyturn has a copy there that nobody has taken over."""
        return (store, name) not in self.theirs and self.remote(name) in self.site.served(store)

    def hub_write(self, name: str, value: str) -> None:
        self.site.write(name, x=value, y="constant")
        self.hub[name] = value

    def leave_out(self, name: str) -> None:
        out = {*self.site.syncs["all"].get("without", ()), self.remote(name)}
        self.site.syncs["all"]["without"] = sorted(out)

    def take_in(self, name: str) -> None:
        self.site.syncs["all"]["without"] = sorted({*self.site.syncs["all"].get("without", ())} - {self.remote(name)})

    def reshape(self, one_field: bool) -> None:
        self.site.syncs["all"].pop("field", None)
        if one_field:
            self.site.syncs["all"]["field"] = "x"

    def foreign(self, store: str, name: str, value: str) -> None:
        """Somebody makes a secret of a name that is free."""
        if self.remote(name) not in self.site.served(store):
            self.site.stores[store].put_by_hand(self.remote(name), f"theirs-{value}")
            self.theirs[store, name] = f"theirs-{value}"

    def tamper(self, store: str, name: str, value: str) -> None:
        """Somebody changes one of Keyturn's own."""
        if self.ours(store, name):
            self.site.stores[store].put_by_hand(self.remote(name), f"tampered-{value}")

    def strip(self, store: str, name: str) -> None:
        """Somebody removes the marks."""
        if self.ours(store, name):
            self.site.stores[store].strip(self.remote(name))

    def remove(self, store: str, name: str) -> None:
        if self.ours(store, name):
            self.site.stores[store].delete(self.remote(name))

    def run(self) -> None:
        self.site.run()

    def run_with_fault(self, store: str, how: str, fault: int) -> None:
        setattr(self.site.stores[store], how, FAULTS[fault]())
        self.site.run()
        setattr(self.site.stores[store], how, None)

    def run_and_die(self, after: int) -> None:
        """A run that is gone after so many copies, before it remembers anything."""
        workspace, done = self.site.workspace, []

        def die(result: object) -> None:
            done.append(result)
            if len(done) > after:
                raise Death

        try:
            local_executor(Applier(workspace))(self.site.plan().work, die)
        except Death:
            return

    def run_and_die_making(self, store: str, after: int, made: bool) -> None:
        """A run that is gone before or after it makes a new copy, once it has made so many in that store."""
        inner, calls = self.site.stores[store], itertools.count()

        def create(*given: Any, **named: Any) -> Any:
            dies = next(calls) >= after
            if dies and not made:
                raise Death
            done = inner.create(*given, **named)
            if dies:
                raise Death
            return done

        self.die(open_store=lambda name: Replaced(inner, create=create) if name == store else self.site.stores[name])

    def run_and_die_confirming(self) -> None:
        """A run that is gone when all new copies are made, and none is known to be CURRENT still."""
        self.die(hub=Hooked(self.site.lab.hub, describe_many=raising(Death())))

    def run_while_the_hub_moves(self, name: str, value: str) -> None:
        """A run that finds a newer version in the hub once its new copies are made."""
        moves = Once(lambda: self.hub_write(name, value))
        workspace = dataclasses.replace(self.site.workspace, hub=Hooked(self.site.lab.hub, describe_many=moves))
        local_executor(Applier(workspace))(plan(workspace, unseen=True).work, lambda _: None)

    def die(self, **changes: Any) -> None:
        """A run with these parts exchanged, of which one ends the process."""
        workspace = dataclasses.replace(self.site.workspace, **changes)
        with suppress(Death):
            local_executor(Applier(workspace))(plan(workspace, unseen=True).work, lambda _: None)

    def rendered(self, name: str) -> str:
        """What a copy of CURRENT holds."""
        if name not in self.hub:
            return ""
        fields = SecretFields({"x": self.hub[name], "y": "constant"})
        return self.hub[name] if "field" in self.site.syncs["all"] else payload(fields).reveal()


@seed(sampling.seed())
@settings(
    max_examples=sampling.examples(20, 100),
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(steps=st.lists(STEPS, min_size=3, max_size=10))
def test_after_one_more_run_all_that_is_ours_is_in_step_and_all_that_is_theirs_untouched(
    lab: Lab, steps: list[tuple[Any, ...]]
) -> None:
    history = History(Site(lab))
    for step in (("hub_write", "a", "red"), ("hub_write", "b", "green"), ("run",), *steps):
        history.take(step)
    site = history.site
    site.run()
    writes = {name: store.writes for name, store in site.stores.items()}
    actions, left_out = site.actions(), site.syncs["all"].get("without", ())
    for name in set(history.hub) - {path.rpartition("/")[2] for path in left_out}:
        for store in STORES:
            served = site.served(store)[site.path(name)]
            if (store, name) in history.theirs:
                assert served == history.theirs[store, name]
                assert actions[f"{store}:{site.path(name)}"] is Action.CONFLICT
            else:
                assert served == history.rendered(name)
                assert actions[f"{store}:{site.path(name)}"] is Action.IN_SYNC
    for (store, name), value in history.theirs.items():
        assert site.served(store)[site.path(name)] == value
    site.run()
    assert {name: store.writes for name, store in site.stores.items()} == writes


def test_what_was_killed_any_number_of_times_writes_no_equal_value_twice(site: Site) -> None:
    for number in range(6):
        site.write(f"s{number}", x="1")
    history = History(site)
    for after in (0, 1, 0, 2, 3):
        history.run_and_die(after)
    site.run()
    assert all(store.writes == 6 for store in site.stores.values())
    assert set(site.actions().values()) == {Action.IN_SYNC}
