"""Keeps a credential out of an answer that repeats it."""

from collections.abc import Iterable
from typing import Final

SHORTEST: Final = 8
"""Bytes of a credential; shorter text occurs by chance."""


class Mask:
    """Replaces each occurrence of ``secrets`` in a stream by as many asterisks.

    The end of a piece is held back only while it may be the beginning of one of them.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._secrets = tuple(sorted({text for text in secrets if len(text) >= SHORTEST}, key=len, reverse=True))
        self._held = b""

    def cover(self, data: bytes) -> bytes:
        """The masked bytes of a whole text, without what is held back."""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, b"*" * len(secret))
        return data

    def pass_on(self, piece: bytes) -> bytes:
        """The bytes of the stream that may be sent after this piece."""
        data = self.cover(self._held + piece if self._held else piece)
        begin = self._beginning(data)
        self._held = data[begin:]
        return data[:begin] if self._held else data

    def end(self) -> bytes:
        """What was held back at the end of the stream."""
        held, self._held = self._held, b""
        return held

    def _beginning(self, data: bytes) -> int:
        """The position of the longest end that begins one of the secrets."""
        begin = len(data)
        for secret in self._secrets:
            place = data.find(secret[:1], max(0, len(data) - len(secret) + 1))
            while 0 <= place < begin and not secret.startswith(data[place:]):
                place = data.find(secret[:1], place + 1)
            begin = min(begin, place) if place >= 0 else begin
        return begin
