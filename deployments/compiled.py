"""``python -m keyturn.project deployments.compiled``: compiles what Keyturn and Prefect's server load, and no more.

Run once by the Python of an image, whose disk nothing can write later. It imports each module that Keyturn's code names
anywhere, and Python keeps what it has compiled.
"""

import ast
import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import keyturn
from keyturn.core.errors import KeyturnError

SERVER: Final = "prefect.server.api.server"
"""What Keyturn's code does not name, and an image runs; so is Prefect's command."""


def named_in(folder: Path) -> Iterator[str]:
    """The modules that the code below a folder imports, and maybe names within them."""
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module
                yield from (f"{node.module}.{name.name}" for name in node.names)


def modules_in(packages: Path, folder: str) -> Iterator[str]:
    """Each module below a folder of the installed packages, but its programs."""
    for file in sorted((packages / folder).rglob("*.py")):
        words = file.relative_to(packages).with_suffix("").parts
        if words[-1] != "__main__":
            yield ".".join(words).removesuffix(".__init__")


def main() -> int:
    """Import all of it. A name that can't be imported is no module, or not of this image."""
    warnings.simplefilter("ignore")
    package = Path(keyturn.__file__).parent
    names = {SERVER, *modules_in(package.parent, "keyturn"), *modules_in(package.parent, "prefect/cli")}
    loaded = 0
    for name in sorted(names | set(named_in(package))):
        try:
            importlib.import_module(name)
        except (ModuleNotFoundError, KeyturnError):
            continue
        loaded += 1
    sys.stdout.write(f"compiled: {loaded} modules that are named, {len(sys.modules)} in all\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
