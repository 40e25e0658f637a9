"""A request's address is spelled as the HTTP library spells it, at less cost."""

from typing import Any

import pytest
import requests

from keyturn.providers.vault.session import DirectSession

SERVERS = ("http://127.0.0.1:8200", "HTTPS://Hub.Example:8200", "https://[::1]:8200")
PATHS = (
    "/v1/secret/data/team/app",
    "/v1/secret/metadata/",
    "/v1/a%2Fb",
    "/v1/ä",
    "/v1/a b",
    "/v1/a?list=true",
    "",
    "/%41",
)
PARAMETERS: tuple[dict[str, Any] | None, ...] = (
    None,
    {},
    {"version": 3},
    {"after": "team/ä b", "limit": 1000},
    {"list": "true", "after": "a-b_c.d~e"},
    {"after": ["a", "b"]},
    {"after": None},
)


@pytest.mark.parametrize("server", SERVERS)
def test_an_address_is_the_one_that_the_library_makes(server: str) -> None:
    session = DirectSession()
    for path in PATHS:
        for parameters in PARAMETERS:
            expected, request = requests.PreparedRequest(), requests.PreparedRequest()
            expected.prepare_url(server + path, parameters)
            session._address(request, server + path, parameters)
            assert request.url == expected.url
