"""Catalogue patterns match in linear time."""

from itertools import product

import pytest

from keyturn.core.text.path_patterns import covers

LONG = 20_000
"""Characters. With an expression that tries every way to share them among the stars this takes for ever."""


@pytest.mark.parametrize("pattern", ["*a*a*a*b", "*a*a*a*a*a*a*a*a*a*a*b", "**/*a*a*b", "x/*a*a*a*b/**"])
def test_many_stars_in_one_part_of_a_path_take_no_time(pattern: str) -> None:
    assert not covers(pattern, "a" * LONG)
    assert covers("*a*a*a*b", "a" * LONG + "b")


def test_many_stars_over_parts_take_no_time() -> None:
    assert not covers("**/a/**/a/**/a/**/a/**/a/**/b", "/".join("a" * 1_000))
    assert covers("**/a/**/a/**/a/**/a/**/a/**/b", "/".join("a" * 1_000) + "/b")


@pytest.mark.parametrize(
    "pattern", ["*a*b*", "a*b*a", "**/a", "a/**", "**/a/**/b", "*/**/a*", "**/b/a/**", "a/**/b/**/a", "**/**/a", "**"]
)
def test_a_pattern_fits_what_it_says(pattern: str) -> None:
    paths = ["/".join(parts) for count in (1, 2, 3, 4) for parts in product(("a", "b", "ab", "aba"), repeat=count)]
    assert [covers(pattern, path) for path in paths] == [
        fits(tuple(pattern.split("/")), tuple(path.split("/"))) for path in paths
    ]


def fits(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """What a pattern means, in so many words: every way to share the parts is tried."""
    if not pattern or not path:
        return not pattern and not path
    if pattern == ("**",):
        return True
    if pattern[0] == "**":
        return any(fits(pattern[1:], path[count:]) for count in range(len(path)))
    return fits_part(pattern[0], path[0]) and fits(pattern[1:], path[1:])


def fits_part(pattern: str, text: str) -> bool:
    """The same of one part."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(fits_part(pattern[1:], text[count:]) for count in range(len(text) + 1))
    return text[:1] == pattern[0] and fits_part(pattern[1:], text[1:])
