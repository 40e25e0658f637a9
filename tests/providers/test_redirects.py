"""A cloud that sends its clients elsewhere: neither a token nor a value goes there, whichever adapter it is."""

import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from azure.core.credentials import AccessToken
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.core.errors import KeyturnError
from keyturn.providers.azure.resource_manager import AzureResourceManager
from keyturn.providers.azure.store import AzureKeyVault
from keyturn.providers.gcp.iam import GcpIam
from keyturn.providers.kubernetes.store import Kubernetes
from tests.contracts.store import fresh_value, marks_for

CHALLENGE = 'Bearer authorization="https://login.example.com/tenant", resource="https://vault.example.com"'


@dataclass(frozen=True)
class Site:
    """A server that redirects every request, over TLS or not, and what is asked of the other one."""

    server: HTTPServer
    elsewhere: HTTPServer
    ca: Path
    token: Path

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return self.server.url_for("").rstrip("/")


class SignedIn:
    """An identity of Azure's that has a token."""

    def get_token(self, *_: str, **__: object) -> AccessToken:
        return AccessToken("a-token", int(time.time()) + 3600)


def redirecting(server: HTTPServer, elsewhere: HTTPServer) -> None:
    """Whoever is signed in is sent elsewhere with 307, which keeps method and body; others are asked to sign in."""

    def answer(request: Request) -> Response:
        if server.ssl_context and "Authorization" not in request.headers:
            return Response(status=401, headers={"WWW-Authenticate": CHALLENGE})
        return Response(status=307, headers={"location": elsewhere.url_for(request.path)})

    server.expect_request(re.compile(".*")).respond_with_handler(answer)
    elsewhere.expect_request(re.compile(".*")).respond_with_json({})


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    directory, authority = tmp_path_factory.mktemp("redirects"), trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    (directory / "token").write_text("a-token")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with ExitStack() as opened:
        made: dict[str, Site] = {}
        for scheme, context in (("https", tls), ("http", None)):
            pair = [opened.enter_context(HTTPServer("127.0.0.1", ssl_context=context)) for _ in range(2)]
            redirecting(*pair)
            made[scheme] = Site(pair[0], pair[1], directory / "ca.pem", directory / "token")
        yield made


def set_in_key_vault(site: Site) -> object:
    vault = AzureKeyVault(
        "kv", vault_url=site.url, ca_file=str(site.ca), authority="https://login.example.com", credential=SignedIn()
    )
    return vault.write("app", fresh_value(), marks_for(fresh_value()), None)


def list_storage_keys(site: Site) -> object:
    azure = AzureResourceManager(
        "azure", subscription="s", endpoint=site.url, ca_file=str(site.ca), credential=SignedIn(), pauses=()
    )
    return azure.keys("group", "account")


def create_kubernetes_secret(site: Site) -> object:
    store = Kubernetes("k8s", namespace="app", server=site.url, ca_file=str(site.ca), token_file=str(site.token))
    return store.write("app", fresh_value(), marks_for(fresh_value()), None)


def make_service_account_key(site: Site) -> object:
    endpoint = site.url.removeprefix("http://")
    return GcpIam("gcp", project="p", endpoint=endpoint).create("robot@p.iam.gserviceaccount.com")


@pytest.mark.parametrize(
    ("scheme", "act"),
    [
        ("https", set_in_key_vault),
        ("https", list_storage_keys),
        ("https", create_kubernetes_secret),
        ("http", make_service_account_key),
    ],
)
def test_nothing_is_sent_on_to_another_server(
    servers: dict[str, Site], scheme: str, act: Callable[[Site], object]
) -> None:
    site = servers[scheme]
    for server in (site.server, site.elsewhere):
        server.clear_log()
    with pytest.raises(KeyturnError):
        act(site)
    assert site.server.log
    assert site.elsewhere.log == []
