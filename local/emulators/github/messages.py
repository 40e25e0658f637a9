"""Requests, answers and refusals, apart from how they travel."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One call: ``parts`` are those of the path, decoded."""

    method: str
    parts: tuple[str, ...]
    query: Mapping[str, list[str]]
    token: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)

    def number(self, name: str, otherwise: int, most: int) -> int:
        """A query parameter as GitHub takes it: what is malformed counts as absent, what is too much as the most."""
        text = self.query.get(name, [""])[-1]
        return max(1, min(int(text), most)) if text.isascii() and text.isdigit() else otherwise

    def texts(self, *names: str) -> list[str]:
        """These members of the JSON object in the body. Raises a refusal where one is missing or no text."""
        try:
            document = json.loads(self.body or b"{}")
        except (ValueError, RecursionError):
            raise Refusal(400, "Problems parsing JSON") from None
        texts = [document.get(name) for name in names] if isinstance(document, dict) else [None]
        if not all(isinstance(text, str) for text in texts):
            raise Refusal(422, f"Invalid request.\n\n{', '.join(names)} must be given as strings.")
        return [str(text) for text in texts]


@dataclass(frozen=True)
class Answer:
    """What the client gets; an empty body where there is no document."""

    status: int
    document: Mapping[str, Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The body's bytes."""
        return b"" if self.document is None else json.dumps(self.document).encode()


class Refusal(Exception):
    """An error as GitHub tells it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        document = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
        self.answer = Answer(status, document, headers or {})
