"""``keyturn version``: what is installed here, for a bug report."""

import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from keyturn import __version__
from keyturn.cli.options import JsonOption
from keyturn.cli.output import write_json, write_text


def version(as_json: JsonOption = False) -> None:
    """Print the versions of Keyturn, Python and Prefect, and the system. It asks no server."""
    system = f"{platform.system()} {platform.machine()}"
    versions = {"keyturn": __version__, "python": platform.python_version(), "prefect": installed_version("prefect")}
    if as_json:
        return write_json({**versions, "system": system, "executable": sys.executable})
    prefect = versions["prefect"] or "is not installed: keyturn[flows] brings it"
    return write_text(f"keyturn {__version__}\nPython {versions['python']} ({system})\nPrefect {prefect}")


def installed_version(package: str) -> str | None:
    """Return a package's version without importing it; None if it is not installed."""
    try:
        return version_of(package)
    except PackageNotFoundError:
        return None
