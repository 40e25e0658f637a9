"""Servers that mean ill, and a site with people, which several tests here share."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
import urllib3

from keyturn.providers.azure.client import SDK_SETTINGS
from tests.support.bank import asked, bank, keys, pair
from tests.support.clients import IN_CLEAR, TOKEN, WAIT, Act, Place
from tests.support.liar import Behaviour, Liar

__all__ = ["asked", "bank", "keys", "pair"]

SIZE = 1 << 20
"""Bytes that an answer may have here."""

Serve = Callable[[Behaviour, Act], tuple[Liar, Place]]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path, Path]:
    """A server's TLS, the file of who signed it, and a file with a token."""
    directory, authority, tls = tmp_path_factory.mktemp("liar"), trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(directory / "ca.pem")
    (directory / "token").write_text(TOKEN)
    return tls, directory / "ca.pem", directory / "token"


@pytest.fixture
def serve(authority: tuple[ssl.SSLContext, Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A server that lies so, as a client needs it; an answer may be small only, and AWS's SDK is signed in."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TOKEN)
    monkeypatch.setattr("keyturn.providers.outbound.LARGEST_ANSWER", SIZE)
    tls, ca_file, token_file = authority
    with ExitStack() as opened:

        def open_server(behaviour: Behaviour, act: Act) -> tuple[Liar, Place]:
            server = opened.enter_context(Liar(behaviour, None if act in IN_CLEAR else tls))
            return server, Place(server.url, str(ca_file), str(token_file))

        yield open_server


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients whose deadline is no setting of theirs have a short one."""
    assert isinstance(SDK_SETTINGS, dict)
    monkeypatch.setitem(SDK_SETTINGS, "read_timeout", WAIT)
    monkeypatch.setattr("keyturn.providers.vault.login.TIMEOUT", WAIT)
    monkeypatch.setattr("keyturn.providers.aws.client.LONGEST_CALL", WAIT)
    monkeypatch.setattr("keyturn.providers.azure.rest.TIMEOUT", (5, WAIT))
    monkeypatch.setattr("keyturn.providers.kubernetes.client.TIMEOUT", urllib3.Timeout(connect=5.0, read=WAIT))
    monkeypatch.setattr("keyturn.providers.github.client.TIMEOUT", (5, WAIT))
    monkeypatch.setattr("keyturn.providers.gcp.iam.DEADLINE", WAIT)
