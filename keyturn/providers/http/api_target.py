"""A REST API as a target: single requests, as the catalogue describes them."""

import base64
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit

import requests
from urllib3 import connectionpool

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.core.outbound import leaves_in_clear
from keyturn.core.ports.rest import Answer, AnswerPattern, Listing, Request, read_json, shortfall
from keyturn.core.sensitive import SecretFields
from keyturn.core.text import templates
from keyturn.providers.answers import retry_after
from keyturn.providers.connection_errors import RemoteServer, from_connection, from_plain_http
from keyturn.providers.outbound import keep_to

API: Final = RemoteServer(
    check="Check the target's url, that it runs, and its timeout",
    address="the target's url",
    authority="Give the CA that signed it as the target's ca_file, or renew the certificate",
)
LARGEST_ANSWER: Final = 4 * 1024 * 1024  # bytes
MOST_PAGES: Final = 100
ADMIN: Final = "admin."
SENDABLE: Final = re.compile(r"[\x21-\x7e\x80-\xff]([\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
"""What a header can carry (RFC 9110, 5.5)."""

# It logs whole paths, which may hold a value.
logging.getLogger(connectionpool.__name__).addFilter(lambda record: record.levelno > logging.DEBUG)


class HttpApi:
    """A :class:`keyturn.core.ports.rest.RestApi`. Errors name only the target: a path may hold a value.

    ``ca_file``, or else the public authorities, verifies certificates. ``admin`` is called for each request that needs
    it.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str,
        admin: Callable[[], SecretFields],
        headers: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        timeout: timedelta = timedelta(seconds=10),
        insecure_http: bool = False,
    ) -> None:
        self.name = name
        self._url = url.rstrip("/")
        self._admin = admin
        self._headers = dict(headers or {})
        self._timeout = timeout.total_seconds()
        self._session = api_session(url, ca_file)
        if leaves_in_clear(url) and not insecure_http:
            hint = "Use https, or set insecure_http: true if no one can be in between"
            raise Invalid("open", name, "plain http to another machine", hint)

    def call(
        self,
        request: Request,
        fields: SecretFields,
        doing: str,
        *,
        as_admin: bool = True,
        also: Sequence[AnswerPattern] = (),
        before_sending: Callable[[], None] | None = None,
    ) -> Answer:
        """Send ``request`` once. Raises unless the answer is its described success or matches ``also``."""
        filled = self._filled(request, fields, doing, as_admin=as_admin)
        if before_sending:
            before_sending()
        answer = self._sent(filled, doing)
        if any(pattern.matches(answer) for pattern in also):
            return answer
        return self._accepted(answer, request, doing, as_admin=as_admin)

    def listed(self, listing: Listing, fields: SecretFields, doing: str) -> Sequence[Answer]:
        filled, entries = self._filled(listing.request, fields, doing, as_admin=True), list[Answer]()
        for _ in range(MOST_PAGES):
            answer = self._accepted(self._sent(filled, doing), listing.request, doing)
            members = answer.entries(listing.items)
            if members is None:
                hint = "Point `items` of the list to it, in the catalogue"
                raise Invalid(doing, self.name, "its answer holds no list where one should be", hint)
            entries += (entry for entry in members if all(map(entry.meets, listing.in_force)))
            following = self._following(listing, answer, fields, doing, filled)
            if following is None:
                return entries
            filled = following
        hint = "Ask for more entries a page in the list's path, or for fewer of them"
        raise Invalid(doing, self.name, f"its list does not end within {MOST_PAGES} pages", hint)

    def close(self) -> None:
        self._session.close()

    def _following(
        self, listing: Listing, answer: Answer, fields: SecretFields, doing: str, last: "FilledRequest"
    ) -> "FilledRequest | None":
        if listing.more and listing.next:
            token = answer.text(listing.next)
            page = replace(listing.request, path=listing.more)
            with_token = fields.merged({"next": token}) if token else None
            return self._filled(page, with_token, doing, as_admin=True) if with_token else None
        link = answer.text(listing.next) if listing.next is not None else None
        address = link.reveal() if link else answer.link
        return replace(last, url=self._same_place(last.url, address, doing)) if address else None

    def _same_place(self, base: str, link: str, doing: str) -> str:
        """The URL of a link. Raises Invalid unless it is of the API, since it gets the admin's credential."""
        try:
            url = urljoin(base, link)
        except ValueError:
            url = ""
        if url_origin(url) != url_origin(self._url):
            hint = "Check the target's url: scheme, host and port must be those of its links"
            raise Invalid(doing, self.name, "the next page of its list is at another address", hint)
        return url

    def _filled(self, request: Request, fields: SecretFields, doing: str, *, as_admin: bool) -> "FilledRequest":
        value = RequestValues(self.name, self._admin if as_admin else None, fields, doing)
        texts = {**(self._headers if as_admin else {}), **request.headers}
        try:
            return FilledRequest(
                request.method,
                self._url + self._path(request.path, value, doing),
                self._filled_headers(texts, request.basic, value, doing),
                json=templates.fill_all(request.body, value),
                form=templates.fill_all(request.form, value),
            )
        except UnicodeError:
            problem = "a value holds what is no character"
            raise Invalid(doing, self.name, problem, "Write it into the hub again") from None

    def _path(self, template: str, value: Callable[[str], str], doing: str) -> str:
        path = templates.fill(template, lambda name: quote(value(name), safe=""))
        segments = [unquote(part) for part in path.partition("?")[0].split("/")[1:]]
        slash_at_end = template.partition("?")[0].endswith("/")
        if {".", ".."} & set(segments) or "" in segments[:-1] or (segments[-1] == "" and not slash_at_end):
            hint = "Look at the id that the secret holds, and at the pointers under `answer`"
            raise Invalid(doing, self.name, "a value can't be used in the path: it is empty, or dots", hint)
        return path

    def _filled_headers(
        self, texts: Mapping[str, str], basic: str | None, value: Callable[[str], str], doing: str
    ) -> dict[str, str]:
        headers = {name.lower(): templates.fill(text, value) for name, text in texts.items()}
        if basic:
            login = templates.fill(basic, value).encode()
            headers["authorization"] = f"Basic {base64.b64encode(login).decode()}"
        for name, text in headers.items():
            if not SENDABLE.fullmatch(text):
                problem = f"the header {name} can't be sent: it is empty, or holds a line break or the like"
                raise Invalid(doing, self.name, problem, "Write the value into the hub without its line break")
        return headers

    def _sent(self, filled: "FilledRequest", doing: str) -> Answer:
        try:
            with self._session.request(
                filled.method,
                filled.url,
                headers={name: text.encode("latin-1") for name, text in filled.headers.items()},
                json=filled.json,
                data=filled.form,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as answer:
                raw = self._read(answer, doing)
        except OSError as error:
            raise self._unanswered(error, doing) from None
        if slower := slower_pace(answer, doing, self.name):
            raise slower
        if refused := from_plain_http(answer.status_code, raw.decode("latin-1"), doing, self.name, API):
            raise refused
        return read_json(raw, answer.status_code, answer.links.get("next", {}).get("url"))

    def _read(self, answer: requests.Response, doing: str) -> bytes:
        raw = bytearray()
        for chunk in answer.iter_content(65_536):
            raw += chunk
            if len(raw) > LARGEST_ANSWER:
                problem = f"its answer is longer than {LARGEST_ANSWER >> 20} MiB"
                raise Invalid(doing, self.name, problem, "Check the path in the catalogue")
        return bytes(raw)

    def _accepted(self, answer: Answer, request: Request, doing: str, *, as_admin: bool = True) -> Answer:
        if answer.status not in request.statuses:
            raise from_status(answer.status, doing, self.name, as_admin=as_admin)
        if lacks := shortfall(request, answer):
            hint = "See the API's own log, and compare `expect` of this request with its documentation"
            raise Invalid(doing, self.name, f"answered {answer.status} {lacks}", hint)
        return answer

    def _unanswered(self, error: OSError, doing: str) -> KeyturnError:
        if isinstance(error, requests.Timeout):
            problem = f"no answer within {self._timeout:g} s"
            return Unavailable(doing, self.name, problem, "See whether it is overloaded")
        if not isinstance(error, requests.RequestException):
            return Invalid(doing, self.name, "its ca_file can't be read", "Correct the path, and who may read the file")
        if isinstance(error, ValueError):
            return Invalid(doing, self.name, "the request can't be sent", "Correct the target's url, and the request")
        return from_connection(error, doing, self.name, API)


@dataclass(frozen=True)
class FilledRequest:
    method: str
    url: str
    headers: Mapping[str, str]
    json: Any
    form: Mapping[str, str] | None

    def __repr__(self) -> str:
        return f"Filled({self.method})"


class RequestValues:
    def __init__(self, api: str, admin: Callable[[], SecretFields] | None, fields: SecretFields, doing: str) -> None:
        self._api = api
        self._admin = admin and cache(admin)
        self._fields = fields
        self._doing = doing

    def __call__(self, name: str) -> str:
        if name.startswith(ADMIN):
            values, field, where = self._admin() if self._admin else {}, name.removeprefix(ADMIN), "at the admin path"
        else:
            values, field, where = self._fields, name, "in the secret"
        if field in values:
            text = values[field].reveal()
            text.encode()  # invalid characters fail here, not in an error of requests that shows them
            return text
        problem = f"the request asks for {{{{{name}}}}}, which is not there"
        raise Invalid(self._doing, self._api, problem, f"Write the field {field.rpartition('.')[2]} {where} in the hub")


def api_session(url: str, ca_file: str | None) -> requests.Session:
    """A session for one server, without settings from the environment and without cookies."""
    made = requests.Session()
    made.trust_env = False
    made.verify = True if ca_file is None else ca_file
    made.headers.update({"user-agent": "keyturn", "accept": "application/json"})
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    keep_to(made, url)
    return made


def slower_pace(answer: requests.Response, doing: str, name: str) -> Throttled | None:
    """The error of an answer that asks for one: 429, or 503 with a Retry-After."""
    pause = retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
    if answer.status_code == 429 or (answer.status_code == 503 and pause is not None):
        return Throttled(doing, name, f"answered {answer.status_code}", "It asks for a slower pace", pause)
    return None


def from_status(status: int, doing: str, name: str, *, as_admin: bool = True) -> KeyturnError:
    problem = f"answered {status}"
    if not as_admin and status in (400, 401, 403, 409, 422):
        hint = "If that refuses a key, describe it under `refused` of `test`, in the catalogue"
        return Invalid(doing, name, f"{problem}, which neither accepts nor refuses the key", hint)
    if status in (401, 403):
        return Denied(doing, name, problem, "Check the credential at the target's `admin` path, and its permissions")
    if status in (404, 410):
        return NotFound(doing, name, problem, "Check the target's url and the path of this request, in the catalogue")
    if status == 408 or status >= 500:
        return Unavailable(doing, name, problem, "See the API's own log if it continues")
    if 300 <= status < 400:
        return Invalid(doing, name, f"{problem}, a redirect, which is not followed", "Give the target's final url")
    if status < 300:
        return Invalid(doing, name, f"{problem}, which is not expected", "Name it under the request's `expect`")
    return Invalid(doing, name, problem, "Compare this request in the catalogue with the API's documentation")


def url_origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()
