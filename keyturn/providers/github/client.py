"""Single requests to GitHub's REST API with the current token, and its refusals as Keyturn's errors."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final

import requests
from requests.auth import AuthBase
from requests.utils import get_environ_proxies

from keyturn.core.clear_text import leaves_in_clear
from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.providers.answers import retry_after
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.outbound import keep_to
from keyturn.providers.pages import PageGuard

TIMEOUT: Final = (5, 15)
"""Seconds to connect, and for the whole answer."""
API_VERSION: Final = "2022-11-28"
SECONDARY: Final = re.compile(rb"secondary rate limit|abuse detection", re.IGNORECASE)
"""GitHub's text for a limit without headers ("Rate limits for the REST API")."""
SECONDARY_WAIT: Final = 60.0  # seconds

GITHUB: Final = RemoteServer(
    check="Check api_url, DNS, firewall and proxy",
    address="api_url",
    authority="Give the CA that signed it as ca_file",
    who="GitHub",
    whose="GitHub's",
)
CHECK: Final = "Check api_url, and any proxy or gateway in between"
TOKEN: Final = re.compile(r"[\x21-\x7e]+")


class Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class GitHubCalls:
    """Requests below ``api_url``; each reads the token file. Raises Invalid for plain http to another machine."""

    def __init__(self, name: str, *, token_file: str, api_url: str, ca_file: str | None) -> None:
        if leaves_in_clear(api_url):
            raise Invalid("open", name, "plain http to another machine", "Use https")
        self._name = name
        self._url = api_url.rstrip("/")
        self._token_file = token_file
        self._session = _session(self._url, ca_file)
        self._clock: tuple[float, float] | None = None

    def find(self, doing: str, name: str, path: str) -> dict[str, Any] | None:
        try:
            return self.send(doing, name, "GET", path)
        except NotFound:
            return None

    def pages(self, doing: str, name: str, path: str, key: str, size: int) -> Iterator[dict[str, Any]]:
        number, count, guard = 1, 0, PageGuard(doing, name)
        while True:
            page = self.send(doing, name, "GET", f"{path}?per_page={size}&page={number}")
            entries, total = page.get(key), page.get("total_count")
            if not isinstance(entries, list) or not isinstance(total, int):
                raise Unavailable(doing, name, "the answer is no list of GitHub's", CHECK)
            yield from entries
            count += len(entries)
            if not entries or count >= total:
                return
            # A page that begins like an earlier one is a repetition.
            guard.follow(str(entries[0].get("name")))
            number += 1

    def send(
        self, doing: str, name: str, method: str, path: str, body: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            answer = self._session.request(
                method,
                f"{self._url}/{path}",
                json=body,
                auth=Bearer(self._token(doing, name)),
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        except OSError as error:  # every error of requests is one
            if isinstance(error, requests.RequestException):
                raise from_connection(error, doing, name, GITHUB) from None
            hint = "Correct the path, and who may read the file"
            raise Invalid(doing, name, "its ca_file can't be read", hint) from None
        if date := _date(answer):
            self._clock = (date.timestamp(), time.monotonic())
        if answer.status_code >= 300:
            raise translate_answer(answer, doing, name)
        return _document(answer, doing, name)

    def not_before(self) -> float:
        """The earliest time of GitHub's clock, in seconds since 1970; 0 before its first answer."""
        if self._clock is None:
            return 0.0
        shown, heard = self._clock
        return shown + time.monotonic() - heard

    def close(self) -> None:
        self._session.close()

    def _token(self, doing: str, name: str) -> str:
        hint = "It should hold a token that may write the repository's secrets and variables"
        try:
            token = Path(self._token_file).read_text().strip()
        except FileNotFoundError:
            raise NotFound(doing, name, f"there is no file {self._token_file}", hint) from None
        except (OSError, UnicodeDecodeError):
            problem = f"the file {self._token_file} can't be read"
            raise Denied(doing, name, problem, "Check its owner and mode") from None
        if not TOKEN.fullmatch(token):
            raise Denied(doing, name, f"the file {self._token_file} holds no token", hint)
        return token


def _session(url: str, ca_file: str | None) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.proxies = get_environ_proxies(url)
    session.verify = ca_file or os.environ.get("REQUESTS_CA_BUNDLE") or True
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    accept = {"accept": "application/vnd.github+json", "x-github-api-version": API_VERSION}
    session.headers.update({"user-agent": "keyturn", **accept})
    keep_to(session, url)
    return session


def _document(answer: requests.Response, doing: str, name: str) -> dict[str, Any]:
    try:
        document = answer.json() if answer.content else {}
    except ValueError:
        document = None
    if not isinstance(document, dict):
        problem = f"the answer ({answer.status_code}) is not GitHub's"
        raise Unavailable(doing, name, problem, CHECK)
    return document


def translate_answer(answer: requests.Response, doing: str, name: str) -> KeyturnError:
    status = answer.status_code
    problem = f"GitHub answered {status}"
    if status == 429 or (status == 403 and _is_pace(answer)):
        return Throttled(doing, name, problem, "It asks for a slower pace", _wait(answer))
    if status == 401:
        hint = "The token is refused: it ended, or was revoked. Write a new one to its file"
        return Denied(doing, name, problem, hint)
    if status == 403:
        hint = "Give the token write access to Secrets, Variables and, for an environment, Environments"
        return Denied(doing, name, problem, hint)
    if status == 404:
        hint = "Check repository and environment; a token without access gets the same answer"
        return NotFound(doing, name, problem, hint)
    if status == 409:
        return Conflict(doing, name, "another write came first", "Run it again: it continues from what is there now")
    if status == 408 or status >= 500:
        return Unavailable(doing, name, problem, "See www.githubstatus.com if it continues")
    if status < 400:
        return Invalid(doing, name, f"{problem}: the repository has another name now", "Correct it in the catalogue")
    hint = "Check the name, the size, and how many there are"
    return Invalid(doing, name, f"{problem}: it refuses the request", hint)


def _is_pace(answer: requests.Response) -> bool:
    headers = answer.headers
    limit = "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"
    return limit or bool(SECONDARY.search(answer.content))


def _wait(answer: requests.Response) -> float | None:
    now = _date(answer) or datetime.now(UTC)
    wanted = retry_after(answer.headers.get("retry-after", ""), now)
    reset = answer.headers.get("x-ratelimit-reset", "")
    if wanted is None and answer.headers.get("x-ratelimit-remaining") == "0" and re.fullmatch(r"[0-9]{1,12}", reset):
        return max(0.0, int(reset) - now.timestamp())
    return SECONDARY_WAIT if wanted is None else wanted


def _date(answer: requests.Response) -> datetime | None:
    try:
        date = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
    return date if date.tzinfo else None
