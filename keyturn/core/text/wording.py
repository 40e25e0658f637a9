"""The words of passphrases: the English list of BIP-39, which nobody can mistake for one another."""

from functools import cache
from typing import Final

WORD_BITS: Final = 11
"""Each of 2,048 words is as likely as any other."""


@cache
def english() -> tuple[str, ...]:
    """Every word, in the list's order. It is read from the package ``mnemonic`` when first asked for.

    Four letters tell any two words apart, and each has three to eight (BIP-39, "Wordlist").
    """
    from mnemonic import Mnemonic

    return tuple(Mnemonic("english").wordlist)


def passphrase_flaw(text: str, between: str, count: int) -> str | None:
    """Why ``text`` is no passphrase of ``count`` words, in words that show nothing of it."""
    words = text.split(between)
    if len(words) != count:
        return f"it has {len(words)} words, not {count}"
    return None if set(words) <= set(english()) else "it holds a word that is not in the list"
