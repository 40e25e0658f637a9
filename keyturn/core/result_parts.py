"""A run's result on the Prefect server: JSON, in parts that a server accepts."""

import json
from collections.abc import Iterable
from typing import Any, Final

RESULT: Final = "result"
"""The artifacts' type: Prefect's name for data not shown to people."""

WAITS: Final = "keyturn.waits"
"""Label of a run whose result is awaited; other runs leave none."""

PART: Final = 500_000
"""Characters of one part."""


def split_text(text: str, size: int) -> list[str]:
    """Split the text into parts of that size, at least one."""
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]


def join_parts(parts: Iterable[Any]) -> dict[str, Any] | None:
    """The newest complete result, from parts in newest-first order; None if there is none.

    A run restarted after its process died may have left an older result, or an incomplete one.
    """
    results: dict[str, dict[int, Any]] = {}
    for part in parts:
        results.setdefault(part["id"], {})[part["part"]] = part
    for by_number in results.values():
        texts = [by_number[number]["text"] for number in sorted(by_number)]
        if len(texts) == by_number[min(by_number)]["of"]:
            data: dict[str, Any] = json.loads("".join(texts))
            return data
    return None
