"""Safe display of texts chosen by others: whatever a name contains, it stays text."""

import re
from typing import Final

LONGEST: Final = 2_000
"""Maximum characters of one text, so that none can hide the rest of the page."""

MARKUP: Final = re.compile(r"[\\<>&*`~|#\[\]{}]|(?<!\w)@|(?<=:)//|(?i:(?<!\w)w(?=ww\.))")
"""Text that chats and mail clients read as markup, as a mention or as a link."""


def visible(text: str, longest: int = LONGEST) -> str:
    """The text on one line, with invisible and direction-changing characters escaped."""
    cut = text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
    return "".join(letter if letter.isprintable() else _spelled(letter) for letter in cut)


def inert(text: str, longest: int = LONGEST) -> str:
    r"""The text with possible markup escaped too, as ``\x3cb\x3e``."""
    return visible(MARKUP.sub(lambda markup: "".join(f"\\x{ord(letter):02x}" for letter in markup[0]), text), longest)


def _spelled(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
