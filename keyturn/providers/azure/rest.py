"""JSON calls to Azure's management services, with a bearer token. Each call is sent once."""

import re
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError
from requests.auth import AuthBase

from keyturn.core.errors import Denied, Invalid, KeyturnError, Locked, NotFound, Throttled, TransientError, Unavailable
from keyturn.providers import answers
from keyturn.providers.azure import client as azure
from keyturn.providers.connection_errors import from_connection
from keyturn.providers.outbound import open_anywhere

TIMEOUT: Final = (5, 10)
"""Seconds to connect, and for the whole answer."""
CODE: Final = re.compile(r"[A-Za-z_.]{1,80}")
LOCKS: Final = frozenset({"ScopeLocked", "ReadOnlyDisabledSubscription"})


def open_rest_session(ca_file: str | None) -> requests.Session:
    session = requests.Session()
    session.verify = ca_file or True
    session.headers["User-Agent"] = "keyturn"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    open_anywhere(session)
    return session


class Signed(AuthBase):
    """An ``Authorization`` header that ``.netrc`` can't replace."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class Unsigned(AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class Refused(Invalid):
    def __init__(self, doing: str, name: str, problem: str, hint: str = "", code: str = "") -> None:
        super().__init__(doing, name, problem, hint)
        self.code = code


class Rest:
    """Raises Invalid if neither the environment nor ``credential`` signs in."""

    def __init__(
        self,
        name: str,
        endpoint: str,
        *,
        authority: str | None,
        ca_file: str | None,
        credential: TokenCredential | None,
        permission: str,
    ) -> None:
        self._name = name
        self._endpoint = endpoint.rstrip("/")
        self._permission = permission
        trust = {} if ca_file is None else {"connection_verify": ca_file}
        self._own = None
        if credential is None:
            credential = self._own = azure.credential(name, authority, trust)
        self._credential = credential
        self.scope = f"{self._endpoint}/.default"
        self.session = open_rest_session(ca_file)

    def close(self) -> None:
        self.session.close()
        if self._own is not None:
            self._own.close()

    def call(
        self,
        method: str,
        path: str,
        doing: str,
        about: str,
        *,
        query: Mapping[str, str] | None = None,
        document: Mapping[str, object] | None = None,
        at_once: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Never sent twice. ``at_once`` is called just before sending, and may raise."""
        name = f"{self._name}:{about}"
        url = f"{self._endpoint}/{path}"
        token = self.token(doing, name)
        if at_once is not None:
            at_once()
        signed = Signed(f"Bearer {token}")
        answer = send(self.session, doing, name, method, url, auth=signed, query=query, document=document)
        if answer.status_code >= 300:
            raise translate_refusal(answer, doing, name, self._permission)
        return document_of(answer, doing, name) if answer.content else {}

    def token(self, doing: str, name: str) -> str:
        """Raises Denied, Invalid, TransientError."""
        try:
            return self._credential.get_token(self.scope).token
        except AzureError as error:
            translated = azure.from_azure(error, doing, name)
            passing = isinstance(translated, TransientError)
            raise translated if passing else Denied(doing, name, "Entra ID gave no token", azure.SIGN_IN) from None
        except ValueError:
            raise Invalid(doing, name, "Azure's SDK refuses the tenant's id or the authority", azure.SIGN_IN) from None


def send(
    session: requests.Session,
    doing: str,
    name: str,
    method: str,
    url: str,
    *,
    auth: AuthBase | None = None,
    query: Mapping[str, str] | None = None,
    document: Mapping[str, object] | None = None,
    data: Mapping[str, str] | bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> requests.Response:
    """Return any answer. Raises Unavailable without one, Invalid for a bad certificate."""
    try:
        return session.request(
            method,
            url,
            params=query,
            json=document,
            data=data,
            headers=headers,
            auth=auth or Unsigned(),
            timeout=TIMEOUT,
            # The environment's certificates override the session's ``verify``, but not the request's.
            verify=session.verify,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise from_connection(error, doing, name, azure.AZURE) from None


def document_of(answer: requests.Response, doing: str, name: str) -> dict[str, Any]:
    """Raises Unavailable for anything but a JSON object, as from a proxy."""
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        problem = f"the answer ({answer.status_code}) is not from this service"
        raise Unavailable(doing, name, problem, "Check the address, and any proxy or gateway in between")
    return document


def service_code(answer: requests.Response) -> str:
    try:
        code = answer.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return ""
    return code if isinstance(code, str) and CODE.fullmatch(code) else ""


def translate_refusal(answer: requests.Response, doing: str, name: str, permission: str) -> KeyturnError:
    """Keeps the service's code and none of its text."""
    status, code = answer.status_code, service_code(answer)
    problem = f"Azure answered {status}" + (f" ({code})" if code else "")
    if status == 429:
        return Throttled(doing, name, problem, "Slow down", retry_after(answer))
    if status == 408 or status >= 500:
        return Unavailable(doing, name, problem)
    if status == 401:
        return Denied(doing, name, problem, azure.SIGN_IN)
    if status == 403:
        return Denied(doing, name, problem, permission)
    if status == 404:
        return NotFound(doing, name, f"it does not exist ({code})" if code else "it does not exist")
    if status == 409 and code not in LOCKS:
        return Locked(doing, name, f"another change is under way ({code or 'Conflict'})", "Run it again in a minute")
    return Refused(doing, name, problem, "Remove the lock from the resource" if code in LOCKS else "", code)


def retry_after(answer: requests.Response) -> float | None:
    return answers.retry_after(answer.headers.get("Retry-After", ""))
