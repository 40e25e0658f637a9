"""The proxy's own answers: an error in the form that clients of OpenAI and Anthropic show to their users."""

import json
from http import HTTPStatus
from typing import Final

from keyturn.agent.http import JSON, HttpAnswer

GONE: Final = "client_gone"


class ProxyFailure(Exception):
    """The reason for which a request ends without the service's answer. It holds no value."""

    def __init__(self, status: HTTPStatus, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def answer(self) -> HttpAnswer:
        error = {"type": f"keyturn_{self.code}", "code": self.code, "message": self.message}
        later = () if self.retry_after is None else (("retry-after", str(self.retry_after)),)
        return HttpAnswer(self.status, json.dumps({"type": "error", "error": error}), JSON, later)


def gone() -> ProxyFailure:
    return ProxyFailure(HTTPStatus.BAD_REQUEST, GONE, "The client has closed the connection.")


def credential_revoked(route: str, then: str) -> ProxyFailure:
    return ProxyFailure(
        HTTPStatus.FORBIDDEN, "credential_revoked", f"The credential of route {route} was revoked. {then}"
    )


def bad_answer(route: str, problem: str) -> ProxyFailure:
    return ProxyFailure(HTTPStatus.BAD_GATEWAY, "bad_answer", f"The service of route {route} failed: {problem}.")


def too_slow(route: str) -> ProxyFailure:
    return ProxyFailure(HTTPStatus.GATEWAY_TIMEOUT, "too_slow", f"The service of route {route} did not answer in time.")


def malformed(problem: str) -> ProxyFailure:
    return ProxyFailure(HTTPStatus.BAD_REQUEST, "malformed", f"The request is malformed: {problem}.")


def body_too_large(route: str) -> ProxyFailure:
    text = f"The request's body is larger than route {route} allows."
    return ProxyFailure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", text)
