"""Requests, answers and refusals, apart from how they travel."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
}
"""The word for each status. Source: StatusReason in the API conventions."""


@dataclass(frozen=True)
class Request:
    """One call: ``parts`` is the path without its slashes; the names in ``headers`` are in lower case."""

    method: str
    parts: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    def document(self) -> dict[str, Any]:
        """The JSON object in the body; empty where there is no body. Raises :class:`Refusal`."""
        try:
            document = json.loads(self.body or b"{}")
        except ValueError:
            raise Refusal(400, "the request body is not valid JSON") from None
        if not isinstance(document, dict):
            raise Refusal(400, "the request body must be a JSON object")
        return document


@dataclass(frozen=True)
class Answer:
    """What the client gets: a status and one JSON object."""

    document: Mapping[str, Any] = field(repr=False)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The body's bytes."""
        return json.dumps(self.document, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Cause:
    """One thing that is wrong with a field."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


class Refusal(Exception):
    """An error of the API server, as the Status object that it answers with."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str = "",
        name: str = "",
        kind: str = "",
        causes: Iterable[Cause] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, reason or REASONS[status])
        details: dict[str, Any] = {key: value for key, value in (("name", name), ("kind", kind)) if value}
        if listed := [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]:
            details["causes"] = listed
        document = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
        }
        self.answer = Answer(
            {**document, "reason": reason or REASONS[status], "details": details, "code": status},
            status,
            headers or {},
        )
