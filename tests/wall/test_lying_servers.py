"""HTTP servers that never answer, drip, redirect or send endless answers."""

from collections.abc import Sequence
from http.client import HTTPMessage
from io import BytesIO

import pytest

from keyturn.client.webhooks.receiver import BODY_LIMIT, Receiver, wsgi_app
from keyturn.core.errors import RETRY_AFTER_LIMIT, KeyturnError, Throttled
from keyturn.core.notifications.notices import NOTICE_PATH, Notice
from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import RefusedAnswer
from keyturn.providers.outbound import cap_waits, insist_on_size, within
from tests.support.clients import CLIENTS, LIBRARIES, TOKEN, WAIT, Act, ask_hub, forward_entries, notify_consumer
from tests.support.liar import (
    HUGE,
    SLOW,
    Behaviour,
    answers_in_turn,
    asks_for_ages,
    never_answers,
    never_ends,
    redirects_to,
    says_a_huge_chunk,
)
from tests.wall.conftest import SIZE, Serve

pytestmark = pytest.mark.sampled(3, of="file")


def each(clients: Sequence[Act], behaviours: Sequence[Behaviour]) -> list[object]:
    """Every client with the first of these ways to lie; those with a way of their own with every one."""
    pairs = [(act, way) for act in clients for way in behaviours if way is behaviours[0] or act in LIBRARIES]
    return [pytest.param(act, way, id=f"{act.__name__}-{way.__name__}") for act, way in pairs]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(("act", "behaviour"), each(CLIENTS, SLOW))
def test_a_server_without_a_timely_answer_is_given_up(serve: Serve, act: Act, behaviour: Behaviour) -> None:
    _, place = serve(behaviour, act)
    with pytest.raises(KeyturnError, match=rf"within {WAIT} s"):
        act(place)


@pytest.mark.parametrize(
    ("act", "behaviour"), each([act for act in CLIENTS if act not in (notify_consumer, forward_entries)], HUGE)
)
def test_an_answer_without_an_end_is_refused_before_it_is_read(serve: Serve, act: Act, behaviour: Behaviour) -> None:
    server, place = serve(behaviour, act)
    with pytest.raises(KeyturnError, match=r"longer than 1 MiB|compressed, which was not asked for"):
        act(place)
    assert server.requests
    assert server.sent < 64 * SIZE


@pytest.mark.parametrize("act", [notify_consumer, forward_entries])
@pytest.mark.parametrize("behaviour", [never_ends, says_a_huge_chunk])
def test_an_acknowledgement_counts_although_endless_data_follows(serve: Serve, act: Act, behaviour: Behaviour) -> None:
    server, place = serve(behaviour, act)
    act(place)
    assert len(server.requests) == 1
    assert server.sent < 64 * SIZE


@pytest.mark.parametrize("act", CLIENTS)
def test_redirects_to_another_server_are_not_followed(serve: Serve, act: Act) -> None:
    elsewhere, _ = serve(answers_in_turn(lambda *_: {}), act)
    server, place = serve(redirects_to(elsewhere.url), act)
    with pytest.raises(KeyturnError) as raised:
        act(place)
    assert server.requests
    assert elsewhere.requests == []
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("act", CLIENTS)
def test_a_server_can_not_ask_for_a_wait_of_more_than_a_minute(serve: Serve, act: Act) -> None:
    server, place = serve(asks_for_ages, act)
    with pytest.raises(KeyturnError) as raised:
        act(place)
    assert server.requests
    requested = raised.value.retry_after if isinstance(raised.value, Throttled) else None
    assert requested is None or requested <= RETRY_AFTER_LIMIT


def test_a_retry_shares_the_first_attempts_deadline(serve: Serve) -> None:
    _, place = serve(never_answers, ask_hub)
    with within(WAIT), pytest.raises(KeyturnError, match=rf"within {WAIT} s"):
        ask_hub(place)


def test_a_header_that_asks_for_a_wait_asks_for_a_minute_at_most() -> None:
    headers = HTTPMessage()
    for name, text in (
        ("date", "Fri, 27 Nov 2026 12:00:00 GMT"),
        ("retry-after", "Fri, 27 Nov 2026 18:00:00 GMT"),
        ("retry-after-ms", "1e30"),
        ("x-ms-retry-after-ms", "30000"),
        ("x-amz-retry-after", "1"),
    ):
        headers[name] = text
    cap_waits(headers)
    waits = {name: headers[name] for name in headers if "retry" in name}
    assert waits == {"retry-after": "60", "x-ms-retry-after-ms": "30000"}


@pytest.mark.parametrize("length", ["9" * 5000, "0" * 5000, str(1 << 40)])
def test_a_notice_of_any_length_is_refused_without_being_read(length: str) -> None:
    acted_on = list[Notice]()
    statuses = list[str]()
    environ = {
        "PATH_INFO": NOTICE_PATH,
        "REQUEST_METHOD": "POST",
        "CONTENT_LENGTH": length,
        "wsgi.input": BytesIO(b"x" * (2 * BODY_LIMIT)),
    }
    app = wsgi_app(Receiver([Sensitive("whsec_" + "A" * 32)]), acted_on.append)
    assert list(app(environ, lambda status, *_: statuses.append(status))) == []  # type: ignore[arg-type, return-value]
    assert statuses[0].startswith("4")
    assert environ["wsgi.input"].tell() == BODY_LIMIT + 1  # type: ignore[attr-defined]
    assert acted_on == []


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1_000", "٣", "", "12, 13", str(1 << 40)])
def test_an_invalid_length_is_refused(length: str) -> None:
    headers = HTTPMessage()
    headers["content-length"] = length
    with pytest.raises(RefusedAnswer, match=r"Content-Length|longer than"):
        insist_on_size(headers)
