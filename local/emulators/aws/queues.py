"""moto's SQS, without its wait for a message: one request is answered at a time here, and all others would wait too."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.sqs.models import SQSBackend


def install() -> None:
    """Answer at once whether there is a message, however long that was to be waited for; call it before the first."""
    SQSBackend.receive_message = _at_once(SQSBackend.receive_message)  # type: ignore[method-assign]


def _at_once(receive: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(receive)
    def receive_at_once(backend: SQSBackend, queue: str, count: int, wait: int, *others: Any) -> Any:
        return receive(backend, queue, count, 0, *others)

    return receive_at_once
