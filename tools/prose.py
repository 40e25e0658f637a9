"""Measures of English: words that cost a second reading, how long sentences are, and how often the reader is addressed.

``python -m tools.prose docs/sync.md`` prints the measures of pages.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WORDS: Final = re.compile(
    r"\b(whoever|nobody|somebody|told|tells?|stands?|stood|besides?|lies|lie|laid|mend(?:s|ed)?|in step|turns?|anew|"
    r"for a while|leads? to|goes on|of its own|lasts)\b",
    re.I,
)
CODE_BLOCK: Final = re.compile(r"(?ms)^ *(```|~~~).*?^ *\1[^\n]*$")
TABLE_ROW: Final = re.compile(r"(?m)^ *\|.*\|? *$")
HEADING: Final = re.compile(r"(?m)^#+ .*$")
INLINE_CODE: Final = re.compile(r"`[^`\n]*`")
LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
COMMENT: Final = re.compile(r"(?s)<!--.*?-->")
SENTENCE_END: Final = re.compile(r"(?<=[.!?:;])[*_)\"]*\s+(?=[*_(\"]*[A-Z0-9`x])|\n\s*\n|\n(?= *(?:[-*]|\d+\.) )")


@dataclass(frozen=True)
class Measures:
    """Of one page; code blocks do not count, a piece of code in a line counts as one word."""

    words: int
    found: tuple[str, ...]
    """The words of the list that the page uses."""
    addressed: int
    """How often it says *you* or *your*."""
    longest: int
    """Words that 95 of 100 sentences do not exceed; tables and headings do not count."""


def measures(markdown: str) -> Measures:
    """The measures of a page."""
    text = COMMENT.sub("", CODE_BLOCK.sub("\n", markdown))
    text = LINK.sub(r"\1", INLINE_CODE.sub("x", text))
    prose = HEADING.sub("\n", TABLE_ROW.sub("\n", text))
    lengths = sorted(len(sentence.split()) for sentence in SENTENCE_END.split(prose) if sentence and sentence.strip())
    return Measures(
        len(re.findall(r"\b[\w'-]+\b", text)),
        tuple(match[0].lower() for match in WORDS.finditer(text)),
        len(re.findall(r"\b(?:you|your|yours)\b", text, re.I)),
        lengths[int(len(lengths) * 0.95)] if lengths else 0,
    )


if __name__ == "__main__":
    for name in sys.argv[1:]:
        page = measures(Path(name).read_text())
        thousand = max(page.words, 1) / 1000
        sys.stdout.write(
            f"{name}: {page.words} words, p95 sentence {page.longest}, you {page.addressed / thousand:.1f}/1,000, "
            f"listed words {len(page.found) / thousand:.1f}/1,000: {' '.join(page.found)}\n"
        )
