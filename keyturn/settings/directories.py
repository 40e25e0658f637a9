"""Where Keyturn keeps what it makes for the user of a machine: as the system wants it, and for that user alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from keyturn.core.errors import Invalid

NAME: Final = "keyturn"

PRIVATE: Final = 0o700

ACCESS_LOGS: Final = "KEYTURN_ACCESS_LOGS"
"""The variable that names where accesses are kept which were sent to this machine."""


def cache_directory() -> Path:
    """What may be deleted at any time: ``~/.cache/keyturn`` on Linux, or below XDG_CACHE_HOME. Raises Invalid."""
    import platformdirs  # only who needs such a place pays for it

    return _of_the_user("cache", platformdirs.user_cache_path)


def state_directory() -> Path:
    """What has to stay: ``~/.local/state/keyturn`` on Linux, or below XDG_STATE_HOME. Raises Invalid."""
    import platformdirs

    return _of_the_user("state", platformdirs.user_state_path)


def sources_directory(env: Mapping[str, str]) -> Path:
    """Where this machine keeps the accesses that were sent to it, until they were read. Raises Invalid."""
    named = env.get(ACCESS_LOGS)
    return Path(named).expanduser() if named else state_directory() / "access-logs"


def make_private(directory: Path) -> Path:
    """The directory, made if absent, then for its owner alone; one that is there stays as it is. Raises OSError."""
    directory.mkdir(PRIVATE, parents=True, exist_ok=True)
    return directory


def _of_the_user(what: str, place: Callable[[str], Path]) -> Path:
    try:
        directory = place(NAME)
    except RuntimeError:  # newer versions say so themselves
        directory = Path()
    if not directory.is_absolute():
        hint = f"Set HOME, or XDG_{what.upper()}_HOME, to the whole path of a directory"
        raise Invalid("find", f"the user's {what} directory", "this user has no home directory", hint)
    return directory
