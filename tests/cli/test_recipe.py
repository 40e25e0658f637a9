"""``keyturn recipe``: the page of all recipes, and a test of one that leaves nothing."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from keyturn.catalogue import load_catalogue
from keyturn.catalogue.recipes import Library
from keyturn.cli.app import app
from keyturn.cli.catalogue.recipe_trial import Trial, trial_path
from keyturn.core.errors import CandidateRejected, Unavailable
from keyturn.core.sensitive import SecretFields
from local.emulators.recipes import play
from local.emulators.recipes.created_keys import CreatedKeys
from local.emulators.recipes.server import RecipeServer, redirected
from local.emulators.recipes.service import RecipeService

ROOT = Path(__file__).parents[2]
NAME = "openai-project-key"
runner = CliRunner()


def test_the_page_is_made_from_the_recipes() -> None:
    shown = runner.invoke(app, ["recipe", "list", "--markdown"])
    assert (shown.exit_code, shown.stdout) == (0, (ROOT / "docs" / "recipe-list.md").read_text())


@pytest.mark.parametrize("name", [NAME, "couchdb-user", "azure-maps-key", "github-deploy-key"])
def test_a_recipe_is_tested_against_its_emulator(name: str) -> None:
    shown = runner.invoke(app, ["recipe", "test", name])
    assert shown.exit_code == 0, shown.stderr
    assert [line.partition(":")[0] for line in shown.stderr.splitlines()[:2]] == ["create", "test"]
    assert "end: the service refuses it" in shown.stderr


def test_a_recipe_whose_tokens_have_no_end_says_so() -> None:
    shown = runner.invoke(app, ["recipe", "test", "label-studio-legacy-token"])
    assert (shown.exit_code, "no request that ends it" in shown.stderr) == (0, True)


def test_a_recipe_that_no_emulator_plays_and_half_a_live_test_are_refused() -> None:
    assert "no emulator plays manual" in runner.invoke(app, ["recipe", "test", "groq-api-key"]).stderr
    assert "give both --live and --secret" in runner.invoke(app, ["recipe", "test", NAME, "--live"]).stderr
    unasked = runner.invoke(app, ["recipe", "test", NAME, "--live", "--secret", "a/b"])
    assert "no terminal to ask on" in unasked.stderr


# --- at the service ---


@dataclass
class HubOfOne:
    """A hub with one admin credential, and with what the secret holds."""

    admin: dict[str, str]
    fields: SecretFields | None = None

    def read(self, path: str) -> object:
        return self.fields and SimpleNamespace(fields=self.fields)

    def read_state(self, path: str) -> object:
        return SimpleNamespace(data=self.admin)

    def clock_ahead(self) -> timedelta:
        return timedelta(0)


@pytest.fixture
def live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, SecretFields | None], RecipeService]]:
    """Opens the service of a recipe, and a catalogue whose secret a/b uses it there."""
    servers = ExitStack()

    def start(name: str, fields: SecretFields | None) -> RecipeService:
        recipe = Library()[name]
        service = play.play(recipe)
        server = servers.enter_context(RecipeServer(service))
        parameters = {"parameters": recipe.examples}
        target = {"recipe": name, "admin": "targets/api", "url": redirected(service.target, server.url)["url"]}
        rotation = {"recipe": name, "target": "api", **parameters}
        secret = {"owner": "a@example.com", "classification": "internal", "rotation": rotation}
        (tmp_path / "catalogue.yaml").write_text(
            yaml.safe_dump({"targets": {"api": target}, "secrets": {"a/b": secret}})
        )
        catalogue = load_catalogue(tmp_path, {})
        opened = SimpleNamespace(
            hub=HubOfOne(dict(service.admin), fields), catalogue=catalogue, secret=lambda path: catalogue.secrets[path]
        )
        monkeypatch.setattr("keyturn.cli.environment.opened_workspace", lambda _: nullcontext(opened))
        return service

    with servers:
        yield start


def test_a_live_test_leaves_the_service_as_it_was(live: Callable[..., RecipeService]) -> None:
    service = live(NAME, None)
    assert isinstance(service, CreatedKeys)
    used = service.issue()
    shown = runner.invoke(app, ["recipe", "test", NAME, "--live", "--secret", "a/b", "--yes"])
    assert shown.exit_code == 0, shown.stderr
    assert [name for name, _ in service.received if name in ("create", "test", "delete")][:2] == ["create", "test"]
    assert [key.values for key in service.keys.values()] == [used]
    assert "clean: nothing of this test is left" in shown.stderr
    assert not any(value in shown.output for value in (*service.admin.values(), used["key"]))


def test_a_live_test_ends_nothing_that_is_in_use(live: Callable[..., RecipeService]) -> None:
    service = live("azure-maps-key", SecretFields({"key": "k", "slot": "primary"}))
    shown = runner.invoke(app, ["recipe", "test", "azure-maps-key", "--live", "--secret", "a/b", "--yes"])
    assert (shown.exit_code, service.received) == (1, [])
    assert "would end a credential that the secret's consumers may use" in shown.stderr
    other = runner.invoke(app, ["recipe", "test", NAME, "--live", "--secret", "a/b", "--yes"])
    assert f"does not use the recipe {NAME}" in other.stderr


# --- a failure on the way ---


class Played:
    """A trial at the emulator of a recipe, whose ``lines`` are what it reports."""

    def __init__(self, strategy: Any, service: CreatedKeys, path: str) -> None:
        self.lines: list[str] = []
        self.service = service
        self.before = set(service.keys)
        self.trial = Trial(strategy, path, None, self.lines.append, lists=True, patience=1)

    def fail(self, step: str, error: BaseException) -> None:
        """Let a step of the strategy end with this error, after the service has done its part."""
        done = getattr(self.trial.strategy, step)

        def failing(*arguments: Any) -> None:
            setattr(self.trial.strategy, step, done)
            done(*arguments)
            raise error

        setattr(self.trial.strategy, step, failing)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    made: list[CreatedKeys] = []
    starting = play.play
    monkeypatch.setattr(play, "play", lambda recipe: made.append(starting(recipe)) or made[0])  # type: ignore[func-returns-value, arg-type]
    path = trial_path()
    with play.opened(Library()[NAME], path) as (strategy, _):
        yield Played(strategy, made[0], path)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("mint", Unavailable("make a key at", "api", "no answer", "")),
        ("mint", KeyboardInterrupt()),
        ("verify", CandidateRejected("try the key at", "api", "refused", "")),
        ("verify", KeyboardInterrupt()),
        ("abandon", KeyboardInterrupt()),
    ],
)
def test_a_failure_and_ctrl_c_leave_nothing(played: Played, step: str, error: BaseException) -> None:
    played.fail(step, error)
    with pytest.raises(type(error)):
        played.trial.run()
    assert set(played.service.keys) == played.before
    assert played.lines[-1] == "clean: nothing of this test is left"


def test_what_can_not_be_ended_is_named_without_its_value(played: Played) -> None:
    played.fail("verify", KeyboardInterrupt())
    played.service.answer = lambda received: (_ for _ in ()).throw(OSError())  # type: ignore[method-assign]
    played.trial.made = SecretFields({"id": "key-17", "key": "sk-value"})
    played.trial._clean_up()
    assert "id key-17" in played.lines[-1]
    assert not re.search("sk-value", "".join(played.lines))
