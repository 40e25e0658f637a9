"""Stores that log in as an identity each: several in one process, whatever the environment names."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from keyturn.catalogue.stores.azure import AzureKeyVaultSettings
from keyturn.providers.azure.client import credential
from keyturn.wiring.registry import open_store

FIRST, SECOND = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The client ids that App Service's endpoint of managed identities is asked for a token of."""
    found: list[str] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            client = parse_qs(urlsplit(self.path).query).get("client_id", [""])[0]
            found.append(client)
            body = {"access_token": f"of-{client}", "expires_on": "4102444800", "token_type": "Bearer", "resource": "r"}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield found
        server.shutdown()


def test_two_vaults_in_one_process_log_in_as_two_identities(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE", raising=False)
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.setenv(name, "of-another-application")
    scope = "https://vault.azure.net/.default"
    tokens = [credential("store", None, {}, client).get_token(scope).token for client in (FIRST, SECOND)]
    assert tokens == [f"of-{FIRST}", f"of-{SECOND}"]
    assert asked == [FIRST, SECOND]


def test_a_store_signs_in_as_the_identity_that_the_catalogue_names(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE", raising=False)
    settings = AzureKeyVaultSettings(kind="azure-key-vault", vault_url="https://a.vault.azure.net", client_id=FIRST)
    store = open_store("azure", settings)
    assert store._own.get_token("https://vault.azure.net/.default").token == f"of-{FIRST}"  # type: ignore[attr-defined]
    assert asked == [FIRST]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"client_id": "my-identity"}, "is not the client id of an identity"),
        ({"client_id": FIRST, "authority": "https://login.example.com"}, "at a private authority"),
    ],
)
def test_what_is_no_identity_or_needs_an_application_is_refused(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AzureKeyVaultSettings(kind="azure-key-vault", vault_url="https://a.vault.azure.net", **settings)  # type: ignore[arg-type]
