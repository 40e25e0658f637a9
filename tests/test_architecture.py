"""Import direction, SDK boundaries, naming, and the library's import cost.

All read from the sources.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

from keyturn.cli.commands import COMMANDS

ROOT = Path(__file__).parent.parent
HOUSE = ("keyturn", "blocks", "tasks", "flows", "deployments", "local", "tools")

SDKS = {
    "apprise",
    "cryptography",
    "hvac",
    "boto3",
    "botocore",
    "azure",
    "google",
    "grpc",
    "kubernetes",
    "nacl",
    "opentelemetry",
    "prometheus_client",
    "psycopg2",
    "pymysql",
    "redis",
    "requests",
    "sqlalchemy",
    "standardwebhooks",
}
WHERE_SDKS_LIVE = {"keyturn.providers": SDKS, "keyturn.client": {"standardwebhooks"}, "local": SDKS, "tools": SDKS}
"""Which parts may import which SDKs; the local servers are made of them."""

ARROWS = {
    "keyturn.core": set(),
    "keyturn.settings": {"keyturn.core"},
    "keyturn.strategies": {"keyturn.core", "keyturn.settings"},
    "keyturn.tokens": {"keyturn.core", "keyturn.settings"},
    "keyturn.ledger": {"keyturn.core"},
    "keyturn.access_log": {"keyturn.core", "keyturn.ledger"},
    "keyturn.client": {"keyturn.core"},
    "keyturn.catalogue": {
        "keyturn.core",
        "keyturn.settings",
        "keyturn.strategies",
        "keyturn.ledger",
        "keyturn.access_log",
    },
    "keyturn.pages": {"keyturn.core"},
    "keyturn.agent": {"keyturn.core", "keyturn.client", "keyturn.catalogue"},
    "keyturn.providers": {"keyturn.core", "keyturn.settings", "keyturn.ledger", "keyturn.access_log", "keyturn.client"},
    "keyturn.programs": {"keyturn.core", "keyturn.client", "keyturn.providers"},
    "keyturn.rotation": {"keyturn.core", "keyturn.catalogue"},
    "keyturn.sync": {"keyturn.core", "keyturn.settings", "keyturn.catalogue", "keyturn.rotation"},
    "keyturn.keys": {"keyturn.core", "keyturn.catalogue", "keyturn.rotation", "keyturn.sync"},
    "keyturn.inventory": {"keyturn.core", "keyturn.catalogue", "keyturn.rotation", "keyturn.sync"},
    "keyturn.recovery": {"keyturn.core", "keyturn.ledger", "keyturn.catalogue", "keyturn.rotation", "keyturn.sync"},
    "keyturn.wiring": {
        "keyturn.core",
        "keyturn.settings",
        "keyturn.strategies",
        "keyturn.ledger",
        "keyturn.access_log",
        "keyturn.client",
        "keyturn.catalogue",
        "keyturn.providers",
        "keyturn.rotation",
        "keyturn.recovery",
    },
    "keyturn.revocation": {
        "keyturn.core",
        "keyturn.settings",
        "keyturn.strategies",
        "keyturn.ledger",
        "keyturn.access_log",
        "keyturn.catalogue",
        "keyturn.pages",
        "keyturn.rotation",
        "keyturn.keys",
    },
    "keyturn.grants": {
        "keyturn.core",
        "keyturn.settings",
        "keyturn.ledger",
        "keyturn.catalogue",
        "keyturn.rotation",
        "keyturn.revocation",
    },
    "keyturn.serving": {
        "keyturn.core",
        "keyturn.ledger",
        "keyturn.access_log",
        "keyturn.client",
        "keyturn.catalogue",
        "keyturn.pages",
        "keyturn.agent",
        "keyturn.rotation",
        "keyturn.sync",
        "keyturn.keys",
        "keyturn.recovery",
        "keyturn.grants",
    },
    "keyturn.rights": {
        "keyturn.core",
        "keyturn.settings",
        "keyturn.strategies",
        "keyturn.ledger",
        "keyturn.catalogue",
        "keyturn.rotation",
        "keyturn.keys",
        "keyturn.revocation",
        "keyturn.grants",
        "keyturn.serving",
    },
    "keyturn.organisations": {
        "keyturn.core",
        "keyturn.strategies",
        "keyturn.ledger",
        "keyturn.catalogue",
        "keyturn.rotation",
        "keyturn.revocation",
        "keyturn.grants",
        "keyturn.rights",
    },
    "keyturn.doctor": {
        "keyturn.core",
        "keyturn.ledger",
        "keyturn.catalogue",
        "keyturn.pages",
        "keyturn.rotation",
        "keyturn.sync",
        "keyturn.recovery",
        "keyturn.wiring",
        "keyturn.revocation",
        "keyturn.serving",
        "keyturn.rights",
    },
    "keyturn.evidence": {
        "keyturn.core",
        "keyturn.settings",
        "keyturn.ledger",
        "keyturn.access_log",
        "keyturn.catalogue",
        "keyturn.pages",
        "keyturn.rotation",
        "keyturn.sync",
        "keyturn.keys",
        "keyturn.recovery",
        "keyturn.grants",
        "keyturn.rights",
    },
    "keyturn.project": {
        "keyturn.core",
        "keyturn.settings",
        "keyturn.client",
        "keyturn.catalogue",
        "keyturn.agent",
        "keyturn.providers",
        "keyturn.programs",
        "keyturn.wiring",
        "keyturn.serving",
    },
    "keyturn.sync_processes": {
        "keyturn.core",
        "keyturn.settings",
        "keyturn.catalogue",
        "keyturn.providers",
        "keyturn.rotation",
        "keyturn.sync",
        "keyturn.wiring",
        "keyturn.project",
    },
    "keyturn.revocation.report.facts": {
        "keyturn.keys",
        "keyturn.core",
        "keyturn.settings",
        "keyturn.ledger",
        "keyturn.access_log",
        "keyturn.rotation",
        "keyturn.revocation",
        "keyturn.wiring",
    },
    "keyturn.evidence.make_report": {
        "keyturn.core",
        "keyturn.settings",
        "keyturn.ledger",
        "keyturn.access_log",
        "keyturn.pages",
        "keyturn.rotation",
        "keyturn.evidence",
        "keyturn.wiring",
    },
    "keyturn": set(),
}
"""Each room of the library, and the rooms that it imports. `wiring` connects the catalogue to the providers."""

LIBRARY = set(ARROWS)
FLOORS = {
    "keyturn.cli": LIBRARY,
    "keyturn.__main__": {"keyturn.cli"},
    "blocks": LIBRARY,
    "tasks": LIBRARY | {"keyturn.cli", "blocks"},
    "flows": LIBRARY | {"keyturn.cli", "blocks", "tasks"},
    "deployments": LIBRARY | {"keyturn.cli", "blocks", "tasks", "flows"},
    "local": LIBRARY | {"keyturn.cli", "blocks", "tasks", "flows", "deployments"},
    "tools": LIBRARY | {"keyturn.cli", "blocks", "tasks", "flows", "deployments", "local"},
}
ALLOWED = {**ARROWS, **FLOORS}

MODULES: Final = 25
"""How many modules a folder has at most."""

FLOW_LINES: Final = 40

LIGHT = (*sorted(SDKS), "pydantic", "prefect", "yaml")
"""What an application does not pay for when it imports the library."""


@dataclass(frozen=True)
class Import:
    """One imported module, and the line that imports it."""

    file: Path
    line: int
    module: str
    within: bool
    """Whether it stands in a function, or is for type checkers alone."""

    @property
    def importer(self) -> str:
        """The importing module's own name."""
        parts = self.file.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def sources(*parts: str) -> Iterator[Path]:
    for part in parts:
        yield from sorted((ROOT / part).rglob("*.py"))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


@cache
def nodes(file: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(parsed(file)))


def imports(*parts: str) -> Iterator[Import]:
    """Every import statement, those inside functions and those for type checkers too."""
    for file in sources(*parts):
        module = parsed(file)
        outside = set(map(id, module.body))
        for node in nodes(file):
            within = id(node) not in outside
            if isinstance(node, ast.Import):
                yield from (Import(file, node.lineno, alias.name, within) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (Import(file, node.lineno, name, within) for name in named(node))


def named(node: ast.ImportFrom) -> Iterator[str]:
    """``from keyturn.core import hub`` may import a module: both names count where they are ours."""
    assert node.level == 0, "imports are absolute here"
    assert node.module is not None
    yield node.module
    if node.module in ALLOWED:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(module: str, parts: set[str]) -> str | None:
    """The most specific of ``parts`` that ``module`` belongs to."""
    inside = [part for part in parts if module == part or module.startswith(f"{part}.")]
    return max(inside, key=len, default=None)


def test_there_is_something_to_look_at() -> None:
    assert len(list(sources(*HOUSE))) > 60
    assert len(list(imports("keyturn"))) > 200


def test_imports_follow_the_arrows() -> None:
    against = []
    for found in imports(*HOUSE):
        here, there = part_of(found.importer, set(ALLOWED)), part_of(found.module, set(ALLOWED))
        assert here is not None
        if there not in (None, here, "keyturn") and there not in ALLOWED[here]:
            against.append(f"{found}: {here} does not stand on {there}")
    assert against == []


def test_every_part_of_the_library_has_its_arrows() -> None:
    parts = {f"keyturn.{folder.name}" for folder in (ROOT / "keyturn").iterdir() if (folder / "__init__.py").exists()}
    assert parts <= set(ALLOWED)


def dependencies() -> dict[str, set[str]]:
    """Which file imports which, by their modules' names: also within functions, and for type checkers alone."""
    modules = {module_of(file) for file in sources(*HOUSE)}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for file in sources(*HOUSE):
        for node in nodes(file):
            if isinstance(node, ast.Import):
                graph[module_of(file)].update(alias.name for alias in node.names if alias.name in modules)
            elif isinstance(node, ast.ImportFrom) and node.module in modules:
                children = {f"{node.module}.{alias.name}" for alias in node.names} & modules
                graph[module_of(file)].update(
                    children if len(children) == len(node.names) else {node.module, *children}
                )
    return {module: imported - {module} for module, imported in graph.items()}


def module_of(file: Path) -> str:
    """A file's module."""
    return Import(file, 0, "", within=False).importer


def test_no_two_files_import_each_other() -> None:
    try:
        assert list(TopologicalSorter(dependencies()).static_order())
    except CycleError as error:
        pytest.fail(f"these import each other: {' -> '.join(error.args[1])}")


def test_no_folder_has_more_modules_than_one_can_look_through() -> None:
    folders = Counter(file.parent for file in sources(*HOUSE) if file.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): count for folder, count in folders.items() if count > MODULES} == {}


def test_each_room_keeps_to_its_lines() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| ((?:`[\w/]+`(?:, )?)+) \| .* \| ([\d,]+) \|$", page, re.M)
    budgets = {tuple(re.findall(r"`([\w/]+)`", rooms)): int(lines.replace(",", "")) for rooms, lines in rows}
    lines = {rooms: sum(len(file.read_text().splitlines()) for file in sources(*rooms)) for rooms in budgets}
    assert {rooms: count for rooms, count in lines.items() if count > budgets[rooms]} == {}
    described = {Path(room).name for rooms in budgets for room in rooms}
    assert described >= {part.rpartition(".")[2] for part in ALLOWED} - {"keyturn", "__main__", "facts", "make_report"}


@pytest.mark.parametrize(("file", "name"), [("rotate", "rotate_secret"), ("emergency", "emergency_revoke")])
def test_a_flow_shows_its_steps_on_one_screen(file: str, name: str) -> None:
    (flow,) = [node for node in parsed(ROOT / "flows" / f"{file}.py").body if getattr(node, "name", "") == name]
    assert isinstance(flow, ast.AsyncFunctionDef)
    assert (flow.end_lineno or 0) - flow.lineno < FLOW_LINES


def test_the_arrows_go_one_way() -> None:
    def below(part: str) -> set[str]:
        return ALLOWED[part] | {further for step in ALLOWED[part] for further in below(step)}

    assert all(part not in below(part) for part in ALLOWED)


def test_sdks_are_imported_at_the_edge_alone() -> None:
    outside = []
    for found in imports(*HOUSE):
        sdk = found.module.partition(".")[0]
        here = part_of(found.importer, set(WHERE_SDKS_LIVE))
        if sdk in SDKS and sdk not in WHERE_SDKS_LIVE.get(here or "", set()):
            outside.append(str(found))
    assert outside == []


def test_prefect_is_imported_by_its_own_processes_alone() -> None:
    imported = [found for found in imports("keyturn") if found.module.partition(".")[0] == "prefect"]
    elsewhere = [found for found in imported if part_of(found.importer, set(ALLOWED)) != "keyturn.project"]
    assert [
        str(found) for found in elsewhere if found.importer.partition(".cli.")[0] != "keyturn" or not found.within
    ] == []


def test_the_core_has_no_input_output_but_in_one_module_and_no_clock() -> None:
    forbidden = {"os", "socket", "subprocess", "threading", "time", "pathlib", "pydantic", "yaml", "logging"}
    found = [each for each in imports("keyturn/core") if each.module.partition(".")[0] in forbidden]
    assert [str(each) for each in found if each.importer != "keyturn.core.files"] == []


def test_nothing_imports_the_tests() -> None:
    assert [str(found) for found in imports(*HOUSE) if found.module.partition(".")[0] == "tests"] == []


@pytest.mark.parametrize("module", ["keyturn", "keyturn.core.errors", "keyturn.rotation", "keyturn.strategies"])
def test_importing_it_loads_no_sdk(module: str) -> None:
    assert loaded(module, LIGHT) == []


def test_an_application_pays_for_little_when_it_imports_the_client() -> None:
    dear = ("asyncio", "difflib", "hashlib", "http", "pathlib", "secrets", "socket", "ssl", "subprocess", "uuid")
    for_some = ("credentials", "host", "metrics", "offline_cache", "pool", "webhook")
    own = [f"keyturn.client.{module}" for module in for_some]
    assert loaded("keyturn.client.client", (*LIGHT, *dear, *own)) == []


def test_help_imports_no_command() -> None:
    look = "import sys; sys.argv = ['keyturn', '--help']; import keyturn.cli, atexit; "
    look += "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); keyturn.cli.main()"
    shown = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    imported = set(shown.stderr.split())
    assert "keyturn.cli.commands" in imported
    places = {place.partition(":")[0] for place in COMMANDS.values()}
    modules = {place if place.startswith("local.") else f"keyturn.cli.{place}" for place in places}
    assert imported & {*modules, *LIGHT, "jinja2", "keyturn.catalogue"} == set()


def test_the_catalogue_and_the_protocol_load_no_sdk() -> None:
    assert loaded("keyturn.wiring.registry", (*sorted(SDKS), "prefect")) == []


def test_a_store_in_kubernetes_makes_no_classes_of_models_that_it_does_not_use() -> None:
    assert loaded("keyturn.providers.kubernetes.store", ("kubernetes",)) == []


def loaded(module: str, unwanted: tuple[str, ...]) -> list[str]:
    """Which of ``unwanted`` a fresh interpreter has loaded after importing ``module``."""
    names = "{part for name in sys.modules for part in (name, name.partition('.')[0])}"
    look = f"import {module}, sys; print(*sorted(set(sys.argv[1:]) & {names}))"
    told = subprocess.run(
        [sys.executable, "-c", look, *unwanted], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return told.stdout.split()


PRONOUNS = frozenset(
    {"one", "said", "told", "found", "known", "here", "kept", "asked", "given", "seen", "stood", "meant"}
)
"""What no variable and no parameter is called: the noun says what it holds."""

LAYERED = frozenset({"rotate", "main"})
"""A verb of the protocol keeps its name from the command line down to the library, and a program's entry is `main`."""


def defined(file: Path) -> Iterator[str]:
    """The public functions and classes of a module; constants say something of their own module alone."""
    for node in parsed(file).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name


def test_a_public_name_stands_for_one_thing() -> None:
    modules: dict[str, list[str]] = {}
    for file in sources("keyturn"):
        for name in set(defined(file)) - LAYERED:
            modules.setdefault(name, []).append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in modules.items() if len(files) > 2} == {}


def bound(node: ast.AST) -> str | None:
    """The variable or parameter that a node binds."""
    if isinstance(node, ast.arg):
        return node.arg
    return node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else None


def functions(file: Path) -> Iterator[ast.AST]:
    """Every function of a module; fields of classes are data, and keep the names that are stored."""
    yield from (node for node in nodes(file) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_variables_are_nouns() -> None:
    pronouns = {
        f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} {bound(node)}"
        for file in sources("keyturn", "flows", "tasks", "blocks")
        for function in functions(file)
        for node in ast.walk(function)
        if bound(node) in PRONOUNS
    }
    assert sorted(pronouns) == []
