"""Keyturn's blocks and its worker for Prefect, which imports this module in every process: as one of its collections.

A Prefect server needs the blocks to send word of a failure, `prefect worker start` the worker. Somebody else's process
is left as it is: the folders come on nobody's path, and no module of their names is imported.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from keyturn import project


def load_part(name: str) -> ModuleType:
    """One module of the folders, under a name of its own here; it is executed once in a process."""
    if (loaded := sys.modules.get(name)) and str(loaded.__file__).startswith(str(project.root())):
        return loaded
    own, file = f"{project.__name__}.{name}", project.root().joinpath(*name.split(".")).with_suffix(".py")
    spec = spec_from_file_location(own, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} can't be imported", name=own)
    # Pydantic and Prefect find a class's surroundings through sys.modules.
    module = sys.modules[own] = project.LOADED[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FailureChannel = load_part("blocks.channel").FailureChannel
KeyturnWorkspace = load_part("blocks.workspace").KeyturnWorkspace
KeyturnWorker = load_part("deployments.worker").KeyturnWorker
