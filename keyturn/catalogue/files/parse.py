"""Reads a directory of YAML files into one map of entries that know the line of every value.

Scalars follow YAML 1.2, as in editors: ``12:00`` and ``yes`` are text. Tags are not allowed.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any, Final

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from keyturn.catalogue.files.problems import KeyPath, Problem, dotted
from keyturn.catalogue.files.reading import read_file
from keyturn.catalogue.files.syntax import NotYaml, compose
from keyturn.core.text.suggest import advice
from keyturn.settings.fields import CATALOGUE_ID

SECTIONS: Final = (
    "stores",
    "targets",
    "consumers",
    "secrets",
    "freezes",
    "syncs",
    "mounts",
    "rules",
    "monitors",
    "access_logs",
    "exceptions",
    "access_policies",
    "grants",
    "pki",
    "hub",
    "keys",
    "routes",
)
"""The top-level keys; each may be in any file, and all files are merged."""

ID: Final = "id"
"""The one top-level key that is no section: the catalogue's id in the marks of its copies."""

RECIPE_ENDING: Final = ".recipe.yaml"
"""The ending of files that hold a recipe instead of sections."""

_STANDARD: Final = "tag:yaml.org,2002:"
_WORDS: Final = {"true": True, "True": True, "false": False, "False": False, "null": None, "~": None, "": None}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


NodeFinder = Callable[[str, str], Node]


@dataclass(frozen=True)
class CatalogueEntry:
    """A named entry of a section: its plain data and its place."""

    section: str
    name: str
    file: str
    line: int
    find_node: NodeFinder
    data: Any

    def line_of(self, path: KeyPath) -> int:
        """The line of the value at ``path`` in this entry, or of its nearest existing parent."""
        node, line = self.find_node(self.section, self.name), self.line
        for part in path:
            step = _child(node, part)
            if step is None:
                break
            node, line = step
        return line

    def problem(self, path: KeyPath, message: str, remedy: str) -> Problem:
        whole = (self.section, self.name, *path)
        return Problem(self.file, self.line_of(path), dotted(whole), message, remedy, whole)

    @property
    def placed(self) -> "CatalogueEntry":
        """The entry with a relative ``ca_file`` taken from next to its file, wherever Keyturn runs."""
        named = self.data.get("ca_file") if isinstance(self.data, dict) else None
        if not isinstance(named, str) or not named or named.startswith(("/", "~", "$")):
            return self
        return self.holding({**self.data, "ca_file": os.path.abspath(FilePath(self.file).parent / named)})

    def holding(self, data: Any) -> "CatalogueEntry":
        return replace(self, data=data)


def _child(node: Node, part: str | int) -> tuple[Node, int] | None:
    if isinstance(node, MappingNode):
        return next(((value, _line(key)) for key, value in node.value if key.value == part), None)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], _line(node.value[part])
    return None


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


class FileNodes:
    """The nodes of a file's entries, parsed again from its bytes only if there is a problem.

    They only provide line numbers; kept for a valid catalogue, they would take most of its memory.
    """

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def find(self, section: str, name: str) -> Node:
        return self._nodes[section, name]

    @cached_property
    def _nodes(self) -> dict[tuple[str, str], Node]:
        return {
            (section.value, name.value): node
            for section, named in _first_of_each(compose(self._raw))
            for name, node in _first_of_each(named)
        }


@dataclass
class ParsedFiles:
    """The entries of each section by name, and the files' problems.

    ``complete`` is False if a file could not be read, so that declarations may be missing. ``id`` is empty if
    undeclared. ``recipes`` are the bytes of the folder's own recipes. ``indexable`` is False if an entry depends on a
    file of another package.
    """

    entries: dict[str, dict[str, CatalogueEntry]] = field(default_factory=lambda: {section: {} for section in SECTIONS})
    problems: list[Problem] = field(default_factory=list)
    complete: bool = True
    id: str = ""
    recipes: dict[FilePath, bytes] = field(default_factory=dict)
    indexable: bool = True

    def add(self, entry: CatalogueEntry) -> None:
        if first := self.entries[entry.section].get(entry.name):
            remedy = f"The first is at {first.file}:{first.line}: rename or remove one of the two."
            self.problems.append(entry.problem((), "this name is declared twice", remedy))
        else:
            self.entries[entry.section][entry.name] = entry

    def name(self, name: Any, file: str, line: int) -> None:
        if not isinstance(name, str) or not re.fullmatch(CATALOGUE_ID, name):
            remedy = "Write up to 32 small letters, digits and - between them, such as `id: shop`."
            self.problems.append(Problem(file, line, ID, "is no id of a catalogue", remedy))
        elif self.id not in ("", name):
            remedy = f"Another file says {self.id}: keep one of the two."
            self.problems.append(Problem(file, line, ID, "the catalogue has two ids", remedy))
        else:
            self.id = name


@dataclass
class Gathered:
    """The bytes or the read error of each ``*.yaml`` file, and other problems of the directory."""

    files: dict[FilePath, bytes | OSError | NotYaml]
    problems: list[Problem]

    @property
    def content(self) -> dict[str, bytes]:
        """The bytes by file name; empty if there is any problem."""
        content = {file.name: raw for file, raw in self.files.items() if isinstance(raw, bytes)}
        return content if len(content) == len(self.files) and not self.problems else {}

    @cached_property
    def digests(self) -> dict[str, str]:
        read = ((file.name, raw) for file, raw in self.files.items() if isinstance(raw, bytes))
        return {name: hashlib.sha256(raw).hexdigest() for name, raw in read}


def gather(directory: FilePath) -> Gathered:
    """Reads every ``*.yaml`` file of ``directory``. Never raises."""
    problems: list[Problem] = []
    return Gathered({file: _bytes(file) for file in _files(directory, problems)}, problems)


def _bytes(file: FilePath) -> bytes | OSError | NotYaml:
    try:
        return read_file(file)
    except (OSError, NotYaml) as error:
        return error


def parse_files(gathered: Gathered) -> ParsedFiles:
    """The entries of these files. Never raises: problems are in the result."""
    source = ParsedFiles(problems=list(gathered.problems))
    for file, raw in gathered.files.items():
        if isinstance(raw, bytes) and file.name.endswith(RECIPE_ENDING):
            source.recipes[file] = raw
        else:
            _parse_file(file, raw, source)
    return source


def _files(directory: FilePath, problems: list[Problem]) -> list[FilePath]:
    try:
        paths = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        remedy = "Give the directory that holds the catalogue's *.yaml files."
        problems.append(_whole(directory, f"the directory can't be read ({error.strerror})", remedy))
        return []
    message = "only files that end in .yaml are read"
    problems.extend(_whole(path, message, f"Rename it to {path.stem}.yaml.") for path in paths if path.suffix == ".yml")
    files = [path for path in paths if path.suffix == ".yaml"]
    if not files:
        problems.append(_whole(directory, "the directory has no *.yaml file", "Write one: see docs/catalogue.md."))
    return files


def _whole(path: FilePath, message: str, remedy: str) -> Problem:
    return Problem(str(path), 0, "", message, remedy)


def _parse_file(path: FilePath, raw: bytes | OSError | NotYaml, source: ParsedFiles) -> None:
    try:
        if not isinstance(raw, bytes):
            raise raw
        root = compose(raw)
        data = Converter(str(path), source.problems).plain(root) if root else None
    except (OSError, NotYaml, RecursionError) as error:
        source.problems.append(_unreadable(path, error))
        source.complete = False
        return
    if root is None or data is None:
        source.problems.append(_whole(path, "the file is empty", "Declare something in it, or delete it."))
    elif not isinstance(root, MappingNode):
        message = "the file is not a mapping"
        source.problems.append(
            Problem(str(path), _line(root), "", message, f"Begin with one of: {', '.join(SECTIONS)}.")
        )
    else:
        _take_sections(str(path), root, data, FileNodes(raw).find, source)


def _unreadable(path: FilePath, error: OSError | NotYaml | RecursionError) -> Problem:
    if isinstance(error, NotYaml):
        return Problem(str(path), error.line, "", error.message, error.remedy)
    if isinstance(error, OSError):
        remedy = "Make it readable for the user who runs Keyturn."
        return _whole(path, f"the file can't be read ({error.strerror})", remedy)
    return _whole(path, "the file is nested too deeply", "No part of a catalogue goes this deep.")


def _take_sections(
    file: str, root: MappingNode, data: dict[str, Any], find_node: NodeFinder, source: ParsedFiles
) -> None:
    for key, node in _first_of_each(root):
        name, content = key.value, data.get(key.value)
        if name == ID:
            source.name(content, file, _line(key))
        elif name not in SECTIONS:
            remedy = advice(name, (*SECTIONS, ID), "")
            source.problems.append(Problem(file, _line(key), name, "unknown key", remedy))
        elif isinstance(node, MappingNode):
            for inner, _ in _first_of_each(node):
                inside = content[inner.value] if content else None
                source.add(CatalogueEntry(name, inner.value, file, _line(inner), find_node, inside).placed)
        elif content is not None:
            remedy = "Write one indented `name:` for each, with its settings below."
            source.problems.append(Problem(file, _line(key), name, "must be a mapping of names", remedy))


def _first_of_each(node: Node | None) -> Iterator[tuple[ScalarNode, Node]]:
    """The keys of a mapping with their values, without duplicates; empty for another node."""
    names: set[str] = set()
    for key, value in node.value if isinstance(node, MappingNode) else ():
        if isinstance(key, ScalarNode) and key.value not in names:
            names.add(key.value)
            yield key, value


class Converter:
    """Converts nodes to plain data. Keys are always text; the first of two equal keys counts."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self._file = file
        self._problems = problems
        self._done: dict[int, Any] = {}
        self._open: set[int] = set()
        self._texts: dict[str, str] = {}
        """Interned keys and values, as thousands of entries repeat them."""

    def plain(self, node: Node, path: KeyPath = ()) -> Any:
        if id(node) in self._open:
            self._add(node, path, "this value contains itself", "Write the value out instead of the alias.")
            return None
        if id(node) not in self._done:
            self._open.add(id(node))
            self._done[id(node)] = self._made(node, path)
            self._open.remove(id(node))
        return self._done[id(node)]

    def _made(self, node: Node, path: KeyPath) -> Any:
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if node.tag not in (f"{_STANDARD}map", f"{_STANDARD}seq"):
            self._tagged(node, path)
        if isinstance(node, SequenceNode):
            return [self.plain(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._mapping(node, path) if isinstance(node, MappingNode) else None

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        made: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._add(key, path, "a key must be plain text", "Quote a key that begins with [ or {.")
            elif key.value in made:
                remedy = f"The first is at line {lines[key.value]}: remove one of the two."
                self._add(key, (*path, key.value), "this key appears twice in one mapping", remedy)
            else:
                made[self._once(key.value)], lines[key.value] = self.plain(value, (*path, key.value)), _line(key)
        return made

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text, kind = node.value, node.tag.removeprefix(_STANDARD)
        if kind == node.tag or kind in ("binary", "set", "omap", "pairs"):
            self._tagged(node, path)
        if kind == "str" or node.style in ("'", '"', "|", ">"):
            return self._once(text)
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text) if len(text) < 20 else text
        return float(text) if _FLOAT.fullmatch(text) else self._once(text)

    def _once(self, text: str) -> str:
        return self._texts.setdefault(text, text)

    def _tagged(self, node: Node, path: KeyPath) -> None:
        self._add(node, path, "tags (words that begin with !) are not read here", "Quote a text that begins with !.")

    def _add(self, node: Node, path: KeyPath, message: str, remedy: str) -> None:
        self._problems.append(Problem(self._file, _line(node), dotted(path), message, remedy, path))
