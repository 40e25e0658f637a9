"""``keyturn pki`` as its guide has it, word by word, against a real hub."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.cli.command import run_keyturn, surroundings
from tests.manual.lines import lines_of
from tests.support.lab import Lab
from tests.support.world import TOKEN_VARIABLE

GUIDE = Path(__file__).parents[2] / "docs" / "pki.md"
CATALOGUE, COMMANDS, *_ = re.findall(r"```(?:yaml|console)\n(.*?)```", GUIDE.read_text(), re.S)


def test_the_guides_catalogue_and_commands_do_what_it_says(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "pki.yaml").write_text(CATALOGUE)
    hub = {"VAULT_ADDR": lab.world.hub_address, "VAULT_TOKEN": os.environ[TOKEN_VARIABLE]}
    env = surroundings(tmp_path / "home", KEYTURN_CATALOGUE=str(tmp_path / "catalogue"), **hub)
    early = run_keyturn("pki", "apply", env=env)
    assert early.returncode == 1
    assert "there is no PKI engine: mount one" in early.stderr
    lines = COMMANDS.splitlines()
    own = {**env, "BAO_ADDR": hub["VAULT_ADDR"], "BAO_TOKEN": hub["VAULT_TOKEN"], "BAO_CACERT": str(lab.world.hub_ca)}
    for line in lines:
        if line.startswith("$ bao "):
            done = subprocess.run([bao(), *line.split()[2:]], env=own, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    runs = [run_keyturn(*line.split()[1:], "--json", env=env) for line in lines_of("pki.md")]
    assert [run.returncode for run in runs] == [0, 0, 0, 0], runs
    planned, applied, after, listed = (json.loads(run.stdout) for run in runs)
    assert {step["step"] for step in planned["steps"]} == {"configure", "new issuer"}
    assert [step["place"] for step in applied["done"] if step["step"] == "new issuer"] == [
        "pki-example-root/keyturn-1",
        "pki-ml/keyturn-1",
    ]
    assert after == {"done": [], "steps": []}
    assert runs[2].stderr.splitlines()[-1] == lines[-2]
    stands = [(each["name"], each["state"], each["issuer"], each["key"]) for each in listed["authorities"]]
    assert stands == [("example-root", "in force", "keyturn-1", "p-384"), ("ml", "in force", "keyturn-1", "p-384")]
    checked = run_keyturn("due", "--check", "--json", env=env)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["authorities"] == listed["authorities"]
    shown = run_keyturn("status", env=env)
    assert "pki-example-root" in shown.stdout, shown


def bao() -> str:
    """The program as it comes with the tests' own packages."""
    return str(Path(sys.executable).parent / "bao")
