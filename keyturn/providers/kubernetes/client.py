"""Calls to one namespace of a Kubernetes cluster, with its errors as Keyturn's.

The official client sends the same, but its import takes half a second.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import HTTPError

from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.providers.answers import retry_after
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.kubernetes.cluster import NO_ANSWER, Cluster, NoSignIn
from keyturn.providers.pages import PageGuard

TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=20.0)
"""Seconds to connect, and for the whole answer. Nothing is retried here: the flows retry."""
PAGE_SIZE: Final = 500
MANAGER: Final = "keyturn"

JSON: Final = "application/json"
METADATA: Final = "application/json;as={};g=meta.k8s.io;v=v1"
ONE: Final = METADATA.format("PartialObjectMetadata")
MANY: Final = METADATA.format("PartialObjectMetadataList")
"""These answers contain only metadata and no value."""

MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"

METHODS: Final = {"get": "GET", "list": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE"}

APPS, AUTHORIZATION, RBAC = "apis/apps/v1", "apis/authorization.k8s.io/v1", "apis/rbac.authorization.k8s.io/v1"
GROUPS: Final = {
    "secrets": "api/v1",
    "serviceaccounts": "api/v1",
    "deployments": APPS,
    "statefulsets": APPS,
    "daemonsets": APPS,
    "selfsubjectaccessreviews": AUTHORIZATION,
    "selfsubjectrulesreviews": AUTHORIZATION,
    "roles": RBAC,
    "rolebindings": RBAC,
}
"""The API group of each resource."""

API_SERVER: Final = RemoteServer(
    check=NO_ANSWER,
    address="server in the catalogue",
    authority="Set ca_file in the catalogue to its CA file",
    who="the API server",
    whose="the API server's",
)
NO_NAMES: Final = frozenset({"", ".", ".."})
"""Path parts that would address another place."""


@dataclass(frozen=True)
class Doing:
    what: str
    name: str
    verb: str
    resource: str = "secrets"


class Namespace:
    def __init__(self, name: str, cluster: Cluster) -> None:
        self.name = name
        self._cluster = cluster
        self._pools = cluster.pools()

    def call(self, doing: Doing, name: str = "", **arguments: Any) -> Any:
        """Raises Keyturn's errors, which hold only the answer's reason.

        Without a ``name`` it lists the resource or creates one.
        """
        part = f"namespaces/{_part(doing, self.name)}/{doing.resource}"
        named = doing.verb not in ("list", "create")
        return self._send(doing, f"{part}/{_part(doing, name)}" if named else part, **arguments)

    def ask(self, doing: Doing, body: Mapping[str, Any]) -> Any:
        """Like :meth:`call`, for a resource without a namespace."""
        return self._send(doing, doing.resource, body=body)

    def pages(self, doing: Doing, **arguments: Any) -> Iterator[list[dict[str, Any]]]:
        more, guard = dict[str, str](), PageGuard(doing.what, doing.name)
        while True:
            page = self.call(doing, limit=PAGE_SIZE, **more, **arguments)
            if "items" not in page:  # the API server sends it for an empty listing, too
                raise _no_kubernetes(doing)
            yield page["items"] or []
            if not (token := (page.get("metadata") or {}).get("continue")):
                return
            more = {"continue": guard.follow(token)}

    def close(self) -> None:
        self._pools.clear()

    def _send(
        self,
        doing: Doing,
        place: str,
        *,
        body: Mapping[str, Any] | None = None,
        accept: str = JSON,
        content_type: str = JSON,
        **query: Any,
    ) -> Any:
        about = {"Accept": f"{accept},{JSON}", "User-Agent": MANAGER, "Content-Type": content_type}
        with self._translated(doing):
            answer = self._pools.request(
                METHODS[doing.verb],
                f"{self._cluster.host}/{GROUPS[doing.resource]}/{place}{_query(query)}",
                headers={**about, **self._cluster.sign_in()},
                body=None if body is None else json.dumps(body).encode(),
                timeout=TIMEOUT,
            )
        if not 200 <= answer.status < 300:
            raise _refused(answer, doing, self.name)
        try:
            document = json.loads(answer.data)
        except ValueError:
            raise _no_kubernetes(doing) from None
        if not isinstance(document, dict):
            raise _no_kubernetes(doing)
        return document

    @contextmanager
    def _translated(self, doing: Doing) -> Iterator[None]:
        try:
            yield
        except HTTPError as error:
            raise _unanswered(error, doing) from None
        except NoSignIn:
            raise Denied(doing.what, doing.name, "the kubeconfig gives no usable sign-in any more") from None
        except OSError as error:
            problem = f"the token can't be read ({error.strerror or type(error).__name__})"
            raise Denied(doing.what, doing.name, problem, "Check token_file, or the kubeconfig") from None
        except ValueError:
            # Such an error quotes the invalid part of an address or header.
            raise _malformed(doing) from None


def _part(doing: Doing, name: str) -> str:
    if name in NO_NAMES or "/" in name or "%" in name:
        raise _malformed(doing)
    return quote(name, safe="")


def _query(parameters: Mapping[str, Any]) -> str:
    return f"?{urlencode(parameters)}" if parameters else ""


def _no_kubernetes(doing: Doing) -> Unavailable:
    return Unavailable(doing.what, doing.name, "what answered is no Kubernetes API", NO_ANSWER)


def _malformed(doing: Doing) -> Invalid:
    return Invalid(doing.what, doing.name, "the request would be malformed", "Check the name")


def _unanswered(error: HTTPError, doing: Doing) -> KeyturnError:
    return from_connection(error, doing.what, doing.name, API_SERVER)


def _refused(answer: urllib3.BaseHTTPResponse, doing: Doing, namespace: str) -> KeyturnError:
    status, reason = answer.status, _reason(answer)
    if status < 500 and status != 429 and not _in_its_words(answer):
        return _no_kubernetes(doing)
    problem = f"the API server answered {status}" + (f" ({reason})" if reason else "")
    if status == 429:
        return Throttled(
            doing.what, doing.name, problem, "Slow down", retry_after(answer.headers.get("Retry-After") or "")
        )
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
    grant = f"Grant {needs} to the account in use, as `keyturn setup store` writes it"
    return f"{grant}; a quota or an admission policy can refuse it too"


def _in_its_words(answer: urllib3.BaseHTTPResponse) -> bool:
    """Whether the API server itself refused, with a document of kind Status."""
    try:
        document = json.loads(answer.data)
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("kind") == "Status"


def _reason(answer: urllib3.BaseHTTPResponse) -> str:
    try:
        status: Mapping[str, Any] = json.loads(answer.data or "{}")
        reason = str(status.get("reason") or "")
    except (ValueError, AttributeError):
        return ""
    return reason if re.fullmatch(r"[A-Za-z]{1,40}", reason) else ""
