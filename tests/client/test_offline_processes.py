"""The offline file under concurrent real processes that are killed at any moment."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.core.errors import Unavailable
from tests.support.offline import Host
from tests.support.served import MemorySource

ROOT = Path(__file__).parents[2]
BEGIN = """
import itertools, sys
from pathlib import Path
from tests.client.test_offline import rotated
from tests.support.offline import Host
from tests.support.served import MemorySource

host = Host(Path(sys.argv[1]))
source = MemorySource(a=int(sys.argv[2]), b=1)
offline = host.offline()
client = host.client(source, offline)
client.get("b")
client.get("a")
"""
WRITING = """
for version in itertools.count(source.served["a"]):
    source.served["a"] = version
    client.refresh("a")
    offline.flush()
    print(version, flush=True)
"""
TOLD = """
offline.flush()
source.away = True
try:
    client.told(rotated("a", 2, "secret_revoked"))
finally:
    print("taken", flush=True)
    input()
"""
ENDED = TOLD.replace(
    'rotated("a", 2, "secret_revoked")', 'dataclasses.replace(rotated("a", 1, "secret_revoked"), replaced=False)'
)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture(autouse=True)
def _debuggable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.client.offline.cache_file.guard_memory", lambda: None)


@contextmanager
def process(host: Host, program: str, version: int = 1) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", f"import dataclasses\n{BEGIN}{program}", str(host.directory), str(version)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def test_a_process_that_is_killed_while_it_writes_leaves_a_file_that_is_believed(host: Host) -> None:
    version = 1
    for delay in (random.uniform(0, 0.05), random.uniform(0.05, 0.2)):  # noqa: S311  any moment will do
        with process(host, WRITING, version) as child, process(host, WRITING, version) as beside:
            assert child.stdout
            version = int(child.stdout.readline())
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            beside.send_signal(signal.SIGKILL)
        source = MemorySource()
        source.away = True
        offline = host.offline()
        with host.client(source, offline) as client:
            assert (client.get("a").version or 0) >= version
            assert client.get("b").version == 1
            assert not offline.refusals


@pytest.mark.parametrize("program", [TOLD, ENDED], ids=["replaced", "ended"])
@pytest.mark.attack
def test_a_process_that_is_killed_once_it_has_acknowledged_has_ended_what_was_revoked(host: Host, program: str) -> None:
    with process(host, program) as child:
        assert child.stdout
        assert child.stdout.readline() == "taken\n"
        child.send_signal(signal.SIGKILL)
    source = MemorySource()
    source.away = True
    with host.client(source, host.offline()) as client:
        with pytest.raises(Unavailable):
            client.get("a")
        assert client.get("b").version == 1
    lagging = MemorySource(a=1)
    with host.client(lagging, host.offline()) as client, pytest.raises(Unavailable, match="a newer one was"):
        client.get("a")
