"""An operator's file that lets a benchmark do within an hour what no site does, and name its own files."""

import json
import os
from pathlib import Path
from typing import Final

from keyturn.catalogue.files.policy_file import VARIABLE
from keyturn.catalogue.operator.hourly_limits import LimitSettings

HIGHEST: Final = LimitSettings(
    incidents=100_000,
    incidents_of_one_login=100_000,
    incidents_of_one_secret=1_000,
    rotations=100_000,
    rotations_of_one_secret=100,
)


def loosen(directory: Path) -> None:
    """Write it below ``directory``, and make this process and its children use it."""
    file = directory / "operator.yaml"
    allowed = {"files": [os.path.realpath(directory)], "undeclared": ["*:**"]}
    file.write_text(json.dumps({"limits": HIGHEST.model_dump(), **allowed}))
    file.chmod(0o600)
    os.environ[VARIABLE] = str(file)
