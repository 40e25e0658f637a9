"""`keyturn proxy` passes requests on with the current key, both ways as they arrive."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from keyturn.agent.proxy.gateway import Misuse
from keyturn.agent.proxy.limits import Allowance, Meter
from keyturn.agent.proxy.mask import Mask
from keyturn.catalogue.routes import RouteLimits
from tests.support.hooks import eventually
from tests.support.proxy import KEY, PATH, PLACEHOLDERS, Proxied, proxied
from tests.support.upstream import Received, Service, says, service

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Stream:
    """A service that sends one event whenever the test lets it."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[bytes] = asyncio.Queue()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.loop = asyncio.get_running_loop()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        while event := await self.events.get():
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    def send(self, event: bytes) -> None:
        assert self.loop
        self.loop.call_soon_threadsafe(self.events.put_nowait, event)


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def upstream(stream: Stream) -> Iterator[Service]:
    with service() as made:
        made.answers["/v1/stream"] = stream
        yield made


@pytest.fixture
def proxy(upstream: Service) -> Iterator[Proxied]:
    with proxied(upstream) as made:
        yield made


def test_a_request_arrives_with_the_key_instead_of_the_placeholder(proxy: Proxied, upstream: Service) -> None:
    answer = proxy.send("/chat?n=1", json={"model": "small"}, headers={"X-Api-Key": "mine", "Cookie": "a=b"})
    assert (answer.status_code, answer.text) == (200, f"{len('Bearer ' + KEY.format(1))} 18")
    request = upstream.requests[0]
    assert request.line == "POST /v1/chat?n=1 HTTP/1.1"
    assert request.value("authorization") == f"Bearer {KEY.format(1)}"
    assert request.value("host") == f"127.0.0.1:{upstream.port}"
    assert [request.value(name) for name in ("x-api-key", "cookie", "accept-encoding")] == ["", "", "identity"]
    assert PLACEHOLDERS["trainer"] not in str(request)
    assert eventually(lambda: proxy.passages)
    (passage,) = proxy.passages
    assert (passage.caller, passage.route, passage.method, passage.status) == ("trainer", "openai", "POST", 200)
    assert (passage.secret, passage.version, passage.sent, passage.returned) == (PATH, 1, 18, len(answer.text))


@pytest.mark.parametrize(
    ("credential", "header", "text"),
    [
        ({}, "authorization", f"Bearer {KEY.format(1)}"),
        ({"header": "X-Api-Key", "template": "{{value}}"}, "x-api-key", KEY.format(1)),
        ({"basic_user": "api"}, "authorization", "Basic " + base64.b64encode(f"api:{KEY.format(1)}".encode()).decode()),
    ],
)
def test_the_credential_goes_where_the_route_says(upstream: Service, credential: Any, header: str, text: str) -> None:
    with proxied(upstream, credential=credential) as proxy:
        assert proxy.send().status_code == 200
    assert [value for name, value in upstream.requests[0].headers if name == header] == [text]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"X-Api-Key": "{}", "Authorization": ""},
        {"Api-Key": "{}", "Authorization": ""},
        {"X-Goog-Api-Key": "{}", "Authorization": ""},
        {"X-Aws-Parameters-Secrets-Token": "{}", "Authorization": "Bearer x"},
    ],
)
def test_a_placeholder_is_taken_from_wherever_clients_send_a_key(proxy: Proxied, headers: dict[str, str]) -> None:
    filled = {name: text.format(PLACEHOLDERS["trainer"]) for name, text in headers.items()}
    assert proxy.send(headers=filled).status_code == 200


def test_basic_authentication_may_hold_the_placeholder(proxy: Proxied) -> None:
    answer = requests.post(f"{proxy.url}/to/openai/chat", auth=("", PLACEHOLDERS["trainer"]), timeout=30)
    assert answer.status_code == 200


def test_a_large_body_goes_both_ways_without_being_kept(proxy: Proxied, upstream: Service) -> None:
    async def echo(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(request.body))
        writer.write(request.body)
        await writer.drain()

    upstream.answers["/v1/echo"] = echo
    data = bytes(range(256)) * 40_000
    assert proxy.send("/echo", data=data).content == data
    pieces = (data[begin : begin + 70_001] for begin in range(0, len(data), 70_001))
    assert proxy.send("/echo", data=pieces).content == data
    assert upstream.requests[-1].value("transfer-encoding") == "chunked"


def test_a_connection_whose_last_answer_was_large_serves_the_next_request(proxy: Proxied, upstream: Service) -> None:
    text = bytes(2**20)
    upstream.answers["/v1/large"] = says(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % 2**20 + text, close=False)
    for _ in range(20):
        assert len(proxy.send("/large").content) == 2**20
        assert proxy.send("/chat").status_code == 200
    assert upstream.connections == 1


def test_events_pass_as_they_are_sent(proxy: Proxied, stream: Stream) -> None:
    with proxy.send("/stream", stream=True) as answer:
        lines = answer.iter_lines()
        for number in range(3):
            stream.send(b"data: %d\n\n" % number)
            assert next(lines) == b"data: %d" % number
            assert next(lines) == b""
        stream.send(b"")
        assert list(lines) == []


def test_a_slow_reader_slows_the_service_down(proxy: Proxied, upstream: Service) -> None:
    sent = 0

    async def pour(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (200 * 2**20))
        for _ in range(200):
            writer.write(bytes(2**20))
            await writer.drain()
            sent += 2**20

    upstream.answers["/v1/pour"] = pour
    with proxy.send("/pour", stream=True) as answer:
        assert eventually(lambda: sent > 0)
        assert steady(lambda: sent)
        assert sent < 100 * 2**20
        assert sum(len(piece) for piece in answer.iter_content(2**20)) == 200 * 2**20


def steady(count: Callable[[], int]) -> bool:
    """Whether a count stops rising for half a second."""

    def rests() -> bool:
        before = count()
        time.sleep(0.5)
        return count() == before

    return eventually(rests, 30)


def test_the_service_hears_that_a_caller_has_left(proxy: Proxied, upstream: Service, stream: Stream) -> None:
    with proxy.send("/stream", stream=True) as answer:
        stream.send(b"data: 1\n\n")
        next(answer.iter_lines())
    assert eventually(lambda: proxy.passages)
    assert proxy.passages[0].code == "client_gone"

    def leaves() -> bool:
        stream.send(b"data: 2\n\n")
        return "/v1/stream" in upstream.lost

    assert eventually(leaves)


def test_connections_to_the_service_are_kept(proxy: Proxied, upstream: Service) -> None:
    with requests.Session() as session:
        for _ in range(5):
            headers = {"Authorization": f"Bearer {PLACEHOLDERS['trainer']}"}
            assert session.post(f"{proxy.url}/to/openai/chat", headers=headers, timeout=30).status_code == 200
    assert len(upstream.requests) == 5
    assert upstream.connections == 1


def test_a_service_that_closes_a_kept_connection_is_asked_again(proxy: Proxied, upstream: Service) -> None:
    upstream.answers["/v1/bye"] = says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    for _ in range(3):
        assert proxy.send("/bye", "GET").text == "ok"


def test_a_client_that_waits_for_100_continue_gets_it(proxy: Proxied, upstream: Service) -> None:
    head = (
        b"POST /to/openai/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %b\r\nExpect: 100-continue\r\n"
        b"Content-Length: 3\r\nConnection: close\r\n\r\n" % PLACEHOLDERS["trainer"].encode()
    )
    assert proxy.raw(head, 1).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert b" 200 OK" in proxy.raw(head + b"abc")
    assert upstream.requests[-1].value("expect") == ""


# --- rotation and revocation


def test_the_request_after_an_acknowledged_rotation_has_the_new_key(proxy: Proxied, upstream: Service) -> None:
    for number in range(2, 30):
        proxy.rotate()
        assert proxy.send().status_code == 200
        assert upstream.requests[-1].value("authorization") == f"Bearer {KEY.format(number)}"


def test_rotations_under_streaming_callers_fail_no_call(proxy: Proxied, upstream: Service) -> None:
    async def count(request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.002)
            data = request.value("authorization").encode()[-18:]
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        writer.write(b"0\r\n\r\n")

    upstream.answers["/v1/count"] = count
    over, failures, calls = threading.Event(), list[str](), list[int]()

    def call() -> None:
        while not over.is_set():
            answer = proxy.send("/count")
            calls.append(answer.status_code)
            if answer.status_code != 200 or len(answer.content) != 90:
                failures.append(answer.text)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        proxy.rotate()
    assert eventually(lambda: len(calls) > 40, 60)
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_rotation_leaves_open_streams_alone_and_a_revocation_cuts_them(proxy: Proxied, stream: Stream) -> None:
    with proxy.send("/stream", stream=True) as answer:
        lines = answer.iter_lines()
        stream.send(b"data: 1\n\n")
        assert next(lines) == b"data: 1"
        proxy.rotate()
        stream.send(b"data: 2\n\n")
        assert [next(lines), next(lines)] == [b"", b"data: 2"]
        proxy.revoke()
        # Cut before the acknowledgement, whatever the client reads.
        assert proxy.passages[0].code == "credential_revoked"
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(lines)


def test_a_request_that_waits_for_its_answer_is_told_of_the_revocation(proxy: Proxied, upstream: Service) -> None:
    begun = threading.Event()

    async def wait(request: Received, reader: Any, writer: Any) -> None:
        begun.set()
        await asyncio.sleep(60)

    upstream.answers["/v1/wait"] = wait
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(proxy.send("/wait")))
    thread.start()
    assert begun.wait(30)
    proxy.revoke()
    thread.join(30)
    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (403, "credential_revoked")


def test_after_a_revocation_with_a_replacement_the_route_goes_on(proxy: Proxied, upstream: Service) -> None:
    proxy.revoke()
    assert proxy.send().status_code == 200
    assert upstream.requests[-1].value("authorization") == f"Bearer {KEY.format(2)}"


def test_after_a_revocation_a_route_that_refuses_stays_closed(upstream: Service) -> None:
    with proxied(upstream, after_revocation="refuse") as proxy:
        assert proxy.send().status_code == 200
        proxy.revoke()
        proxy.rotate()
        proxy.gateway.reload()
        answer = proxy.send()
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "credential_revoked")
    assert len(upstream.requests) == 1


def test_after_a_revocation_without_a_replacement_the_body_says_so_until_there_is_one(proxy: Proxied) -> None:
    proxy.revoke(replaced=False)
    answer = proxy.send()
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "credential_revoked")
    assert "no replacement" in answer.json()["error"]["message"]
    proxy.source.served[PATH] = 1
    proxy.gateway.told(proxy.source.put(PATH, {"key": KEY.format(2)}))
    assert proxy.send().status_code == 200


def test_while_the_hub_is_down_the_kept_key_is_used_and_without_one_the_body_says_so(upstream: Service) -> None:
    with proxied(upstream) as proxy:
        proxy.source.away = True
        assert proxy.send().status_code == 200
        proxy.client._cache.forget(PATH)
        answer = proxy.send()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "credential_unavailable")
        proxy.source.away = False
        assert eventually(lambda: proxy.send().status_code == 200)


def test_a_key_that_the_service_refuses_is_read_again(proxy: Proxied, upstream: Service) -> None:
    upstream.answers["/v1/no"] = says(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", close=False)
    proxy.source.put(PATH, {"key": KEY.format(2)})  # its notice was lost
    assert proxy.send("/no").status_code == 401
    assert eventually(lambda: (kept := proxy.client.kept(PATH)) and kept.version == 2)


def test_a_reloaded_catalogue_takes_effect_at_once(proxy: Proxied) -> None:
    assert proxy.send().status_code == 200
    proxy.routes.clear()
    proxy.gateway.reload()
    assert proxy.send().json()["error"]["code"] == "not_a_caller"


# --- limits


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"requests_per_minute": 2}, 429),
        ({"bytes_per_day": 60}, 429),
        ({"budget": {"most": 20, "usage": ["/usage/total_tokens"]}}, 429),
        ({"request_bytes": 5}, 413),
    ],
)
def test_a_caller_above_its_limit_is_refused(upstream: Service, limits: Any, code: int) -> None:
    text = json.dumps({"usage": {"total_tokens": 12}}).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)
    upstream.answers["/v1/use"] = says(answer, close=False)
    with proxied(upstream, limits=limits, callers=["trainer", "gateway"]) as proxy:
        statuses = [proxy.send("/use", data=b"x" * 4).status_code for _ in range(2)]
        last = proxy.send("/use", data=b"x" * 6)
        assert (statuses, last.status_code) == ([200, 200], code)
        assert ("Retry-After" in last.headers) == (code == 429)
        assert proxy.send("/use", caller="gateway", data=b"x").status_code == 200


def test_a_chunked_body_above_the_limit_is_refused_midway(upstream: Service) -> None:
    with proxied(upstream, limits={"request_bytes": 1000}) as proxy:
        answer = proxy.send(data=iter([b"x" * 400] * 10))
        assert answer.status_code == 413
    assert proxy.passages[0].code == "too_large"


def test_usage_is_found_in_events_and_estimated_where_there_is_none() -> None:
    pointers = ("/message/usage/input_tokens", "/usage/output_tokens")
    meter, events = Meter(pointers), [(b"content-type", b"text/event-stream; charset=utf-8")]
    meter.begin(events, 200)
    text = b'data: {"message": {"usage": {"input_tokens": 30}}}\n\ndata: {"usage": {"output_tokens": 5}}\n\n'
    for piece in (text[:20], text[20:70], text[70:], b'data: {"usage": {"output_tokens": 9}}\n\ndata: [DONE]\n\n'):
        meter.received(piece)
    meter.end()
    assert meter.usage == 39
    without = Meter(pointers)
    without.begin(events, 200)
    without.received(b"data: hello\n\n" * 100)
    without.end()
    assert without.usage == 325


def test_what_was_used_is_forgotten_at_the_end_of_the_day() -> None:
    now = 86_400.0 * 20_000
    allowance = Allowance(RouteLimits.model_validate({"bytes_per_day": 10}), today=lambda: now)
    allowance.add(Meter(sent=4, returned=6))
    with pytest.raises(Exception, match="limit_reached") as refusal:
        allowance.begin("openai")
    assert refusal.value.retry_after == 86_400  # type: ignore[attr-defined]
    now += 86_400
    allowance.begin("openai")


def test_a_restarted_proxy_remembers_what_a_caller_used_today(upstream: Service, tmp_path: Path) -> None:
    limits = {"bytes_per_day": 30}
    with proxied(upstream, limits=limits, counts=tmp_path) as proxy:
        assert proxy.send("/use", data=b"x" * 40).status_code == 200
        assert eventually(lambda: proxy.passages)
    with proxied(upstream, limits=limits, counts=tmp_path, callers=["trainer", "gateway"]) as proxy:
        assert proxy.send("/use", data=b"x").status_code == 429
        assert proxy.send("/use", caller="gateway", data=b"x").status_code == 200


def test_a_damaged_or_missing_file_of_counts_refuses_no_request(upstream: Service, tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "openai.trainer").write_bytes(b"half")
    (tmp_path / "openai.gateway").mkdir()
    with proxied(upstream, counts=tmp_path, callers=["trainer", "gateway"]) as proxy:
        for caller in ("trainer", "gateway"):
            assert proxy.send("/use", caller=caller).status_code == 200
    assert "openai.gateway: Is a directory: the counts of today are lost at the next restart" in caplog.text


# --- the mask


def test_a_key_in_an_answer_is_masked_however_it_is_cut() -> None:
    text = b"before sk-secret-value after sk-sk-secret-value, sk-secret-valu"
    expected = text.replace(b"sk-secret-value", b"*" * 15)
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            mask = Mask([b"sk-secret-value"])
            pieces = (text[:first], text[first:second], text[second:])
            assert b"".join([*map(mask.pass_on, pieces), mask.end()]) == expected


def test_a_mask_holds_no_event_back() -> None:
    mask = Mask([b"sk-secret-value"])
    assert mask.pass_on(b"data: it says sk-\n\n") == b"data: it says sk-\n\n"


def test_a_sighting_names_the_caller_and_the_decoy(upstream: Service) -> None:
    routes: dict[str, Any] = {"openai": {"decoy": "legacy/admin"}, "other": {"callers": ["gateway"]}}
    with proxied(upstream, routes) as proxy:
        assert proxy.send(route="other").status_code == 403
        (sighting,) = [event for event in proxy.events if isinstance(event, Misuse)]
    assert (sighting.caller, sighting.place, sighting.decoys) == ("trainer", "the route other", ("legacy/admin",))
