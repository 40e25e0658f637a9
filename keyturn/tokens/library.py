"""The shipped formats, and recognising a token by them."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import yaml

from keyturn.core.sensitive import Sensitive
from keyturn.tokens.model import Recognition, TokenFormat, checksum_of

SHIPPED: Final = Path(__file__).parent / "formats"


@cache
def load_formats() -> Mapping[str, TokenFormat]:
    """Every shipped format by name."""
    files = sorted(SHIPPED.glob("*.yaml"))
    return {file.stem: TokenFormat.model_validate(yaml.safe_load(file.read_bytes())) for file in files}


def recognise(value: Sensitive, formats: Mapping[str, TokenFormat], name: str = "") -> Recognition:
    """The format that the whole of a value has; with ``name``, whether it is this one, whatever its checksum."""
    text = value.reveal()
    if name:
        fits = re.fullmatch(formats[name].pattern, text)
        return Recognition(name) if fits else Recognition("", f"it does not look like {formats[name].title}")
    names = [key for key, each in formats.items() if not each.named_only and re.fullmatch(each.pattern, text)]
    sound = [key for key in names if not formats[key].checksum or checksum_of(text) == text[-6:]]
    if len(sound) == 1:
        return Recognition(sound[0])
    if sound:
        return Recognition("", f"it looks like {' and like '.join(sound)}: choose with --format")
    if names:
        return Recognition("", f"it looks like {names[0]}, and its checksum is wrong: if it is complete, use --format")
    return Recognition("", "no format fits: one token a line, nothing around it")
