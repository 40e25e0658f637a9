"""A recording of a command as SVG: its lines appear in their rhythm. All of them are visible where nothing moves."""

import io
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from keyturn.core.errors import Unavailable

COLUMNS: Final = 106
INDENT: Final = 2
"""Spaces by which the rest of a folded line is indented further than its beginning."""
FIRST: Final = 0.5
SHORTEST: Final = 0.15
LONGEST: Final = 0.9
"""Seconds before all lines, and the bounds of a pause between two lines."""
CHARACTER: Final = 8.4
SIZE: Final = 14
LINE: Final = 21
MARGIN: Final = 20
TOP: Final = 42
"""Pixels: the width of a character, its size, the height of a line, and the space around the text and above it."""
ADDRESS: Final = "://"

STYLE: Final = f"""
text {{ font: {SIZE}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
  fill: #c9d1d9; white-space: pre }}
.typed {{ fill: #ffffff; font-weight: bold }}
.prompt {{ fill: #7ee787 }}
@media (prefers-reduced-motion: no-preference) {{
  .line {{ animation: appear 0.2s both }}
  @keyframes appear {{ from {{ opacity: 0 }} }}
}}
"""


@dataclass(frozen=True)
class Line:
    """What was printed, and how many seconds after the start."""

    at: float
    text: str


def record(arguments: Sequence[str], timeout: float) -> list[Line]:
    """Run a command of Keyturn and return the lines of its progress. Raises Unavailable with the last one if it fails.

    Lines with an address are left out: they hold ports and paths of one machine. So is the table on stdout, which
    repeats the steps.
    """
    command = [sys.executable, "-m", "keyturn.cli", *arguments]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        end = threading.Timer(timeout, process.kill)
        end.start()
        output = io.TextIOWrapper(process.stderr or io.BytesIO(), encoding="utf-8")
        lines = [Line(time.monotonic() - began, text.rstrip()) for text in output]
        end.cancel()
    if process.returncode:
        problem = lines[-1].text if lines else "it printed nothing"
        raise Unavailable("record", f"keyturn {' '.join(arguments)}", problem, "Run `KEEP=1 make demo` first")
    return [line for line in lines if ADDRESS not in line.text]


def moments(lines: Sequence[Line]) -> Iterator[float]:
    """The second at which each line appears, with every pause within its bounds."""
    shown = FIRST
    for before, line in zip([*lines[:1], *lines], lines, strict=False):
        shown += min(max(line.at - before.at, SHORTEST), LONGEST)
        yield shown


def folded(text: str) -> list[str]:
    """The rows that a line takes."""
    rest = " " * (len(text) - len(text.lstrip()) + INDENT)
    return textwrap.wrap(text, COLUMNS, subsequent_indent=rest, break_on_hyphens=False)


def drawn(row: int, text: str, attributes: str) -> str:
    """One row of text at its place, as wide in every font."""
    bare = text.lstrip()
    x = MARGIN + (len(text) - len(bare)) * CHARACTER
    width = len(bare) * CHARACTER
    return (
        f'<text x="{x:.1f}" y="{TOP + (row + 1) * LINE}" textLength="{width:.1f}" {attributes}>'
        f"{escape(bare, quote=False)}</text>"
    )


def svg(typed: str, lines: Sequence[Line], title: str) -> str:
    """The picture: the command that was typed, then its lines. ``title`` describes it to a screen reader."""
    rows = [(text, moment) for line, moment in zip(lines, moments(lines), strict=True) for text in folded(line.text)]
    width, height = round(COLUMNS * CHARACTER + 2 * MARGIN), TOP + (len(rows) + 1) * LINE + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="#0d1117" stroke="#6e7681"/>',
        *(f'<circle cx="{MARGIN + 6 + 20 * at}" cy="22" r="6" fill="#6e7681"/>' for at in range(3)),
        drawn(0, "$", 'class="prompt"'),
        drawn(0, f"  {typed}", 'class="typed"'),
        *(
            drawn(at, text, f'class="line" style="animation-delay: {moment:.2f}s"')
            for at, (text, moment) in enumerate(rows, 1)
        ),
    ]
    return "\n".join([*parts, "</svg>", ""])
