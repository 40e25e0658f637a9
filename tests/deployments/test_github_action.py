"""The GitHub Action's script: its checks, comments and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ACTION = Path(__file__).parents[2] / "deployments" / "github-action"
EXAMPLE = Path(__file__).parents[2] / "deployments" / "catalogue"

GH = """#!{python}
import json, pathlib, sys
body = [word.partition("@")[2] for word in sys.argv if word.startswith("body=@")]
call = {{"arguments": sys.argv[1:], "body": pathlib.Path(body[0]).read_text() if body else ""}}
with open({calls!r}, "a") as calls:
    calls.write(json.dumps(call) + "\\n")
if "--jq" in sys.argv:
    print({before!r})
"""

KEYTURN = """#!{python}
import sys
if sys.argv[1] == "plan":
    print({plan!r})
    sys.exit({ended})
from keyturn.cli import main
main()
"""


def script(file: Path, text: str) -> None:
    """A program of this name."""
    file.write_text(text)
    file.chmod(0o755)


def check(directory: Path, plan: str = "", ended: int = 0, before: str = "", **env: str) -> tuple[int, str, list[dict]]:  # type: ignore[type-arg]
    """Run the script; how it ended, what it said, and what it asked gh for."""
    programs, calls = directory / "bin", directory / "calls"
    programs.mkdir()
    script(programs / "gh", GH.format(python=sys.executable, calls=str(calls), before=before))
    script(programs / "keyturn", KEYTURN.format(python=sys.executable, plan=plan, ended=ended))
    around = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ACTION.parents[1]),
        "HOME": str(directory),
        "CATALOGUE": str(EXAMPLE),
        "REPOSITORY": "shop/secrets",
        "PULL_REQUEST": "7",
        "GITHUB_STEP_SUMMARY": str(directory / "summary"),
        **env,
    }
    done = subprocess.run(
        ["bash", str(ACTION / "check.sh")], env=around, capture_output=True, text=True, check=False, timeout=60
    )
    made = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
    return done.returncode, done.stdout + done.stderr, made


def test_a_sound_catalogue_passes_without_a_login_and_nobody_is_told(tmp_path: Path) -> None:
    ended, said, calls = check(tmp_path)
    assert (ended, calls) == (0, [])
    assert "not checked: " in said


def test_a_broken_catalogue_fails_and_no_plan_is_made(tmp_path: Path) -> None:
    broken = tmp_path / "catalogue"
    broken.mkdir()
    (broken / "all.yaml").write_text("stores: {aws: {kind: none}}\n")
    ended, said, calls = check(tmp_path, CATALOGUE=str(broken), PLAN="true", GH_TOKEN="t")
    assert (ended, calls) == (1, [])
    assert "1 problem" in said


@pytest.mark.attack
def test_a_plan_is_a_comment_that_can_be_nothing_but_text(tmp_path: Path) -> None:
    plan = "create  a/b\n~~~~\n@everybody look <b>here</b>"
    ended, _, calls = check(tmp_path, plan, PLAN="true", GH_TOKEN="t")
    _, comment = calls
    assert ended == 0
    assert comment["arguments"][:4] == ["api", "--silent", "-X", "POST"]
    assert comment["arguments"][4] == "repos/shop/secrets/issues/7/comments"
    fence = [number for number, line in enumerate(comment["body"].splitlines()) if line.startswith("~~~")]
    lines = comment["body"].splitlines()
    assert (len(fence), fence[-1]) == (2, len(lines) - 1)
    assert any("@everybody" in line for line in lines[fence[0] : fence[1]])


def test_a_later_plan_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    ended, _, calls = check(tmp_path, "nothing to do", before="42\n43", PLAN="true", GH_TOKEN="t")
    assert ended == 0
    assert calls[1]["arguments"][2:5] == ["-X", "PATCH", "repos/shop/secrets/issues/comments/42"]


@pytest.mark.parametrize("token", ["", "t"])
def test_a_plan_with_trouble_is_told_and_fails_the_job(tmp_path: Path, token: str) -> None:
    ended, _, calls = check(tmp_path, "blocked  a/b", ended=1, PLAN="true", GH_TOKEN=token)
    assert ended == 1
    told = calls[1]["body"] if token else (tmp_path / "summary").read_text()
    assert "The plan has trouble" in told
    assert "blocked  a/b" in told


def test_a_plan_that_is_too_long_for_a_comment_is_cut(tmp_path: Path) -> None:
    _, _, calls = check(tmp_path, "create  a/b\n" * 10_000, PLAN="true", GH_TOKEN="t")
    assert len(calls[1]["body"]) < 65_536
    assert calls[1]["body"].endswith("see the log of this job\n~~~~\n")


@pytest.mark.attack
def test_the_action_uses_no_other_and_puts_no_input_into_a_script() -> None:
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    steps = action["runs"]["steps"]
    assert all("uses" not in step and "${{" not in step["run"] for step in steps)
    assert set(action["inputs"]) == {"catalogue", "keyturn", "plan", "token"}
