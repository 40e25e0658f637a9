"""Values that a REST API repeats in its answers reach no error or log."""

import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields
from keyturn.providers.http.api_target import HttpApi
from keyturn.strategies.registry import STRATEGIES
from tests.strategies.test_http_exchange import Tools

ADMIN, CURRENT, NEW = "CANARY-of-the-admin-0123456789", "CANARY-of-current-0123456789", "CANARY-of-candidate-0123456789"
BEARER = {"authorization": "Bearer {{admin.token}}"}
SCHEDULE: dict[str, Any] = {"target": "api", "interval": "30d"}
ROTATIONS: dict[str, dict[str, Any]] = {
    "http-api-key": {
        **SCHEDULE,
        "grace": "1d",
        "create": {"path": "/keys", "body": {"name": "{{path}} {{unique}}", "old": "{{current.key}}"}},
        "answer": {"id": "/id", "key": "/key"},
        "test": {"path": "/me", "headers": {"x-key": "{{key}}"}},
        "delete": {"path": "/keys/{{id}}"},
        "list": {"path": "/keys", "items": "/data", "id": "/id"},
    },
    "http-password": {
        **SCHEDULE,
        "grace": "0s",
        "accounts": ["ml"],
        "accepts_gap": True,
        "generate": {"key": {}},
        "change": {"path": "/users/{{account}}", "body": {"password": "{{candidate.key}}"}},
        "test": {"path": "/me", "basic": "{{account}}:{{candidate.key}}"},
        "end_sessions": {"path": "/users/{{account}}/sessions"},
    },
    "http-two-slots": {
        **SCHEDULE,
        "grace": "1d",
        "slots": ["one", "two"],
        "read": {"path": "/keys", "values": {"one": "/one", "two": "/two"}},
        "regenerate": {"path": "/keys/{{slot}}"},
        "test": {"path": "/me", "headers": {"x-key": "{{key}}"}},
    },
    "http-exchange": {
        **SCHEDULE,
        "grace": "0s",
        "accepts_gap": True,
        "exchange": {"path": "/rotate", "headers": {"x-key": "{{current.key}}"}},
        "answer": {"key": "/key"},
        "test": {"path": "/me", "headers": {"x-key": "{{key}}"}},
        "revoke": {"path": "/revoke", "headers": {"x-key": "{{key}}"}},
        "recover": {"path": "/tokens", "body": {"name": "{{path}}"}},
    },
}
STATUSES = (200, 201, 302, 307, 400, 401, 403, 404, 409, 422, 429, 500, 503)


def repeated(request: Request) -> str:
    """All that a request has, with values that the answer to a good one could have."""
    sent = {"headers": dict(request.headers), "body": request.get_data(as_text=True), "url": request.url}
    values = {"id": "3", "key": NEW, "one": CURRENT, "two": NEW, "error": sent}
    return json.dumps({**values, "data": [{"id": "3", "key": CURRENT}]})


def verbs(strategy: Any) -> Iterator[Callable[[], Any]]:
    """All that a rotation and a revocation ask of a strategy."""
    current = SecretFields({"id": "1", "username": "ml", "slot": "one", "key": CURRENT})
    candidate = SecretFields({"id": "2", "username": "ml", "slot": "two", "key": NEW})
    change = Change("apps/key", 7, candidate, current)
    named = strategy.credential_id(current)
    assert not any(value in str(named) for value in (ADMIN, CURRENT, NEW))
    yield lambda: strategy.preflight(current, None)
    yield lambda: strategy.preflight(current, candidate)
    if strategy.mints_at_target:
        yield strategy.existing_ids
        yield lambda: strategy.remove_orphans((), (current,))
    yield lambda: repr(strategy.mint(current))
    yield lambda: strategy.install(change)
    yield lambda: strategy.verify(change)
    yield lambda: strategy.abandon(change)
    yield lambda: strategy.in_use(named, datetime.now(UTC) - timedelta(days=1))
    yield lambda: strategy.retire(named, 7)
    yield lambda: strategy.revoke(current, 7)
    yield lambda: strategy.accepts(candidate)


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
@pytest.mark.parametrize("kind", ROTATIONS)
def test_no_value_that_an_api_repeats_is_in_an_error_or_a_log(
    kind: str, as_json: bool, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings: Any = TypeAdapter(STRATEGIES[kind]).validate_python({"strategy": kind, **ROTATIONS[kind]})
    elsewhere, said = httpserver.url_for("/elsewhere"), list[str]()
    kinds = iter(STATUSES)
    status = next(kinds)

    def answer(request: Request) -> Response:
        if request.path == "/elsewhere":
            said.append(f"asked {ADMIN}")
        text = repeated(request)
        headers = {"location": elsewhere, "www-authenticate": f"Basic {ADMIN}", "x-more": CURRENT, "retry-after": "1"}
        return Response(text if as_json else f"no json {text}", status, headers, mimetype="application/json")

    httpserver.expect_request(re.compile(".*")).respond_with_handler(answer)
    api = HttpApi("api", url=httpserver.url_for(""), admin=lambda: SecretFields({"token": ADMIN}), headers=BEARER)
    strategy = settings.open("apps/key", Tools(api))
    failures = 0
    while status:
        for verb in verbs(strategy):
            try:
                said.append(str(verb()))
            except KeyturnError as error:
                failures += 1
                said += [repr(error), str(error), "".join(traceback.format_exception(error))]
        status = next(kinds, 0)
    assert failures > len(STATUSES)
    texts = [*said, *(f"{record.getMessage()} {vars(record)}" for record in caplog.records)]
    assert [text for text in texts if any(value in text for value in (ADMIN, CURRENT, NEW))] == []
