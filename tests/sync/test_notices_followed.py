"""`keyturn follow` notifies consumers within seconds, also with two processes or a crash."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import Unavailable
from keyturn.core.notifications.notices import Notice
from keyturn.rotation.state.context import Workspace
from keyturn.sync.audit_file import AuditFile
from keyturn.sync.changes import AuditLines, ChangeSource, Polling
from keyturn.sync.follow import Follower
from local.openbao import OpenBao
from tests.support.hooks import Hooked, Once, eventually, raising
from tests.support.lab import Lab
from tests.sync.notified import Audience, audience

pytestmark = pytest.mark.sampled(4, of="file")

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
SECRETS = 6


@pytest.fixture
def people(lab: Lab) -> Iterator[Audience]:
    """Two consumers that everything which was there before is known to."""
    with audience(lab, "app", "web") as made:
        made.declare("app", destinations=[])
        made.sync()
        yield made


@contextmanager
def following(source: ChangeSource, workspace: Workspace) -> Iterator[list[str]]:
    """A follower in a thread, past its first look; what it says."""
    looked, stop, said = threading.Event(), threading.Event(), list[str]()
    thread = threading.Thread(target=Follower(lambda: workspace, source, said.append, looked.set).run, args=(stop,))
    thread.start()
    try:
        assert looked.wait(PATIENCE)
        yield said
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def told(people: Audience, path: str, *versions: int) -> Callable[[], bool]:
    return lambda: people.told(path) == people.told(path, "web") == list(versions)


def test_a_manual_secret_that_somebody_writes_reaches_copy_and_consumers_within_seconds(
    people: Audience, openbao: OpenBao, tmp_path: Path
) -> None:
    path, bare = people.declare(), people.declare(destinations=[])
    source = AuditFile(openbao.audit_log, tmp_path / "position", AuditLines("secret").changed)
    with following(source, people.open()) as said:
        people.write(path)
        people.write(bare)
        began = time.monotonic()
        assert eventually(lambda: told(people, path, 1)() and told(people, bare, 1)(), 5)
        assert time.monotonic() - began < 5
        assert eventually(lambda: f"{bare}: notified web of version 1" in said)
    assert people.store.read(path.replace("/", "-")).reveal()
    assert [one for one in said if one.startswith("error")] == []
    people.sync()
    assert people.consumers["app"].delivered == 2


def test_a_consumer_that_is_down_is_told_in_one_line_and_tried_again(people: Audience) -> None:
    path = people.declare("app")
    workspace = people.open()
    down = Once(raising(Unavailable("notify", "app", "the connection failed")))
    sender: Any = Hooked(workspace.sender, deliver=down)
    with following(Polling(lambda: people.lab.hub, 0.1), people.open(sender=sender)) as said:
        people.write(path)
        assert eventually(lambda: people.told(path) == [1])
        assert eventually(lambda: f"{path}: notified app of version 1" in said)
    assert [line for line in said if line.startswith("error")] == [
        f"error: notify app: the connection failed ({path}: tried again in 1 s)"
    ]


def test_a_consumer_that_does_not_answer_holds_up_no_copy(people: Audience) -> None:
    hung, free = threading.Event(), people.open()
    paths = [people.declare("app") for _ in range(10)]
    sender: Any = Hooked(free.sender, deliver=lambda *_, **__: hung.wait(PATIENCE))
    try:
        with following(Polling(lambda: people.lab.hub, 0.1), people.open(sender=sender)):
            for path in paths:
                people.write(path)
                assert eventually(lambda path=path: people.store.describe(path.replace("/", "-")) is not None)  # type: ignore[misc]
            hung.set()
            assert eventually(lambda: all(people.told(path) == [1] for path in paths))
    finally:
        hung.set()


# --- processes


@contextmanager
def child(people: Audience, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A follower in a process of its own, past its first look."""
    file = tmp_path / "catalogue.json"
    file.write_text(json.dumps(people.data))
    command = [sys.executable, "-m", "tests.sync.told_child", people.lab.world.to_json(), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert "looked" in process.stdout.readline()
            yield process
        finally:
            process.kill()


def bare(people: Audience) -> list[str]:
    """Secrets without copies: children have no store of this process's."""
    return [people.declare(destinations=[]) for _ in range(SECRETS)]


def handled(people: Audience) -> Counter[tuple[str, str, int]]:
    """Which consumer has acted on which version, and how often."""
    notices: list[tuple[str, Notice]] = [(name, one) for name, c in people.consumers.items() for one in c.handled]
    return Counter((name, one.secret_path, one.version) for name, one in notices)


def test_of_two_followers_and_a_sync_one_tells_each_consumer_of_each_version(people: Audience, tmp_path: Path) -> None:
    people.timeout, paths = "30s", bare(people)
    with child(people, tmp_path), child(people, tmp_path):
        for version in (1, 2):
            for path in paths:
                people.write(path)
            people.sync()
            assert eventually(lambda version=version: all(version in people.told(path) for path in paths))  # type: ignore[misc]
            assert eventually(lambda: all(not people.heard(path).waiting for path in paths))
    people.sync()
    wanted = {(name, path, version) for name in people.consumers for path in paths for version in (1, 2)}
    assert handled(people) == Counter(wanted)
    assert sum(one.delivered for one in people.consumers.values()) == len(wanted)


def test_killed_at_any_moment_each_consumer_has_acted_once_on_each_version(people: Audience, tmp_path: Path) -> None:
    chance, paths = random.Random(5), bare(people)  # noqa: S311
    for version in (1, 2):
        with child(people, tmp_path) as process:
            for path in paths:
                people.write(path)
            time.sleep(chance.uniform(0.3, 1.2))
            process.send_signal(signal.SIGKILL)
        with child(people, tmp_path):
            assert eventually(lambda version=version: all(told(people, p, *range(1, version + 1))() for p in paths))  # type: ignore[misc]
            assert eventually(lambda: all(not people.heard(path).waiting for path in paths))
    people.sync()
    wanted = {(name, path, version) for name in people.consumers for path in paths for version in (1, 2)}
    assert handled(people) == Counter(wanted)
