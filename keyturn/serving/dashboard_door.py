"""The web page of the dashboard, for users that the hub admits: sign in, look, sign out.

A person signs in with a token of the hub, which stays in memory only and is checked with the hub at each look. The page
itself is read with this process's login, because its records hold candidates that no person may read.
"""

import asyncio
import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import parse_qs

from keyturn.agent.caller_auth import TOKEN
from keyturn.agent.decisions import in_networks
from keyturn.agent.http import HTML, HttpAnswer, HttpRequest
from keyturn.client.clock import elapsed
from keyturn.core.errors import Denied, KeyturnError, TerminalError, Unavailable, Unproven
from keyturn.core.ports.viewers import Viewer, ViewersPort
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.plain_text import visible
from keyturn.pages.dashboard import Dashboard
from keyturn.pages.dashboard_page import ServedPage, remark_page, serve_dashboard, sign_in_page
from keyturn.serving.numbers.process import SIGN_INS, Counts
from keyturn.serving.sessions import IDLE, LONGEST, Attempts, Sessions, client_address
from keyturn.serving.shared_checks import Looks

T = TypeVar("T")

PAGE: Final = "/"
SIGN_IN: Final = "/sign-in"
SIGN_OUT: Final = "/sign-out"
PATHS: Final = frozenset({PAGE, SIGN_IN, SIGN_OUT})

FORM_BYTES: Final = 8_192
FORM: Final = "application/x-www-form-urlencoded"
AT_ONCE: Final = 4
"""Maximum number of concurrent looks and questions to the hub."""

SAFE_HEADERS: Final = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    # Not `no-referrer`: with that, a browser does not send the origin of a form.
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)

REFUSED: Final = (
    "The hub does not let this token see the page: it is unknown or has ended, or it lacks the policy keyturn-viewer."
)
OVER: Final = "The hub no longer allows your token to see the page. Sign in again."
UNTOLD: Final = "The hub does not say whether you may see the page."
FOREIGN: Final = "The form was not sent from this page."
NO_TOKEN: Final = "That is no token of the hub."


class DashboardDoor:
    """Answers requests for :data:`PATHS`, in one event loop. ``look`` reads the whole page, and may be slow.

    ``port`` and ``tls`` are those of this process. ``say`` logs who signed in. ``proxies`` are the networks of proxies
    that are trusted for a client's address.
    """

    def __init__(
        self,
        viewers: ViewersPort,
        look: Callable[[], Dashboard],
        say: Callable[[str], None],
        counts: Counts,
        *,
        port: int,
        tls: bool,
        proxies: tuple[str, ...] = (),
        clock: Callable[[], float] = elapsed,
    ) -> None:
        self._proxies = proxies
        self._viewers = viewers
        self._say = say
        self._counts = counts
        self._scheme = "https" if tls else "http"
        # Browsers share cookies between the ports of a host. The prefix prevents other hosts from setting this one.
        self._cookie = f"__Host-keyturn-{port}" if tls else f"keyturn-{port}"
        self._sessions, self._attempts = Sessions(clock), Attempts(clock)
        self._pool = ThreadPoolExecutor(AT_ONCE, "keyturn-dashboard")
        self._looks = Looks(lambda: self._aside(lambda: serve_dashboard(look())), clock)

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to one request."""
        peer = client_address(request.peer, request.values("x-forwarded-for"), self._proxies)
        answer = await self._route(replace(request, peer=peer))
        return replace(answer, headers=(*answer.headers, *SAFE_HEADERS))

    def close(self) -> None:
        """Stop accepting work."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _route(self, request: HttpRequest) -> HttpAnswer:
        looks = request.method in ("GET", "HEAD")
        if request.path == PAGE and looks:
            return await self._show(request)
        if request.path == SIGN_IN and looks:
            return _form("", HTTPStatus.OK)
        if request.path in (SIGN_IN, SIGN_OUT) and request.method == "POST":
            if not self._is_own(request):
                return _form(FOREIGN, HTTPStatus.FORBIDDEN)
            return await self._sign_in(request) if request.path == SIGN_IN else self._sign_out(request)
        allowed = {PAGE: "GET, HEAD", SIGN_IN: "GET, HEAD, POST"}.get(request.path, "POST")
        return HttpAnswer(HTTPStatus.METHOD_NOT_ALLOWED, "not allowed\n", headers=(("allow", allowed),))

    async def _show(self, request: HttpRequest) -> HttpAnswer:
        shown = self._shown(request)
        if (session := self._sessions.find(shown)) is None:
            return HttpAnswer(HTTPStatus.SEE_OTHER, headers=(("location", SIGN_IN),))
        try:
            await self._admit(session.token, request.peer)
        except Denied:
            self._sessions.end(shown)
            self._say(f"dashboard: {session.name} may not see it any more")
            return self._without_cookie(_form(OVER, HTTPStatus.FORBIDDEN))
        except KeyturnError as error:
            return _remark(UNTOLD, error.text)
        try:
            return _answer(await self._looks.latest(), HTTPStatus.OK)
        except KeyturnError as error:
            return _remark("Nothing could be looked at", error.text)
        except TimeoutError:
            return _remark("It is still looked at", "Look again in a moment: hub or stores are slow to answer.")

    async def _sign_in(self, request: HttpRequest) -> HttpAnswer:
        if wait := self._attempts.wait(request.peer):
            self._counts.add(SIGN_INS, "limited")
            answer = _form("Too many tries from your address. Wait a minute.", HTTPStatus.TOO_MANY_REQUESTS)
            return replace(answer, headers=(*answer.headers, ("retry-after", str(math.ceil(wait)))))
        if len(request.body) > FORM_BYTES:
            return _form(NO_TOKEN, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self._attempts.begin(request.peer)
        if (token := token_in(request)) is None:
            return self._turned_away(request.peer, NO_TOKEN, HTTPStatus.BAD_REQUEST)
        try:
            viewer = await self._admit(token, request.peer)
        except Denied:
            return self._turned_away(request.peer, REFUSED, HTTPStatus.FORBIDDEN)
        except KeyturnError:
            return _form(UNTOLD, HTTPStatus.SERVICE_UNAVAILABLE)
        self._attempts.forgive(request.peer)
        self._sessions.end(self._shown(request))
        self._counts.add(SIGN_INS, "admitted")
        name = visible(viewer.name)
        self._say(f"dashboard: {name} signed in from {request.peer}")
        return self._with_cookie(_redirect(PAGE), self._sessions.begin(token, name))

    def _sign_out(self, request: HttpRequest) -> HttpAnswer:
        self._sessions.end(self._shown(request))
        return self._without_cookie(_redirect(SIGN_IN))

    def _turned_away(self, peer: str, why: str, status: HTTPStatus) -> HttpAnswer:
        self._counts.add(SIGN_INS, "refused")
        self._say(f"dashboard: a sign-in from {peer} was refused")
        return _form(why, status)

    async def _admit(self, token: Sensitive, peer: str) -> Viewer:
        """Return the viewer. Raises Denied where the hub refuses, and Unavailable without an answer."""
        try:
            viewer = await self._aside(lambda: self._viewers.admit(token))
        except Unproven as error:
            raise Unavailable(error.doing, error.name, error.problem, error.hint) from None
        except TerminalError:
            raise Denied("see", "the page", "the hub denies it", "") from None
        if viewer.networks and not in_networks(peer, viewer.networks):
            raise Denied("see", "the page", "the token is bound to other addresses", "")
        return viewer

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _is_own(self, request: HttpRequest) -> bool:
        """Whether a form comes from a page of this address, by the browser's headers."""
        hosts, origins = request.values("host"), request.values("origin")
        sites = request.values("sec-fetch-site")
        own = len(hosts) == 1 and origins == [f"{self._scheme}://{hosts[0].lower()}"]
        return own and all(site == "same-origin" for site in sites)

    def _shown(self, request: HttpRequest) -> str:
        """Return the browser's session cookie; empty where there is none, or several."""
        pairs = (pair.strip().partition("=") for text in request.values("cookie") for pair in text.split(";"))
        values = [value for name, _, value in pairs if name == self._cookie]
        return values[0] if len(values) == 1 and re.fullmatch(r"[\w-]{43}", values[0], re.ASCII) else ""

    def _with_cookie(self, answer: HttpAnswer, value: str, more: str = "") -> HttpAnswer:
        secure = "; Secure" if self._scheme == "https" else ""
        cookie = f"{self._cookie}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}"
        return replace(answer, headers=(*answer.headers, ("set-cookie", cookie)))

    def _without_cookie(self, answer: HttpAnswer) -> HttpAnswer:
        return self._with_cookie(answer, "", "; Max-Age=0")


def token_in(request: HttpRequest) -> Sensitive | None:
    """Return the only token of a form, or None."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in request.values("content-type")]
    if kinds != [FORM]:
        return None
    try:
        fields = parse_qs(request.body.decode("ascii"), max_num_fields=4, encoding="ascii", errors="strict")
    except ValueError:
        return None
    tokens = [text.strip() for text in fields.get("token", [])]
    return Sensitive(tokens[0]) if len(tokens) == 1 and TOKEN.fullmatch(tokens[0]) else None


def _form(remark: str, status: HTTPStatus) -> HttpAnswer:
    return _answer(sign_in_page(remark, int(IDLE // 60), int(LONGEST // 3600)), status)


def _remark(title: str, remark: str) -> HttpAnswer:
    return _answer(remark_page(title, remark), HTTPStatus.SERVICE_UNAVAILABLE)


def _answer(page: ServedPage, status: HTTPStatus) -> HttpAnswer:
    return HttpAnswer(status, page.html, HTML, (("content-security-policy", page.policy),))


def _redirect(place: str) -> HttpAnswer:
    return HttpAnswer(HTTPStatus.SEE_OTHER, headers=(("location", place),))
