"""``python -m keyturn.project deployments.NAME [ARGUMENT ...]``: runs a program of ``deployments`` or ``local``.

In an installation these folders are on no path.
"""

import runpy
import sys
from importlib.util import find_spec
from typing import Final

from keyturn.core.errors import Invalid, KeyturnError
from keyturn.project import enter

FOLDERS: Final = ("deployments.", "local.")
HINT: Final = "Give one of those that the documents name, such as deployments.prefect_services"


def module_named(words: list[str]) -> str:
    """Raises Invalid for a module that is no program or does not exist."""
    name = words[0] if words else ""
    if not name.startswith(FOLDERS):
        raise Invalid("start", name or "nothing", "it is no program of Keyturn's", HINT)
    enter()
    try:
        there = find_spec(name) is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        raise Invalid("start", name, "there is no such program", HINT)
    return name


def main() -> int:
    try:
        name = module_named(sys.argv[1:])
    except KeyturnError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    del sys.argv[0]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
