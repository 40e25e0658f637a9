"""``keyturn pki`` as its guide has it, word by word, against a real hub."""

import json
import re
from pathlib import Path

from local.openbao import OpenBao
from tests.cli.command import run_keyturn, surroundings
from tests.hub_setup.site import empty_hub
from tests.manual.lines import lines_of

GUIDE = Path(__file__).parents[2] / "docs" / "pki.md"
CATALOGUE, COMMANDS, *_ = re.findall(r"```(?:yaml|console)\n(.*?)```", GUIDE.read_text(), re.S)


def test_the_guides_catalogue_and_commands_do_what_it_says(openbao: OpenBao, tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "pki.yaml").write_text(CATALOGUE)
    with empty_hub(openbao, tmp_path) as empty:
        hub = {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token, "VAULT_NAMESPACE": empty.namespace}
        trust = {"VAULT_CACERT": openbao.ca_file or "", "KEYTURN_LEDGER": str(tmp_path / "ledger.db")}
        env = surroundings(tmp_path / "home", KEYTURN_CATALOGUE=str(tmp_path / "catalogue"), **hub, **trust)
        insist_on_guide(env)


def insist_on_guide(env: dict[str, str]) -> None:
    """Every command of the page, in its order, does what it says."""
    lines = COMMANDS.splitlines()
    mounted, *runs = [run_keyturn(*line.split()[1:], "--json", env=env) for line in lines_of("pki.md")]
    assert mounted.returncode == 0, mounted.stderr
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
    assert "error: check workers" in checked.stderr  # all that is wrong here: none is at work
    assert json.loads(checked.stdout)["authorities"] == listed["authorities"]
    shown = run_keyturn("status", env=env)
    assert "pki-example-root" in shown.stdout, shown
