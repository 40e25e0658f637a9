"""One secret as Markdown with a graph: the hub, every copy and every consumer, with versions and states.

Every name stays plain text, in Markdown and in Mermaid.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keyturn.core.schedule.windows import told
from keyturn.core.text.plain_text import visible
from keyturn.pages.dashboard import Level
from keyturn.pages.render import markdown_text

COLOURS: Final = {
    Level.WELL: "well fill:#d9f2e0,stroke:#1a7f37,color:#0b2e16",
    Level.SOON: "soon fill:#fff3cd,stroke:#9a6700,color:#3a2800",
    Level.BAD: "bad fill:#ffdcd9,stroke:#b42318,color:#4a0c06",
}
"""The class of each level: its name, and its colours on light and dark pages."""

PLAIN: Final = re.compile(r"[^A-Za-z0-9 _./:,@=+-]")
"""The characters that a label encodes by number, because Mermaid could interpret them."""

LOOK: Final = '%%{init: {"flowchart": {"wrappingWidth": 340, "nodeSpacing": 14, "rankSpacing": 60}}}%%'
"""One line each for name and state; Mermaid's default breaks both into five."""

MOST: Final = 50
"""Maximum number of copies, and of consumers, in the graph; the rest are counted."""


@dataclass(frozen=True)
class Node:
    """A place or an application: its name, its state in words, and its urgency."""

    name: str
    state: str
    level: Level


@dataclass(frozen=True)
class SecretGraph:
    """One secret, without its value. The name of ``hub`` is its path; the age is in days."""

    hub: Node
    strategy: str
    target: str
    copies: Sequence[Node]
    consumers: Sequence[Node]
    looked_at: datetime
    age: int | None = None
    limit: int | None = None
    next_at: datetime | None = None
    previous: str = ""

    def __str__(self) -> str:
        """Return the page as Markdown."""
        return "\n".join([*self._facts(), "", "```mermaid", *self._graph(), "```", ""])

    def _facts(self) -> Iterator[str]:
        yield f"# {markdown_text(self.hub.name)}"
        yield ""
        yield f"As of {told(self.looked_at)}: {markdown_text(self.hub.state)}."
        yield ""
        yield f"- Age: {age_of(self.age, self.limit)}"
        yield f"- Next rotation: {told(self.next_at) if self.next_at else 'nothing makes it due'}"
        yield f"- Strategy: {markdown_text(self.strategy)}"
        if self.previous:
            yield f"- Before it: {markdown_text(self.previous)}"
        for kind, nodes in (("copy", self.copies), ("consumer", self.consumers)):
            yield from (
                f"- {kind.capitalize()} {markdown_text(node.name)}: {markdown_text(node.state)}"
                for node in nodes
                if node.level is not Level.WELL
            )

    def _graph(self) -> Iterator[str]:
        yield LOOK
        yield "flowchart LR"
        yield f"  hub[({node_text(self.hub.name, self.hub.state)})]:::{class_of(self.hub)}"
        if self.target:
            yield f"  target[{node_text(self.target, self.strategy)}]"
            yield "  hub --- target"
        for letter, arrow, nodes in (("c", "-->", self.copies), ("a", "-.->", self.consumers)):
            for number, node in enumerate(nodes[:MOST]):
                yield f"  hub {arrow} {letter}{number}[{node_text(node.name, node.state)}]:::{class_of(node)}"
            if len(nodes) > MOST:
                yield f"  hub {arrow} {letter}more[{node_text(f'{len(nodes) - MOST} more', '')}]"
        yield from (f"  classDef {look}" for look in COLOURS.values())


def class_of(node: Node) -> str:
    """Return the name of a node's class."""
    return COLOURS[node.level].partition(" ")[0]


def node_text(name: str, state: str) -> str:
    """Return a node's text in two lines, with special characters as numbers for Mermaid."""
    lines = (PLAIN.sub(lambda match: f"#{ord(match[0])};", visible(text).strip()) for text in (name, state) if text)
    return f'"{"<br/>".join(lines)}"'


def age_of(age: int | None, limit: int | None) -> str:
    """Return an age and its limit, in days."""
    if age is None:
        return "no version yet"
    return f"{age} of {limit} days" if limit else f"{age} days, without a limit"
