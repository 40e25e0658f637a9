"""One malicious server delays no other store or consumer beyond one deadline."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.notifications.notices import SECRET_REVOKED
from keyturn.providers.github.store import GitHubActions
from keyturn.revocation import run
from keyturn.revocation.incidents.incident import SecretProgress, Step
from keyturn.revocation.steps import take_step
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from tests.revocation.site import Site as Incident
from tests.rotation.helpers import Worker
from tests.support.clients import TOKEN, WAIT
from tests.support.clock import Clock
from tests.support.lab import LOOSE, Declared, Lab, Opened, catalogue_data, fresh
from tests.support.liar import (
    OK,
    PAUSE,
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
from tests.support.prefect_server import wait_for
from tests.support.sender import RecordingSender
from tests.sync.notified import Audience, audience
from tests.sync.site import SETTINGS, Site

pytestmark = pytest.mark.sampled(2, of="file")

BAD: dict[str, Behaviour] = {
    "drips": drips_its_body,
    "silent": never_answers,
    "gigabyte": says_a_gigabyte,
    "redirects": redirects_to("http://127.0.0.1:9"),
    "throttles": asks_for_ages,
    "endless": answers_in_turn(lambda _, number: {"total_count": 10**9, "secrets": [{"name": f"S{number}"}]}),
}

RUDE: dict[str, Behaviour] = {
    "drips": drips_headers,
    "silent": never_answers,
    "redirects": redirects_to("http://127.0.0.1:9"),
    "throttles": asks_for_ages,
}
"""Consumers. However much one says after its yes, that is one."""


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


def test_a_sync_skips_malicious_stores_and_all_others_are_in_sync(lab: Lab, stores: dict[str, Any]) -> None:
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
    """One consumer that listens, and one for each way not to; all have been looked at once."""
    monkeypatch.setattr("keyturn.wiring.registry.ATTEMPTS", 1)
    with audience(lab, "app", *RUDE) as made, ExitStack() as opened:
        made.declare("app")
        made.sync()
        for name, behaviour in RUDE.items():
            made.consumers[name].url = opened.enter_context(Liar(behaviour)).url
        yield made


def test_a_slow_consumer_delays_no_others_notice(people: Audience) -> None:
    path = people.declare()
    people.write(path)
    notices = people.sync()
    assert people.told(path) == [1]
    assert {notice.consumer for notice in notices.told if notice.error} == set(RUDE)
    assert set(people.heard(path).waiting) == set(RUDE)


@dataclass
class Crossroads:
    """A generated secret with a copy in every store, told to every consumer."""

    secret: Declared
    workspace: Workspace
    incident: Incident

    @staticmethod
    def of(lab: Lab, stores: dict[str, Any], consumers: dict[str, Any], timeout: str = "1s") -> "Crossroads":
        """Opened as a new process would, without pauses between tries; the good store is in step."""
        remote = f"S_{fresh().replace('/', '_').replace('-', '_').upper()}"
        places = [{"store": name, "name": remote} for name in stores]
        secret = lab.generated(destinations=places, consumers=list(consumers))
        told = {
            name: {"url": each.url, "signing_key": each.signing_key, "timeout": timeout}
            for name, each in consumers.items()
        }
        data = catalogue_data(lab.world, (secret,), {}, told)
        data["stores"] = {name: {**SETTINGS, "profile": name} for name in stores}
        made, clock = open_workspace(Catalogue.model_validate(data), lab.hub), Clock()
        changes = {"clock": clock, "hub_clock": clock, "limits": LOOSE, "sleep": lambda seconds: None}
        workspace = replace(made, open_store=stores.__getitem__, **changes)  # type: ignore[arg-type]
        opened = Opened(workspace, clock, RecordingSender(), stores["good"])
        return Crossroads(secret, workspace, Incident(lab, secret, opened))

    @property
    def served(self) -> str:
        """What the good store has of it, old versions too."""
        store, name = self.incident.store, self.secret.data["destinations"][0]["name"]
        return " ".join(value.reveal() for value in (store.read(name), *store.old_versions(name).values()))

    @property
    def current(self) -> str:
        """The value in force."""
        return str(self.incident.lab.current(self.secret)["value"])

    def cleared(self) -> SecretProgress | None:
        """How far its incident is, once hub and stores are clear."""
        progress = self.incident.progress()
        return progress if {Step.HUB, Step.FORGET} <= set(progress.done) else None


def test_a_rotation_skips_malicious_stores_and_all_others_get_the_new_credential(
    lab: Lab, stores: dict[str, Any], people: Audience
) -> None:
    roads = Crossroads.of(lab, stores, people.consumers)
    Worker(roads.workspace, roads.secret.path).promoted()
    outcome = rotate(roads.workspace, roads.secret.path)
    assert {pushed.store for pushed in outcome.destinations if not pushed.in_step} == set(BAD)
    assert {reply.consumer for reply in outcome.consumers if reply.error} == set(RUDE)
    assert roads.current in roads.served
    assert people.told(roads.secret.path) == [outcome.version]


def test_a_revocation_skips_malicious_stores_and_all_others_are_cleared(
    lab: Lab, stores: dict[str, Any], people: Audience
) -> None:
    roads = Crossroads.of(lab, stores, people.consumers)
    opened = roads.incident.begin()
    run.restore_service(roads.workspace, opened)
    run.tell_and_clear(roads.workspace, opened)
    secret = take_step(roads.workspace, opened, roads.secret.path, Step.PROVE)
    assert {Step.CUT, Step.REPLACE, Step.HUB} <= set(secret.done)
    assert roads.secret.first["value"] not in roads.served
    assert roads.current in roads.served
    assert [notice.event for notice in people.consumers["app"].handled if notice.secret_path == secret.path] == [
        SECRET_REVOKED
    ]
    places = {words.partition(": ")[2].partition(":")[0] for words in secret.left}
    assert places == {*BAD, *RUDE}


def test_a_consumer_that_answers_a_byte_at_a_time_delays_no_clearing(lab: Lab) -> None:
    cleared = threading.Event()

    def drips_until_cleared(liar: Liar, connection: socket.socket, _request: bytes) -> None:
        liar.send(connection, OK + b"x-lie: ")
        while not cleared.wait(PAUSE):
            liar.send(connection, b"x")
        liar.send(connection, b"\r\ncontent-length: 0\r\n\r\n")

    with audience(lab, "app") as people, Liar(drips_until_cleared) as server, ThreadPoolExecutor(1) as pool:
        people.consumers["app"].url = server.url
        roads = Crossroads.of(lab, {"good": MemoryStore("good")}, people.consumers, timeout="60s")
        opened = roads.incident.begin()
        finishing = pool.submit(copy_context().run, partial(run.finish, roads.workspace, opened.id))
        try:
            progress = wait_for(roads.cleared)
        finally:
            cleared.set()
        stands = finishing.result()
    assert Step.NOTIFY not in progress.done
    assert roads.secret.first["value"] not in roads.served
    assert (stands.left, stands.open) == ((), False)
