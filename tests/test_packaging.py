"""What is shipped: the wheel's contents, what a bare installation can do, the locks, and the licences."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import supply_chain

ROOT = Path(__file__).parents[1]
PROJECT = ("flows", "tasks", "blocks", "deployments")
INSIDE = "keyturn/project/"
"""Where the wheel carries the folders of the Prefect project."""

LOCKS = ("requirements.lock", "requirements-image.lock", *supply_chain.ALONE)

LGPL = frozenset({"psycopg2-binary"})
"""The one dependency under a licence that isn't permissive: linked to, never changed or copied."""

FILE_COPYLEFT = frozenset({"axe-playwright-python", "hypothesis"})
"""MPL-2.0, of the first one file (axe-core), and used by the tests alone."""

OF_THE_TESTS = frozenset({"furl", "orderedmultidict", "paramiko"})
"""What compliance-trestle needs, which the tests alone use: public domain twice, and paramiko is under the LGPL."""

MPL_BELOW = frozenset({"certifi", "pathspec", "text-unidecode"})
"""Needed by what we need: MPL-2.0 twice; the last is under the Artistic License, at one's choice."""

AGREEABLE = re.compile(r"MIT|Apache|BSD|ISC|PSF|Python Software Foundation|Zlib|CC0|0BSD|Unlicense")
"""Of whatever is locked, however it spells it."""

PERMISSIVE = re.compile(r"\b(MIT|Apache|BSD-[23]-Clause|BSD License)\b")

BARE = """
import importlib, importlib.abc, json, sys

absent = set(json.loads(sys.argv[1]))

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"{name} is no base dependency", name=name)

sys.meta_path.insert(0, Absent())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""

ALONE = (
    "keyturn",
    "keyturn.catalogue",
    "keyturn.client.webhooks.receiver",
    "keyturn.core.schedule.due",
    "keyturn.wiring.registry",
    "keyturn.providers.vault.hub",
    "keyturn.providers.http.webhook",
    "keyturn.revocation.report.render",
    "keyturn.revocation.run",
    "keyturn.rotation.run",
    "keyturn.strategies.database_users",
)
"""What works without any extra."""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(target.glob("*.whl")))


@pytest.fixture(scope="module")
def installed(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel's files lie as an installation has them."""
    place = tmp_path_factory.mktemp("installed")
    wheel.extractall(place)
    return place


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def sources() -> set[str]:
    """Every module, by its path in the wheel."""
    library = {str(path.relative_to(ROOT)) for path in (ROOT / "keyturn").rglob("*.py")}
    project = (path for folder in PROJECT for path in (ROOT / folder).rglob("*.py"))
    return library | {f"{INSIDE}{path.relative_to(ROOT)}" for path in project}


OWN = {"keyturn", "keyturn-local"}
"""The two distributions of this repository."""


def requirements(texts: list[str]) -> dict[str, Requirement]:
    """The requirements by their canonical name."""
    return {canonicalize_name(Requirement(text).name): Requirement(text) for text in texts}


def direct(project: dict[str, Any]) -> set[str]:
    """All that the project names itself, in its base and in every extra."""
    groups = (project["dependencies"], *project["optional-dependencies"].values())
    return {name for group in groups for name in requirements(group)} - OWN


def locked(text: str) -> dict[str, str]:
    """Each locked package with the lines that belong to it."""
    entries = re.split(r"\n(?=\S)", text.strip())
    return {canonicalize_name(entry.partition("==")[0]): entry for entry in entries}


def test_the_wheel_holds_every_module_and_nothing_of_the_tests(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    assert sources() <= held
    assert {name.partition("/")[0] for name in held if ".dist-info/" not in name} == {"keyturn"}
    assert not [name for name in held if "__pycache__" in name or "/tests/" in name]


def test_the_wheel_holds_what_an_operator_starts_from(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    kinds = ("policies/*.hcl", "catalogue/*.yaml", "catalogue/schema.json")
    wanted = {f"{INSIDE}{path.relative_to(ROOT)}" for kind in kinds for path in (ROOT / "deployments").glob(kind)}
    named = {f"{INSIDE}deployments/policies/keyturn-worker.hcl", f"{INSIDE}deployments/catalogue/schema.json"}
    assert named <= wanted <= held
    assert {f"{INSIDE}prefect.yaml", "keyturn/py.typed"} <= held
    assert wheel.read(f"{INSIDE}prefect.yaml") == (ROOT / "prefect.yaml").read_bytes()


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["deployments.production_check"], 1, "required variable VAULT_ADDR"),
        (["deployments.prefect_services"], 2, "their plans are in no Redis"),
        (["deployments.no_such"], 2, "there is no such program"),
        (["json.tool"], 2, "it is no program of Keyturn's"),
    ],
)
def test_an_installation_starts_the_programs_of_the_project(
    installed: Path, tmp_path: Path, words: list[str], status: int, told: str
) -> None:
    command = [sys.executable, "-P", "-m", "keyturn.project", *words]
    alone = {"PYTHONPATH": str(installed), "PREFECT_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone, cwd=tmp_path, timeout=120)
    assert done.returncode == status, done.stderr
    assert told in done.stderr


def test_the_wheel_holds_the_templates_of_reports(wheel: zipfile.ZipFile) -> None:
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "keyturn").rglob("templates/*")}
    assert "keyturn/revocation/report/templates/report.html.j2" in templates
    assert templates <= set(wheel.namelist())


def test_the_wheel_carries_its_licence(wheel: zipfile.ZipFile, metadata: Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    text = next(name for name in wheel.namelist() if name.endswith("/licenses/LICENSE"))
    assert wheel.read(text) == (ROOT / "LICENSE").read_bytes()
    assert b"Apache License" in wheel.read(text)


def test_the_base_holds_neither_prefect_nor_a_cloud(metadata: Message) -> None:
    base = {name for name, told in requirements(metadata.get_all("Requires-Dist", [])).items() if not told.marker}
    assert base == {
        "cronsim",
        "hvac",
        "jinja2",
        "markupsafe",
        "mnemonic",
        "msgspec",
        "platformdirs",
        "pydantic",
        "pyyaml",
        "requests",
        "rich",
        "standardwebhooks",
        "typer",
        "tzdata",
    }


def test_every_extra_is_offered(metadata: Message) -> None:
    extras = {
        "flows",
        "aws",
        "azure",
        "gcp",
        "postgres",
        "mysql",
        "redis",
        "certificates",
        "github",
        "agent",
        "mcp",
        "kubernetes",
        "prometheus",
        "opentelemetry",
        "serve",
        "trail",
        "traces",
        "backup",
        "scale",
        "image",
        "local",
        "dev",
        "all",
    }
    assert set(metadata.get_all("Provides-Extra", [])) == extras


def modules_of(distributions: set[str]) -> list[str]:
    """The importable names that these distributions, and all that they need, bring."""
    wanted, seen = list(distributions), set()
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name in seen:
            continue
        seen.add(name)
        needs = map(Requirement, importlib.metadata.requires(name) or ())
        wanted += [need.name for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
    brought = importlib.metadata.packages_distributions().items()
    return sorted(module for module, from_ in brought if {canonicalize_name(each) for each in from_} & seen)


def test_the_library_works_with_the_base_alone(project: dict[str, Any]) -> None:
    base = {"keyturn", *modules_of(set(requirements(project["dependencies"])))}
    absent = set(importlib.metadata.packages_distributions()) - base
    assert {"prefect", "boto3", "botocore", "azure", "google", "psycopg2", "moto"} <= absent
    done = subprocess.run(
        [sys.executable, "-c", BARE, json.dumps(sorted(absent)), *ALONE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_module_that_is_absent_can_not_be_imported_here() -> None:
    asked = [sys.executable, "-c", BARE, json.dumps(["boto3"]), "boto3"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert "boto3 is no base dependency" in done.stderr


def test_what_the_local_stack_needs_is_installed_for_development_too(project: dict[str, Any]) -> None:
    local = tomllib.loads((ROOT / "local" / "pyproject.toml").read_text())["project"]
    own, *others = local["dependencies"]
    assert set(others) <= set(project["optional-dependencies"]["dev"])
    assert own.replace(f"=={project['version']}", "") == project["optional-dependencies"]["all"][0]
    assert project["optional-dependencies"]["local"] == [f"keyturn-local=={local['version']}"]
    assert local["version"] == project["version"]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_versions_and_hashes_and_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"(?m)^\s*(-i|-f|-e|--(?!hash=))", text)
    for name, entry in locked(text).items():
        assert re.match(r"[\w.-]+==\S+( ; [^\\]+)?( \\)?\n", entry + "\n"), name
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry), name


def test_the_lock_holds_all_that_the_project_names_and_what_builds_it(project: dict[str, Any]) -> None:
    entries = locked((ROOT / "requirements.lock").read_text())
    assert direct(project) | {"hatchling", "editables"} <= set(entries)
    assert "keyturn" not in entries


def test_the_lock_holds_versions_that_the_project_allows(project: dict[str, Any]) -> None:
    entries = locked((ROOT / "requirements.lock").read_text())
    groups = (project["dependencies"], *project["optional-dependencies"].values())
    for name, wanted in (item for group in groups for item in requirements(group).items()):
        if name not in OWN:
            version = re.match(r"[\w.-]+==(\S+)", entries[name])
            assert version, name
            assert wanted.specifier.contains(version[1], prereleases=True), f"{name} {version[1]}"


def licence(name: str) -> str:
    """What a distribution says of its licence, in its own words or by its classifiers."""
    told = importlib.metadata.metadata(name)
    classifiers = [text for text in told.get_all("Classifier") or () if text.startswith("License ::")]
    words = [told[field] for field in ("License-Expression", "License") if field in told]
    return " | ".join(filter(None, (*words, *classifiers))) or supply_chain.licence(name)


def test_dependencies_have_permissive_licences_but_for_the_named_exceptions(project: dict[str, Any]) -> None:
    for name in direct(project) - LGPL - FILE_COPYLEFT:
        assert PERMISSIVE.search(licence(name)), f"{name}: {licence(name)}"
        assert "GPL" not in licence(name), name


def test_the_exceptions_are_what_they_are_named_for(project: dict[str, Any]) -> None:
    assert all("LGPL" in licence(name) for name in LGPL)
    dev = requirements(project["optional-dependencies"]["dev"])
    others = direct({**project, "optional-dependencies": {**project["optional-dependencies"], "dev": []}})
    assert all("MPL-2.0" in licence(name) and name in dev and name not in others for name in FILE_COPYLEFT)


def test_every_locked_package_is_listed_with_its_licence() -> None:
    assert (ROOT / "docs" / "licences.md").read_text() == supply_chain.table(), "make licences"


def test_no_locked_package_has_a_licence_that_nobody_has_agreed_to() -> None:
    agreed = LGPL | FILE_COPYLEFT | MPL_BELOW | OF_THE_TESTS
    foreign = {entry.name: entry.licence for entry in supply_chain.packages() if not AGREEABLE.search(entry.licence)}
    assert foreign.keys() | FILE_COPYLEFT == agreed, foreign
    table = supply_chain.table()
    assert all(re.search(rf"^\| {name} \|.*\| development \|$", table, re.M) for name in OF_THE_TESTS)


def test_the_bill_of_materials_names_every_locked_package_with_the_hashes_of_its_files(tmp_path: Path) -> None:
    target = tmp_path / "dist" / "bom.json"
    assert supply_chain.main(["sbom", str(target)]) == 0
    bill = json.loads(target.read_text())
    head = bill["bomFormat"], bill["specVersion"], bill["metadata"]["component"]["name"]
    assert head == ("CycloneDX", "1.6", "keyturn")
    entries = locked((ROOT / "requirements.lock").read_text())
    components = {component["name"]: component for component in bill["components"]}
    assert set(components) == set(entries)
    for name, entry in entries.items():
        assert {item["content"] for item in components[name]["hashes"]} == set(re.findall(r"sha256:(\w+)", entry))
    assert components["hvac"]["scope"] == "required"
    assert components["pytest"]["scope"] == "excluded"


@pytest.mark.parametrize(
    ("answer", "required", "code", "words"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], "", 0, "nothing is known"),
        ([{"name": "a", "version": "1", "vulns": [{"id": "X", "fix_versions": ["2"]}]}], "", 1, "a 1: X, mended in 2"),
        ([{"name": "a", "version": "1", "skip_reason": "?"}], "", 0, f"{len(LOCKS)} of .* were NOT looked up"),
        (None, "", 0, "were NOT looked up"),
        (None, "required", 1, "were NOT looked up"),
    ],
)
def test_the_audit_says_what_it_could_not_look_up(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: Any,
    required: str,
    code: int,
    words: str,
) -> None:
    monkeypatch.setenv(supply_chain.REQUIRED, required)
    monkeypatch.setattr(supply_chain, "asked", lambda lock: answer)
    assert supply_chain.main(["audit"]) == code
    assert re.search(words, capsys.readouterr().out)


def test_setting_up_without_a_usable_python_says_what_to_install(tmp_path: Path) -> None:
    given = {**os.environ, "KEYTURN_PYTHON": str(tmp_path / "nowhere")}
    setup = ["bash", str(ROOT / "deployments" / "setup.sh"), str(tmp_path / "venv")]
    done = subprocess.run(setup, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr
    assert not list(tmp_path.iterdir())
