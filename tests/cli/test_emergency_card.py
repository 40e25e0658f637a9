"""The emergency card from an empty HOME: its variables load the shipped catalogue, and its commands run."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.core.sensitive import SecretFields
from tests.cli.command import ROOT
from tests.support.lab import Lab, fresh

CARD = ROOT / "docs" / "emergency-card.md"
SECRET = "ml-training/database"
EVERYTHING = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }'


@pytest.fixture
def exports(lab: Lab, tmp_path: Path) -> Iterator[list[str]]:
    """The card's export lines, with this hub, this login and a copy of the shipped catalogue in their places."""
    name = fresh()
    lab.root.sys.create_or_update_policy(name, EVERYTHING)
    if "approle/" not in lab.root.sys.list_auth_methods()["data"]:
        lab.root.sys.enable_auth_method("approle")
    lab.root.auth.approle.create_or_update_approle(name, token_policies=[name])
    login = tmp_path / "logins" / "keyturn-revoker"
    login.mkdir(parents=True, mode=0o700)
    role_id = lab.root.auth.approle.read_role_id(name)["data"]["role_id"]
    secret_id = lab.root.auth.approle.generate_secret_id(name)["data"]["secret_id"]
    for file, text in (("role-id", role_id), ("secret-id", secret_id)):
        (login / file).write_text(text)
        (login / file).chmod(0o400)
    shutil.copytree(ROOT / "deployments" / "catalogue", tmp_path / "catalogue")
    lines = re.findall(r"(?m)^\$ (export \w+=\S+)$", CARD.read_text())
    assert len(lines) == 4
    places = {
        "https://vault.example.com:8200": lab.world.hub_address,
        "/etc/keyturn/logins": str(tmp_path / "logins"),
        "/etc/keyturn/catalogue": str(tmp_path / "catalogue"),
    }
    for place, own in places.items():
        lines = [line.replace(place, own) for line in lines]
    if lab.world.hub_ca:
        lines.append(f"export VAULT_CACERT={lab.world.hub_ca}")
    before = lab.hub.read(SECRET)
    lab.root.secrets.kv.v2.create_or_update_secret(SECRET, {"username": "trainer_a", "password": f"pw-{name}"})
    yield lines
    lab.root.secrets.kv.v2.delete_metadata_and_all_versions(SECRET)
    if before:  # other tests read what was prepared
        fields = {name: value.reveal() for name, value in before.fields.items()}
        lab.root.secrets.kv.v2.create_or_update_secret(SECRET, fields)


def typed(command: str, exports: list[str], home: Path) -> "subprocess.CompletedProcess[str]":
    """One command of the card in a new shell of somebody who has nothing else."""
    environment = {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "COLUMNS": "160"}
    script = "\n".join([*exports, command])
    return subprocess.run(
        ["bash", "-c", script], env=environment, cwd=home, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_cards_variables_load_the_shipped_catalogue(exports: list[str], lab: Lab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    value = lab.hub.read(SECRET)
    assert isinstance(value and value.fields, SecretFields)
    (home / "leaked.txt").write_text(value.fields["password"].reveal() if value else "")
    whois, preview, revoke, show, report = re.findall(r"(?m)^\$ (keyturn .*)$", CARD.read_text())
    incident = f"CARD-{fresh()}"
    revoke, show, report = (line.replace("LEAK-1", incident) for line in (revoke, show, report))
    for command in (whois, preview):
        done = typed(command, exports, home)
        assert done.returncode == 0, done.stderr
        assert any("THE CATALOGUE IS BROKEN" in line for line in done.stderr.splitlines()[:3]), done.stderr
        for missing in ("KEYTURN_AZURE_VAULT_URL", "KEYTURN_GCP_PROJECT", "KEYTURN_TRAINER_URL"):
            assert missing in done.stderr
    ended = typed(revoke, exports, home)
    assert ended.returncode == 1, "no database answers at the catalogue's default address"
    assert "(KT107)" in ended.stderr, ended.stderr
    assert "NOLOGIN;" in ended.stderr
    shown = typed(show, exports, home)
    assert shown.returncode == 0, shown.stderr
    assert "KEYTURN_GCP_PROJECT is not set" in re.sub(r"\s+", " ", shown.stdout), "the incident keeps what was left out"
    assert typed(report, exports, home).returncode == 0
    assert any((home / "report").iterdir())
