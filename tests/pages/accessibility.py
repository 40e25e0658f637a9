"""Checks of a page with axe-core, at every width and in both colour schemes."""

from importlib.resources import files
from typing import Final

from tools.browser import Tab

AXE: Final = (files("axe_playwright_python") / "axe.min.js").read_text()
LOOKS: Final = [(width, dark) for width in (1280, 390) for dark in (False, True)]
"""Widths in pixels, and whether the colours are dark."""
VIOLATIONS: Final = """axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => violations.flatMap(
  ({id, nodes}) => nodes.map(({target, failureSummary}) => [id, target.join(" "), failureSummary].join(": "))))"""


def violations(tab: Tab) -> list[str]:
    """The rules that the open page breaks, each with an element."""
    tab.page.evaluate(AXE)
    found: list[str] = tab.page.evaluate(VIOLATIONS)
    return found
