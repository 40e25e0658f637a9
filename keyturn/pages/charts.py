"""Charts as inline SVG: from numbers only, in the page's colours, without a script."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

from keyturn.core.text.plain_text import visible

WIDTH: Final = 760
ROW: Final = 24
"""The height of a horizontal bar, with its gap."""
LABEL: Final = 265
"""The width for the names of bars."""
NUMBER: Final = 110
"""The width for the numbers after bars."""
HEIGHT: Final = 150
"""The height of vertical bars."""
BOTTOM: Final = 26
LEFT: Final = 44

MOST: Final = 20
"""Maximum number of secrets in the chart of ages, nearest to their limits first."""
SCALE: Final = 150
"""The width of the chart of ages, in percent of the limit; longer bars are cut."""
NAME: Final = 34
"""Maximum length of a name, in characters."""

CLASSES: Final = ("public", "internal", "confidential", "restricted")
"""The classifications, in drawing order."""


@dataclass(frozen=True)
class AgeBar:
    """A secret's age and limit, in days, and its classification, which sets the colour."""

    name: str
    age: int
    limit: int
    classification: str

    @property
    def percent(self) -> int:
        """The age in percent of the limit."""
        return 100 * self.age // self.limit


def age_bars(ages: Iterable[AgeBar]) -> Markup:
    """Return bars for the secrets nearest to their limits, or beyond; empty without any."""
    shown = sorted(ages, key=lambda bar: (-bar.percent, bar.name))[:MOST]
    if not shown:
        return Markup()
    room = WIDTH - LABEL - NUMBER
    limit = LABEL + room * 100 // SCALE
    height = ROW * len(shown) + BOTTOM
    parts = [_line(limit, 0, limit, height - BOTTOM + 4, "limit"), _text(limit, height - 6, "its limit", "middle")]
    for at, bar in enumerate(shown):
        top, width = at * ROW, max(2, room * min(bar.percent, SCALE) // SCALE)
        parts.append(_text(LABEL - 10, top + 16, _short(bar.name), "end"))
        parts.append(_bar(LABEL, top + 4, width, ROW - 9, "bad" if bar.percent > 100 else bar.classification))
        parts.append(_text(LABEL + room + 10, top + 16, f"{bar.age} of {bar.limit} d", "start"))
    return _svg(height, "Ages of secrets against their limits", parts)


def stacked_bars(stacks: Sequence[tuple[str, Sequence[tuple[int, str]]]], title: str) -> Markup:
    """Return vertical bars of stacked parts."""
    most = max((sum(count for count, _ in parts) for _, parts in stacks), default=0)
    if not most:
        return Markup()
    step = (WIDTH - LEFT) // len(stacks)
    drawn = [_line(LEFT, HEIGHT, WIDTH, HEIGHT, "axis"), _line(LEFT, 12, WIDTH, 12, "axis")]
    drawn += [_text(LEFT - 8, 16, f"{most:,}", "end"), _text(LEFT - 8, HEIGHT, "0", "end")]
    each = max(1, -(-64 // max(1, step)))
    for at, (name, parts) in enumerate(stacks):
        left, bottom = LEFT + at * step + 2, HEIGHT
        for count, kind in parts:
            tall = (HEIGHT - 12) * count // most
            if count:
                bottom -= max(1, tall)
                drawn.append(_bar(left, bottom, max(1, step - 4), max(1, tall), kind))
        if at % (1 if len(name) < 3 else each) == 0 and (len(name) < 3 or left + 64 <= WIDTH):
            drawn.append(_text(left, HEIGHT + 18, name, "start"))
    return _svg(HEIGHT + BOTTOM, title, drawn)


def _short(name: str) -> str:
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"


def _bar(left: int, top: int, width: int, height: int, kind: str) -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" rx="2" class="bar {}"/>').format(
        left, top, width, height, kind if kind in {*CLASSES, "done", "bad"} else "internal"
    )


def _line(left: int, top: int, right: int, bottom: int, kind: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(left, top, right, bottom, kind)


def _text(left: int, top: int, words: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(left, top, anchor, visible(words))


def _svg(height: int, title: str, parts: Iterable[Markup]) -> Markup:
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, title)
    return head + Markup("").join(map(escape, parts)) + Markup("</svg>")
