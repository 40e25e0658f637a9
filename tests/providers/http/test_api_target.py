"""The adapter for any REST API, against a real server on loopback."""

import json
import pickle
import socket
import threading
import traceback
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.core.ports.rest import AnswerPattern, Listing, Request, parse_moment
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.http.api_target import MOST_PAGES, HttpApi
from local.support.tls import certificate_in
from tests.support.rest_api import RestApi, Said

VALUE = "hunter2-hunter2"
FIELDS = SecretFields({"id": "7", "key": VALUE, "odd": 'a"b\\c/../d{{id}}?#%&é'})
HEADERS = {"authorization": "Bearer {{admin.token}}"}


@pytest.fixture
def server() -> Iterator[RestApi]:
    with RestApi() as serving:
        yield serving


def opened(server: RestApi, **settings: object) -> HttpApi:
    admin = SecretFields({"token": server.admin_token, "user": "root"})
    given = {"url": server.url, "admin": lambda: admin, "headers": HEADERS, **settings}
    return HttpApi("grafana", **given)  # type: ignore[arg-type]


@pytest.fixture
def api(server: RestApi) -> Iterator[HttpApi]:
    made = opened(server)
    yield made
    made.close()


def answers(server: RestApi, *said: Said, method: str = "GET") -> None:
    server.instead[method] = list(said)


def get(api: HttpApi, path: str = "/x", **more: object) -> object:
    return api.call(Request("GET", path, **more), FIELDS, "try")  # type: ignore[arg-type]


# --- what is sent ------------------------------------------------------------------------------------------


def test_values_are_put_into_path_header_and_body_each_in_its_own_way(server: RestApi, api: HttpApi) -> None:
    answers(server, Said(), method="POST")
    body = {"a": ["{{odd}}", {"b": "is {{ id }}!"}], "n": 3, "yes": True, "nothing": None}
    request = Request("POST", "/k/{{odd}}/x?q={{odd}}", {"X-Trace": "<{{key}}>"}, body=body)
    api.call(request, FIELDS, "try")
    (told,) = server.told
    quoted = "a%22b%5Cc%2F..%2Fd%7B%7Bid%7D%7D%3F%23%25%26%C3%A9"
    assert told.path == f"/k/{quoted}/x?q={quoted}"
    assert told.headers["x-trace"] == f"<{VALUE}>"
    assert told.headers["content-type"] == "application/json"
    assert told.json == {"a": [FIELDS["odd"].reveal(), {"b": "is 7!"}], "n": 3, "yes": True, "nothing": None}


def test_a_form_is_sent_as_a_form(server: RestApi, api: HttpApi) -> None:
    answers(server, Said(), method="PUT")
    api.call(Request("PUT", "/k", form={"key": "{{odd}}", "n": "1"}), FIELDS, "try")
    (told,) = server.told
    assert told.headers["content-type"] == "application/x-www-form-urlencoded"
    assert told.body == b"key=a%22b%5Cc%2F..%2Fd%7B%7Bid%7D%7D%3F%23%25%26%C3%A9&n=1"


def test_a_login_by_basic_is_encoded(server: RestApi, api: HttpApi) -> None:
    answers(server, Said())
    get(api, basic="{{admin.user}}:{{key}}")
    assert server.told[0].headers["authorization"] == f"Basic {b64encode(f'root:{VALUE}'.encode()).decode()}"


def test_the_admins_headers_go_along_as_admin_alone(server: RestApi, api: HttpApi) -> None:
    answers(server, Said(), Said())
    get(api)
    api.call(Request("GET", "/x"), FIELDS, "try", as_admin=False)
    assert server.told[0].headers["authorization"] == f"Bearer {server.admin_token}"
    assert "authorization" not in server.told[1].headers


def test_the_admins_fields_are_unknown_to_a_request_that_is_not_the_admins(server: RestApi, api: HttpApi) -> None:
    with pytest.raises(Invalid, match=r"asks for \{\{admin\.key\}\}, which is not there"):
        api.call(Request("GET", "/x", {"x-y": "{{admin.key}}"}), FIELDS, "try", as_admin=False)
    assert server.told == []


def test_the_admins_credential_is_read_again_for_each_request_that_needs_it(server: RestApi) -> None:
    tokens = iter(["old", "new"])
    api = opened(server, admin=lambda: SecretFields({"token": next(tokens)}))
    answers(server, Said(), Said(), Said())
    get(api)
    get(api)
    api.call(Request("GET", "/x"), FIELDS, "try", as_admin=False)
    assert [told.headers.get("authorization") for told in server.told] == ["Bearer old", "Bearer new", None]


def test_nothing_of_the_environment_is_used_and_no_cookie_comes_back(
    server: RestApi, api: HttpApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("default login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    answers(server, Said(headers={"set-cookie": "session=1; Path=/"}), Said())
    get(api)
    api.call(Request("GET", "/x"), FIELDS, "try", as_admin=False)
    assert not {"cookie", "authorization"} & server.told[1].headers.keys()


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_value_can_not_lead_to_another_path(server: RestApi, api: HttpApi, value: str) -> None:
    """Or else the request that should delete one key would delete all of them."""
    with pytest.raises(Invalid, match="can't be used in the path"):
        api.call(Request("DELETE", "/accounts/a/keys/{{id}}"), SecretFields({"id": value}), "delete")
    assert server.told == []


def test_a_value_that_looks_quoted_is_only_a_text(server: RestApi, api: HttpApi) -> None:
    with pytest.raises(NotFound):
        api.call(Request("DELETE", "/accounts/a/keys/{{id}}"), SecretFields({"id": "%2e%2e"}), "delete")
    assert server.told[0].path == "/accounts/a/keys/%252e%252e"


@pytest.mark.parametrize("value", [f"{VALUE}\n", f"{VALUE}\r\nx-evil: 1", f" {VALUE}", "", f"{VALUE}\u20ac", "\x00"])
def test_a_value_that_no_header_can_hold_is_told_without_being_shown(server: RestApi, api: HttpApi, value: str) -> None:
    with pytest.raises(Invalid, match="the header x-api-key can't be sent") as caught:
        api.call(Request("GET", "/x", {"X-Api-Key": "{{key}}"}), SecretFields({"key": value}), "try")
    assert VALUE not in shown(caught.value)
    assert server.told == []


def test_a_broken_character_is_told_without_being_shown(api: HttpApi) -> None:
    for request in (
        Request("GET", "/{{key}}"),
        Request("POST", "/x", form={"a": "{{key}}"}),
        Request("GET", "/x", basic="a:{{key}}"),
    ):
        with pytest.raises(Invalid, match="no character") as caught:
            api.call(request, SecretFields({"key": f"{VALUE}\udcff"}), "try")
        assert VALUE not in shown(caught.value)


def test_a_name_that_is_not_there_is_told_with_where_to_write_it(server: RestApi, api: HttpApi) -> None:
    with pytest.raises(Invalid, match="Write the field account in the secret in the hub"):
        get(api, "/{{current.account}}")
    with pytest.raises(Invalid, match="Write the field other at the admin path in the hub"):
        get(api, "/{{admin.other}}")
    assert server.told == []


# --- what is answered --------------------------------------------------------------------------------------


def test_an_answer_is_read_by_pointers(server: RestApi, api: HttpApi) -> None:
    said = {"a/b": {"m~n": [{"id": 12}, {"id": "x"}]}, "": "empty", "no": False, "zero": 0, "none": None, "blank": ""}
    answers(server, Said(body=said))
    answer = api.call(Request("GET", "/x"), FIELDS, "try")
    read = {
        "/a~1b/m~0n/0/id": "12", "/a~1b/m~0n/1/id": "x", "/": "empty", "/zero": "0",
        "/no": None, "/none": None, "/blank": None, "/a~1b": None, "": None, "/a~1b/m~0n/2/id": None,
        "/a~1b/m~0n/-1/id": None, "/a~1b/m~0n/00/id": None, "/zero/1": None, "/absent": None,
    }  # fmt: skip
    for pointer, text in read.items():
        found = answer.text(pointer)
        assert (found.reveal() if found else None) == text, pointer
    assert answer.is_null("/none")
    assert answer.is_null("/absent/x")
    assert not answer.is_null("/no")
    first, second = answer.entries("/a~1b/m~0n") or ()
    assert (first.text("/id"), second.text("/id")) == (Sensitive("12"), Sensitive("x"))
    assert answer.entries("/zero") is None


@pytest.mark.parametrize("body", [b"", b"OK", b"\xff\xfe", b"{", b"[" * 100_000, b"9" * 5000])
def test_an_answer_that_is_not_json_holds_nothing(server: RestApi, api: HttpApi, body: bytes) -> None:
    answers(server, Said(body=body))
    answer = api.call(Request("GET", "/x"), FIELDS, "try")
    assert (answer.status, answer.text(), answer.entries(), answer.is_null("")) == (200, None, None, True)


def test_an_answer_shows_and_pickles_nothing(server: RestApi, api: HttpApi) -> None:
    answers(server, Said(body={"key": VALUE}))
    answer = api.call(Request("GET", "/x"), FIELDS, "try")
    assert VALUE not in f"{answer} {answer!r}"
    for spoil in (pickle.dumps, json.dumps):
        with pytest.raises(TypeError):
            spoil(answer)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (202, None),
        (301, Invalid),
        (307, Invalid),
        (400, Invalid),
        (401, Denied),
        (403, Denied),
        (404, NotFound),
        (408, Unavailable),
        (409, Invalid),
        (410, NotFound),
        (422, Invalid),
        (429, Throttled),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_every_status_is_success_or_an_error_of_its_class_that_shows_nothing(
    server: RestApi, api: HttpApi, status: int, error: type[KeyturnError] | None
) -> None:
    answers(server, Said(status, {"message": VALUE}, {"location": f"{server.url}/{VALUE}"}))
    if error is None:
        get(api, "/{{key}}")
        return
    with pytest.raises(error) as caught:
        get(api, "/{{key}}")
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"try grafana: answered {status}")
    assert caught.value.hint
    assert VALUE not in shown(caught.value)
    assert len(server.told) == 1


def test_a_status_may_be_expected_or_handed_to_the_caller(server: RestApi, api: HttpApi) -> None:
    answers(server, Said(404), Said(404), Said(200))
    assert get(api, expect=frozenset({404})) is not None
    assert api.call(Request("GET", "/x"), FIELDS, "try", also=(AnswerPattern(frozenset({404})),)).status == 404
    with pytest.raises(Invalid, match="answered 200, which is not expected"):
        get(api, expect=frozenset({201}))


@pytest.mark.parametrize("status", [429, 503])
def test_an_api_that_asks_for_a_slower_pace_is_heard(server: RestApi, api: HttpApi, status: int) -> None:
    answers(server, Said(status, headers={"retry-after": "7"}))
    with pytest.raises(Throttled) as caught:
        get(api)
    assert caught.value.retry_after == 7


def test_an_api_that_is_not_there_is_unavailable(server: RestApi) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        api = opened(server, url=f"http://127.0.0.1:{unheard.getsockname()[1]}")
        with pytest.raises(Unavailable, match="it does not answer") as caught:
            get(api, "/{{key}}")
    assert VALUE not in shown(caught.value)


def test_an_api_that_does_not_answer_is_unavailable(server: RestApi) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
            get(opened(server, url=url, timeout=timedelta(seconds=0.2)))


def test_an_answer_that_is_lost_is_unavailable_and_never_asked_for_again(server: RestApi, api: HttpApi) -> None:
    answers(server, Said(), Said(lost=True), method="POST")
    api.call(Request("POST", "/x"), FIELDS, "make")
    with pytest.raises(Unavailable, match="it does not answer"):
        api.call(Request("POST", "/x"), FIELDS, "make")
    assert len(server.told) == 2


def test_an_answer_that_is_too_long_is_refused(server: RestApi, api: HttpApi) -> None:
    answers(server, Said(body=b" " * (4 * 1024 * 1024 + 1)))
    with pytest.raises(Invalid, match="longer than 4 MiB"):
        get(api)


def test_an_answer_that_drips_is_given_up(server: RestApi) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dripping:
        stop = threading.Event()

        def answer() -> None:
            peer, _ = dripping.accept()
            # The client hangs up in the middle: that is what is wanted.
            with peer, suppress(OSError):
                peer.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                while not stop.wait(0.02):
                    peer.sendall(b"1\r\n \r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        api = opened(server, url=f"http://127.0.0.1:{dripping.getsockname()[1]}", timeout=timedelta(seconds=0.1))
        with pytest.raises(Unavailable, match=r"no whole answer within 0\.1 s"):
            get(api)
        stop.set()
        thread.join()


# --- lists -------------------------------------------------------------------------------------------------

BY_LINK = Listing(Request("GET", "/accounts/a/keys"), "/data")
BY_TOKEN = Listing(Request("GET", "/accounts/a/keys"), "/data", "/next", "/accounts/a/keys?page={{next}}")


def fill(server: RestApi, count: int) -> list[str]:
    for number in range(count):
        server._new_key("a", f"key {number}")
    return list(server.keys)


@pytest.mark.parametrize("listing", [BY_LINK, BY_TOKEN], ids=["link", "token"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_every_page_of_a_list_is_read(server: RestApi, api: HttpApi, listing: Listing, count: int) -> None:
    ids = fill(server, count)
    listed = [entry.text("/id") for entry in api.listed(listing, FIELDS, "list")]
    assert [found.reveal() for found in listed if found] == ids
    assert len(server.told) == max(1, -(-count // 2))


PAGES = "/accounts/a/keys?page={{page}}"


@pytest.mark.parametrize(("size", "empty_page"), [(None, True), (2, False)])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_numbered_pages_are_read_until_an_empty_or_a_short_one(
    server: RestApi, api: HttpApi, count: int, size: int | None, empty_page: bool
) -> None:
    ids = fill(server, count)
    server.after["GET"] = lambda said: Said(200, said.body)
    listed = api.listed(Listing(Request("GET", "/accounts/a/keys"), "/data", more=PAGES, page_size=size), FIELDS, "l")
    assert [id.reveal() for entry in listed if (id := entry.text("/id"))] == ids
    full, rest = divmod(count, 2)
    assert len(server.told) == full + (1 if not rest or not empty_page else 2)
    assert [told.path.partition("=")[2] for told in server.told[1:]] == [str(n) for n in range(2, len(server.told) + 1)]


def test_pages_may_be_counted_from_0_or_by_entries(server: RestApi, api: HttpApi) -> None:
    answers(server, Said(body=[1, 2, 3]), Said(body=[4]), Said(body=[]))
    more = "/a?page={{page}}&from={{offset}}&of={{team}}"
    api.listed(Listing(Request("GET", "/a"), more=more, first_page=0), FIELDS.merged({"team": "x"}), "list")
    assert [told.path for told in server.told] == ["/a", "/a?page=1&from=3&of=x", "/a?page=2&from=4&of=x"]


def test_numbered_pages_that_do_not_end_are_refused(server: RestApi, api: HttpApi) -> None:
    """As by an API that does not know the parameter."""
    answers(server, *(Said(body=[1]) for _ in range(MOST_PAGES + 1)))
    with pytest.raises(Invalid, match=r"does not end within 100 pages.*`more` leads to other pages"):
        api.listed(Listing(Request("GET", "/a"), more="/a?p={{page}}"), FIELDS, "list")


def test_a_link_in_the_body_is_followed_too(server: RestApi, api: HttpApi) -> None:
    first, last = {"items": [1], "next": "/b?cursor=x"}, {"items": [2], "next": None}
    answers(server, Said(body=first), Said(body=last))
    listed = api.listed(Listing(Request("GET", "/a"), "/items", "/next"), FIELDS, "list")
    assert [entry.text() is not None for entry in listed] == [True, True]
    assert [told.path for told in server.told] == ["/a", "/b?cursor=x"]


@pytest.mark.parametrize(
    "link",
    ["https://evil.example.com/x", "//evil.example.com/x", "https:/x", "ftp:x", "http://[::1", "http://127.0.0.1"],
)
def test_a_list_that_leads_elsewhere_is_not_followed(server: RestApi, api: HttpApi, link: str) -> None:
    for said in (Said(body=[], headers={"link": f'<{link}>; rel="next"'}), Said(body={"next": link, "items": []})):
        answers(server, said)
        items, following = ("", None) if said.headers else ("/items", "/next")
        with pytest.raises(Invalid, match="at another address"):
            api.listed(Listing(Request("GET", "/a"), items, following), FIELDS, "list")
    assert len(server.told) == 2


def test_a_list_that_does_not_end_is_refused(server: RestApi, api: HttpApi) -> None:
    answers(server, *(Said(body={"items": [], "next": "/a"}) for _ in range(MOST_PAGES + 1)))
    with pytest.raises(Invalid, match="does not end within 100 pages"):
        api.listed(Listing(Request("GET", "/a"), "/items", "/next"), FIELDS, "list")


@pytest.mark.parametrize("body", [None, {"data": {}}, {"data": "text"}, {"other": []}])
def test_an_answer_that_lists_nothing_is_refused(server: RestApi, api: HttpApi, body: object) -> None:
    answers(server, Said(body=body))
    with pytest.raises(Invalid, match="holds no list"):
        api.listed(BY_LINK, FIELDS, "list")


# --- encryption --------------------------------------------------------------------------------------------


def test_certificates_are_checked_against_the_given_authority(tmp_path: Path) -> None:
    files = certificate_in(tmp_path / "tls")
    with RestApi(certificate=(files.certificate, files.key)) as server:
        answers(server, Said())
        get(opened(server, ca_file=str(files.authority)))
        with pytest.raises(Denied, match="certificate is not trusted"):
            get(opened(server))
        with pytest.raises(Invalid, match=r"ca_file .+ can't be read"):
            get(opened(server, ca_file=str(tmp_path / "absent.pem")))
    assert len(server.told) == 1


def test_plain_http_to_another_machine_is_refused_unless_it_is_allowed(server: RestApi) -> None:
    for url in ("http://api.example.com", "http://192.0.2.1:80"):
        with pytest.raises(Invalid, match="plain http to another machine"):
            opened(server, url=url)
        opened(server, url=url, insecure_http=True).close()
    for url in ("http://localhost:1", "http://[::1]:1", "https://api.example.com"):
        opened(server, url=url).close()


def shown(error: BaseException) -> str:
    """All that a log could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error.args)


def test_a_date_is_read_in_each_of_its_forms() -> None:
    at = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    for text in (
        "2026-02-03T04:05:06Z",
        "2026-02-03T06:05:06+02:00",
        "2026-02-03T04:05:06",
        "2026-02-03 04:05:06.000000000Z",
    ):
        assert parse_moment(text) == at
    assert parse_moment(str(int(at.timestamp()))) == at
    assert parse_moment(f"{int(at.timestamp())}000") == at
    assert parse_moment("2026-02-03") == datetime(2026, 2, 3, 23, 59, 59, 999999, tzinfo=UTC)
    for text in ("", "never", "yesterday", "-5", "12345678901234567890", "2026-13-01"):
        assert parse_moment(text) is None
