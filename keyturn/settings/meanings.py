"""What the keys of the catalogue's models mean: the text below each of them in the source, read when asked for.

Pydantic can read it itself (``use_attribute_docstrings``), whenever a model is imported: that took longer than all else
that a command does before its first question to the hub.
"""

import ast
import functools
import inspect
import sys
from collections.abc import Iterator, Mapping

from pydantic import BaseModel


def meanings(model: type[BaseModel]) -> Mapping[str, str]:
    """What each field of the model means, by its name; those that it has from its bases too."""
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
    """Each annotated name that a text stands below."""
    for declared, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(declared, ast.AnnAssign) and isinstance(declared.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield declared.target.id, inspect.cleandoc(text)
