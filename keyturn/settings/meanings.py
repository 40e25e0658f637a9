"""The meanings of the keys of the catalogue's models: the text below each in the source, read on demand.

Pydantic can read it itself (``use_attribute_docstrings``) when a model is imported. That took longer than everything
else that a command does before its first request to the hub.
"""

import ast
import functools
import inspect
import sys
from collections.abc import Iterator, Mapping

from pydantic import BaseModel


def meanings(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the meaning of each field of the model, by its name; those of its bases too."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            texts |= _of_module(base.__module__).get(base.__qualname__, {})
    return {name: text for name, text in texts.items() if name in model.model_fields}


@functools.cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return {node.name: dict(_of_class(node)) for node in classes}


def _of_class(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for declared, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(declared, ast.AnnAssign) and isinstance(declared.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield declared.target.id, inspect.cleandoc(text)
