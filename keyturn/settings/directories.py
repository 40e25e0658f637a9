"""The directories of Keyturn's files for the user of a machine: where the system wants them, for that user alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from keyturn.core.errors import Invalid

NAME: Final = "keyturn"

PRIVATE: Final = 0o700

ACCESS_LOGS: Final = "KEYTURN_ACCESS_LOGS"
"""The variable with the directory of accesses that were sent to this machine."""


def cache_directory() -> Path:
    """Return where files may be deleted at any time: ``~/.cache/keyturn`` on Linux, or below XDG_CACHE_HOME.

    Raises Invalid.
    """
    import platformdirs  # only who needs such a place pays for it

    return _of_the_user("cache", platformdirs.user_cache_path)


def state_directory() -> Path:
    """Return where files have to stay: ``~/.local/state/keyturn`` on Linux, or below XDG_STATE_HOME.

    Raises Invalid.
    """
    import platformdirs

    return _of_the_user("state", platformdirs.user_state_path)


def sources_directory(env: Mapping[str, str]) -> Path:
    """Return where this machine keeps the accesses that were sent to it, until they are read. Raises Invalid."""
    named = env.get(ACCESS_LOGS)
    return Path(named).expanduser() if named else state_directory() / "access-logs"


def make_private(directory: Path) -> Path:
    """Return the directory, made for its owner alone if absent; an existing one is not changed. Raises OSError."""
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
