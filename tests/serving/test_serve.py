"""`keyturn serve` as supervisors run it: two processes over one hub, of which one is killed or suspended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from keyturn.access_log.reactions.reactions import Key
from keyturn.access_log.sources.line_spool import LineSpool
from keyturn.agent.sockets import open_at
from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.client.posts import AccessPosts
from keyturn.core.errors import Invalid
from keyturn.core.rights.hcl import policy
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.sensitive import SecretFields
from keyturn.core.webhook_keys import generate_webhook_key
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.rights.hub_policies import MONITOR, sections
from keyturn.rights.scope import scope_of
from keyturn.serving.history import remembered
from keyturn.serving.ledger_history import recorded_alerts
from keyturn.serving.registry import make_parts
from keyturn.serving.site import Site as PartSite
from local.openbao import OpenBao
from local.support.ports import free_port
from tests.cli.command import ROOT, one_line, run_keyturn, surroundings
from tests.cli.test_follow import until
from tests.support.lab import Lab, fresh
from tests.support.world import World

pytestmark = pytest.mark.sampled(2, of="file")

PATIENCE = 60


@dataclass
class Served:
    """One `keyturn serve`: its process, what it says, and where it is asked."""

    child: "subprocess.Popen[bytes]"
    lines: Path
    url: str

    def says(self, words: str) -> bool:
        assert self.child.poll() is None, self.lines.read_text()
        return words in self.lines.read_text()

    def end(self) -> str:
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(PATIENCE) == 0, self.lines.read_text()
        return self.lines.read_text()


@dataclass
class Site:
    """A catalogue that pushes a folder of the hub to a directory, and a state mount of its own."""

    env: dict[str, str]
    directory: Path
    folder: str
    copies: Path

    @property
    def posted(self) -> str:
        """What the log of posted accesses is known by on this machine."""
        return f"apps-{LineSpool(self.directory / 'received' / 'apps').name}"

    def read(self, log: str = "bao") -> list[str]:
        """The paths of the reads that the trail holds."""
        memories = remembered(self.directory / "trail", log, datetime.now(UTC))
        return [access.path for _, accesses in memories for access in accesses]

    def alerts(self) -> list[Key]:
        """Those that the ledger records."""
        ledger = SqliteLedger(self.directory / "ledger.db", "any", patience=5)
        try:
            return list(recorded_alerts(ledger))
        finally:
            ledger.close()

    @contextmanager
    def serve(self, *options: str) -> Iterator[Served]:
        lines, port = self.directory / f"serve-{fresh()}.txt", free_port()
        command = [sys.executable, "-m", "tests.serving.hasty_child", "serve", f"--listen=127.0.0.1:{port}", *options]
        with lines.open("wb") as out:
            child = subprocess.Popen(command, stdout=out, stderr=out, env=self.env, cwd=ROOT)
        try:
            yield Served(child, lines, f"http://127.0.0.1:{port}")
        finally:
            child.kill()
            child.wait()


@pytest.fixture
def site(lab: Lab, world: World, openbao: OpenBao, tmp_path: Path) -> Iterator[Site]:
    catalogue, copies, folder, mount = tmp_path / "catalogue", tmp_path / "copies", fresh(), f"state-{fresh()[-8:]}"
    catalogue.mkdir()
    copies.mkdir(mode=0o700)
    stores = {"disk": {"kind": "file", "directory": str(copies)}}
    syncs = {"all": {"paths": [f"{folder}/*"], "stores": ["disk"], "name": "{name}.json"}}
    logs: dict[str, Any] = {"bao": {"kind": "hub-file", "log_file": str(openbao.audit_log), "pace": "1s"}}
    logs["apps"] = {"kind": "posted", "posters": {"trainer": {}}}
    (catalogue / "all.json").write_text(json.dumps({"stores": stores, "syncs": syncs, "access_logs": logs}))
    (catalogue / "all.json").rename(catalogue / "all.yaml")
    lab.root.sys.enable_secrets_engine("kv", mount, options={"version": "2"})
    env = surroundings(
        tmp_path / "no-stack",
        VAULT_ADDR=world.hub_address,
        VAULT_TOKEN=world.hub_token,
        KEYTURN_CATALOGUE=str(catalogue),
        KEYTURN_HUB_STATE_MOUNT=mount,
        KEYTURN_LEDGER=str(tmp_path / "ledger.db"),
        KEYTURN_TRAIL=str(tmp_path / "trail"),
        KEYTURN_ACCESS_LOGS=str(tmp_path / "received"),
    )
    yield Site(env, tmp_path, folder, copies)
    lab.root.sys.disable_secrets_engine(mount)


def test_another_goes_on_when_one_is_killed_and_one_that_was_suspended_gives_up(site: Site, lab: Lab) -> None:
    with site.serve("--only=follow") as first, site.serve("--only=follow") as second:
        until(lambda: first.says("follow: runs here") or second.says("follow: runs here"))
        here, there = (first, second) if first.says("follow: runs here") else (second, first)
        until(lambda: there.says("ready: follow"))
        until(lambda: requests.get(f"{there.url}/readyz", timeout=30).status_code == 200)
        assert not there.says("runs here")
        assert requests.get(f"{here.url}/readyz", timeout=30).json()["parts"]["follow"]["running"]
        place = there.url.removeprefix("http://")
        one_line(run_keyturn("serve", f"--listen={place}", env=site.env), "Address already in use", "choose another")
        os.kill(here.child.pid, signal.SIGSTOP)
        until(lambda: there.says("follow: runs here"))
        os.kill(here.child.pid, signal.SIGCONT)
        until(lambda: here.says("follow: stopped here") or here.says("another process may have it"))
        there.child.kill()
        until(lambda: here.lines.read_text().count("follow: runs here") == 2)
        lab.hub.write(f"{site.folder}/a", SecretFields({"value": "1"}), cas=0)
        until(lambda: list(site.copies.rglob("a*")))
        assert here.end().splitlines()[-1] == "ended"


def test_with_the_least_rights_reads_are_in_the_trail_and_an_odd_one_is_told_once_though_its_reader_is_killed(
    site: Site, lab: Lab
) -> None:
    mount, key = site.env["KEYTURN_HUB_STATE_MOUNT"], generate_webhook_key()
    site.env["VAULT_TOKEN"] = monitors_token(lab, load_catalogue(site.directory / "catalogue", os.environ), mount)
    lab.root.secrets.kv.v2.create_or_update_secret("posters/apps/trainer", {"key": key.reveal()}, mount_point=mount)
    path = f"{site.folder}/odd"
    lab.hub.write(path, SecretFields({"value": "1"}), cas=0)
    with site.serve("--only=access/bao") as served:
        until(lambda: served.says("access/bao: runs here"))
        until(
            lambda: requests.get(f"{served.url}/readyz", timeout=30).json()["parts"]["access/bao"]["lag_seconds"] == 0
        )
        lab.hub.read(path)
        until(lambda: path in site.read() and site.alerts())
        served.child.kill()
    told = site.alerts()
    lab.hub.read(path)
    with site.serve("--only=access/bao", f"--only=access/{site.posted}") as served:
        until(lambda: site.read().count(path) == 2)
        with AccessPosts(served.url, "apps/trainer", key) as posts:
            posts.note("ml/posted")
            assert posts.flush(PATIENCE)
        assert posts.posted == 1
        until(lambda: site.read(site.posted) == ["ml/posted"])
        assert "keyturn_serve_events_total" in requests.get(f"{served.url}/metrics", timeout=30).text
        served.end()
    again = site.alerts()
    assert again[: len(told)] == told
    assert len(set(again)) == len(again)


def monitors_token(lab: Lab, catalogue: Catalogue, state_mount: str) -> str:
    """A login with the policy that is rendered for watching, and nothing else."""
    scope = scope_of(catalogue, HubPlaces(state_mount=state_mount))
    lab.root.sys.create_or_update_policy(f"{state_mount}-monitor", policy(sections(scope, MONITOR)))
    made = lab.root.auth.token.create(policies=[f"{state_mount}-monitor"], no_default_policy=True, ttl="1h")
    return str(made["auth"]["client_token"])


def test_a_part_that_is_not_there_is_told_with_the_one_meant() -> None:
    site = parts_of_nothing()
    assert [part.name for part in make_parts(site)] == ["follow"]
    assert [part.name for part in make_parts(site, ["f*"])] == ["follow"]
    assert [part.name for part in make_parts(site, ["relay", "*"])] == ["relay", "follow"], "it is named alone"
    with pytest.raises(Invalid, match=r"the part folow: there is none of that name\. Did you mean follow"):
        make_parts(site, ["folow"])


def test_beyond_loopback_nothing_is_said_in_clear() -> None:
    with pytest.raises(Invalid, match="who has read what would be sent in clear to other machines"):
        open_at("192.168.0.1:2774", tls=False, sent="who has read what")


def parts_of_nothing() -> PartSite:
    """What parts are made of that never run: of a workspace the catalogue alone is looked at."""
    declared: Any = SimpleNamespace(catalogue=Catalogue())
    return PartSite(lambda: declared, lambda: pytest.fail("asked"), print, lambda wrap: pytest.fail("asked"), Path("/"))
