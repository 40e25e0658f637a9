"""Answers requests below ``/to/``: finds the caller, the route and the credential, and passes the request on."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

from keyturn.agent.caller_auth import names_this_host
from keyturn.agent.http import Caller, HttpRequest
from keyturn.agent.proxy import failures
from keyturn.agent.proxy.callers import Placeholders, user_of
from keyturn.agent.proxy.client_link import ClientLink
from keyturn.agent.proxy.exchange import Exchange
from keyturn.agent.proxy.failures import ProxyFailure
from keyturn.agent.proxy.limits import Allowance, Meter, open_counts
from keyturn.agent.proxy.routes import PREFIX, Route, is_query, split_target
from keyturn.agent.proxy.service_link import ServiceLinks
from keyturn.agent.wire import FORWARDED
from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret
from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice

log = logging.getLogger(__name__)

READERS: Final = 16
NOTICE_SECONDS: Final = 5.0
"""Seconds for the event loop to cut what a notice has ended."""
REFRESH_PAUSE: Final = 5.0
"""Seconds between two reads of a secret that its service refuses."""
LONGEST_LENGTH: Final = 15
"""Digits of a Content-Length."""


@dataclass(frozen=True)
class Passage:
    """A request to a route, for the access trail. ``code`` is empty unless the proxy itself answered."""

    caller: str
    route: str
    secret: str
    version: int | None
    method: str
    status: int
    sent: int
    returned: int
    code: str = ""


@dataclass(frozen=True)
class Misuse:
    """A placeholder that was shown somewhere other than at its routes."""

    caller: str
    place: str
    decoys: tuple[str, ...]


@dataclass
class Passing:
    """Who sends a request that is open, and with which credential."""

    caller: str
    allowance: Allowance
    secret: Secret | None = None


class IdentityTokens(Protocol):
    """The tokens that a service gives for a workload identity."""

    @property
    def kept(self) -> str | None:
        """The token in use, unless it ends soon."""

    def token(self) -> str:
        """The token in use, or a new one; blocks. Raises KeyturnError."""

    def forget(self) -> None:
        """Make the next request get a new one."""


@dataclass(frozen=True)
class Revocation:
    notice: Notice
    at: datetime


class Gateway:
    """Passes requests on, in one event loop. ``routes`` and ``placeholders`` are asked for each request.

    ``on_notice`` takes a notice for the client, ``report`` hears of each passage and sighting. ``identities`` are the
    tokens of the routes with a workload identity, by name, asked for each request. ``counts`` is a private directory
    for what callers have used today.
    """

    def __init__(
        self,
        client: SecretClient,
        routes: Callable[[], Mapping[str, Route]],
        placeholders: Callable[[], Placeholders],
        report: Callable[[Passage | Misuse], object],
        on_notice: Callable[[Notice], object] | None = None,
        identities: Callable[[], Mapping[str, IdentityTokens]] = dict,
        counts: Path | None = None,
    ) -> None:
        self._counts = counts
        self._identities = identities
        self._client = client
        self._routes = routes
        self._placeholders = placeholders
        self._report = report
        self._on_notice = on_notice or client.told
        self._readers = ThreadPoolExecutor(READERS, "keyturn-proxy")
        self._links = ServiceLinks()
        self._open: dict[Exchange, Passing] = {}
        self._fetching: set[asyncio.Task[None]] = set()
        self._revocations: dict[str, Revocation] = {}
        self._allowances: dict[tuple[str, str], Allowance] = {}
        self._refreshed: dict[str, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def connection(self, caller: Caller) -> ClientLink:
        self._loop = asyncio.get_running_loop()
        return ClientLink(self, caller)

    def end(self) -> None:
        self._links.forget()

    def watch(self, request: HttpRequest) -> None:
        """Report a placeholder in a request to another part of the agent."""
        if caller := self._placeholders().caller(request):
            self._sighted(caller, "an address other than its routes")

    def told(self, notice: Notice) -> None:
        """Take a notice in a thread; once it returns, no request uses what it has ended. Raises the client's errors."""
        arrived = datetime.now(UTC)
        self._in_loop(lambda: self._note(notice, arrived))
        try:
            self._on_notice(notice)
        finally:
            self._in_loop(lambda: self._cut(notice))

    def reload(self) -> None:
        """Use new limits and CA files from now on. Requests that are open go on."""
        self._in_loop(self._renew)

    def close(self) -> None:
        self._readers.shutdown(wait=False, cancel_futures=True)
        for allowance in self._allowances.values():
            allowance.close()

    def admit(self, link: ClientLink, request: HttpRequest) -> Exchange:
        """Begin to pass a request on; its body follows. Raises ProxyFailure."""
        user = user_of(link.transport)
        if request.values(FORWARDED):
            raise failures.malformed("a proxy has forwarded it")
        if user is None and not all(names_this_host(host) for host in request.values("host")):
            raise ProxyFailure(HTTPStatus.MISDIRECTED_REQUEST, "another_host", "The request names another host.")
        target = split_target(request.path)
        if target is None or not is_query(request.query):
            raise failures.malformed("its path or query can be read in several ways")
        caller, route = self._admit(request, user, target[0])
        try:
            return self._pass_on(link, request, caller, route, target[1])
        except ProxyFailure as failure:
            self._report_refusal(caller, route, request, failure)
            raise

    def finished(self, exchange: Exchange, failure: ProxyFailure | None) -> None:
        passing, route = self._open.pop(exchange), exchange.route
        passing.allowance.add(exchange.meter)
        if exchange.status == HTTPStatus.UNAUTHORIZED and failure is None:
            self._refresh(route)
        version, counted = passing.secret.version if passing.secret else None, exchange.meter
        place = (route.name, route.secret, version, exchange.method, exchange.status)
        self._report(Passage(passing.caller, *place, counted.sent, counted.returned, failure.code if failure else ""))

    def _admit(self, request: HttpRequest, user: str | None, name: str) -> tuple[str, Route]:
        """The caller and its route. Raises ProxyFailure, the same for a route that does not exist and for another's."""
        route, caller = self._routes().get(name), self._placeholders().caller(request)
        if caller and route and caller in route.settings.callers:
            return caller, route
        if caller:
            self._sighted(caller, f"the route {name[:63]}" if route else "an unknown route")
        elif route and user and user in route.settings.users:
            return f"user:{user}", route
        elif user is None:
            text = "Send the placeholder of a caller of this route as the API key."
            raise ProxyFailure(HTTPStatus.UNAUTHORIZED, "unknown_caller", text)
        raise ProxyFailure(HTTPStatus.FORBIDDEN, "not_a_caller", "This caller has no route of this name.")

    def _pass_on(self, link: ClientLink, request: HttpRequest, caller: str, route: Route, below: str) -> Exchange:
        limits, path = route.settings.limits, route.secret
        if not route.allows(request.method, below):
            text = f"Route {route.name} does not allow {request.method} at this path."
            raise ProxyFailure(HTTPStatus.FORBIDDEN, "not_allowed", text)
        if any(
            len(text) > LONGEST_LENGTH or int(text) > limits.request_bytes for text in request.values("content-length")
        ):
            raise failures.body_too_large(route.name)
        if path in self._revocations and route.settings.after_revocation == "refuse":
            raise failures.credential_revoked(route.name, "The route stays closed until the proxy is restarted.")
        allowance = self._allowance(route, caller)
        allowance.begin(route.name)
        identity = self._identities()[route.name] if route.settings.identity else None
        secret = self._client.kept(path) if path else None
        target = f"{route.base}{below}?{request.query}" if request.query else f"{route.base}{below}"
        meter = Meter(limits.budget.usage if limits.budget else ())
        exchange = Exchange(link, request, route, target, meter)
        self._open[exchange] = Passing(caller, allowance)
        if secret:
            self._begin(exchange, secret)
        elif identity and (token := identity.kept):
            exchange.begin(self._links, *route.header(token))
        else:
            fetching = asyncio.get_running_loop().create_task(self._fetch(exchange))
            self._fetching.add(fetching)
            fetching.add_done_callback(self._fetching.discard)
        return exchange

    async def _fetch(self, exchange: Exchange) -> None:
        """Read the secret, or get a token, and begin."""
        route, loop = exchange.route, asyncio.get_running_loop()
        try:
            if route.settings.identity:
                token = await loop.run_in_executor(self._readers, self._identities()[route.name].token)
                if not exchange.over:
                    exchange.begin(self._links, *route.header(token))
            else:
                secret = await loop.run_in_executor(self._readers, self._client.get, route.secret)
                if not exchange.over:
                    # A notice may have come meanwhile.
                    self._begin(exchange, self._client.kept(route.secret) or secret)
            if not exchange.over:
                exchange.push()
        except ProxyFailure as failure:
            exchange.cut(failure)
        except KeyturnError as error:
            exchange.cut(self._unusable(exchange.route, error))

    def _begin(self, exchange: Exchange, secret: Secret) -> None:
        route = exchange.route
        revocation = self._revocations.get(secret.path)
        if revocation and _is_ended(secret, revocation):
            raise failures.credential_revoked(route.name, "Send the request again.")
        try:
            credential, forms = route.credential(secret)
        except KeyturnError as error:
            raise self._unusable(route, error) from None
        self._open[exchange].secret = secret
        exchange.begin(self._links, credential, forms)

    def _allowance(self, route: Route, caller: str) -> Allowance:
        allowance = self._allowances.get((route.name, caller))
        if allowance is None:
            file = open_counts(self._counts, route.name, caller) if self._counts else None
            allowance = self._allowances[route.name, caller] = Allowance(route.settings.limits, file=file)
        return allowance

    def _unusable(self, route: Route, error: KeyturnError) -> ProxyFailure:
        log.warning("route %s: %s", route.name, error)
        revocation = self._revocations.get(route.secret)
        if revocation and not revocation.notice.replaced:
            return failures.credential_revoked(route.name, "It has no replacement yet.")
        if isinstance(error, TransientError):
            text = f"The credential of route {route.name} can't be read now."
            return ProxyFailure(HTTPStatus.SERVICE_UNAVAILABLE, "credential_unavailable", text, retry_after=5)
        text = f"The credential of route {route.name} is missing or can't be used. The proxy's log has the reason."
        return ProxyFailure(HTTPStatus.BAD_GATEWAY, "credential_unusable", text)

    def _refresh(self, route: Route) -> None:
        """Read a secret again whose value was refused, as a notice may have been lost; forget a refused token."""
        now, key = asyncio.get_running_loop().time(), route.secret or f"{PREFIX}{route.name}"
        if now - self._refreshed.get(key, float("-inf")) < REFRESH_PAUSE:
            return
        self._refreshed[key] = now
        if route.settings.identity:
            self._identities()[route.name].forget()
        else:
            self._readers.submit(self._client.refresh, route.secret)

    def _report_refusal(self, caller: str, route: Route, request: HttpRequest, failure: ProxyFailure) -> None:
        place = (route.name, route.secret, None, request.method, int(failure.status))
        self._report(Passage(caller, *place, 0, 0, failure.code))

    def _renew(self) -> None:
        for (name, _), allowance in self._allowances.items():
            if route := self._routes().get(name):
                allowance.limits = route.settings.limits
        self._links.forget()

    # --- notices

    def _note(self, notice: Notice, arrived: datetime) -> None:
        revocation = self._revocations.get(notice.secret_path)
        if notice.event == SECRET_REVOKED and (revocation is None or not revocation.notice.covers(notice)):
            self._revocations[notice.secret_path] = Revocation(notice, arrived)
        self._cut(notice)

    def _cut(self, notice: Notice) -> None:
        revocation = self._revocations.get(notice.secret_path)
        if notice.event != SECRET_REVOKED or revocation is None:
            return
        for exchange, passing in [*self._open.items()]:
            secret = passing.secret
            if secret and secret.path == notice.secret_path and _is_ended(secret, revocation):
                exchange.cut(failures.credential_revoked(exchange.route.name, "Send the request again."))

    def _sighted(self, caller: str, place: str) -> None:
        decoys = {route.settings.decoy for route in self._routes().values() if caller in route.settings.callers}
        log.error("the placeholder of %s was shown at %s", caller, place)
        self._report(Misuse(caller, place, tuple(sorted(filter(None, decoys)))))

    def _in_loop(self, change: Callable[[], object]) -> None:
        """Call ``change`` in the event loop, and wait for it; does nothing before the first request."""
        if self._loop is None or self._loop.is_closed():
            change()
            return

        async def call() -> None:
            change()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(NOTICE_SECONDS)


def _is_ended(secret: Secret, revocation: Revocation) -> bool:
    """Whether a revocation has ended a version, by its number, or for a copy without one by the time of its read."""
    if secret.version is not None:
        return secret.version < revocation.notice.oldest_served
    return secret.read_at <= revocation.at
