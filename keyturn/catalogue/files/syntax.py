"""Parses one file into YAML nodes, or explains in one sentence why it is not YAML.

The parser's own messages are never shown: some quote the text at fault.
"""

import re
from typing import Final

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml if PyYAML was built with it: ten times as fast."""

_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

QUOTE: Final = "Put the value in quotes."
ALIGN: Final = "Indent this line as its neighbours are; a list item begins with `- `."

SAYINGS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "mapping values are not allowed",
        "a `: ` where none is allowed",
        "Quote the value, or begin a new line; the line above may lack the space after its colon.",
    ),
    ("maximum nesting", "the file is nested too deeply", "No part of a catalogue goes this deep."),
    ("undefined alias", "a value begins with * and no anchor of that name comes before", QUOTE),
    ("duplicate anchor", "an anchor (&) is defined twice", "Give the second another name."),
    ("cannot start any token", "a value begins with a character that YAML reserves", QUOTE),
    ("expected ':'", "a key without a colon", "Write `key: value`, with a space after the colon."),
    ("another document", "the file holds more than one document", "Remove the line `---` between them."),
    ("unexpected end of stream", "a quoted text is not closed", "Add the closing quote."),
    ("escape", "an unknown escape after a backslash", "Use single quotes, or write the backslash twice."),
    ("expected ',' or", "a list in [ ] or a mapping in { } is not closed", "Add the closing bracket."),
    ("flow node", "a list in [ ] or a mapping in { } is not closed", "Add the closing bracket."),
    ("tag", "a value begins with !", QUOTE),
    ("expected key", "the line does not continue the one above it", ALIGN),
    ("block end", "the line does not continue the one above it", ALIGN),
    ("'-' indicator", "the line does not continue the one above it", ALIGN),
    ("sequence entries", "a list begins where none is allowed", ALIGN),
)


DEPTH_LIMIT: Final = 50
"""The deepest nesting of lists and mappings; a catalogue has ten levels."""

ALIASED_LIMIT: Final = 100_000
"""The most values with aliases expanded; a longer file may have ten for each of its own."""


class NotYaml(Exception):
    """The file is not valid YAML: line, message and remedy."""

    def __init__(self, line: int, message: str, remedy: str) -> None:
        super().__init__(line, message, remedy)
        self.line = line
        self.message = message
        self.remedy = remedy


def compose(raw: bytes) -> Node | None:
    """The file's root node; None for an empty file. Raises NotYaml.

    Nesting is at most ``DEPTH_LIMIT`` deep, and the size is limited with aliases expanded.
    """
    text = _decoded(raw)
    loader = _Loader(text)
    try:
        node: Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _explained(error, text) from None
    except yaml.YAMLError:
        raise NotYaml(0, "the file is not YAML", "Check it with a YAML linter.") from None
    finally:
        loader.dispose()
    if node is not None:
        _insist_on_size(node)
    return node


def _insist_on_size(root: Node) -> None:
    sizes = _Sizes()
    written_out, _ = sizes.of(root)
    if written_out > max(ALIASED_LIMIT, 10 * sizes.written):
        remedy = "Write out the values of the aliases (*name), or nest fewer of them."
        raise NotYaml(0, f"the aliases of this file expand to {written_out:,} values", remedy)


class _Sizes:
    def __init__(self) -> None:
        self.written = 0
        self._known: dict[int, tuple[int, int]] = {}

    def of(self, node: Node, depth: int = 1) -> tuple[int, int]:
        """The values and levels of a node at ``depth``; a cycle counts as empty."""
        if not isinstance(node, MappingNode | SequenceNode):
            self.written += 1
            return 1, 0
        size, levels = self._known.get(id(node)) or self._measured(node, depth)
        if depth + levels - 1 > DEPTH_LIMIT:
            raise NotYaml(node.start_mark.line + 1, "the file is nested too deeply", "No part of it goes this deep.")
        return size, levels

    def _measured(self, node: MappingNode | SequenceNode, depth: int) -> tuple[int, int]:
        if depth > DEPTH_LIMIT:
            return 0, 1
        self._known[id(node)] = 0, 0
        children = [part for pair in node.value for part in pair] if isinstance(node, MappingNode) else node.value
        parts = [self.of(child, depth + 1) for child in children]
        self.written += 1
        measured = 1 + sum(size for size, _ in parts), 1 + max((levels for _, levels in parts), default=0)
        self._known[id(node)] = measured
        return measured


def _decoded(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise NotYaml(line, "the file is not UTF-8", "Save it with the encoding UTF-8.") from None
    if control := _UNPRINTABLE.search(text):
        line = text[: control.start()].count("\n") + 1
        raise NotYaml(line, f"a control character (U+{ord(control[0]):04X})", "Remove it.")
    return text


def _explained(error: yaml.MarkedYAMLError, text: str) -> NotYaml:
    opened = any(word in str(error.context) for word in ("simple key", "quoted", "flow"))
    mark = (error.context_mark if opened else None) or error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    lines = text.splitlines()
    if line < len(lines) and "\t" in lines[line][: len(lines[line]) - len(lines[line].lstrip())]:
        return NotYaml(line + 1, "a tab in the indentation", "Indent with spaces: YAML allows no tabs there.")
    complaint = f"{error.problem} {error.context}"
    for part, message, remedy in SAYINGS:
        if part in complaint:
            return NotYaml(line + 1, message, remedy)
    return NotYaml(line + 1, "this is not YAML", "Check the line and the one above: colons, quotes, indentation.")
