"""Generates tokens that fit a format's pattern, so that no file contains a real-looking one."""

import re
import secrets
import string
from typing import Any

from keyturn.tokens.model import BASE62, TokenFormat, checksum_of

FEW = 3
"""How much longer than the least a repetition is at most."""


def make_token(each: TokenFormat) -> str:
    """A token of this format, with its checksum."""
    text = generated(re._parser.parse(each.pattern))  # type: ignore[attr-defined]
    return text[:-6] + checksum_of(text) if each.checksum else text


def generated(tree: Any) -> str:
    return "".join(piece(str(kind), value) for kind, value in tree)


def piece(kind: str, value: Any) -> str:
    match kind:
        case "LITERAL":
            return chr(value)
        case "IN":
            return secrets.choice([char for char in string.printable if any(holds(each, char) for each in value)])
        case "MAX_REPEAT":
            least, most, inner = value
            return "".join(generated(inner) for _ in range(least + secrets.randbelow(min(most - least, FEW) + 1)))
        case "SUBPATTERN":
            return generated(value[3])
        case "BRANCH":
            return generated(secrets.choice(value[1]))
    raise AssertionError(kind)


def holds(member: Any, char: str) -> bool:
    kind, value = str(member[0]), member[1]
    return char == chr(value) if kind == "LITERAL" else value[0] <= ord(char) <= value[1]


def with_wrong_checksum(token: str) -> str:
    last = BASE62[(BASE62.index(token[-1]) + 1) % len(BASE62)]
    return token[:-1] + last
