"""The login to an API: a token from its authorization server, or a JWT that Keyturn signs, kept in memory."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from keyturn.core.errors import Denied, Invalid
from keyturn.core.ports.keys import KeyMaker
from keyturn.core.ports.rest import Answer, AnswerPattern, Request, parse_moment
from keyturn.core.sensitive import Sensitive
from keyturn.core.text import templates
from keyturn.core.text.jwts import sign_jwt
from keyturn.settings.api_logins import ApiLoginSettings, SignedJwtSettings, TokenSettings

UNKNOWN_LIFE: Final = timedelta(minutes=5)
"""How long a token is used whose end the answer does not say."""
LONGEST_MARGIN: Final = timedelta(minutes=1)
"""How long before its end a token is replaced; at most a tenth of its life."""
REFUSED: Final = AnswerPattern(frozenset({400, 401, 403}))
"""How an authorization server refuses a credential (RFC 6749, 5.2)."""
SIGN_IN: Final = "sign in to"


class Values(Protocol):
    def __call__(self, name: str, /) -> str:
        """Return the value of a name in a request. Raises Invalid for one that is not there."""


class Sender(Protocol):
    def __call__(self, url: str, request: Request, values: Values, doing: str, also: AnswerPattern, /) -> Answer:
        """Send a request to exactly this address. Raises unless it succeeds or its answer matches ``also``."""


@dataclass(frozen=True)
class KeptToken:
    """A token, and until when it is used."""

    token: Sensitive
    until: datetime


class ApiLogin:
    """Gets and keeps the token of one API. ``values`` reads the admin credential, with further names."""

    def __init__(
        self,
        name: str,
        settings: ApiLoginSettings,
        send: Sender,
        values: Callable[[Mapping[str, str]], Values],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self._settings = settings
        self._send = send
        self._values = values
        self._clock = clock
        self._kept: KeptToken | None = None

    @property
    def kept(self) -> KeptToken | None:
        """The token that the next request would use without a login, if any."""
        last = self._kept
        return last if last and self._clock() < last.until else None

    def forget(self) -> None:
        """Make the next request sign in anew."""
        self._kept = None

    def token(self) -> str:
        """Return the token, after a login where none is kept."""
        last = self.kept or self._sign_in()
        self._kept = last
        return last.token.reveal()

    def _sign_in(self) -> KeptToken:
        settings = self._settings
        if not isinstance(settings, SignedJwtSettings):
            return self._requested(settings, self._values({}))
        jwt, now = self._signed(settings), self._clock()
        if settings.exchange is None:
            return kept_until(jwt, settings.lifetime, now)
        return self._requested(settings.exchange, self._values({"jwt": jwt.reveal()}))

    def _signed(self, settings: SignedJwtSettings) -> Sensitive:
        values = self._values({"unique": secrets.token_hex(6)})
        header = {**templates.fill_all(settings.header, values), "alg": settings.algorithm}
        claims = templates.fill_all(settings.claims, values)
        key = Sensitive(templates.fill(settings.key, values))
        try:
            return sign_jwt(self._keys(), key, header, claims, self._clock(), settings.lifetime)
        except Invalid as error:
            hint = "Correct `algorithm` of the login, or the private key at the target's admin path"
            raise Invalid(SIGN_IN, self.name, error.problem, hint) from None

    def _requested(self, settings: TokenSettings, values: Values) -> KeptToken:
        request, now = settings.token_request(), self._clock()
        answer = self._send(settings.url, request, values, SIGN_IN, REFUSED)
        if REFUSED.matches(answer) and answer.status not in request.expect:
            hint = "Check the credential at the target's `admin` path, and `login` in the catalogue"
            raise Denied(SIGN_IN, self.name, f"its token request was answered with {answer.status}", hint)
        token = answer.text(settings.token)
        if token is None:
            hint = "Correct `token` of the login, in the catalogue"
            raise Invalid(SIGN_IN, self.name, "the answer to its token request holds no token", hint)
        return kept_until(token, life_of(answer.text(settings.expires), now), now)

    def _keys(self) -> KeyMaker:
        try:
            from keyturn.providers.keys.key_maker import CryptographyKeys
        except ModuleNotFoundError as error:
            problem = f"the package {error.name} is missing"
            raise Invalid(SIGN_IN, self.name, problem, "Install keyturn[certificates]") from None
        return CryptographyKeys()


def kept_until(token: Sensitive, life: timedelta, now: datetime) -> KeptToken:
    """The token, to be replaced a little before its end."""
    return KeptToken(token, now + life - min(LONGEST_MARGIN, life / 10))


def life_of(expires: Sensitive | None, now: datetime) -> timedelta:
    """Return how long a token lives, by seconds from now or by a time."""
    text = expires.reveal() if expires else ""
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return timedelta(seconds=int(text))
    at = parse_moment(text)
    return at - now if at else UNKNOWN_LIFE
