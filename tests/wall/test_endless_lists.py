"""Listings from a server that never ends them are stopped and never taken as complete."""

from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import pytest
from google.cloud.secretmanager_v1.types import ListSecretsResponse

from keyturn.core.errors import KeyturnError, Unavailable
from keyturn.providers.gcp.store import GcpSecretManager
from keyturn.providers.pages import PageGuard
from tests.support.clients import (
    TOKEN,
    Act,
    list_access_keys,
    list_github,
    list_key_vault,
    list_kubernetes,
    list_parameters,
    list_secrets_manager,
    list_vault,
)
from tests.support.liar import answers_in_turn
from tests.wall.conftest import Serve

MOST = 7
"""Pages that a listing may have here."""
LOGIN = {"ttl": 0, "renewable": False}
"""What a Vault says of a token."""


def page_of_names(number: int) -> dict[str, Any]:
    """A full page of a Vault's names."""
    return {"data": {**LOGIN, "keys": [f"{number}-a", f"{number}-z"]}}


ENDLESS: dict[str, tuple[Act, Callable[[str, int], Any]]] = {
    "secrets-manager": (list_secrets_manager, lambda _, number: {"SecretList": [], "NextToken": f"t{number}"}),
    "parameter-store": (list_parameters, lambda _, number: {"Parameters": [], "NextToken": f"t{number}"}),
    "key-vault": (list_key_vault, lambda url, number: {"value": [], "nextLink": f"{url}/secrets?page={number}"}),
    "kubernetes": (list_kubernetes, lambda _, number: {"items": [], "metadata": {"continue": f"t{number}"}}),
    "github": (list_github, lambda _, number: {"total_count": 10**9, "secrets": [{"name": f"S{number}"}]}),
    "vault": (list_vault, lambda _, number: page_of_names(number)),
}
"""Clients, and for each what a server answers that always has a next page, by the number of the request."""


@pytest.fixture(autouse=True)
def few_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """No listing has many pages here, and a Vault's page is full with two names."""
    monkeypatch.setattr("keyturn.providers.pages.MOST_PAGES", MOST)
    monkeypatch.setattr("keyturn.providers.vault.listing.PAGE", 2)


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_list_is_given_up(serve: Serve, kind: str) -> None:
    act, documents = ENDLESS[kind]
    server, place = serve(answers_in_turn(documents), act)
    with pytest.raises(Unavailable, match=f"does not end within {MOST} pages"):
        act(place)
    assert MOST <= len(server.requests) <= MOST + 2


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_list_that_leads_back_to_the_same_page_is_given_up(serve: Serve, kind: str) -> None:
    act, documents = ENDLESS[kind]
    server, place = serve(answers_in_turn(lambda url, _: documents(url, 1)), act)
    with pytest.raises(Unavailable, match="back to a page that was there before"):
        act(place)
    assert len(server.requests) <= 3


def test_endlessly_nested_folders_are_given_up(serve: Serve) -> None:
    _, place = serve(answers_in_turn(lambda *_: {"data": {**LOGIN, "keys": ["deeper/"]}}), list_vault)
    with pytest.raises(Unavailable, match="more than 100 deep"):
        list_vault(place)


def test_a_page_at_another_address_is_not_asked_for(serve: Serve) -> None:
    elsewhere, _ = serve(answers_in_turn(lambda *_: {"value": []}), list_key_vault)
    link = f"{elsewhere.url}/secrets?page=2"
    server, place = serve(answers_in_turn(lambda *_: {"value": [], "nextLink": link}), list_key_vault)
    with pytest.raises(KeyturnError, match="names another address") as raised:
        list_key_vault(place)
    assert len(server.requests) == 1
    assert elsewhere.requests == []
    assert TOKEN not in str(raised.value)


def test_an_answer_that_is_no_list_is_not_taken_as_empty(serve: Serve) -> None:
    _, place = serve(answers_in_turn(lambda *_: {}), list_github)
    with pytest.raises(Unavailable, match="no list"):
        list_github(place)


@pytest.mark.parametrize("changing", [True, False])
def test_an_endless_list_of_google_cloud_is_given_up(changing: bool) -> None:
    asked = list[bytes]()

    def answer(request: bytes, _: object) -> bytes:
        asked.append(request)
        token = f"t{len(asked)}" if changing else "t"
        return ListSecretsResponse.serialize(ListSecretsResponse(next_page_token=token))

    method = grpc.unary_unary_rpc_method_handler(answer)
    service = "google.cloud.secretmanager.v1.SecretManagerService"
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"ListSecrets": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    store = GcpSecretManager("gcp", project="p", endpoint=f"127.0.0.1:{port}")
    try:
        with pytest.raises(Unavailable, match=f"within {MOST} pages" if changing else "there before"):
            list(store.list_all())
    finally:
        store.close()
        server.stop(None)
    assert len(asked) <= MOST + 2


def test_pages_may_continue_as_long_as_each_is_new() -> None:
    guard = PageGuard("list", "store:*")
    assert [guard.follow(token) for token in ("a", "b", "c")] == ["a", "b", "c"]


def test_access_keys_are_listed_to_an_end(serve: Serve) -> None:
    """IAM answers in XML."""
    page = (
        b"<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata/><IsTruncated>true</IsTruncated>"
        b"<Marker>again</Marker></ListAccessKeysResult></ListAccessKeysResponse>"
    )
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: %d\r\n\r\n" % len(page)
    server, place = serve(lambda liar, connection, _: liar.send(connection, head + page), list_access_keys)
    with pytest.raises(Unavailable, match="there before"):
        list_access_keys(place)
    assert len(server.requests) == 2
