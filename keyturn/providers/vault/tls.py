"""TLS connections to a Vault or OpenBao, which follow no redirect; all requests to one use them."""

import json
import os
import ssl
from typing import Any, Final

import requests
from hvac.adapters import RawAdapter
from requests.utils import get_environ_proxies

from keyturn.core.errors import Invalid
from keyturn.providers.outbound import keep_to
from keyturn.providers.vault.session import DirectAdapter, DirectSession
from keyturn.settings.tls import TlsSettings, distrusted


def insist_on_files(settings: TlsSettings) -> None:
    """Raises Invalid for unusable TLS files, naming the setting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings.ca_file:
        try:
            context.load_verify_locations(cafile=settings.ca_file)
        except OSError as error:
            raise _unusable("VAULT_CACERT (ca_file)", settings.ca_file, "certificate", error) from None
    if bool(settings.client_cert_file) != bool(settings.client_key_file):
        problem = "of VAULT_CLIENT_CERT and VAULT_CLIENT_KEY one alone is set"
        raise distrusted(problem, "Set both (client_cert_file and client_key_file), or neither")
    if settings.client_cert_file and settings.client_key_file:
        try:
            # A key with a passphrase would ask for it at the terminal.
            context.load_cert_chain(settings.client_cert_file, settings.client_key_file, password="")
        except OSError as error:
            both = f"{settings.client_cert_file} and {settings.client_key_file}"
            what = "certificate with its own key, unencrypted,"
            raise _unusable("VAULT_CLIENT_CERT and VAULT_CLIENT_KEY", both, what, error) from None


def open_session(address: str, settings: TlsSettings) -> requests.Session:
    made = DirectSession()
    # Reading the environment for each request costs as much as a small request.
    made.trust_env = False
    made.proxies = get_environ_proxies(address)
    # The SDK ignores its own `verify` when it is given a session.
    made.verify = settings.ca_file or os.environ.get("REQUESTS_CA_BUNDLE") or True
    if settings.client_cert_file and settings.client_key_file:
        made.cert = (settings.client_cert_file, settings.client_key_file)
    keep_to(made, address, _NamedAdapter(settings.server_name))
    return made


OF_THE_HUB: Final = frozenset({"request_id", "data", "auth", "warnings", "errors", "wrap_info", "lease_id"})


class Redirected(requests.RequestException):
    """The server redirects its client, which would take a token and a value elsewhere."""


class NotOfTheHub(requests.RequestException):
    """A refusal by a proxy or another server."""


class HubAdapter(RawAdapter):  # type: ignore[misc]
    """The SDK's requests without redirects; only the hub's own refusals count as such."""

    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(*args, **{**arguments, "allow_redirects": False})

    def request(self, *args: Any, **arguments: Any) -> requests.Response:
        answer: requests.Response = super().request(*args, **arguments)
        if 300 <= answer.status_code < 400:
            raise Redirected
        return answer

    def _raise_for_error(self, method: str, url: str, response: requests.Response) -> None:
        if response.status_code != requests.codes.too_many_requests and not in_hubs_words(response):
            raise NotOfTheHub(response=response)
        super()._raise_for_error(method, url, response)


def in_hubs_words(answer: requests.Response) -> bool:
    try:
        body = json.loads(answer.text)
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and not OF_THE_HUB.isdisjoint(body)


class _NamedAdapter(DirectAdapter):
    def __init__(self, server_name: str | None) -> None:
        self._names = {"server_hostname": server_name} if server_name else {}
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **settings: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **settings, **self._names)

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        return super().proxy_manager_for(proxy, **settings, **self._names)


def _unusable(setting: str, file: str, what: str, error: OSError) -> Invalid:
    reason = f": {error.strerror}" if not isinstance(error, ssl.SSLError) and error.strerror else ""
    return distrusted(f"{setting} names {file}, where no {what} can be read{reason}", "Correct it, or fix the file")
