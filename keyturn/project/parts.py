"""Loads single modules of the project's folders in foreign processes."""

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from keyturn import project


def load_part(name: str) -> ModuleType:
    """Load one module of the folders once per process.

    It must load modules of its own folder in the same way.
    """
    folder = name.partition(".")[0]
    if str(project.root() / folder) in getattr(sys.modules.get(folder), "__path__", ()):
        return import_module(name)
    own, file = f"{project.__name__}.{name}", project.root().joinpath(*name.split(".")).with_suffix(".py")
    if name in project.LOADED:
        return project.LOADED[name]
    spec = spec_from_file_location(own, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} can't be imported", name=own)
    # Pydantic and Prefect find a class's module in sys.modules.
    module = sys.modules[own] = project.LOADED[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
