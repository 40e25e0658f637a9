"""Pages: bounded, resumable, and bound to the question that they answer."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from local.emulators.gcp_secret_manager.errors import invalid
from local.emulators.gcp_secret_manager.messages import Pb

LARGEST_PAGE: Final = 25_000
"""The service's own cap on page_size."""


@dataclass(frozen=True)
class Page:
    """The entries of one page and the token of the next, which is empty after the last."""

    entries: list[Pb]
    next_token: str


def page(
    request: Pb, largest: int, entries: Callable[[int | None], Iterator[tuple[int, Pb]]], wanted: Callable[[Pb], bool]
) -> Page:
    """The next entries that are ``wanted``; ``entries`` gives those below a position, in falling order."""
    if request.page_size < 0:
        invalid("Field [page_size] must not be negative.")
    size = min(request.page_size or largest, largest)
    before = _position(request)
    chosen: list[Pb] = []
    last = 0
    for position, entry in entries(before):
        if not wanted(entry):
            continue
        if len(chosen) == size:
            return Page(chosen, _token(request, last))
        chosen.append(entry)
        last = position
    return Page(chosen, "")


def _question(request: Pb) -> bytes:
    return hashlib.sha256(f"{request.parent}\n{request.filter}".encode()).digest()[:8]


def _token(request: Pb, position: int) -> str:
    return base64.urlsafe_b64encode(_question(request) + position.to_bytes(8)).decode()


def _position(request: Pb) -> int | None:
    if not request.page_token:
        return None
    try:
        token = base64.urlsafe_b64decode(request.page_token)
    except (binascii.Error, ValueError):
        token = b""
    if len(token) != 16 or token[:8] != _question(request):
        invalid("Field [page_token] is not one that this listing gave out.")
    return int.from_bytes(token[8:])
