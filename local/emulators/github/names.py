"""Names, moments and pages, which secrets and variables share."""

import re
import time
from collections.abc import Sequence
from typing import Any, Final

from local.emulators.github.messages import Refusal, Request

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def checked(name: str, what: str) -> str:
    """The name as GitHub keeps it. Raises a refusal where it is not legal."""
    if name.upper().startswith("GITHUB_"):
        raise Refusal(422, f"{what} names must not start with GITHUB_.")
    if not NAME.fullmatch(name):
        allowed = "alphanumeric characters or underscores, and must start with a letter or an underscore"
        raise Refusal(422, f"{what} names can only contain {allowed}.")
    return name.upper()


def now() -> str:
    """This moment as GitHub tells it, in whole seconds: two changes within one look the same."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def page(request: Request, entries: Sequence[Any], most: int, otherwise: int = 30) -> list[Any]:
    """The entries of the page that is asked for."""
    size = request.number("per_page", otherwise, most)
    begin = (request.number("page", 1, 10**6) - 1) * size
    return list(entries[begin : begin + size])
