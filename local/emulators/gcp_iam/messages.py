"""Requests, answers and refusals, apart from how they travel: JSON over HTTP, errors as Google tells them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One call: ``path`` begins with a slash and is decoded, ``base`` is the server's own address."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    base: str
    body: bytes = field(default=b"", repr=False)

    def one(self, name: str) -> str:
        """The one value of a query parameter. Raises a refusal where it is missing."""
        if len(values := self.query.get(name, [])) != 1:
            raise invalid(f"Field {name} had an invalid value: it is needed once.")
        return values[0]

    def document(self) -> dict[str, Any]:
        """The JSON object in the body, empty where there is none. Raises a refusal for anything else."""
        try:
            document = json.loads(self.body or b"{}")
        except ValueError:
            raise invalid("Invalid JSON payload received.") from None
        if not isinstance(document, dict):
            raise invalid("Invalid JSON payload received.")
        return document


@dataclass(frozen=True)
class Answer:
    """What the client gets: one JSON object."""

    document: Mapping[str, Any] = field(repr=False)
    status: int = 200

    def content(self) -> bytes:
        """The body's bytes."""
        return json.dumps(self.document).encode()


class Refusal(Exception):
    """An error as Google's APIs tell it: ``code`` is one of google.rpc.Code. Source: AIP-193."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code)
        self.answer = Answer({"error": {"code": status, "message": message, "status": code}}, status)


def invalid(message: str) -> Refusal:
    """400: the request itself is wrong."""
    return Refusal(400, "INVALID_ARGUMENT", message)


def not_found(message: str) -> Refusal:
    """404: what it names is not there."""
    return Refusal(404, "NOT_FOUND", message)
