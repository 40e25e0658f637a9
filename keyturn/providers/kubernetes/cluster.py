"""The address of a Kubernetes cluster, and the sign-in there."""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import urllib3
from requests.utils import get_environ_proxies, select_proxy

from keyturn.core.errors import Invalid
from keyturn.providers.outbound import POOLS

if TYPE_CHECKING:
    from kubernetes.client import Configuration

CONNECTIONS: Final = 64
NO_ANSWER: Final = "Check the address, DNS, firewall and proxy"


class NoSignIn(Exception):
    """The sign-in of a kubeconfig no longer works."""


@dataclass(frozen=True)
class Cluster:
    """An API server's address, and sign-in headers made for each request."""

    host: str
    sign_in: Callable[[], Mapping[str, str]]
    tls: Mapping[str, Any] = field(default_factory=dict)
    proxy: str | None = None
    proxy_headers: Mapping[str, str] | None = None

    def pools(self) -> urllib3.PoolManager:
        settings: dict[str, Any] = {
            **self.tls,
            "cert_reqs": ssl.CERT_REQUIRED,
            "retries": False,
            "maxsize": CONNECTIONS,
        }
        if self.proxy and self.proxy.startswith("socks"):
            from urllib3.contrib.socks import SOCKSProxyManager

            made: Any = SOCKSProxyManager(self.proxy, headers=self.proxy_headers, **settings)
        elif self.proxy:
            made = urllib3.ProxyManager(self.proxy, proxy_headers=self.proxy_headers, **settings)
        else:
            made = urllib3.PoolManager(**settings)
        made.pool_classes_by_scheme = dict(POOLS)
        return made  # type: ignore[no-any-return]


def settings_for(
    name: str,
    *,
    server: str | None,
    ca_file: str | None,
    token_file: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> Cluster:
    """Raises Invalid, naming ``name``, for unusable settings.

    With ``server``, that address and the token in ``token_file``; else the kubeconfig, if one exists; else the pod's
    own cluster and service account.
    """
    if server is not None:
        if kubeconfig or context:
            raise Invalid("open", name, "server and kubeconfig exclude each other", "Leave one of them out")
        made = _told(name, server, ca_file, token_file)
    elif ca_file or token_file:
        raise Invalid("open", name, "ca_file and token_file go with server", "Add server, or leave them out")
    else:
        made = _found(name, kubeconfig, context)
    if not made.host.startswith("https://"):
        raise _unprotected(name)
    return made


def _unprotected(name: str) -> Invalid:
    problem = "the connection to the API server would not be protected by TLS"
    return Invalid("open", name, problem, "Use an https:// address and a certificate-authority")


def _told(name: str, server: str, ca_file: str | None, token_file: str | None) -> Cluster:
    if token_file is None:
        raise Invalid("open", name, "token_file is missing", "Name the file with a service account's token")
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError:
        raise Invalid("open", name, "ca_file holds no certificate", "Name the PEM file of the cluster's CA") from None

    def sign_in() -> Mapping[str, str]:
        # Read at every call: the kubelet replaces the file well before its token expires.
        return {"authorization": f"Bearer {Path(token_file).read_text().strip()}"}

    host = server.rstrip("/")
    return Cluster(host, sign_in, {"ca_certs": ca_file}, select_proxy(host, get_environ_proxies(host)))


def _found(name: str, kubeconfig: str | None, context: str | None) -> Cluster:
    """The official client supports every sign-in of a kubeconfig."""
    from kubernetes import config
    from kubernetes.client import Configuration
    from kubernetes.config.incluster_config import SERVICE_HOST_ENV_NAME
    from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION

    made = Configuration()
    path = kubeconfig or os.environ.get("KUBECONFIG") or KUBE_CONFIG_DEFAULT_LOCATION
    there = any(Path(part).expanduser().is_file() for part in path.split(os.pathsep))
    try:
        if there or kubeconfig or context or SERVICE_HOST_ENV_NAME not in os.environ:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                path, context, client_configuration=made, persist_config=False
            )
        else:
            config.load_incluster_config(client_configuration=made)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  a malformed file can raise anything, and the text may quote it
        problem = f"no usable kubeconfig, nor a pod's own cluster ({type(error).__name__})"
        raise Invalid("open", name, problem, "Check kubeconfig and context, or set server and token_file") from None
    if not made.verify_ssl:
        raise _unprotected(name)
    return _of_configuration(made)


def _of_configuration(made: "Configuration") -> Cluster:
    from kubernetes.client.rest import should_bypass_proxies
    from kubernetes.config import ConfigException

    def sign_in() -> Mapping[str, str]:
        try:
            settings: Any = made.auth_settings().values()
        except ConfigException:
            raise NoSignIn from None
        return {setting["key"]: setting["value"] for setting in settings if setting["value"]}

    tls = {
        "ca_certs": made.ssl_ca_cert,
        "ca_cert_data": made.ca_cert_data,
        "cert_file": made.cert_file,
        "key_file": made.key_file,
        "assert_hostname": made.assert_hostname,
        "server_hostname": made.tls_server_name or None,
    }
    settings = {name: value for name, value in tls.items() if value is not None}
    host = made.host.rstrip("/")
    through = made.proxy and not should_bypass_proxies(host, made.no_proxy or "")
    return Cluster(host, sign_in, settings, made.proxy if through else None, made.proxy_headers)
