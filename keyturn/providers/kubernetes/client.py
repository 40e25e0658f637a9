"""Calls to one namespace of a Kubernetes cluster through the official client, and its errors in our words."""

import json
import logging
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.incluster_config import SERVICE_HOST_ENV_NAME
from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION
from urllib3.exceptions import HTTPError

from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.providers.answers import objection, retry_after
from keyturn.providers.outbound import POOLS
from keyturn.providers.pages import PageGuard

TIMEOUT: Final = (5.0, 20.0)
"""Seconds to connect, and for the whole answer. The client's own retries are off: the flows retry."""
CONNECTIONS: Final = 64
PAGE_SIZE: Final = 500
"""What kubectl asks for at once."""
MANAGER: Final = "keyturn"
"""Under which name the API server records who wrote a field."""

JSON: Final = "application/json"
METADATA: Final = "application/json;as={};g=meta.k8s.io;v=v1"
ONE: Final = METADATA.format("PartialObjectMetadata")
MANY: Final = METADATA.format("PartialObjectMetadataList")
"""The API server leaves everything but the metadata out of an answer when asked like this, so no value travels."""

MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"

ROLE: Final = "deployments/policies/kubernetes-role.yaml"
NO_ANSWER: Final = "Check the address, DNS, firewall and proxy"

# Some releases of the client log whole answers at DEBUG, values included.
logging.getLogger("kubernetes.client.rest").addFilter(lambda record: record.levelno > logging.DEBUG)


@dataclass(frozen=True)
class Doing:
    """What is being done, to which name, and the verb and resource that the account needs for it."""

    what: str
    name: str
    verb: str
    resource: str = "secrets"


class Namespace:
    """The API server's answers about one namespace, as plain JSON."""

    def __init__(self, name: str, settings: client.Configuration) -> None:
        self.name = name
        self._api = client.ApiClient(settings)
        self._api.rest_client.pool_manager.pool_classes_by_scheme = dict(POOLS)
        self._api.user_agent = MANAGER
        self.core = client.CoreV1Api(self._api)
        self.apps = client.AppsV1Api(self._api)
        self.authorization = client.AuthorizationV1Api(self._api)

    def call(self, doing: Doing, rpc: Callable[..., Any], *, accept: str = JSON, **arguments: Any) -> Any:
        """What the API server answers. Raises our errors, which hold nothing of the answer but its reason."""
        return self.ask(doing, rpc, accept=accept, namespace=self.name, **arguments)

    def ask(self, doing: Doing, rpc: Callable[..., Any], *, accept: str = JSON, **arguments: Any) -> Any:
        """The same of what is in no namespace."""
        headers = {"Accept": f"{accept},{JSON}"}
        with self._translated(doing):
            answer = rpc(_preload_content=False, _request_timeout=TIMEOUT, _headers=headers, **arguments)
            raw = answer.data
        try:
            return json.loads(raw)
        except ValueError:
            raise Unavailable(doing.what, doing.name, "what answered is no Kubernetes API", NO_ANSWER) from None

    def pages(self, doing: Doing, rpc: Callable[..., Any], **arguments: Any) -> Iterator[list[dict[str, Any]]]:
        """The items of a listing, page after page."""
        more, guard = dict[str, str](), PageGuard(doing.what, doing.name)
        while True:
            page = self.call(doing, rpc, limit=PAGE_SIZE, **more, **arguments)
            yield page.get("items") or []
            if not (token := page.get("metadata", {}).get("continue")):
                return
            more = {"_continue": guard.follow(token)}

    def close(self) -> None:
        """Let go of every connection."""
        self._api.close()  # type: ignore[no-untyped-call]

    @contextmanager
    def _translated(self, doing: Doing) -> Iterator[None]:
        try:
            yield
        except ApiException as error:
            raise _refused(error, doing, self.name) from None
        except HTTPError as error:
            raise _unanswered(error, doing) from None
        except config.ConfigException:
            raise Denied(doing.what, doing.name, "the kubeconfig gives no usable sign-in any more") from None
        except OSError as error:
            problem = f"the token can't be read ({error.strerror or type(error).__name__})"
            raise Denied(doing.what, doing.name, problem, "Check token_file, or the kubeconfig") from None
        except ValueError:
            # The client checks its arguments, and quotes them in what it raises.
            raise Invalid(doing.what, doing.name, "the Kubernetes client refuses the request as malformed") from None


def settings_for(
    name: str,
    *,
    server: str | None,
    ca_file: str | None,
    token_file: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> client.Configuration:
    """How to reach and to sign in to the cluster. Raises Invalid, saying ``name``, for what can't work.

    With ``server``, that address and the token in ``token_file``; else the kubeconfig file where there is one; else
    the pod's own cluster and service account.
    """
    made = client.Configuration()
    made.retries = False
    made.connection_pool_maxsize = CONNECTIONS
    if server is not None:
        if kubeconfig or context:
            raise Invalid("open", name, "server and kubeconfig exclude each other", "Leave one of them out")
        _told(made, name, server, ca_file, token_file)
    elif ca_file or token_file:
        raise Invalid("open", name, "ca_file and token_file go with server", "Add server, or leave them out")
    else:
        _found(made, name, kubeconfig, context)
    if not made.host.startswith("https://") or not made.verify_ssl:
        problem = "the connection to the API server would not be protected by TLS"
        raise Invalid("open", name, problem, "Use an https:// address and a certificate-authority")
    return made


def _told(made: client.Configuration, name: str, server: str, ca_file: str | None, token_file: str | None) -> None:
    if token_file is None:
        raise Invalid("open", name, "token_file is missing", "Name the file with a service account's token")
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError:
        raise Invalid("open", name, "ca_file holds no certificate", "Name the PEM file of the cluster's CA") from None
    made.host, made.ssl_ca_cert = server.rstrip("/"), ca_file

    def read_token(configuration: client.Configuration) -> None:
        # At every call: the kubelet replaces the file well before the token in it ends.
        configuration.api_key["authorization"] = f"Bearer {Path(token_file).read_text().strip()}"

    made.api_key["authorization"] = ""
    made.refresh_api_key_hook = read_token  # type: ignore[assignment]


def _found(made: client.Configuration, name: str, kubeconfig: str | None, context: str | None) -> None:
    path = kubeconfig or os.environ.get("KUBECONFIG") or KUBE_CONFIG_DEFAULT_LOCATION
    there = any(Path(part).expanduser().is_file() for part in path.split(os.pathsep))
    try:
        if there or kubeconfig or context or SERVICE_HOST_ENV_NAME not in os.environ:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                path, context, client_configuration=made, persist_config=False
            )
        else:
            config.load_incluster_config(client_configuration=made)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 (whatever a malformed file makes the loader raise, its text may quote the file)
        problem = f"no usable kubeconfig, nor a pod's own cluster ({type(error).__name__})"
        raise Invalid("open", name, problem, "Check kubeconfig and context, or set server and token_file") from None


def _unanswered(error: HTTPError, doing: Doing) -> KeyturnError:
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, urllib3.exceptions.SSLError):
        return _untrusted(cause, doing)
    refusal = objection(error)
    problem = f"no answer from the API server{f': {refusal}' if refusal else ''}"
    return Unavailable(doing.what, doing.name, problem, NO_ANSWER)


def _untrusted(error: BaseException | None, doing: Doing) -> KeyturnError:
    """Only what OpenSSL itself objects to is a matter of trust; the rest is a connection that broke."""
    causes = [part for part in (error.args if error else ()) if isinstance(part, ssl.SSLError)]
    if any(part.errno == ssl.SSL_ERROR_SSL for part in causes):
        problem = "TLS with the API server failed: its certificate is not trusted, or it is not for this address"
        return Denied(doing.what, doing.name, problem, "Check ca_file and server")
    return Unavailable(doing.what, doing.name, "the TLS connection to the API server broke off", NO_ANSWER)


def _refused(error: ApiException, doing: Doing, namespace: str) -> KeyturnError:
    status, reason = error.status or 0, _reason(error)
    if status == 0:
        return _untrusted(error.__context__, doing)
    problem = f"the API server answered {status}" + (f" ({reason})" if reason else "")
    if status == 429:
        return Throttled(doing.what, doing.name, problem, "Slow down", _retry_after(error))
    if status >= 500 or status in (408, 410):
        return Unavailable(doing.what, doing.name, problem)
    if status == 404:
        return NotFound(doing.what, doing.name, f"it is not in namespace {namespace}, or the namespace is not there")
    if status == 409:
        return Conflict(
            doing.what, doing.name, f"it has changed since it was read ({reason or status})", "Run it again"
        )
    if status in (401, 403):
        return Denied(doing.what, doing.name, problem, _permission_hint(status, doing, namespace))
    return Invalid(doing.what, doing.name, problem, "Check the name, the keys and the size")


def _permission_hint(status: int, doing: Doing, namespace: str) -> str:
    if status == 401:
        return "Check the token in token_file, or the kubeconfig's user"
    needs = f"the verb {doing.verb} on {doing.resource} in namespace {namespace}"
    return f"Grant {needs} to the account in use, as in {ROLE}; a quota or an admission policy can refuse it too"


def _reason(error: ApiException) -> str:
    """The one word that the API server has for it, such as AlreadyExists; empty where it gave none."""
    try:
        status: Mapping[str, Any] = json.loads(error.body or "{}")
        reason = str(status.get("reason") or "")
    except (ValueError, AttributeError):
        return ""
    return reason if re.fullmatch(r"[A-Za-z]{1,40}", reason) else ""


def _retry_after(error: ApiException) -> float | None:
    return retry_after((error.headers or {}).get("Retry-After") or "")
