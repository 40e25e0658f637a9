"""The metrics login sees every area, and reads no secret."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from keyturn.cli.environment import opened_workspace
from keyturn.cli.running.numbers import looks_of
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.prometheus.metrics import NumbersCollector, exposition
from keyturn.rights.check import Comparison, compare, paths_to_ask
from keyturn.rights.roles import needed
from keyturn.rights.scope import places_of, scope_of
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.serving.numbers.board import Board, board_metrics
from keyturn.serving.numbers.displayed import PREFIX, Area
from keyturn.serving.numbers.part import numbers_parts
from keyturn.serving.numbers.published import load_published
from keyturn.serving.parts import NUMBERS, Tenure
from keyturn.serving.site import Site
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import ROLE_ID_FILE, SECRET_ID_FILE
from local.support.ports import free_port
from tests.cli.command import ROOT
from tests.cli.test_follow import until
from tests.hub_setup.site import Empty, as_environment
from tests.hub_setup.test_first_command import SECRET, keyturn
from tests.manual.lines import lines_of

pytestmark = pytest.mark.sampled(4, of="file")

CATALOGUE = """
hub:
  keyturn-worker: {kind: approle, login: worker, addresses: [127.0.0.0/8]}
  keyturn-numbers: {kind: approle, login: numbers, addresses: [127.0.0.0/8]}
secrets:
  app/api-key:
    owner: shop@example.com
    classification: internal
    rotation: {strategy: generated, interval: 30d, grace: 1h}
"""

VALUES = (
    f"secret/data/{SECRET}",
    f"secret/metadata/{SECRET}",
    f"keyturn/data/rotations/{SECRET}",
    "keyturn/data/fingerprint-key",
    "keyturn/data/targets/any",
    "keyturn/data/webhooks/any",
    "keyturn/data/incidents/INC-1/head",
    "keyturn/data/serve/numbers",
    "keyturn/data/setup",
    "sys/policies/acl/keyturn-numbers",
    "transit/keys/keyturn-ledger",
)


@pytest.fixture
def teller(empty: Empty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Empty:
    """A hub that was set up by the command, with a secret that was rotated, and the files of the numbers' login."""
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(CATALOGUE)
    as_environment(empty, tmp_path, monkeypatch)
    monkeypatch.setenv("KEYTURN_LEDGER_NAME", "shop")
    for line in lines_of("operations.md", "keyturn setup hub --apply", "keyturn setup credentials"):
        keyturn(*line.replace("/etc/keyturn/numbers", str(tmp_path / "teller")).split()[1:])
    empty.hub.write(SECRET, SecretFields({"value": "c4nary-one"}), cas=0)
    return empty


def token_of(teller: Empty) -> str:
    """The token that the files give, which has that policy beside the hub's own `default`."""
    role, secret = ((teller.directory / "teller" / name).read_text().strip() for name in ("role-id", "secret-id"))
    made = teller.root.auth.approle.login(role, secret)["auth"]
    assert sorted(made["token_policies"]) == ["default", "keyturn-numbers"]
    return str(made["client_token"])


class LastBoard(Board):
    """One that goes on telling what was put there last."""

    def clear(self) -> None:
        """Keep it."""


def publish_all(workspace: Workspace) -> list[str]:
    """Let the part that looks publish every area; what it has seen last of each."""
    board = LastBoard()
    refused: Any = None
    looks = looks_of(lambda: workspace, per_secret=True)
    (part,) = numbers_parts(
        Site(lambda: workspace, refused, print, refused, Path("/"), looks=looks, board=board, publishes=True)
    )
    tenure = Tenure(NUMBERS, 1, lambda: 0.0, lambda: None)
    worker = threading.Thread(target=part.run, args=(tenure,))
    worker.start()
    try:
        until(lambda: all(load_published(workspace.hub, area) for area in Area))
    finally:
        tenure.ended.set()
        worker.join()
    return exposition(NumbersCollector(PREFIX, board_metrics(), {(): board}))().splitlines()


@contextmanager
def relayed(teller: Empty) -> Iterator[str]:
    """`keyturn serve --only relay` with the files of that login and no other; where it is asked."""
    port, lines = free_port(), teller.directory / "relay.txt"
    check, relay = lines_of("operations.md", "keyturn policy check --as numbers", "keyturn serve --only relay")
    env = {name: value for name, value in os.environ.items() if name != "VAULT_TOKEN"}
    for name, file in ((ROLE_ID_FILE, "role-id"), (SECRET_ID_FILE, "secret-id")):
        env[name] = str(teller.directory / "teller" / file)
    env["PYTHONPATH"] = str(ROOT)
    checked, command = ([sys.executable, "-m", *line.split()] for line in (check, relay))
    subprocess.run(checked, env=env, cwd=ROOT, check=True, capture_output=True)
    with lines.open("wb") as out:
        command += ["--listen", f"127.0.0.1:{port}"]
        child = subprocess.Popen(command, stdout=out, stderr=out, env=env, cwd=ROOT)
    try:
        until(lambda: "relay: runs here" in lines.read_text() or child.poll() is not None)
        assert child.poll() is None, lines.read_text()
        yield f"http://127.0.0.1:{port}"
        assert "error" not in lines.read_text()
    finally:
        child.terminate()
        child.wait()


@pytest.mark.attack
def test_every_metric_is_available_and_no_value_is_readable(teller: Empty) -> None:
    with opened_workspace(None) as workspace:
        rotate(workspace, SECRET, Trigger.FORCE)
        told = publish_all(workspace)
        value = str(workspace.hub.read(SECRET).fields.reveal()["value"])  # type: ignore[union-attr]
    assert [f'keyturn_look_up{{area="{area}"}} 1.0' in told for area in Area] == [True] * len(Area)
    assert f'keyturn_secret_age_seconds{{path="{SECRET}"}}' in "\n".join(told)
    assert 'keyturn_rotations_total{outcome="promoted"} 1.0' in told
    assert "keyturn_rotation_duration_seconds_count 1.0" in told

    with relayed(teller) as url:

        def lines() -> list[str]:
            text = requests.get(f"{url}/metrics", timeout=20).text
            assert value not in text
            others = ("keyturn_serve_", "keyturn_build_info")
            return [line for line in text.splitlines() if not line.removeprefix("# HELP ").startswith(others)]

        until(lambda: set(told) <= set(lines()))
        assert {line for line in lines() if line[0] != "#"} == {line for line in told if line[0] != "#"}

    token = token_of(teller)
    for address in VALUES:
        for method in ("GET", "LIST", "POST", "DELETE"):
            answer = requests.request(
                method,
                f"{teller.server.address}/v1/{address}",
                headers={"X-Vault-Token": token, "X-Vault-Namespace": teller.namespace},
                verify=teller.server.ca_file or True,
                json={"data": {"a": "b"}} if method == "POST" else None,
                timeout=20,
            )
            assert answer.status_code == 403, (method, address)


@pytest.mark.attack
def test_the_login_has_exactly_the_rights_it_needs(teller: Empty) -> None:
    with opened_workspace(None) as workspace:
        scope = scope_of(workspace.catalogue, places_of(workspace.catalogue, HubSettings.from_environment()))
    sections = needed(scope, "numbers")
    made = teller.root.auth.token.create(policies=["keyturn-numbers"], no_default_policy=True, ttl="1h")
    answer = requests.post(
        f"{teller.server.address}/v1/sys/capabilities",
        headers={"X-Vault-Token": teller.server.root_token, "X-Vault-Namespace": teller.namespace},
        json={"token": made["auth"]["client_token"], "paths": paths_to_ask(scope, sections)},
        verify=teller.server.ca_file or True,
        timeout=20,
    )
    assert compare(scope, sections, answer.json()["data"]) == Comparison((), ())
