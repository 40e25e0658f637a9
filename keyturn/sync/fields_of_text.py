"""The fields of a text that a store holds: those of a JSON object, or the one that is all of it."""

import json
from typing import Any, Final

from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.precise_json import changed, number

VALUE: Final = "value"
"""The field that holds what is no JSON object."""


def parse_fields(text: Sensitive) -> tuple[SecretFields, str]:
    """The fields of a text, and the name of the one that holds all of it: none for a JSON object.

    One that would not come back from the hub as it was (a key twice, a number that is none, or that the hub would
    round or spell in another way, half a character) is a text like others, and so is kept to the byte.
    """
    try:
        made = json.loads(
            text.reveal(), object_pairs_hook=_object, parse_constant=_no_number, parse_int=number, parse_float=number
        )
    except (ValueError, RecursionError):
        made = None
    if isinstance(made, dict) and made and not changed(made):
        return SecretFields(made), ""
    return SecretFields({VALUE: text}), VALUE


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError
    return made


def _no_number(_: str) -> Any:
    raise ValueError
