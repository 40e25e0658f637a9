"""``python -m tools.supply_chain audit | sbom FILE | licences FILE``: what the locked packages bring along.

``audit`` asks the public list of vulnerabilities about every locked version. Where it can't be asked, the audit says
so; with ``KEYTURN_AUDIT=required`` that is a failure, too. ``sbom`` writes a bill of materials (CycloneDX 1.6, JSON),
``licences`` a table for people.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "requirements.lock"
IMAGE_LOCK: Final = ROOT / "requirements-image.lock"
ALONE: Final = ("requirements-setup.txt", "requirements-helm.lock", "requirements-node.lock")
LOCKS: Final = (LOCK, IMAGE_LOCK, *(ROOT / name for name in ALONE))
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCAL: Final = tomllib.loads((ROOT / "local" / "pyproject.toml").read_text())["project"]
"""The distribution `keyturn-local`."""
REQUIRED: Final = "KEYTURN_AUDIT"

ELSEWHERE: Final = {
    "async-timeout": "Apache-2.0",
    "httpx2-jsfetch": "BSD-3-Clause",
    "pendulum": "MIT License",
    "pywin32": "PSF-2.0",
}
"""The licences of what is locked for other systems or Pythons, and so isn't installed where this runs."""

UNDECLARED: Final = {"axe-playwright-python": "MPL-2.0 AND MIT"}
"""The licences of what is installed and declares none: those of its files."""

UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Package:
    """One locked distribution. ``hashes`` are SHA-256 of its files; ``shipped`` is whether Keyturn runs with it."""

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str
    shipped: bool


def packages(lock: Path = LOCK) -> list[Package]:
    """All that the lock names, by name."""
    shipped = runtime() | {*ELSEWHERE}
    return [
        Package(name, version, tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest)), licence(name), name in shipped)
        for name, version, rest in re.findall(r"^([\w.-]+)==([^\s;]+)((?:.*\\\n)*.*)", lock.read_text(), re.M)
    ]


def runtime() -> set[str]:
    """The distributions that Keyturn needs with all of its extras, those that need what it needs included."""
    needed: set[tuple[str, str]] = set()
    left = direct()
    while left:
        requirement = left.pop()
        for extra in ("", *requirement.extras):
            entry = canonicalize_name(requirement.name), extra
            if entry not in needed:
                needed.add(entry)
                left += needs(*entry)
    return {name for name, _ in needed}


def direct() -> list[Requirement]:
    """What Keyturn itself names, in any extra but that of its developers."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *LOCAL["dependencies"]]
    lines += [line for name in extras if name != "dev" for line in extras[name]]
    own = {PROJECT["name"], LOCAL["name"]}
    return [requirement for requirement in parsed(lines) if requirement.name not in own]


def needs(name: str, extra: str) -> list[Requirement]:
    """What a distribution needs with an extra, or without any; of one that isn't installed nothing is known."""
    try:
        lines = importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:
        return []
    return [line for line in parsed(lines) if line.marker is None or line.marker.evaluate({"extra": extra})]


def parsed(lines: Iterable[str]) -> Iterator[Requirement]:
    """Requirements as their lines say."""
    return map(Requirement, lines)


def licence(name: str) -> str:
    """What a distribution says of its licence: an SPDX expression, its classifiers, or its own word."""
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return ELSEWHERE.get(name, UNKNOWN)
    classifiers = [line for line in metadata.get_all("Classifier") or () if line.startswith("License ::")]
    words = [line.rpartition(" :: ")[2] for line in classifiers]
    own = "".join(metadata.get_all("License") or ()).partition("\n")[0]
    expression = "".join(metadata.get_all("License-Expression") or ())
    return expression or ", ".join(words) or own or UNDECLARED.get(name, UNKNOWN)


def table() -> str:
    """Everything that is locked, with its licence, as Markdown."""
    rows = [
        f"| {entry.name} | {entry.version} | {entry.licence} | {'Keyturn' if entry.shipped else 'development'} |"
        for entry in packages()
    ]
    return "\n".join(
        (
            "# Licences",
            "",
            "Everything that `requirements.lock` names, and in what it is used: Keyturn with all of its extras, or its "
            "development alone. `make licences` writes this file.",
            "",
            "| package | version | licence | used in |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )


def bill() -> str:
    """The bill of materials. What only development needs is in the scope ``excluded``."""
    components = {entry.name: component(entry) for entry in packages()}
    url = PackageURL("pypi", name=PROJECT["name"], version=PROJECT["version"])
    root = Component(
        name=PROJECT["name"], version=PROJECT["version"], type=ComponentType.APPLICATION, purl=url, bom_ref=str(url)
    )
    bom = Bom(components=components.values())
    bom.metadata.component = root
    bom.register_dependency(root, [components[canonicalize_name(requirement.name)] for requirement in direct()])
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)


def component(package: Package) -> Component:
    """A package, as CycloneDX has it. Its hashes are those of all of its files, for whichever system."""
    url = PackageURL("pypi", name=package.name, version=package.version)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=str(url),
        scope=ComponentScope.REQUIRED if package.shipped else ComponentScope.EXCLUDED,
        licenses=[DisjunctiveLicense(name=package.licence)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content) for content in package.hashes],
    )


def audit() -> int:
    """Print what is known against the locked packages, and what could not be looked up; give the exit code."""
    counts = {lock: len(packages(lock)) for lock in LOCKS}
    lines, vulnerable, unseen = [], 0, 0
    for lock, count in counts.items():
        answer = asked(lock)
        if answer is None:
            unseen += count
            continue
        for entry in answer:
            unseen += "skip_reason" in entry
            vulnerable += bool(entry.get("vulns"))
            lines += [vulnerability(entry, found) for found in entry.get("vulns", ())]
    if unseen:
        lines.append(
            f"audit: {unseen} of {sum(counts.values())} locked packages were NOT looked up: "
            "the list of vulnerabilities could not be asked, as without a network. "
            f"{REQUIRED}=required makes that a failure."
        )
    print("\n".join(lines or ["audit: nothing is known against any locked package"]))  # noqa: T201
    return int(bool(vulnerable or (unseen and os.environ.get(REQUIRED) == "required")))


def asked(lock: Path) -> list[dict[str, Any]] | None:
    """What pip-audit says of each package of a lock; None where it did not get that far."""
    command = [sys.executable, "-m", "pip_audit", f"--requirement={lock}", "--no-deps", "--disable-pip"]
    command += ["--format=json", "--progress-spinner=off", "--timeout=10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError):
        return None


def vulnerability(entry: dict[str, Any], found: dict[str, Any]) -> str:
    """One line about one of them."""
    mended = ", ".join(found["fix_versions"]) or "no version yet"
    return f"audit: {entry['name']} {entry['version']}: {found['id']}, mended in {mended}"


def main(arguments: list[str]) -> int:
    """Do what is asked; the exit code."""
    match arguments:
        case ["audit"]:
            return audit()
        case ["sbom", target]:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).write_text(bill())
        case ["licences", target]:
            Path(target).write_text(table())
        case _:
            print(__doc__, file=sys.stderr)  # noqa: T201
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
