"""After access was stolen, word by word: what was stolen is worth nothing, and Keyturn works on."""

import json
import os
import re
import secrets
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import hvac
import pytest
import yaml
from hvac.exceptions import Forbidden, InvalidRequest
from typer.testing import CliRunner

from keyturn.cli.app import app
from tests.cli.command import surroundings
from tests.manual.lines import lines_of
from tests.support.lab import Lab, catalogue_data

pytestmark = pytest.mark.sampled(2, of="file")

PAGE = (Path(__file__).parents[2] / "docs" / "stolen-access.md").read_text()
BAO = Path(sys.executable).with_name("bao")


def commands(section: str) -> list[str]:
    """Those of a section of the page that need no target."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line for line in re.findall(r"^\$ (.*)$", text, re.M) if "targets/" not in line]


def login(lab: Lab, mount: str, role_id: str, secret_id: str) -> hvac.Client:
    """Whoever has both."""
    client = hvac.Client(url=lab.world.hub_address, verify=lab.world.hub_ca)
    client.auth.approle.login(role_id, secret_id, mount_point=mount)
    return client


@pytest.mark.parametrize(
    ("section", "role", "policies", "prefix"),
    [
        ("A worker's login", "keyturn-worker", ["keyturn-worker"], ""),
        ("The emergency worker's login", "keyturn-revoker", ["keyturn-revoker", "keyturn-worker"], "revoker."),
    ],
    ids=["worker", "emergency worker"],
)
def test_what_was_stolen_is_worth_nothing_and_the_worker_has_another(
    lab: Lab, tmp_path: Path, section: str, role: str, policies: list[str], prefix: str
) -> None:
    mount, approle = f"approle-{secrets.token_hex(4)}", lab.root.auth.approle
    lab.root.sys.enable_auth_method("approle", path=mount)
    approle.create_or_update_approle(role, token_policies=policies, mount_point=mount)
    role_id = approle.read_role_id(role, mount_point=mount)["data"]["role_id"]
    stolen = role_id, approle.generate_secret_id(role, mount_point=mount)["data"]["secret_id"]
    thief = login(lab, mount, *stolen)
    assert set(policies) < set(thief.auth.token.lookup_self()["data"]["policies"])

    hub = {"BAO_ADDR": lab.world.hub_address, "BAO_TOKEN": lab.world.hub_token, "HOME": str(tmp_path)}
    env = {**os.environ, **hub, "BAO_CACERT": str(lab.world.hub_ca)}
    script = "\n".join(line.replace("auth/approle", f"auth/{mount}") for line in commands(section))
    script = f'set -e\nvault() {{ "{BAO}" "$@"; }}\n{script}'
    subprocess.run(["sh", "-c", script], check=True, cwd=tmp_path, env=env)

    with pytest.raises(Forbidden):
        thief.auth.token.lookup_self()
    with pytest.raises(InvalidRequest):
        login(lab, mount, *stolen)
    files = [tmp_path / f"{prefix}{name}" for name in ("role-id", "secret-id")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    mended = login(lab, mount, *(file.read_text().strip() for file in files))
    assert set(policies) < set(mended.auth.token.lookup_self()["data"]["policies"])


def test_without_prefect_everything_is_done_and_seen(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = lab.alternating()
    data = {**catalogue_data(lab.world, (secret,), {}, {}), "stores": {}}
    data["secrets"][secret.path].pop("path")
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(data))))
    hub = {
        "VAULT_ADDR": lab.world.hub_address,
        "VAULT_TOKEN": lab.world.hub_token,
        "VAULT_CACERT": str(lab.world.hub_ca),
    }
    more = {"KEYTURN_CATALOGUE": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    env = surroundings(tmp_path / "no-stack", **hub, **more, XDG_STATE_HOME=str(tmp_path / "state"))
    for name in set(os.environ) - set(env):
        monkeypatch.delenv(name)
    for name, text in env.items():
        monkeypatch.setenv(name, text)
    output = {}
    for line in lines_of("stolen-access.md"):
        words = shlex.split(line.replace("ml-training/database", secret.path))
        run = CliRunner().invoke(app, words[1:])
        assert run.exit_code == 0, (line, run.output)
        output[" ".join(words[1:3])] = run.output
    assert not lab.logs_in(secret.first)
    assert secret.path in output["ledger show"]
    assert re.search(r"^INC-.* closed ", output["incidents"], re.M)
