"""The file of the deployments, for each workspace."""

import json
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from keyturn.core.workspaces import HOUSE, WorkspaceNames
from keyturn.project import root


def prefect_file() -> Path:
    return root() / "prefect.yaml"


@contextmanager
def file_of(workspace: WorkspaceNames, unneeded: Set[str] = frozenset()) -> Iterator[Path]:
    """The file of a workspace without ``unneeded`` deployments; a generated one is removed afterwards."""
    if workspace == WorkspaceNames() and not unneeded:
        yield prefect_file()
        return
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "prefect.yaml"
        # JSON is valid YAML, without anchors.
        made.write_text(json.dumps(of_workspace(declared_file(unneeded), workspace)))
        yield made


def declared_file(unneeded: Set[str] = frozenset()) -> dict[str, Any]:
    """The content of prefect.yaml, without ``unneeded`` deployments."""
    declared: dict[str, Any] = yaml.safe_load(prefect_file().read_text())
    needed = [each for each in declared["deployments"] if not is_unneeded(each, unneeded)]
    return {**declared, "deployments": needed}


def is_unneeded(deployment: dict[str, Any], unneeded: Set[str]) -> bool:
    """Whether the deployment or its queue is among ``unneeded``."""
    return not unneeded.isdisjoint((deployment["name"], deployment["work_pool"]["work_queue_name"]))


def of_workspace(declared: dict[str, Any], workspace: WorkspaceNames) -> dict[str, Any]:
    deployments = [_deployment(deployment, workspace) for deployment in declared["deployments"]]
    return {**{key: declared[key] for key in declared if key != "definitions"}, "deployments": deployments}


def _deployment(deployment: dict[str, Any], workspace: WorkspaceNames) -> dict[str, Any]:
    pool = {**deployment["work_pool"], "name": workspace.own}
    tags = [workspace.own if tag == HOUSE else tag for tag in deployment["tags"]]
    return {**deployment, "name": workspace.deployment(deployment["name"]), "tags": tags, "work_pool": pool}
