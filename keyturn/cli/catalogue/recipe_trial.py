"""``keyturn recipe test``: one credential of a recipe is created, tested, listed and ended, and nothing is left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from keyturn.core.errors import Invalid, KeyturnError, Unavailable, UnsupportedOperation
from keyturn.core.ports.strategies import Change, Strategy
from keyturn.core.sensitive import SecretFields

if TYPE_CHECKING:
    from pathlib import Path

    from keyturn.catalogue.recipes import Recipe

EMULATOR: Final = "emulators.recipes.play"
PATIENCE: Final = 60
"""Seconds for a service to refuse a credential that has ended."""

BESIDE: Final = frozenset({"http-api-key", "ssh-key"})
"""The mechanisms that create a credential next to those in use, and change none of these."""

Say = Callable[[str], None]


@dataclass
class Trial:
    """A test of one strategy. ``current`` is what serves already, and ``doing`` the step in progress."""

    strategy: Strategy
    path: str
    current: SecretFields | None
    say: Say
    lists: bool
    """Whether its list shows which credentials this test has made."""
    ends: bool = True
    """Whether the recipe has a request that ends a credential."""
    patience: int = PATIENCE
    doing: str = "prepare"
    made: SecretFields | None = None
    asked: bool = False

    def run(self) -> None:
        """Every step in order; what was created is ended after a failure and after Ctrl-C too.

        Raises what failed.
        """
        try:
            self._use()
            self._end()
        except BaseException as failure:
            # What could not be ended a moment ago is named in that error; Ctrl-C may have come before the request.
            if self.doing != "end" or isinstance(failure, KeyboardInterrupt):
                self.say(f"{self.doing}: FAILED. Cleaning up")
                self._clean_up()
            raise

    def _use(self) -> None:
        self.strategy.preflight(self.current, None)
        self.doing, self.asked = "create", True
        self.made = self.strategy.mint(self.current)
        self.strategy.install(self._change(self.made))
        self.say("create: the service has a new credential")
        self.doing = "test"
        self.strategy.verify(self._change(self.made))
        self.say("test: the service accepts it")
        if self.lists:
            self.doing = "list"
            if not self._listed():
                problem = "its list does not show the new credential"
                raise Invalid("list", self.path, problem, "Compare `list` and `where` with the service's documentation")
            self.say("list: it is there under this test's name")

    def _end(self) -> None:
        self.doing = "end"
        if self.made is not None:
            self.strategy.abandon(self._change(self.made))
        if self.made is not None and self.ends:
            self._insist_on_refusal(self.made)
        elif self.made is not None:
            self.say("end: the recipe has no request that ends it")
            return
        if self.lists and self._listed():
            problem = "its list still shows a credential of this test"
            raise Unavailable("end", self.path, problem, "Look at the service, and delete it there")
        self.say(
            "clean: nothing of this test is left" if self.lists else "clean: the credential of this test has ended"
        )

    def _insist_on_refusal(self, made: SecretFields) -> None:
        for last in (*[False] * (self.patience - 1), True):
            accepted = self.strategy.accepts(made)
            if not accepted:
                self.say("end: the service refuses it" if accepted is False else "end: sent; the service shows no more")
                return
            if not last:
                time.sleep(1)
        problem = f"the service still accepts it after {self.patience} s"
        raise Unavailable("end", self.path, problem, f"End it there by hand: {self._named()}")

    def _clean_up(self) -> None:
        """End whatever the failed steps may have made, and say what could not be ended."""
        try:
            if self.made is not None:
                self._end()
            elif self.asked and self.lists:
                for name in self._listed():
                    self.strategy.revoke_found(name, 0)
                self.say("clean: nothing of this test is left")
            elif self.asked:
                self.say(f"clean: look at the service for a credential named after {self.path}, and end it by hand")
        except KeyturnError as error:
            self.say(f"clean: FAILED: {error.problem}. End it at the service by hand: {self._named()}")

    def _listed(self) -> list[str]:
        return list(self.strategy.find_everything([]))

    def _change(self, made: SecretFields) -> Change:
        return Change(self.path, 1, made, self.current)

    def _named(self) -> str:
        named = self.strategy.credential_id(self.made) if self.made is not None else {}
        return ", ".join([*(f"{name} {value}" for name, value in named.items()), f"made for {self.path}"])


def trial_path() -> str:
    """A path of this test alone, by which the service's list tells its credentials from others."""
    return f"keyturn-test/{token_hex(4)}"


def try_emulated(name: str, recipe: "Recipe", say: Say) -> None:
    """Test a recipe against the emulator that is made from it. Raises Invalid without `keyturn-local`."""
    from keyturn.cli.local_stack import load_local

    play: Any = load_local(EMULATOR)
    if recipe.strategy not in play.PLAYERS:
        problem = f"no emulator plays {recipe.strategy}"
        hint = "Test it with a rotation: keyturn rotate PATH --now"
        raise UnsupportedOperation("test", f"recipe {name}", problem, hint)
    path = trial_path()
    with play.opened(recipe, path) as (strategy, first):
        lists, ends = tells_own(recipe.rotation), ends_by_request(recipe.strategy, recipe.rotation.get("revoke"))
        Trial(strategy, path, SecretFields(first), say, lists, ends, patience=5).run()


def tells_own(rotation: Any) -> bool:
    """Whether the settings of `http-api-key` have a list that selects a secret's own keys by its path."""
    where = (rotation.get("list") or {}).get("where", {})
    return any("path" in text for text in where.values())


def ends_by_request(strategy: str, revoke: Any) -> bool:
    return strategy != "http-exchange" or revoke is not None


@contextmanager
def live_trial(catalogue: "Path | None", name: str, secret: str, say: Say) -> Iterator[tuple[Trial, str]]:
    """The test of a recipe at the service that the catalogue's secret uses, and what it will do.

    Raises Invalid for a secret of another recipe, and for one whose credentials are in use and would end.
    """
    from keyturn.cli.environment import opened_workspace
    from keyturn.wiring.registry import Cached, Opening, open_target

    with opened_workspace(catalogue) as workspace:
        rotation = workspace.secret(secret).rotation
        if rotation.recipe != name:
            problem = f"its rotation does not use the recipe {name}"
            raise Invalid("test", secret, problem, "Name a secret of the catalogue that does, with --secret")
        served = workspace.hub.read(secret)
        if served is not None and rotation.strategy not in BESIDE:
            problem = f"{rotation.strategy} would end a credential that the secret's consumers may use"
            hint = "Declare a secret with accounts of its own, which the hub does not have yet, and test with that"
            raise Invalid("test", secret, problem, hint)
        if not ends_by_request(rotation.strategy, getattr(rotation, "revoke", None)):
            problem = "the recipe has no request that ends a credential, so the test would leave one"
            raise Invalid("test", secret, problem, "Describe `revoke` in a copy of the recipe")
        hub, declared, path = workspace.hub, workspace.catalogue, trial_path()
        tools = Opening(hub, Cached(lambda target: open_target(target, declared.target(target), hub, declared.policy)))
        strategy = rotation.open(path, tools)
        listing = getattr(rotation, "listing", None)
        lists = tells_own({"list": {"where": getattr(listing, "where", {})}})
        yield Trial(strategy, path, served.fields if served else None, say, lists), getattr(rotation, "target", "")
