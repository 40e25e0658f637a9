"""Go templates that consist of text and names: ``postgresql://{{ .user | toString }}@db``.

Functions, conditions and loops are refused. Source: the documentation of Go's package text/template.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from keyturn.core.text.mapping import default_escape

ACTION: Final = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
NAME: Final = re.compile(r"(?:\.([A-Za-z_]\w*)|index\s+\.\s+(?:\"([^\"\\]+)\"|`([^`]+)`))((?:\s*\|\s*\w+)*)", re.DOTALL)
PLACE: Final = re.compile(r"(?!previous\.)[\w.-]+")
SPACE: Final = " \t\r\n"


class NotConverted(ValueError):
    """Raised for what a catalogue can't express; the text is the reason."""


@dataclass(frozen=True)
class NamedText:
    """The text before a name, and the name; the last part of a template has no name."""

    text: str
    name: str = ""
    functions: tuple[str, ...] = ()


def template_parts(template: str) -> Iterator[NamedText]:
    end, trims = 0, False
    for action in ACTION.finditer(template):
        text = template[end : action.start()]
        text = text.lstrip(SPACE) if trims else text
        text = text.rstrip(SPACE) if action[1] else text
        if not (named := NAME.fullmatch(action[2].strip())):
            raise NotConverted(f"the template {{{{ {action[2].strip()} }}}} is more than a name")
        yield NamedText(text, named[1] or named[2] or named[3], tuple(re.findall(r"\w+", named[4])))
        end, trims = action.end(), bool(action[3])
    rest = template[end:].lstrip(SPACE) if trims else template[end:]
    if "{{" in rest:
        raise NotConverted("the braces of a template don't fit together")
    yield NamedText(rest)


@dataclass(frozen=True)
class KeyValue:
    """The value of a Secret's key: a ``field`` of the secret at ``path``, or a ``template`` of its fields.

    A text without fields has no ``path``.
    """

    path: str = ""
    field: str = ""
    template: str = ""
    escape: str = ""


def converted_template(template: str, engine: str, lookup: Callable[[str], KeyValue]) -> KeyValue:
    """Return a template in the catalogue's notation; ``lookup`` resolves names. Raises NotConverted."""
    parts = list(template_parts(template))
    fields = [_looked_up(part, engine, lookup) for part in parts if part.name]
    paths = list(dict.fromkeys(value.path for value in fields))
    if len(paths) > 1:
        raise NotConverted(f"one template takes fields of {' and '.join(paths)}, and a copy is made of one path")
    if len(fields) == 1 and not any(part.text for part in parts) and not _quoting(parts):
        return fields[0]
    made = "".join(
        braced(part.text) + (f"{{{value.field}}}" if value else "")
        for part, value in zip(parts, [*fields, None], strict=True)
    )
    return KeyValue(paths[0] if paths else "", template=made, escape=_escape(parts, made))


def _looked_up(part: NamedText, engine: str, lookup: Callable[[str], KeyValue]) -> KeyValue:
    value = lookup(part.name)
    if unknown := [name for name in part.functions if name not in ("toString", "urlquery")]:
        raise NotConverted(f"a template has the function {unknown[0]}")
    if engine == "v1" and "toString" not in part.functions:
        raise NotConverted(f"a template of the engine v1 has {part.name} without toString, which is no text there")
    if not value.path or not PLACE.fullmatch(value.field):
        raise NotConverted(f"a template has {part.name}, which is no plain field of the hub")
    return value


def _quoting(parts: list[NamedText]) -> bool:
    return any("urlquery" in part.functions for part in parts)


def _escape(parts: list[NamedText], made: str) -> str:
    named = [part for part in parts if part.name]
    if _quoting(parts) and not all("urlquery" in part.functions for part in named):
        raise NotConverted("one template has names with urlquery and names without, and a copy has one escape")
    wanted = "url" if _quoting(parts) else "none"
    return "" if not named or wanted == default_escape(made) else wanted


def braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
