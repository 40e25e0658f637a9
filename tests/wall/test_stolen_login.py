"""After a worker's login was stolen, word by word: what was stolen is worth nothing, and the worker has another."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidRequest

from tests.support.lab import Lab

PAGE = (Path(__file__).parents[2] / "docs" / "stolen-access.md").read_text()
SECTION = PAGE.partition("## A worker's login")[2].partition("\n## ")[0]
BAO, ROLE = Path(sys.executable).with_name("bao"), "keyturn-worker"


def commands(mount: str) -> list[str]:
    """Those of the page that need no target, at a mount of the test's own."""
    lines = re.findall(r"^\$ vault (.*)$", SECTION, re.M)
    return [line.replace("auth/approle", f"auth/{mount}") for line in lines if "targets/" not in line]


def login(lab: Lab, mount: str, role_id: str, secret_id: str) -> hvac.Client:
    """Whoever has both."""
    client = hvac.Client(url=lab.world.hub_address, verify=lab.world.hub_ca)
    client.auth.approle.login(role_id, secret_id, mount_point=mount)
    return client


def test_what_was_stolen_is_worth_nothing_and_the_worker_has_another(lab: Lab, tmp_path: Path) -> None:
    mount, approle = f"approle-{secrets.token_hex(4)}", lab.root.auth.approle
    lab.root.sys.enable_auth_method("approle", path=mount)
    approle.create_or_update_approle(ROLE, token_policies=[ROLE], mount_point=mount)
    role_id = approle.read_role_id(ROLE, mount_point=mount)["data"]["role_id"]
    stolen = role_id, approle.generate_secret_id(ROLE, mount_point=mount)["data"]["secret_id"]
    thief = login(lab, mount, *stolen)
    assert ROLE in thief.auth.token.lookup_self()["data"]["policies"]

    hub = {"BAO_ADDR": lab.world.hub_address, "BAO_TOKEN": lab.world.hub_token, "HOME": str(tmp_path)}
    env = {**os.environ, **hub, "BAO_CACERT": str(lab.world.hub_ca)}
    for command in commands(mount):
        subprocess.run(f"{BAO} {command}", shell=True, check=True, cwd=tmp_path, env=env)  # noqa: S602  the page's own

    with pytest.raises(Forbidden):
        thief.auth.token.lookup_self()
    with pytest.raises(InvalidRequest):
        login(lab, mount, *stolen)
    mended = login(lab, mount, *((tmp_path / name).read_text().strip() for name in ("role-id", "secret-id")))
    assert ROLE in mended.auth.token.lookup_self()["data"]["policies"]
