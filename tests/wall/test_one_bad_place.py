"""One place among others that means ill: everything else is in step within its usual time and one deadline."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from keyturn.providers.github.store import GitHubActions
from tests.support.clients import TOKEN, WAIT
from tests.support.lab import Lab
from tests.support.liar import (
    Behaviour,
    Liar,
    answers_in_turn,
    asks_for_ages,
    drips_headers,
    drips_its_body,
    never_answers,
    redirects_to,
    says_a_gigabyte,
)
from tests.support.memory_store import MemoryStore
from tests.sync.notified import Audience, audience
from tests.sync.site import Site

BAD: dict[str, Behaviour] = {
    "drips": drips_its_body,
    "silent": never_answers,
    "gigabyte": says_a_gigabyte,
    "redirects": redirects_to("http://127.0.0.1:9"),
    "throttles": asks_for_ages,
    "endless": answers_in_turn(lambda _, number: {"total_count": 10**9, "secrets": [{"name": f"S{number}"}]}),
}


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A good store, and one for each way to be a bad one."""
    monkeypatch.setattr("keyturn.providers.github.client.TIMEOUT", (5, WAIT))
    monkeypatch.setattr("keyturn.providers.pages.MOST_PAGES", 5)
    (tmp_path / "token").write_text(TOKEN)
    with ExitStack() as opened:
        made: dict[str, Any] = {"good": MemoryStore("good")}
        for name, behaviour in BAD.items():
            server = opened.enter_context(Liar(behaviour))
            store = GitHubActions(name, repository="a/b", token_file=str(tmp_path / "token"), api_url=server.url)
            made[name] = opened.enter_context(closing(store))
        yield made


def test_a_sync_leaves_bad_stores_behind_and_everything_else_is_in_step(lab: Lab, stores: dict[str, Any]) -> None:
    site = Site(lab, stores=stores)
    path = site.write("a", x="1")
    trouble = {item.store for item in site.plan().trouble}
    results = {result.store: result.error for result in site.run()}
    assert path in site.served("good")
    assert results["good"] == ""
    assert trouble == set(BAD)
    site.write("a", x="2")
    site.run()
    assert '"2"' in site.served("good")[path]


@pytest.fixture
def people(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Audience]:
    """One consumer that listens, and one whose every answer drips; both have been looked at once."""
    monkeypatch.setattr("keyturn.providers.registry.ATTEMPTS", 1)
    with audience(lab, "app", "slow") as made, Liar(drips_headers) as server:
        made.declare("app")
        made.sync()
        made.consumers["slow"].url = server.url
        yield made


def test_a_consumer_that_drips_keeps_no_other_from_being_told(people: Audience) -> None:
    path = people.declare()
    people.write(path)
    notices = people.sync()
    assert people.told(path) == [1]
    assert {notice.consumer: bool(notice.error) for notice in notices.told} == {"app": False, "slow": True}
    assert people.told(path, "slow") == []
    assert set(people.heard(path).waiting) == {"slow"}
