"""Requests, answers and refusals, apart from how they travel."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One call: ``parts`` is the path without its slashes, ``base`` the address that the client used.

    The names in ``headers`` are in lower case.
    """

    method: str
    parts: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    base: str
    body: bytes = field(default=b"", repr=False)

    def document(self) -> dict[str, Any]:
        """The JSON object in the body. Raises :class:`Refusal` where there is none."""
        try:
            document = json.loads(self.body)
            if b"\\u" in self.body:
                json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except ValueError:
            raise bad_parameter("The request body is not valid JSON") from None
        if not isinstance(document, dict):
            raise bad_parameter("The request body must be a JSON object")
        return document


@dataclass(frozen=True)
class Answer:
    """What the client gets: a status and one JSON object, or no content where ``document`` is None."""

    document: Mapping[str, Any] | None = field(repr=False)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The body's bytes."""
        return b"" if self.document is None else json.dumps(self.document, ensure_ascii=False).encode()


class Refusal(Exception):
    """An error of the vault, in the shape that Key Vault gives it."""

    def __init__(
        self, status: int, code: str, message: str, inner: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, code)
        error: dict[str, Any] = {"code": code, "message": message}
        if inner:
            error["innererror"] = {"code": inner}
        self.answer = Answer({"error": error}, status, headers or {})


def bad_parameter(message: str) -> Refusal:
    """400: the request itself is wrong."""
    return Refusal(400, "BadParameter", message)
