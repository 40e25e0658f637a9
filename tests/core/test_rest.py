"""Requests as the catalogue describes them."""

from keyturn.core.ports.rest import Request


def test_a_request_tells_every_name_that_it_asks_for() -> None:
    request = Request(
        "POST",
        "/accounts/{{account}}/keys?of={{path}}",
        {"x-api-key": "{{key}}"},
        "{{user}}:{{password}}",
        {"list": [{"name": "keyturn {{unique}}"}, 7, None]},
        {"grant": "{{grant}}"},
    )
    assert request.names == {"account", "path", "key", "user", "password", "unique", "grant"}


def test_a_request_without_names_asks_for_none() -> None:
    assert Request("GET", "/whoami").names == frozenset()
