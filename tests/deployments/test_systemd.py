"""The systemd units are valid, confined and start Keyturn's commands correctly.

``systemd-analyze`` reads files; nothing is started.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml

from keyturn.cli.app import app
from keyturn.project.worker.metrics import VARIABLE
from local.debian import Program, release
from local.programs import find_program
from tests.support.compose import GIVEN, PRODUCTION, compose_file
from tests.support.programs import seeming_root

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deployments" / "systemd"
SERVICES: Final = sorted(file.name for file in FOLDER.glob("*.service"))
PROGRAMS: Final = "/opt/keyturn/bin"
EXPOSURE: Final = 17 if "bookworm" in release() else 15
"""Tenths, of 100: what is left is mostly the network, which is what a worker is for."""


@pytest.fixture(scope="module")
def analyze() -> Program:
    return find_program("systemd-analyze")


def run(analyze: Program, units: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """``systemd-analyze`` over a folder of units, beside those that systemd brings."""
    root = analyze.root or Path("/")
    environment = {
        **os.environ,
        **analyze.environment,
        "SYSTEMD_UNIT_PATH": f"{units}:{root}/usr/lib/systemd/system",
        "SYSTEMD_LOG_LEVEL": "warning",
    }
    # It makes a directory in /run, although it starts nothing.
    command = [*seeming_root(), str(analyze.path), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=units)


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units with their programs where this test has some: systemd looks whether they are there."""
    home = tmp_path_factory.mktemp("systemd")
    for name in ("entrypoint", "keyturn", "prefect"):
        (home / name).write_text("#!/bin/sh\n")
        (home / name).chmod(0o755)
    for file in FOLDER.glob("keyturn-*"):
        (home / file.name).write_text(file.read_text().replace(PROGRAMS, str(home)))
    return home


def test_systemd_finds_nothing_wrong_with_the_units(analyze: Program, units: Path) -> None:
    done = run(analyze, units, "verify", "--man=no", "--recursive-errors=no", *SERVICES, "keyturn-check.timer")
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_sees_a_word_that_it_does_not_know(analyze: Program, units: Path, tmp_path: Path) -> None:
    text = (units / "keyturn-worker.service").read_text()
    (tmp_path / "keyturn-worker.service").write_text(text.replace("NoNewPrivileges=", "NoNewPrivilege="))
    done = run(analyze, tmp_path, "verify", "--man=no", "--recursive-errors=no", "keyturn-worker.service")
    assert "Unknown key 'NoNewPrivilege'" in done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(analyze: Program, units: Path, name: str) -> None:
    done = run(analyze, units, "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", name)
    assert done.returncode == 0, done.stdout[-200:]


def settings(name: str) -> list[tuple[str, str]]:
    """The lines of a unit."""
    lines = (FOLDER / name).read_text().splitlines()
    return [(key, value) for key, sign, value in (line.partition("=") for line in lines if line[:1] != "#") if sign]


def given(name: str) -> dict[str, str]:
    """The variables that a unit itself gives."""
    words = (word for key, value in settings(name) if key == "Environment" for word in value.split())
    return dict(word.split("=", 1) for word in words)


def test_all_of_them_are_confined_in_the_same_way() -> None:
    confined = {
        (FOLDER / name).read_text().partition("# Nothing of the machine")[2].partition("\n\n")[0] for name in SERVICES
    }
    assert len({text.rstrip() for text in confined}) == 1


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.attack
def test_no_unit_contains_a_secret_and_each_login_is_a_copy_in_memory(name: str) -> None:
    credentials = dict(value.split(":", 1) for key, value in settings(name) if key == "LoadCredential")
    named = {value.removeprefix("%d/") for value in given(name).values() if value.startswith("%d/")}
    assert named == set(credentials)
    for variable, value in given(name).items():
        telling = re.search("(SECRET|PASSWORD|TOKEN|AUTH_STRING|KEY|PASS)(_ID)?(FILE|_FILE)?$", variable)
        assert not telling or value.startswith("%d/"), variable
    folder = dict(settings(name))["User"].removeprefix("keyturn-")
    assert {place.rpartition("/")[0] for place in credentials.values()} == {f"/etc/keyturn/{folder}"}
    assert ("prefect.password" in credentials) == ("keyturn serve" not in (FOLDER / name).read_text())


def test_the_files_of_a_login_are_those_of_the_containers() -> None:
    services = compose_file(PRODUCTION, GIVEN)["services"]
    for role in ("worker", "revoker", "notary", "serve"):
        container = services[f"{role}-1"]
        variables = container["environment"]
        files = {value.rpartition("/")[2] for value in variables.values() if value.startswith("/run/keyturn/login/")}
        loaded = {value.split(":")[0] for key, value in settings(f"keyturn-{role}.service") if key == "LoadCredential"}
        assert loaded == files - {"settings"}, role
        assert ("EnvironmentFile", f"/etc/keyturn/{role}/settings") in settings(f"keyturn-{role}.service")
        user = container["user"].split(":")[0]
        assert re.search(rf"(?m)^u keyturn-{role} {user} ", (FOLDER / "keyturn.sysusers").read_text()), role


def test_each_user_is_made() -> None:
    made = set(re.findall(r"(?m)^u (\S+)", (FOLDER / "keyturn.sysusers").read_text()))
    assert made == {dict(settings(name))["User"] for name in SERVICES}
    for name in SERVICES:
        assert dict(settings(name))["StateDirectory"] == name.removesuffix(".service")


def test_each_service_is_started_as_its_command_takes_it() -> None:
    group: Any = typer.main.get_command(app)
    queues, ports = {}, []
    for name in SERVICES:
        entrypoint, file, command, *words = dict(settings(name))["ExecStart"].split()
        assert entrypoint == f"{PROGRAMS}/entrypoint"
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        if file.endswith("/prefect"):
            assert options == {"--pool", "--work-queue", "--type", "--name", "--with-healthcheck"}
            queues[name] = next(word.partition("=")[2] for word in words if word.startswith("--work-queue"))
            ports.append(given(name)["PREFECT_WORKER_WEBSERVER_PORT"])
            ports.append(given(name)[VARIABLE].rpartition(":")[2])
        else:
            assert options <= {option for each in group.commands[command].params for option in each.opts}
            ports += [value.rpartition(":")[2] for key, value in given(name).items() if key == "KEYTURN_SERVE_LISTEN"]
    assert queues == {
        "keyturn-worker.service": "default",
        "keyturn-revoker.service": "emergency",
        "keyturn-notary.service": "notary",
    }
    assert len(ports) == len(set(ports)) == 10


def numbers_at(name: str) -> str:
    """Where a unit tells its numbers; empty for one that ends by itself."""
    return given(name).get(VARIABLE) or given(name).get("KEYTURN_SERVE_LISTEN", "")


def test_every_unit_that_runs_on_tells_its_numbers_where_the_guide_has_prometheus_ask(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    (example,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", guide, re.DOTALL)
    (scraped,) = yaml.safe_load(example)["scrape_configs"]
    asked = [target for each in scraped["static_configs"] for target in each["targets"]]
    told = {name.removesuffix(".service"): place for name in SERVICES if (place := numbers_at(name))}
    assert sorted(asked) == sorted(told.values())
    assert {place.partition(":")[0] for place in asked} == {"127.0.0.1"}
    assert dict(re.findall(r"(?m)^\| (keyturn-\w+) \| (127[^ ]+) \|", guide)) == told
    assert {name for name in SERVICES if not numbers_at(name)} == {"keyturn-check.service"}
    (tmp_path / "rules.yaml").write_text((ROOT / "deployments" / "prometheus" / "rules.yaml").read_text())
    (tmp_path / "prometheus.yaml").write_text(example.replace("/etc/prometheus/keyturn-rules", f"{tmp_path}/rules"))
    tool = find_program("promtool")
    command = [str(tool.path), "check", "config", str(tmp_path / "prometheus.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=tool.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_what_serves_tells_systemd_that_it_is_ready_and_what_works_ends_its_step() -> None:
    for name in SERVICES:
        (start,) = [value for key, value in settings(name) if key == "ExecStart"]
        kind = dict(settings(name))["Type"]
        assert kind == ("notify" if " serve " in start else "exec" if " worker " in start else "oneshot"), name
        assert (("KillMode", "mixed") in settings(name)) == (" worker " in start), name
