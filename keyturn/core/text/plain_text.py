"""Texts that others have chosen, as people are shown them: whatever a name holds, it stays text."""

import re
from typing import Final

LONGEST: Final = 2_000
"""Characters of one text; whoever chose a longer one wanted to hide the rest of the page."""

MARKUP: Final = re.compile(r"[\\<>&*`~|#\[\]{}]|(?<!\w)@|(?<=:)//|(?i:(?<!\w)w(?=ww\.))")
"""What chats and mails read as markup, as a mention or as a link."""


def visible(text: str, longest: int = LONGEST) -> str:
    """The text on one line, with everything that can't be seen or turns writing around spelled out."""
    cut = text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
    return "".join(letter if letter.isprintable() else _spelled(letter) for letter in cut)


def inert(text: str, longest: int = LONGEST) -> str:
    """The same where some reader may take text for markup: what could be it is spelled out, as ``\\x3cb\\x3e``."""
    return visible(MARKUP.sub(lambda markup: "".join(f"\\x{ord(letter):02x}" for letter in markup[0]), text), longest)


def _spelled(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
