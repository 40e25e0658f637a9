"""The words of passphrases: the English list of BIP-39, chosen to be unmistakable."""

from functools import cache
from typing import Final

WORD_BITS: Final = 11
"""Bits per word: 2,048 equally likely words."""


@cache
def english() -> tuple[str, ...]:
    """Return every word in the list's order, read from the package ``mnemonic`` on first use.

    Four letters identify a word, and each has three to eight (BIP-39, "Wordlist").
    """
    from mnemonic import Mnemonic

    return tuple(Mnemonic("english").wordlist)


def passphrase_flaw(text: str, between: str, count: int) -> str | None:
    """Return why ``text`` is not a passphrase of ``count`` words, without revealing it."""
    words = text.split(between)
    if len(words) != count:
        return f"it has {len(words)} words, not {count}"
    return None if set(words) <= set(english()) else "it holds a word that is not in the list"
