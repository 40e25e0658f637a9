"""Backups with concurrent or killed processes and full disks."""

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from keyturn.core.ports.restored import read_mark
from keyturn.ledger.naming import BEING_RESTORED, read_name
from keyturn.providers.vault.hub import VaultHub
from keyturn.recovery.chains import OpenedChain, all_lines, list_chains, verify_chain
from keyturn.recovery.restoring import RestoreChange, plan_restore
from tests.cli.command import ROOT, surroundings
from tests.faults.disk import LITTLE, Disk, growing_may_fail, limit_process
from tests.recovery.conftest import UNSIGNED, Servers, Setting
from tests.recovery.killed_child import VARIABLE
from tests.support.hooks import eventually
from tests.support.lab import fresh

pytestmark = [pytest.mark.slow, pytest.mark.sampled(6, of="file")]

PATIENCE = 120
LARGE = "x" * 100_000


@dataclass
class Machine:
    """Processes of one installation: each has the operator's file, the catalogue, the ledger, and a login."""

    setting: Setting
    servers: Servers
    directory: Path

    def environment(self, hub: VaultHub, token: str, **more: str) -> dict[str, str]:
        """Of a process beside this hub."""
        return surroundings(
            self.directory / "home",
            VAULT_ADDR=hub.settings.address,
            VAULT_TOKEN=token,
            KEYTURN_HUB_MOUNT=hub.settings.mount,
            KEYTURN_HUB_STATE_MOUNT=hub.settings.state_mount,
            KEYTURN_HUB_TRANSIT_MOUNT=hub.settings.transit_mount,
            KEYTURN_POLICY=str(self.directory / "policy.yaml"),
            KEYTURN_CATALOGUE=str(self.directory / "catalogue"),
            KEYTURN_LEDGER=str(self.directory / "ledger.db"),
            **more,
        )

    def run(self, *words: str, kill: str = "", restored: bool = False) -> "subprocess.CompletedProcess[str]":
        """One command to its end, or until it is killed."""
        hub, token = self.setting.hub, self.servers.live.root_token
        if restored:
            hub, token = self.setting.restored, self.servers.other.root_token
        module = "tests.recovery.killed_child" if kill else "keyturn.cli"
        env = self.environment(hub, token, **({VARIABLE: kill} if kill else {}))
        command = [sys.executable, "-m", module, *words]
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=PATIENCE, check=False)

    @contextmanager
    def serving(self) -> Iterator["Server"]:
        """`keyturn serve` with the part that backs up."""
        lines = self.directory / f"serve-{fresh()}.txt"
        env = self.environment(self.setting.hub, self.servers.live.root_token)
        command = [sys.executable, "-m", "tests.serving.hasty_child", "serve", "--only=backup", "--listen=127.0.0.1:0"]
        with lines.open("wb") as out, growing_may_fail():
            child = subprocess.Popen(command, stdout=out, stderr=out, env=env, cwd=ROOT)
        try:
            yield Server(child, lines)
        finally:
            child.kill()
            child.wait()

    def whole(self) -> list[str]:
        """The chains that are finished, the oldest first: each of them holds, whatever else lies next to it."""
        chains = [stored for stored in list_chains(self.setting.place) if stored.manifests]
        checks = [verify_chain(self.setting.place, stored, self.setting.keys, UNSIGNED) for stored in chains]
        assert [check.problem for check in checks] == [None] * len(checks)
        return [check.name for check in checks]

    def has(self, path: str) -> bool:
        """Whether a secret is in the newest chain."""
        chain: OpenedChain = self.setting.newest()
        return path in {line.get("path") for _, line in all_lines(self.setting.place, chain)}


@dataclass
class Server:
    """One `keyturn serve`, and what it says."""

    child: "subprocess.Popen[bytes]"
    lines: Path

    def said(self) -> str:
        assert self.child.poll() is None, self.lines.read_text()
        return self.lines.read_text()


@pytest.fixture
def machine(setting: Setting, servers: Servers, tmp_path: Path) -> Machine:
    secret = {"owner": "a@example.com", "classification": "internal", "rotation": {"strategy": "manual"}}
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(yaml.safe_dump({"secrets": {"ml/database": secret}}))
    backups = {
        "place": {"kind": "directory", "directory": str(tmp_path / "backups")},
        "keys": [f"x25519:{tmp_path / 'recovery.pem'}"],
        "every": "1s",
    }
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump({"backups": backups}))
    setting.write("ml/database", "first", "second")
    return Machine(setting, servers, tmp_path)


def test_of_two_that_serve_one_backs_up_and_the_other_goes_on_when_it_is_killed(machine: Machine) -> None:
    with machine.serving() as one, machine.serving() as other:
        assert eventually(lambda: bool(machine.whole()), PATIENCE)
        (chain,) = machine.whole()
        machine.setting.write("ml/new", "first")
        assert eventually(lambda: machine.has("ml/new"), PATIENCE)
        with ThreadPoolExecutor(2) as pool:
            by_hand = list(pool.map(lambda _: machine.run("backup", "run"), range(2)))
        assert [done.returncode for done in by_hand] == [0, 0], "others may back up at the same moment"
        assert len(machine.whole()) == 3
        holder, rest = (one, other) if f"{chain}/0: a base" in one.said() else (other, one)
        assert f"{chain}/0: a base" in holder.said()
        assert "a base of" not in rest.said(), "there is one chain, as long as both live"
        holder.child.send_signal(signal.SIGKILL)
        machine.setting.write("ml/later", "first")
        assert eventually(lambda: machine.has("ml/later"), PATIENCE)
        chains = machine.whole()
        assert len(chains) == 4, "whoever takes over begins a chain of its own"
        assert f"{chains[-1]}/0: a base" in rest.said()


@pytest.mark.parametrize("way", ["full", "limited"])
def test_a_full_disk_is_told_and_the_chain_goes_on_once_there_is_room(machine: Machine, way: str) -> None:
    (machine.directory / "backups").mkdir(mode=0o700)
    with Disk(machine.directory / "backups", "16m") as disk, machine.serving() as server:
        full = way == "full" and disk.mounted  # elsewhere files may not grow: the same calls fail
        assert eventually(lambda: bool(machine.whole()), PATIENCE)
        (chain,) = machine.whole()
        disk.fill() if full else limit_process(server.child.pid, LITTLE)
        machine.setting.write("ml/large", LARGE)
        words = "no space left on device" if full else "file too large"
        assert eventually(lambda: words in server.said(), PATIENCE)
        assert machine.whole() == [chain]
        assert not machine.has("ml/large")
        if full:
            done = machine.run("backup", "run")
            assert done.returncode == 1
            assert words in done.stderr
            assert "Traceback" not in done.stderr
        disk.free() if full else limit_process(server.child.pid, resource.RLIM_INFINITY)
        assert eventually(lambda: machine.has("ml/large"), PATIENCE)
        assert machine.whole() == [chain], "the same chain goes on"
        assert server.said().count(words) == 1, "it is told once"


@pytest.mark.parametrize("at", ["put:1", "put:2"])
def test_a_process_that_is_killed_in_the_middle_of_a_backup_leaves_none_and_the_next_is_whole(
    machine: Machine, at: str
) -> None:
    """Before its part is written, and before its manifest is."""
    assert machine.run("backup", "run", kill=at).returncode == -signal.SIGKILL
    assert machine.whole() == []
    refused = machine.run("backup", "restore", restored=True)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    done = machine.run("backup", "run")
    assert done.returncode == 0, done.stderr
    assert len(machine.whole()) == 1
    assert machine.has("ml/database")


WRITES = 8
"""Writes of restoring two secrets, one of them at version 2, the mark, the ledger's name, and what lies beside them."""


@pytest.mark.parametrize("at", range(1, WRITES + 1))
@pytest.mark.attack
def test_a_killed_restore_continues_when_run_again(machine: Machine, at: int) -> None:
    setting = machine.setting
    setting.write("ml/other", "first")
    setting.hub.destroy("ml/database", [1])
    assert machine.run("backup", "run").returncode == 0
    apply = ("restore", "--apply", "--yes")
    killed = machine.run(*apply, kill=f"write:{at}", restored=True)
    assert killed.returncode == -signal.SIGKILL, f"it has fewer writes: {killed.stderr}"
    if at > len(("the mark", "the ledger's name")):
        name, _ = read_name(setting.restored)
        assert name is not None
        assert name.origin.startswith(BEING_RESTORED), "nothing is begun by a hub that is not whole"
    done = machine.run(*apply, restored=True)
    assert done.returncode == 0, done.stderr
    mark = read_mark(setting.restored)
    assert mark is not None
    assert mark.whole
    for path in ("ml/database", "ml/other"):
        live, restored = setting.hub.read(path), setting.restored.read(path)
        assert live is not None
        assert restored is not None
        assert (restored.version, restored.fields.reveal()) == (live.version, live.fields.reveal())
    left = plan_restore(setting.restored.content(), setting.place, setting.newest())
    assert set(left.counts) == {RestoreChange.KEEP}
