"""One secret as Markdown with a graph: the hub, every copy and every consumer, each with its version and state.

Whatever a name holds, it stays text, in Markdown and in Mermaid.
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
"""The class of each level: its name, and what it looks like on a light and on a dark page."""

PLAIN: Final = re.compile(r"[^A-Za-z0-9 _./:,@=+-]")
"""What a label has as its number: everything that Mermaid could take for its own."""

LOOK: Final = '%%{init: {"flowchart": {"wrappingWidth": 340, "nodeSpacing": 14, "rankSpacing": 60}}}%%'
"""Wide enough for a copy's name and its state in a line each: Mermaid's own width breaks both into five."""

MOST: Final = 50
"""So many copies, and so many consumers, are drawn; of the rest their number."""


@dataclass(frozen=True)
class Node:
    """One place or one application: its name, how it stands in words, and how urgent that is."""

    name: str
    state: str
    level: Level


@dataclass(frozen=True)
class SecretGraph:
    """One secret, in names only, as it was at ``looked_at``. ``hub`` is named by its path; the age is in days."""

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
        """As Markdown."""
        return "\n".join([*self._facts(), "", "```mermaid", *self._graph(), "```", ""])

    def _facts(self) -> Iterator[str]:
        yield f"# {markdown_text(self.hub.name)}"
        yield ""
        yield f"As of {told(self.looked_at)}: {markdown_text(self.hub.state)}."
        yield ""
        yield f"- Age: {age_of(self.age, self.limit)}"
        yield f"- Next turn: {told(self.next_at) if self.next_at else 'nothing makes it due'}"
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
    """The colour's class of a node."""
    return COLOURS[node.level].partition(" ")[0]


def node_text(name: str, state: str) -> str:
    """The text of a node, in two lines; every other character as its number, which Mermaid writes out."""
    lines = (PLAIN.sub(lambda match: f"#{ord(match[0])};", visible(text).strip()) for text in (name, state) if text)
    return f'"{"<br/>".join(lines)}"'


def age_of(age: int | None, limit: int | None) -> str:
    """An age against its limit, in days."""
    if age is None:
        return "no version yet"
    return f"{age} of {limit} days" if limit else f"{age} days, without a limit"
