"""A REST API as a target: single requests, as the catalogue describes them."""

import base64
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit

import requests
from urllib3 import connectionpool

from keyturn.core.clear_text import leaves_in_clear
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.core.ports.rest import Answer, AnswerPattern, Listing, Request, read_json, shortfall
from keyturn.core.sensitive import SecretFields
from keyturn.core.text import statements, templates
from keyturn.providers.answers import retry_after
from keyturn.providers.connection_errors import RemoteServer, from_connection, from_plain_http
from keyturn.providers.http.api_login import SIGN_IN, ApiLogin, Values
from keyturn.providers.outbound import keep_to
from keyturn.settings.api_logins import TOKEN, ApiLoginSettings


@dataclass(frozen=True)
class Wording:
    """What the hints of errors name: the ``entry`` of the catalogue, its ``login``, and who describes its requests."""

    entry: str = "target"
    login: str = "the credential at the target's `admin` path"
    author: str = "the catalogue"

    @property
    def server(self) -> RemoteServer:
        return RemoteServer(
            check=f"Check the {self.entry}'s url, that it runs, and its timeout",
            address=f"the {self.entry}'s url",
            authority=f"Give the CA that signed it as the {self.entry}'s ca_file, or renew the certificate",
        )


TARGET: Final = Wording()
LARGEST_ANSWER: Final = 4 * 1024 * 1024  # bytes
LARGEST_REQUEST: Final = 1024 * 1024
"""Characters that the values put into one request may have: texts of a catalogue can name a value many times."""
MOST_PAGES: Final = 100
ADMIN: Final = "admin."
SENDABLE: Final = re.compile(r"[\x21-\x7e\x80-\xff]([\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
"""What a header can carry (RFC 9110, 5.5)."""

# It logs whole paths, which may hold a value.
logging.getLogger(connectionpool.__name__).addFilter(lambda record: record.levelno > logging.DEBUG)


class HttpApi:
    """A :class:`keyturn.core.ports.rest.RestApi`. Errors name only the target: a path may hold a value.

    ``ca_file``, or else the public authorities, verifies certificates. ``admin`` is called for each request that needs
    it. ``login`` gets the token for its headers. Requests that try a key go to ``test_url``, if there is one.
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
        login: ApiLoginSettings | None = None,
        test_url: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        wording: Wording = TARGET,
        largest_answer: int = LARGEST_ANSWER,
    ) -> None:
        self.name = name
        self._wording = wording
        self._largest = largest_answer
        self._url = url.rstrip("/")
        self._admin = admin
        self._headers = dict(headers or {})
        self._timeout = timeout.total_seconds()
        self._test_url = (test_url or url).rstrip("/")
        self._login = ApiLogin(name, login, self._send_login, self._admin_values, clock) if login else None
        others = [other for other in (test_url, *(login.urls() if login else ())) if other]
        if (leaves_in_clear(url) and not insecure_http) or any(map(leaves_in_clear, others)):
            hint = "Use https, or set insecure_http: true if no one can be in between"
            raise Invalid("open", name, "plain http to another machine", hint)
        self._sessions = {url_origin(place): api_session(place, ca_file) for place in (url, *others)}

    def call(
        self,
        request: Request,
        fields: SecretFields,
        doing: str,
        *,
        as_admin: bool = True,
        at_test_url: bool = False,
        also: Sequence[AnswerPattern] = (),
        before_sending: Callable[[], None] | None = None,
    ) -> Answer:
        """Send ``request`` once, and again only where its login's token was refused.

        Raises unless the answer is its described success or matches ``also``.
        """
        page = PageRequest(request, fields, self._test_url if at_test_url else self._url)
        answer, _ = self._asked(page, doing, as_admin=as_admin, before_sending=before_sending)
        if any(pattern.matches(answer) for pattern in also):
            return answer
        return self._accepted(answer, request, doing, as_admin=as_admin)

    def listed(self, listing: Listing, fields: SecretFields, doing: str) -> Sequence[Answer]:
        return [entry for page in self.pages(listing, fields, doing) for entry in page]

    def pages(
        self, listing: Listing, fields: SecretFields, doing: str, most: int = MOST_PAGES
    ) -> Iterator[Sequence[Answer]]:
        """Yield the entries of each page. Raises like :meth:`call`, and Unavailable for a list of another length."""
        page, count = PageRequest(listing.request, fields, self._url), 0
        for number in range(listing.first_page, listing.first_page + most):
            answer, url = self._asked(page, doing)
            if any(pattern.matches(answer) for pattern in listing.none):
                return
            self._accepted(answer, listing.request, doing)
            members = answer.members(listing.items) if listing.members else answer.entries(listing.items)
            if members is None:
                hint = f"Point `items` of the list to it, in {self._wording.author}"
                raise Invalid(doing, self.name, "its answer holds no list where one should be", hint)
            yield [entry for entry in members if all(map(entry.meets, listing.in_force))]
            count += len(members)
            if listing.more and listing.next is None:
                numbered = fields.merged({"page": str(number + 1), "offset": str(count)})
                is_last = len(members) < (listing.page_size or 1)
                request = replace(listing.request, path=listing.more)
                following = None if is_last else replace(page, request=request, fields=numbered)
            else:
                following = self._following(listing, answer, page, url, doing)
            if following is None:
                self._insist_on_count(listing, answer, count, doing)
                return
            page = following
        hint = "Ask for more entries a page in the list's path, or for fewer; check that `more` leads to other pages"
        raise Invalid(doing, self.name, f"its list does not end within {most} pages", hint)

    def _insist_on_count(self, listing: Listing, answer: Answer, count: int, doing: str) -> None:
        total = answer.text(listing.total) if listing.total is not None else None
        if total is not None and total.reveal() != str(count):
            problem = f"its list has {count} entries, and says that there are others"
            hint = "Nothing was taken for the whole list; it is asked again. See what answers at its address"
            raise Unavailable(doing, self.name, problem, hint)

    def reach(self) -> None:
        """Any answer will do. No address gets a credential, except that of the login."""
        for scheme, host in self._sessions:
            with suppress(Throttled):
                self._sent(FilledRequest("HEAD", f"{scheme}://{host}/", {}, json=None, form=None), "reach")
        if self._login:
            self._login.token()

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()

    def _asked(
        self,
        page: "PageRequest",
        doing: str,
        *,
        as_admin: bool = True,
        before_sending: Callable[[], None] | None = None,
    ) -> tuple[Answer, str]:
        """Send a request, and return the answer and the address."""
        login = self._login if as_admin else None
        had_token = login is not None and login.kept is not None
        filled = self._filled(page, doing, as_admin=as_admin)
        answer = self._sent(filled, doing, before_sending)
        if answer.status == 401 and login is not None and had_token:
            login.forget()
            answer = self._sent(self._filled(page, doing, as_admin=as_admin), doing, before_sending)
        return answer, filled.url

    def _following(
        self, listing: Listing, answer: Answer, last: "PageRequest", url: str, doing: str
    ) -> "PageRequest | None":
        if listing.more and listing.next:
            token = answer.text(listing.next)
            request = replace(listing.request, path=listing.more)
            return replace(last, request=request, fields=last.fields.merged({"next": token})) if token else None
        link = answer.text(listing.next) if listing.next is not None else None
        address = link.reveal() if link else answer.link
        return replace(last, link=self._same_place(url, address, doing)) if address else None

    def _same_place(self, base: str, link: str, doing: str) -> str:
        """The URL of a link. Raises Invalid unless it is of the API, since it gets the admin's credential."""
        try:
            url = urljoin(base, link)
        except ValueError:
            url = ""
        if url_origin(url) != url_origin(self._url):
            hint = f"Check the {self._wording.entry}'s url: scheme, host and port must be those of its links"
            raise Invalid(doing, self.name, "the next page of its list is at another address", hint)
        return url

    def _filled(self, page: "PageRequest", doing: str, *, as_admin: bool) -> "FilledRequest":
        login = self._login.token if as_admin and self._login else None
        value = RequestValues(self.name, self._admin if as_admin else None, page.fields, doing, login)
        filled = self._fill(page.request, page.base, self._headers if as_admin else {}, value, doing)
        return replace(filled, url=page.link) if page.link else filled

    def _admin_values(self, names: Mapping[str, str]) -> "RequestValues":
        return RequestValues(self.name, self._admin, SecretFields(names), SIGN_IN)

    def _send_login(self, url: str, request: Request, values: Values, doing: str, also: AnswerPattern) -> Answer:
        answer = self._sent(self._fill(request, url, {}, values, doing), doing)
        return answer if also.matches(answer) else self._accepted(answer, request, doing)

    def _fill(
        self, request: Request, url: str, headers: Mapping[str, str], value: Values, doing: str
    ) -> "FilledRequest":
        try:
            return FilledRequest(
                request.method,
                url + self._path(request.path, value, doing),
                self._filled_headers({**headers, **request.headers}, request.basic, value, doing),
                json=templates.fill_all(request.body, value, statements.fill),
                form=templates.fill_all(request.form, value, statements.fill),
                text=None if request.text is None else templates.fill(request.text, value).encode(),
            )
        except statements.UnsafeValue as unsafe:
            problem = f"the value of {{{{{unsafe.name}}}}} can't be put into an SQL statement: it may change it"
            hint = "Use names of letters, digits and _, or write the placeholder in quotes, in the catalogue"
            raise Invalid(doing, self.name, problem, hint) from None
        except UnicodeError:
            problem = "a value holds what is no character"
            raise Invalid(doing, self.name, problem, "Write it into the hub again") from None

    def _path(self, template: str, value: Callable[[str], str], doing: str) -> str:
        if not template:
            return ""
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

    def _sent(self, filled: "FilledRequest", doing: str, before_sending: Callable[[], None] | None = None) -> Answer:
        if before_sending:
            before_sending()
        try:
            with self._sessions[url_origin(filled.url)].request(
                filled.method,
                filled.url,
                headers={name: text.encode("latin-1") for name, text in filled.headers.items()},
                json=filled.json,
                data=filled.form if filled.text is None else filled.text,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as answer:
                raw = self._read(answer, doing)
        except OSError as error:
            raise self._unanswered(error, doing) from None
        if slower := slower_pace(answer, doing, self.name):
            raise slower
        if refused := from_plain_http(
            answer.status_code, raw.decode("latin-1"), doing, self.name, self._wording.server
        ):
            raise refused
        return read_json(raw, answer.status_code, answer.links.get("next", {}).get("url"))

    def _read(self, answer: requests.Response, doing: str) -> bytes:
        raw = bytearray()
        for chunk in answer.iter_content(65_536):
            raw += chunk
            if len(raw) > self._largest:
                problem = f"its answer is longer than {self._largest >> 20} MiB"
                raise Invalid(doing, self.name, problem, f"Check the path in {self._wording.author}")
        return bytes(raw)

    def _accepted(self, answer: Answer, request: Request, doing: str, *, as_admin: bool = True) -> Answer:
        if answer.status not in request.statuses:
            raise from_status(answer.status, doing, self.name, self._wording, as_admin=as_admin)
        if lacks := shortfall(request, answer):
            hint = "See the API's own log, and compare `expect` of this request with its documentation"
            raise Invalid(doing, self.name, f"answered {answer.status} {lacks}", hint)
        return answer

    def _unanswered(self, error: OSError, doing: str) -> KeyturnError:
        if isinstance(error, requests.Timeout):
            problem = f"no answer within {self._timeout:g} s"
            return Unavailable(doing, self.name, problem, "See whether it is overloaded")
        if not isinstance(error, requests.RequestException):
            problem = f"its ca_file {next(iter(self._sessions.values())).verify} can't be read"
            return Invalid(doing, self.name, problem, "Correct the path, and who may read the file")
        if isinstance(error, ValueError):
            return Invalid(
                doing,
                self.name,
                "the request can't be sent",
                f"Correct the {self._wording.entry}'s url, and the request",
            )
        return from_connection(error, doing, self.name, self._wording.server)


@dataclass(frozen=True)
class PageRequest:
    """A request before its values are put in; ``link`` was followed, and replaces its own address."""

    request: Request
    fields: SecretFields
    base: str
    link: str | None = None


@dataclass(frozen=True)
class FilledRequest:
    method: str
    url: str
    headers: Mapping[str, str]
    json: Any
    form: Mapping[str, str] | None
    text: bytes | None = None

    def __repr__(self) -> str:
        return f"Filled({self.method})"


class RequestValues:
    def __init__(
        self,
        api: str,
        admin: Callable[[], SecretFields] | None,
        fields: SecretFields,
        doing: str,
        login: Callable[[], str] | None = None,
    ) -> None:
        self._api = api
        self._admin = admin and cache(admin)
        self._fields = fields
        self._doing = doing
        self._left = LARGEST_REQUEST
        self._login = login

    def __call__(self, name: str) -> str:
        if name == TOKEN and self._login:
            return self._login()
        if name.startswith(ADMIN):
            values, field, where = self._admin() if self._admin else {}, name.removeprefix(ADMIN), "at the admin path"
        else:
            values, field, where = self._fields, name, "in the secret"
        if field in values:
            text = values[field].reveal()
            self._left -= len(text)
            if self._left < 0:
                problem = f"the values of the request have more than {LARGEST_REQUEST:,} characters"
                raise Invalid(self._doing, self._api, problem, "Name fewer or shorter values in the catalogue")
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


def from_status(
    status: int, doing: str, name: str, wording: Wording = TARGET, *, as_admin: bool = True
) -> KeyturnError:
    problem = f"answered {status}"
    if not as_admin and status in (400, 401, 403, 409, 422):
        hint = "If that refuses a key, describe it under `refused` of `test`, in the catalogue"
        return Invalid(doing, name, f"{problem}, which neither accepts nor refuses the key", hint)
    if status in (401, 403):
        return Denied(doing, name, problem, f"Check {wording.login}, and its permissions")
    if status in (404, 410):
        hint = f"Check the {wording.entry}'s url and the path of this request, in {wording.author}"
        return NotFound(doing, name, problem, hint)
    if status == 408 or status >= 500:
        return Unavailable(doing, name, problem, "See the API's own log if it continues")
    if 300 <= status < 400:
        return Invalid(
            doing, name, f"{problem}, a redirect, which is not followed", f"Give the {wording.entry}'s final url"
        )
    if status < 300:
        return Invalid(doing, name, f"{problem}, which is not expected", "Name it under the request's `expect`")
    hint = f"Compare this request in {wording.author} with the API's documentation"
    return Invalid(doing, name, problem, hint)


def url_origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()
