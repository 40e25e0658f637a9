"""Regular expressions that authors of a catalogue write, whose time is bounded."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from keyturn.settings.fields import Line, refused

_PART: Final = r"(?:\\.|\[(?:\\.|[^\]\\])+\]|[^\\\[\](){}|*+?^$])([*+?]|\{[0-9]{1,3}(?:,[0-9]{0,3})?\})?"
MOST_REPEATS: Final = 3


def _pattern(text: str) -> str:
    """A pattern whose time is bounded: without groups, with few repeats."""
    try:
        legal = re.fullmatch(f"(?:{_PART})+", text) and re.compile(text)
    except re.error:
        legal = None
    if not legal or sum(bool(repeat) for repeat in re.findall(_PART, text)) > MOST_REPEATS:
        remedy = f"Write characters and [sets], {MOST_REPEATS} of them at most with *, +, ? or {{2,8}}."
        raise refused("is not a pattern that can be used here", remedy)
    return text


QuickPattern = Annotated[Line, AfterValidator(_pattern)]
