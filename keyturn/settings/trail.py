"""The directory of the access trail, and how long its events are kept."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.settings.directories import state_directory
from keyturn.settings.durations import parse

VARIABLE: Final = "KEYTURN_TRAIL"
KEEP_VARIABLE: Final = "KEYTURN_TRAIL_KEEP"
LEDGER_VARIABLE: Final = "KEYTURN_LEDGER"
NAME: Final = "trail"

SHORTEST: Final = timedelta(days=1)


def trail_directory(env: Mapping[str, str]) -> Path:
    """Return KEYTURN_TRAIL, else a directory next to a ledger in a file, else one in the user's state directory.

    Raises Invalid where there is none.
    """
    directory, ledger = env.get(VARIABLE), env.get(LEDGER_VARIABLE)
    if directory:
        return Path(directory).expanduser().absolute()
    if ledger and "://" not in ledger:
        return Path(ledger).expanduser().absolute().parent / NAME
    return state_directory() / NAME


def trail_keep(env: Mapping[str, str], name: str = KEEP_VARIABLE) -> timedelta | None:
    """Return how long events are kept by KEYTURN_TRAIL_KEEP, such as ``400d``; None for good.

    Raises Invalid, which calls the setting ``name``.
    """
    text = env.get(KEEP_VARIABLE)
    if not text:
        return None
    try:
        keep = parse(text)
    except ValueError:
        keep = timedelta(0)
    if keep < SHORTEST:
        hint = "Write a duration of a day at least, such as 400d"
        raise Invalid("keep", "the access trail", f"{name} is no duration that it can be kept for", hint)
    return keep
