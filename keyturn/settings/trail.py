"""Where the access trail lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from keyturn.settings.directories import state_directory

VARIABLE: Final = "KEYTURN_TRAIL"


def trail_directory(env: Mapping[str, str]) -> Path:
    """What KEYTURN_TRAIL says, else a directory in the user's state directory. Raises Invalid where there is none."""
    directory = env.get(VARIABLE)
    return Path(directory).expanduser().absolute() if directory else state_directory() / "trail"
