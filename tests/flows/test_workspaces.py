"""Two workspaces on one Prefect server, each with a catalogue and a hub of its own: neither touches the other."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from deployments.bootstrap import REQUESTED
from flows.rotate_due import LATE
from keyturn.core.ports.hub import Hub as HubPort
from keyturn.core.sensitive import SecretFields
from keyturn.core.workspaces import WorkspaceNames
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.openbao import OpenBao
from local.pager import Pager
from local.prepare import Hub
from local.support.ports import free_port
from tests.cli.command import run_keyturn, surroundings
from tests.flows.runs import AWS_VARIABLES, Installed, register
from tests.flows.site import Architect
from tests.manual.lines import lines_of
from tests.support.lab import fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

OTHER = WorkspaceNames("other")
CATALOGUE = """\
targets:
  pg: {{ kind: postgresql, host: 127.0.0.1, database: ml, admin: targets/pg }}
secrets:
  {path}:
    owner: a@example.com
    classification: internal
    rotation: {{ strategy: generated, interval: 30d, grace: 0s }}
"""


@dataclass(frozen=True)
class Two:
    """The other workspace: its hub, and what the server has of it. Both workspaces declare a secret at ``path``."""

    installed: Installed
    hub: HubPort
    here: HubPort
    path: str
    environment: dict[str, str]

    @property
    def server(self) -> PrefectServer:
        return self.installed.server

    def versions(self) -> tuple[int, int]:
        """How many versions the secret has: in the default workspace, and in the other."""
        found = [hub.describe(self.path) for hub in (self.here, self.hub)]
        return found[0].version if found[0] else 0, found[1].version if found[1] else 0

    def names(self, kind: str) -> set[str]:
        return {one["name"] for one in self.server.all(kind)}

    def rotate(self, workspace: str) -> "subprocess.CompletedProcess[str]":
        """What whoever names that workspace on the command line gets."""
        (line,) = lines_of("prefect.md", "keyturn rotate")
        typed = line.replace("shop/database", self.path).replace("payments", workspace)
        return run_keyturn(*typed.split()[1:], "--json", env=self.environment)


@pytest.fixture(scope="module")
def two(
    installed: Installed, architect: Architect, pager: Pager, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Two]:
    """The default workspace with a secret, and another one with a secret of the same path, in a hub of its own."""
    server, directory = installed.server, tmp_path_factory.mktemp("other")
    with server.in_use(), OpenBao(directory / "bao", free_port(), dev=True) as bao:
        secret = architect.lab.generated()
        register(architect.build(secret), server, pager.address)
        Hub(bao.address, bao.root_token).mounts()
        token = str(directory / "bao" / "root.token")
        hub = VaultHub(HubSettings(bao.address, login=TokenLogin(file=token)))
        hub.write(secret.path, SecretFields({"value": "first"}), cas=0)
        (directory / "catalogue").mkdir()
        (directory / "catalogue" / "all.yaml").write_text(CATALOGUE.format(path=secret.path))
        catalogue = directory / "catalogue"
        before = {kind: ids(server, kind) for kind in KINDS}
        leading = {"VAULT_ADDR": bao.address, "KEYTURN_CATALOGUE": str(catalogue)}
        environment = surroundings(directory / "home", **server.environment, **leading)
        (line,) = lines_of("prefect.md", "keyturn setup prefect --apply")
        typed = line.replace("payments", OTHER.name).split()[1:]
        done = run_keyturn(*typed, env={**environment, "KEYTURN_FAILURE_URL": pager.address})
        assert done.returncode == 0, done.stderr
        installed.rest()
        rest(server)
        with other_worker(server, directory, leading | {"KEYTURN_HUB_TOKEN_FILE": token}):
            yield Two(installed, hub, architect.lab.hub, secret.path, environment)
        hub.close()
        for kind in KINDS:
            for gone in ids(server, kind) - before[kind]:
                server.delete(f"{kind}/{gone}")


KINDS = ("deployments", "automations", "work_pools", "v2/concurrency_limits", "block_documents")
"""What a bootstrap leaves; other tests count it."""


def ids(server: PrefectServer, kind: str) -> set[str]:
    return {one["name" if kind == "work_pools" else "id"] for one in server.all(kind)}


def rest(server: PrefectServer) -> None:
    """No schedule of the other workspace starts a run."""
    for one in server.all("deployments"):
        if one["name"].endswith("-other"):
            server.post(f"deployments/{one['id']}/pause_deployment")


def other_worker(server: PrefectServer, directory: Path, leading: dict[str, str]):  # type: ignore[no-untyped-def]
    """A worker of the other pool, whose own environment leads to its hub; the workspace is told by the pool."""
    own = {"KEYTURN_LEDGER": str(directory / "ledger.db"), "KEYTURN_SETTINGS_FILE": ""}
    variables = {name: os.environ[name] for name in AWS_VARIABLES} | own | leading
    return server.another_worker(OTHER.own, "default", variables)


def test_a_second_workspace_adds_its_own_and_leaves_what_was_there(two: Two) -> None:
    assert {"keyturn", "keyturn-other"} <= two.names("work_pools")
    deployments = {one["name"]: one for one in two.server.all("deployments")}
    for flow in ("rotate-secret", "rotate-due", "sync", "emergency-revoke", "keep-ledger"):
        ours, theirs = deployments[flow], deployments[f"{flow}-other"]
        assert (ours["work_pool_name"], theirs["work_pool_name"]) == ("keyturn", "keyturn-other")
        assert ours["work_queue_name"] == theirs["work_queue_name"]
        assert "keyturn-other" in theirs["tags"]
        assert "keyturn" not in theirs["tags"]
    assert {"keyturn-target-pg", "keyturn-other-target-pg"} <= two.names("v2/concurrency_limits")
    blocks = {(one["block_type"]["slug"], one["name"]) for one in two.server.all("block_documents")}
    both = {(kind, name) for kind in ("keyturn-workspace", "keyturn-failure-channel") for name in ("default", "other")}
    assert both <= blocks
    automations = two.names("automations")
    first = {name for name in automations if name.startswith("keyturn: ")}
    assert {name.replace("keyturn:", "keyturn-other:") for name in first} <= automations


def test_a_rotation_in_one_workspace_never_touches_the_other(two: Two) -> None:
    assert two.versions() == (1, 1)
    done = two.rotate("other")
    assert done.returncode == 0, done.stderr
    assert two.versions() == (1, 2)
    assert two.hub.read_state(f"rotations/{two.path}") is not None
    assert two.here.read_state(f"rotations/{two.path}") is None
    run = json.loads(done.stdout)["run"]["id"]
    left = {one["key"] for one in two.server.all("artifacts") if one["flow_run_id"] == run and one["key"]}
    assert left == {f"other-rotate-{two.path.replace('/', '-')}", f"other-secret-{two.path.replace('/', '--')}"}


def test_a_workspace_that_the_server_does_not_know_is_told_with_what_makes_it(two: Two) -> None:
    before = two.versions()
    done = two.rotate("nobodys")
    assert (done.returncode, two.versions()) == (1, before)
    assert "run rotate-secret/rotate-secret-nobodys: the Prefect server has no such deployment" in done.stderr
    assert "`keyturn setup prefect --apply --workspace nobodys` once" in done.stderr


def test_an_event_for_one_workspace_rotates_there_alone(two: Two) -> None:
    before = two.versions()
    send(two.server, REQUESTED, OTHER.resource("secret", two.path))
    wait_for(lambda: two.versions()[1] == before[1] + 1)
    assert two.versions()[0] == before[0]


def test_an_alarm_of_one_workspace_is_told_as_its_own_and_once(two: Two, pager: Pager) -> None:
    path = fresh()
    send(two.server, LATE, OTHER.resource("secret", path), "beyond its maximum age")
    (message,) = wait_for(lambda: [said for said in pager.messages if path in said])
    assert message.startswith(f"Keyturn other: {path} is late\n")
    assert f"`keyturn rotate {path} --now --workspace other`" in message


def send(server: PrefectServer, event: str, resource: str, why: str = "") -> None:
    """Tell the server of something, as curl would."""
    body = {
        "id": str(uuid.uuid4()),
        "event": event,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": resource},
        **({"payload": {"why": why}} if why else {}),
    }
    httpx.post(f"{server.url}/events", json=[body], timeout=30).raise_for_status()
