"""The command line in a process of its own, on a catalogue of some of the lab's secrets."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cli.command import ROOT, surroundings
from tests.support.lab import Declared, Lab, catalogue_data
from tests.support.world import REGION


@dataclass(frozen=True)
class Shell:
    """Runs ``keyturn`` under ``directory``. ``consumers`` and ``targets`` stand in every catalogue."""

    lab: Lab
    directory: Path

    def catalogue(
        self, secret: Declared, consumers: dict[str, Any] | None = None, target: dict[str, Any] | None = None
    ) -> Path:
        """Write the catalogue of one secret; ``target`` are changes of the lab's database as a target."""
        store = {"kind": "aws-secrets-manager", "region": REGION}
        data = catalogue_data(self.lab.world, (secret,), store, consumers or {})
        data["targets"]["pg"] |= target or {}
        data["secrets"] = {secret.path: secret.data}
        place = self.directory / secret.path.replace("/", "-")
        place.mkdir(exist_ok=True)
        # Through JSON, since safe YAML has no tuples.
        (place / "all.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(data))))
        return place

    def run(
        self,
        *arguments: str,
        catalogue: Path,
        token: str | None = None,
        clock: float = 0,
        environment: Mapping[str, str] = {},
    ) -> "subprocess.CompletedProcess[str]":
        """Run one command to its end, as ``token``, in a process whose clock is wrong by ``clock`` seconds."""
        program = ["tests.support.wrong_clock", str(clock), "keyturn.cli"] if clock else ["keyturn.cli"]
        token = token or self.lab.world.hub_token
        env = self.environment(catalogue, **{"VAULT_TOKEN": token, **environment})
        command = [sys.executable, "-m", *program, *arguments]
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)

    def environment(self, catalogue: Path, **more: str) -> dict[str, str]:
        """That of a process at work on a catalogue, with the hub's root token unless ``more`` has another."""
        world = self.lab.world
        logins = {"VAULT_ADDR": world.hub_address, "VAULT_TOKEN": world.hub_token, **more}
        return surroundings(self.directory / "no", KEYTURN_CATALOGUE=str(catalogue), **logins)
