"""The entry to Keyturn's Prefect project: the folders ``flows``, ``tasks``, ``blocks`` and ``deployments``.

They are no top-level packages: a wheel carries them in this folder, a checkout at its root. Only Keyturn's own
processes import them.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.project.process import guard_process

RUN: Final = "PREFECT__FLOW_RUN_ID"
"""Prefect sets it in the process of a flow run only."""
FOLDERS: Final = ("flows", "tasks", "blocks", "deployments", "local")

FLOWS: Final = {
    "keeper": "flows.keeper",
    "rotate_secret": "flows.rotate",
    "rotate_due": "flows.rotate_due",
    "check_logins": "flows.check_logins",
    "check_hub": "flows.check_hub",
    "doctor": "flows.doctor",
    "sync": "flows.sync",
    "retire": "flows.retire",
    "rotate_own_keys": "flows.rotate_own_keys",
    "rotate_keys": "flows.rotate_keys",
    "renew_authorities": "flows.renew_authorities",
    "grant_access": "flows.grant_access",
    "keep_ledger": "flows.keep_ledger",
    "backup": "flows.backup",
    "restore_drill": "flows.restore_drill",
    "compliance_report": "flows.compliance_report",
    "emergency_revoke": "flows.emergency",
    "preview_revocation": "flows.preview_revocation",
    "resume_incident": "flows.resume_incident",
    "drill": "flows.drill",
    "rehearse": "flows.rehearse",
    "finish_incidents": "flows.finish_incidents",
}
"""The module of each deployed flow."""

LOADED: Final[dict[str, ModuleType]] = {}


def root() -> Path:
    """The directory with the folders and ``prefect.yaml``."""
    folder = Path(__file__).resolve().parent
    return folder if (folder / "prefect.yaml").exists() else folder.parents[1]


def roots() -> list[Path]:
    """The project's directory, and that of an installed `keyturn-local`."""
    local = find_spec("keyturn_local")
    return [root(), *([Path(local.origin).parent] if local and local.origin else [])]


def enter() -> None:
    """Make the folders importable before other entries of the path.

    Raises Invalid if this process imported another package with such a name.
    """
    if RUN in os.environ:
        guard_process()
    places = list(map(str, roots()))
    if sys.path[: len(places)] != places:
        sys.path[:] = [*places, *(entry for entry in sys.path if entry not in places)]
    for name in FOLDERS:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and not any(Path(file).resolve().is_relative_to(place) for place in places):
            problem = f"this process has imported another package named {name}, from {Path(file).parent}"
            raise Invalid("enter", "Keyturn's Prefect project", problem, "Run Keyturn in its own process")
    sys.modules.update(LOADED)


def project_module(name: str) -> ModuleType:
    """Import a module of the folders, such as ``deployments.bootstrap``."""
    enter()
    return import_module(name)


def __getattr__(name: str) -> Any:
    if name not in FLOWS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(project_module(FLOWS[name]), name)
