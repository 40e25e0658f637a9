"""How a run's result lies on the Prefect server: JSON, in parts that a server takes."""

import json
from collections.abc import Iterable
from typing import Any, Final

RESULT: Final = "result"
"""The type of the artifacts: Prefect's own word for data that people are not shown."""

WAITS: Final = "keyturn.waits"
"""The label of a run whose result somebody waits for; others leave none."""

PART: Final = 500_000
"""Characters of one part."""


def split_text(text: str, size: int) -> list[str]:
    """The text in parts of that size; one at least."""
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]


def join_parts(parts: Iterable[Any]) -> dict[str, Any] | None:
    """The newest result that is whole, of parts that come newest first; None where there is none.

    A run that was begun again after its process died may have left one before, or the beginning of one.
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
