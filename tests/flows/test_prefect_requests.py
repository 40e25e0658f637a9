"""What each flow asks of Prefect's server, by kind: a change that asks for more must change it here."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
import pytest

from flows.retire import retire
from flows.rotate import rotate_secret
from flows.rotate_due import rotate_due
from flows.sync import sync
from keyturn.core.schedule.due import Trigger
from tests.flows.site import Site, destination
from tests.support.lab import Lab

pytestmark = pytest.mark.slow

NAMED: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=/name/).*|(?<=/key/).*|(?<=latest/).*")
"""What differs in the paths of requests of one kind: ids and names."""
UNSTEADY: Final = ("POST logs/", "GET csrf-token", "GET admin/version")
"""Kinds whose number depends on the time that a run takes, or on what the process has done before."""
RUN: Final = {
    "POST flows/": 1,
    "POST flow_runs/": 1,
    "GET flow_runs/ID": 1,
    "PATCH flow_runs/ID": 1,
    "POST flow_runs/ID/set_state": 2,
    "GET flows/ID": 1,
}
"""A run that is not started by a worker: its flow and itself, its beginning and end, its name, and what it reads."""
PINNED: Final = {
    "rotate-secret": RUN | {"POST artifacts/": 2},
    "rotate-due": RUN,
    "sync": RUN,
    "retire": RUN | {"POST artifacts/": 2},
}
"""The most requests of each kind. Task runs are none: Prefect learns of them by events, over one connection."""


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Every request of this process to Prefect's API while it lasts, by kind."""
    kinds: Counter[str] = Counter()
    send = httpx.AsyncHTTPTransport.handle_async_request

    async def counting(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        answer = await send(self, request)
        kind = f"{request.method} {NAMED.sub('ID', request.url.path.partition('/api/')[2])}"
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE and not kind.startswith(UNSTEADY):
            kinds[kind] += 1
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", counting)
        yield kinds


def test_no_flow_asks_more_of_prefect_than_before(
    build: Callable[..., Site], lab: Lab, monkeypatch: pytest.MonkeyPatch, nothing_open: None
) -> None:
    secret = lab.alternating(destinations=[destination()])
    build(secret)
    flows: dict[str, Callable[[], Any]] = {
        "rotate-secret": lambda: rotate_secret(secret.path, Trigger.FORCE),
        "rotate-due": rotate_due,
        "sync": sync,
        "retire": retire,
    }
    more = {}
    for name, flow in flows.items():
        with counted(monkeypatch) as kinds:
            asyncio.run(flow())
        assert kinds["POST flow_runs/"] == 1
        more[name] = {kind: count for kind, count in kinds.items() if count > PINNED[name].get(kind, 0)}
    assert all(not kinds for kinds in more.values()), more
