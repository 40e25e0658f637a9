"""The fields of a text in a store, as a JSON object or as one field."""

import json
from typing import Any, Final

from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.precise_json import changed, number

VALUE: Final = "value"
"""The field for a text that is not a JSON object."""


def parse_fields(text: Sensitive) -> tuple[SecretFields, str]:
    """The fields of a text, and the name of the one with the whole text, empty for an object.

    Objects that the hub would change (a repeated key, NaN, a number that it rounds or reformats, a lone surrogate)
    count as text and are kept byte for byte.
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
