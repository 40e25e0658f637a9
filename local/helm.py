"""Helm's own engine, out of a package that carries it: a chart is rendered and looked over as ``helm`` does it.

The package is locked in ``requirements-helm.lock`` and unpacked into the user's cache when it is first needed: only who
works on the chart pays for its 85 MB. It runs in a process of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from keyturn.core.errors import Invalid
from local.unpacked import unpacked

LOCK: Final = Path(__file__).parents[1] / "requirements-helm.lock"
_PROGRAM: Final = """
import json, sys
from helm_python import Chart, HelmError, lint

request = json.load(sys.stdin)
answers = []
with Chart.load(request["chart"]) as chart:
    for case in request["cases"]:
        try:
            answers.append({"files": chart.render(**case)})
        except HelmError as error:
            answers.append({"refused": str(error)})
    found = lint(request["chart"], request["cases"][0]["values"], strict=True)
warnings = [message["error"] for message in found["messages"] if message["severity"] > 1]
json.dump({"answers": answers, "lint": [*found["errors"], *warnings]}, sys.stdout)
"""
"""What the engine's process runs. A finding's severity: 1 is a hint, 2 a warning, 3 an error."""


@dataclass(frozen=True)
class Release:
    """What a chart is rendered for: a release's name, its namespace, and the values beside the chart's own."""

    values: Mapping[str, Any] = field(default_factory=dict)
    name: str = "keyturn"
    namespace: str = "keyturn"


@dataclass(frozen=True)
class Rendering:
    """One release: each template's text by its name, or why Helm refuses the values."""

    files: Mapping[str, str]
    refusal: str = ""


def render(chart: Path, releases: Sequence[Release]) -> tuple[list[Rendering], list[str]]:
    """Each release rendered, and what ``helm lint --strict`` has against the chart with the first one's values.

    Raises Unavailable where the package can't be had, Invalid where there is no chart.
    """
    cases = [{"values": dict(each.values), "name": each.name, "namespace": each.namespace} for each in releases]
    request = json.dumps({"chart": str(chart), "cases": cases})
    environment = {**os.environ, "PYTHONPATH": str(engine())}
    command = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(
        command, input=request, capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    if done.returncode != 0:
        problem = done.stderr.strip().rpartition("\n")[2]
        raise Invalid("render", str(chart), problem, "See that it is a chart")
    answer = json.loads(done.stdout)
    return [_rendering(each) for each in answer["answers"]], list(answer["lint"])


def _rendering(answer: Mapping[str, Any]) -> Rendering:
    files = {name.rpartition("/")[2]: text for name, text in answer.get("files", {}).items()}
    return Rendering(files, answer.get("refused", ""))


def engine() -> Path:
    """Where the package is unpacked; downloaded now where it is not there yet. Raises Unavailable."""
    return unpacked("helm", "Helm's engine", LOCK, _keep_one_library)


def _keep_one_library(place: Path) -> None:
    """A wheel can hold no links, so this one holds its library three times."""
    for library in (place / "helm_python" / "lib").glob("libhelm_c.so.*"):
        library.unlink()
